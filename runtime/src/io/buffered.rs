//! A buffer before a reader, and one behind a writer.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use crate::limits::IO_BUFFER_BYTES;

/// Reads in large pieces what is asked for in small ones.
///
/// The buffer is allocated at the first read and stays. Reads at least as large
/// as the buffer bypass it when it is empty. Writes go straight through, so that
/// a `BufReader` around a socket still is a socket.
pub struct BufReader<R> {
    inner: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    capacity: usize,
}

impl<R: AsyncRead + Unpin> BufReader<R> {
    /// With a buffer of 8 KiB.
    pub fn new(inner: R) -> BufReader<R> {
        BufReader::with_capacity(IO_BUFFER_BYTES, inner)
    }

    /// With a buffer of `bytes` (at least one).
    pub fn with_capacity(bytes: usize, inner: R) -> BufReader<R> {
        BufReader {
            inner,
            buffer: Box::default(),
            start: 0,
            end: 0,
            capacity: bytes.max(1),
        }
    }

    /// What has been read ahead.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The reader behind the buffer, which may be further ahead.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// As [`get_ref`](BufReader::get_ref); reading from it goes past the buffer.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// The reader; what has been read ahead is lost.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: AsyncRead + Unpin> AsyncBufRead for BufReader<R> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let this = self.get_mut();
        if this.start == this.end {
            if this.buffer.is_empty() {
                this.buffer = vec![0; this.capacity].into_boxed_slice();
            }
            this.start = 0;
            this.end = 0;
            this.end = ready!(Pin::new(&mut this.inner).poll_read(cx, &mut this.buffer))?;
        }
        Poll::Ready(Ok(&this.buffer[this.start..this.end]))
    }

    fn consume(mut self: Pin<&mut Self>, count: usize) {
        self.start = (self.start + count).min(self.end);
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for BufReader<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.start == self.end && buf.len() >= self.capacity {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let available = ready!(self.as_mut().poll_fill_buf(cx))?;
        let count = available.len().min(buf.len());
        buf[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Poll::Ready(Ok(count))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.start == self.end && wanted >= self.capacity {
            return Pin::new(&mut self.inner).poll_read_vectored(cx, bufs);
        }
        let available = ready!(self.as_mut().poll_fill_buf(cx))?;
        let mut rest = available;
        for buf in bufs {
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
        }
        let count = available.len() - rest.len();
        self.consume(count);
        Poll::Ready(Ok(count))
    }
}

impl<R: AsyncWrite + Unpin> AsyncWrite for BufReader<R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<R> fmt::Debug for BufReader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufReader")
            .field("buffered", &(self.end - self.start))
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}

/// Writes in large pieces what is given in small ones.
///
/// **Flush or close it**: dropping it can't await, so what it still holds is
/// lost then. Writes at least as large as the buffer bypass it when it is empty.
/// Reads go straight through.
pub struct BufWriter<W> {
    inner: W,
    buffer: Vec<u8>,
    /// How much of `buffer` the writer has taken already.
    written: usize,
    capacity: usize,
}

impl<W: AsyncWrite + Unpin> BufWriter<W> {
    /// With a buffer of 8 KiB.
    pub fn new(inner: W) -> BufWriter<W> {
        BufWriter::with_capacity(IO_BUFFER_BYTES, inner)
    }

    /// With a buffer of `bytes` (at least one).
    pub fn with_capacity(bytes: usize, inner: W) -> BufWriter<W> {
        BufWriter {
            inner,
            buffer: Vec::new(),
            written: 0,
            capacity: bytes.max(1),
        }
    }

    /// What is held back.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer[self.written..]
    }

    /// The writer behind the buffer.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// As [`get_ref`](BufWriter::get_ref); writing to it overtakes the buffer.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// The writer; what is held back is lost: flush before.
    pub fn into_inner(self) -> W {
        self.inner
    }

    /// Makes room, by handing on what is held back.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.buffer.len() {
            let rest = &self.buffer[self.written..];
            match ready!(Pin::new(&mut self.inner).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        self.buffer.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for BufWriter<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.buffer.len() + buf.len() > self.capacity {
            ready!(self.poll_empty(cx))?;
        }
        if buf.len() >= self.capacity {
            return Pin::new(&mut self.inner).poll_write(cx, buf);
        }
        self.buffer.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.buffer.len() + total > self.capacity {
            ready!(self.poll_empty(cx))?;
        }
        if total >= self.capacity {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        }
        for buf in bufs {
            self.buffer.extend_from_slice(buf);
        }
        Poll::Ready(Ok(total))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

impl<W: AsyncRead + Unpin> AsyncRead for BufWriter<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_read_vectored(cx, bufs)
    }
}

impl<W> fmt::Debug for BufWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufWriter")
            .field("buffered", &(self.buffer.len() - self.written))
            .field("capacity", &self.capacity)
            .finish_non_exhaustive()
    }
}
