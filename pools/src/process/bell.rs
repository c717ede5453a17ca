//! Waking the other process only when it sleeps: the words beside the rings.
//!
//! A descriptor write costs a syscall, and tens of microseconds if it wakes a
//! processor; a word in shared memory costs nothing. So whoever is about to sleep
//! says so in a word, and whoever publishes looks at that word:
//!
//! ```text
//!   sleeper                                 publisher
//!   1 asleep := 1                           1 publish (ring's tail, Release)
//!   2 fence                                 2 fence
//!   3 look at the ring                      3 look at `asleep`
//!   4 something there? don't sleep          4 set? clear it and ring
//!   5 read(2) the bell: sleeps, or eats a ring that came meanwhile
//! ```
//!
//! The two fences are SeqCst, and therefore one of them comes first in an order
//! that both sides agree on: if the sleeper's, then the publisher sees `asleep`
//! and rings; if the publisher's, then the sleeper sees what was published. A
//! wake-up can be superfluous, never lost. Without either fence both sides may
//! look before the other's store is visible (store buffering), and sleep for
//! ever: `tests/loom/process/bell.rs` shows both.
//!
//! [`Asleep`] is that word for the side that sleeps until *anything* happens (the
//! worker). [`Wake`] is the same protocol for the side that knows what it waits
//! for (the parent): it holds the number of the job from whose reply on a ring is
//! wanted, so that a batch of tiny jobs rings once.
//!
//! Read before this: [`super::ring`]. Read after it: [`super::page`].

use crate::switch::{AtomicU32, AtomicU64, Ordering, Weakening, fence, weakened};

/// The full fence between telling and looking, on both sides.
#[inline(always)]
#[track_caller] // So that lanes of a model tell whose fence it is.
fn tell_then_look() {
    if !weakened(Weakening::BellWithoutFence) {
        fence(Ordering::SeqCst);
    }
}

/// Set while its owner sleeps, or is about to.
#[derive(Debug, Default)]
pub struct Asleep(AtomicU32);

impl Asleep {
    /// Sleeper's steps 1 and 2. Look for work after this; then either sleep or
    /// [`cancel`](Asleep::cancel).
    #[inline]
    pub fn announce(&self) {
        self.0.store(1, Ordering::Relaxed);
        tell_then_look();
    }

    /// Not asleep, or no longer. A ring may come nevertheless: a superfluous one.
    #[inline]
    pub fn cancel(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Publisher's steps 2 to 4, after publishing: whether to ring the bell.
    #[inline]
    pub fn must_ring(&self) -> bool {
        tell_then_look();
        // The swap makes one of several publishers ring; it needs no ordering,
        // since the bell itself orders what follows.
        self.0.load(Ordering::Relaxed) != 0 && self.0.swap(0, Ordering::Relaxed) != 0
    }
}

/// The number of the job whose reply is waited for; [`Wake::NEVER`] if nobody
/// waits. A reply with this number or a later one rings, and so does a worker
/// that runs out of work.
#[derive(Debug)]
pub struct Wake(AtomicU64);

impl Default for Wake {
    fn default() -> Wake {
        Wake(AtomicU64::new(Wake::NEVER))
    }
}

impl Wake {
    /// Nobody waits.
    pub const NEVER: u64 = u64::MAX;

    /// Sleeper's steps 1 and 2: asks for a ring from reply `seq` on. Look at the
    /// ring of replies after this.
    #[inline]
    pub fn ask(&self, seq: u64) {
        self.0.store(seq, Ordering::Relaxed);
        tell_then_look();
    }

    /// Asks for no ring. One may come nevertheless: a superfluous one.
    #[inline]
    pub fn silence(&self) {
        self.0.store(Wake::NEVER, Ordering::Relaxed);
    }

    /// Publisher's step 3 for reply `seq`, after [`Wake::published`]: whether to
    /// ring. `u64::MAX - 1` stands for "out of work".
    #[inline]
    pub fn must_ring(&self, seq: u64) -> bool {
        seq >= self.0.load(Ordering::Relaxed) && self.0.swap(Wake::NEVER, Ordering::Relaxed) <= seq
    }

    /// Publisher's step 2, once for all the words that it is going to look at.
    #[inline]
    pub fn published() {
        tell_then_look();
    }
}
