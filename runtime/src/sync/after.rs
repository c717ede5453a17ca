//! What an operation does after it let go of its primitive's lock.
//!
//! The first file to read of this module; next: `family.rs`.

use std::mem::{self, ManuallyDrop};
use std::panic::{catch_unwind, resume_unwind};
use std::task::Waker;
use std::thread;

use crate::task::waker::id_of;

/// Wakers to wake and to drop *after* the lock is let go.
///
/// Both may run foreign code that comes back to the same primitive: a waker of
/// a foreign executor may poll its task in `wake`, and dropping the last waker
/// of a task may drop the task with all its guards and futures. Under the lock
/// that would be a deadlock, or a `RefCell` panic.
///
/// Dropping it does it. Everything is woken even if one of the wakers panics.
///
/// An `After` that leaves nothing to do, or one waker to wake, which is nearly every one,
/// should cost two tests. So what is rare is a box that functions take and give
/// *by value*: no function that isn't inline has the `After` by reference, and the
/// compiler keeps it in registers.
#[derive(Debug, Default)]
pub struct After {
    wake: Option<Waker>,
    rare: Option<Box<Rare>>,
}

#[derive(Debug, Default)]
struct Rare {
    /// More to wake, after `After::wake`.
    wake: Vec<Waker>,
    discard: Option<Waker>,
}

impl After {
    /// Runs `section`, which holds a lock, then does what it left to do.
    ///
    /// If `section` panics what it had left is forgotten; sections panic only before
    /// they change anything.
    #[inline(always)]
    pub fn around<R>(section: impl FnOnce(&mut After) -> R) -> R {
        let mut after = ManuallyDrop::new(After::default());
        let result = section(&mut after);
        if let Some(rare) = after.rare.take() {
            rest(after.wake.take(), rare);
        } else if let Some(waker) = after.wake.take() {
            waker.wake();
        }
        result
    }

    /// Wakes this waker, in the order of the calls.
    #[inline(always)]
    pub fn wake(&mut self, waker: Option<Waker>) {
        if self.wake.is_none() {
            // Nothing is replaced, which the compiler can't know.
            mem::forget(mem::replace(&mut self.wake, waker));
        } else if let Some(waker) = waker {
            self.rare = Some(wake_another(self.rare.take(), waker));
        }
    }

    /// Drops this waker unused. Of ours there is nothing to drop.
    #[inline(always)]
    pub fn discard(&mut self, waker: Option<Waker>) {
        match waker {
            Some(waker) if id_of(&waker).is_some() => mem::forget(waker),
            Some(waker) => self.rare = Some(discard(self.rare.take(), waker)),
            None => {}
        }
    }
}

impl Drop for After {
    #[inline]
    fn drop(&mut self) {
        if let Some(rare) = self.rare.take() {
            rest(self.wake.take(), rare);
        } else if let Some(waker) = self.wake.take() {
            waker.wake();
        }
    }
}

#[cold]
#[inline(never)]
fn wake_another(rare: Option<Box<Rare>>, waker: Waker) -> Box<Rare> {
    let mut rare = rare.unwrap_or_default();
    rare.wake.push(waker);
    rare
}

#[cold]
#[inline(never)]
fn discard(rare: Option<Box<Rare>>, waker: Waker) -> Box<Rare> {
    let mut rare = rare.unwrap_or_default();
    debug_assert!(rare.discard.is_none(), "one operation discards one waker");
    rare.discard = Some(waker);
    rare
}

#[cold]
#[inline(never)]
#[expect(clippy::boxed_local)] // Opened here, not at each of the callers.
fn rest(first: Option<Waker>, rare: Box<Rare>) {
    let Rare { wake, discard } = *rare;
    wake_all(first.into_iter().chain(wake));
    drop(discard);
}

/// Wakes them all, then goes on with the first panic that one of them caused.
fn wake_all(wakers: impl Iterator<Item = Waker>) {
    let mut panic = None;
    for waker in wakers {
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
