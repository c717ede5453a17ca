//! Datagrams.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use socket2::SockRef;

use super::resolve::{ToSocketAddrs, lookup_host};
use crate::io::Async;

/// A UDP socket. Any number of tasks may send and receive through one.
///
/// A datagram is sent and received whole: what doesn't fit the buffer is lost.
/// Datagrams themselves may be lost, doubled, and overtake each other.
pub struct UdpSocket {
    io: Async<std::net::UdpSocket>,
}

impl UdpSocket {
    /// Takes `target`, or the first of its addresses that can be had; port zero
    /// picks a free one.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, …
    pub async fn bind(target: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        let addresses = lookup_host(target).await?;
        UdpSocket::from_std(std::net::UdpSocket::bind(&addresses[..])?)
    }

    /// Takes a socket of the standard library, and makes it nonblocking.
    ///
    /// # Errors
    /// The kernel's.
    pub fn from_std(socket: std::net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        Ok(UdpSocket {
            io: Async::owned(socket),
        })
    }

    /// The socket of the standard library, still nonblocking.
    pub fn into_std(self) -> std::net::UdpSocket {
        self.io.into_inner()
    }

    /// Makes `target` the peer of [`send`](UdpSocket::send) and
    /// [`recv`](UdpSocket::recv); datagrams from others aren't received any more.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// A [`ResolveError`](super::ResolveError) within, or the kernel's.
    pub async fn connect(&self, target: impl ToSocketAddrs) -> io::Result<()> {
        let addresses = lookup_host(target).await?;
        self.io.get_ref().connect(&addresses[..])
    }

    /// Sends a datagram to the peer.
    ///
    /// # Cancel safety
    /// Safe: it was sent or it wasn't.
    ///
    /// # Errors
    /// `ConnectionRefused` if an earlier one found nobody; `EMSGSIZE` if it is too
    /// long.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.write_with(|socket| socket.send(buf)).await
    }

    /// Sends a datagram to `target`.
    ///
    /// # Cancel safety
    /// Safe: it was sent or it wasn't.
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send).
    pub async fn send_to(&self, buf: &[u8], target: SocketAddr) -> io::Result<usize> {
        self.io
            .write_with(|socket| socket.send_to(buf, target))
            .await
    }

    /// Receives a datagram from the peer; returns its length.
    ///
    /// # Cancel safety
    /// Safe: what wasn't returned wasn't received.
    ///
    /// # Errors
    /// As [`send`](UdpSocket::send).
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.read_with(|socket| socket.recv(buf)).await
    }

    /// Receives a datagram; returns its length and where it came from.
    ///
    /// # Cancel safety
    /// Safe: what wasn't returned wasn't received.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_with(|socket| socket.recv_from(buf)).await
    }

    /// As [`recv_from`](UdpSocket::recv_from), and the next call sees it again.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn peek_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_with(|socket| socket.peek_from(buf)).await
    }

    /// Our address.
    ///
    /// # Errors
    /// The kernel's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    /// The peer's address.
    ///
    /// # Errors
    /// `NotConnected` without a peer.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Every option: broadcast, multicast groups, TTL, buffer sizes, …
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(self.io.get_ref())
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.io.get_ref(), f)
    }
}
