//! Which of many children want to be polled: one bit each, and one parent.
//!
//! *Read after* [`super::children`], its only user. A combinator over many
//! futures that polled them all at each wake would need n² polls in total. So
//! each child gets a waker of its own, which sets the child's bit here and wakes
//! the parent, once, however many children wake before it looks.
//!
//! Children may be woken on any thread:
//!
//! ```text
//!   a child's waker (any thread)             the parent's poll
//!   W1  set the bit in its word              P1  store the parent's waker
//!   W2  notified: swap in true               P2  notified: swap in false
//!   W3  if it was false: wake the parent     P3  take each word, swapping in 0
//! ```
//!
//! No wake is lost. If P3 misses the bit of W1, then P3 precedes W1 in the
//! word's modification order. Suppose W2 still read `true`, so that W3 did
//! nothing, and that P2 had already happened after that `true` was written: then
//! W2 would have read P2's `false` or later. So P2 comes after W2 in the order of
//! `notified`, and being a read-modify-write with Acquire it synchronizes with
//! W2's Release: W1 happens before P3, which contradicts that P3 missed it. This
//! needs P2 to *read*: a plain store synchronizes with nothing, and the model
//! `ready::child_wake_against_parent_poll_broken` shows the wake that it loses.
//!
//! Rejected: a linked list of the children that are ready (as `futures` has it:
//! an unsafe intrusive queue of reference-counted nodes to save a scan of one
//! bit per child), and polling all children at each wake beyond a threshold
//! ([`super::children::SCANNED_CHILDREN`] is where it pays).

use std::sync::PoisonError;
use std::task::Waker;

use crate::switch::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::switch::{Mutex, MutexGuard, Weakening, weakened};

/// The bits of a set of children and the waker of their parent.
pub struct ReadySet {
    words: Box<[AtomicU64]>,
    /// Whether the parent was woken since it last began a poll.
    notified: AtomicBool,
    parent: Mutex<Option<Waker>>,
}

impl ReadySet {
    /// A set in which each of `children` is ready, as none was ever polled.
    pub fn all_ready(children: usize) -> Self {
        let words = children.div_ceil(64);
        let word = |index: usize| match children - index * 64 {
            64.. => u64::MAX,
            rest => (1 << rest) - 1,
        };
        ReadySet {
            words: (0..words)
                .map(|index| AtomicU64::new(word(index)))
                .collect(),
            notified: AtomicBool::new(true),
            parent: Mutex::new(None),
        }
    }

    /// Steps W1 to W3: child `index` wants to be polled.
    pub fn mark(&self, index: usize) {
        let bit = 1 << (index % 64);
        // Release, with the Acquire of `take`: what the waking thread did before
        // is visible to the child's poll.
        if self.words[index / 64].fetch_or(bit, Ordering::Release) & bit != 0 {
            return; // Whoever set it wakes the parent, or has done so.
        }
        // Release, with the Acquire of `begin`; Acquire, so that the waker that
        // `begin` stored before its own swap is the one found below.
        if self.notified.swap(true, Ordering::AcqRel) {
            return;
        }
        // Cloned and called without the lock: a waker may run any code.
        let parent = self.parent().clone();
        if let Some(parent) = parent {
            parent.wake();
        }
    }

    /// Steps P1 and P2: the parent begins a poll and is to be woken by `waker`.
    pub fn begin(&self, waker: &Waker) {
        let known = matches!(&*self.parent(), Some(set) if set.will_wake(waker));
        if !known {
            // Cloned and dropped without the lock, too.
            let new = waker.clone();
            let old = self.parent().replace(new);
            drop(old);
        }
        if weakened(Weakening::ReadySetStores) {
            self.notified.store(false, Ordering::Release);
        } else {
            // Acquire, with the Release of `mark`'s swap.
            self.notified.swap(false, Ordering::AcqRel);
        }
    }

    /// The parent is gone: later wakes of its children wake nobody.
    pub fn forget_parent(&self) {
        let parent = self.parent().take();
        drop(parent);
    }

    #[track_caller] // So that lanes of a model tell who locks.
    fn parent(&self) -> MutexGuard<'_, Option<Waker>> {
        // No code that could panic runs under the lock.
        self.parent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Step P3 for one word: takes the bits of children `64 * word ..`.
    pub fn take(&self, word: usize) -> u64 {
        // A look first: a scan over many idle words should not write to them.
        // It may be Relaxed, for the argument above holds for reads as well.
        if self.words[word].load(Ordering::Relaxed) == 0 {
            return 0;
        }
        // Acquire, with the Release of `mark`.
        self.words[word].swap(0, Ordering::Acquire)
    }
}
