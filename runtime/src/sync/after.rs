//! What an operation does after it let go of its primitive's lock.
//!
//! The first file to read of this module; next: `family.rs`.

use std::panic::{catch_unwind, resume_unwind};
use std::task::Waker;
use std::thread;

/// Wakers to wake and to drop *after* the lock is let go.
///
/// Both may run foreign code that comes back to the same primitive: a waker of
/// a foreign executor may poll its task in `wake`, and dropping the last waker
/// of a task may drop the task with all its guards and futures. Under the lock
/// that would be a deadlock, or a `RefCell` panic.
///
/// Everything is woken even if one of the wakers panics. Dropping it does it.
#[derive(Debug, Default)]
pub struct After {
    wake: Option<Waker>,
    wake_more: Vec<Waker>,
    discard: Option<Waker>,
}

impl After {
    /// Wakes this waker, in the order of the calls.
    #[inline]
    pub fn wake(&mut self, waker: Option<Waker>) {
        if self.wake.is_none() {
            self.wake = waker;
        } else {
            self.wake_more.extend(waker);
        }
    }

    /// Drops this waker unused.
    #[inline]
    pub fn discard(&mut self, waker: Option<Waker>) {
        debug_assert!(self.discard.is_none(), "one operation discards one waker");
        self.discard = waker;
    }

    /// What `drop` does, under a name that tells the moment.
    #[inline]
    pub fn run(self) {}
}

impl Drop for After {
    #[inline]
    fn drop(&mut self) {
        if let Some(first) = self.wake.take() {
            if self.wake_more.is_empty() {
                first.wake();
            } else {
                wake_all(first, std::mem::take(&mut self.wake_more));
            }
        }
    }
}

/// Wakes them all, then goes on with the first panic that one of them caused.
#[cold]
fn wake_all(first: Waker, more: Vec<Waker>) {
    let mut panic = None;
    for waker in std::iter::once(first).chain(more) {
        if let Err(payload) = catch_unwind(|| waker.wake()) {
            panic.get_or_insert(payload);
        }
    }
    if let Some(payload) = panic
        && !thread::panicking()
    {
        resume_unwind(payload);
    }
}
