//! Synchronization between tasks, in two families.
//!
//! Pick [`local`] for the tasks of one loop, [`shared`] for whatever crosses
//! threads: other loops, jobs of the thread pool, plain threads. The names and
//! the behaviour are the same; what differs is said in [`family`].
//!
//! All of it relies on [`std::task::Waker`] alone and works on any executor.

pub mod after;
pub mod barrier;
pub mod blocking;
pub mod broadcast;
pub mod condvar;
pub mod coop;
pub mod errors;
pub mod event;
pub mod family;
pub mod limiter;
pub mod local;
pub mod mpsc;
pub mod mutex;
pub mod notify;
pub mod once_cell;
pub mod oneshot;
pub mod permits;
pub mod place;
pub mod queue;
pub mod rwlock;
pub mod semaphore;
pub mod shared;
pub mod wait_queue;
pub mod watch;

#[cfg(test)]
mod tests;
