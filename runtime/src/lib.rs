//! A single-threaded event loop, built by hand on `mio`.

pub mod cancel;
pub mod context;
pub mod error;
pub mod event_loop;
pub mod fs;
pub mod future;
pub mod group;
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
pub mod unblock;

pub use error::Error;
pub use event_loop::{
    Builder, EventLoop, Handle, RemoteHandle, ShutdownReport, Stats, block_on, stats,
};
pub use task::{AbortHandle, JoinError, JoinHandle, TaskId, TaskLocal, spawn, yield_now};
pub use unblock::unblock;
