//! A single-threaded event loop, built by hand on `mio`.

pub mod cancel;
pub mod future;
pub mod limits;
pub mod switch;
pub mod sync;
pub mod sys;
pub mod time;
pub mod unblock;

pub use unblock::unblock;
