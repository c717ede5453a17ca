//! `gather`: each future a task of its own, all results together, as in asyncio.
//!
//! *Read after* [`super::join`], which keeps the futures in one task.

use std::fmt;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::join::{JoinAll, TryJoinAll, join_all, try_join_all};
use crate::{AbortHandle, JoinError, JoinHandle};

/// Starts each future as a task and returns their outputs in the order of the
/// futures: `await asyncio.gather(*futures)`.
///
/// The tasks start with this call. A panic in one of them is at once a panic of
/// who awaits the gather; with [`return_exceptions`](Gather::return_exceptions)
/// it is an `Err` among the results instead. For errors that are values see
/// [`try_join_all`] and
/// [`task_group`](crate::group::task_group).
///
/// **Cancel safety.** Dropping it before it is ready aborts the tasks that still
/// run, and outputs that are there already are lost.
///
/// # Panics
/// Outside a loop.
///
/// ```
/// use std::time::Duration;
/// use threeply_runtime::{block_on, future::gather, time::sleep};
///
/// async fn fetch(page: u32) -> u32 {
///     sleep(Duration::from_millis(2)).await;
///     page * 10
/// }
/// let pages = block_on(async { gather((1..=3).map(fetch)).await });
/// assert_eq!(pages, [10, 20, 30]);
/// ```
#[track_caller]
pub fn gather<I>(futures: I) -> Gather<<I::Item as Future>::Output>
where
    I: IntoIterator<Item: Future + 'static>,
{
    let mut tasks = Vec::new();
    // Not by `map`, which would hide the caller's place from `spawn`.
    for future in futures {
        tasks.push(crate::spawn(future));
    }
    let abort = AbortAll(tasks.iter().map(JoinHandle::abort_handle).collect());
    Gather {
        all: try_join_all(tasks),
        abort,
    }
}

/// The future of [`gather`].
#[must_use = "dropping it aborts the tasks"]
pub struct Gather<T> {
    all: TryJoinAll<JoinHandle<T>, T>,
    abort: AbortAll,
}

/// Aborts tasks when dropped; in vain those that have ended.
struct AbortAll(Vec<AbortHandle>);

impl Drop for AbortAll {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort_with("its `gather` was dropped");
        }
    }
}

impl<T> Gather<T> {
    /// Gives each task's result or error (a panic), and always waits for all:
    /// `gather(…, return_exceptions=True)`. Dropped, it aborts the tasks, as [`Gather`]
    /// does.
    pub fn return_exceptions(self) -> GatherResults<T> {
        GatherResults {
            all: join_all(self.all.into_futures()),
            _abort: self.abort,
        }
    }
}

impl<T> Future for Gather<T> {
    type Output = Vec<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<T>> {
        match ready!(Pin::new(&mut self.all).poll(cx)) {
            Ok(outputs) => Poll::Ready(outputs),
            Err(error) => {
                for task in self.abort.0.drain(..) {
                    task.abort_with("another task of its `gather` panicked");
                }
                match error.into_panic() {
                    Ok(payload) => resume_unwind(payload),
                    // Nobody else has a handle: it was the end of its loop.
                    Err(error) => panic!("a gathered task did not survive its loop: {error}"),
                }
            }
        }
    }
}

/// The future of [`Gather::return_exceptions`].
#[must_use = "dropping it aborts the tasks"]
pub struct GatherResults<T> {
    all: JoinAll<JoinHandle<T>>,
    _abort: AbortAll,
}

impl<T> Future for GatherResults<T> {
    type Output = Vec<Result<T, JoinError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.all).poll(cx)
    }
}

impl<T> fmt::Debug for Gather<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gather({:?})", self.all)
    }
}

impl<T> fmt::Debug for GatherResults<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GatherResults({:?})", self.all)
    }
}
