//! [`Limiter`]: at most so many at a time, adjustable while it is used, and at
//! most one token for each borrower. trio's `CapacityLimiter`.
//!
//! What it adds to a semaphore: the limit can be lowered below what is lent
//! out (the difference is a *debt*, paid by the tokens that come back), and a
//! borrower that asks twice gets an error instead of waiting for itself.
//!
//! Read before: `semaphore.rs`.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;

use super::after::After;
use super::blocking;
use super::family::{Family, Lock, Shared};
use super::permits::Permits;
use super::place::{Line, Place};
use super::wait_queue::Ticket;
use crate::inspect::{SyncKind, round};

/// This borrower has a token already, and would wait for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlreadyBorrowed(pub u64);

impl fmt::Display for AlreadyBorrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "borrower {} has, or waits for, a token of this limiter already; drop that one first",
            self.0
        )
    }
}

impl Error for AlreadyBorrowed {}

/// # Invariants
///
/// 1. `total` + `debt` = free tokens + lent tokens (granted ones included).
/// 2. There is a debt only while no token is free.
struct State {
    permits: Permits,
    total: usize,
    debt: usize,
    borrowers: HashSet<u64>,
}

static LINE: Line<State> = Line {
    leave: State::leave,
    about: |state| state.permits.about(),
};

impl State {
    /// Tokens come back: they pay the debt, the rest serves the line.
    fn give(&mut self, tokens: usize, after: &mut After) {
        let paid = tokens.min(self.debt);
        self.debt -= paid;
        self.permits.give(tokens - paid, after);
    }

    fn leave(&mut self, ticket: Ticket, after: &mut After) {
        let in_hand = self.permits.withdraw(ticket, after);
        self.give(in_hand, after);
    }

    fn lent(&self) -> usize {
        self.total + self.debt - self.permits.available()
    }
}

/// Lends out at most so many tokens at a time, first come, first served.
///
/// ```
/// use threeply_runtime::sync::local::Limiter;
///
/// let downloads = Limiter::new(1);
/// let token = downloads.try_acquire().unwrap();
/// assert!(downloads.try_acquire().is_none());
/// downloads.set_total_tokens(2); // More bandwidth: two at a time.
/// assert!(downloads.try_acquire().is_some());
/// drop(token);
/// ```
pub struct Limiter<F: Family> {
    state: F::Lock<State>,
}

impl<F: Family> Limiter<F> {
    /// A limiter of `total` tokens.
    #[track_caller]
    pub fn new(total: usize) -> Self {
        Limiter {
            state: F::Lock::new(State {
                permits: Permits::new(total, SyncKind::Limiter),
                total,
                debt: 0,
                borrowers: HashSet::new(),
            }),
        }
    }

    /// Waits for a token, which is returned when it is dropped. Cancel-safe: a wait
    /// that is dropped passes on the token that it may have been granted.
    pub async fn acquire(&self) -> Token<'_, F> {
        let mut place = Place::<F, _>::new(&self.state, &LINE);
        // Never closed, so it can't fail.
        let _ = poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                state.permits.poll_take(1, ticket, cx.waker(), after)
            })
        })
        .await;
        Token {
            limiter: self,
            borrower: None,
            lent: true,
        }
    }

    /// As [`acquire`](Self::acquire), for a borrower (a task, a user, a host,
    /// whatever the number stands for) that may hold only one token. Cancel-safe: a
    /// wait that is dropped strikes the borrower off.
    ///
    /// # Errors
    ///
    /// If this borrower holds one, or waits for one, already.
    pub async fn acquire_on_behalf_of(
        &self,
        borrower: u64,
    ) -> Result<Token<'_, F>, AlreadyBorrowed> {
        if !self.state.with(|state, _| state.borrowers.insert(borrower)) {
            return Err(AlreadyBorrowed(borrower));
        }
        // Strikes the borrower off, also if the wait is dropped.
        let mut token = Token {
            limiter: self,
            borrower: Some(borrower),
            lent: false,
        };
        let mut lent = self.acquire().await;
        token.lent = std::mem::take(&mut lent.lent);
        Ok(token)
    }

    /// Takes a token if one is free and nobody waits for it.
    pub fn try_acquire(&self) -> Option<Token<'_, F>> {
        let taken = self.state.with(|state, _| state.permits.try_take(1));
        // Not `then_some`: a token that is made is given back when it is dropped.
        taken.is_ok().then(|| Token {
            limiter: self,
            borrower: None,
            lent: true,
        })
    }

    /// Sets the number of tokens. More: those who wait are served. Fewer than
    /// are lent out: nobody loses a token, but none is lent until enough came
    /// back.
    pub fn set_total_tokens(&self, total: usize) {
        self.state.with(|state, after| {
            if total >= state.total {
                state.give(total - state.total, after);
            } else {
                let fewer = state.total - total;
                state.debt += fewer - state.permits.forget(fewer);
            }
            state.total = total;
        });
    }

    /// How many tokens there are.
    pub fn total_tokens(&self) -> usize {
        self.state.with(|state, _| state.total)
    }

    /// How many are lent out; more than there are after the number was lowered.
    pub fn borrowed_tokens(&self) -> usize {
        self.state.with(|state, _| state.lent())
    }

    /// How many could be lent now.
    pub fn available_tokens(&self) -> usize {
        self.state.with(|state, _| state.permits.available())
    }

    /// How many wait for one.
    pub fn waiters(&self) -> usize {
        self.state.with(|state, _| state.permits.waiting())
    }
}

impl Limiter<Shared> {
    /// As [`acquire`](Self::acquire), blocking the thread.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `acquire().await` there.
    pub fn blocking_acquire(&self) -> Token<'_, Shared> {
        let ask = || round::sync_wait::<Shared, State>(&self.state, LINE.about);
        blocking::wait(
            "`Limiter::blocking_acquire`",
            "`acquire().await`",
            &ask,
            self.acquire(),
        )
    }
}

impl<F: Family> fmt::Debug for Limiter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, lent, waiting) = self
            .state
            .with(|s, _| (s.total, s.lent(), s.permits.waiting()));
        f.debug_struct("Limiter")
            .field("total", &total)
            .field("borrowed", &lent)
            .field("waiting", &waiting)
            .finish()
    }
}

/// A token of a [`Limiter`], returned when this is dropped.
#[must_use = "a token that is dropped at once limits nothing"]
pub struct Token<'a, F: Family> {
    limiter: &'a Limiter<F>,
    borrower: Option<u64>,
    lent: bool,
}

impl<F: Family> Drop for Token<'_, F> {
    fn drop(&mut self) {
        self.limiter.state.with(|state, after| {
            if let Some(borrower) = self.borrower {
                state.borrowers.remove(&borrower);
            }
            if self.lent {
                state.give(1, after);
            }
        });
    }
}

impl<F: Family> fmt::Debug for Token<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.borrower).finish()
    }
}
