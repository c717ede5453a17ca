//! Synchronization between tasks, in two families.
//!
//! Pick [`local`] for the tasks of one loop, [`shared`] for whatever crosses
//! threads: other loops, jobs of the thread pool, plain threads. The names and
//! the behaviour are the same; what differs is said in [`family`].
//!
//! All of it relies on [`std::task::Waker`] alone and works on any executor; on a
//! loop of ours it also keeps to the task's budget ([`coop`]).
//!
//! `README.md` beside this file has the map: the families, the life of a waiter,
//! why no turn and no wake-up is lost, what closing means, what it costs.
//!
//! ```
//! use std::rc::Rc;
//! use threeply_runtime::sync::{local, shared};
//! use threeply_runtime::{block_on, spawn};
//!
//! block_on(async {
//!     // Between tasks of this loop.
//!     let total = Rc::new(local::Mutex::new(0));
//!     let task = spawn({
//!         let total = total.clone();
//!         async move { *total.lock().await += 1 }
//!     });
//!     // From a thread to this loop.
//!     let (sender, mut receiver) = shared::mpsc::channel(10);
//!     let thread = std::thread::spawn(move || sender.blocking_send(41));
//!     *total.lock().await += receiver.recv().await.unwrap();
//!     task.await.unwrap();
//!     assert_eq!(*total.lock().await, 42);
//!     thread.join().unwrap().unwrap();
//! });
//! ```

pub mod after;
pub mod barrier;
pub mod blocking;
pub mod broadcast;
pub mod condvar;
pub mod coop;
pub mod errors;
pub mod event;
pub mod family;
pub mod holders;
pub mod limiter;
pub mod local;
pub mod mpsc;
pub mod mutex;
pub mod notify;
pub mod once_cell;
pub mod oneshot;
pub mod pair;
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
