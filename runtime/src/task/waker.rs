//! A waker is an id, not a pointer.
//!
//! Its data word is a [`WakeId`]. Cloning copies the word, dropping does
//! nothing, and two wakers are the same if their words are. There is no
//! reference count, so no atomic operation and no use after free to argue
//! about: a waker may be kept for ever, on any thread, also after its task and
//! its loop are gone.
//!
//! A wake goes one of two ways:
//! - on the thread whose loop it names: into the loop's run queue, directly;
//! - anywhere else: to the loop's [remote side](crate::remote), found by its id.
//!
//! Rejected: the usual counted pointer to the task (`async-task`, tokio). Even
//! with a count that isn't atomic on the owner's thread, each clone and drop
//! touches the task's memory and asks on which thread it is (1 ns each way), and
//! the task lives as long as its last forgotten waker.

#![allow(unsafe_code)] // A `RawWaker`'s contract, met by functions without state.

use std::mem::ManuallyDrop;
use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::id::WakeId;
use crate::context;
use crate::remote::table;
use crate::trace::{Kind, emit};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop);

fn raw(id: WakeId) -> RawWaker {
    // The word is never dereferenced, so it needs no provenance.
    RawWaker::new(ptr::without_provenance(id.0 as usize), &VTABLE)
}

/// The waker of `id`. It owns nothing, so it needn't be dropped, which would be a
/// call through the vtable.
#[inline]
pub(crate) fn waker(id: WakeId) -> ManuallyDrop<Waker> {
    // SAFETY: the functions of VTABLE treat the data as a number, own nothing,
    // and may be called on any thread.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw(id)) })
}

/// The task that `waker` wakes, if it is one of ours.
#[inline(always)]
pub(crate) fn id_of(waker: &Waker) -> Option<WakeId> {
    ptr::eq(waker.vtable(), &VTABLE).then(|| WakeId(waker.data().addr() as u64))
}

/// A clone of `waker`: of one of ours a copy, without a call.
#[inline(always)]
pub(crate) fn copy(waker: &Waker) -> Waker {
    match id_of(waker) {
        Some(id) => ManuallyDrop::into_inner(self::waker(id)),
        None => waker.clone(),
    }
}

fn clone(data: *const ()) -> RawWaker {
    raw(WakeId(data.addr() as u64))
}

/// The usual way into the run queue. No call is on it but by a jump at its end, so it
/// needs no frame.
#[inline(never)]
fn wake(data: *const ()) {
    let id = WakeId(data.addr() as u64);
    match context::with_loop(id.loop_id(), |core| core.wake_local(id)) {
        Some(()) => {}
        None => wake_elsewhere(id),
    }
}

fn drop(_: *const ()) {}

/// Wakes the task that `id` names, from any thread; in vain if it is gone.
#[inline]
pub(crate) fn wake_id(id: WakeId) {
    wake(ptr::without_provenance(id.0 as usize));
}

#[cold]
#[inline(never)]
fn wake_elsewhere(id: WakeId) {
    // Before: the loop may be faster than we.
    emit(Kind::WakeElsewhere, line!(), id.0, 0);
    if let Some(remote) = table::find(id.loop_id()) {
        remote.wake(id.slot());
    }
}
