//! Jobs: what `spawn`, `scope` and `broadcast` put into the queues.
//!
//! A queue holds [`JobRef`]s of four words: what to call, and three words for it.
//! A closure that fits into these lies in the queue itself and costs no allocation;
//! a larger one lies in a box. A job with a handle is one allocation, which queue
//! and handle share. Before this: `completion.rs`. After it: `handle.rs` and
//! `scope.rs`.
//!
//! A panic ends the job, not its thread: it is caught where the closure is called.
//! With a handle it is the handle's error; without one (`spawn_detached`) it goes to
//! the pool's `on_panic` hook. What `scope` and `join` do with one stands in their
//! files: both wait for what they have begun, then pass it on to their caller.
//!
//! Rejected: one word in the queue and the closure in a block of its own, recycled
//! by size class. `malloc` took two thirds of a job's instructions; a recycled block
//! still has to be found, linked and unlinked, and one that is allocated by one
//! thread and freed by another must come back, by a protocol between them. Four
//! words are copied in a nanosecond, and the queue's memory is there anyway.
#![allow(unsafe_code)] // Closures behind untyped words; one allocation, two owners.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use crate::error::JobError;
use crate::switch::UnsafeCell;
use crate::thread::completion::Completion;
use crate::thread::deque_model::Word;
use crate::thread::seat::Seat;
use threeply_runtime::inspect::JobId;
use threeply_runtime::trace::{Kind, emit, is_on};

/// Work in a queue: run once, or discarded once.
///
/// # Safety
/// The word of it that `ADDRESS_AT` names is an address, when it lies in memory.
pub unsafe trait Task: Send + Sized {
    /// Which word is the address of an allocation of its own, for traces.
    const ADDRESS_AT: Option<usize> = None;
    /// Runs it on `seat`'s thread. Must not panic.
    fn run(self, seat: &Seat);
    /// Drops it, not run: the pool was shut down.
    fn discard(self);
}

/// A task of a scope.
///
/// # Safety
/// Its first word, when it lies in memory, is the address of its scope.
pub unsafe trait ScopedTask: Task {}

/// A task's words in the queue: the task itself, or the box that holds it.
type Words = [MaybeUninit<*mut ()>; 3];

/// Does a `T` fit into the words of a [`JobRef`]?
const fn fits<T>() -> bool {
    size_of::<T>() <= size_of::<Words>() && align_of::<T>() <= align_of::<Words>()
}

/// Shall a `T` lie in the queue? While a trace is taken each job gets a box, whose
/// address tells it from all others.
#[inline(always)]
pub fn lies_in_queue<T>() -> bool {
    fits::<T>() && !is_on()
}

struct VTable {
    run: unsafe fn(*const Words, &Seat),
    discard: unsafe fn(*const Words),
    /// Is the first word the address of the job's scope?
    scoped: bool,
    address_at: Option<usize>,
}

/// The one reference of a queue to a job.
///
/// Invariants:
/// - **Q1** `words` begins with a value of the type that `vtable` was made for.
/// - **Q2** That value is taken out once: by [`run`](Self::run) or
///   [`discard`](Self::discard), which consume the reference. A queue may copy the
///   bytes (a thief that loses a race throws its copy away), but hands out one.
#[must_use = "a job that is neither run nor discarded is leaked"]
pub struct JobRef {
    vtable: &'static VTable,
    words: Words,
}

impl std::fmt::Debug for JobRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobRef")
            .field("tag", &self.tag())
            .finish_non_exhaustive()
    }
}

// SAFETY: it stands for a `Task`, which is `Send`, and is used once (Q2).
unsafe impl Send for JobRef {}

/// For models only, which store words.
impl Word for JobRef {
    fn into_word(self) -> usize {
        Box::into_raw(Box::new(self)).expose_provenance()
    }
    fn from_word(word: usize) -> Self {
        // SAFETY: made by `into_word`, and the model deque hands a word out once.
        *unsafe { Box::from_raw(std::ptr::with_exposed_provenance_mut(word)) }
    }
}

/// The functions of jobs that hold a `T`.
struct Holding<T>(PhantomData<T>);

impl<T: Task> Holding<T> {
    const PLAIN: &'static VTable = &Self::vtable(false);
    const SCOPED: &'static VTable = &Self::vtable(true);

    const fn vtable(scoped: bool) -> VTable {
        VTable {
            run: Self::run,
            discard: Self::discard,
            scoped,
            address_at: T::ADDRESS_AT,
        }
    }

    unsafe fn run(words: *const Words, seat: &Seat) {
        // SAFETY: Q1 with `T`; Q2.
        let task = unsafe { words.cast::<T>().read() };
        task.run(seat);
    }

    unsafe fn discard(words: *const Words) {
        // SAFETY: as in `run`.
        let task = unsafe { words.cast::<T>().read() };
        task.discard();
    }
}

// SAFETY: a box of a sized type is one word, an address.
unsafe impl<T: Task> Task for Box<T> {
    const ADDRESS_AT: Option<usize> = Some(0);

    fn run(self, seat: &Seat) {
        (*self).run(seat);
    }

    fn discard(self) {
        (*self).discard();
    }
}

impl JobRef {
    /// A job without a handle.
    ///
    /// # Safety
    /// What the task borrows outlives its run or discard.
    #[inline(always)] // see `Seat::push_job`
    pub unsafe fn of_task<T: Task>(task: T) -> Self {
        if lies_in_queue::<T>() || (fits::<T>() && T::ADDRESS_AT.is_some()) {
            Self::holding(Holding::<T>::PLAIN, task)
        } else {
            Self::holding(Holding::<Box<T>>::PLAIN, Box::new(task))
        }
    }

    /// A job of a scope. The task must fit into three words.
    ///
    /// # Safety
    /// As of [`of_task`](Self::of_task).
    #[inline(always)] // see `Seat::push_job`
    pub unsafe fn of_scoped_task<T: ScopedTask>(task: T) -> Self {
        Self::holding(Holding::<T>::SCOPED, task)
    }

    /// `vtable` is of `Holding<T>` (Q1).
    #[inline(always)] // see `Seat::push_job`
    fn holding<T>(vtable: &'static VTable, task: T) -> Self {
        assert!(fits::<T>(), "a task is larger than its place in the queue");
        let mut words: Words = [MaybeUninit::uninit(); 3];
        // SAFETY: it fits, by size and alignment.
        unsafe { words.as_mut_ptr().cast::<T>().write(task) };
        Self { vtable, words }
    }

    /// What a trace knows it by: the address of its allocation, or 0 if it has none.
    pub fn address(&self) -> u64 {
        let Some(at) = self.vtable.address_at else {
            return 0;
        };
        // SAFETY: by the contract of `Task::ADDRESS_AT` that word is an address.
        unsafe { self.words[at].assume_init() }.addr() as u64
    }

    /// The tag of the job's scope, which is its address, or 0.
    pub fn tag(&self) -> usize {
        if !self.vtable.scoped {
            return 0;
        }
        // SAFETY: by the contract of `ScopedTask` the first word is an address.
        unsafe { self.words[0].assume_init() }.addr()
    }

    /// Runs the job. Doesn't panic.
    pub fn run(self, seat: &Seat) {
        let address = self.address();
        emit(Kind::JobRun, line!(), address, seat.lane.index() as u64);
        // SAFETY: Q1, Q2.
        unsafe { (self.vtable.run)(&raw const self.words, seat) }
        emit(Kind::JobRunEnd, line!(), address, 0);
    }

    /// Drops the job; a handle is told that the pool is closed.
    pub fn discard(self) {
        // SAFETY: Q1, Q2.
        unsafe { (self.vtable.discard)(&raw const self.words) }
    }
}

/// A job that nobody waits for: its panic goes to the pool's hook.
struct Detached<F>(F);

// SAFETY: it names no word.
unsafe impl<F: FnOnce() + Send> Task for Detached<F> {
    fn run(self, seat: &Seat) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(self.0)) {
            seat.registry.panicked(JobError::panicked(panic));
        }
    }

    fn discard(self) {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(self.0)));
    }
}

/// A job without a handle, of work that borrows nothing.
#[inline(always)] // see `Seat::push_job`
pub fn detached(work: impl FnOnce() + Send + 'static) -> JobRef {
    // SAFETY: `'static`: it borrows nothing.
    unsafe { JobRef::of_task(Detached(work)) }
}

/// What the handle of a spawned job needs to know of its closure.
struct SpawnedVTable {
    perform: unsafe fn(NonNull<()>),
    drop_work: unsafe fn(NonNull<()>),
    free: unsafe fn(NonNull<()>),
}

/// What of the allocation doesn't depend on the closure's type.
#[repr(C)]
struct Core<T> {
    spawned: &'static SpawnedVTable,
    completion: Completion<T>,
}

#[repr(C)]
struct Spawned<F, T> {
    core: Core<T>,
    /// Belongs to whoever claimed (K3).
    work: UnsafeCell<Option<F>>,
}

/// The queue's side of a spawned job.
struct QueueSide<F, T>(NonNull<Spawned<F, T>>);

// SAFETY: the closure and the result are `Send`; who touches them when, K1 to K3 say.
unsafe impl<F: Send, T: Send> Send for QueueSide<F, T> {}

// SAFETY: it is one word, an address.
unsafe impl<F, T> Task for QueueSide<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    const ADDRESS_AT: Option<usize> = Some(0);

    fn run(self, seat: &Seat) {
        // SAFETY: alive until the queue's side is released.
        let completion = &unsafe { self.0.as_ref() }.core.completion;
        if !completion.claim_from_queue() {
            if completion.release_queue() {
                // SAFETY: both sides are released.
                unsafe { Spawned::<F, T>::free(self.0.cast()) };
            }
            return;
        }
        let outer = seat.lane.job.replace(self.0.addr().get());
        // SAFETY: as above.
        let outcome = unsafe { self.0.as_ref() }.call();
        seat.lane.job.set(outer);
        let (free, unseen) = completion.finish_run(outcome);
        if let Some(JobError::Panicked(_)) = &unseen {
            seat.registry.panicked(unseen.expect("just seen"));
        }
        if free {
            // SAFETY: both sides are released.
            unsafe { Spawned::<F, T>::free(self.0.cast()) };
        }
    }

    fn discard(self) {
        // SAFETY: as in `run`.
        let this = unsafe { self.0.as_ref() };
        if this.core.completion.claim() {
            this.drop_closure();
            this.core.completion.complete(Err(JobError::Closed));
        }
        if this.core.completion.release_queue() {
            // SAFETY: both sides are released.
            unsafe { Spawned::<F, T>::free(self.0.cast()) };
        }
    }
}

impl<F, T> Spawned<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    const SPAWNED: &'static SpawnedVTable = &SpawnedVTable {
        perform: Self::perform,
        drop_work: Self::drop_work,
        free: Self::free,
    };

    unsafe fn perform(job: NonNull<()>) {
        // SAFETY: the caller is the handle, whose side isn't released.
        let this = unsafe { job.cast::<Self>().as_ref() };
        this.core.completion.complete(this.call());
    }

    unsafe fn drop_work(job: NonNull<()>) {
        // SAFETY: as in `perform`.
        unsafe { job.cast::<Self>().as_ref() }.drop_closure();
    }

    unsafe fn free(job: NonNull<()>) {
        // SAFETY: it was leaked from a box of this type, and nobody refers to it
        // any more.
        drop(unsafe { Box::from_raw(job.cast::<Self>().as_ptr()) });
    }

    /// Runs the closure; only for the one that claimed.
    fn call(&self) -> Result<T, JobError> {
        // SAFETY: K3.
        let work = self.work.with_mut(|work| unsafe { (*work).take() });
        let work = work.expect("K3: a job is claimed once");
        catch_unwind(AssertUnwindSafe(work)).map_err(JobError::panicked)
    }

    /// Drops the closure; only for the one that claimed. A panic of its drop has
    /// nobody to go to.
    fn drop_closure(&self) {
        // SAFETY: K3.
        let work = self.work.with_mut(|work| unsafe { (*work).take() });
        let _ = catch_unwind(AssertUnwindSafe(|| drop(work)));
    }
}

/// The handle's side of a spawned job.
#[derive(Debug)]
pub struct SpawnedRef<T> {
    job: NonNull<Core<T>>,
    owns: PhantomData<T>,
}

// SAFETY: it gives access to a `Completion<T>` and to closures that are `Send`.
unsafe impl<T: Send> Send for SpawnedRef<T> {}
// SAFETY: by `&` it claims, which is won once, and looks; it hands out `T` only
// by `&mut`.
unsafe impl<T: Send> Sync for SpawnedRef<T> {}

/// A job and its handle, of work that borrows nothing.
pub fn spawned_static<F, T>(work: F) -> (JobRef, SpawnedRef<T>)
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // SAFETY: `'static`: it borrows nothing.
    unsafe { spawned(work) }
}

/// A job and its handle.
///
/// # Safety
/// What `work` borrows outlives the job: until the handle has seen it complete,
/// or for ever.
pub unsafe fn spawned<F, T>(work: F) -> (JobRef, SpawnedRef<T>)
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let job = Box::new(Spawned {
        core: Core {
            spawned: Spawned::<F, T>::SPAWNED,
            completion: Completion::<T>::new(),
        },
        work: UnsafeCell::new(Some(work)),
    });
    let job = NonNull::from(Box::leak(job));
    // `Spawned` begins with `Core`.
    let handle = SpawnedRef {
        job: job.cast(),
        owns: PhantomData,
    };
    // SAFETY: what it borrows outlives it, by our own contract.
    (unsafe { JobRef::of_task(QueueSide(job)) }, handle)
}

impl<T> SpawnedRef<T> {
    /// The job's state.
    pub fn completion(&self) -> &Completion<T> {
        // SAFETY: alive until our side is released, in `drop`.
        &unsafe { self.job.as_ref() }.completion
    }

    /// The job's name in dumps.
    pub fn id(&self) -> JobId {
        JobId(self.job.addr().get())
    }

    fn spawned(&self) -> &'static SpawnedVTable {
        // SAFETY: as in `completion`.
        unsafe { self.job.as_ref() }.spawned
    }

    /// Ends the job before it starts; false if it has started or ended.
    pub fn cancel(&self, why: JobError) -> bool {
        if !self.completion().claim() {
            return false;
        }
        let drop_work = self.spawned().drop_work;
        // SAFETY: our side isn't released, and we claimed.
        unsafe { drop_work(self.job.cast()) };
        self.completion().complete(Err(why));
        true
    }

    /// Runs the job here, if nobody has started it.
    pub fn run_here(&self) -> bool {
        if !self.completion().claim() {
            return false;
        }
        let perform = self.spawned().perform;
        // SAFETY: our side isn't released, and we claimed.
        unsafe { perform(self.job.cast()) };
        true
    }
}

impl<T> Drop for SpawnedRef<T> {
    fn drop(&mut self) {
        let free = self.spawned().free;
        if self.completion().release_handle() {
            // SAFETY: both sides are released.
            unsafe { free(self.job.cast()) };
        }
    }
}
