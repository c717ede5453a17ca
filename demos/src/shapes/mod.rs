//! The article's programs, each written once over every engine that it fits.

pub mod async_io;
pub mod cpu;
pub mod io;
pub mod memory;
pub mod pipeline;
