//! The one error type of this crate, for what isn't plain I/O.
//!
//! Failures of a single task are a [`JoinError`](crate::JoinError); operations
//! on sockets and files give `std::io::Error`.

use std::fmt;
use std::io;

/// Why the loop couldn't do what it was asked to.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// As many loops live as there are loop ids
    /// ([`MAX_LOOPS`](crate::limits::MAX_LOOPS)).
    TooManyLoops,
    /// There is no loop here: this thread is not inside `block_on`.
    NoLoop,
    /// The loop that a handle belongs to has ended.
    LoopEnded,
    /// This process is a `fork` of the one in which the loop was made.
    Forked,
    /// The operating system refused what the loop needs to sleep and wake.
    Os {
        /// What was being made or done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::TooManyLoops => write!(
                f,
                "{} event loops are alive, which is all there can be: drop loops that are no \
                 longer used, or run more tasks on fewer loops",
                crate::limits::MAX_LOOPS
            ),
            Error::NoLoop => f.write_str(
                "no event loop runs on this thread: call this inside `block_on`, or keep a \
                 `Handle` of a loop and use that",
            ),
            Error::LoopEnded => f.write_str(
                "the event loop of this handle has ended: keep its `block_on` running for as \
                 long as others use it",
            ),
            Error::Forked => f.write_str(
                "this event loop was made before `fork`, and parent and child would share its \
                 descriptors: fork only to exec (`process::Command`), or make a new loop in the \
                 child",
            ),
            Error::Os { what, source } => {
                write!(f, "the event loop could not {what}: {source}")?;
                if matches!(source.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                    f.write_str("; close descriptors or raise the limit (`ulimit -n`)")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Os { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::Os { source, .. } => source,
            other => io::Error::other(other),
        }
    }
}
