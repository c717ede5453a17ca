//! Sockets that are awaited.
//!
//! In reading order: [`tcp`] (streams, their halves), [`listener`] (accepting,
//! and what happens when descriptors run out), [`connect`] (several addresses,
//! raced), [`resolve`] (names to addresses), then [`udp`] and [`unix`].
//!
//! Every socket is an [`io::Async`](crate::io::Async) around the standard
//! library's type, belongs to its thread, and is registered with the loop only if
//! a call would block. `into_std` gives the standard type back, to be sent to
//! another thread, say; it is still nonblocking then.
//!
//! Writing to a peer that has gone is an error (`BrokenPipe`, `ConnectionReset`),
//! never a `SIGPIPE`, whatever that signal's disposition is.

pub mod connect;
pub mod listener;
pub mod resolve;
pub mod tcp;
#[cfg(test)]
mod tests;
pub mod udp;
pub mod unix;

pub use listener::{Incoming, TcpListener};
pub use resolve::{ResolveError, ToSocketAddrs, lookup_host};
pub use tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, TcpStream, WriteHalf};
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixStream};
