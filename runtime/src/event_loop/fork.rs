//! Noticing that the process is a fork.
//!
//! After `fork`, parent and child share the loop's epoll instance and eventfd:
//! the child would take events from the parent, and its clean-up would end the
//! parent's watching of sockets. So a loop remembers how often the process had
//! been forked when the loop was made, and refuses to run where that has
//! changed. The count is kept by a handler that the C library's `fork` calls in
//! the child; asking the kernel for the pid would cost a system call each time.
//! (`clone` as used to start programs doesn't call it, and needn't.)

#![allow(unsafe_code)] // One call of the C library.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

extern "C" fn in_child() {
    // Relaxed: the child has one thread, the one that made it.
    FORKS.fetch_add(1, Ordering::Relaxed);
    // Its one thread must not write where the threads of its parent do.
    crate::trace::gate::turn_off();
}

/// How many forks lie between the first process of this program and this one,
/// counted since the first call.
pub(crate) fn count() -> u32 {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        // SAFETY: the handler only adds to an atomic, which is async-signal-safe.
        // It can fail for want of memory; forks then go unnoticed.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
    FORKS.load(Ordering::Relaxed)
}
