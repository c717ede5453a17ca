//! Where a lock or channel was made: what its events are about.
//!
//! A lock has no name and no number, and its address says nothing to a reader. The
//! place in the program that made it does: "the mutex of `server.rs:40`". So each line
//! of waiters and each channel keeps its place, and tells it before its first event in
//! a session. Later events name the address alone.
//!
//! Without the feature `trace` all of it is of no size: no lock grows by it.
//!
//! Rejected: names that the program gives (nobody gives them before he needs them);
//! telling of the place when the lock is made (a recording that begins later misses
//! it, and locks move).
//!
//! Read before: [`super::names`].

use std::panic::Location;
use std::sync::atomic::Ordering;

use super::event::Kind;
use super::gate::{BUILT_IN, STATE, emit, is_on};
use super::record::label;
use super::{names, writer};

/// Added to the key of the place of what is a channel, or a queue: places are aligned.
const CHANNEL: u64 = 1;

/// How many there are of what is kept for the trace alone: 1, or 0 without it.
const KEPT: usize = BUILT_IN as usize;

/// Where something was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    place: [&'static Location<'static>; KEPT],
    /// As what it was told of: session and address. (What moves is something new.)
    told: [u64; KEPT],
}

impl Origin {
    /// In the caller.
    #[inline]
    #[track_caller]
    pub(crate) const fn here() -> Origin {
        Origin {
            place: [Location::caller(); KEPT],
            told: [0; KEPT],
        }
    }

    #[cold]
    #[inline(never)]
    fn record(&mut self, kind: Kind, line: u32, address: u64, b: u64) {
        let is_line = matches!(kind, Kind::TurnWait | Kind::TurnGrant);
        self.tell(address, if is_line { 0 } else { CHANNEL });
        writer::record(label(kind, line), address, b);
    }

    #[inline]
    fn tell(&mut self, address: u64, what: u64) {
        let session = u64::from(STATE.load(Ordering::Relaxed));
        for (place, told) in self.place.iter().zip(&mut self.told) {
            if std::mem::replace(told, session << 48 ^ address) != *told {
                emit(Kind::Made, line!(), address, names::site(place) | what);
            }
        }
    }
}

/// Whether the second number of a [`Kind::Made`] is of a channel or queue, and its
/// place's key.
pub(super) fn made(b: u64) -> (bool, u64) {
    (b & CHANNEL != 0, b & !CHANNEL)
}

/// As [`emit`], of what has an origin; `a` is its address.
#[inline(always)]
pub(crate) fn emit_of(kind: Kind, line: u32, a: u64, b: u64, origin: &mut Origin) {
    if is_on() {
        origin.record(kind, line, a, b);
    }
}
