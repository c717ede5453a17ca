//! The deadlines around the code that is being polled: whose timeout it is.
//!
//! *Read after* [`mod@super::timeout`], which says why.
//!
//! While a future with a deadline is polled, that deadline, if it is the earliest
//! of those around it, stands in a thread-local. One that has run out looks
//! there: if an outer deadline is not after its own, that one has run out as well
//! (the loop fires timers in order, and all that are due at once) and is about to
//! say so. It then says nothing itself, but wakes its task once more, in case the
//! outer one was taken away and its future goes on.

use std::cell::Cell;
use std::task::{Context, Poll};

thread_local! {
    /// On the loop's clock; `u64::MAX` is none. A constant without destructor, so
    /// that reading it costs one instruction.
    static EARLIEST: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// While this lives, a deadline is around the code that runs.
#[must_use]
pub struct Enclosing {
    outer: u64,
}

impl Enclosing {
    /// Enters a deadline. Also left when a panic passes through.
    #[inline]
    pub fn enter(deadline_ns: u64) -> Self {
        let outer = EARLIEST.replace(deadline_ns.min(EARLIEST.get()));
        Enclosing { outer }
    }

    /// Leaves it again; what is left knows the deadlines outside of it.
    #[inline]
    pub fn leave(self) -> Outside {
        Outside(self.outer)
    }

    /// Whether all deadlines around the code that runs are after this one.
    pub fn is_after(deadline_ns: u64) -> bool {
        EARLIEST.get() > deadline_ns
    }
}

impl Drop for Enclosing {
    #[inline]
    fn drop(&mut self) {
        EARLIEST.set(self.outer);
    }
}

/// The earliest deadline outside of one that was left.
#[must_use]
pub struct Outside(u64);

impl Outside {
    /// A deadline has run out: `Ready` if it is its own to report.
    #[inline]
    pub fn report(self, deadline_ns: u64, cx: &Context<'_>) -> Poll<()> {
        if self.0 > deadline_ns {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
