//! The kinds of objects that live in shared memory, each known by its words.
//!
//! Read before this: [`super::monitor`]. Read after it: [`super::segment`].
#![allow(unsafe_code)] // promises what a segment's words are made of

use super::barrier::Gate;
use super::condvar::Turn;
use super::event::Flag;
use super::ledger::Books;
use super::limits::MEMBERS;
use super::mutex::Locked;
use super::queue::Positions;
use super::reentrant::Nested;
use super::semaphore::Permits;
use super::value::Which;

/// The words of a kind of object.
///
/// # Safety
/// The type is `repr(C)` and made of atomics only, and all zeros is a valid
/// initial state of it.
pub(crate) unsafe trait Words: Send + Sync {
    /// Tells the kinds apart: eight letters.
    const KIND: [u8; 8];
    /// What the object is called in messages.
    const NAME: &'static str;
}

// SAFETY: one atomic, for which zero is "free".
unsafe impl Words for Locked {
    const KIND: [u8; 8] = *b"3p-mutex";
    const NAME: &'static str = "Mutex or Array";
}

// SAFETY: atomics; free, and held by nobody.
unsafe impl Words for Nested {
    const KIND: [u8; 8] = *b"3p-reent";
    const NAME: &'static str = "ReentrantMutex";
}

// SAFETY: one atomic, for which zero is "not set".
unsafe impl Words for Flag {
    const KIND: [u8; 8] = *b"3p-event";
    const NAME: &'static str = "Event";
}

// SAFETY: one atomic, and any number will do.
unsafe impl Words for Turn {
    const KIND: [u8; 8] = *b"3p-condv";
    const NAME: &'static str = "Condvar";
}

// SAFETY: atomics; no permits, nobody waits.
unsafe impl Words for Permits<MEMBERS> {
    const KIND: [u8; 8] = *b"3p-sema4";
    const NAME: &'static str = "Semaphore";
}

// SAFETY: atomics; nobody has come, and it is whole.
unsafe impl Words for Gate {
    const KIND: [u8; 8] = *b"3p-barri";
    const NAME: &'static str = "Barrier";
}

// SAFETY: atomics; the first of the two.
unsafe impl Words for Which {
    const KIND: [u8; 8] = *b"3p-value";
    const NAME: &'static str = "Value";
}

// SAFETY: atomics; empty, and open.
unsafe impl Words for Positions {
    const KIND: [u8; 8] = *b"3p-queue";
    const NAME: &'static str = "Queue";
}

// SAFETY: atomics; empty, nothing is taken or lost.
unsafe impl Words for Books<MEMBERS> {
    const KIND: [u8; 8] = *b"3p-joinq";
    const NAME: &'static str = "JoinableQueue";
}
