//! A right that at most one thread has at a time, and that nobody waits for.
//!
//! The right to read a worker's replies is *taken*, used, and *left*. Whoever
//! finds it taken goes away at once, because the holder promises to look once
//! more after it has left:
//!
//! ```text
//!   holder                          somebody who was rung
//!   1 ask for the ring again        1 take: taken, so go away
//!   2 put the right back
//!   3 look: anything there?
//!   4 then take it again
//! ```
//!
//! Why nothing is overlooked: what came before the holder's step 2 is seen in its
//! step 3; what comes after step 1 rings, and whoever is rung after step 2 finds
//! the right free. `tests/loom/process/role.rs` has the model, and the twin without step 3.
//!
//! Read before this: [`super::bell`]. Read after it: [`super::link`].
//!
//! Rejected: *a lock held while reading* (the supervisor would have to wait for a
//! caller that sleeps, holding it); *telling the supervisor at each hand-over* (a
//! wake-up of another thread for every job that a caller waits for itself).

use crate::switch::{Mutex, Weakening, weakened};
use std::sync::PoisonError;

/// See the head of this file.
#[derive(Debug)]
pub struct Role<T>(Mutex<Option<T>>);

impl<T> Role<T> {
    /// A right that nobody has.
    pub fn new(right: T) -> Role<T> {
        Role(Mutex::new(Some(right)))
    }

    /// Takes the right if nobody has it.
    pub fn take(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Takes the right to do what can't be left undone. If somebody has it, `nudge` is to
    /// make that one look again, or leave.
    pub fn take_or(&self, nudge: impl FnOnce()) -> Option<T> {
        let right = self.take();
        if right.is_none() && !weakened(Weakening::NudgeUntold) {
            nudge();
        }
        right
    }

    /// For one who has never had the right: `ask` for the next ring, `look` whether
    /// something has come before that, and take the right then. If somebody has it, they
    /// look after this, when they leave. Nobody need be asked for what is there already:
    /// whoever takes the right asks for the rest when leaving.
    pub fn watch(&self, ask: impl FnOnce(), look: impl Fn() -> bool) -> Option<T> {
        if look()
            && let Some(right) = self.take()
        {
            return Some(right);
        }
        ask();
        if weakened(Weakening::WatchWithoutLook) || !look() {
            return None;
        }
        self.take()
    }

    /// Steps 1 to 4: `ask` for the next ring, put the right back, `look` whether
    /// something has come meanwhile. Returns the right if there is something to
    /// do and nobody else has taken it.
    pub fn leave(&self, right: T, ask: impl FnOnce(), look: impl FnOnce() -> bool) -> Option<T> {
        ask();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(right);
        if weakened(Weakening::LeaveWithoutLook) || !look() {
            return None;
        }
        self.take()
    }
}
