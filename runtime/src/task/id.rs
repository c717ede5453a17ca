//! The two names of a task: one for people, one for wakes.
//!
//! [`TaskId`] counts up and never repeats in a process; it goes into messages,
//! into the dump, and into every operation that must not hit the wrong task.
//! [`WakeId`] fits into the data pointer of a `Waker` and may come to mean
//! another task after 16 million reuses of a place; it is for wakes alone, where
//! a false hit is a poll too many, which `Future` permits.

use std::cell::Cell;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::TASK_IDS_AT_ONCE;

/// The number of a task: unique in the process, for ever.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(NonZeroU64);

impl TaskId {
    /// For a task that was never begun.
    pub(crate) const NEVER: TaskId = TaskId(NonZeroU64::MAX);

    /// As a number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({})", self.0)
    }
}

/// A loop's supply of [`TaskId`]s, fetched in blocks: an atomic addition for
/// each task would cost as much as the rest of a spawn.
#[derive(Default)]
pub(crate) struct TaskIds {
    next: Cell<u64>,
    end: Cell<u64>,
}

impl TaskIds {
    #[inline]
    pub(crate) fn next(&self) -> TaskId {
        let id = match self.next.get() {
            id if id != self.end.get() => id,
            _ => self.refill(),
        };
        self.next.set(id + 1);
        TaskId(NonZeroU64::new(id).expect("ids begin at 1"))
    }

    #[cold]
    #[inline(never)]
    fn refill(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only the number matters. It lasts for 2^54 blocks.
        let first = NEXT.fetch_add(TASK_IDS_AT_ONCE, Ordering::Relaxed);
        self.end.set(first + TASK_IDS_AT_ONCE);
        first
    }
}

/// Where a wake goes, in one word.
///
/// ```text
///    63        48 47                    24 23                     0
///   ┌────────────┬────────────────────────┬────────────────────────┐
///   │ loop id    │ generation             │ slot                   │
///   └────────────┴────────────────────────┴────────────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeId(pub(crate) u64);

/// Bits of a slot number: 16.7 million tasks on one loop.
pub const SLOT_BITS: u32 = 24;
/// Bits of a generation.
pub const GENERATION_BITS: u32 = 24;
const FIELD: u32 = (1 << SLOT_BITS) - 1;

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("Threeply is for 64-bit Linux: wakers pack three numbers into a pointer");

impl WakeId {
    /// Packs the three parts; each must fit its field.
    #[inline]
    #[must_use]
    pub fn new(loop_id: u16, generation: u32, slot: u32) -> WakeId {
        debug_assert!(generation <= FIELD && slot <= FIELD);
        let (generation, slot) = (u64::from(generation), u64::from(slot));
        WakeId(u64::from(loop_id) << 48 | generation << SLOT_BITS | slot)
    }

    /// The loop's id.
    #[inline]
    #[must_use]
    pub fn loop_id(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// The generation of the slot.
    #[inline]
    #[must_use]
    pub fn generation(self) -> u32 {
        (self.0 >> SLOT_BITS) as u32 & FIELD
    }

    /// The slot.
    #[inline]
    #[must_use]
    pub fn slot(self) -> u32 {
        self.0 as u32 & FIELD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_id_gives_back_its_parts() {
        for (loop_id, generation, slot) in [(1, 0, 0), (u16::MAX, FIELD, FIELD), (7, 9, 1 << 23)] {
            let id = WakeId::new(loop_id, generation, slot);
            let parts = (id.loop_id(), id.generation(), id.slot());
            assert_eq!(parts, (loop_id, generation, slot));
        }
    }

    #[test]
    fn task_ids_never_repeat_across_supplies() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            let ids = TaskIds::default();
            assert!((0..TASK_IDS_AT_ONCE + 1).all(|_| seen.insert(ids.next())));
        }
    }
}
