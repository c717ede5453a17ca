//! The one place of this crate that knows `cfg(loom)`: what protocols between
//! threads are built of, from the standard library or from the model checker.
//!
//! A [`Weakening`] is a named way to break a protocol: a broken twin runs its
//! model under `weaken` to prove that it would notice. In normal
//! builds [`weakened`] is the constant `false` and what it guards costs nothing.

#[cfg(loom)]
pub use loom::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(loom)]
pub use loom::thread;
#[cfg(not(loom))]
pub use std::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub use std::thread;

#[cfg(loom)]
pub use model::{weaken, weakened};

/// The faults that models must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakening {
    /// The parent of many children clears its flag by a store, which reads
    /// nothing, instead of a swap.
    ReadySetStores,
    /// Cancelling a token takes its waiters in one locked section and sets the
    /// reason in the next.
    TokenTakesEarly,
    /// A new child of a token doesn't look again whether its parent was cancelled
    /// while it was made.
    TokenForgetsChild,
    /// A waiter that leaves a wait queue with its turn granted doesn't say so,
    /// and nobody passes the turn on.
    WaiterKeepsTurn,
    /// A waiter polled with another waker keeps being woken by the first.
    WaiterKeepsWaker,
    /// Permits granted to a waiter still count as available.
    GrantIsNotCounted,
    /// A sender asks in one locked section whether the receiver waits, and puts
    /// the value in and wakes it, if it did, in the next.
    SenderPeeks,
    /// A thread about to block looks in one locked section whether it was woken,
    /// and falls asleep in the next.
    SleeperLooksEarly,
}

/// Whether the protocol is to run with this fault: never, outside of models.
#[cfg(not(loom))]
#[inline(always)]
pub fn weakened(_: Weakening) -> bool {
    false
}

#[cfg(loom)]
mod model {
    use super::Weakening;
    use std::cell::Cell;

    std::thread_local! {
        // Not loom's: it runs all threads of a model on one thread of the system.
        static WEAKENED: Cell<Option<Weakening>> = const { Cell::new(None) };
    }

    /// Whether the protocol is to run with this fault.
    pub fn weakened(which: Weakening) -> bool {
        WEAKENED.get() == Some(which)
    }

    /// Runs `model` with one fault built in. (A panic of it, which is what a twin
    /// is for, ends its thread, and the fault with it.)
    pub fn weaken(which: Weakening, model: impl FnOnce()) {
        WEAKENED.set(Some(which));
        model();
        WEAKENED.set(None);
    }
}
