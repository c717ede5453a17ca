//! A single-threaded event loop, built by hand on `mio`, to be used and to be read.
//!
//! ```
//! use std::time::Duration;
//! use threeply_runtime::{block_on, spawn, time::sleep};
//!
//! let sum = block_on(async {
//!     let slow = spawn(async {
//!         sleep(Duration::from_millis(1)).await;
//!         40
//!     });
//!     let fast = spawn(async { 2 });
//!     slow.await.unwrap() + fast.await.unwrap()
//! });
//! assert_eq!(sum, 42);
//! ```
//!
//! `README.md` of this crate draws the loop's turn and the life of a task, and
//! gives routes to read the source by. In short, from the ground up:
//!
//! | modules | what |
//! |---|---|
//! | [`limits`], [`error`], [`switch`] | every limit; the error type; std or loom |
//! | [`sys`] | descriptors, and how programs are started |
//! | [`task`], [`event_loop`], [`context`] | tasks, the loop that runs them, how code finds it |
//! | [`remote`] | how other threads reach a loop |
//! | [`time`] | timers, on a real or a virtual clock |
//! | [`reactor`], [`io`], [`net`], [`fs`], [`process`], [`signal`], [`unblock`](mod@unblock) | what the loop waits for |
//! | [`sync`] | locks and channels, for one loop or between threads |
//! | [`future`], [`group`], [`cancel`] | many futures as one, and ending them early |
//! | [`inspect`] | what waits for what, and why nothing happens |
//! | [`trace`] | what all of it did, when, and because of what |

mod backoff;
pub mod cancel;
pub mod context;
pub mod error;
pub mod event_loop;
pub mod fs;
pub mod future;
pub mod group;
pub mod inspect;
pub mod io;
pub mod limits;
pub mod net;
pub mod process;
pub mod reactor;
pub mod remote;
pub mod signal;
pub mod switch;
pub mod sync;
pub mod sys;
pub mod task;
pub mod time;
pub mod trace;
pub mod unblock;

pub use error::Error;
pub use event_loop::{
    Builder, EventLoop, Handle, RemoteHandle, ShutdownReport, Stats, block_on, stats,
};
pub use task::{AbortHandle, JoinError, JoinHandle, TaskId, TaskLocal, spawn, yield_now};
pub use unblock::unblock;
