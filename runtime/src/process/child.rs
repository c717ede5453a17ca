//! A child that runs: its pipes, and its end.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::reaper;
use crate::io::{Async, AsyncReadExt};
use crate::sys::pidfd;
use crate::sys::spawn::Spawned;

/// A child process.
///
/// ```text
///   Running ──wait / try_wait──▶ Ended (reaped, status kept)
///      └──drop──▶ handed to the reaper (killed before, if so asked)
/// ```
/// Dropping it neither waits nor leaves a zombie.
#[derive(Debug)]
pub struct Child {
    /// The writing end of its standard input, if that is a pipe. Drop it (or
    /// close it) to let the child read the end.
    pub stdin: Option<ChildStdin>,
    /// The reading end of its standard output, if that is a pipe.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its standard error, if that is a pipe.
    pub stderr: Option<ChildStderr>,
    pid: u32,
    state: State,
    kill_on_drop: bool,
}

#[derive(Debug)]
enum State {
    Running(Async<OwnedFd>),
    Ended(ExitStatus),
    /// Moved out; only while being dropped.
    Gone,
}

/// What a child wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Child {
    pub(super) fn new(spawned: Spawned, ends: [Option<OwnedFd>; 3], kill_on_drop: bool) -> Child {
        let [stdin, stdout, stderr] = ends.map(|end| end.map(|fd| Async::owned(PipeEnd(fd))));
        Child {
            stdin: stdin.map(|io| ChildStdin { io: Some(io) }),
            stdout: stdout.map(|io| ChildStdout { io }),
            stderr: stderr.map(|io| ChildStderr { io }),
            pid: spawned.pid,
            // Pidfds don't block: polling them is all one does.
            state: State::Running(Async::owned(spawned.pidfd)),
            kill_on_drop,
        }
    }

    /// Its process id; `None` once it has been waited for, since the number may
    /// be somebody else's then.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        matches!(self.state, State::Running(_)).then_some(self.pid)
    }

    /// Waits for its end. Closes its standard input first, so that a child which
    /// reads to the end of it isn't waited for in vain; may be called again.
    ///
    /// # Cancel safety
    /// Safe: the next call goes on waiting.
    ///
    /// # Errors
    /// `ECHILD` if something else in this process has reaped it, or `SIGCHLD` is
    /// ignored: then its status is lost.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        let pidfd = match &self.state {
            State::Running(pidfd) => pidfd,
            State::Ended(status) => return Ok(*status),
            State::Gone => unreachable!("only while it is dropped"),
        };
        let status = pidfd.read_with(|pidfd| match pidfd::try_wait_exit(pidfd)? {
            Some(status) => Ok(status),
            None => Err(io::ErrorKind::WouldBlock.into()),
        });
        let status = status.await?;
        self.state = State::Ended(status);
        Ok(status)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// As [`wait`](Child::wait)'s.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        match &self.state {
            State::Running(pidfd) => {
                let status = pidfd::try_wait_exit(pidfd)?;
                if let Some(status) = status {
                    self.state = State::Ended(status);
                }
                Ok(status)
            }
            State::Ended(status) => Ok(Some(*status)),
            State::Gone => unreachable!("only while it is dropped"),
        }
    }

    /// Collects what it still writes to its pipes until they end, and waits for
    /// its end. Unbounded: not for children that aren't trusted.
    ///
    /// # Cancel safety
    /// Dropping it drops the child; what was collected is lost.
    ///
    /// # Errors
    /// As [`wait`](Child::wait)'s, and the pipes'.
    pub async fn wait_with_output(mut self) -> io::Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (self.stdout.take(), self.stderr.take());
        let (mut from_stdout, mut from_stderr) = (Vec::new(), Vec::new());
        {
            let mut out = pin!(collect(stdout.as_mut(), &mut from_stdout));
            let mut err = pin!(collect(stderr.as_mut(), &mut from_stderr));
            let (mut out_done, mut err_done) = (false, false);
            // Both at once: a child blocks on a full pipe that nobody reads.
            poll_fn(|cx| {
                if !out_done && let Poll::Ready(result) = out.as_mut().poll(cx) {
                    result?;
                    out_done = true;
                }
                if !err_done && let Poll::Ready(result) = err.as_mut().poll(cx) {
                    result?;
                    err_done = true;
                }
                if out_done && err_done {
                    Poll::Ready(io::Result::Ok(()))
                } else {
                    Poll::Pending
                }
            })
            .await?;
        }
        Ok(Output {
            status: self.wait().await?,
            stdout: from_stdout,
            stderr: from_stderr,
        })
    }

    /// Sends it `signal` (as in `libc::SIGTERM`). It can't reach anybody else.
    ///
    /// # Errors
    /// `ESRCH` once it has been waited for; `EINVAL` for an unknown signal.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        match &self.state {
            State::Running(pidfd) => pidfd::send_signal(pidfd, signal),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// Kills it (`SIGKILL`); [`wait`](Child::wait) tells when it is dead. One that
    /// has been waited for already is left in peace.
    ///
    /// # Errors
    /// The kernel's.
    pub fn start_kill(&self) -> io::Result<()> {
        match self.signal(libc::SIGKILL) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    /// Kills it and waits until it is dead.
    ///
    /// # Cancel safety
    /// Safe: it is being killed.
    ///
    /// # Errors
    /// As [`wait`](Child::wait)'s.
    pub async fn kill(&mut self) -> io::Result<ExitStatus> {
        self.start_kill()?;
        self.wait().await
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.kill_on_drop {
            let _ = self.start_kill();
        }
        if let State::Running(pidfd) = std::mem::replace(&mut self.state, State::Gone) {
            reaper::adopt(pidfd.into_inner());
        }
    }
}

async fn collect<R: AsyncRead + Unpin>(
    reader: Option<&mut R>,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    if let Some(reader) = reader {
        reader.read_to_end(into).await?;
    }
    Ok(())
}

/// An end of a pipe, as something that reads or writes.
#[derive(Debug)]
struct PipeEnd(OwnedFd);

impl AsFd for PipeEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for &PipeEnd {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(&self.0, buf)?)
    }

    fn read_vectored(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(nix::sys::uio::readv(&self.0, bufs)?)
    }
}

impl Write for &PipeEnd {
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

/// The writing end of a child's standard input. Closing or dropping it is the end
/// for the child. Writing to a child that has closed its end is `BrokenPipe`.
#[derive(Debug)]
pub struct ChildStdin {
    io: Option<Async<PipeEnd>>,
}

impl ChildStdin {
    fn io(&self) -> io::Result<&Async<PipeEnd>> {
        self.io
            .as_ref()
            .ok_or_else(|| io::Error::new(io::ErrorKind::BrokenPipe, "it was closed before"))
    }
}

impl AsyncWrite for ChildStdin {
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

/// The reading end of a child's standard output.
#[derive(Debug)]
pub struct ChildStdout {
    io: Async<PipeEnd>,
}

/// The reading end of a child's standard error.
#[derive(Debug)]
pub struct ChildStderr {
    io: Async<PipeEnd>,
}

macro_rules! reads {
    ($($type:ty),*) => {$(
        impl AsyncRead for $type {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.io.poll_read_stream(cx, buf.len(), |mut end| end.read(buf))
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.io.poll_read_with(cx, |mut end| end.read_vectored(bufs))
            }
        }

        impl AsFd for $type {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.io.as_fd()
            }
        }
    )*};
}
reads!(ChildStdout, ChildStderr);

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, err) = (self.stdout.len(), self.stderr.len());
        write!(f, "{}, {out} bytes of output, {err} of errors", self.status)
    }
}
