//! The one place where this crate's synchronization is either the real thing or
//! loom's model of it.
//!
//! Protocols import their atomics, fences and locks from here and never ask which
//! they got. A [`Weakening`] is a named way to break a protocol: models run under
//! [`weaken`] to prove that they would notice. In normal builds nobody can ask
//! for one, and [`weakened`] is the constant `false`.

#[cfg(not(loom))]
mod real {
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub use std::sync::{Arc, Condvar, Mutex, MutexGuard};

    /// Whether the protocol is to run with this fault built in: never.
    #[inline(always)]
    pub fn weakened(_: super::Weakening) -> bool {
        false
    }
}

#[cfg(loom)]
mod model {
    pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard};

    use super::Weakening;
    use std::cell::Cell;

    thread_local! {
        // Not loom's: it runs all threads of a model on one thread of the system.
        static WEAKENED: Cell<Option<Weakening>> = const { Cell::new(None) };
    }

    /// Whether the protocol is to run with this fault built in.
    pub fn weakened(which: Weakening) -> bool {
        WEAKENED.get() == Some(which)
    }

    /// Runs `model` with one fault built in.
    pub fn weaken(which: Weakening, model: impl FnOnce()) {
        WEAKENED.set(Some(which));
        model();
        WEAKENED.set(None);
    }
}

#[cfg(loom)]
pub use model::*;
#[cfg(not(loom))]
pub use real::*;

/// The faults that models must catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakening {
    /// The two sides of a doorbell skip the fence between telling and looking.
    BellWithoutFence,
    /// A ring publishes what it wrote without Release.
    RingWithoutRelease,
    /// A worker claims a job by load and store instead of compare-and-swap.
    ClaimWithoutCas,
    /// Whoever stops reading a worker's replies doesn't look once more.
    LeaveWithoutLook,
    /// A job's completion doesn't look at whether it was cancelled.
    CompleteOverCancel,
    /// Submitting looks at whether the pool is open before it takes the lock.
    SubmitBeforeLock,
}
