//! A lock in one word, whose owner may die.
//!
//! ```text
//!  the word:  CONTENDED | BROKEN | token of the owner, 0 if free
//!
//!              lock                         unlock
//!   0 ───────────────────▶ me ───────────────────────────▶ 0
//!   ▲                      │ a waiter, before it sleeps
//!   │       unlock, wake 1 ▼
//!   └────────────── me|CONTENDED ───── the owner is dead:
//!                     │  ▲             a waiter takes it over by CAS
//!                     ▼  │ lock, if it slept
//!                  owner|CONTENDED ──────▶ heir|BROKEN|CONTENDED
//!                                             │           │ mend
//!                             unlock          ▼           ▼
//!                  BROKEN ◀──────────── still broken    as above, whole
//! ```
//!
//! 1. **Who owns it stands in it**, from the same instruction on that takes it. So
//!    there is no moment at which a death leaves a lock that nobody is known to own.
//! 2. **Only a dead owner's lock is taken over**, by a CAS from the very word whose
//!    owner was found dead; tokens don't return ([`super::members`], invariant 1).
//! 3. **BROKEN stays until the protected state was mended**, however many heirs
//!    die over it. Whoever locks is told.
//! 4. **No sleeper is forgotten**: whoever sleeps has set CONTENDED, whoever unlocks
//!    with CONTENDED set wakes one, and whoever locks after it has slept sets it
//!    again, because it can't know of others. If the one that was woken dies before
//!    it takes the lock, the others find it free at their next pulse.
//!
//! Read before this: [`super::members`]. Read after it: [`super::monitor`].
//!
//! Rejected: *robust mutexes of the C library* (a list for each thread, kept by the
//! C library, whose mutexes can be neither awaited nor taken by tasks that change
//! threads); *record locks* (a system call each time, and no owner to be named);
//! *a fair queue in shared memory* (each place in it is one more process that may
//! die between two instructions).

use super::kernel::{Deadline, Party, Slept};
use super::limits::LOOKS;
use super::members::Token;
use crate::switch::{AtomicU32, Ordering, Weakening, look_again, weakened};

const CONTENDED: u32 = 1 << 31;
const BROKEN: u32 = 1 << 30;
const OWNER: u32 = (1 << Token::BITS) - 1;

/// How the lock was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// In order.
    Whole,
    /// A former owner died while it held the lock, or said that what it protects
    /// is broken, and nobody has mended it.
    Broken,
}

/// The word; zero is free.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct LockWord(AtomicU32);

impl LockWord {
    /// Locks, if it is free or its owner is dead.
    pub fn try_lock(&self, party: &impl Party) -> Option<Found> {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            if now & OWNER == 0 {
                match self.take(party, now, 0) {
                    Ok(found) => return Some(found),
                    Err(newer) => now = newer,
                }
            } else {
                return self.inherit(party, now);
            }
        }
    }

    /// Locks if it is free, without asking whether its owner lives.
    #[inline]
    pub fn grab(&self, party: &impl Party) -> Option<Found> {
        let now = self.0.load(Ordering::Relaxed);
        if now & OWNER != 0 {
            return None;
        }
        self.take(party, now, 0).ok()
    }

    /// Locks; `None` if the deadline has passed before that.
    #[inline]
    pub fn lock(&self, party: &impl Party, deadline: Deadline) -> Option<Found> {
        match self.grab(party) {
            Some(found) => Some(found),
            None => self.lock_slowly(party, deadline),
        }
    }

    #[cold]
    fn lock_slowly(&self, party: &impl Party, deadline: Deadline) -> Option<Found> {
        if let Some(found) = self.look(party) {
            return Some(found);
        }
        loop {
            let (word, seen) = match self.before_sleep(party) {
                Ok(found) => return Some(found),
                Err(seen) => (&self.0, seen),
            };
            if party.sleep(word, seen, deadline) == Slept::Elapsed {
                if let Some(found) = self.inherit(party, seen) {
                    return Some(found);
                }
                if deadline.has_passed() {
                    // A last try, so that a deadline in the past means `try_lock`.
                    return self.try_lock(party);
                }
            }
        }
    }

    /// For a waiter that sleeps by other means: locks, or tells the value that the
    /// [word](LockWord::word) has while it is worth sleeping. After a pulse without
    /// a change call [`LockWord::inherit`] with it.
    ///
    /// # Errors
    /// That value.
    pub fn before_sleep(&self, party: &impl Party) -> Result<Found, u32> {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            if now & OWNER == 0 {
                let again = if weakened(Weakening::LockForgetsSleepers) {
                    0
                } else {
                    CONTENDED // Invariant 4.
                };
                match self.take(party, now, again) {
                    Ok(found) => return Ok(found),
                    Err(newer) => now = newer,
                }
            } else if now & CONTENDED != 0 {
                return Err(now);
            } else {
                let told = now | CONTENDED;
                match self.swap_if(now, told, Ordering::Relaxed) {
                    Ok(()) => return Err(told),
                    Err(newer) => now = newer,
                }
            }
        }
    }

    /// Takes the lock over if it still is as it was `seen` and the owner named
    /// there is dead. Costs microseconds.
    pub fn inherit(&self, party: &impl Party, seen: u32) -> Option<Found> {
        let owner = Token::from_bits(seen & OWNER)?;
        if self.0.load(Ordering::Relaxed) != seen || party.is_alive(owner) {
            return None;
        }
        // Others may sleep, so CONTENDED stays. Invariants 2 and 3.
        let mine = party.me().bits() | BROKEN | CONTENDED;
        if weakened(Weakening::InheritWithoutCas) {
            self.0.store(mine, Ordering::Relaxed);
            return Some(Found::Broken);
        }
        // Acquire: the dead owner's stores came before its death, which the kernel
        // has told us; and an heir's before us unlocked or died likewise.
        self.swap_if(seen, mine, Ordering::Acquire)
            .is_ok()
            .then_some(Found::Broken)
    }

    /// The owner's: what the lock protects is in order again.
    pub fn mend(&self) {
        self.0.fetch_and(!BROKEN, Ordering::Relaxed);
    }

    /// The owner's: what the lock protects may be out of order.
    pub fn break_it(&self) {
        self.0.fetch_or(BROKEN, Ordering::Relaxed);
    }

    /// Whether it is broken now.
    pub fn is_broken(&self) -> bool {
        self.0.load(Ordering::Relaxed) & BROKEN != 0
    }

    /// Unlocks, and wakes a sleeper if there may be one.
    #[inline]
    pub fn unlock(&self, party: &impl Party) {
        let release = if weakened(Weakening::LockWithoutRelease) {
            Ordering::Relaxed
        } else {
            // Release: pairs with the Acquire of whoever takes it next.
            Ordering::Release
        };
        // BROKEN stays, all else goes.
        let before = self.0.fetch_and(BROKEN, release);
        if before & CONTENDED != 0 {
            party.wake(&self.0, 1);
        }
    }

    /// The word on which waiters sleep.
    pub fn word(&self) -> &AtomicU32 {
        &self.0
    }

    #[inline]
    fn take(&self, party: &impl Party, free: u32, contended: u32) -> Result<Found, u32> {
        debug_assert_eq!(free & OWNER, 0);
        let mine = party.me().bits() | free & BROKEN | contended;
        // Acquire: pairs with the Release of `unlock`.
        self.swap_if(free, mine, Ordering::Acquire)?;
        Ok(found(free))
    }

    /// Looks for a while whether it gets free: the owner may be about to unlock.
    fn look(&self, party: &impl Party) -> Option<Found> {
        for _ in 0..LOOKS {
            if let Some(found) = self.grab(party) {
                return Some(found);
            }
            let now = self.0.load(Ordering::Relaxed);
            // With CONTENDED, others sleep already.
            if now & CONTENDED != 0 || !look_again() {
                break;
            }
        }
        None
    }

    #[inline]
    fn swap_if(&self, from: u32, to: u32, success: Ordering) -> Result<(), u32> {
        self.0
            .compare_exchange(from, to, success, Ordering::Relaxed)
            .map(drop)
    }
}

fn found(word: u32) -> Found {
    if word & BROKEN == 0 {
        Found::Whole
    } else {
        Found::Broken
    }
}
