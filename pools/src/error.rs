//! What can go wrong: [`Error`] with a pool, [`JobError`] with one job.

use std::any::Any;
use std::fmt;

/// A pool could not be made, or could not take work.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An option of the builder makes no sense; the text says which and why.
    Config(String),
    /// The system refused to start a thread.
    StartThread(std::io::Error),
    /// The pool was shut down, so it takes no more work.
    Closed,
    /// This process was forked without exec: the pool's threads stayed behind in
    /// the parent.
    Forked,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(why) => write!(f, "{why}"),
            Self::StartThread(_) => f.write_str(
                "could not start a worker thread; lower the number of threads or their stack \
                 size, or raise the limit of processes (ulimit -u)",
            ),
            Self::Closed => f.write_str(
                "the pool was shut down and takes no more work; submit before shutdown, or make \
                 a new pool",
            ),
            Self::Forked => f.write_str(
                "this process was forked from the one that made the pool, and the pool's threads \
                 exist only there; make the pool after the fork, or exec",
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::StartThread(error) => Some(error),
            _ => None,
        }
    }
}

/// Why a job has no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// The job panicked; the payload is here.
    Panicked(PanicPayload),
    /// The job was cancelled before it started.
    Cancelled,
    /// The pool was shut down before the job could start.
    Closed,
}

impl JobError {
    /// Wraps what `catch_unwind` returned.
    pub fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self::Panicked(PanicPayload(Box::new(std::sync::Mutex::new(payload))))
    }

    /// Did the job panic?
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// Did the job never start, because it was cancelled or the pool was shut
    /// down?
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Cancelled | Self::Closed)
    }

    /// The panic's payload, for `std::panic::resume_unwind`; otherwise the error
    /// itself.
    ///
    /// # Errors
    /// The error, unchanged, if the job didn't panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self {
            Self::Panicked(PanicPayload(payload)) => Ok(payload
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner)),
            other => Err(other),
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(payload) => match payload.message() {
                Some(text) => write!(f, "the job panicked: {text}"),
                None => f.write_str("the job panicked"),
            },
            Self::Cancelled => f.write_str("the job was cancelled before it started"),
            Self::Closed => f.write_str(
                "the pool was shut down before the job could start; give shutdown a longer \
                 deadline, or submit earlier",
            ),
        }
    }
}

impl std::error::Error for JobError {}

/// What a panicking job threw. `Sync`, so that errors can be shared.
///
/// Boxed once more, so that results, which seldom are errors, stay small.
#[allow(clippy::redundant_allocation)]
pub struct PanicPayload(Box<std::sync::Mutex<Box<dyn Any + Send>>>);

impl PanicPayload {
    /// The text, if the panic carried one.
    pub fn message(&self) -> Option<String> {
        let payload = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        payload
            .downcast_ref::<&'static str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
    }
}

impl fmt::Debug for PanicPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.message() {
            Some(text) => write!(f, "{text:?}"),
            None => f.write_str("<not a string>"),
        }
    }
}
