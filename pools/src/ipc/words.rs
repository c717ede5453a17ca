//! The kinds of objects that live in shared memory, each known by its words.
//!
//! Read before this: [`super::monitor`]. Read after it: [`super::segment`].
#![allow(unsafe_code)] // promises what a segment's words are made of

use super::condvar::Turn;
use super::event::Flag;
use super::mutex::Locked;

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
