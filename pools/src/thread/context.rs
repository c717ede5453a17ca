//! Which lane the current thread works on, if any.
#![allow(unsafe_code)] // One dereference, of a pointer that a guard keeps valid.

use std::cell::Cell;
use std::ptr;

use crate::thread::seat::Seat;

thread_local! {
    // Const and without destructor: reading it is one load, and works during a
    // thread's exit.
    static CURRENT: Cell<*const Seat> = const { Cell::new(ptr::null()) };
}

/// Runs `f` with this thread's seat, if it has one.
///
/// Invariant **C1**: `CURRENT` is null or points to the seat of the innermost
/// [`occupy`] on this thread's stack, which is borrowed for all of that call.
#[inline(always)]
pub fn with<R>(f: impl FnOnce(Option<&Seat>) -> R) -> R {
    let seat = CURRENT.get();
    // SAFETY: by C1 the pointer is null or valid for as long as we are called
    // from within that `occupy`; the reference doesn't outlive `f`.
    f(unsafe { seat.as_ref() })
}

/// Runs `f` with `seat` as this thread's seat, and the one before afterwards,
/// also if `f` panics.
#[inline]
pub fn occupy<R>(seat: &Seat, f: impl FnOnce() -> R) -> R {
    struct Restore(*const Seat);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(seat));
    f()
}
