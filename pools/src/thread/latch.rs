//! A flag that is set once, and that a parked thread waits for.

use crate::switch::atomic::{AtomicBool, Ordering};
use crate::switch::{Weakening, weakened};
use crate::thread::parker::Parker;

/// Set once, by whoever finishes what the owner waits for.
///
/// The latch usually stands in the waiter's stack frame, which goes once it sees
/// the latch set. So [`set`](Self::set) is the setter's last touch of that frame,
/// and whom to wake, it must know beforehand.
#[derive(Debug)]
pub struct Latch(AtomicBool);

impl Default for Latch {
    fn default() -> Self {
        Self::new()
    }
}

impl Latch {
    /// Not set.
    #[inline]
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Is it set? Then everything that the setter did before is visible.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) // with the Release of `set`
    }

    /// Sets it. The caller must then unpark the waiter.
    #[inline]
    pub fn set(&self) {
        self.0.store(true, Ordering::Release); // with the Acquire of `is_set`
    }

    /// Parks the waiter until the latch is set. The token of its parker closes
    /// the gap between looking and parking.
    pub fn wait(&self, parker: &Parker) {
        while !self.is_set() {
            parker.park();
            if weakened(Weakening::SkipLatchRecheck) {
                return;
            }
        }
    }
}
