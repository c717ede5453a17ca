//! `shield`: what is begun is finished, though nobody waits any more.

use std::fmt;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::JoinHandle;

/// Runs a future as a task of its own, so that cancelling who awaits it does not
/// cancel the future: dropping the [`Shield`], by a timeout or an abort, leaves
/// the task running to its end (asyncio's `shield`).
///
/// The task starts with this call, not with the first poll. A panic of it is a
/// panic of who awaits the shield; of a shield that was dropped, it goes to the
/// hook of unhandled panics.
///
/// The end of the loop is no cancellation and ends shielded tasks, too; use
/// `EventLoop::shutdown` to wait for them.
///
/// **Cancel safety.** That is what it is for; the output is lost with the shield.
///
/// # Panics
/// Outside a loop.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use threeply_runtime::{block_on, cancel::shield, time::{sleep, timeout}};
///
/// block_on(async {
///     let saved = Rc::new(Cell::new(false));
///     let save = { let saved = saved.clone(); async move {
///         sleep(Duration::from_millis(2)).await;
///         saved.set(true);
///     }};
///     assert!(timeout(Duration::from_millis(1), shield(save)).await.is_err());
///     sleep(Duration::from_millis(3)).await;
///     assert!(saved.get());
/// });
/// ```
#[track_caller]
pub fn shield<F>(future: F) -> Shield<F::Output>
where
    F: Future + 'static,
{
    Shield {
        task: crate::spawn(future),
    }
}

/// The future of [`shield`]: the output of the task behind it.
#[must_use = "the task runs, but its output is lost with the shield"]
pub struct Shield<T> {
    task: JoinHandle<T>,
}

impl<T> Future for Shield<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.task).poll(cx)) {
            Ok(output) => Poll::Ready(output),
            Err(error) => match error.into_panic() {
                Ok(payload) => resume_unwind(payload),
                // Only the end of its loop cancels it: who can still wait?
                Err(error) => panic!("a shielded task did not survive its event loop: {error}"),
            },
        }
    }
}

impl<T> fmt::Debug for Shield<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shield").finish_non_exhaustive()
    }
}
