//! Group `processes`: what it costs to run a function in another process.
//!
//! The peers are Python's two pools, which most readers know, and procspawn, the
//! Rust crate with the same promise (a function, other process, no set-up of its
//! own binary). Python's versions are in `benches/python/pool.py`.

use crate::workload::Workload;

pub mod helpers;
pub mod maps;
pub mod payloads;
pub mod roundtrips;
pub mod starts;

/// The rows of the group.
pub fn workloads() -> Vec<Workload> {
    let mut all = roundtrips::workloads();
    all.extend(maps::workloads());
    all.extend(payloads::workloads());
    all.extend(starts::workloads());
    all
}
