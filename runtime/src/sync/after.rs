//! What an operation does after it let go of its primitive's lock.
//!
//! The first file to read of this module; next: `family.rs`.

use std::mem::{self, ManuallyDrop};
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
/// Dropping it does it. Everything is woken even if one of the wakers panics.
#[derive(Debug, Default)]
pub struct After {
    wake: Option<Waker>,
    /// More to wake, only used after `wake`. Boxed, so that an `After` that isn't
    /// needed, which is nearly every one, costs three stores and two tests.
    #[expect(clippy::box_collection)]
    wake_more: Option<Box<Vec<Waker>>>,
    discard: Option<Waker>,
}

impl After {
    /// Runs `section`, which holds a lock, then does what it left to do.
    ///
    /// Nearly always there is nothing, or one to wake, which is done in place: moving this out
    /// to test it would read three fresh stores by two wide loads, and stall for
    /// longer than a whole uncontended lock takes. If `section` panics what it
    /// had left is forgotten; sections panic only before they change anything.
    #[inline(always)]
    pub fn around<R>(section: impl FnOnce(&mut After) -> R) -> R {
        let mut after = ManuallyDrop::new(After::default());
        let result = section(&mut after);
        if let Some(waker) = after.wake.take() {
            if after.wake_more.is_none() && after.discard.is_none() {
                waker.wake();
                return result;
            }
            after.wake = Some(waker);
            after.rest();
        } else if after.discard.is_some() {
            after.rest();
        }
        result
    }

    #[inline(never)]
    fn rest(&mut self) {
        drop(mem::take(self));
    }

    /// Wakes this waker, in the order of the calls.
    #[inline(always)]
    pub fn wake(&mut self, waker: Option<Waker>) {
        if self.wake.is_none() {
            self.wake = waker;
        } else if let Some(waker) = waker {
            self.wake_another(waker);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_another(&mut self, waker: Waker) {
        self.wake_more.get_or_insert_default().push(waker);
    }

    /// Drops this waker unused.
    #[inline]
    pub fn discard(&mut self, waker: Option<Waker>) {
        debug_assert!(self.discard.is_none(), "one operation discards one waker");
        self.discard = waker;
    }
}

impl Drop for After {
    #[inline]
    fn drop(&mut self) {
        if let Some(first) = self.wake.take() {
            match self.wake_more.take() {
                None => first.wake(),
                Some(more) => wake_all(first, *more),
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
