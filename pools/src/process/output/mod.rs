//! Where the stdout and stderr of workers go.
//!
//! | [`Output`] | what the worker has | who reads |
//! |---|---|---|
//! | `inherit` | this process's own descriptor | – |
//! | `null` | `/dev/null` | – |
//! | `file` | the file | – |
//! | `relay` | a pipe | the pool: writes it to this process's own, and remembers the end |
//! | `lines` | a pipe | the pool: calls a function with each line |
//!
//! Pipes are read by one thread for all workers of a pool ([`reader`]), and by
//! whoever buries a worker, so that the end of what it wrote is known when its death
//! is told. That thread may be held up by whoever it writes to; jobs that write more
//! than a pipe holds are then held up with it, as they would be by a terminal that
//! is stopped. Nothing else of the pool is.
//!
//! For `lines` a worker writes a **mark** into its pipes before each job, which says
//! which job's output follows ([`marks`]).
//!
//! Read in this order: this, [`given`], [`marks`], [`stream`], [`reader`].

pub mod given;
pub mod marks;
pub mod reader;
pub mod stream;

use crate::process::terms::JobLabel;
use std::fmt;
use std::fs::File;
use std::sync::Arc;

/// Where the stdout or the stderr of a pool's workers goes; see
/// [`Builder::stdout`](crate::process::Builder::stdout).
#[derive(Debug, Clone)]
pub struct Output(pub(crate) Way);

#[derive(Debug, Clone)]
pub(crate) enum Way {
    Inherit,
    Null,
    File(Arc<File>),
    Relay,
    Lines(Callback),
}

/// What is called with each line.
#[derive(Clone)]
pub(crate) struct Callback(pub Arc<dyn Fn(&Line<'_>) + Send + Sync>);

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}

/// Which of its two outputs a worker wrote to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line that a worker wrote.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Line<'a> {
    /// The worker's process id.
    pub pid: u32,
    /// To which of its outputs.
    pub stream: Stream,
    /// The job that wrote it (or that ran last, if a thread was left behind); `None`
    /// before the first.
    pub job: Option<&'a JobLabel>,
    /// Its text without the end of line; what isn't UTF-8 is replaced.
    pub text: &'a str,
}

impl Output {
    /// This process's own descriptor, handed down as it is.
    pub fn inherit() -> Output {
        Output(Way::Inherit)
    }

    /// Thrown away.
    pub fn null() -> Output {
        Output(Way::Null)
    }

    /// Written to a file, by all workers; open it for appending.
    pub fn file(file: File) -> Output {
        Output(Way::File(Arc::new(file)))
    }

    /// Written to this process's own by way of the pool, which remembers the last
    /// 4 KiB of each worker for errors ([`Death::last_words`](crate::process::Death)).
    /// What can't be written (a full disk, a closed pipe) is dropped.
    pub fn relay() -> Output {
        Output(Way::Relay)
    }

    /// Handed to `callback` line by line, with the worker and the job that it came
    /// from, on a thread of the pool. A line may come after the result of its job,
    /// but comes before a [`shutdown`](crate::process::ProcessPool::shutdown) that waits
    /// on its thread is over (an awaited one doesn't wait for it).
    ///
    /// Text without an end of line is a line when its job ends; lines longer than
    /// 64 KiB are split. While the callback runs no other line is read: if it is slow,
    /// jobs that write more than a pipe holds (64 KiB) wait for it. If it panics, the
    /// line is lost, no more.
    ///
    /// Costs each job some microseconds, written to or not.
    pub fn lines(callback: impl Fn(&Line<'_>) + Send + Sync + 'static) -> Output {
        Output(Way::Lines(Callback(Arc::new(callback))))
    }

    /// Whether workers make marks in it.
    pub(crate) fn is_marked(&self) -> bool {
        matches!(self.0, Way::Lines(_))
    }

    /// Whether the pool reads it.
    pub(crate) fn is_read(&self) -> bool {
        matches!(self.0, Way::Relay | Way::Lines(_))
    }
}
