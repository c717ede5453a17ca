//! The one protocol between a signal handler and the loop that waits: bits, and a
//! bell.
//!
//! ```text
//!   handler: 1 set the bit   2 ring the bell
//!   loop:    3 silence the bell   4 take the bits   (none: sleep until it rings)
//! ```
//! Why no signal goes unseen: if step 4 misses a bit, step 1 came after it, so
//! step 2 comes after step 3, and the bell still rings. Were 1 and 2 exchanged, a
//! loop that silences the bell and looks in between would sleep with the bit set.
//! The bell is an eventfd, whose counter the kernel guards by a lock, so ringing
//! happens before the silencing that hears it. The model, with its broken twin, is
//! in `tests/loom/signal.rs`.

use std::fmt;

use crate::switch::atomic::{AtomicU64, Ordering};
use crate::switch::{Weakening, weakened};

/// The bits, one for each signal.
#[derive(Default)]
pub struct Post {
    /// The signals that are wanted; none in a post that nobody uses.
    wanted: AtomicU64,
    /// Those that have come.
    come: AtomicU64,
}

impl Post {
    /// Begins a new use, or ends one (`wanted` is zero then).
    pub fn reset(&self, wanted: u64) {
        self.come.store(0, Ordering::Relaxed);
        // Release, with `deliver`'s Acquire: who sees the wish sees `come` cleared
        // and the bell made.
        self.wanted.store(wanted, Ordering::Release);
    }

    /// Whether nobody uses it. Exact under the lock that guards [`reset`](Post::reset).
    pub fn is_free(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) == 0
    }

    /// Steps 1 and 2, in a handler: async-signal-safe if `ring` is.
    pub fn deliver(&self, bit: u64, ring: impl Fn()) {
        if self.wanted.load(Ordering::Acquire) & bit == 0 {
            return;
        }
        if weakened(Weakening::SignalRingsFirst) {
            ring();
            self.come.fetch_or(bit, Ordering::Release);
            return;
        }
        // Release, with `take`'s Acquire; what makes it visible in time is the bell.
        self.come.fetch_or(bit, Ordering::Release);
        ring();
    }

    /// Step 4: the lowest number among the `wanted` that have come.
    ///
    /// The mask is not redundant: a handler may still have been at work for a
    /// former use of this post when [`reset`](Post::reset) was called.
    pub fn take(&self, wanted: u64) -> Option<u32> {
        let come = self.come.load(Ordering::Acquire) & wanted;
        if come == 0 {
            return None;
        }
        let number = come.trailing_zeros();
        self.come.fetch_and(!(1 << number), Ordering::AcqRel);
        Some(number)
    }
}

impl fmt::Debug for Post {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post").finish_non_exhaustive()
    }
}
