//! From a loop id to the remote side of that loop.
//!
//! A flat table of 65,536 pointers: half a megabyte of zeroes in the program's
//! memory map, of which only the pages that are used ever become real. An entry
//! is written once, when its id is first needed, and stays; ids are given to new
//! loops again, the one that was freed last first, so that it is still warm.

#![allow(unsafe_code)] // Entries are leaked boxes, published as pointers.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Remote;
use crate::error::Error;
use crate::event_loop::handle::Call;
use crate::limits::MAX_LOOPS;

/// The remote side of a real loop.
pub(crate) type LoopRemote = Remote<Call>;

static TABLE: [AtomicPtr<LoopRemote>; MAX_LOOPS + 1] =
    [const { AtomicPtr::new(ptr::null_mut()) }; MAX_LOOPS + 1];

struct Ids {
    /// Of loops that have ended.
    free: Vec<&'static LoopRemote>,
    used: usize,
}

static IDS: Mutex<Ids> = Mutex::new(Ids {
    free: Vec::new(),
    used: 0,
});

fn ids() -> MutexGuard<'static, Ids> {
    IDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The remote side of the loops with `id`, if there has been one.
#[inline]
pub(crate) fn find(id: u16) -> Option<&'static LoopRemote> {
    // Acquire, partner: the Release of `acquire`.
    let remote = TABLE[usize::from(id)].load(Ordering::Acquire);
    // SAFETY: null, or leaked for ever by `acquire`, and only borrowed shared.
    unsafe { remote.as_ref() }
}

/// A remote side for a new loop.
///
/// # Errors
/// [`Error::TooManyLoops`].
pub(crate) fn acquire() -> Result<&'static LoopRemote, Error> {
    let mut ids = ids();
    if let Some(remote) = ids.free.pop() {
        return Ok(remote);
    }
    if ids.used == MAX_LOOPS {
        return Err(Error::TooManyLoops);
    }
    ids.used += 1; // Ids begin at 1: 0 is "no loop".
    let id = ids.used as u16;
    let remote: &'static LoopRemote = Box::leak(Box::new(Remote::new(id)));
    // Release, partner: the Acquire of `find`.
    TABLE[usize::from(id)].store(ptr::from_ref(remote).cast_mut(), Ordering::Release);
    Ok(remote)
}

/// Gives back the remote side of a loop that has ended.
pub(crate) fn release(remote: &'static LoopRemote) {
    ids().free.push(remote);
}
