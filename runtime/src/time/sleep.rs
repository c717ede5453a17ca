//! Wait for a moment: `sleep`, `sleep_until`.
//!
//! *Next*: [`super::timers`], what a sleep holds of its loop, then
//! [`super::driver`].

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::timers::{Armed, Timers};

/// Waits for a duration, counted from **this call** (not from the first poll).
///
/// Never early, by the loop's clock. How late it is, is up to the kernel's timer
/// (some 50 µs on an idle loop) and to what else the loop has to do. Waits at
/// least until the loop's next turn, so `sleep(Duration::ZERO)` lets other tasks,
/// I/O and timers run, as in asyncio. Durations beyond 584 years wait for ever.
///
/// Made outside a loop there is no clock to count by, and it counts from its
/// first poll.
///
/// **Cost.** One look at the clock here, O(1) to arm and to drop.
///
/// **Cancel safety.** Cancel-safe; polled again it goes on waiting for the same
/// moment.
///
/// # Panics
/// When polled outside a loop.
///
/// ```
/// use std::time::Duration;
/// use threeply_runtime::{block_on, time::sleep};
///
/// block_on(async { sleep(Duration::from_millis(1)).await });
/// ```
#[inline]
pub fn sleep(duration: Duration) -> Sleep {
    let when = match crate::context::try_with(|core| core.timers().clone()) {
        Some(timers) => {
            let deadline = timers.deadline_after(duration);
            When::Bound { timers, deadline }
        }
        None => When::After(duration),
    };
    Sleep::new(when)
}

/// Waits until a moment, given as an `Instant` of the system's monotonic clock
/// or, on a loop with virtual time, of [`now`](super::now). A moment that has
/// passed ends the wait at the loop's next turn.
///
/// Otherwise as [`sleep`].
#[inline]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(When::At(deadline))
}

/// The future of [`sleep`] and [`sleep_until`]. Cancel-safe: dropped, it takes its
/// timer along.
///
/// ```text
///                 1 first poll            2 the loop fires it,
///   When::After ─────────────► When::Bound   next poll
///   When::At    ─────────────►  + armed  ──────────────► done
///                                  ▲                      │
///                                  └───── 3 reset ────────┘
/// ```
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    when: When,
    armed: Option<Armed>,
    done: bool,
}

#[derive(Clone)]
enum When {
    /// Made outside a loop, not polled yet.
    After(Duration),
    /// Not polled yet: no clock was read and no loop looked for.
    At(Instant),
    /// In nanoseconds of that loop's clock.
    Bound { timers: Rc<Timers>, deadline: u64 },
}

impl Sleep {
    #[inline]
    fn new(when: When) -> Self {
        Sleep {
            when,
            armed: None,
            done: false,
        }
    }

    /// On a loop already found, until a moment of its clock.
    pub(crate) fn bound(timers: Rc<Timers>, deadline: u64) -> Self {
        Sleep::new(When::Bound { timers, deadline })
    }

    /// The moment it waits for. `None` for a sleep that was made outside a loop
    /// and hasn't been polled.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.when {
            When::After(_) => None,
            When::At(deadline) => Some(*deadline),
            When::Bound { timers, deadline } => Some(timers.instant_at(*deadline)),
        }
    }

    /// Whether it is over: the loop has fired it.
    pub fn is_elapsed(&self) -> bool {
        self.done || self.armed.as_ref().is_some_and(Armed::has_fired)
    }

    /// Makes it wait for another moment, earlier or later, over or not. A task
    /// that waits for it already is woken then, without polling it again.
    ///
    /// O(1). Doesn't wake.
    pub fn reset(&mut self, deadline: Instant) {
        self.reset_when(When::At(deadline));
    }

    /// [`reset`](Self::reset) to a duration from now.
    pub fn reset_after(&mut self, duration: Duration) {
        let when = match sleep(duration).when {
            // Outside its loop, it still knows that loop's clock.
            When::After(_) if self.timers().is_some() => {
                let timers = self.timers().expect("asked above").clone();
                let deadline = timers.deadline_after(duration);
                When::Bound { timers, deadline }
            }
            when => when,
        };
        self.reset_when(when);
    }

    fn timers(&self) -> Option<&Rc<Timers>> {
        match &self.when {
            When::Bound { timers, .. } => Some(timers),
            _ => None,
        }
    }

    /// Transition 3.
    fn reset_when(&mut self, when: When) {
        self.done = false;
        let waits = self.armed.take().and_then(Armed::into_waker);
        let (timers, deadline) = match (when, self.timers()) {
            (When::At(deadline), Some(timers)) => (timers.clone(), timers.ns_at(deadline)),
            (When::Bound { timers, deadline }, _) => (timers, deadline),
            (when, _) => {
                self.when = when;
                return;
            }
        };
        let armed = waits.map(|waker| Armed::new(timers.clone(), deadline, waker));
        self.armed = armed;
        self.when = When::Bound { timers, deadline };
    }

    /// Transition 1. Out of line: the second poll and the later ones are hotter.
    fn arm(&mut self, cx: &Context<'_>) {
        let (timers, deadline) = match &self.when {
            When::Bound { timers, deadline } => (timers.clone(), *deadline),
            unbound => {
                let timers = super::current("`sleep`");
                let deadline = match unbound {
                    When::After(duration) => timers.deadline_after(*duration),
                    When::At(deadline) => timers.ns_at(*deadline),
                    When::Bound { .. } => unreachable!("matched above"),
                };
                self.when = When::Bound {
                    timers: timers.clone(),
                    deadline,
                };
                (timers, deadline)
            }
        };
        self.armed = Some(Armed::new(timers, deadline, cx.waker().clone()));
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &self.armed {
            Some(armed) if armed.poll_fired(cx) => {
                self.armed = None; // transition 2
                self.done = true;
                Poll::Ready(())
            }
            Some(_) => Poll::Pending,
            None if self.done => Poll::Ready(()),
            None => {
                self.arm(cx);
                Poll::Pending
            }
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline())
            .field("elapsed", &self.is_elapsed())
            .finish()
    }
}
