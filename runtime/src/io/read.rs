//! Methods on everything that can be read.

use std::future::{Future, poll_fn};
use std::io::{self, IoSliceMut};
use std::pin::Pin;
use std::task::ready;

use futures_io::AsyncRead;

/// How much `read_to_end` asks for at least; it doubles with what it has read.
const PROBE_BYTES: usize = 1024;

/// Methods on every [`AsyncRead`], as `std::io::Read` has them.
///
/// `futures::AsyncReadExt` has the same names: import one of the two.
pub trait AsyncReadExt: AsyncRead {
    /// Reads once, as much as there is, at most `buf.len()` bytes; zero means
    /// the end (or an empty `buf`).
    ///
    /// # Cancel safety
    /// Safe: what wasn't returned wasn't read.
    ///
    /// # Errors
    /// The reader's.
    fn read(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>>
    where
        Self: Unpin,
    {
        poll_fn(move |cx| Pin::new(&mut *self).poll_read(cx, buf))
    }

    /// Reads once into several buffers, filling one before the next.
    ///
    /// # Cancel safety
    /// Safe, as [`read`](AsyncReadExt::read).
    ///
    /// # Errors
    /// The reader's.
    fn read_vectored(
        &mut self,
        bufs: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>>
    where
        Self: Unpin,
    {
        poll_fn(move |cx| Pin::new(&mut *self).poll_read_vectored(cx, bufs))
    }

    /// Fills `buf` to its end.
    ///
    /// # Cancel safety
    /// Not safe: what has been read by then is in `buf`, but how much it is, is
    /// lost.
    ///
    /// # Errors
    /// `UnexpectedEof` if the reader ends before; else the reader's.
    fn read_exact(&mut self, buf: &mut [u8]) -> impl Future<Output = io::Result<()>>
    where
        Self: Unpin,
    {
        async move {
            let mut filled = 0;
            while filled < buf.len() {
                match self.read(&mut buf[filled..]).await? {
                    0 => {
                        let message =
                            format!("the stream ended after {filled} of {} bytes", buf.len());
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
                    }
                    count => filled += count,
                }
            }
            Ok(())
        }
    }

    /// Appends everything up to the end to `buf`; returns how much that was.
    ///
    /// It grows without bound with what the peer sends: not for untrusted ones.
    ///
    /// # Cancel safety
    /// Safe in this sense: what has been read is in `buf`, and a second call
    /// goes on from there.
    ///
    /// # Errors
    /// The reader's; what came before is in `buf`.
    fn read_to_end(&mut self, buf: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>>
    where
        Self: Unpin,
    {
        let start = buf.len();
        poll_fn(move |cx| {
            loop {
                let filled = buf.len();
                let probe = (filled - start).max(PROBE_BYTES);
                buf.resize(filled + probe, 0);
                let result = Pin::new(&mut *self).poll_read(cx, &mut buf[filled..]);
                // Whatever comes of it, `buf` holds no more than what was read.
                let count = match &result {
                    std::task::Poll::Ready(Ok(count)) => *count,
                    _ => 0,
                };
                buf.truncate(filled + count);
                if ready!(result)? == 0 {
                    return std::task::Poll::Ready(Ok(filled - start));
                }
            }
        })
    }

    /// Appends everything up to the end to `buf`; returns how many bytes that
    /// was. As unbounded as [`read_to_end`](AsyncReadExt::read_to_end).
    ///
    /// # Cancel safety
    /// Not safe: what has been read by then is lost.
    ///
    /// # Errors
    /// `InvalidData` if it isn't UTF-8 (and `buf` is as before); else the
    /// reader's.
    fn read_to_string(&mut self, buf: &mut String) -> impl Future<Output = io::Result<usize>>
    where
        Self: Unpin,
    {
        async move {
            let mut bytes = Vec::new();
            self.read_to_end(&mut bytes).await?;
            let text = String::from_utf8(bytes)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))?;
            buf.push_str(&text);
            Ok(text.len())
        }
    }
}

impl<R: AsyncRead + ?Sized> AsyncReadExt for R {}
