//! Methods on everything that can be written to.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;

use futures_io::AsyncWrite;

/// Methods on every [`AsyncWrite`], as `std::io::Write` has them.
///
/// Backpressure comes by itself: a write to a peer that doesn't read is pending
/// until there is room, and so is whoever awaits it.
///
/// `futures::AsyncWriteExt` has the same names: import one of the two.
pub trait AsyncWriteExt: AsyncWrite {
    /// Writes once, as much as there is room for, and returns how much that was.
    ///
    /// # Cancel safety
    /// Safe: if it wasn't ready, nothing was written.
    ///
    /// # Errors
    /// The writer's; `BrokenPipe` or `ConnectionReset` if the peer has gone.
    fn write(&mut self, buf: &[u8]) -> impl Future<Output = io::Result<usize>>
    where
        Self: Unpin,
    {
        poll_fn(move |cx| Pin::new(&mut *self).poll_write(cx, buf))
    }

    /// Writes once from several buffers, in their order.
    ///
    /// # Cancel safety
    /// Safe, as [`write`](AsyncWriteExt::write).
    ///
    /// # Errors
    /// The writer's.
    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> impl Future<Output = io::Result<usize>>
    where
        Self: Unpin,
    {
        poll_fn(move |cx| Pin::new(&mut *self).poll_write_vectored(cx, bufs))
    }

    /// Writes all of `buf`.
    ///
    /// # Cancel safety
    /// Not safe: some of it may have been written, and how much is lost.
    ///
    /// # Errors
    /// The writer's; `WriteZero` if it takes no more.
    fn write_all(&mut self, buf: &[u8]) -> impl Future<Output = io::Result<()>>
    where
        Self: Unpin,
    {
        let mut rest = buf;
        poll_fn(move |cx| {
            while !rest.is_empty() {
                match std::task::ready!(Pin::new(&mut *self).poll_write(cx, rest))? {
                    0 => return std::task::Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => rest = &rest[count..],
                }
            }
            std::task::Poll::Ready(Ok(()))
        })
    }

    /// Writes all of several buffers, in their order, in as few calls as the
    /// writer needs. The slices are used up.
    ///
    /// # Cancel safety
    /// As [`write_all`](AsyncWriteExt::write_all).
    ///
    /// # Errors
    /// As [`write_all`](AsyncWriteExt::write_all).
    fn write_all_vectored(
        &mut self,
        bufs: &mut [IoSlice<'_>],
    ) -> impl Future<Output = io::Result<()>>
    where
        Self: Unpin,
    {
        async move {
            let mut rest = bufs;
            // Skips empty slices, so that zero written means "takes no more".
            IoSlice::advance_slices(&mut rest, 0);
            while !rest.is_empty() {
                match self.write_vectored(rest).await? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => IoSlice::advance_slices(&mut rest, count),
                }
            }
            Ok(())
        }
    }

    /// Hands on what a buffer holds back.
    ///
    /// # Cancel safety
    /// Safe: call it again.
    ///
    /// # Errors
    /// The writer's.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>>
    where
        Self: Unpin,
    {
        poll_fn(move |cx| Pin::new(&mut *self).poll_flush(cx))
    }

    /// Flushes, then says that no more will be written: on a socket a half-close,
    /// after which the peer reads the end and may still answer.
    ///
    /// # Cancel safety
    /// Safe: call it again.
    ///
    /// # Errors
    /// The writer's.
    fn close(&mut self) -> impl Future<Output = io::Result<()>>
    where
        Self: Unpin,
    {
        poll_fn(move |cx| Pin::new(&mut *self).poll_close(cx))
    }
}

impl<W: AsyncWrite + ?Sized> AsyncWriteExt for W {}
