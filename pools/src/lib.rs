//! A work-stealing thread pool and a process pool, both built by hand.

pub mod error;
pub mod ipc;
pub mod limits;
pub mod process;
pub mod spin;
pub mod switch;
pub mod thread;

pub use error::{Error, JobError};
