//! Tasks: futures that run on a loop of their own accord.
//!
//! Reading order: [`mod@id`] (how a task is named), `waker` (how it is woken), `cell`
//! and `erased` (what it consists of), [`slab`] (where its loop keeps it), [`join`]
//! (who gets its output), [`hook`] (who hears of its panic), [`local`], [`dump`]
//! (how to see them all); beside them `state` and `site` (two words of a task) and
//! `blocks` (their memory).
//!
//! The life of a task, as its loop sees it:
//! ```text
//!              wake                  poll: Ready, panic, or aborted
//!          ┌───────────┐           ┌─────────────────────────────▶ ended
//!          │           ▼           │                                │
//!  spawn ─▶│ parked   ready ─▶ running                    output waits for its
//!     ▲────┘             ▲         │                      JoinHandle, in the cell
//!     └── (ready first)  └─────────┤
//!                  woken meanwhile │
//!         parked ◀─────────────────┘ poll: Pending
//! ```

pub(crate) mod blocks;
pub(crate) mod cell;
pub mod dump;
pub(crate) mod erased;
pub mod hook;
pub mod id;
pub mod join;
pub mod join_error;
pub mod local;
pub(crate) mod prefetch;
mod site;
pub mod slab;
mod state;
pub(crate) mod waker;
pub mod yielding;

use std::borrow::Cow;
use std::future::Future;
use std::panic::Location;

use crate::context;
use cell::Extra;

pub use crate::inspect::WaitsFor;
pub use dump::{TaskInfo, TaskState};
pub use hook::{Unhandled, reset_unhandled_panic_hook, set_unhandled_panic_hook};
pub use id::TaskId;
pub use join::{AbortHandle, JoinHandle};
pub use join_error::JoinError;
pub use local::TaskLocal;
pub use yielding::{YieldNow, yield_now};

/// Starts `future` as a task of the loop that runs on this thread. It is polled
/// first after the task that runs now has made way; the future need not be
/// `Send`.
///
/// Costs some 20 ns, and no allocation where a task of its size has ended before.
///
/// # Panics
/// Outside of a loop, with advice.
///
/// ```
/// use threeply_runtime::{block_on, spawn};
/// let sum = block_on(async {
///     let tasks: Vec<_> = (1..=3).map(|n| spawn(async move { n * n })).collect();
///     let mut sum = 0;
///     for task in tasks {
///         sum += task.await.unwrap();
///     }
///     sum
/// });
/// assert_eq!(sum, 14);
/// ```
#[inline]
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
{
    let site = Location::caller();
    context::with_named("`spawn`", |core| core.spawn(future, None, site))
}

/// Spawns a task with a name.
///
/// ```
/// # use threeply_runtime::{block_on, task};
/// block_on(async {
///     let task = task::Builder::new().name("fetch").spawn(async { task::name() });
///     assert_eq!(task.await.unwrap().unwrap(), "fetch");
/// });
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `spawn`"]
pub struct Builder {
    name: Option<Cow<'static, str>>,
}

impl Builder {
    /// A task without a name.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the task, for error messages and dumps.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// As [`spawn`].
    ///
    /// # Panics
    /// Outside of a loop, with advice.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let site = Location::caller();
        let extra = self.name.map(Extra::named);
        context::with_named("`spawn`", |core| core.spawn(future, extra, site))
    }
}

/// The task that runs now: `None` outside of a loop, and in code that the loop
/// runs for no task.
#[must_use]
pub fn current() -> Option<TaskInfo> {
    let task = context::try_with(|core| core.current_task())??;
    let mut info = TaskInfo::of(&task, false);
    info.state = TaskState::Running; // Also the main future, which has no stage.
    Some(info)
}

/// The number of the task that runs now.
#[must_use]
pub fn id() -> Option<TaskId> {
    context::try_with(|core| core.current_task().map(|task| task.id()))?
}

/// The name of the task that runs now.
#[must_use]
pub fn name() -> Option<Cow<'static, str>> {
    context::try_with(|core| core.current_task())??.name()
}

/// All tasks of the loop that runs on this thread that haven't ended, oldest
/// first, and what each waits for, as far as that can be seen from outside of it:
/// timers, descriptors, other tasks. [`inspect::dump`](crate::inspect::dump) asks the
/// tasks too. Empty outside of a loop. O(n log n) in the number of tasks, timers and
/// descriptors.
#[must_use]
pub fn all() -> Vec<TaskInfo> {
    context::try_with(|core| core.tasks()).unwrap_or_default()
}
