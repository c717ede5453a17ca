//! Give up after a while: `timeout`, `timeout_at`.
//!
//! *Read after* [`mod@super::sleep`]; *next* [`crate::cancel::scope`], the same with
//! a handle to move the deadline or to cancel by hand.
//!
//! # Whose timeout is it?
//! Timeouts nest. If the loop was busy while two of them ran out, the inner one
//! is polled first and would report its own, though the outer one was due before
//! and its code should not go on. So whoever is polled inside a deadline knows
//! it ([`Enclosing`]): a timeout that finds a deadline around it that is not
//! after its own leaves the report to that one.

#![allow(unsafe_code)] // To pin the inner future in place; one block.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::clock::saturating_ns;
use super::enclosing::Enclosing;
use super::timers::Armed;

/// Runs a future for at most a duration, counted from the **first poll**; then
/// drops it and gives [`Elapsed`].
///
/// A future that is ready at the first poll costs no timer and no look at the
/// clock. A future that finishes in the very poll in which its time is over has
/// finished. A zero duration polls once.
///
/// **Cancel safety.** That of the future. To go on with it after the timeout,
/// pass `&mut future`.
///
/// # Panics
/// When it has to wait outside a loop.
///
/// ```
/// use std::time::Duration;
/// use threeply_runtime::{block_on, time::timeout};
///
/// let hour = std::future::pending::<()>();
/// let error = block_on(timeout(Duration::from_millis(1), hour)).unwrap_err();
/// assert!(error.to_string().starts_with("timed out after 1ms"));
/// ```
#[track_caller]
#[inline]
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout::new(Limit::After(duration), future.into_future())
}

/// [`timeout`] at a moment instead of after a duration. After that moment it
/// polls the future once.
#[track_caller]
#[inline]
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout::new(Limit::At(deadline), future.into_future())
}

/// The future of [`timeout`] and [`timeout_at`]. Dropped, it drops the future inside.
#[must_use = "futures do nothing unless awaited"]
pub struct Timeout<F> {
    /// Pinned with us.
    future: F,
    limit: Limit,
    /// From the end of the first poll on, with the deadline on the loop's clock.
    armed: Option<(Armed, u64)>,
    made_at: &'static Location<'static>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    After(Duration),
    At(Instant),
}

impl<F> Timeout<F> {
    #[track_caller]
    #[inline]
    fn new(limit: Limit, future: F) -> Self {
        Timeout {
            future,
            limit,
            armed: None,
            made_at: Location::caller(),
        }
    }

    fn elapsed(&self) -> Elapsed {
        Elapsed {
            limit: self.limit,
            made_at: self.made_at,
        }
    }

    /// The end of the first poll: whether time is over already, else the timer.
    fn arm(&mut self, cx: &Context<'_>) -> bool {
        let timers = super::current("`timeout`");
        let now = timers.now_ns();
        let deadline = match self.limit {
            Limit::After(duration) => now.saturating_add(saturating_ns(duration)),
            Limit::At(deadline) => timers.ns_at(deadline),
        };
        if deadline <= now && Enclosing::is_after(deadline) {
            return true;
        }
        let armed = Armed::new(timers, deadline, cx.waker().clone());
        self.armed = Some((armed, deadline));
        false
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `this.future` is the one pinned field. It isn't moved out of
        // `this`, and `Timeout` has no `Drop` and is `Unpin` only if the future is.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let Some((armed, deadline)) = &this.armed else {
            return match future.poll(cx) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending if this.arm(cx) => Poll::Ready(Err(this.elapsed())),
                Poll::Pending => Poll::Pending,
            };
        };
        let inside = Enclosing::enter(*deadline);
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let whose = inside.leave();
        if !armed.poll_fired(cx) {
            return Poll::Pending;
        }
        whose.report(*deadline, cx).map(|()| Err(this.elapsed()))
    }
}

/// The time was over before the future was ready. Says which timeout it was: of
/// several around one another, by the place in the source where it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed {
    limit: Limit,
    made_at: &'static Location<'static>,
}

impl Elapsed {
    /// The duration that was given, if it was one.
    pub fn duration(&self) -> Option<Duration> {
        match self.limit {
            Limit::After(duration) => Some(duration),
            Limit::At(_) => None,
        }
    }

    /// Where [`timeout`] or [`timeout_at`] was called.
    pub fn made_at(&self) -> &'static Location<'static> {
        self.made_at
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Limit::After(duration) => write!(f, "timed out after {duration:?}")?,
            Limit::At(_) => f.write_str("the deadline has passed")?,
        }
        write!(f, " (timeout made at {})", self.made_at)
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        std::io::Error::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

impl<F> fmt::Debug for Timeout<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout")
            .field("limit", &self.limit)
            .field("made_at", &self.made_at)
            .finish_non_exhaustive()
    }
}
