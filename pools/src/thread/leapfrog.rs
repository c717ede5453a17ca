//! Whose fork is it? What a waiter may do with a fork that it took from its thief.
//!
//! The argument stands in `README-promotion.md` ("Leapfrogging"). Before this:
//! `latch.rs`, `fork_stack.rs`. After it: `fork.rs`.

use crate::switch::{Weakening, weakened};
use crate::thread::lane::Mailbox;
use crate::thread::latch::Latch;
use crate::thread::parker::Parker;

/// What a waiter took from the thread that runs its fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken<F> {
    /// There was nothing.
    Nothing,
    /// A fork that descends from the waiter's: it may run it.
    Descendant(F),
    /// Perhaps not: the thief was through with the waiter's fork already.
    Foreign(F),
}

/// Takes a fork by `steal` from the thread that is to set `latch`.
///
/// The steal comes first and the look at the latch after that: unset, the thief was
/// still running the waiter's fork when this one was taken. What a thief promotes after
/// it has set the latch is seen by nobody who doesn't see the latch set: the deque's
/// push and steal pair, and so order what was done before the push.
pub fn take_from_thief<F>(latch: &Latch, steal: impl FnOnce() -> Option<F>) -> Taken<F> {
    let too_early = weakened(Weakening::LookBeforeSteal).then(|| latch.is_set());
    let Some(fork) = steal() else {
        return Taken::Nothing;
    };
    if too_early.unwrap_or_else(|| latch.is_set()) {
        Taken::Foreign(fork)
    } else {
        Taken::Descendant(fork)
    }
}

/// Gives a fork back to the thief it was taken from, which may sleep because it was
/// stolen.
pub fn hand_back<F>(fork: F, returned: &Mailbox<F>, owner: &Parker) {
    returned.push(fork);
    if !weakened(Weakening::HandBackUntold) {
        // The token closes the gap between the owner's look and its sleep.
        owner.unpark();
    }
}
