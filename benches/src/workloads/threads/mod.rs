//! Group `threads`: what a pool costs and how well it shares work out.
//!
//! Rows ending in `_1` run with one worker and with the whole process on one
//! core, so that nobody gains by a caller that takes part; rows ending in `_2`
//! with two workers on two cores. Where the caller takes part by an engine's
//! design (ours in `run` and `scope`, chili always), the text of the row says so.

use crate::workload::{Group, Pin, Unit, Workload};

pub mod engines;
pub mod forks;
pub mod handover;
pub mod kernels;
pub mod on_rayon;
pub mod on_threeply;
pub mod spawns;
pub mod uts;

/// A row for one and one for two workers.
fn both(
    name: &str,
    unit: Unit,
    what: &'static str,
    build: impl Fn(Workload, usize) -> Workload,
) -> Vec<Workload> {
    [1, 2]
        .into_iter()
        .map(|workers| {
            let row = Workload::new(Group::Threads, format!("{name}_{workers}"), unit, what)
                .workers(workers)
                .pin(if workers == 1 { Pin::Same } else { Pin::Free });
            build(row, workers)
        })
        .collect()
}

/// The rows of the group.
pub fn workloads() -> Vec<Workload> {
    let mut all = forks::workloads();
    all.extend(spawns::workloads());
    all.extend(handover::workloads());
    all.extend(kernels::workloads());
    all
}
