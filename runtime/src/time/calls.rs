//! Callbacks for those who think in them: asyncio's `call_soon`, `call_later` and
//! `call_at`.
//!
//! *Read after* [`mod@super::sleep`]. A callback is a task of one step, so all that is
//! true of tasks is true of it: it runs on this thread, in turn, after what is ready
//! already; it can be aborted; its panic reaches its joiner or the hook of unhandled
//! panics.
//!
//! Rejected: a queue of callbacks beside that of the tasks. It would save the 20 ns
//! of a spawn and cost a second order of everything (fairness, shutdown, panics).

use super::{Duration, Instant, sleep, sleep_until};
use crate::JoinHandle;

/// Calls `f` on this loop as soon as everything has run that is ready before it.
/// Calls are made in the order in which they were asked for.
///
/// Dropping the handle doesn't cancel the call; [`JoinHandle::abort`] does.
///
/// # Panics
/// Outside a loop, with advice.
#[track_caller]
pub fn call_soon<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    crate::spawn(async move { f() })
}

/// Calls `f` on this loop when `delay`, counted from now, has passed; never earlier.
/// A delay too long for the clock is never over.
///
/// Dropping the handle doesn't cancel the call; [`JoinHandle::abort`] does, and the
/// loop's end, which doesn't wait for it.
///
/// # Panics
/// Outside a loop, with advice.
///
/// ```
/// use std::time::Duration;
/// use threeply_runtime::{block_on, time::call_later};
///
/// block_on(async {
///     let call = call_later(Duration::from_millis(1), || "later");
///     assert_eq!(call.await.unwrap(), "later");
/// });
/// ```
#[track_caller]
pub fn call_later<F, T>(delay: Duration, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    let delay = sleep(delay);
    crate::spawn(async move {
        delay.await;
        f()
    })
}

/// Calls `f` on this loop at `deadline`, or at the next turn if that has passed.
/// Otherwise as [`call_later`].
///
/// # Panics
/// Outside a loop, with advice.
#[track_caller]
pub fn call_at<F, T>(deadline: Instant, f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + 'static,
    T: 'static,
{
    crate::spawn(async move {
        sleep_until(deadline).await;
        f()
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::EventLoop;
    use crate::time::now;

    #[test]
    fn calls_come_in_order_of_their_time_and_an_aborted_one_does_not() {
        let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
        let said = event_loop.block_on(async {
            let said = Rc::new(RefCell::new(Vec::new()));
            let say = |word: &'static str| {
                let said = said.clone();
                move || said.borrow_mut().push(word)
            };
            let start = now();
            let last = call_at(start + Duration::from_secs(3), say("at 3 s"));
            drop(call_later(Duration::from_secs(2), say("after 2 s")));
            call_later(Duration::from_secs(1), say("never")).abort();
            drop(call_soon(say("soon")));
            drop(call_soon(say("and soon after")));
            last.await.unwrap();
            assert_eq!(now() - start, Duration::from_secs(3));
            said.take()
        });
        assert_eq!(said, ["soon", "and soon after", "after 2 s", "at 3 s"]);
    }
}
