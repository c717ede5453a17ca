//! Room for what is too large for a ring: extents of a kept, shared mapping.
//!
//! The writing side of an arena (the parent for arguments, a worker for its
//! results) takes an [`Extent`], encodes straight into it, and sends its place in
//! a frame; the reading side decodes straight from it and gives it back. So a
//! large value is written once and read once, and since freed extents are reused
//! last-in-first-out, mostly into pages that are mapped and warm.
//!
//! Extents come in powers of two from the untouched end of the file, and return
//! to a free list of their size. The file is sparse: an extent costs what has
//! been written to it. Above a limit of kept memory a freed extent's pages go
//! back to the system, its addresses stay in the list.
//!
//! Read before this: [`super::page`]. Read after it: [`super::codec`].
//!
//! Rejected: *a file for each large value* (creating, sizing, mapping and passing
//! one costs more than copying a megabyte, and each holds a descriptor);
//! *`process_vm_readv`* (common distributions forbid a worker to read its
//! parent); *streaming through the ring* (a switch between processes for every
//! ringful).
#![allow(unsafe_code)] // gives pages back with madvise

use crate::process::limits::{ARENA_KEPT, EXTENT_MIN, PAGE};
use crate::process::page::Mapping;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard};

/// A stretch of an arena that belongs to whoever holds this value.
///
/// Not `Clone`: invariant 1 of [`Arena`] rests on there being one for each
/// stretch. Dropping it without [`Arena::free`] loses the room until the pool ends.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "an extent that isn't freed is lost"]
pub struct Extent {
    /// Where it starts in the file.
    pub offset: usize,
    /// Its length in bytes.
    pub capacity: usize,
}

/// The writer's view of an arena.
///
/// Invariant 1: no two live extents overlap.
#[derive(Debug)]
pub struct Arena {
    mapping: Arc<Mapping>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Everything from here to the end of the mapping was never given out.
    fresh: usize,
    /// Freed extents by size class; the last freed comes first.
    free: Vec<Vec<Free>>,
    /// Bytes of freed extents that still hold memory.
    kept: usize,
}

#[derive(Debug)]
struct Free {
    offset: usize,
    /// Bytes of it that hold memory.
    warm: usize,
}

impl Arena {
    /// An arena that spans `mapping` from byte `start` on.
    pub fn new(mapping: Arc<Mapping>, start: usize) -> Arena {
        Arena {
            mapping,
            state: Mutex::new(State {
                fresh: start,
                free: Vec::new(),
                kept: 0,
            }),
        }
    }

    /// The mapping in which the extents lie.
    pub fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Takes an extent of at least `len` bytes; `None` if there is no room.
    /// Locks; constant time.
    pub fn take(&self, len: usize) -> Option<Extent> {
        let capacity = len.max(EXTENT_MIN).checked_next_power_of_two()?;
        let mut state = self.lock();
        if let Some(list) = state.free.get_mut(class(capacity))
            && let Some(free) = list.pop()
        {
            state.kept -= free.warm;
            let offset = free.offset;
            return Some(Extent { offset, capacity });
        }
        let offset = state.fresh;
        let end = offset.checked_add(capacity)?;
        if end > self.mapping.len() {
            return None;
        }
        state.fresh = end;
        Some(Extent { offset, capacity })
    }

    /// Gives an extent back, of which `used` bytes were written.
    pub fn free(&self, extent: Extent, used: usize) {
        let Extent { offset, capacity } = extent;
        let mut warm = used.min(capacity).next_multiple_of(PAGE);
        let mut state = self.lock();
        if state.kept + warm > ARENA_KEPT {
            self.cool(offset, warm);
            warm = 0;
        }
        state.kept += warm;
        let class = class(capacity);
        if state.free.len() <= class {
            state.free.resize_with(class + 1, Vec::new);
        }
        state.free[class].push(Free { offset, warm });
    }

    /// Where an extent's bytes are in this process.
    pub fn address(&self, extent: &Extent) -> NonNull<u8> {
        let address = self.mapping.at(extent.offset, extent.capacity);
        address.expect("an extent lies in its arena")
    }

    /// Gives the pages back to the system. The next use finds zeros.
    fn cool(&self, offset: usize, len: usize) {
        if let Some(address) = self.mapping.at(offset, len) {
            // SAFETY: mapped, and no live extent overlaps it (invariant 1), so
            // nobody relies on its contents. Failure costs memory only.
            unsafe { libc::madvise(address.as_ptr().cast(), len, libc::MADV_REMOVE) };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(|broken| broken.into_inner())
    }
}

fn class(capacity: usize) -> usize {
    (capacity.ilog2() - EXTENT_MIN.ilog2()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::page::SharedFile;

    fn arena(len: usize) -> Arena {
        let file = SharedFile::new(c"threeply-test", PAGE, len).unwrap();
        Arena::new(file.map(true).unwrap(), PAGE)
    }

    #[test]
    fn extents_do_not_overlap_and_freed_ones_come_back_first() {
        let arena = arena(1 << 24);
        let a = arena.take(1).unwrap();
        let b = arena.take(100_000).unwrap();
        assert_eq!((a.offset, a.capacity), (PAGE, EXTENT_MIN));
        assert_eq!((b.offset, b.capacity), (PAGE + EXTENT_MIN, 131_072));
        arena.free(b, 100_000);
        let again = arena.take(70_000).unwrap();
        assert_eq!(again.offset, PAGE + EXTENT_MIN);
        arena.free(again, 1);
        arena.free(a, 1);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let arena = arena(1 << 20);
        assert!(arena.take(1 << 20).is_none());
        assert!(arena.take(usize::MAX).is_none());
        assert!(arena.take(1 << 19).is_some());
    }
}
