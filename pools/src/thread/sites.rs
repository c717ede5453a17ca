//! Which outermost calls are too small to wake a thread for, from experience.
//!
//! Waking a sleeper costs 11 to 13 µs here, and a tree of a thousand forks takes
//! 4. A call can't know how long it will take, but calls from the same place in
//! the program tend to take as long as they did: so the place (the closure's
//! type, by the address of a function made for it) is the key of a small table.
//!
//! A wrong guess costs little: taken for large, a wake-up; taken for small, a
//! call that forks is found out at one of the next looks at the clock, and one
//! that hardly forks is serial that once.
//!
//! Rejected: a fixed number of forks before the first wake-up (chili's and
//! forte's heartbeats): `join` of two long calls forks once, and ran serially.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::limits::{SITES, SMALL_RUNS};

/// A place in the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site(usize);

impl Site {
    /// Of a function made for the place: pass one that is generic over the
    /// closure's type.
    #[inline]
    pub fn of(function: fn()) -> Self {
        let address = function as usize;
        // Functions are aligned to 16 bytes; mix in the higher bits.
        Self((address >> 4) ^ (address >> 14))
    }

    /// Of the type `T`.
    #[inline]
    pub fn of_type<T>() -> Self {
        // The body depends on the type's name, so that the linker can't fold the
        // functions of two types into one.
        fn made_for<T>() {
            std::hint::black_box(std::any::type_name::<T>());
        }
        Self::of(made_for::<T>)
    }

    fn slot(self) -> &'static AtomicU8 {
        &SMALL_IN_A_ROW[self.0 % SITES]
    }
}

/// How many runs in a row were small. Relaxed throughout: a guess.
static SMALL_IN_A_ROW: [AtomicU8; SITES] = [const { AtomicU8::new(0) }; SITES];

/// Were the last calls from this place small?
#[inline]
pub fn is_small(site: Site) -> bool {
    site.slot().load(Ordering::Relaxed) >= SMALL_RUNS
}

/// A call from this place ended.
pub fn note(site: Site, small: bool) {
    let slot = site.slot();
    let runs = slot.load(Ordering::Relaxed);
    if !small {
        if runs != 0 {
            slot.store(0, Ordering::Relaxed);
        }
    } else if runs < SMALL_RUNS {
        slot.store(runs + 1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_small_after_some_small_runs_and_large_after_one_large() {
        struct Mine;
        let site = Site::of_type::<Mine>();
        assert!(!is_small(site));
        for _ in 0..SMALL_RUNS {
            note(site, true);
        }
        assert!(is_small(site));
        note(site, false);
        assert!(!is_small(site));
    }
}
