//! The memory of this program's own board: a mapping that is never given back.
//!
//! It is large (256 rings of 2 MiB), but only what is written to exists. Threads
//! keep references to their rings beyond any session, so it stays for ever; there
//! is one in a process.
//!
//! Read before: [`super::clock`]. Next: [`super::writer`].

#![allow(unsafe_code)] // Maps memory.

use std::io;
use std::ptr::{self, NonNull};

use crate::switch::atomic::AtomicU64;

/// Maps `bytes` bytes of zeros.
///
/// # Errors
/// The kernel's: no address space is left.
pub(super) fn map(bytes: usize) -> io::Result<&'static [AtomicU64]> {
    // Private, so that a fork of this process has its own.
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, wherever the kernel has room.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    let start = NonNull::new(start.cast::<AtomicU64>()).expect("not mapped at zero");
    // SAFETY: mapped, aligned to a page, never unmapped, used through this slice
    // alone; every bit pattern is a valid atomic.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes / size_of::<AtomicU64>()) })
}
