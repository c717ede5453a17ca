//! One task in one allocation: its future, and later, in the same place, its
//! output.
//!
//! *Read after* [`super::id`] and `waker`; *next* `erased` (the functions behind the
//! vtable), [`super::slab`] (where the loop keeps its tasks) and [`super::join`]
//! (who takes the output).
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
use std::borrow::Cow;
use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::task::{Context, Waker};

use super::blocks;
use super::hook::contain;
use super::id::{TaskId, WakeId};
use super::join_error::{JoinError, Who};
use super::local::Locals;
use super::prefetch::{LINE, prefetch};
use super::waker::id_of;

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

impl Header {
    /// Of a new task, which has one reference.
    #[inline]
    pub(super) fn new(vtable: &'static VTable, birth: Birth) -> Header {
        Header {
            vtable,
            id: birth.id,
            wake_id: birth.wake_id,
            site: birth.site,
            joiner: Cell::new(None),
            extra: Cell::new(birth.extra),
            references: Cell::new(1),
            stage: Cell::new(Stage::Waiting),
            joinable: Cell::new(birth.joinable),
            aborted: Cell::new(false),
        }
    }

    pub(super) fn stage(&self) -> &Cell<Stage> {
        &self.stage
    }
}

/// What few tasks have.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) locals: Option<Rc<Locals>>,
    pub(crate) abort_reason: Option<Cow<'static, str>>,
}

/// What the type of a task's future is needed for; made in [`super::erased`].
pub(super) struct VTable {
    pub(super) layout: Layout,
    /// Polls the future; `true` if it is finished. Needs Running.
    pub(super) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future and leaves the error as output. Needs Running.
    pub(super) cancel: unsafe fn(NonNull<Header>, JoinError),
    /// Drops the payload, whatever it is, and reports a panic nobody saw.
    pub(super) discard: unsafe fn(NonNull<Header>),
}

/// A counted reference to a task of any type.
pub(crate) struct TaskRef(pub(super) NonNull<Header>);

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
/// Invariant **C6**: the task's future has the output `T`.
pub(crate) struct TypedTask<T> {
    task: TaskRef,
    _output: PhantomData<*const T>,
}

impl<T> TypedTask<T> {
    /// # Safety
    /// C6.
    #[inline]
    pub(super) unsafe fn new(task: TaskRef) -> TypedTask<T> {
        TypedTask {
            task,
            _output: PhantomData,
        }
    }

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

    #[inline]
    pub(super) fn header(&self) -> &Header {
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

    /// The task that waits for the end of this one, if it is one of ours.
    pub(crate) fn joiner(&self) -> Option<WakeId> {
        let joiner = self.header().joiner.take();
        let id = joiner.as_ref().and_then(id_of);
        self.header().joiner.set(joiner);
        id
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
        // SAFETY: within the cell, see the test of that name in
        // `erased`: `output_is_where_the_payload_is`.
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
