//! What a lane's thread is at, for those who look from outside: [`super::dump`] and
//! [`super::watchdog`].
//!
//! Only pools that were built with `publish_running` or a watchdog fill it in. These
//! wrap each closure as it is spawned, so the queues carry no word more for it, and
//! other pools pay a load and a branch at `spawn` and nothing when a job runs.
//! Everything is under one lock for each lane, which its own thread takes twice a job
//! and nobody else but a look.
//!
//! Rejected: the site in every `JobRef`, which would be a fifth word to copy and to
//! publish, for a dump that hardly any run ever makes.

use std::panic::Location;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use crate::switch::atomic::{AtomicBool, Ordering};
use crate::switch::{Mutex, MutexGuard, Weakening, weakened};
use crate::thread::context;
use crate::thread::dump::Work;
use crate::thread::parker::Parker;

/// See the head of this file.
///
/// Invariant **A1**: whether something runs, and whom to wake when something begins,
/// change under one lock. So a watchdog that dozes has seen nothing run here, and is
/// called by whatever begins after that.
#[derive(Debug)]
pub struct Activity {
    inner: Mutex<Inner>,
    /// The thread has lent its permit. Written by it alone.
    blocked: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    /// What runs, within each other: a thread that waits for a scope runs jobs of it.
    running: Vec<(Work, Instant)>,
    /// When `running` changed last.
    changed: Option<Instant>,
    /// Whose owner sleeps until something runs here.
    call: Option<Arc<Parker>>,
}

/// Ends what [`Activity::begin`] began.
#[derive(Debug)]
pub struct End<'a>(&'a Activity);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.running.pop();
        inner.changed = Some(Instant::now());
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner::default()),
            blocked: AtomicBool::new(false),
        }
    }
}

impl Activity {
    #[track_caller] // So that lanes of a model tell who locks.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread begins `work`, until the guard is dropped. Wakes whoever sleeps
    /// until something runs here.
    pub fn begin(&self, work: Work) -> End<'_> {
        let now = Instant::now();
        let mut inner = self.lock();
        inner.running.push((work, now));
        inner.changed = Some(now);
        let call = inner.call.take();
        drop(inner);
        if let Some(watchdog) = call {
            watchdog.unpark();
        }
        End(self)
    }

    /// Notes that the thread has lent its permit, or has it again; returns what was
    /// noted before.
    pub fn set_blocked(&self, blocked: bool) -> bool {
        let before = self.blocked.load(Ordering::Relaxed);
        self.blocked.store(blocked, Ordering::Relaxed);
        before
    }

    /// Whether the thread has lent its permit.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    /// What it runs, the innermost, and since when.
    pub fn running(&self) -> Option<(Work, Instant)> {
        self.lock().running.last().copied()
    }

    /// Since when it has been at the very same thing, if it is at something.
    pub fn unchanged_since(&self) -> Option<Instant> {
        let inner = self.lock();
        inner.changed.filter(|_| !inner.running.is_empty())
    }

    /// Has `watchdog` unparked when the thread begins something; false if it is at
    /// something now (A1).
    pub fn call(&self, watchdog: Arc<Parker>) -> bool {
        let mut inner = self.lock();
        let idle = inner.running.is_empty();
        if weakened(Weakening::CallUnderNextLock) {
            drop(inner);
            inner = self.lock();
        }
        inner.call = idle.then_some(watchdog);
        idle
    }
}

/// Runs `f` and publishes meanwhile that this thread does `work`.
pub fn during<R>(work: Work, f: impl FnOnce() -> R) -> R {
    context::with(|seat| match seat {
        Some(seat) => {
            let _end = seat.lane.shared.activity.begin(work);
            f()
        }
        None => f(),
    })
}

/// `work`, as a job that publishes that it runs.
pub fn published<T>(
    site: &'static Location<'static>,
    work: impl FnOnce() -> T,
) -> impl FnOnce() -> T {
    move || during(Work::Job { site }, work)
}
