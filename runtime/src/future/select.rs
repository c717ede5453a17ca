//! Wait for one of a few futures of different types: `select((a, b))`.
//!
//! *Read after* [`super::completed`], which does it for many of one type.
//!
//! A function over tuples and an enum of the outcomes, matched with the
//! language's own `match`, instead of a macro with a grammar of its own:
//!
//! ```
//! use threeply_runtime::{block_on, time::sleep};
//! use threeply_runtime::future::{Either, select};
//! use std::time::Duration;
//!
//! block_on(async {
//!     match select((async { 7 }, sleep(Duration::from_secs(1)))).await {
//!         Either::First(n) => assert_eq!(n, 7),
//!         Either::Second(()) => println!("too late"),
//!     }
//! });
//! ```

#![allow(unsafe_code)] // To pin the fields of a pinned tuple; see `field`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::dice;

/// Waits for the first of two, three or four futures and drops the others.
///
/// **Fair**: each poll begins at a random one of them (from the loop's seed, so
/// a replay repeats it), so that `select` in a loop serves all of several that
/// are always ready. [`select_biased`] always begins at the first.
///
/// **Cancel safety.** The losers are cancelled: they lose what they hold. A
/// future that should go on is passed by reference, `&mut future`, and awaited
/// again later. `select` itself, when dropped, drops what it was given.
pub fn select<T: Alternatives>(futures: T) -> Select<T> {
    Select {
        futures: Some(futures),
        biased: false,
    }
}

/// [`select`] that polls in the order of the tuple, always: an earlier future
/// that is always ready starves the later ones. Use it where the order means
/// something, as in "shutdown first".
pub fn select_biased<T: Alternatives>(futures: T) -> Select<T> {
    Select {
        futures: Some(futures),
        biased: true,
    }
}

/// The future of [`select`] and [`select_biased`]. Dropped, it drops what it was
/// given.
#[must_use = "futures do nothing unless awaited"]
pub struct Select<T> {
    /// Pinned with us; `None` once one of them has won.
    futures: Option<T>,
    biased: bool,
}

impl<T: Alternatives> Future for Select<T> {
    type Output = T::Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Outcome> {
        let first = if self.biased { 0 } else { dice::roll(T::COUNT) };
        // SAFETY: the field is a part of its pinned owner; it is never moved out
        // of, only polled in place and dropped in place by `set`, and `Select`
        // has no `Drop` and is `Unpin` only if `T` is.
        let mut place = unsafe { self.map_unchecked_mut(|select| &mut select.futures) };
        for step in 0..T::COUNT {
            let futures = place
                .as_mut()
                .as_pin_mut()
                .expect("`Select` polled after it was ready");
            if let Poll::Ready(outcome) = futures.poll_at((first + step) % T::COUNT, cx) {
                place.set(None); // The losers go before the winner is seen.
                return Poll::Ready(outcome);
            }
        }
        Poll::Pending
    }
}

/// Tuples of futures that [`select`] takes.
pub trait Alternatives {
    /// Which one won, with its output.
    type Outcome;
    /// How many there are.
    const COUNT: usize;
    /// Polls the one at `index`, which is less than [`COUNT`](Self::COUNT).
    fn poll_at(self: Pin<&mut Self>, index: usize, cx: &mut Context<'_>) -> Poll<Self::Outcome>;
}

/// The outcome of a [`select`] of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the tuple's places")]
pub enum Either<A, B> {
    First(A),
    Second(B),
}

/// The outcome of a [`select`] of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the tuple's places")]
pub enum Either3<A, B, C> {
    First(A),
    Second(B),
    Third(C),
}

/// The outcome of a [`select`] of four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants are the tuple's places")]
pub enum Either4<A, B, C, D> {
    First(A),
    Second(B),
    Third(C),
    Fourth(D),
}

impl<T> Either<T, T> {
    /// The output, whoever won.
    pub fn into_inner(self) -> T {
        match self {
            Either::First(output) | Either::Second(output) => output,
        }
    }
}

impl<A: Future, B: Future> Alternatives for (A, B) {
    type Outcome = Either<A::Output, B::Output>;
    const COUNT: usize = 2;

    fn poll_at(self: Pin<&mut Self>, index: usize, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        match index {
            0 => field(self, |all| &mut all.0).poll(cx).map(Either::First),
            _ => field(self, |all| &mut all.1).poll(cx).map(Either::Second),
        }
    }
}

impl<A: Future, B: Future, C: Future> Alternatives for (A, B, C) {
    type Outcome = Either3<A::Output, B::Output, C::Output>;
    const COUNT: usize = 3;

    fn poll_at(self: Pin<&mut Self>, index: usize, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        match index {
            0 => field(self, |all| &mut all.0).poll(cx).map(Either3::First),
            1 => field(self, |all| &mut all.1).poll(cx).map(Either3::Second),
            _ => field(self, |all| &mut all.2).poll(cx).map(Either3::Third),
        }
    }
}

impl<A: Future, B: Future, C: Future, D: Future> Alternatives for (A, B, C, D) {
    type Outcome = Either4<A::Output, B::Output, C::Output, D::Output>;
    const COUNT: usize = 4;

    fn poll_at(self: Pin<&mut Self>, index: usize, cx: &mut Context<'_>) -> Poll<Self::Outcome> {
        match index {
            0 => field(self, |all| &mut all.0).poll(cx).map(Either4::First),
            1 => field(self, |all| &mut all.1).poll(cx).map(Either4::Second),
            2 => field(self, |all| &mut all.2).poll(cx).map(Either4::Third),
            _ => field(self, |all| &mut all.3).poll(cx).map(Either4::Fourth),
        }
    }
}

/// One field of a pinned tuple.
fn field<T, F>(all: Pin<&mut T>, get: impl FnOnce(&mut T) -> &mut F) -> Pin<&mut F> {
    // SAFETY: called above only with closures that name a field of a tuple. A
    // tuple has no `Drop`, is `Unpin` only if its fields are, and nothing here
    // moves a field.
    unsafe { all.map_unchecked_mut(get) }
}

impl<T> fmt::Debug for Select<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select")
            .field("done", &self.futures.is_none())
            .field("biased", &self.biased)
            .finish()
    }
}
