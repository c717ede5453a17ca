//! The one place of this crate that knows `cfg(loom)`: what protocols between
//! threads are built of, from the standard library or from the model checker.

#[cfg(loom)]
pub use loom::sync::{Condvar, Mutex, atomic};
#[cfg(loom)]
pub use loom::thread;
#[cfg(not(loom))]
pub use std::sync::{Condvar, Mutex, atomic};
#[cfg(not(loom))]
pub use std::thread;
