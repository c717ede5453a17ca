//! Whether a pool takes work, and whether its threads may end.
//!
//! After this: `registry.rs`, which asks at each job, and `closing.rs`, which closes it.

use crate::switch::atomic::{AtomicU8, Ordering, fence};
use crate::switch::{Weakening, weakened};

/// Takes work.
const OPEN: u8 = 0;
/// Runs what there is, takes nothing more from outside.
pub(super) const DRAINING: u8 = 1;
/// Discards what hasn't begun.
pub(super) const CANCELLING: u8 = 2;
/// Threads end as soon as they find nothing.
const ENDED: u8 = 3;

/// Whether work may come in: `OPEN → DRAINING → (CANCELLING →) ENDED`, by
/// `Registry::close`, `cancel_queued` and `end_if_done` of `closing.rs`.
#[derive(Debug)]
pub struct Gate(AtomicU8);

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// Open.
    pub fn new() -> Self {
        Self(AtomicU8::new(OPEN))
    }

    /// Does it take work from outside?
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OPEN
    }

    pub(super) fn is_cancelling(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= CANCELLING
    }

    /// Call after a push and the notification's fence: true if threads may be
    /// gone already, so that the pusher must take the job back.
    #[inline]
    pub fn ended_meanwhile(&self) -> bool {
        // The other half of `end`: push, fence, load here; store, fence, look
        // there. One of the two sees the other.
        !weakened(Weakening::SkipGateRecheck) && self.0.load(Ordering::Relaxed) == ENDED
    }

    pub(super) fn advance(&self, to: u8) {
        self.0.fetch_max(to, Ordering::Relaxed);
    }

    /// Lets threads end; each must look into every queue after this.
    pub fn end(&self) {
        self.advance(ENDED);
        fence(Ordering::SeqCst); // with the fence of the notification after a push
    }

    /// May threads end?
    pub fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed) == ENDED
    }
}
