//! Group `article`: the three programs of the article, over all engines.
//!
//! Figures are warm: workers are ready before the clock starts, for everybody
//! alike. What starting them costs stands in the other groups and in the demo
//! `compare`.

use crate::workload::Workload;

pub mod cpu;
pub mod downloads;
pub mod server;

/// The rows of the group.
pub fn workloads() -> Vec<Workload> {
    let mut all = cpu::workloads();
    all.extend(downloads::workloads());
    all
}
