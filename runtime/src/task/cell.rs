//! One task in one allocation: its future, and later, in the same place, its
//! output.
//!
//! *Read after* [`super::id`] and [`super::waker`]; *next* [`super::slab`] (where
//! the loop keeps its tasks) and [`super::join`] (who takes the output).
//!
//! ```text
//!   TaskRef ──▶ ┌─ Header ───────────────────────────────┬─ payload ──────────┐
//!   (counted)   │ vtable · ids · site · joiner's waker … │ future, then output │
//!               └────────────────────────────────────────┴─────────────────────┘
//! ```
//! The header is the same for all tasks, so that the loop can hold tasks of every
//! type in one list; the vtable knows the type. Counts are plain numbers: a task,
//! its handles and its loop belong to one thread.
//!
//! Life of a cell ([`Stage`]):
//! ```text
//!               1 poll (and its end)
//!              ┌───────────────┐
//!              ▼               │ still pending
//!   new ──▶ Waiting ───────▶ Running ──────▶ Finished ──────▶ Empty
//!              │   1 poll       ▲   2 finish            3 take, discard
//!              └────────────────┘
//!                  4 cancel (drops the future instead of polling it)
//! ```
//!
//! Invariants:
//! - **C1** The cell lives as long as a [`TaskRef`] to it; each counts one.
//! - **C2** The payload is the future in Waiting and Running, the output in
//!   Finished, and nothing in Empty.
//! - **C3** Only the functions of the vtable touch the payload, and never two at
//!   a time: in Running, the one that set it (`poll` or `cancel`) has it alone;
//!   every other entrance looks at the stage first.
//! - **C4** The future doesn't move from `new` until it is dropped in place.
//! - **C5** Everything here happens on one thread: `TaskRef` is `!Send`.

#![allow(unsafe_code)] // Type erasure and a union; the invariants are above.

use std::alloc::Layout;
use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, UnsafeCell};
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::blocks;
use super::hook::{contain, report};
use super::id::{TaskId, WakeId};
use super::join_error::{JoinError, Who};
use super::local::Locals;
use super::prefetch::{LINE, prefetch};

/// Where a task is in its life; drawn in the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Waiting,
    Running,
    Finished,
    Empty,
}

/// What the loop knows about a task of any type.
#[repr(C)]
pub(crate) struct Header {
    vtable: &'static VTable,
    id: TaskId,
    wake_id: WakeId,
    site: &'static Location<'static>,
    joiner: Cell<Option<Waker>>,
    extra: Cell<Option<Box<Extra>>>,
    references: Cell<u32>,
    stage: Cell<Stage>,
    /// Somebody may still take the output.
    joinable: Cell<bool>,
    /// To be cancelled instead of polled.
    aborted: Cell<bool>,
}

/// What few tasks have.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) locals: Option<Rc<Locals>>,
    pub(crate) abort_reason: Option<Cow<'static, str>>,
}

struct VTable {
    layout: Layout,
    /// Polls the future; `true` if it is finished. Needs Running.
    poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future and leaves the error as output. Needs Running.
    cancel: unsafe fn(NonNull<Header>, JoinError),
    /// Drops the payload, whatever it is, and reports a panic nobody saw.
    discard: unsafe fn(NonNull<Header>),
}

type Output<F> = Result<<F as Future>::Output, JoinError>;

#[repr(C)]
struct TaskCell<F: Future> {
    header: Header,
    payload: UnsafeCell<Payload<F>>,
}

union Payload<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<Output<F>>,
}

struct VTableOf<F>(F);

impl<F: Future> VTableOf<F> {
    const VTABLE: VTable = VTable {
        layout: Layout::new::<TaskCell<F>>(),
        poll: poll::<F>,
        cancel: cancel::<F>,
        discard: discard::<F>,
    };
}

/// A counted reference to a task of any type.
pub(crate) struct TaskRef(NonNull<Header>);

/// A reference to a task that isn't counted: what the loop polls by.
pub(crate) struct Borrowed(ManuallyDrop<TaskRef>);

impl Borrowed {
    /// # Safety
    /// Some `TaskRef` to the task exists for as long as this does.
    #[inline]
    pub(super) unsafe fn new(task: &TaskRef) -> Borrowed {
        Borrowed(ManuallyDrop::new(TaskRef(task.0)))
    }
}

impl Deref for Borrowed {
    type Target = TaskRef;

    #[inline]
    fn deref(&self) -> &TaskRef {
        &self.0
    }
}

/// A counted reference to a task whose output is a `T`.
///
/// Invariant **C6**: the task's future has the output `T`; `TaskRef::new` is the
/// only maker.
pub(crate) struct TypedTask<T> {
    task: TaskRef,
    _output: PhantomData<*const T>,
}

impl<T> TypedTask<T> {
    #[inline]
    pub(crate) fn task(&self) -> &TaskRef {
        &self.task
    }

    /// Transition 3. `None` unless the task is in Finished.
    #[inline]
    pub(crate) fn take(&self) -> Option<Result<T, JoinError>> {
        // SAFETY: C6.
        unsafe { self.task.take::<T>() }
    }
}

/// What a task begins with.
pub(crate) struct Birth {
    pub(crate) id: TaskId,
    pub(crate) wake_id: WakeId,
    pub(crate) site: &'static Location<'static>,
    pub(crate) joinable: bool,
    pub(crate) extra: Option<Box<Extra>>,
}

impl TaskRef {
    /// Asks for the memory of the header and the beginning of the future.
    #[inline]
    pub(crate) fn prefetch(&self) {
        let header = self.0.as_ptr().cast::<u8>();
        for line in 0..3 {
            prefetch(header.wrapping_add(line * LINE));
        }
    }

    /// Puts `future` into a new cell.
    #[inline]
    pub(crate) fn new<F: Future + 'static>(
        blocks: &mut blocks::Blocks,
        birth: Birth,
        future: F,
    ) -> TypedTask<F::Output> {
        let cell = blocks.take(Layout::new::<TaskCell<F>>());
        let cell = cell.cast::<TaskCell<F>>();
        let header = Header {
            vtable: &VTableOf::<F>::VTABLE,
            id: birth.id,
            wake_id: birth.wake_id,
            site: birth.site,
            joiner: Cell::new(None),
            extra: Cell::new(birth.extra),
            references: Cell::new(1),
            stage: Cell::new(Stage::Waiting),
            joinable: Cell::new(birth.joinable),
            aborted: Cell::new(false),
        };
        let payload = UnsafeCell::new(Payload {
            future: ManuallyDrop::new(future),
        });
        // SAFETY: the block is fresh and has the layout of this very type.
        unsafe { cell.write(TaskCell { header, payload }) };
        // C1: the one reference of `Header::references`.
        TypedTask {
            task: TaskRef(cell.cast()),
            _output: PhantomData,
        }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: C1; the header is never borrowed mutably.
        unsafe { self.0.as_ref() }
    }

    pub(crate) fn id(&self) -> TaskId {
        self.header().id
    }

    #[inline]
    pub(crate) fn wake_id(&self) -> WakeId {
        self.header().wake_id
    }

    pub(crate) fn site(&self) -> &'static Location<'static> {
        self.header().site
    }

    #[inline]
    pub(crate) fn stage(&self) -> Stage {
        self.header().stage.get()
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.stage(), Stage::Finished | Stage::Empty)
    }

    pub(crate) fn is_same(&self, other: &TaskRef) -> bool {
        self.0 == other.0
    }

    #[inline]
    pub(crate) fn has_extra(&self) -> bool {
        let extra = self.header().extra.take();
        let has = extra.is_some();
        self.header().extra.set(extra);
        has
    }

    /// Reads or changes what few tasks have. `f` must not run foreign code: the
    /// task seems to have no extra meanwhile.
    pub(crate) fn with_extra<R>(&self, f: impl FnOnce(&mut Option<Box<Extra>>) -> R) -> R {
        let mut extra = self.header().extra.take();
        let result = f(&mut extra);
        self.header().extra.set(extra);
        result
    }

    pub(crate) fn name(&self) -> Option<Cow<'static, str>> {
        self.with_extra(|extra| extra.as_ref()?.name.clone())
    }

    pub(crate) fn locals(&self) -> Option<Rc<Locals>> {
        self.with_extra(|extra| extra.as_ref()?.locals.clone())
    }

    pub(crate) fn who(&self) -> Who {
        Who {
            id: self.id(),
            name: self.name(),
            site: self.site(),
        }
    }

    /// Marks the task as to be cancelled at its next turn. The first reason
    /// counts. Returns whether there is anything to cancel.
    pub(crate) fn mark_aborted(&self, reason: Cow<'static, str>) -> bool {
        if self.is_finished() || self.header().aborted.replace(true) {
            return false;
        }
        self.with_extra(|extra| extra.get_or_insert_default().abort_reason = Some(reason));
        true
    }

    pub(crate) fn abort_reason(&self) -> Option<Cow<'static, str>> {
        self.with_extra(|extra| extra.as_ref()?.abort_reason.clone())
    }

    fn cancelled_error(&self) -> JoinError {
        let reason = self.abort_reason();
        JoinError::cancelled(self.who(), reason.unwrap_or_else(|| "aborted".into()))
    }

    /// Transition 1, and 2 if that ends the task; transition 4 if it was aborted.
    /// Returns whether it has ended; the joiner is not told yet
    /// ([`settle`](Self::settle)).
    #[inline]
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> bool {
        let header = self.header();
        if header.stage.get() != Stage::Waiting || header.aborted.get() {
            self.cancel();
            return true;
        }
        header.stage.set(Stage::Running);
        // SAFETY: C2 and C3: the stage was Waiting, so the payload is the future
        // and nobody else uses it; from now on others see Running.
        let finished = unsafe { (header.vtable.poll)(self.0, cx) };
        if finished {
            return true; // `finish` has set the stage.
        }
        header.stage.set(Stage::Waiting);
        if header.aborted.get() {
            self.cancel(); // It aborted itself, or was so while it ran.
            return true;
        }
        false
    }

    /// Transition 4, in vain unless the task waits.
    pub(crate) fn cancel(&self) {
        let header = self.header();
        if header.stage.get() != Stage::Waiting {
            return;
        }
        let error = self.cancelled_error();
        header.stage.set(Stage::Running);
        // SAFETY: as in `poll`.
        unsafe { (header.vtable.cancel)(self.0, error) };
    }

    /// After the end: drops the task's locals, and either tells the joiner or,
    /// where there is none, drops the output. Runs foreign code, contained.
    #[inline]
    pub(crate) fn settle(&self) {
        if self.has_extra() {
            let locals = self.with_extra(|extra| extra.as_mut()?.locals.take());
            contain(|| drop(locals));
        }
        let header = self.header();
        if !header.joinable.get() {
            self.discard();
        } else if let Some(waker) = header.joiner.take() {
            contain(|| waker.wake());
        }
    }

    fn discard(&self) {
        // SAFETY: C1 and C5; `discard` looks at the stage itself.
        unsafe { (self.header().vtable.discard)(self.0) }
    }

    /// Who is woken when the task has ended.
    #[inline]
    pub(crate) fn set_joiner(&self, waker: &Waker) {
        let joiner = &self.header().joiner;
        let former = match joiner.take() {
            Some(same) if same.will_wake(waker) => return joiner.set(Some(same)),
            former => former,
        };
        joiner.set(Some(waker.clone()));
        drop(former); // Last: a foreign waker may run any code.
    }

    /// Nobody is going to take the output: the end of a join handle.
    pub(crate) fn detach(&self) {
        let header = self.header();
        header.joinable.set(false);
        drop(header.joiner.take());
        if header.stage.get() == Stage::Finished {
            self.discard();
        }
    }

    /// Transition 3. `None` unless the task is in Finished.
    ///
    /// # Safety
    /// `T` is the output type of the task's future.
    #[inline]
    unsafe fn take<T>(&self) -> Option<Result<T, JoinError>> {
        let header = self.header();
        if header.stage.get() != Stage::Finished {
            return None;
        }
        header.stage.set(Stage::Empty);
        let output = self.output::<T>();
        // SAFETY: C2: it is the output, of type T by the caller's promise, and by
        // the line above nobody reads it again.
        Some(unsafe { output.read() })
    }

    /// Where the output of a task is that gives `T`.
    fn output<T>(&self) -> NonNull<Result<T, JoinError>> {
        // The payload of every future with this output begins at an offset that
        // depends on the future's alignment, which the layout tells.
        let align = self.header().vtable.layout.align();
        let offset = size_of::<Header>().next_multiple_of(align);
        // SAFETY: within the cell, see `output_is_where_the_payload_is`.
        unsafe { self.0.cast::<u8>().add(offset) }.cast()
    }
}

impl Clone for TaskRef {
    #[inline]
    fn clone(&self) -> TaskRef {
        let references = &self.header().references;
        // Cannot overflow: a task has one reference in the slab, and each handle
        // holds 8 bytes of memory.
        references.set(references.get() + 1);
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        let references = &self.header().references;
        let left = references.get() - 1;
        references.set(left);
        if left == 0 {
            self.free();
        }
    }
}

impl TaskRef {
    #[inline]
    fn free(&mut self) {
        let header = self.header();
        if header.stage.get() != Stage::Empty {
            // A destructor in the payload might make and drop references again,
            // so it runs with one reference held.
            header.references.set(1);
            self.discard();
            self.header().references.set(0);
        }
        let layout = self.header().vtable.layout;
        // SAFETY: C1: that was the last reference, so the header is dropped once.
        unsafe { ptr::drop_in_place(self.0.as_ptr()) };
        // SAFETY: the block came from `Blocks::take` with this layout, and its
        // contents are gone.
        unsafe { blocks::give_back(self.0.cast(), layout) };
    }
}

/// # Safety
/// `task` is a cell of an `F`, in Running, and the caller alone uses its payload.
#[inline]
unsafe fn payload<F: Future>(task: NonNull<Header>) -> *mut Payload<F> {
    let cell = task.cast::<TaskCell<F>>();
    // SAFETY: the caller says that it is such a cell; the whole cell was one
    // allocation, of which `task` is the beginning.
    UnsafeCell::raw_get(unsafe { &raw const (*cell.as_ptr()).payload })
}

/// # Safety
/// As [`payload`]; the payload is the future.
unsafe fn poll<F: Future>(task: NonNull<Header>, cx: &mut Context<'_>) -> bool {
    // SAFETY: passed on.
    let payload = unsafe { payload::<F>(task) };
    // SAFETY: C2, and C3 for the exclusive borrow.
    let future: &mut F = unsafe { &mut (*payload).future };
    // SAFETY: C4.
    let future = unsafe { Pin::new_unchecked(future) };
    let result = match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
        Ok(Poll::Pending) => return false,
        Ok(Poll::Ready(output)) => Ok(output),
        Err(panic) => Err(panic),
    };
    // SAFETY: passed on.
    unsafe { finish::<F>(task, result.map_err(Failure::Panic)) };
    true
}

enum Failure {
    Panic(Box<dyn Any + Send>),
    Cancelled(JoinError),
}

/// # Safety
/// As [`poll`].
unsafe fn cancel<F: Future>(task: NonNull<Header>, error: JoinError) {
    // SAFETY: passed on.
    unsafe { finish::<F>(task, Err(Failure::Cancelled(error))) };
}

/// Transition 2: drops the future and leaves `result` in its place. If that
/// destructor panics, the joiner is told of the (first) panic.
///
/// # Safety
/// As [`poll`].
#[inline(never)] // Few polls come here, and it would burden the frame of all.
unsafe fn finish<F: Future>(task: NonNull<Header>, result: Result<F::Output, Failure>) {
    // SAFETY: passed on.
    let payload = unsafe { payload::<F>(task) };
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: C2; it isn't used again, also if its destructor panics.
        unsafe { ManuallyDrop::drop(&mut (*payload).future) }
    }));
    let who = || {
        // A borrowed reference: it must not count down.
        let task = ManuallyDrop::new(TaskRef(task));
        task.who()
    };
    let output = match (result, dropped) {
        (Ok(output), Ok(())) => Ok(output),
        (Err(Failure::Cancelled(error)), Ok(())) => Err(error),
        (Err(Failure::Panic(first)), dropped) => {
            contain(|| drop(dropped));
            Err(JoinError::panic(who(), first))
        }
        (result, Err(panic)) => {
            contain(|| drop(result.ok()));
            Err(JoinError::panic(who(), panic))
        }
    };
    // SAFETY: the place is unused since the future was dropped.
    unsafe { (*payload).output = ManuallyDrop::new(output) };
    // SAFETY: a cell begins with its header.
    let header = unsafe { task.as_ref() };
    header.stage.set(Stage::Finished);
}

/// # Safety
/// `task` is a cell of an `F`.
unsafe fn discard<F: Future>(task: NonNull<Header>) {
    // SAFETY: a cell begins with its header.
    let header = unsafe { task.as_ref() };
    match header.stage.get() {
        Stage::Waiting => {
            header.stage.set(Stage::Running); // C3
            // SAFETY: the stage was Waiting.
            let payload = unsafe { payload::<F>(task) };
            contain(|| {
                // SAFETY: C2; the stage goes to Empty next.
                unsafe { ManuallyDrop::drop(&mut (*payload).future) }
            });
            header.stage.set(Stage::Empty);
        }
        Stage::Finished => {
            header.stage.set(Stage::Empty); // C3
            // SAFETY: the stage was Finished.
            let payload = unsafe { payload::<F>(task) };
            // SAFETY: C2; by the stage nobody reads it again.
            let output = unsafe { ManuallyDrop::take(&mut (*payload).output) };
            match output {
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

    #[repr(align(64))]
    struct Aligned(#[allow(dead_code)] u8);

    /// What [`TaskRef::output`] reckons.
    #[test]
    fn output_is_where_the_payload_is() {
        fn check<F: Future>(_: F) {
            let align = align_of::<TaskCell<F>>();
            let payload = std::mem::offset_of!(TaskCell<F>, payload);
            assert_eq!(payload, size_of::<Header>().next_multiple_of(align));
        }
        check(async { 1_u8 });
        check(async { Aligned(1) });
        let aligned = Aligned(2);
        check(async move {
            std::future::pending::<()>().await;
            drop(aligned);
        });
    }

    #[test]
    fn a_task_that_does_nothing_fits_into_a_small_block() {
        assert_eq!(size_of::<Header>(), 64);
        assert_eq!(size_of::<TaskCell<std::future::Pending<()>>>(), 72);
    }
}
