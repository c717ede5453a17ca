//! Time on the loop: timers, and the futures made of them.
//!
//! | here | asyncio | tokio |
//! |---|---|---|
//! | [`sleep`](sleep()), [`sleep_until`] | `sleep`, `call_at` | the same |
//! | [`timeout`](timeout()), [`timeout_at`] | `timeout`, `wait_for`, `timeout_at` | the same |
//! | [`interval`](interval()) | – | the same |
//! | [`call_soon`], [`call_later`], [`call_at`] | the same | – |
//! | [`now`] | `loop.time()` | `Instant::now` |
//! | `EventLoop::builder().virtual_time(true)` | – | `time::pause` |
//!
//! Timers never fire early, fire in the order of their deadlines to the
//! nanosecond, and cost O(1) each, however many there are. Deadlines are read
//! from the clock when they are set, not from a time that the loop remembers:
//! after a long poll such a deadline would be too early.
//!
//! Reading order: [`mod@sleep`], [`mod@interval`], [`calls`] and [`mod@timeout`]
//! with [`enclosing`]; then what they stand on: [`timers`] (what a loop has of time),
//! [`clock`], [`driver`] (all timers of a loop) and [`wheel`] (where those wait
//! that aren't due soon). `README.md` has the picture and what was rejected.

pub mod calls;
pub mod clock;
pub mod driver;
pub mod enclosing;
pub mod interval;
pub mod sleep;
pub mod timeout;
pub mod timers;
pub mod wheel;

use std::rc::Rc;

pub use std::time::{Duration, Instant};

pub use calls::{call_at, call_later, call_soon};
pub use interval::{Interval, MissedTick, interval, interval_at};
pub use sleep::{Sleep, sleep, sleep_until};
pub use timeout::{Elapsed, Timeout, timeout, timeout_at};
pub use timers::Timers;

/// What time it is: on a loop with virtual time by its clock, else as
/// `Instant::now()`, also outside a loop.
pub fn now() -> Instant {
    crate::context::try_with(|core| core.timers().clock().now()).unwrap_or_else(Instant::now)
}

/// Clock and timers of the loop that runs on this thread.
#[track_caller]
pub(crate) fn current(who: &str) -> Rc<Timers> {
    crate::context::with_named(who, |core| core.timers().clone())
}

#[cfg(test)]
pub(crate) mod tests;
