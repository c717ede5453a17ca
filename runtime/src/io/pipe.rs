//! Pipes, with and without a name.

use std::fs::OpenOptions;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};

use super::Async;
use crate::sys::pipe as raw;

/// A pipe within this process: what is written to the one is read from the other.
///
/// # Errors
/// `EMFILE` or `ENFILE` when descriptors run out.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = raw::nonblocking()?;
    Ok((PipeReader::new(reader), PipeWriter::new(writer)))
}

/// The end of a pipe that is read: of [`pipe`], of a FIFO, or of a child.
///
/// It reads the end (zero bytes) once all its writers are gone.
#[derive(Debug)]
pub struct PipeReader {
    io: Async<End>,
}

/// The end of a pipe that is written. Closing or dropping it is the end for the
/// reader; writing when the reader has gone is `BrokenPipe`.
///
/// (A process whose `SIGPIPE` isn't ignored dies of that instead. Rust programs
/// ignore it; libraries in programs of other languages can't rely on that.)
#[derive(Debug)]
pub struct PipeWriter {
    /// `None` once it was closed.
    io: Option<Async<End>>,
}

impl PipeReader {
    /// Of a descriptor that is nonblocking.
    pub(crate) fn new(fd: OwnedFd) -> PipeReader {
        PipeReader {
            io: Async::owned(End(fd)),
        }
    }

    /// Takes the reading end of a pipe, and makes it nonblocking.
    ///
    /// # Errors
    /// `InvalidInput` if it is no pipe; the kernel's.
    pub fn from_fd(fd: OwnedFd) -> io::Result<PipeReader> {
        Ok(PipeReader::new(checked(fd)?))
    }

    /// Opens the FIFO at `path`, without waiting for a writer: the first read waits
    /// for one.
    ///
    /// # Errors
    /// `InvalidInput` if it is no FIFO; the kernel's.
    pub fn open_fifo(path: impl AsRef<Path>) -> io::Result<PipeReader> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let reader = PipeReader::new(checked(options.open(path)?.into())?);
        // A read would see the end before there was a beginning. epoll tells of
        // the end only after a writer has come and gone.
        reader.io.not_readable_yet();
        Ok(reader)
    }
}

impl PipeWriter {
    /// Of a descriptor that is nonblocking.
    pub(crate) fn new(fd: OwnedFd) -> PipeWriter {
        PipeWriter {
            io: Some(Async::owned(End(fd))),
        }
    }

    /// Takes the writing end of a pipe, and makes it nonblocking.
    ///
    /// # Errors
    /// `InvalidInput` if it is no pipe; the kernel's.
    pub fn from_fd(fd: OwnedFd) -> io::Result<PipeWriter> {
        Ok(PipeWriter::new(checked(fd)?))
    }

    /// Opens the FIFO at `path` and waits until it has a reader.
    ///
    /// The kernel has no way to await that: it is tried again after 1 ms, 2 ms,
    /// and so on up to 50.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// `InvalidInput` if it is no FIFO; the kernel's.
    pub async fn open_fifo(path: impl AsRef<Path>) -> io::Result<PipeWriter> {
        let mut pause = Duration::from_millis(1);
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NONBLOCK);
        loop {
            match options.open(path.as_ref()) {
                Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
                    crate::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_millis(50));
                }
                result => return Ok(PipeWriter::new(checked(result?.into())?)),
            }
        }
    }

    fn io(&self) -> io::Result<&Async<End>> {
        self.io
            .as_ref()
            .ok_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "it was closed before"))
    }
}

fn checked(fd: OwnedFd) -> io::Result<OwnedFd> {
    let file = std::fs::File::from(fd);
    if !file.metadata()?.file_type().is_fifo() {
        let message = "this is no pipe: use `Async` for sockets and devices, `fs::File` for files";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    raw::set_nonblocking(&file, true)?;
    Ok(file.into())
}

/// An end, as something that reads or writes.
#[derive(Debug)]
struct End(OwnedFd);

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for &End {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(&self.0, buf)?)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(nix::sys::uio::readv(&self.0, bufs)?)
    }
}

impl Write for &End {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        Ok(nix::unistd::write(&self.0, buf)?)
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Ok(nix::sys::uio::writev(&self.0, bufs)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for PipeReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.io
            .poll_read_stream(cx, buf.len(), |mut end| end.read(buf))
    }

    fn poll_read_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io
            .poll_read_with(cx, |mut end| end.read_vectored(bufs))
    }
}

impl AsyncWrite for PipeWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io()?
            .poll_write_stream(cx, buf.len(), |mut end| end.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io()?
            .poll_write_with(cx, |mut end| end.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        drop(self.io.take());
        Poll::Ready(Ok(()))
    }
}

impl AsFd for PipeReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.io.as_fd()
    }
}
