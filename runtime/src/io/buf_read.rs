//! Methods on readers with a buffer: lines, and anything else up to a delimiter.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_io::AsyncBufRead;

/// Methods on every [`AsyncBufRead`], as `std::io::BufRead` has them.
///
/// `futures::AsyncBufReadExt` has the same names: import one of the two.
pub trait AsyncBufReadExt: AsyncBufRead {
    /// What is in the buffer, read anew if it is empty; an empty slice means the
    /// end. [`AsyncBufRead::consume`] takes from it.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// The reader's.
    fn fill_buf(&mut self) -> impl Future<Output = io::Result<&[u8]>>
    where
        Self: Unpin,
    {
        async move {
            let at_end = poll_fn(|cx| {
                Pin::new(&mut *self)
                    .poll_fill_buf(cx)
                    .map_ok(<[u8]>::is_empty)
            });
            if at_end.await? {
                return Ok(&[][..]);
            }
            // The borrow checker wants a second call for the slice itself; a
            // buffer with something in it is ready at once.
            let mut once = Some(self);
            poll_fn(move |cx| {
                let reader = once.take().expect("a filled buffer is ready");
                Pin::new(reader).poll_fill_buf(cx)
            })
            .await
        }
    }

    /// Appends to `buf` up to and with the first `delimiter`, or up to the end;
    /// returns how much that was, zero at the end.
    ///
    /// # Cancel safety
    /// Safe in this sense: what has been read is in `buf`, and a second call
    /// goes on from there (and returns only its own part).
    ///
    /// # Errors
    /// The reader's; what came before is in `buf`.
    fn read_until(
        &mut self,
        delimiter: u8,
        buf: &mut Vec<u8>,
    ) -> impl Future<Output = io::Result<usize>>
    where
        Self: Unpin,
    {
        let start = buf.len();
        poll_fn(move |cx| {
            ready!(poll_until(
                Pin::new(&mut *self),
                cx,
                delimiter,
                buf,
                usize::MAX
            ))?;
            Poll::Ready(Ok(buf.len() - start))
        })
    }

    /// Appends a line, with its `\n`, to `buf`; returns how many bytes it has,
    /// zero at the end.
    ///
    /// # Cancel safety
    /// Not safe: part of a line may be lost. [`Lines::next_line`] is.
    ///
    /// # Errors
    /// `InvalidData` if it isn't UTF-8 (and `buf` is as before); else the
    /// reader's.
    fn read_line(&mut self, buf: &mut String) -> impl Future<Output = io::Result<usize>>
    where
        Self: Unpin,
    {
        async move {
            let mut line = Vec::new();
            self.read_until(b'\n', &mut line).await?;
            buf.push_str(utf8(&line)?);
            Ok(line.len())
        }
    }

    /// The lines of what is read, without their ends (`\n` or `\r\n`): a stream.
    fn lines(self) -> Lines<Self>
    where
        Self: Sized,
    {
        Lines {
            reader: self,
            partial: Vec::new(),
            max_bytes: usize::MAX,
        }
    }
}

impl<R: AsyncBufRead + ?Sized> AsyncBufReadExt for R {}

/// Lines, one by one: made by [`AsyncBufReadExt::lines`].
///
/// A last line without an end counts as one, if it isn't empty.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    /// The line so far. It stays here when a `next_line` is dropped.
    partial: Vec<u8>,
    max_bytes: usize,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// Refuses lines of more than `bytes`: for peers that aren't trusted.
    #[must_use]
    pub fn max_bytes(mut self, bytes: usize) -> Lines<R> {
        self.max_bytes = bytes;
        self
    }

    /// The next line, or `None` at the end.
    ///
    /// # Cancel safety
    /// Safe: a part that has been read waits for the next call.
    ///
    /// # Errors
    /// `InvalidData` if the line isn't UTF-8 (it is skipped) or is too long (the
    /// next call gives what follows, from the middle of the line); else the
    /// reader's.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        poll_fn(|cx| self.poll_next_line(cx)).await
    }

    /// The reader, with what it has buffered; an unfinished line is lost.
    pub fn into_inner(self) -> R {
        self.reader
    }

    fn poll_next_line(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<String>>> {
        let reader = Pin::new(&mut self.reader);
        ready!(poll_until(
            reader,
            cx,
            b'\n',
            &mut self.partial,
            self.max_bytes
        ))?;
        if self.partial.is_empty() {
            return Poll::Ready(Ok(None));
        }
        let mut line = std::mem::take(&mut self.partial);
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        utf8(&line)?;
        let line = String::from_utf8(line).expect("looked at a line above");
        Poll::Ready(Ok(Some(line)))
    }
}

impl<R: AsyncBufRead + Unpin> Stream for Lines<R> {
    type Item = io::Result<String>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_next_line(cx).map(Result::transpose)
    }
}

/// Moves bytes up to and with the delimiter from the reader into `buf`. What has
/// been consumed is in `buf` at every return, which is what makes it cancel-safe.
fn poll_until<R: AsyncBufRead + ?Sized>(
    mut reader: Pin<&mut R>,
    cx: &mut Context<'_>,
    delimiter: u8,
    buf: &mut Vec<u8>,
    max_bytes: usize,
) -> Poll<io::Result<()>> {
    loop {
        let available = ready!(reader.as_mut().poll_fill_buf(cx))?;
        let found = available.iter().position(|&byte| byte == delimiter);
        let count = found.map_or(available.len(), |index| index + 1);
        if buf.len().saturating_add(count) > max_bytes {
            buf.clear();
            reader.consume(count);
            let message = format!("a line is longer than {max_bytes} bytes");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, message)));
        }
        buf.extend_from_slice(&available[..count]);
        reader.as_mut().consume(count);
        if found.is_some() || count == 0 {
            return Poll::Ready(Ok(()));
        }
    }
}

fn utf8(line: &[u8]) -> io::Result<&str> {
    std::str::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
