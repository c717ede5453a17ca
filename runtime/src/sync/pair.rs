//! What exactly two ends share, in memory that is used again.
//!
//! A oneshot channel lives as long as one answer is awaited, so making it and
//! throwing it away is most of what it costs: with `Rc` and malloc, 40 % of the
//! instructions of a round trip over fresh channels. Its ends are never cloned,
//! so there is nothing to count: one bit says whether an end has left, and the
//! second to leave takes everything down. The memory comes from the blocks of the
//! loop (`task/blocks.rs`), where it is still warm from the last answer.
//!
//! ```text
//!            1 leave              2 leave: drops the value, gives the block back
//!   both ───────────────▶ one ───────────────▶ (gone)
//! ```
//!
//! Invariants:
//! - **P1** The block is alive until transition 2, and each end leaves once, when it
//!   is dropped: so an end that exists may use the value.
//! - **P2** What one end did before it left is seen by the other's transition 2.
//! - **P3** The block came from `blocks::take` with the layout of `Content`.
//!
//! Read before: `after.rs`; after: `family.rs`, `oneshot.rs`.

#![allow(unsafe_code)] // Two owners of one block; the invariants are above.

use std::alloc::Layout;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

use crate::switch::atomic::{AtomicBool, Ordering};
use crate::switch::{Weakening, weakened};
use crate::task::blocks;

/// How two ends know who is the last.
pub trait Leave {
    /// Both are there.
    fn new() -> Self;
    /// One leaves; whether the other has left before.
    fn leave(&self) -> bool;
}

/// For two ends on one thread.
#[derive(Debug)]
pub struct LocalLeave(Cell<bool>);

/// For two ends on any threads.
#[derive(Debug)]
pub struct SharedLeave(AtomicBool);

impl Leave for LocalLeave {
    fn new() -> Self {
        LocalLeave(Cell::new(false))
    }

    #[inline]
    fn leave(&self) -> bool {
        self.0.replace(true)
    }
}

impl Leave for SharedLeave {
    fn new() -> Self {
        SharedLeave(AtomicBool::new(false))
    }

    #[inline]
    fn leave(&self) -> bool {
        // Each is the other's partner. Release: what this end did to the value is
        // over. Acquire: the last one sees what the first did (P2).
        let order = if weakened(Weakening::PairLeavesRelaxed) {
            Ordering::Relaxed
        } else {
            Ordering::AcqRel
        };
        self.0.swap(true, order)
    }
}

struct Content<L, T> {
    leave: L,
    value: T,
}

/// One of two ends that share a `T`; see the [module](self).
pub struct Pair<L: Leave, T> {
    content: NonNull<Content<L, T>>,
    /// Dropping an end may drop the value.
    _owns: PhantomData<Content<L, T>>,
}

// SAFETY: an end gives `&T` to its thread, and the last one drops the `T` there:
// as with `Arc`. P1 and P2 hold across threads for `SharedLeave`.
unsafe impl<T: Send + Sync> Send for Pair<SharedLeave, T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Pair<SharedLeave, T> {}

impl<L: Leave, T> Pair<L, T> {
    const LAYOUT: Layout = Layout::new::<Content<L, T>>();
    const CLASS: Option<usize> = blocks::class(Self::LAYOUT);

    /// Both ends. The value is made when there is a place for it, so that it needn't be
    /// moved there; if `make` panics, the place is lost.
    #[inline]
    pub fn new(make: impl FnOnce() -> T) -> (Self, Self) {
        let content = blocks::take(Self::LAYOUT).cast::<Content<L, T>>();
        let (leave, value) = (L::new(), make());
        // SAFETY: the block is fresh and has the layout of this very type.
        unsafe { content.write(Content { leave, value }) };
        let end = || Pair {
            content,
            _owns: PhantomData,
        };
        (end(), end())
    }

    /// Transition 2.
    ///
    /// # Safety
    /// Both ends have left.
    #[inline(never)] // So that the first to leave needs three instructions.
    unsafe fn take_down(&mut self) {
        let _block = GiveBack::<L, T>(self.content);
        // SAFETY: nobody else has it (P1), and sees it after P2.
        unsafe { self.content.drop_in_place() };
    }
}

/// Gives the block back, also when the value's destructor panics.
struct GiveBack<L: Leave, T>(NonNull<Content<L, T>>);

impl<L: Leave, T> Drop for GiveBack<L, T> {
    #[inline]
    fn drop(&mut self) {
        let (layout, class) = (Pair::<L, T>::LAYOUT, Pair::<L, T>::CLASS);
        // SAFETY: P3, and its contents are gone.
        unsafe { blocks::give_back(self.0.cast(), layout, class) };
    }
}

impl<L: Leave, T> Deref for Pair<L, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: P1; the value is only borrowed shared until transition 2.
        let content = unsafe { self.content.as_ref() };
        &content.value
    }
}

impl<L: Leave, T> Drop for Pair<L, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: P1: this end hasn't left yet.
        let content = unsafe { self.content.as_ref() };
        if content.leave.leave() {
            // SAFETY: the other end had left before.
            unsafe { self.take_down() };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::rc::Rc;

    #[test]
    fn the_second_to_leave_drops_the_value() {
        for on_a_loop in [false, true] {
            let check = || {
                let value = Rc::new(());
                let (one, other) = Pair::<LocalLeave, _>::new(|| value.clone());
                assert!(Rc::ptr_eq(&one, &other));
                drop(one);
                assert_eq!(Rc::strong_count(&value), 2);
                drop(other);
                assert_eq!(Rc::strong_count(&value), 1);
            };
            if on_a_loop {
                crate::block_on(async { check() });
            } else {
                check();
            }
        }
    }

    #[test]
    fn ends_may_leave_on_other_threads_and_outlive_the_loop() {
        let (one, other) =
            crate::block_on(async { Pair::<SharedLeave, _>::new(|| "value".to_owned()) });
        std::thread::spawn(move || crate::block_on(async move { drop(one) }))
            .join()
            .unwrap();
        assert_eq!(*other, "value");
    }

    #[test]
    fn a_panic_in_the_drop_of_the_value_reaches_the_last_end_and_leaks_nothing() {
        struct Bomb(#[expect(dead_code)] Rc<()>);
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("boom");
            }
        }
        let inner = Rc::new(());
        let (one, other) = Pair::<LocalLeave, _>::new(|| Bomb(inner.clone()));
        drop(one);
        assert!(catch_unwind(AssertUnwindSafe(|| drop(other))).is_err());
        assert_eq!(Rc::strong_count(&inner), 1);
    }
}
