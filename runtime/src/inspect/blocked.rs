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
//! What a thread waits for is either said once ([`until`]: that job, whatever becomes of
//! it), or asked for at each dump (`while_asked`): who holds a lock, and who stands in
//! front, changes while one sleeps, and what was true when one fell asleep would make
//! deadlocks that aren't there.
//!
//! ```text
//!   the list's lock      entries; nobody is asked under it
//!   an entry's lock      whether the sleeper may still be asked; asking is done under it
//! ```
//! The answer may take locks of the primitive's or the pool's own. Nobody who holds one of
//! those takes an entry's lock; the list's they may take.
//!
//! Which job a thread is at, its pool knows: it either sets it around a job
//! ([`during`]), or leaves a function here once, to be asked ([`know_jobs`]), so that a
//! job that blocks on nothing costs as little as it can.
//!
//! Not here: waits with a limit, which end by themselves; and threads that block in
//! something else, on which [`super::watchdog`] and the pool's own dump have a view.

#![allow(unsafe_code)] // A reference is kept for longer than its type may say.

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use super::round::Told;
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
    waits_for: Says,
}

/// How an entry tells what its thread waits for.
#[derive(Clone)]
enum Says {
    This(Vec<WaitsFor>),
    Asked(Arc<Question>),
}

/// What a sleeper is asked, as long as it sleeps.
struct Question(Mutex<Option<&'static Ask<'static>>>);

/// Says what a thread waits for; may be called from any thread.
pub(crate) type Ask<'a> = dyn Fn() -> Told + Sync + 'a;

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
    enter(Says::This(waits_for))
}

/// Runs `sleep`, during which this thread blocks until what `ask` says happens. No lock
/// that `ask` takes may be held by the caller, nor by a thread while it falls asleep
/// here.
pub(crate) fn while_asked<R>(ask: &Ask<'_>, sleep: impl FnOnce() -> R) -> R {
    /// Ends the time in which one may ask.
    struct End(Arc<Question>);
    impl Drop for End {
        fn drop(&mut self) {
            *self.0.lock() = None;
        }
    }
    // SAFETY: only the lifetime changes. The reference is used by `Question::answer`
    // alone, under the lock and while it is there; `end`, which nobody else has, takes it
    // away under the same lock before this function returns or unwinds, and so before
    // what it refers to ends.
    let ask = unsafe { mem::transmute::<&Ask<'_>, &'static Ask<'static>>(ask) };
    let end = End(Arc::new(Question(Mutex::new(Some(ask)))));
    let _blocking = enter(Says::Asked(Arc::clone(&end.0)));
    let slept = sleep();
    drop(end);
    slept
}

/// As [`until`], for what changes while this thread sleeps: `ask` is called at each dump,
/// on the thread that makes it. Runs `sleep`, and returns what it does.
///
/// `ask` may take locks, but none that somebody may hold who calls this, or that this
/// thread holds.
pub fn while_telling<R>(ask: impl Fn() -> WaitsFor + Sync, sleep: impl FnOnce() -> R) -> R {
    while_asked(&|| Told::Plain(ask()), sleep)
}

impl Question {
    fn lock(&self) -> MutexGuard<'_, Option<&'static Ask<'static>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the sleeper says, if it still sleeps.
    fn answer(&self) -> Option<Told> {
        let question = self.lock();
        (*question).map(|ask| ask())
    }
}

fn enter(waits_for: Says) -> Blocking {
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

/// All threads that block, the longest first. `resolve` makes words of wakers, which
/// primitives know, into tasks.
pub(crate) fn look(resolve: impl Fn(Told) -> WaitsFor) -> Vec<Blocked> {
    let list = list();
    let mut entries: Vec<(u64, Thread, Option<JobId>, Says)> = (list.entries.iter())
        .map(|it| (it.number, it.thread.clone(), it.job, it.waits_for.clone()))
        .collect();
    drop(list);
    entries.sort_unstable_by_key(|(number, ..)| *number);
    let blocked = entries.into_iter().filter_map(|(_, thread, job, says)| {
        Some(Blocked {
            thread: thread.name().map(Into::into),
            job,
            waits_for: match says {
                Says::This(waits_for) => waits_for,
                Says::Asked(question) => vec![resolve(question.answer()?)],
            },
        })
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
                ", blocks and waits for"
            } else {
                " or"
            };
            write!(f, "{joint} {what}")?;
        }
        Ok(())
    }
}
