//! Reading this process's own memory through the kernel.
//!
//! An address that is wrong gives an error and not a fault, and bytes that Rust
//! holds to be uninitialized, as parts of a stack are, become plain bytes.

#![allow(unsafe_code)] // One system call, whose addresses the kernel checks.

use std::io;

/// Copies from `address` into `into`; returns how many bytes there were.
/// Async-signal-safe.
pub(super) fn read_into(address: usize, into: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address),
        iov_len: into.len(),
    };
    let pid = nix::unistd::getpid().as_raw();
    // SAFETY: the kernel writes into `into` only, and refuses `address` where no
    // memory is.
    let read = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}

/// A copy of so many bytes, or of as many as there are.
pub(super) fn read(address: usize, count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    let read = read_into(address, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
