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
//! | a sibling that failed | a [`task_group`](crate::group::task_group) |
//!
//! and [`shield()`] protects what has to be finished once it is begun.
//!
//! **Where what it holds is freed**: by its destructor, on its loop's thread, and
//! nowhere else. A future inside a task (the loser of a `select`, what a timeout or a
//! scope ends) is dropped in that task's poll, at the place that gave up on it. A task
//! that is aborted is only marked and woken (from another thread: when the loop hears of
//! it); the loop drops its future in the turn that would have polled it
//! (`task/erased.rs`, transition 2), before its joiner is told. So a destructor finds
//! the loop entered; a place in a line, a timer, a lock's guard go with it; and what
//! another thread or the kernel is busy with (`unblock`) is abandoned, not stopped.
//!
//! **Cancel-safe** is said here of a future that can be dropped at any await and
//! made anew without losing anything: each future of this crate states it.

pub mod places;
pub mod scope;
pub mod shield;
pub mod token;

use std::borrow::Cow;
use std::fmt;
use std::panic::Location;

pub use scope::{CancelScope, Scoped};
pub use shield::{Shield, shield};
pub use token::{CancellationToken, DropGuard, WaitForCancellation};

/// The work was cancelled before it finished: why, and by which scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    cause: Cause,
    scope: Option<ScopeLabel>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Cause {
    Requested(Cow<'static, str>),
    Deadline,
}

/// What a scope is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ScopeLabel {
    name: &'static str,
    made_at: &'static Location<'static>,
}

impl Cancelled {
    fn new(cause: Cause) -> Self {
        Cancelled { cause, scope: None }
    }

    pub(crate) fn requested(reason: Cow<'static, str>) -> Self {
        Cancelled::new(Cause::Requested(reason))
    }

    fn of(mut self, scope: ScopeLabel) -> Self {
        self.scope = Some(scope);
        self
    }

    /// What the one who cancelled gave as the reason.
    pub fn reason(&self) -> &str {
        match &self.cause {
            Cause::Requested(reason) => reason,
            Cause::Deadline => "the deadline has passed",
        }
    }

    /// Whether it was the clock.
    pub fn is_deadline(&self) -> bool {
        self.cause == Cause::Deadline
    }

    /// The name of the [`CancelScope`] that was cancelled, if it was one.
    pub fn scope_name(&self) -> Option<&'static str> {
        self.scope.map(|scope| scope.name)
    }
}

impl fmt::Display for ScopeLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scope '{}' made at {}", self.name, self.made_at)
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cancelled: {}", self.reason())?;
        match &self.scope {
            Some(scope) => write!(f, " ({scope})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Cancelled {}

impl From<Cancelled> for std::io::Error {
    fn from(cancelled: Cancelled) -> Self {
        std::io::Error::new(
            match cancelled.cause {
                Cause::Deadline => std::io::ErrorKind::TimedOut,
                Cause::Requested(_) => std::io::ErrorKind::Other,
            },
            cancelled,
        )
    }
}

#[cfg(test)]
mod tests;
