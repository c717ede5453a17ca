//! What can go wrong in a demo, in words that say what to do about it.
//!
//! A demo prints its error as one line on stderr and exits with
//! [`Error::exit_code`]: 2 for a mistake in the arguments (nothing has run),
//! 130 when it was interrupted, 1 for everything else.

use std::fmt;
use std::io;

/// The one error type of the demo binaries.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The arguments ask for something that can't be done. The text names the
    /// argument and what it should have been.
    Usage(String),
    /// Standard output can't be written: its reader has gone, or the disk is full.
    Stdout(io::Error),
    /// A call to the operating system failed; `what` says what it was for.
    Io {
        /// What was being done, as in "start the local server".
        what: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Every download failed; the reasons were printed one by one.
    AllDownloadsFailed {
        /// How many were tried.
        tried: usize,
    },
    /// Some downloads failed; the reasons were printed one by one.
    DownloadsFailed {
        /// How many.
        failed: usize,
        /// How many were tried.
        tried: usize,
    },
    /// Ctrl-C or SIGTERM came before the work was done; what was done by then
    /// was printed.
    Interrupted,
    /// A download failed where the demo needs it to succeed.
    Download(crate::http::Error),
    /// An engine gave a sum that isn't the sum: a bug, and never to be timed.
    WrongSum {
        /// The number below which was summed.
        n: u64,
        /// What the engine said.
        got: u64,
    },
    /// A child process of the demo's own failed; the text says which and how.
    Child(String),
    /// The run failed as a whole; the text says how.
    Failed(String),
    /// The event loop refused something.
    Loop(threeply_runtime::Error),
    /// A task of the loop failed.
    Task(threeply_runtime::JoinError),
    /// The thread pool refused something.
    Threads(threeply_pools::Error),
    /// A job of the thread pool failed.
    ThreadJob(threeply_pools::JobError),
    /// The process pool refused something.
    Processes(threeply_pools::process::Error),
    /// A job of the process pool failed.
    ProcessJob(threeply_pools::process::JobError),
}

impl Error {
    /// An [`Error::Io`] as a closure for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    /// The process's exit code: 2 for wrong arguments, 130 when interrupted (as
    /// shells have it), 1 otherwise.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Interrupted => 130,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(text) | Error::Child(text) | Error::Failed(text) => f.write_str(text),
            Error::Stdout(e) if e.kind() == io::ErrorKind::BrokenPipe => f.write_str(
                "stopped early: whoever read the output has closed it (as `head` does when it has enough)",
            ),
            Error::Stdout(e) if e.kind() == io::ErrorKind::StorageFull => {
                f.write_str("cannot write the output: no space left on its disk; make room and run again")
            }
            Error::Stdout(e) => write!(f, "cannot write the output ({e}); check where it is redirected"),
            Error::Io { what, source } => write!(f, "cannot {what}: {source}"),
            Error::AllDownloadsFailed { tried: 1 } => {
                f.write_str("the download failed; the reason is printed above")
            }
            Error::AllDownloadsFailed { tried } => {
                write!(f, "all {tried} downloads failed; the reasons are printed above")
            }
            Error::DownloadsFailed { failed, tried } => write!(
                f,
                "{failed} of {tried} downloads failed; the reasons are printed above"
            ),
            Error::Interrupted => f.write_str("stopped before its end, as asked"),
            Error::Download(e) => write!(f, "{e}"),
            Error::Loop(e) => write!(f, "{e}"),
            Error::Task(e) => write!(f, "{e}"),
            Error::Threads(e) => write!(f, "{e}"),
            Error::ThreadJob(e) => write!(f, "{e}"),
            Error::Processes(e) => write!(f, "{e}"),
            Error::ProcessJob(e) => write!(f, "{e}"),
            Error::WrongSum { n, got } => {
                write!(f, "the sum of the numbers below {n} came back as {got}: an engine is broken, please report it")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Stdout(e) | Error::Io { source: e, .. } => Some(e),
            Error::Download(e) => Some(e),
            Error::Loop(e) => Some(e),
            Error::Task(e) => Some(e),
            Error::Threads(e) => Some(e),
            Error::ThreadJob(e) => Some(e),
            Error::Processes(e) => Some(e),
            Error::ProcessJob(e) => Some(e),
            _ => None,
        }
    }
}

impl From<crate::http::Error> for Error {
    fn from(e: crate::http::Error) -> Self {
        Error::Download(e)
    }
}

impl From<threeply_runtime::Error> for Error {
    fn from(e: threeply_runtime::Error) -> Self {
        Error::Loop(e)
    }
}

impl From<threeply_runtime::JoinError> for Error {
    fn from(e: threeply_runtime::JoinError) -> Self {
        Error::Task(e)
    }
}

impl From<threeply_pools::Error> for Error {
    fn from(e: threeply_pools::Error) -> Self {
        Error::Threads(e)
    }
}

impl From<threeply_pools::JobError> for Error {
    fn from(e: threeply_pools::JobError) -> Self {
        Error::ThreadJob(e)
    }
}

impl From<threeply_pools::process::Error> for Error {
    fn from(e: threeply_pools::process::Error) -> Self {
        Error::Processes(e)
    }
}

impl From<threeply_pools::process::JobError> for Error {
    fn from(e: threeply_pools::process::JobError) -> Self {
        Error::ProcessJob(e)
    }
}
