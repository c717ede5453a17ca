//! Cancellation: stopping work that nobody needs any more, and saying why.
//!
//! Cancelling a future means dropping it. What differs is who decides:
//!
//! | who | what |
//! |---|---|
//! | the holder of a task's handle | [`JoinHandle::abort`](crate::JoinHandle::abort) |
//! | the clock | [`timeout`](crate::time::timeout()) |
//! | the code around it, later, elsewhere on the loop | a [`CancelScope`] |
//! | anybody, on any thread, for many tasks at once | a [`CancellationToken`] |
//! | a sibling that failed | a [`TaskGroup`](crate::group::TaskGroup) |
//!
//! and [`shield`] protects what has to be finished once it is begun.
//!
//! **Cancel-safe** is said here of a future that can be dropped at any await and
//! made anew without losing anything: each future of this crate states it.

pub mod places;
pub mod token;

use std::borrow::Cow;
use std::fmt;

pub use token::{CancellationToken, DropGuard, WaitForCancellation};

/// The work was cancelled before it finished, for a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    reason: Cow<'static, str>,
}

impl Cancelled {
    pub(crate) fn new(reason: Cow<'static, str>) -> Self {
        Cancelled { reason }
    }

    /// What the one who cancelled gave as the reason.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cancelled: {}", self.reason)
    }
}

impl std::error::Error for Cancelled {}

#[cfg(test)]
mod tests;
