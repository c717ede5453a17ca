//! Was this process forked since the pool was made?
//!
//! A fork copies the pool's memory but none of its threads: whoever waited for
//! the pool in the child would wait for ever. `getpid` at every submit would tell,
//! at 100 ns; a fork handler that counts costs a load.
#![allow(unsafe_code)] // `pthread_atfork` is a C function.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

static FORKS: AtomicU32 = AtomicU32::new(0);

/// The process as of when this was made.
#[derive(Debug, Clone, Copy)]
pub struct Generation(u32);

/// This process.
pub fn generation() -> Generation {
    static REGISTER: Once = Once::new();
    REGISTER.call_once(|| {
        extern "C" fn count() {
            FORKS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the handler only adds to an atomic, which is allowed in the
        // child of a threaded process.
        unsafe { libc::pthread_atfork(None, None, Some(count)) };
    });
    Generation(FORKS.load(Ordering::Relaxed))
}

impl Generation {
    /// Is this another process, forked since?
    #[inline]
    pub fn is_foreign(self) -> bool {
        self.0 != FORKS.load(Ordering::Relaxed)
    }
}
