//! TCP streams and their halves.
//!
//! Reading and writing go through shared references, so a stream can be read by
//! one task and written by another: [`TcpStream::split`] lends the halves,
//! [`TcpStream::into_split`] gives them away.

use std::fmt;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use socket2::{SockRef, TcpKeepalive};

use super::connect;
use super::resolve::{ToSocketAddrs, lookup_host};
use crate::io::Async;

/// A connection.
///
/// Nothing is written before a peer that doesn't read has room for it: writes
/// wait, which is all the backpressure there is and needs to be.
///
/// Dropping it closes it; what was written is still delivered, unless the peer
/// has sent something that nobody read, which makes TCP reset the connection.
pub struct TcpStream {
    io: Async<std::net::TcpStream>,
}

impl TcpStream {
    /// Connects to `target`: an address, or `"host:port"`. If it has several
    /// addresses, they are raced as in [`connect`](mod@connect).
    ///
    /// There is no deadline beyond the kernel's (about two minutes): see
    /// [`connect_timeout`](TcpStream::connect_timeout).
    ///
    /// # Cancel safety
    /// Safe: attempts that have begun are closed.
    ///
    /// # Errors
    /// A [`ResolveError`](super::ResolveError) within, or the last attempt's
    /// error: `ConnectionRefused`, `TimedOut`, `HostUnreachable`, …
    pub async fn connect(target: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let addresses = lookup_host(target).await?;
        connect::race(addresses, crate::limits::CONNECT_STAGGER).await
    }

    /// As [`connect`](TcpStream::connect), for at most `timeout` in all, the
    /// look-up of the name included.
    ///
    /// # Cancel safety
    /// As [`connect`](TcpStream::connect).
    ///
    /// # Errors
    /// `TimedOut` too.
    pub async fn connect_timeout(
        target: impl ToSocketAddrs,
        timeout: Duration,
    ) -> io::Result<TcpStream> {
        match crate::time::timeout(timeout, TcpStream::connect(target)).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("no connection within {timeout:?}"),
            )),
        }
    }

    /// Connects to this one address.
    ///
    /// # Cancel safety
    /// Safe: the attempt is closed.
    ///
    /// # Errors
    /// The kernel's.
    pub async fn connect_addr(address: SocketAddr) -> io::Result<TcpStream> {
        connect::one(address).await
    }

    /// Of a nonblocking stream.
    pub(super) fn from_nonblocking(stream: std::net::TcpStream) -> TcpStream {
        TcpStream {
            io: Async::owned(stream),
        }
    }

    pub(super) fn io(&self) -> &Async<std::net::TcpStream> {
        &self.io
    }

    /// Takes a stream of the standard library, and makes it nonblocking.
    ///
    /// # Errors
    /// The kernel's.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        stream.set_nonblocking(true)?;
        Ok(TcpStream::from_nonblocking(stream))
    }

    /// The stream of the standard library, still nonblocking.
    pub fn into_std(self) -> std::net::TcpStream {
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
    /// `NotConnected` if the connection has gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().peer_addr()
    }

    /// Reads without taking: the next read sees the same bytes.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// The connection's.
    pub async fn peek(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.read_with(|stream| stream.peek(buf)).await
    }

    /// Sends `count` bytes of `file`, from `offset` on, without copying them through
    /// this process (`sendfile`); returns how many those were, fewer only at the
    /// file's end. The file's own position stays as it is.
    ///
    /// Each call into the kernel may wait for the disk, and so may the loop; for
    /// files that aren't in the page cache, read them by
    /// [`unblock`](crate::unblock()) instead.
    ///
    /// # Cancel safety
    /// Not safe: some of it may have been sent, and how much is lost.
    ///
    /// # Errors
    /// The connection's, or the file's.
    pub async fn send_file(&self, file: &File, offset: u64, count: u64) -> io::Result<u64> {
        // So that one fast peer doesn't keep the loop: the others get a turn.
        const AT_ONCE: u64 = 1 << 20;
        let mut sent = 0;
        while sent < count {
            let wanted = (count - sent).min(AT_ONCE) as usize;
            let mut position = i64::try_from(offset + sent)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no file is that long"))?;
            let went = self.io.write_with(|socket| {
                let position = Some(&mut position);
                Ok(nix::sys::sendfile::sendfile64(
                    socket, file, position, wanted,
                )?)
            });
            match went.await? {
                0 => break,
                went => sent += went as u64,
            }
            crate::yield_now().await;
        }
        Ok(sent)
    }

    /// Waits until a read is worth trying.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// As [`Async::readable`].
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.io.readable()
    }

    /// Waits until a write is worth trying.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// As [`Async::writable`].
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.io.writable()
    }

    /// Reads what is there now, without waiting: `WouldBlock` if that is nothing.
    ///
    /// # Errors
    /// The connection's.
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.io.get_ref().read(buf)
    }

    /// Writes what there is room for now, without waiting: `WouldBlock` if that
    /// is nothing.
    ///
    /// # Errors
    /// The connection's.
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        send(self.io.get_ref(), buf)
    }

    /// Ends one direction or both: with `Shutdown::Write` the peer reads the end,
    /// and can still answer.
    ///
    /// # Errors
    /// `NotConnected` if the peer has gone already.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.io.get_ref().shutdown(how)
    }

    /// Whether small writes leave at once instead of waiting for more
    /// (`TCP_NODELAY`): for requests and answers, usually wanted.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.io.get_ref().set_nodelay(on)
    }

    /// See [`set_nodelay`](TcpStream::set_nodelay).
    ///
    /// # Errors
    /// The kernel's.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.io.get_ref().nodelay()
    }

    /// What closing does with bytes that were not yet sent: `None` sends them in
    /// the background; zero throws them away and resets the connection. (The
    /// kernel would make a `close` with another value block: it is not for loops.)
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.options().set_linger(linger)
    }

    /// Asks an idle peer after `idle` whether it is still there, then every
    /// `interval`; `None` never asks. How half-open connections are found.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set_keepalive(&self, every: Option<(Duration, Duration)>) -> io::Result<()> {
        let Some((idle, interval)) = every else {
            return self.options().set_keepalive(false);
        };
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
        self.options().set_tcp_keepalive(&keepalive)
    }

    /// Every other option (buffer sizes, TTL, marks, `SO_ERROR`, …).
    pub fn options(&self) -> SockRef<'_> {
        SockRef::from(self.io.get_ref())
    }

    /// Lends a half to read and one to write, for as long as both are in use.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf { stream: self }, WriteHalf { stream: self })
    }

    /// Gives the stream away as two halves, for two tasks. Dropping the writing
    /// half ends its direction, as [`AsyncWrite::poll_close`] would.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let stream = Rc::new(self);
        let reader = OwnedReadHalf {
            stream: stream.clone(),
        };
        let writer = OwnedWriteHalf {
            stream,
            ends_on_drop: true,
        };
        (reader, writer)
    }

    fn poll_receive(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.io
            .poll_read_stream(cx, buf.len(), |mut stream| stream.read(buf))
    }

    fn poll_receive_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.io
            .poll_read_stream(cx, wanted, |mut stream| stream.read_vectored(bufs))
    }

    fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.io
            .poll_write_stream(cx, buf.len(), |stream| send(stream, buf))
    }

    fn poll_send_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted = bufs.iter().map(|buf| buf.len()).sum();
        self.io
            .poll_write_stream(cx, wanted, |stream| send_vectored(stream, bufs))
    }

    fn end_writing(&self) -> io::Result<()> {
        match self.shutdown(Shutdown::Write) {
            // The peer has reset or left: there is nobody to tell.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }
}

/// Writing with `MSG_NOSIGNAL`.
pub(super) fn send(socket: &impl AsFd, buf: &[u8]) -> io::Result<usize> {
    SockRef::from(socket).send_with_flags(buf, libc::MSG_NOSIGNAL)
}

/// Vectored writing with `MSG_NOSIGNAL`, which the standard library's lacks.
pub(super) fn send_vectored(socket: &impl AsFd, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    // The kernel refuses more than this at once.
    let bufs = &bufs[..bufs.len().min(1024)];
    SockRef::from(socket).send_vectored_with_flags(bufs, libc::MSG_NOSIGNAL)
}

/// A lent half that reads; see [`TcpStream::split`].
#[derive(Debug)]
pub struct ReadHalf<'a> {
    stream: &'a TcpStream,
}

/// A lent half that writes; see [`TcpStream::split`].
#[derive(Debug)]
pub struct WriteHalf<'a> {
    stream: &'a TcpStream,
}

/// A half that reads; see [`TcpStream::into_split`].
#[derive(Debug)]
pub struct OwnedReadHalf {
    stream: Rc<TcpStream>,
}

/// A half that writes; see [`TcpStream::into_split`].
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Rc<TcpStream>,
    ends_on_drop: bool,
}

impl OwnedReadHalf {
    /// The stream again.
    ///
    /// # Errors
    /// Both halves back, if they aren't of one stream.
    pub fn reunite(
        self,
        mut writer: OwnedWriteHalf,
    ) -> Result<TcpStream, (OwnedReadHalf, OwnedWriteHalf)> {
        if !Rc::ptr_eq(&self.stream, &writer.stream) {
            return Err((self, writer));
        }
        writer.ends_on_drop = false;
        drop(writer);
        match Rc::try_unwrap(self.stream) {
            Ok(stream) => Ok(stream),
            Err(_) => unreachable!("a stream has two halves, and both were given"),
        }
    }
}

impl OwnedWriteHalf {
    /// Lets the direction stay open when this half is dropped.
    pub fn forget(mut self) {
        self.ends_on_drop = false;
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.ends_on_drop {
            let _ = self.stream.end_writing();
        }
    }
}

impl AsRef<TcpStream> for ReadHalf<'_> {
    fn as_ref(&self) -> &TcpStream {
        self.stream
    }
}

impl AsRef<TcpStream> for WriteHalf<'_> {
    fn as_ref(&self) -> &TcpStream {
        self.stream
    }
}

impl AsRef<TcpStream> for OwnedReadHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsRef<TcpStream> for OwnedWriteHalf {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl AsRef<TcpStream> for TcpStream {
    fn as_ref(&self) -> &TcpStream {
        self
    }
}

/// The same three lines for every type that reads from a [`TcpStream`].
macro_rules! reads {
    ($($type:ty),*) => {$(
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                (*self).as_ref().poll_receive(cx, buf)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                (*self).as_ref().poll_receive_vectored(cx, bufs)
            }
        }
    )*};
}
reads!(TcpStream, &TcpStream, ReadHalf<'_>, OwnedReadHalf);

/// The same four for every type that writes to one.
macro_rules! writes {
    ($($type:ty),*) => {$(
        impl AsyncWrite for $type {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                (*self).as_ref().poll_send(cx, buf)
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                (*self).as_ref().poll_send_vectored(cx, bufs)
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(())) // The kernel holds nothing back for us to push.
            }

            fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready((*self).as_ref().end_writing())
            }
        }
    )*};
}
writes!(TcpStream, &TcpStream, WriteHalf<'_>, OwnedWriteHalf);

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}

impl From<TcpStream> for OwnedFd {
    fn from(stream: TcpStream) -> OwnedFd {
        stream.into_std().into()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.io.get_ref(), f)
    }
}
