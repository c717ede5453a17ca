//! A single-threaded event loop, built by hand on `mio`.

pub mod sys;
pub mod time;
