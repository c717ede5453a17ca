//! A connection in memory, for tests: two ends, each reads what the other writes.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

/// Two connected ends; each direction holds up to `max_bytes` (at least one)
/// that haven't been read, then writes wait, as on a socket.
///
/// No system calls, no loop needed; both ends stay on their thread.
#[must_use]
pub fn duplex(max_bytes: usize) -> (DuplexStream, DuplexStream) {
    let pipe = || {
        Rc::new(RefCell::new(Pipe {
            bytes: VecDeque::new(),
            max_bytes: max_bytes.max(1),
            writer_closed: false,
            reader_gone: false,
            reader: None,
            writer: None,
        }))
    };
    let (there, back) = (pipe(), pipe());
    let near = DuplexStream {
        read: back.clone(),
        write: there.clone(),
    };
    let far = DuplexStream {
        read: there,
        write: back,
    };
    (near, far)
}

/// One end of a [`duplex`](fn@duplex). Dropping it is the end for the other: reads
/// give what is left, then nothing; writes fail with `BrokenPipe`.
pub struct DuplexStream {
    read: Rc<RefCell<Pipe>>,
    write: Rc<RefCell<Pipe>>,
}

/// One direction.
struct Pipe {
    bytes: VecDeque<u8>,
    max_bytes: usize,
    writer_closed: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl AsyncRead for DuplexStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.read.borrow_mut();
        if pipe.bytes.is_empty() && !pipe.writer_closed && !buf.is_empty() {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = io::Read::read(&mut pipe.bytes, buf)?;
        let waker = pipe.writer.take();
        drop(pipe);
        wake(waker);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for DuplexStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut pipe = self.write.borrow_mut();
        if pipe.reader_gone || pipe.writer_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = pipe.max_bytes - pipe.bytes.len();
        if room == 0 && !buf.is_empty() {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.min(buf.len());
        pipe.bytes.extend(&buf[..count]);
        let waker = pipe.reader.take();
        drop(pipe);
        wake(waker);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = self.write.borrow_mut();
        pipe.writer_closed = true;
        let waker = pipe.reader.take();
        drop(pipe);
        wake(waker);
        Poll::Ready(Ok(()))
    }
}

impl Drop for DuplexStream {
    fn drop(&mut self) {
        let mut write = self.write.borrow_mut();
        write.writer_closed = true;
        let reader = write.reader.take();
        drop(write);
        let mut read = self.read.borrow_mut();
        read.reader_gone = true;
        let writer = read.writer.take();
        drop(read);
        wake(reader);
        wake(writer);
    }
}

/// Outside every borrow: a waker may run anything.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for DuplexStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplexStream")
            .field("readable", &self.read.borrow().bytes.len())
            .field("unread", &self.write.borrow().bytes.len())
            .finish()
    }
}
