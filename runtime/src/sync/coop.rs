//! The budget of a poll: why a channel that is always ready can't starve the
//! other tasks.
//!
//! Every operation that may finish without waiting asks here first. On a loop
//! of ours each one takes a unit from the budget that the loop gives a task
//! for one poll; once it is used up the operation answers `Pending` and wakes
//! its own task, which so goes to the back of the run queue. On other
//! executors there is no budget of ours, and nothing to pay.
//!
//! A poll without any budget is also how a [dump](crate::inspect) asks a task what
//! it waits for: each operation then says so instead, and does nothing.

use std::task::{Context, Poll};

use crate::context;
use crate::event_loop::Core;
use crate::inspect::round::Told;

/// `Ready` if the operation may go on.
#[inline]
pub fn poll_proceed(cx: &mut Context<'_>) -> Poll<()> {
    proceed_or_tell(cx, || None)
}

/// Whether something may go on that was paid for before: not if the budget is used
/// up, and not when a dump asks.
#[inline(always)]
pub(crate) fn is_paid() -> bool {
    context::try_with(Core::has_budget).unwrap_or(true)
}

/// As [`poll_proceed`], for an operation that can tell what it waits for.
#[inline(always)]
pub(crate) fn proceed_or_tell(
    cx: &mut Context<'_>,
    what: impl FnOnce() -> Option<Told>,
) -> Poll<()> {
    match context::try_with(Core::spend_budget) {
        Some(false) => {
            used_up(cx, what);
            Poll::Pending
        }
        Some(true) | None => Poll::Ready(()),
    }
}

#[cold]
#[inline(never)]
fn used_up(cx: &mut Context<'_>, what: impl FnOnce() -> Option<Told>) {
    let told = context::try_with(|core| {
        core.inspector().is_on().then(|| {
            what()
                .into_iter()
                .for_each(|what| core.inspector().tell(what))
        })
    });
    if told.flatten().is_none() {
        cx.waker().wake_by_ref();
    }
}
