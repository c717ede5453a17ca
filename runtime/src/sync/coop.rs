//! The budget of a poll: why a channel that is always ready can't starve the
//! other tasks.
//!
//! Every operation that may finish without waiting asks here first. On a loop
//! of ours each one takes a unit from the budget that the loop gives a task
//! for one poll; once it is used up the operation answers `Pending` and wakes
//! its own task, which so goes to the back of the run queue. On other
//! executors there is no budget of ours, and nothing to pay.

use std::task::{Context, Poll};

/// `Ready` if the operation may go on.
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    match crate::context::try_with(crate::event_loop::Core::spend_budget) {
        Some(false) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Some(true) | None => Poll::Ready(()),
    }
}
