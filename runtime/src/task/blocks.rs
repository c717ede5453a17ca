//! Memory for tasks, and for other things as short-lived (`sync/pair.rs`), used
//! again.
//!
//! A freed block goes to a list of its size class and is the next to be taken,
//! still warm in the cache: 2 ns, where the allocator takes 12. Blocks come from
//! the global allocator one by one and may go back to it in any order, so a
//! handle that outlives its loop can free its task without it.

#![allow(unsafe_code)] // Calls to the allocator, and lists threaded through free blocks.

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::context;
use crate::limits::{BLOCK_CLASS, BLOCK_CLASSES, BLOCKS_KEPT_BYTES};

/// glibc's malloc keeps one word in front of each block and rounds the sum up to
/// 16 bytes, so blocks of 16 n − 8 bytes waste nothing.
const MALLOC_WORD: usize = 8;

/// The free blocks of a loop, by size.
///
/// Invariants:
/// - **B1** Every block in list `class` came from the global allocator with
///   [`class_layout`]`(class)` and belongs to the list alone.
/// - **B2** The first word of a block in a list is the next block, or null.
pub(crate) struct Blocks {
    free: [Cell<*mut u8>; BLOCK_CLASSES],
    kept_bytes: Cell<usize>,
}

/// The class of blocks for `layout`, or `None` if such are not kept.
#[inline]
pub(crate) const fn class(layout: Layout) -> Option<usize> {
    let class = (layout.size() + MALLOC_WORD).div_ceil(BLOCK_CLASS);
    if class < BLOCK_CLASSES && layout.align() <= BLOCK_CLASS {
        Some(class)
    } else {
        None
    }
}

#[inline]
fn class_layout(class: usize) -> Layout {
    Layout::from_size_align(class * BLOCK_CLASS - MALLOC_WORD, BLOCK_CLASS)
        .expect("a few KiB at most")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    debug_assert!(layout.size() > 0);
    // SAFETY: the layout isn't empty: every task has a header.
    let block = unsafe { alloc::alloc(layout) };
    NonNull::new(block).unwrap_or_else(|| alloc::handle_alloc_error(layout))
}

impl Blocks {
    pub(crate) const fn new() -> Blocks {
        Blocks {
            free: [const { Cell::new(ptr::null_mut()) }; BLOCK_CLASSES],
            kept_bytes: Cell::new(0),
        }
    }

    /// Memory that fits `layout`, which must not be empty.
    #[inline]
    pub(crate) fn take(&self, layout: Layout) -> NonNull<u8> {
        let Some(class) = class(layout) else {
            return allocate(layout);
        };
        let Some(block) = NonNull::new(self.free[class].get()) else {
            return allocate(class_layout(class));
        };
        // SAFETY: B2.
        let next = unsafe { block.cast::<*mut u8>().read() };
        self.free[class].set(next);
        self.kept_bytes
            .set(self.kept_bytes.get() - class * BLOCK_CLASS);
        block
    }

    /// # Safety
    /// As [`give_back`], and `class` is that of the layout.
    #[inline]
    unsafe fn put(&self, block: NonNull<u8>, class: usize) -> bool {
        if self.kept_bytes.get() >= BLOCKS_KEPT_BYTES {
            return false;
        }
        let next = self.free[class].replace(block.as_ptr());
        // SAFETY: the block is ours, and aligned and large enough for a pointer.
        unsafe { block.cast::<*mut u8>().write(next) };
        self.kept_bytes
            .set(self.kept_bytes.get() + class * BLOCK_CLASS);
        true
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        for class in 0..BLOCK_CLASSES {
            while let Some(block) = NonNull::new(self.free[class].get()) {
                // SAFETY: B2.
                self.free[class].set(unsafe { block.cast::<*mut u8>().read() });
                // SAFETY: B1.
                unsafe { alloc::dealloc(block.as_ptr(), class_layout(class)) };
            }
        }
    }
}

/// Memory that fits `layout`, which must not be empty: from the current loop's
/// lists, or from the allocator.
#[inline]
pub(crate) fn take(layout: Layout) -> NonNull<u8> {
    let taken = context::try_with(|core| core.blocks().take(layout));
    taken.unwrap_or_else(|| allocate(class(layout).map_or(layout, class_layout)))
}

/// Returns a block to the current loop's lists, or to the allocator.
///
/// # Safety
/// `block` came from [`take`] or [`Blocks::take`], on any thread, with the same `layout`, whose
/// [`class`] it is, and is not used again.
#[inline]
pub(crate) unsafe fn give_back(block: NonNull<u8>, layout: Layout, class: Option<usize>) {
    debug_assert_eq!(class, self::class(layout));
    if let Some(class) = class {
        let put = context::try_with(|core| {
            // SAFETY: passed on.
            unsafe { core.blocks().put(block, class) }
        });
        if put == Some(true) {
            return;
        }
    }
    // SAFETY: what `allocate` was given for this layout.
    unsafe { alloc::dealloc(block.as_ptr(), class.map_or(layout, class_layout)) };
}
