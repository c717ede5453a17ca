//! Where a thread keeps its forks: its own few, and those it offers to thieves.
//!
//! The promotion protocol's argument stands in `README-promotion.md` beside this
//! file. Read `fork.rs` next, which makes, runs and joins the forks.

use std::cell::Cell;

use crate::limits::UNPROMOTED_FORKS;
use crate::switch::{Owner, Weakening, weakened};
use crate::thread::deque_model::Word;
use threeply_runtime::trace::{Kind, emit};

const CAPACITY: u32 = UNPROMOTED_FORKS as u32;

/// Who has the fork that its owner wants back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// The owner: nobody else ran it or will.
    Mine,
    /// A thief.
    Stolen,
}

/// The owner's half of a thread's forks.
///
/// ```text
///  oldest                                              youngest
///   | stolen … | promoted (shared deque) | unpromoted (ring) |
///              ^ front of the deque      ^ bottom            ^ top
///
///        1 push             2 promote              3 steal
///  new --------> UNPROMOTED ----------> PROMOTED -----------> STOLEN
///                    | 4 retire             | 5 retire (pop)
///                    v                      v
///                   MINE                   MINE
/// ```
/// Positions count up from the lane's first fork and come down as forks retire.
/// Invariants:
/// - **F1** Forks retire in the reverse order of their pushes (`join` nests).
/// - **F2** Every unpromoted fork is younger than every promoted one, and thieves
///   take the oldest promoted one: 2 and 3 take the oldest.
/// - **F3** So when a fork is stolen, its owner's deque and ring hold nothing
///   older than it; and when its owner comes to retire it, nothing at all.
pub struct ForkStack<T> {
    /// One past the youngest.
    top: Cell<u32>,
    /// The oldest unpromoted one; `top` if there is none.
    bottom: Cell<u32>,
    ring: [Cell<Option<T>>; UNPROMOTED_FORKS],
    shared: Owner<T>,
}

impl<T> std::fmt::Debug for ForkStack<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForkStack")
            .field("top", &self.top)
            .field("bottom", &self.bottom)
            .finish_non_exhaustive()
    }
}

impl<T: Copy + Word> ForkStack<T> {
    /// No forks, over the empty deque `shared`.
    pub fn new(shared: Owner<T>) -> Self {
        Self {
            top: Cell::new(0),
            bottom: Cell::new(0),
            ring: [const { Cell::new(None) }; UNPROMOTED_FORKS],
            shared,
        }
    }

    /// How many forks are unpromoted.
    #[inline(always)]
    pub fn unpromoted(&self) -> u32 {
        self.top.get().wrapping_sub(self.bottom.get())
    }

    /// Is there no room for one more?
    #[inline(always)]
    pub fn is_full(&self) -> bool {
        self.unpromoted() == CAPACITY
    }

    /// Is there nothing to offer to a thief?
    #[inline]
    pub fn nothing_to_promote(&self) -> bool {
        self.top.get() == self.bottom.get()
    }

    /// How many forks wait to be retired.
    pub fn depth(&self) -> u32 {
        self.top.get()
    }

    /// Are deque and ring empty (F3)? For assertions.
    pub fn holds_nothing(&self) -> bool {
        self.nothing_to_promote() && self.shared.is_empty()
    }

    /// Records a fork, unpromoted, and returns its position. The stack must not be
    /// full.
    #[inline]
    pub fn push(&self, fork: T) -> u32 {
        debug_assert!(!self.is_full(), "a fork is pushed on a full stack");
        let at = self.top.get();
        self.ring[(at % CAPACITY) as usize].set(Some(fork));
        self.top.set(at.wrapping_add(1));
        at
    }

    /// Offers the oldest unpromoted fork to thieves; false if there is none.
    pub fn promote(&self) -> bool {
        if self.nothing_to_promote() {
            return false;
        }
        let at = self.bottom.get();
        let fork = self.ring[(at % CAPACITY) as usize].take();
        let fork = fork.expect("positions from bottom to top are filled");
        self.bottom.set(at.wrapping_add(1));
        let address = fork.into_word() as u64;
        emit(Kind::Promote, line!(), address, u64::from(at));
        self.shared.push(fork);
        true
    }

    /// Takes the youngest fork back, which is at `position`.
    #[inline]
    pub fn retire(&self, position: u32) -> Retired {
        debug_assert_eq!(
            self.top.get(),
            position.wrapping_add(1),
            "F1: forks retire youngest first"
        );
        self.top.set(position);
        if self.bottom.get().wrapping_sub(position).cast_signed() <= 0
            || weakened(Weakening::TrustPromotedFork)
        {
            return Retired::Mine;
        }
        self.retire_promoted(position)
    }

    #[cold]
    fn retire_promoted(&self, position: u32) -> Retired {
        self.bottom.set(position);
        // The youngest promoted one is this fork (F1, F2), so the deque gives it
        // or, if it was stolen, nothing (F3).
        match self.shared.pop() {
            Some(_) => Retired::Mine,
            None => Retired::Stolen,
        }
    }
}
