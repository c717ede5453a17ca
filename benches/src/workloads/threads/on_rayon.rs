//! The kernels on rayon's iterators.

pub(super) use rayon::{join, prelude};

#[path = "kernel_bodies.rs"]
pub mod bodies;
