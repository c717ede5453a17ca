//! What can go wrong with an object that processes share: [`Error`]; with a
//! mutex's lock: [`Poisoned`] and [`TryLockError`].

use std::fmt;
use std::io;

/// Why a shared object could not be made, or an operation on it not be done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The system has no memory, no address space or no descriptor for the object.
    Memory(io::Error),
    /// More processes than [`MEMBERS`](super::limits::MEMBERS) would take part.
    TooManyProcesses,
    /// A message, or an object's size, beyond the limit.
    TooLarge {
        /// How large it is.
        len: usize,
        /// The most that is possible.
        max: usize,
    },
    /// A size that makes no sense; the text says which and why.
    Config(&'static str),
    /// The value can't be turned into bytes.
    Encode(String),
    /// The bytes can't be turned into a value. They have been consumed.
    Decode(String),
    /// It would have had to wait.
    WouldBlock,
    /// The time is over.
    TimedOut,
    /// No other process is left that could bring about what is waited for.
    PeersGone,
    /// The queue, or the other end of the channel, was closed.
    Closed,
    /// The other end died in the middle of a message.
    Truncated,
    /// Messages of a [`JoinableQueue`](super::JoinableQueue) were taken and not done.
    Lost {
        /// How many, since it was made or [cleared](super::JoinableQueue::clear_lost).
        messages: u32,
    },
    /// The barrier is broken: a party died, timed out, or aborted.
    Broken,
    /// Whoever held the lock before died or panicked; see [`Poisoned`].
    Poisoned,
    /// What stands in the shared memory can't be: it was overwritten.
    Corrupt(&'static str),
    /// The system refused a call on a channel.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Memory(_) => f.write_str(
                "no memory or descriptor for a shared object; drop objects that aren't needed, or \
                 raise the limits (ulimit -n, ulimit -v)",
            ),
            Error::TooManyProcesses => write!(
                f,
                "{} handles of this object are in use by processes or under way to them, which is \
                 the most; share one handle by reference within a process",
                super::limits::MEMBERS
            ),
            Error::TooLarge { len, max } => write!(
                f,
                "{len} bytes, and the most is {max}; send it in pieces, or make the object larger"
            ),
            Error::Config(why) => f.write_str(why),
            Error::Encode(why) => write!(f, "the value can't be encoded: {why}"),
            Error::Decode(why) => write!(f, "the message can't be decoded: {why}"),
            Error::WouldBlock => f.write_str("not possible without waiting"),
            Error::TimedOut => f.write_str("the time was over before it could be done"),
            Error::PeersGone => f.write_str(
                "no other process has a handle of this any more, so nobody is left to wait for",
            ),
            Error::Closed => f.write_str("it was closed, by its other end or by `close`"),
            Error::Truncated => {
                f.write_str("the other end died in the middle of a message; its beginning is lost")
            }
            Error::Lost { messages } => write!(
                f,
                "{messages} of the messages were taken by a process that died, or by one that \
                 dropped the receipt without `task_done`, so nobody knows how far the work on them \
                 came; all others are done: put in order what they were for, and call `clear_lost`"
            ),
            Error::Broken => f.write_str(
                "the barrier is broken: a party died, ran out of time, or called abort; all \
                 waiters get this, and `reset` makes it whole again",
            ),
            Error::Poisoned => f.write_str(POISONED),
            Error::Corrupt(what) => write!(f, "{what} in shared memory was overwritten"),
            Error::Io(_) => f.write_str("the system refused a call on the channel"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Memory(error) | Error::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<super::monitor::GaveUp> for Error {
    fn from(gave_up: super::monitor::GaveUp) -> Error {
        match gave_up {
            super::monitor::GaveUp::TimedOut => Error::TimedOut,
            super::monitor::GaveUp::PeersGone => Error::PeersGone,
        }
    }
}

const POISONED: &str = "the process that held the mutex died, or its thread panicked, so the \
                        value may be half changed; take the guard by `into_inner`, put the value \
                        in order, and call `clear_poison`";

/// A lock that was got from a dead or panicked owner: the value may be half changed.
pub struct Poisoned<G>(pub(crate) G);

impl<G> Poisoned<G> {
    /// The guard: the lock is held.
    pub fn into_inner(self) -> G {
        self.0
    }

    /// The guard, by reference.
    pub fn get_ref(&self) -> &G {
        &self.0
    }

    /// The guard, to change the value.
    pub fn get_mut(&mut self) -> &mut G {
        &mut self.0
    }
}

impl<G> fmt::Debug for Poisoned<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Poisoned { .. }")
    }
}

impl<G> fmt::Display for Poisoned<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(POISONED)
    }
}

impl<G> std::error::Error for Poisoned<G> {}

impl<G> From<Poisoned<G>> for Error {
    fn from(_: Poisoned<G>) -> Error {
        Error::Poisoned
    }
}

/// Why a mutex wasn't locked, or was with a caveat.
pub enum TryLockError<G> {
    /// It is locked, and here is the guard; but see [`Poisoned`].
    Poisoned(Poisoned<G>),
    /// Somebody holds it.
    WouldBlock,
    /// Somebody held it for all of the time.
    TimedOut,
}

impl<G> fmt::Debug for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryLockError::Poisoned(_) => "Poisoned { .. }",
            TryLockError::WouldBlock => "WouldBlock",
            TryLockError::TimedOut => "TimedOut",
        })
    }
}

impl<G> fmt::Display for TryLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryLockError::Poisoned(poisoned) => poisoned.fmt(f),
            TryLockError::WouldBlock => f.write_str("somebody else holds the mutex"),
            TryLockError::TimedOut => f.write_str("somebody else held the mutex all the time"),
        }
    }
}

impl<G> std::error::Error for TryLockError<G> {}

impl<G> From<TryLockError<G>> for Error {
    fn from(error: TryLockError<G>) -> Error {
        match error {
            TryLockError::Poisoned(_) => Error::Poisoned,
            TryLockError::WouldBlock => Error::WouldBlock,
            TryLockError::TimedOut => Error::TimedOut,
        }
    }
}
