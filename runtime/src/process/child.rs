//! A child that runs: its pipes, and its end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::ExitStatus;
use std::task::Poll;

use futures_io::AsyncRead;

use super::reaper;
use crate::inspect::{self, WaitsFor};
use crate::io::{Async, AsyncReadExt, PipeReader, PipeWriter};
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
        let [stdin, stdout, stderr] = ends;
        Child {
            stdin: stdin.map(PipeWriter::new),
            stdout: stdout.map(PipeReader::new),
            stderr: stderr.map(PipeReader::new),
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
        let pid = self.pid;
        let status = inspect::told(status, move || WaitsFor::Child(pid)).await?;
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

/// The writing end of a child's standard input.
pub type ChildStdin = PipeWriter;

/// The reading end of a child's standard output.
pub type ChildStdout = PipeReader;

/// The reading end of a child's standard error.
pub type ChildStderr = PipeReader;

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (out, err) = (self.stdout.len(), self.stderr.len());
        write!(f, "{}, {out} bytes of output, {err} of errors", self.status)
    }
}
