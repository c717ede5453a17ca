//! Any descriptor that epoll can watch, made awaitable.
//!
//! Read [`crate::reactor::source`] for how readiness works; every socket of
//! [`crate::net`] is one of these inside.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::{SFlag, fstat};

use crate::reactor::{Direction, Source};
use crate::sync::coop::poll_proceed;
use crate::sys::pipe::set_nonblocking;

/// A descriptor, and what the loop knows about it.
///
/// For whatever has no type of its own here: a device, an inotify, a socket of
/// another family, a library's descriptor. It belongs to its thread, and is
/// watched by the loop that first has to wait for it. Awaiting what isn't ready
/// outside a loop panics.
///
/// ```
/// # use threeply_runtime::{block_on, io::Async, sys};
/// # use std::{fs::File, io::{Read, Write}};
/// let (reader, writer) = sys::pipe::pipe()?;
/// let reader = Async::new(File::from(reader))?;
/// File::from(writer).write_all(b"ready")?;
/// let mut buf = [0; 8];
/// let count = block_on(reader.read_with(|mut file| file.read(&mut buf)))?;
/// assert_eq!(&buf[..count], b"ready");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Async<T> {
    // Dropped first, so that the loop lets go of a descriptor that still exists.
    watch: Watch,
    inner: T,
}

/// Ends the watching with its owner.
struct Watch {
    source: Rc<Source>,
    /// Dropping the owner closes the descriptor, which ends the watching too.
    closes: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.closes {
            self.source.closing();
        } else {
            self.source.forget();
        }
    }
}

impl<T: AsFd> Async<T> {
    /// Makes `inner` nonblocking and awaitable.
    ///
    /// # Errors
    /// `Unsupported` for regular files and directories: epoll can't watch them,
    /// since to it they are always ready, though a read may wait for a disk. Use
    /// [`unblock`](crate::unblock()) for them.
    pub fn new(inner: T) -> io::Result<Async<T>> {
        let mode = SFlag::from_bits_truncate(fstat(&inner)?.st_mode) & SFlag::S_IFMT;
        if mode == SFlag::S_IFREG || mode == SFlag::S_IFDIR {
            let message = "a regular file or directory can't be awaited: it is always ready to \
                           epoll, and blocks all the same; use `unblock` for it";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
        set_nonblocking(&inner, true)?;
        Ok(Async::with(inner, false))
    }

    /// Of a descriptor that is nonblocking, watchable, and closed by dropping
    /// `inner`: saves the checks of [`new`](Async::new).
    pub(crate) fn owned(inner: T) -> Async<T> {
        Async::with(inner, true)
    }

    /// Of a descriptor that others share, and whose calls don't block by some
    /// other means than its flag (`MSG_DONTWAIT`, say): the flag stays as it is.
    pub fn shared(inner: T) -> Async<T> {
        Async::with(inner, false)
    }

    fn with(inner: T, closes: bool) -> Async<T> {
        let source = Source::new(inner.as_fd().as_raw_fd());
        Async {
            watch: Watch { source, closes },
            inner,
        }
    }

    /// Waits until a read is worth trying.
    ///
    /// The kernel is asked at that moment: no stale answer, at the price of a
    /// system call. Another task may still be faster; [`read_with`](Async::read_with)
    /// doesn't mind.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// If the descriptor can't be watched.
    pub fn readable(&self) -> impl Future<Output = io::Result<()>> {
        self.until(Direction::Read, PollFlags::POLLIN)
    }

    /// Waits until a write is worth trying; otherwise as [`readable`](Async::readable).
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// If the descriptor can't be watched.
    pub fn writable(&self) -> impl Future<Output = io::Result<()>> {
        self.until(Direction::Write, PollFlags::POLLOUT)
    }

    /// Hand-written, since idle connections wait here, and an `async fn` would
    /// hold twice as much.
    fn until(
        &self,
        direction: Direction,
        flags: PollFlags,
    ) -> impl Future<Output = io::Result<()>> {
        let mut ready = self.watch.source.ready(direction);
        poll_fn(move |cx| {
            loop {
                ready!(Pin::new(&mut ready).poll(cx))?;
                let mut fds = [PollFd::new(self.inner.as_fd(), flags)];
                if nix::poll::poll(&mut fds, PollTimeout::ZERO)? > 0 {
                    return Poll::Ready(Ok(()));
                }
                self.watch.source.clear(direction);
            }
        })
    }

    /// Calls `op`, which reads from `T` in some way, until it doesn't say
    /// `WouldBlock` (or `Interrupted`) any more, waiting in between.
    ///
    /// Any number of tasks may do so at once.
    ///
    /// # Cancel safety
    /// As safe as `op`: it isn't interrupted, only not called again.
    ///
    /// # Errors
    /// `op`'s, or that the descriptor can't be watched.
    pub async fn read_with<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.try_until(Direction::Read, op).await
    }

    /// As [`read_with`](Async::read_with), for an `op` that writes.
    ///
    /// # Cancel safety
    /// As safe as `op`.
    ///
    /// # Errors
    /// `op`'s, or that the descriptor can't be watched.
    pub async fn write_with<R>(&self, op: impl FnMut(&T) -> io::Result<R>) -> io::Result<R> {
        self.try_until(Direction::Write, op).await
    }

    async fn try_until<R>(
        &self,
        direction: Direction,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        loop {
            self.watch.source.ready(direction).await?;
            poll_fn(poll_proceed).await;
            match op(&self.inner) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.watch.source.clear(direction);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// [`read_with`](Async::read_with) for hand-written futures: one task at a
    /// time, the last that asked is woken.
    ///
    /// # Errors
    /// As [`read_with`](Async::read_with)'s.
    pub fn poll_read_with<R>(
        &self,
        cx: &mut Context<'_>,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(Direction::Read, cx, op)
    }

    /// [`write_with`](Async::write_with) for hand-written futures: one task at a
    /// time, the last that asked is woken.
    ///
    /// # Errors
    /// As [`write_with`](Async::write_with)'s.
    pub fn poll_write_with<R>(
        &self,
        cx: &mut Context<'_>,
        op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.poll_with(Direction::Write, cx, op)
    }

    #[inline]
    fn poll_with<R>(
        &self,
        direction: Direction,
        cx: &mut Context<'_>,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        while self.watch.source.is_ready(direction) {
            // A peer that always has something must not keep the loop.
            ready!(poll_proceed(cx));
            match op(&self.inner) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.watch.source.clear(direction);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return Poll::Ready(result),
            }
        }
        self.watch.source.wait(direction, cx)?;
        Poll::Pending
    }

    /// As [`poll_read_with`](Async::poll_read_with) for a byte stream of which a
    /// short read (of less than `wanted`) means that it is empty now.
    #[inline]
    pub(crate) fn poll_read_stream(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.poll_with(Direction::Read, cx, op))?;
        if count < wanted && count > 0 {
            self.watch.source.drained(Direction::Read);
        }
        Poll::Ready(Ok(count))
    }

    /// As [`poll_write_with`](Async::poll_write_with) for a byte stream of which
    /// a short write means that it is full now.
    #[inline]
    pub(crate) fn poll_write_stream(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        op: impl FnMut(&T) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.poll_with(Direction::Write, cx, op))?;
        if count < wanted {
            self.watch.source.drained(Direction::Write);
        }
        Poll::Ready(Ok(count))
    }

    /// Says that a read is not worth trying before the next event: for a FIFO to
    /// which no writer has come yet.
    pub(crate) fn not_readable_yet(&self) {
        self.watch.source.clear(Direction::Read);
    }

    /// Says that a write is not worth trying before the next event: for a socket
    /// that has only begun to connect.
    pub(crate) fn not_writable_yet(&self) {
        self.watch.source.clear(Direction::Write);
    }

    /// What was wrapped. Calls on it don't wait, and may say `WouldBlock`.
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// As [`get_ref`](Async::get_ref). The descriptor must stay the same.
    pub fn get_mut(&mut self) -> &mut T {
        &mut self.inner
    }

    /// Gives back what was wrapped, no longer watched; it is still nonblocking.
    pub fn into_inner(self) -> T {
        let Async { mut watch, inner } = self;
        watch.closes = false;
        drop(watch);
        inner
    }
}

impl<T: AsFd> AsFd for Async<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Async<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Async")
            .field("inner", &self.inner)
            .field("source", &self.watch.source)
            .finish()
    }
}

/// For every `T` that can be read through a shared reference, as files and
/// sockets can.
impl<T: AsFd + Unpin> AsyncRead for Async<T>
where
    for<'a> &'a T: Read,
{
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, |mut inner| inner.read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_read_with(cx, |mut inner| inner.read_vectored(bufs))
    }
}

/// For every `T` that can be written through a shared reference. Closing only
/// flushes: what "no more" means depends on the `T`.
impl<T: AsFd + Unpin> AsyncWrite for Async<T>
where
    for<'a> &'a T: Write,
{
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut inner| inner.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |mut inner| inner.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_with(cx, |mut inner| inner.flush())
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
