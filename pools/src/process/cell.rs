//! The place where a job's outcome meets whoever waits for it.
//!
//! ```text
//!             complete ┌──────┐ take ┌───────┐
//!   ┌─────────┐ ─────▶ │ Done │ ───▶ │ Taken │
//!   │ Waiting │        └──────┘      └───────┘
//!   └─────────┘ ─────▶ ┌───────────┐  complete (dropped)
//!              cancel  │ Cancelled │ ◀──┐
//!                      └───────────┘ ───┘
//! ```
//!
//! One lock decides who comes first; what runs because of it (a waker, a
//! callback) runs after the lock is released, on the completing thread.
//!
//! An outcome is found under the pool's lock ([`Cell::decide`]) and delivered after that
//! one is released. Between the two a job is in nobody's books any more, and yet it has
//! run: so who cancels it asks [`Cell::is_decided`] first, and cancels, under the same lock
//! ([`Cell::withdraw`]).
//!
//! Read before this: nothing. Read after it: [`super::handle`].
//!
//! Rejected: a lock-free state word (the lock is uncontended, and its 15 ns are
//! lost in a round trip between processes).

use crate::process::error::JobError;
use crate::process::reply::Reply;
use crate::switch::{
    AtomicBool, AtomicU32, Condvar, Mutex, MutexGuard, Ordering, Weakening, weakened,
};
use std::fmt;
use std::task::Waker;
use std::time::Instant;

/// What became of a job: its encoded result, or why there is none. (Boxed, since it is
/// large and rare, and a million cells may wait at a time.)
pub type Outcome = Result<Reply, Box<JobError>>;

/// Called once with no argument when the job is done.
type Callback = Box<dyn FnOnce() + Send>;

const WAITING: u32 = 0;
const DONE: u32 = 1;

/// See the head of this file.
pub struct Cell {
    /// `DONE` once there is something to take: lets a look pass without the lock.
    flag: AtomicU32,
    /// An outcome is on its way. Changed and asked for under the pool's lock.
    decided: AtomicBool,
    inner: Mutex<Inner>,
    done: Condvar,
}

struct Inner {
    phase: Phase,
    waker: Option<Waker>,
    callback: Option<Callback>,
    sleepers: u32,
}

/// Those who are to be told of an outcome, once no lock is held.
#[must_use = "they wait to be told"]
pub struct News<'c> {
    done: Option<&'c Condvar>,
    waker: Option<Waker>,
    callback: Option<Callback>,
}

impl News<'_> {
    /// Tells them. Runs a waker and callbacks.
    pub fn tell(self) {
        if let Some(done) = self.done {
            done.notify_all();
        }
        if let Some(waker) = self.waker {
            waker.wake();
        }
        if let Some(callback) = self.callback {
            callback();
        }
    }
}

enum Phase {
    Waiting,
    Done(Outcome),
    Cancelled,
    Taken,
}

impl Default for Cell {
    fn default() -> Cell {
        Cell {
            flag: AtomicU32::new(WAITING),
            decided: AtomicBool::new(false),
            inner: Mutex::new(Inner {
                phase: Phase::Waiting,
                waker: None,
                callback: None,
                sleepers: 0,
            }),
            done: Condvar::new(),
        }
    }
}

impl Cell {
    /// Stores the outcome and tells those who wait. Dropped if the job was
    /// cancelled before.
    pub fn complete(&self, outcome: Outcome) {
        let news = self.settle(|phase| match phase {
            Phase::Waiting => *phase = Phase::Done(outcome),
            Phase::Cancelled if weakened(Weakening::CompleteOverCancel) => {
                *phase = Phase::Done(outcome);
            }
            _ => {}
        });
        news.tell();
    }

    /// Notes that an outcome is on its way. Under the pool's lock.
    #[inline]
    pub fn decide(&self) {
        if !weakened(Weakening::DecideUnnoted) {
            // Relaxed, as in `is_decided`: the lock orders it.
            self.decided.store(true, Ordering::Relaxed);
        }
    }

    /// Whether an outcome is on its way, or there. Under the pool's lock.
    pub fn is_decided(&self) -> bool {
        self.decided.load(Ordering::Relaxed)
    }

    /// Waiting → Cancelled. `false` if the job was done before.
    pub fn cancel(&self) -> bool {
        self.withdraw().map(News::tell).is_some()
    }

    /// As `cancel`, but tells nobody yet, so that it may be called under a lock. `None` if
    /// the job was done before.
    pub fn withdraw(&self) -> Option<News<'_>> {
        let mut cancelled = false;
        let news = self.settle(|phase| {
            if let Phase::Waiting = phase {
                *phase = Phase::Cancelled;
                cancelled = true;
            }
        });
        cancelled.then_some(news)
    }

    fn settle(&self, change: impl FnOnce(&mut Phase)) -> News<'_> {
        let mut inner = self.lock();
        change(&mut inner.phase);
        // Release: pairs with the Acquire load of `is_done`.
        self.flag.store(DONE, Ordering::Release);
        News {
            done: (inner.sleepers > 0).then_some(&self.done),
            waker: inner.waker.take(),
            callback: inner.callback.take(),
        }
    }

    /// Whether there is an outcome, or was.
    #[inline]
    pub fn is_done(&self) -> bool {
        // Acquire: pairs with the Release store of `settle`.
        self.flag.load(Ordering::Acquire) == DONE
    }

    /// Takes the outcome, if there is one.
    pub fn take(&self) -> Option<Outcome> {
        if !self.is_done() {
            return None;
        }
        take(&mut self.lock())
    }

    /// Takes the outcome, or leaves a waker to be woken when there is one.
    pub fn poll(&self, waker: &Waker) -> Option<Outcome> {
        let mut inner = self.lock();
        let outcome = take(&mut inner);
        if outcome.is_none() {
            match &mut inner.waker {
                Some(kept) => kept.clone_from(waker),
                none => *none = Some(waker.clone()),
            }
        }
        outcome
    }

    /// Blocks the thread until there is an outcome, or until `deadline`.
    pub fn sleep(&self, deadline: Option<Instant>) -> bool {
        let mut inner = self.lock();
        inner.sleepers += 1;
        while matches!(inner.phase, Phase::Waiting) {
            inner = match deadline {
                None => self.done.wait(inner).expect("never poisoned"),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    self.done
                        .wait_timeout(inner, left)
                        .expect("never poisoned")
                        .0
                }
            };
        }
        inner.sleepers -= 1;
        !matches!(inner.phase, Phase::Waiting)
    }

    /// Calls `callback` once there is an outcome: here and now if there is one
    /// already, else on the thread that completes the job.
    pub fn when_done(&self, callback: impl FnOnce() + Send + 'static) {
        let mut inner = self.lock();
        if let Phase::Waiting = inner.phase {
            let callback: Callback = Box::new(callback);
            inner.callback = Some(match inner.callback.take() {
                None => callback,
                Some(earlier) => Box::new(move || {
                    earlier();
                    callback();
                }),
            });
            return;
        }
        drop(inner);
        callback();
    }

    #[track_caller] // So that lanes of a model tell who locks.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing that can panic runs under this lock.
        self.inner.lock().expect("never poisoned")
    }
}

fn take(inner: &mut Inner) -> Option<Outcome> {
    match std::mem::replace(&mut inner.phase, Phase::Taken) {
        Phase::Waiting => {
            inner.phase = Phase::Waiting;
            None
        }
        Phase::Done(outcome) => Some(outcome),
        Phase::Cancelled => {
            inner.phase = Phase::Cancelled;
            Some(Err(Box::new(JobError::Cancelled)))
        }
        Phase::Taken => panic!("a job's result was asked for again after it had been taken"),
    }
}

impl fmt::Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cell")
            .field("done", &self.is_done())
            .finish_non_exhaustive()
    }
}
