//! What can go wrong: with the pool ([`Error`]) and with one job ([`JobError`]).

use crate::process::terms::JobLabel;
use crate::process::worker::panics::PanicReport;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use threeply_runtime::sys::spawn::SpawnError;

/// Why a pool can't be made, or doesn't take a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A pool of no workers was asked for.
    NoWorkers,
    /// A watchdog was asked for that reports every job at once.
    NoPatience,
    /// The hook that makes a re-executed copy of this program a worker is missing.
    HookMissing {
        /// Whether the pool is to find its workers in `main`.
        in_main: bool,
    },
    /// A worker can't be started.
    Start(SpawnError),
    /// The fork server couldn't fork a worker, or died; the next worker gets a new one.
    ForkServer {
        /// The system's reason.
        source: io::Error,
    },
    /// The memory or the descriptors that a worker needs can't be had.
    Resources {
        /// What was asked for.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The function isn't part of this program's own executable.
    NotInExecutable,
    /// The argument can't be encoded.
    Argument {
        /// What its `Serialize` implementation said.
        reason: String,
    },
    /// The encoded argument is too large.
    TooLarge {
        /// How many bytes there were when it was given up.
        len: usize,
        /// The most that there may be.
        max: usize,
    },
    /// No event loop runs on this thread.
    NoLoop(threeply_runtime::Error),
    /// The queue is full (only from methods that don't wait).
    Full,
    /// The pool takes no more jobs.
    ShutDown,
    /// Workers fail to start, again and again.
    Broken(StartFailure),
    /// A whole chunk of jobs was refused, for this reason.
    Refused(Arc<Error>),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoPatience => f.write_str("a watchdog needs a limit above zero: give the time after which jobs that wait are worth a report"),
            Error::NoWorkers => f.write_str("a process pool needs at least one worker: ask for 1 or more"),
            Error::HookMissing { in_main: false } => f.write_str(
                "workers can't be started: the function that diverts them before `main` did not run \
                 in this program (was its `.init_array` dropped by the linker?); build the pool with \
                 `start_in_main(true)` and call `process::worker_main()` at the top of `main`",
            ),
            Error::HookMissing { in_main: true } => f.write_str(
                "workers can't be started: the pool was built with `start_in_main(true)`, so \
                 `process::worker_main()` must be called at the top of `main`",
            ),
            Error::Start(error) => write!(f, "a worker can't be started: {error}"),
            Error::ForkServer { source } => write!(
                f,
                "the fork server couldn't fork a worker: {source}; if that persists, use \
                 `StartMethod::Exec`"
            ),
            Error::Resources { what, source } => write!(f, "{what}: {source}"),
            Error::NotInExecutable => f.write_str(
                "the function isn't in this program's own executable (it comes from a shared library, \
                 perhaps), so a worker can't find it: wrap the call in a function of your program",
            ),
            Error::Argument { reason } => write!(f, "the argument can't be encoded: {reason}"),
            Error::TooLarge { len, max } => write!(
                f,
                "the argument is too large: {len} bytes or more, the limit is {max}; \
                 send it in parts, or through a file"
            ),
            Error::Full => f.write_str("the pool's queue is full: wait for a job, or use `submit`, which waits"),
            Error::ShutDown => f.write_str("the pool is shut down and takes no more jobs"),
            Error::NoLoop(error) => write!(
                f,
                "the supervisor can't be hosted here: {error}; use `build`, which gives it a thread"
            ),
            Error::Refused(error) => error.fmt(f),
            Error::Broken(failure) => write!(f, "the pool is broken: {failure}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Start(error) => Some(error),
            Error::Resources { source, .. } | Error::ForkServer { source } => Some(source),
            Error::NoLoop(error) => Some(error),
            Error::Refused(error) => error.source(),
            _ => None,
        }
    }
}

/// Why workers don't come up.
#[derive(Debug, Clone)]
pub struct StartFailure(pub(crate) Arc<str>);

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a worker died.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Death {
    /// The worker's process id.
    pub pid: u32,
    /// How it ended.
    pub cause: Cause,
    /// For how long it had been running the job, as far as the parent could see.
    pub ran_for: Duration,
    /// What the job is called.
    pub job: JobLabel,
    /// How often it was tried; 1 unless a [`Retry`](crate::process::Retry) says otherwise.
    pub attempts: u32,
    /// The end of what the worker wrote to its stderr, if that goes through the pool
    /// (see [`Output`](crate::process::Output)); else empty.
    pub last_words: Box<str>,
}

/// What ended a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// It called `exit` (or `_exit`) with this code.
    Exited(i32),
    /// A signal that the pool didn't send.
    Signal {
        /// Its number.
        signal: i32,
        /// Whether a core dump was written.
        core_dumped: bool,
    },
    /// The stack of the thread that runs jobs was too small.
    StackOverflow,
    /// It aborted while its memory was capped: it most probably wanted more.
    MemoryLimit {
        /// The cap in bytes.
        limit: u64,
    },
    /// The kernel killed it because memory had run out.
    OutOfMemory,
    /// It sent what no worker sends, and was killed.
    Garbage,
    /// How it ended can't be known: this program ignores SIGCHLD, or waits for any child,
    /// and so the kernel or somebody else has reaped it.
    Unknown,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Death {
            pid,
            cause,
            ran_for,
            job,
            attempts,
            last_words,
        } = self;
        match cause {
            Cause::Exited(code) => write!(f, "the job ended its worker by exit({code})")?,
            Cause::Signal {
                signal,
                core_dumped,
            } => {
                write!(f, "the worker was killed by {}", signal_name(*signal))?;
                if *core_dumped {
                    f.write_str(" (core dumped)")?;
                }
            }
            Cause::StackOverflow => f.write_str(
                "the job has overflowed its stack: give workers more with `stack_size`",
            )?,
            Cause::MemoryLimit { limit } => write!(
                f,
                "the worker aborted, most probably because of its memory limit of {limit} bytes"
            )?,
            Cause::Unknown => f.write_str(
                "the worker has ended, and somebody else has reaped it, so how it ended isn't known",
            )?,
            Cause::OutOfMemory => f.write_str("the kernel killed the worker for want of memory")?,
            Cause::Garbage => f.write_str(
                "the worker sent garbage, so its memory must have been overwritten, and was killed",
            )?,
        }
        write!(f, " after {ran_for:.1?} (job {job}, pid {pid}")?;
        if *attempts > 1 {
            write!(f, ", attempt {attempts}")?;
        }
        write!(f, "){}", LastOutput(last_words))
    }
}

/// Puts a worker's last output behind a message, if there is any.
pub(crate) struct LastOutput<'a>(pub &'a str);

impl fmt::Display for LastOutput<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim() {
            "" => Ok(()),
            text => write!(f, "; its last words: {text}"),
        }
    }
}

/// Names the signals that end processes; others by number.
fn signal_name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(known) => format!("{known} ({signal})"),
        Err(_) => format!("signal {signal}"),
    }
}

/// Why a job has no result. It concerns this job alone.
#[derive(Debug)]
#[non_exhaustive]
pub enum JobError {
    /// The function panicked.
    Panicked(PanicReport),
    /// The worker died while it ran the job.
    Died(Death),
    /// The job ran for longer than its limit and was killed.
    TimedOut {
        /// The limit.
        limit: Duration,
    },
    /// The job used more processor time than its limit and was killed.
    CpuExceeded {
        /// The limit.
        limit: Duration,
    },
    /// The job was cancelled.
    Cancelled,
    /// The worker couldn't decode the argument; the function didn't run.
    Argument {
        /// What its `Deserialize` implementation said.
        reason: String,
    },
    /// The result can't be encoded.
    Result {
        /// What its `Serialize` implementation said.
        reason: String,
    },
    /// The result can't be decoded.
    Undecodable {
        /// What its `Deserialize` implementation said, or its panic.
        reason: String,
    },
    /// The result is too large.
    TooLarge {
        /// Bytes that there were when it was given up.
        len: usize,
        /// The most that there may be.
        max: usize,
    },
    /// The pool was shut down before the job was done.
    ShutDown,
    /// No worker could be started for it.
    WorkerStart(StartFailure),
    /// The pool didn't take the job (only from `map` and its relatives; others say
    /// so when the job is submitted).
    Rejected(Box<Error>),
}

impl JobError {
    /// Whether the function panicked.
    pub fn is_panic(&self) -> bool {
        matches!(self, JobError::Panicked(_))
    }

    /// Whether the job was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, JobError::Cancelled)
    }

    /// How the worker died, if that is why.
    pub fn death(&self) -> Option<&Death> {
        match self {
            JobError::Died(death) => Some(death),
            _ => None,
        }
    }
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobError::Panicked(PanicReport {
                message, location, ..
            }) => match location {
                Some(location) => write!(f, "the job panicked at {location}: {message}"),
                None => write!(f, "the job panicked: {message}"),
            },
            JobError::Died(death) => write!(f, "{death}"),
            JobError::TimedOut { limit } => {
                write!(
                    f,
                    "the job ran for longer than its limit of {limit:?} and was killed"
                )
            }
            JobError::CpuExceeded { limit } => write!(
                f,
                "the job used more processor time than its limit of {limit:?} and was killed"
            ),
            JobError::Cancelled => f.write_str("the job was cancelled"),
            JobError::Argument { reason } => {
                write!(f, "the worker couldn't decode the argument: {reason}")
            }
            JobError::Result { reason } => write!(f, "the result can't be encoded: {reason}"),
            JobError::Undecodable { reason } => {
                write!(f, "the result can't be decoded: {reason}")
            }
            JobError::TooLarge { len, max } => write!(
                f,
                "the result is too large: {len} bytes or more, the limit is {max}; return it in parts"
            ),
            JobError::ShutDown => f.write_str("the pool was shut down before the job was done"),
            JobError::Rejected(error) => error.fmt(f),
            JobError::WorkerStart(failure) => write!(f, "no worker could be started: {failure}"),
        }
    }
}

impl std::error::Error for JobError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            JobError::Rejected(error) => error.source(),
            _ => None,
        }
    }
}
