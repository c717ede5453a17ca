//! Threads that block until something of ours happens, and for which job they do.
//!
//! *Read after* [`super::wait`]; *next* [`super::round`].
//!
//! A task that waits for a job of a pool waits, in the end, for whatever the job's
//! thread waits for. So whoever is about to put a thread to sleep says here what for,
//! and crosses it out afterwards: a list under a lock, touched twice where the thread
//! goes to sleep and is woken by system calls anyway. In the [graph](super::graph) a
//! job that stands here is a party like a task; one that doesn't runs, or is queued,
//! and nobody knows what would hold it up.
//!
//! Which job a thread is at, its pool knows: it either sets it around a job
//! ([`during`]), or leaves a function here once, to be asked ([`know_jobs`]), so that a
//! job that blocks on nothing costs as little as it can.
//!
//! Not here: waits with a limit, which end by themselves; for a job of a process pool,
//! which lead out of the process; and threads that block in something else, on which
//! [`super::watchdog`] and the pool's own dump have a view.

use std::cell::Cell;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use super::wait::{JobId, WaitsFor};

/// A thread that blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocked {
    /// The thread's name, if it has one.
    pub thread: Option<String>,
    /// The job that it runs, innermost.
    pub job: Option<JobId>,
    /// What would let it go on: any of these.
    pub waits_for: Vec<WaitsFor>,
}

struct List {
    next: u64,
    entries: Vec<Entry>,
}

/// What can be had without writing any text.
struct Entry {
    /// By which it is crossed out.
    number: u64,
    thread: Thread,
    job: Option<JobId>,
    waits_for: Vec<WaitsFor>,
}

static LIST: Mutex<List> = Mutex::new(List {
    next: 0,
    entries: Vec::new(),
});

fn list() -> MutexGuard<'static, List> {
    LIST.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone, Copy)]
enum Jobs {
    /// None, or this one.
    This(Option<JobId>),
    Ask(fn() -> Option<JobId>),
}

thread_local! {
    static JOBS: Cell<Jobs> = const { Cell::new(Jobs::This(None)) };
}

/// Runs `f`, which is job `job`, on this thread.
pub fn during<R>(job: JobId, f: impl FnOnce() -> R) -> R {
    struct Restore(Jobs);
    impl Drop for Restore {
        fn drop(&mut self) {
            JOBS.set(self.0);
        }
    }
    let _restore = Restore(JOBS.replace(Jobs::This(Some(job))));
    f()
}

/// From now on `which` knows the job that this thread is at.
pub fn know_jobs(which: fn() -> Option<JobId>) {
    JOBS.set(Jobs::Ask(which));
}

/// As long as this lives, its thread is one that blocks.
#[derive(Debug)]
#[must_use = "the thread counts as blocked until this is dropped"]
pub struct Blocking(u64);

/// This thread is about to block until any of `waits_for` happens.
pub fn until(waits_for: Vec<WaitsFor>) -> Blocking {
    let job = match JOBS.get() {
        Jobs::This(job) => job,
        Jobs::Ask(which) => which(),
    };
    let thread = thread::current();
    let mut list = list();
    let number = list.next;
    list.next += 1;
    list.entries.push(Entry {
        number,
        thread,
        job,
        waits_for,
    });
    Blocking(number)
}

impl Drop for Blocking {
    fn drop(&mut self) {
        let mut list = list();
        let at = list.entries.iter().position(|it| it.number == self.0);
        let gone = at.map(|at| list.entries.swap_remove(at));
        drop(list);
        drop(gone);
    }
}

/// All threads that block, the longest first.
pub(crate) fn look() -> Vec<Blocked> {
    let list = list();
    let mut entries: Vec<&Entry> = list.entries.iter().collect();
    entries.sort_unstable_by_key(|it| it.number);
    let blocked = entries.into_iter().map(|it| Blocked {
        thread: it.thread.name().map(Into::into),
        job: it.job,
        waits_for: it.waits_for.clone(),
    });
    blocked.collect()
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.job, &self.thread) {
            (Some(job), Some(thread)) => write!(f, "job {job} on thread '{thread}'")?,
            (Some(job), None) => write!(f, "job {job}")?,
            (None, Some(thread)) => write!(f, "thread '{thread}'")?,
            (None, None) => f.write_str("a thread")?,
        }
        for (index, what) in self.waits_for.iter().enumerate() {
            let joint = if index == 0 {
                ", blocks until the end of"
            } else {
                " or"
            };
            write!(f, "{joint} {what}")?;
        }
        Ok(())
    }
}
