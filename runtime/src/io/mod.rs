//! Reading and writing without blocking the loop.
//!
//! The traits are those of `futures-io`, so that everything which speaks them
//! (TLS, WebSocket, compression) works on our types, and ours on theirs.
//!
//! In reading order:
//! - [`async_fd`]: [`Async`], any descriptor made awaitable;
//! - [`read`] and [`write`](mod@write): the methods that make the traits pleasant
//!   ([`AsyncReadExt`], [`AsyncWriteExt`]);
//! - [`buffered`] and [`buf_read`]: fewer system calls, lines;
//! - [`copy`](mod@copy) and [`duplex`](mod@duplex): from one end to another, and
//!   a pair of ends in memory;
//! - [`split`](mod@split): reading in one task and writing in another;
//! - [`pipe`](mod@pipe): pipes and FIFOs;
//! - [`blocking`] and [`stdio`]: files, and the terminal or whatever stands in
//!   for it.
//!
//! # Cancel safety
//! A future that is dropped before it is ready has been *cancelled*. Every async
//! function here says what is lost then. The rule: one read or one write loses
//! nothing; whatever takes several (`read_exact`, `write_all`, `copy`) may have
//! done some of them.
//!
//! Rejected: traits of our own that take buffers by value, as completion-based
//! I/O (`io_uring`) wants them. They are a world apart from every crate that
//! people have; and readiness needs no buffer while a connection is idle.

pub mod async_fd;
pub mod blocking;
pub mod buf_read;
pub mod buffered;
pub mod copy;
pub mod duplex;
pub mod pipe;
pub mod read;
pub mod split;
pub mod stdio;
#[cfg(test)]
mod tests;
pub mod write;

pub use async_fd::Async;
pub use buf_read::{AsyncBufReadExt, Lines};
pub use buffered::{BufReader, BufWriter};
pub use copy::{copy, copy_bidirectional};
pub use duplex::{DuplexStream, duplex};
pub use futures_io::{AsyncBufRead, AsyncRead, AsyncSeek, AsyncWrite};
pub use pipe::{PipeReader, PipeWriter, pipe};
pub use read::AsyncReadExt;
pub use split::{ReadHalf, WriteHalf, split};
pub use stdio::{Stderr, Stdin, Stdout, stderr, stdin, stdout};
pub use write::AsyncWriteExt;
