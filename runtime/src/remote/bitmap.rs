//! Which tasks other threads have woken: one bit each, and a summary above.
//!
//! ```text
//!   page 0          page 1        …     a page is 64 × 64 tasks
//!   summary ─┐
//!            ├─▶ leaf 0: tasks 0–63
//!            ├─▶ leaf 1: tasks 64–127
//!            ⋮
//! ```
//! Setting a bit that is set already changes nothing: that is how a thousand
//! wakes of one task become one poll, and why nothing is ever allocated for a
//! wake. Only who sets the first bit of a leaf goes on to the summary, and only
//! who sets the first bit of a summary has to tell the loop ([`Bitmap::set`]
//! says so).
//!
//! Pages are added as the loop's slab grows and are never freed or moved, so a
//! waker of any age finds the page of its task. They hang in chunks of 1, 2, 4, …
//! pages, each published once by a Release store.

#![allow(unsafe_code)] // Pages are published as pointers; invariant M1.

use crate::limits::MAX_TASKS;
use crate::switch::atomic::{AtomicPtr, AtomicU64, Ordering};
use crate::switch::{LEAVES, Weakening, weakened};

/// Tasks of a page.
pub const PAGE_TASKS: usize = LEAVES * 64;

/// Chunks of doubling size that are enough for every task.
const CHUNKS: usize = ((MAX_TASKS / (64 * 64)) + 1).ilog2() as usize + 1;

struct Page {
    summary: AtomicU64,
    leaves: [AtomicU64; LEAVES],
}

impl Page {
    fn new() -> Page {
        Page {
            summary: AtomicU64::new(0),
            leaves: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

/// See the [module](self).
///
/// Invariant **M1**: `chunks[n]` is null or points to the first of 2^n pages
/// that live until the bitmap is dropped, and are shared with all threads.
pub struct Bitmap {
    chunks: [AtomicPtr<Page>; CHUNKS],
}

fn chunk_of(page: usize) -> (usize, usize) {
    let chunk = (page + 1).ilog2() as usize;
    (chunk, page + 1 - (1 << chunk))
}

impl Bitmap {
    /// A bitmap without pages.
    #[must_use]
    pub fn new() -> Bitmap {
        Bitmap {
            chunks: std::array::from_fn(|_| AtomicPtr::new(std::ptr::null_mut())),
        }
    }

    /// Makes room for `tasks` tasks. Only the loop's own thread calls this, and
    /// before it gives out a waker of the last of them.
    pub fn grow(&self, tasks: usize) {
        for page in 0..tasks.div_ceil(PAGE_TASKS) {
            let (chunk, index) = chunk_of(page);
            // Relaxed: only this thread stores here.
            if index != 0 || !self.chunks[chunk].load(Ordering::Relaxed).is_null() {
                continue;
            }
            let pages: Box<[Page]> = (0..1 << chunk).map(|_| Page::new()).collect();
            let first = Box::into_raw(pages).cast::<Page>();
            // Partner: the Acquire in `page`, which so sees zeroed words.
            self.chunks[chunk].store(first, Ordering::Release);
        }
    }

    #[inline]
    fn page(&self, page: usize) -> Option<&Page> {
        let (chunk, index) = chunk_of(page);
        // Partner: the Release in `grow`.
        let first = self.chunks.get(chunk)?.load(Ordering::Acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: M1, and `index` is below 2^chunk.
        let page = unsafe { first.add(index) };
        // SAFETY: M1; pages are only borrowed shared.
        Some(unsafe { &*page })
    }

    /// Sets the bit of `task` and returns whether the loop must be told: that is
    /// so unless somebody else, who set a bit near it, is about to do it.
    #[inline]
    pub fn set(&self, task: u32) -> bool {
        let task = task as usize;
        let Some(page) = self.page(task / PAGE_TASKS) else {
            return false; // No such task ever was.
        };
        let leaf = task % PAGE_TASKS / 64;
        // Release, partner: the Acquire swaps of `take`. It hands the task's poll
        // everything that this thread did before it woke the task.
        let order = if weakened(Weakening::RemoteWakesRelaxed) {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        if page.leaves[leaf].fetch_or(1 << (task % 64), order) != 0 {
            return false;
        }
        page.summary.fetch_or(1 << leaf, Ordering::Release) == 0
    }

    /// Clears the bits of the first `tasks` tasks and calls `woken` with each that
    /// was set. Costs a load for each page and a swap for each word that isn't 0.
    pub fn take(&self, tasks: usize, mut woken: impl FnMut(u32)) {
        for number in 0..tasks.div_ceil(PAGE_TASKS) {
            let Some(page) = self.page(number) else {
                return;
            };
            // Relaxed: a bit that this misses is one whose setter tells the loop
            // after this look.
            if page.summary.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Acquire, partner: the Release of the summary's `fetch_or`, so that
            // the leaf's bit, which was set before, is found below.
            let mut leaves = page.summary.swap(0, Ordering::Acquire);
            while leaves != 0 {
                let leaf = leaves.trailing_zeros() as usize;
                leaves &= leaves - 1;
                // Acquire, partner: the Release of the leaf's `fetch_or`.
                let mut bits = page.leaves[leaf].swap(0, Ordering::Acquire);
                while bits != 0 {
                    let bit = bits.trailing_zeros() as usize;
                    bits &= bits - 1;
                    woken((number * PAGE_TASKS + leaf * 64 + bit) as u32);
                }
            }
        }
    }
}

impl Default for Bitmap {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Bitmap {
    fn drop(&mut self) {
        for (chunk, first) in self.chunks.iter_mut().enumerate() {
            let first = first.load(Ordering::Relaxed);
            if !first.is_null() {
                let pages = std::ptr::slice_from_raw_parts_mut(first, 1 << chunk);
                // SAFETY: M1: this is the boxed slice of `grow`, and no other
                // thread has the bitmap any more.
                drop(unsafe { Box::from_raw(pages) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_once_and_in_order() {
        let bitmap = Bitmap::new();
        bitmap.grow(3 * PAGE_TASKS);
        assert!(bitmap.set(5));
        assert!(!bitmap.set(5));
        assert!(!bitmap.set(70));
        assert!(bitmap.set(2 * PAGE_TASKS as u32 + 64 * 64 - 1));
        let mut woken = Vec::new();
        bitmap.take(3 * PAGE_TASKS, |task| woken.push(task));
        assert_eq!(woken, [5, 70, 3 * PAGE_TASKS as u32 - 1]);
        bitmap.take(3 * PAGE_TASKS, |task| panic!("{task} again"));
        assert!(bitmap.set(5));
    }

    #[test]
    fn a_task_beyond_all_pages_is_ignored() {
        let bitmap = Bitmap::new();
        assert!(!bitmap.set(0));
        bitmap.grow(1);
        assert!(!bitmap.set(MAX_TASKS as u32));
        assert!(bitmap.set(0));
    }

    #[test]
    fn chunks_double_and_cover_every_task() {
        assert_eq!(chunk_of(0), (0, 0));
        assert_eq!(chunk_of(1), (1, 0));
        assert_eq!(chunk_of(2), (1, 1));
        assert_eq!(chunk_of(3), (2, 0));
        assert!(chunk_of(MAX_TASKS / PAGE_TASKS).0 < CHUNKS);
    }
}
