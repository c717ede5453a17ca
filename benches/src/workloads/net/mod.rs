//! Group `net`: what a server pays for an operation.
//!
//! Throughput over loopback on two cores is noise of a quarter; the server's CPU
//! time isn't. So each row starts a server in a process of its own, on a core of
//! its own, lets the same load generator work on it from another core, and
//! divides the server's user and system time by the operations.

use crate::workload::Workload;

pub mod epoll;
pub mod http;
pub mod load;
pub mod servers;

/// The rows of the group.
pub fn workloads() -> Vec<Workload> {
    load::workloads()
}
