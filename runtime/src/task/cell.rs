//! One task in one allocation: its future, and later, in the same place, its
//! output.
//!
//! *Read after* [`super::id`] and `waker`; *next* `erased` (the functions behind the
//! vtable), [`super::slab`] (where the loop keeps its tasks) and [`super::join`]
//! (who takes the output).
//!
//! ```text
//!   TaskRef ──▶ ┌─ Header, 40 bytes ─────────────────────┬─ payload ───────────┐
//!   (counted)   │ vtable · ids · joiner · site · state   │ future, then output │
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
//! - **C6** The header's `rare` is a pointer from `Box::into_raw`, which belongs to
//!   the task, while the state says EXTRA, and a number that is no pointer
//!   otherwise.

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
use super::site::Site;
use super::state::State;
use super::waker::{id_of, waker};

pub(crate) use super::state::Stage;

/// What the loop knows about a task of any type.
///
/// Every task pays for this, so what few tasks have is elsewhere: most tasks are
/// joined by a task of ours, whose waker is a number, and have no name, no locals
/// and no reason to be aborted for. So one word holds the joiner's number, or else
/// the address of all of that.
#[repr(C)]
pub(crate) struct Header {
    vtable: &'static VTable,
    id: TaskId,
    wake_id: WakeId,
    /// C6: the number of the task that joins, 0 if none does; or an [`Extra`].
    rare: Cell<*mut Extra>,
    site: Site,
    state: State,
}

impl Header {
    /// Of a new task, which has one reference.
    #[inline]
    pub(super) fn new(vtable: &'static VTable, birth: Birth) -> Header {
        let site = Site::of(birth.site);
        let header = Header {
            vtable,
            id: birth.id,
            wake_id: birth.wake_id,
            rare: Cell::new(ptr::null_mut()),
            site,
            state: State::new(birth.joinable),
        };
        match birth.extra {
            None if !site.is_far() => {}
            extra => header.add_extra(extra.unwrap_or_default(), birth.site),
        }
        header
    }

    #[cold]
    fn add_extra(&self, mut extra: Box<Extra>, site: &'static Location<'static>) {
        extra.far_site = self.site.is_far().then_some(site);
        self.set_extra(extra);
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Nobody joins.
    fn set_extra(&self, extra: Box<Extra>) {
        debug_assert!(!self.state.has_extra());
        self.state.set_extra(true, extra.locals.is_some());
        self.rare.set(Box::into_raw(extra));
    }

    /// Takes what few tasks have; a joiner that is a number stays.
    fn take_extra(&self) -> Option<Box<Extra>> {
        if !self.state.has_extra() {
            return None;
        }
        self.state.set_extra(false, false);
        let extra = self.rare.replace(ptr::null_mut());
        // SAFETY: C6: the state said EXTRA, and does so no more.
        Some(unsafe { Box::from_raw(extra) })
    }

    /// The number in place of an extra; 0 is no task.
    #[inline]
    fn joiner_id(&self) -> Option<WakeId> {
        let id = self.rare.get().addr() as u64;
        (!self.state.has_extra() && id != 0).then_some(WakeId(id))
    }

    #[inline]
    fn set_joiner_id(&self, id: Option<WakeId>) {
        debug_assert!(!self.state.has_extra());
        let id = id.map_or(0, |id| id.0 as usize);
        self.rare.set(ptr::without_provenance_mut(id));
    }
}

/// What few tasks have.
#[derive(Default)]
pub(crate) struct Extra {
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) locals: Option<Rc<Locals>>,
    pub(crate) abort_reason: Option<Cow<'static, str>>,
    /// Who is woken at the end, where the header has no room for a number.
    joiner: Option<Waker>,
    /// Where the task was spawned, if that has no short name.
    far_site: Option<&'static Location<'static>>,
}

impl Extra {
    pub(crate) fn named(name: Cow<'static, str>) -> Box<Extra> {
        let name = Some(name);
        Box::new(Extra {
            name,
            ..Extra::default()
        })
    }
}

/// What the type of a task's future is needed for; made in [`super::erased`].
pub(super) struct VTable {
    pub(super) layout: Layout,
    /// Where in the cell the future is, and after that its output.
    pub(super) payload: usize,
    /// The size class of its blocks, if such blocks are kept.
    pub(super) class: Option<usize>,
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
/// Invariant **C7**: the task's future has the output `T`.
pub(crate) struct TypedTask<T> {
    task: TaskRef,
    _output: PhantomData<*const T>,
}

impl<T> TypedTask<T> {
    /// # Safety
    /// C7.
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
        // SAFETY: C7.
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
        let near = self.header().site.get();
        let site = near.or_else(|| self.with_extra(|extra| extra.far_site).flatten());
        site.expect("far sites are kept in the extra")
    }

    #[inline]
    pub(crate) fn stage(&self) -> Stage {
        self.header().state.stage()
    }

    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.stage(), Stage::Finished | Stage::Empty)
    }

    pub(crate) fn is_same(&self, other: &TaskRef) -> bool {
        self.0 == other.0
    }

    /// Reads or changes what few tasks have, if this one has it. `f` must not run
    /// foreign code: the task seems to have none of it meanwhile.
    pub(crate) fn with_extra<R>(&self, f: impl FnOnce(&mut Extra) -> R) -> Option<R> {
        let header = self.header();
        let mut extra = header.take_extra()?;
        let result = f(&mut extra);
        header.set_extra(extra);
        Some(result)
    }

    /// As [`with_extra`](Self::with_extra), and gives the task one if it has none.
    pub(crate) fn with_new_extra<R>(&self, f: impl FnOnce(&mut Extra) -> R) -> R {
        let header = self.header();
        let mut extra = header.take_extra().unwrap_or_else(|| {
            let joiner = header.joiner_id().map(waker);
            Box::new(Extra {
                joiner: joiner.map(ManuallyDrop::into_inner),
                ..Extra::default()
            })
        });
        let result = f(&mut extra);
        header.set_extra(extra);
        result
    }

    pub(crate) fn name(&self) -> Option<Cow<'static, str>> {
        self.with_extra(|extra| extra.name.clone())?
    }

    /// `None` at the cost of one test for the tasks that have none.
    #[inline]
    pub(crate) fn locals(&self) -> Option<Rc<Locals>> {
        if !self.header().state.has_locals() {
            return None;
        }
        self.with_extra(|extra| extra.locals.clone())?
    }

    /// Takes the task-locals away, to be dropped.
    #[inline]
    pub(crate) fn take_locals(&self) -> Option<Rc<Locals>> {
        if !self.header().state.has_locals() {
            return None;
        }
        self.with_extra(|extra| extra.locals.take())?
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
        if self.is_finished() || self.header().state.mark_aborted() {
            return false;
        }
        self.with_new_extra(|extra| extra.abort_reason = Some(reason));
        true
    }

    pub(crate) fn abort_reason(&self) -> Option<Cow<'static, str>> {
        self.with_extra(|extra| extra.abort_reason.clone())?
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
        if !header.state.begin_poll() {
            self.cancel_out_of_line();
            return true;
        }
        // SAFETY: C2 and C3: the stage was Waiting, so the payload is the future
        // and nobody else uses it; from now on others see Running.
        let finished = unsafe { (header.vtable.poll)(self.0, cx) };
        if finished {
            return true; // `finish` has set the stage.
        }
        if !header.state.end_poll() {
            self.cancel_out_of_line(); // It aborted itself, or was so while it ran.
            return true;
        }
        false
    }

    /// By value, so that the reference that polls can stay in a register.
    #[inline(always)]
    fn cancel_out_of_line(&self) {
        #[cold]
        #[inline(never)]
        fn cancel(task: ManuallyDrop<TaskRef>) {
            task.cancel();
        }
        // Not counted: it is gone before `self` is.
        cancel(ManuallyDrop::new(TaskRef(self.0)));
    }

    /// Transition 4, in vain unless the task waits.
    pub(crate) fn cancel(&self) {
        let header = self.header();
        if header.state.stage() != Stage::Waiting {
            return;
        }
        let error = self.cancelled_error();
        header.state.set_stage(Stage::Running);
        // SAFETY: as in `poll`.
        unsafe { (header.vtable.cancel)(self.0, error) };
    }

    /// After the end: drops the task's locals, and either tells the joiner or,
    /// where there is none, drops the output. Runs foreign code, contained. A joiner
    /// of ours is woken by `wake`.
    #[inline]
    pub(crate) fn settle(&self, wake: impl FnOnce(WakeId)) {
        let header = self.header();
        if !header.state.is_plain_and_joinable() {
            return self.settle_otherwise();
        }
        // An extra there isn't, so this is a number; 0 is no task.
        let joiner = header.rare.replace(ptr::null_mut()).addr() as u64;
        if joiner != 0 {
            wake(WakeId(joiner));
        }
    }

    #[cold]
    #[inline(never)]
    fn settle_otherwise(&self) {
        if let Some(locals) = self.take_locals() {
            contain(|| drop(locals));
        }
        if !self.header().state.is_joinable() {
            self.discard();
        } else if let Some(waker) = self.take_joiner() {
            contain(|| waker.wake());
        }
    }

    /// The joiner that is kept as a waker.
    fn take_joiner(&self) -> Option<Waker> {
        self.with_extra(|extra| extra.joiner.take())?
    }

    fn discard(&self) {
        // SAFETY: C1 and C5; `discard` looks at the stage itself.
        unsafe { (self.header().vtable.discard)(self.0) }
    }

    /// Who is woken when the task has ended.
    #[inline]
    pub(crate) fn set_joiner(&self, waker: &Waker) {
        let header = self.header();
        match id_of(waker) {
            Some(id) if !header.state.has_extra() => header.set_joiner_id(Some(id)),
            _ => self.set_joiner_elsewhere(waker),
        }
    }

    /// For a foreign waker, or where the header's word is in use.
    #[inline(never)]
    fn set_joiner_elsewhere(&self, waker: &Waker) {
        let same = |extra: &mut Extra| extra.joiner.as_ref().is_some_and(|j| j.will_wake(waker));
        if self.with_extra(same) == Some(true) {
            return;
        }
        let waker = waker.clone(); // Not within: a foreign one may run any code.
        let former = self.with_new_extra(|extra| extra.joiner.replace(waker));
        drop(former); // Likewise.
    }

    /// The data word of the waker of whoever waits for the end of this task.
    pub(crate) fn joiner(&self) -> Option<usize> {
        let kept = || self.with_extra(|extra| Some(extra.joiner.as_ref()?.data().addr()))?;
        let id = self.header().joiner_id();
        id.map(|id| id.0 as usize).or_else(kept)
    }

    /// Nobody is going to take the output: the end of a join handle.
    #[inline]
    pub(crate) fn detach(&self) {
        let header = self.header();
        // Joined, which is how most handles end.
        if header.state.stage() != Stage::Empty {
            self.detach_unjoined();
        }
    }

    #[inline(never)]
    fn detach_unjoined(&self) {
        let header = self.header();
        header.state.detach();
        if header.state.has_extra() {
            drop(self.take_joiner());
        } else {
            header.set_joiner_id(None);
        }
        if header.state.stage() == Stage::Finished {
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
        if header.state.stage() != Stage::Finished {
            return None;
        }
        header.state.set_stage(Stage::Empty);
        let output = self.output::<T>();
        // SAFETY: C2: it is the output, of type T by the caller's promise, and by
        // the line above nobody reads it again.
        Some(unsafe { output.read() })
    }

    /// Where the output of a task is that gives `T`.
    fn output<T>(&self) -> NonNull<Result<T, JoinError>> {
        let offset = self.header().vtable.payload;
        // SAFETY: within the cell: the vtable is that of its very type.
        unsafe { self.0.byte_add(offset) }.cast()
    }
}

impl Clone for TaskRef {
    #[inline]
    fn clone(&self) -> TaskRef {
        self.header().state.add_reference();
        TaskRef(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
    fn drop(&mut self) {
        if self.header().state.drop_reference() {
            self.free();
        }
    }
}

impl TaskRef {
    #[inline(never)] // So that dropping any other reference is three instructions.
    fn free(&mut self) {
        if !self.header().state.is_plain_and_empty() {
            self.empty();
        }
        let (layout, class) = (self.header().vtable.layout, self.header().vtable.class);
        // SAFETY: the block came from `Blocks::take` with this layout, that was the
        // last reference (C1), and what was in it is gone: the header itself needs
        // no destructor.
        unsafe { blocks::give_back(self.0.cast(), layout, class) };
    }

    /// The end of a task that nobody has joined, or that has an extra.
    #[inline(never)]
    fn empty(&mut self) {
        let header = self.header();
        if header.state.stage() != Stage::Empty {
            // A destructor in the payload might make and drop references again,
            // so it runs with one reference held.
            header.state.add_reference();
            self.discard();
            self.header().state.drop_reference();
        }
        if self.header().state.has_extra() {
            drop(self.header().take_extra());
        }
    }
}
