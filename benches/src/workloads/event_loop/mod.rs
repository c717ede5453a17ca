//! Group `loop`: what an executor costs by itself, on one thread.
//!
//! Every workload runs inside a spawned task, not in `block_on`'s own future:
//! some executors treat that one as a stranger and poll the kernel after each of
//! its turns.

use crate::workload::Workload;

pub mod channels;
pub mod engines;
pub mod locks;
pub mod primitives;
pub mod remote;
pub mod tasks;
pub mod timers;

/// The rows of the group.
pub fn workloads() -> Vec<Workload> {
    let mut all = tasks::workloads();
    all.extend(channels::workloads());
    all.extend(locks::workloads());
    all.extend(remote::workloads());
    all.extend(timers::workloads());
    all
}
