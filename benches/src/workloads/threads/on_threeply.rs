//! The kernels on our iterators.

pub(super) use threeply_pools::thread::join;
pub(super) use threeply_pools::thread::prelude;

// The same text as for the others, on purpose.
#[allow(clippy::duplicate_mod)]
#[path = "kernel_bodies.rs"]
pub mod bodies;
