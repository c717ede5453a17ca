//! Many futures in one task: wait for all, for the first, for each as it comes.
//!
//! | here | asyncio | futures, tokio |
//! |---|---|---|
//! | [`join_all`] | – | `join_all` |
//! | [`try_join_all`] | `gather` of fallible ones | `try_join_all` |
//! | [`race`] | `wait(FIRST_COMPLETED)` | `select_all`, `race` |
//! | [`select()`] | – | `select!`, `select` |
//! | [`as_completed`] | `as_completed` | `FuturesUnordered` |
//!
//! They run on the task that awaits them, one at a time, and end with it: they
//! may borrow, a panic in one is a panic of the task, and dropping them cancels.
//!
//! Reading order: [`join`], [`completed`], [`mod@select`], then the engine under
//! all but the last, [`children`], and what its wakers write to, [`ready`].

pub mod children;
pub mod completed;
pub mod dice;
pub mod join;
pub mod ready;
pub mod select;

pub use completed::{AsCompleted, Race, as_completed, race};
pub use join::{JoinAll, TryJoinAll, join_all, try_join_all};
pub use select::{Either, Either3, Either4, Select, select, select_biased};

#[cfg(test)]
mod tests;
