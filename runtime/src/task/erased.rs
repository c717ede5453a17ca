//! The part of a task that knows the type of its future, behind the vtable.
//!
//! *Read after* `cell`, whose invariants C1 to C7 are meant here, and whose stages
//! these functions change.
//!
//! All of them catch panics of the code that they run, for each may be a
//! future's, and none may reach the loop: a panic of `poll`, or of the future's
//! destructor, becomes the task's outcome; one of an output's is reported.

#![allow(unsafe_code)] // Type erasure and a union, by the invariants of `cell`.

use std::alloc::Layout;
use std::any::Any;
use std::cell::UnsafeCell;
use std::future::Future;
use std::mem::{ManuallyDrop, offset_of};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use super::blocks::{self, Blocks};
use super::cell::{Birth, Header, Stage, TaskRef, TypedTask, VTable};
use super::hook::{contain, report};
use super::join_error::JoinError;

type Output<F> = Result<<F as Future>::Output, JoinError>;

#[repr(C)]
struct TaskCell<F: Future> {
    header: Header,
    payload: UnsafeCell<Payload<F>>,
}

/// C2 says which of the two it is. `repr(C)`: both begin where it begins.
#[repr(C)]
union Payload<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Output<F>>,
}

struct VTableOf<F>(F);

impl<F: Future> VTableOf<F> {
    const VTABLE: VTable = VTable {
        layout: Layout::new::<TaskCell<F>>(),
        payload: offset_of!(TaskCell<F>, payload),
        class: blocks::class(Layout::new::<TaskCell<F>>()),
        poll: poll::<F>,
        cancel: cancel::<F>,
        discard: discard::<F>,
    };
}

/// Puts `future` into a new cell.
#[inline]
pub(crate) fn make<F: Future + 'static>(
    blocks: &Blocks,
    birth: Birth,
    future: F,
) -> TypedTask<F::Output> {
    let block = blocks.take(Layout::new::<TaskCell<F>>());
    let cell = block.cast::<TaskCell<F>>();
    let header = Header::new(&VTableOf::<F>::VTABLE, birth);
    let payload = UnsafeCell::new(Payload {
        future: ManuallyDrop::new(future),
    });
    // SAFETY: the block is fresh and has the layout of this very type.
    unsafe { cell.write(TaskCell { header, payload }) };
    let task = TaskRef(cell.cast()); // C1: the one reference of `Header::new`.
    // SAFETY: C7: the future was an `F`.
    unsafe { TypedTask::new(task) }
}

/// Where the payload is; what it is, C2 says.
///
/// # Safety
/// `task` is a cell of an `F`.
#[inline]
unsafe fn payload<F: Future>(task: NonNull<Header>) -> *mut Payload<F> {
    let cell = task.cast::<TaskCell<F>>().as_ptr();
    // SAFETY: it is such a cell, and `task` is the beginning of its allocation.
    UnsafeCell::raw_get(unsafe { &raw const (*cell).payload })
}

/// # Safety
/// `task` is a cell of an `F`, in Running; the caller has set that, and so has
/// the payload alone (C3).
unsafe fn poll<F: Future>(task: NonNull<Header>, cx: &mut Context<'_>) -> bool {
    // SAFETY: passed on.
    let future = unsafe { payload::<F>(task) }.cast::<F>();
    // SAFETY: C2 and C3.
    let future = unsafe { &mut *future };
    // SAFETY: C4.
    let future = unsafe { Pin::new_unchecked(future) };
    match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(Poll::Pending) => return false,
        // SAFETY: passed on.
        Ok(Poll::Ready(output)) => unsafe { finish::<F>(task, output) },
        // SAFETY: passed on.
        Err(panic) => unsafe { fail::<F>(task, Failure::Panic(panic)) },
    }
    true
}

/// # Safety
/// As [`poll`].
unsafe fn cancel<F: Future>(task: NonNull<Header>, error: JoinError) {
    // SAFETY: passed on.
    unsafe { fail::<F>(task, Failure::Cancelled(error)) };
}

enum Failure {
    Panic(Box<dyn Any + Send>),
    Cancelled(JoinError),
}

/// Transition 2: drops the future and leaves `output` in its place. If that
/// destructor panics, the joiner is told of that.
///
/// # Safety
/// As [`poll`].
#[inline(never)] // Few polls come here, and it would burden the frame of all.
unsafe fn finish<F: Future>(task: NonNull<Header>, output: F::Output) {
    // SAFETY: passed on.
    let result = match unsafe { drop_future::<F>(task) } {
        Ok(()) => Ok(output),
        Err(panic) => {
            contain(|| drop(output));
            // SAFETY: passed on.
            Err(unsafe { panicked(task, panic) })
        }
    };
    // SAFETY: passed on; the place is unused since the future was dropped.
    unsafe { leave::<F>(task, result) };
}

/// Transition 2 without an output. If the future's destructor panics, the joiner is
/// told of the (first) panic.
///
/// # Safety
/// As [`poll`].
#[cold]
#[inline(never)]
unsafe fn fail<F: Future>(task: NonNull<Header>, failure: Failure) {
    // SAFETY: passed on.
    let dropped = unsafe { drop_future::<F>(task) };
    let error = match (failure, dropped) {
        (Failure::Cancelled(error), Ok(())) => error,
        (Failure::Panic(first), dropped) => {
            contain(|| drop(dropped));
            // SAFETY: passed on.
            unsafe { panicked(task, first) }
        }
        // SAFETY: passed on.
        (Failure::Cancelled(_), Err(panic)) => unsafe { panicked(task, panic) },
    };
    // SAFETY: passed on; the place is unused since the future was dropped.
    unsafe { leave::<F>(task, Err(error)) };
}

/// # Safety
/// As [`poll`].
#[inline]
unsafe fn drop_future<F: Future>(task: NonNull<Header>) -> Result<(), Box<dyn Any + Send>> {
    // SAFETY: passed on.
    let payload = unsafe { payload::<F>(task) };
    catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: C2; it isn't used again, also if its destructor panics.
        unsafe { payload.cast::<F>().drop_in_place() }
    }))
}

/// # Safety
/// `task` is a cell.
#[cold]
unsafe fn panicked(task: NonNull<Header>, panic: Box<dyn Any + Send>) -> JoinError {
    // A borrowed reference: it must not count down.
    let task = ManuallyDrop::new(TaskRef(task));
    JoinError::panic(task.who(), panic)
}

/// # Safety
/// As [`poll`], and the future was dropped.
#[inline]
unsafe fn leave<F: Future>(task: NonNull<Header>, output: Output<F>) {
    // SAFETY: passed on.
    let payload = unsafe { payload::<F>(task) };
    // SAFETY: the place is unused since the future was dropped.
    unsafe { payload.cast::<Output<F>>().write(output) };
    // A borrowed reference: it must not count down.
    let task = ManuallyDrop::new(TaskRef(task));
    task.header().state().set_stage(Stage::Finished);
}

/// # Safety
/// `task` is a cell of an `F`.
unsafe fn discard<F: Future>(task: NonNull<Header>) {
    // SAFETY: passed on.
    let payload = unsafe { payload::<F>(task) };
    // A borrowed reference: it must not count down.
    let task = ManuallyDrop::new(TaskRef(task));
    let state = task.header().state();
    match state.stage() {
        Stage::Waiting => {
            state.set_stage(Stage::Running); // C3
            contain(|| {
                // SAFETY: C2, as the stage was Waiting; it goes to Empty next.
                unsafe { payload.cast::<F>().drop_in_place() }
            });
            state.set_stage(Stage::Empty);
        }
        Stage::Finished => {
            state.set_stage(Stage::Empty); // C3
            // SAFETY: C2, as the stage was Finished; nobody reads it again.
            match unsafe { payload.cast::<Output<F>>().read() } {
                Ok(output) => {
                    contain(|| drop(output));
                }
                Err(error) => {
                    if error.is_panic() {
                        report(&error);
                    }
                    contain(|| drop(error));
                }
            }
        }
        Stage::Running | Stage::Empty => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_does_nothing_fits_into_a_small_block() {
        assert_eq!(size_of::<Header>(), 40);
        assert_eq!(size_of::<TaskCell<std::future::Pending<()>>>(), 48);
    }
}
