//! Waiting for a task, and ending it.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::TaskId;
use super::cell::{Stage, TaskRef, TypedTask};
use super::join_error::JoinError;
use super::waker::wake_id;

/// The future output of a spawned task. Belongs to the task's thread.
///
/// Awaiting it gives what the task returned, or a [`JoinError`] that tells a
/// panic from a cancellation. It may be awaited on any loop or executor of this
/// thread, also when the task's own loop is gone.
///
/// **Dropping it detaches** the task, which runs on; its output is dropped when
/// it comes, and a panic of it goes to the
/// [hook](super::set_unhandled_panic_hook). To end the task instead,
/// [`abort`](JoinHandle::abort) it.
///
/// # Cancel safety
/// Awaiting `&mut handle` is safe: the output stays until it is taken.
///
/// # Panics
/// If polled again after it has given the output.
#[must_use = "dropping the handle detaches the task; say so by `drop`, or await it"]
pub struct JoinHandle<T> {
    task: TypedTask<T>,
}

impl<T> Unpin for JoinHandle<T> {}

/// Ends a task; holds on to nothing but its name and its allocation.
#[derive(Clone)]
pub struct AbortHandle {
    task: TaskRef,
}

fn abort(task: &TaskRef, reason: Cow<'static, str>) {
    if task.mark_aborted(reason) {
        wake_id(task.wake_id());
    }
}

impl<T> JoinHandle<T> {
    /// The handle of a new task, which is marked as joinable.
    #[inline]
    pub(crate) fn new(task: TypedTask<T>) -> JoinHandle<T> {
        JoinHandle { task }
    }

    pub(crate) fn task(&self) -> &TaskRef {
        self.task.task()
    }

    /// Cancels the task: instead of being polled again it is dropped, soon, by
    /// its loop, and joining it gives a cancelled [`JoinError`]. In vain if the
    /// task has ended; a task that aborts itself ends at its next `await` that
    /// has to wait. O(1).
    pub fn abort(&self) {
        self.abort_with("aborted");
    }

    /// As [`abort`](Self::abort), with a reason for the joiner. The first reason
    /// counts.
    pub fn abort_with(&self, reason: impl Into<Cow<'static, str>>) {
        abort(self.task(), reason.into());
    }

    /// Something that can abort the task when this handle is being awaited.
    #[must_use]
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle {
            task: self.task().clone(),
        }
    }

    /// Whether the task has ended, one way or another.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task().is_finished()
    }

    /// The output, if the task has ended and nobody has taken it. Doesn't wait.
    pub fn try_take(&mut self) -> Option<Result<T, JoinError>> {
        self.task.take()
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.task().id()
    }

    /// The task's name, if it was given one.
    #[must_use]
    pub fn name(&self) -> Option<Cow<'static, str>> {
        self.task().name()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(output) = self.task.take() {
            return Poll::Ready(output);
        }
        assert!(
            self.task().stage() != Stage::Empty,
            "a JoinHandle was polled after it had given its task's output"
        );
        self.task().set_joiner(cx.waker());
        Poll::Pending
    }
}

impl<T> Drop for JoinHandle<T> {
    #[inline]
    fn drop(&mut self) {
        self.task().detach();
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinHandle({})", self.task().who())
    }
}

impl AbortHandle {
    /// As [`JoinHandle::abort`].
    pub fn abort(&self) {
        self.abort_with("aborted");
    }

    /// As [`JoinHandle::abort_with`].
    pub fn abort_with(&self, reason: impl Into<Cow<'static, str>>) {
        abort(&self.task, reason.into());
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// The task's number.
    #[must_use]
    pub fn id(&self) -> TaskId {
        self.task.id()
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AbortHandle({})", self.task.who())
    }
}
