//! Sockets between processes of one machine, which can pass descriptors.
#![allow(unsafe_code)] // Received descriptors come as numbers, which nobody else owns.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net as std_unix;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use super::listener::Pause;
use super::tcp::{send, send_vectored};
use crate::io::{Async, ReadHalf, WriteHalf, split};

/// A connection over a path, or between the two ends of a pair.
pub struct UnixStream {
    io: Async<std_unix::UnixStream>,
}

impl UnixStream {
    /// Connects to the socket at `path`.
    ///
    /// The kernel has no way to wait for a listener whose backlog is full: then
    /// it is tried again after 1 ms, 2 ms, and so on up to 100.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// `NotFound`, `ConnectionRefused` (nobody listens there any more), …
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let mut pause = Duration::from_millis(1);
        loop {
            match mio::net::UnixStream::connect(path.as_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    crate::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(100));
                }
                result => {
                    let stream = std_unix::UnixStream::from(OwnedFd::from(result?));
                    return Ok(UnixStream::from_nonblocking(stream));
                }
            }
        }
    }

    /// Two connected streams.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (a, b) = std_unix::UnixStream::pair()?;
        Ok((UnixStream::from_std(a)?, UnixStream::from_std(b)?))
    }

    fn from_nonblocking(stream: std_unix::UnixStream) -> UnixStream {
        UnixStream {
            io: Async::owned(stream),
        }
    }

    /// Takes a stream of the standard library, and makes it nonblocking.
    ///
    /// # Errors
    /// The kernel's.
    pub fn from_std(stream: std_unix::UnixStream) -> io::Result<UnixStream> {
        stream.set_nonblocking(true)?;
        Ok(UnixStream::from_nonblocking(stream))
    }

    /// The stream of the standard library, still nonblocking.
    pub fn into_std(self) -> std_unix::UnixStream {
        self.io.into_inner()
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
    /// The kernel's.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Ends one direction or both.
    ///
    /// # Errors
    /// The kernel's.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }

    /// Two halves, for two tasks. The direction ends by
    /// [`close`](crate::io::AsyncWriteExt::close), or when both are dropped.
    pub fn into_split(self) -> (ReadHalf<UnixStream>, WriteHalf<UnixStream>) {
        split(self)
    }

    /// Writes once, with copies of up to 253 descriptors that travel with the
    /// first byte: `buf` can't be empty.
    ///
    /// # Cancel safety
    /// Safe: if it wasn't ready, nothing was sent.
    ///
    /// # Errors
    /// `InvalidInput` for an empty `buf`; the kernel's.
    pub async fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        if buf.is_empty() {
            let message = "descriptors need at least one byte to travel with";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.io
            .write_with(|stream| send_fds(stream, buf, fds))
            .await
    }

    /// Reads once, and takes the descriptors that came along; they are closed on
    /// `exec`. A plain read would close them.
    ///
    /// # Cancel safety
    /// Safe: what wasn't returned wasn't received.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn recv_with_fds(&self, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.io.read_with(|stream| receive_fds(stream, buf)).await
    }

    fn end_writing(&self) -> io::Result<()> {
        match self.shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

fn send_fds(socket: &impl AsFd, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let numbers: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let messages = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_NOSIGNAL;
    let socket = socket.as_fd().as_raw_fd();
    Ok(sendmsg::<()>(
        socket,
        &[IoSlice::new(buf)],
        messages,
        flags,
        None,
    )?)
}

fn receive_fds(socket: &impl AsFd, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    // As many as the kernel lets travel at once, so none is cut off.
    let mut space = nix::cmsg_space!([RawFd; 253]);
    let mut slices = [IoSliceMut::new(buf)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let socket = socket.as_fd().as_raw_fd();
    let message = recvmsg::<()>(socket, &mut slices, Some(&mut space), flags)?;
    let mut fds = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel has just opened them for this call, which is
            // the only one to know them.
            let owned = |number| unsafe { OwnedFd::from_raw_fd(number) };
            fds.extend(numbers.into_iter().map(owned));
        }
    }
    Ok((message.bytes, fds))
}

impl AsyncRead for UnixStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // A short read may only mean that a descriptor comes next.
        self.io.poll_read_with(cx, |mut stream| stream.read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io
            .poll_read_with(cx, |mut stream| stream.read_vectored(bufs))
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.poll_write_with(cx, |stream| send(stream, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io
            .poll_write_with(cx, |stream| send_vectored(stream, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.end_writing())
    }
}

/// A socket at a path that accepts connections. When descriptors run out it
/// behaves as a [`TcpListener`](super::TcpListener) does.
///
/// Dropping it leaves the path behind: remove it before the next `bind`.
pub struct UnixListener {
    io: Async<mio::net::UnixListener>,
    pause: Pause,
}

impl UnixListener {
    /// Listens at `path`, which must not exist.
    ///
    /// # Errors
    /// `AddrInUse` if there is something at `path`, even a dead socket.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::from_std(std_unix::UnixListener::bind(path)?)
    }

    /// Takes a listener of the standard library, and makes it nonblocking.
    ///
    /// # Errors
    /// The kernel's.
    pub fn from_std(listener: std_unix::UnixListener) -> io::Result<UnixListener> {
        listener.set_nonblocking(true)?;
        Ok(UnixListener {
            io: Async::owned(mio::net::UnixListener::from_std(listener)),
            pause: Pause::default(),
        })
    }

    /// Waits for the next connection.
    ///
    /// # Cancel safety
    /// Safe: a connection that wasn't returned is still in the backlog.
    ///
    /// # Errors
    /// As [`TcpListener::accept`](super::TcpListener::accept).
    pub async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            self.pause.over().await;
            let accepted = self.io.read_with(mio::net::UnixListener::accept).await;
            if let Some(result) = self.pause.judge(accepted) {
                let (stream, _) = result?;
                let stream = std_unix::UnixStream::from(OwnedFd::from(stream));
                return Ok(UnixStream::from_nonblocking(stream));
            }
        }
    }
}

/// Datagrams over a path or between the two ends of a pair: whole, in order, and
/// never lost, since a sender waits for room.
pub struct UnixDatagram {
    io: Async<std_unix::UnixDatagram>,
}

impl UnixDatagram {
    /// Receives at `path`, which must not exist.
    ///
    /// # Errors
    /// `AddrInUse` if there is something at `path`.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(std_unix::UnixDatagram::bind(path)?)
    }

    /// One that can only send.
    ///
    /// # Errors
    /// The kernel's.
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(std_unix::UnixDatagram::unbound()?)
    }

    /// Two, each the other's peer.
    ///
    /// # Errors
    /// The kernel's.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (a, b) = std_unix::UnixDatagram::pair()?;
        Ok((UnixDatagram::from_std(a)?, UnixDatagram::from_std(b)?))
    }

    /// Takes a socket of the standard library, and makes it nonblocking.
    ///
    /// # Errors
    /// The kernel's.
    pub fn from_std(socket: std_unix::UnixDatagram) -> io::Result<UnixDatagram> {
        socket.set_nonblocking(true)?;
        Ok(UnixDatagram {
            io: Async::owned(socket),
        })
    }

    /// Makes the socket at `path` the peer.
    ///
    /// # Errors
    /// `NotFound`, `ConnectionRefused`.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.io.get_ref().connect(path)
    }

    /// Sends a datagram to the peer.
    ///
    /// # Cancel safety
    /// Safe: it was sent or it wasn't.
    ///
    /// # Errors
    /// `NotConnected` without a peer, `ConnectionRefused` if it has gone.
    pub async fn send(&self, buf: &[u8]) -> io::Result<usize> {
        self.io.write_with(|socket| socket.send(buf)).await
    }

    /// Sends a datagram to the socket at `path`.
    ///
    /// The kernel tells nobody when a receiver that isn't the connected peer has
    /// room again: then it is tried again after 1 ms, 2 ms, and so on up to 20.
    ///
    /// # Cancel safety
    /// Safe: it was sent or it wasn't.
    ///
    /// # Errors
    /// `NotFound`, `ConnectionRefused`.
    pub async fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let mut pause = Duration::from_millis(1);
        loop {
            match self.io.get_ref().send_to(buf, path.as_ref()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    crate::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(20));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Receives a datagram; returns its length.
    ///
    /// # Cancel safety
    /// Safe: what wasn't returned wasn't received.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.read_with(|socket| socket.recv(buf)).await
    }

    /// Receives a datagram; returns its length and its sender's address.
    ///
    /// # Cancel safety
    /// Safe: what wasn't returned wasn't received.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.io.read_with(|socket| socket.recv_from(buf)).await
    }

    /// As [`UnixStream::send_with_fds`], for a datagram to the peer.
    ///
    /// # Cancel safety
    /// Safe: it was sent or it wasn't.
    ///
    /// # Errors
    /// As [`send`](UnixDatagram::send).
    pub async fn send_with_fds(&self, buf: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.io
            .write_with(|socket| send_fds(socket, buf, fds))
            .await
    }

    /// As [`UnixStream::recv_with_fds`], for a datagram.
    ///
    /// # Cancel safety
    /// Safe: what wasn't returned wasn't received.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn recv_with_fds(&self, buf: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.io.read_with(|socket| receive_fds(socket, buf)).await
    }
}

/// What every socket here has.
macro_rules! socket {
    ($($type:ty),*) => {$(
        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.io.as_fd()
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.io.get_ref(), f)
            }
        }
    )*};
}
socket!(UnixStream, UnixListener, UnixDatagram);
