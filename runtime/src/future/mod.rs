//! Many futures in one task: wait for all, for the first, for each as it comes.
//!
//! | here | asyncio | futures, tokio |
//! |---|---|---|
//! | [`gather`](gather()) | `gather` | – (`JoinSet`) |
//! | [`join_all`] | – | `join_all` |
//! | [`try_join_all`] | `gather` of what may raise | `try_join_all` |
//! | [`race`] | `wait(FIRST_COMPLETED)` | `select_all`, `race` |
//! | [`select()`] | – | `select!`, `select` |
//! | [`as_completed`] | `as_completed` | `FuturesUnordered` |
//!
//! But for `gather`, which spawns, they run on the task that awaits them, one at
//! a time, and end with it: they may borrow, a panic in one is a panic of the
//! task, and dropping them cancels. Tasks that live and die together are a
//! [`task_group`](crate::group::task_group).
//!
//! Reading order: [`join`], [`mod@gather`], [`completed`], [`mod@select`], then
//! the engine under most of them, [`children`], and what its wakers write to,
//! [`ready`].

pub mod children;
pub mod completed;
pub mod dice;
pub mod gather;
pub mod join;
pub mod ready;
pub mod select;

pub use completed::{AsCompleted, Race, as_completed, race};
pub use gather::{Gather, GatherResults, gather};
pub use join::{JoinAll, TryJoinAll, join_all, try_join_all};
pub use select::{Either, Either3, Either4, Select, select, select_biased};

#[cfg(test)]
mod tests;
