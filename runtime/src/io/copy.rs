//! From a reader to a writer, one way or both.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncRead, AsyncWrite};

use crate::limits::IO_BUFFER_BYTES;

/// Copies everything from `reader` to `writer`, flushes, and returns how many
/// bytes that was. The writer isn't closed.
///
/// It never holds more than [`IO_BUFFER_BYTES`]: a slow writer slows the reader.
///
/// # Cancel safety
/// Not safe: bytes that have been read and not yet written are lost.
///
/// # Errors
/// The first of either side; `WriteZero` if the writer takes no more.
pub async fn copy<R, W>(reader: &mut R, writer: &mut W) -> io::Result<u64>
where
    R: AsyncRead + Unpin + ?Sized,
    W: AsyncWrite + Unpin + ?Sized,
{
    let mut transfer = Transfer::new();
    poll_fn(|cx| transfer.poll(cx, Pin::new(reader), Pin::new(writer))).await
}

/// Copies between `a` and `b` in both directions until both have ended, and
/// returns how much went from `a` to `b` and from `b` to `a`.
///
/// When one side ends, the other is told by closing its writing half, and may
/// still answer: what a proxy needs.
///
/// # Cancel safety
/// Not safe, as [`copy`].
///
/// # Errors
/// The first in either direction; the other direction stops with it.
pub async fn copy_bidirectional<A, B>(a: &mut A, b: &mut B) -> io::Result<(u64, u64)>
where
    A: AsyncRead + AsyncWrite + Unpin + ?Sized,
    B: AsyncRead + AsyncWrite + Unpin + ?Sized,
{
    let mut there = OneWay::Copying(Transfer::new());
    let mut back = OneWay::Copying(Transfer::new());
    poll_fn(|cx| {
        let there = there.poll(cx, &mut *a, &mut *b)?;
        let back = back.poll(cx, &mut *b, &mut *a)?;
        let (Poll::Ready(there), Poll::Ready(back)) = (there, back) else {
            return Poll::Pending;
        };
        Poll::Ready(Ok((there, back)))
    })
    .await
}

/// A buffer between two ends: `start..end` of it has been read and not written.
struct Transfer {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    total: u64,
    unflushed: bool,
}

impl Transfer {
    fn new() -> Transfer {
        Transfer {
            buffer: vec![0; IO_BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            total: 0,
            unflushed: false,
        }
    }

    /// Ready once the reader has ended and the writer has everything.
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        mut reader: Pin<&mut R>,
        mut writer: Pin<&mut W>,
    ) -> Poll<io::Result<u64>>
    where
        R: AsyncRead + ?Sized,
        W: AsyncWrite + ?Sized,
    {
        loop {
            while self.start < self.end {
                let rest = &self.buffer[self.start..self.end];
                match ready!(writer.as_mut().poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    count => {
                        self.start += count;
                        self.total += count as u64;
                        self.unflushed = true;
                    }
                }
            }
            match reader.as_mut().poll_read(cx, &mut self.buffer) {
                Poll::Ready(Ok(0)) => {
                    ready!(writer.as_mut().poll_flush(cx))?;
                    return Poll::Ready(Ok(self.total));
                }
                Poll::Ready(Ok(count)) => (self.start, self.end) = (0, count),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    // The reader may wait for an answer to what a buffering
                    // writer holds back.
                    if self.unflushed {
                        ready!(writer.as_mut().poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }
}

/// `Copying ──reader ended──▶ Closing ──closed──▶ Done`
enum OneWay {
    Copying(Transfer),
    Closing(u64),
    Done(u64),
}

impl OneWay {
    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> io::Result<Poll<u64>>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        loop {
            *self = match self {
                OneWay::Copying(transfer) => {
                    match transfer.poll(cx, Pin::new(&mut *reader), Pin::new(&mut *writer)) {
                        Poll::Ready(total) => OneWay::Closing(total?),
                        Poll::Pending => return Ok(Poll::Pending),
                    }
                }
                OneWay::Closing(total) => match Pin::new(&mut *writer).poll_close(cx) {
                    Poll::Ready(Ok(())) => OneWay::Done(*total),
                    // The other side has closed its end already: as good.
                    Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::NotConnected => {
                        OneWay::Done(*total)
                    }
                    Poll::Ready(Err(error)) => return Err(error),
                    Poll::Pending => return Ok(Poll::Pending),
                },
                OneWay::Done(total) => return Ok(Poll::Ready(*total)),
            };
        }
    }
}
