//! Jobs: what `spawn`, `scope` and `broadcast` put into the queues.
//!
//! A queue holds [`JobRef`]s, one word each, so that crossbeam's deques can hold
//! them. Before this: `completion.rs`. After it: `handle.rs` and `scope.rs`.
#![allow(unsafe_code)] // One allocation behind two references of different types.

use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use crate::error::JobError;
use crate::switch::UnsafeCell;
use crate::thread::completion::Completion;
use crate::thread::deque_model::Word;
use crate::thread::registry::Seat;
use threeply_runtime::trace::{Kind, emit};

/// Work in a queue: run once, or discarded once.
pub trait Task: Send + Sized {
    /// Runs it on `seat`'s thread. Must not panic.
    fn run(self, seat: &Seat);
    /// Drops it, not run: the pool was shut down.
    fn discard(self);
}

struct VTable {
    run: unsafe fn(NonNull<Header>, &Seat),
    discard: unsafe fn(NonNull<Header>),
}

struct Header {
    vtable: &'static VTable,
    /// The tag of the job's scope, or 0.
    tag: usize,
}

/// The one reference of a queue to a job.
///
/// Invariants:
/// - **Q1** It points to an allocation that begins with a `Header`, whose vtable
///   belongs to the allocation's type.
/// - **Q2** It is used once: by [`run`](Self::run) or [`discard`](Self::discard).
#[derive(Debug)]
#[must_use = "a job that is neither run nor discarded is leaked"]
pub struct JobRef(NonNull<Header>);

// SAFETY: the job's closure and result are `Send`, by the bounds of the two
// constructors, and a reference is used once (Q2).
unsafe impl Send for JobRef {}

impl Word for JobRef {
    fn into_word(self) -> usize {
        self.0.as_ptr().expose_provenance()
    }
    fn from_word(word: usize) -> Self {
        Self(NonNull::new(std::ptr::with_exposed_provenance_mut(word)).expect("not null"))
    }
}

impl JobRef {
    /// A job without a handle.
    ///
    /// # Safety
    /// What the task borrows outlives its run or discard.
    pub unsafe fn of_task<T: Task>(task: T, tag: usize) -> Self {
        let job = Box::new(TaskJob {
            header: Header {
                vtable: &VTable {
                    run: TaskJob::<T>::run,
                    discard: TaskJob::<T>::discard,
                },
                tag,
            },
            task,
        });
        // Q1: `TaskJob` begins with its header.
        Self(NonNull::from(Box::leak(job)).cast())
    }

    /// What a trace knows it by.
    pub fn address(&self) -> u64 {
        self.0.addr().get() as u64
    }

    /// The tag of the job's scope, or 0.
    pub fn tag(&self) -> usize {
        // SAFETY: Q1, and the job is alive until used (Q2).
        unsafe { self.0.as_ref() }.tag
    }

    /// Runs the job. Doesn't panic.
    pub fn run(self, seat: &Seat) {
        // SAFETY: Q1.
        let run = unsafe { self.0.as_ref() }.vtable.run;
        let address = self.address();
        emit(Kind::JobRun, line!(), address, seat.lane.index() as u64);
        // SAFETY: Q1, Q2.
        unsafe { run(self.0, seat) }
        emit(Kind::JobRunEnd, line!(), address, 0);
    }

    /// Drops the job; a handle is told that the pool is closed.
    pub fn discard(self) {
        // SAFETY: Q1.
        let discard = unsafe { self.0.as_ref() }.vtable.discard;
        // SAFETY: Q1, Q2.
        unsafe { discard(self.0) }
    }
}

/// A job that nobody waits for: its panic goes to the pool's hook.
struct Detached<F>(F);

impl<F: FnOnce() + Send> Task for Detached<F> {
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
pub fn detached(work: impl FnOnce() + Send + 'static) -> JobRef {
    // SAFETY: `'static`: it borrows nothing.
    unsafe { JobRef::of_task(Detached(work), 0) }
}

#[repr(C)]
struct TaskJob<T> {
    header: Header,
    task: T,
}

impl<T: Task> TaskJob<T> {
    unsafe fn run(job: NonNull<Header>, seat: &Seat) {
        // SAFETY: Q1 with this type; Q2 makes us the only user.
        let job = unsafe { Box::from_raw(job.cast::<Self>().as_ptr()) };
        job.task.run(seat);
    }

    unsafe fn discard(job: NonNull<Header>) {
        // SAFETY: as in `run`.
        let job = unsafe { Box::from_raw(job.cast::<Self>().as_ptr()) };
        job.task.discard();
    }
}

/// What the handle of a spawned job needs to know of its closure.
struct SpawnedVTable {
    perform: unsafe fn(NonNull<Header>),
    drop_work: unsafe fn(NonNull<Header>),
    free: unsafe fn(NonNull<Header>),
}

#[repr(C)]
struct Core<T> {
    header: Header,
    spawned: &'static SpawnedVTable,
    completion: Completion<T>,
}

#[repr(C)]
struct Spawned<F, T> {
    core: Core<T>,
    /// Belongs to whoever claimed (K3).
    work: UnsafeCell<Option<F>>,
}

impl<F, T> Spawned<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    const VTABLE: &'static VTable = &VTable {
        run: Self::run,
        discard: Self::discard,
    };
    const SPAWNED: &'static SpawnedVTable = &SpawnedVTable {
        perform: Self::perform,
        drop_work: Self::drop_work,
        free: Self::free,
    };

    unsafe fn run(job: NonNull<Header>, seat: &Seat) {
        // SAFETY: Q1 with this type; alive until the queue's side is released.
        let this = unsafe { job.cast::<Self>().as_ref() };
        if !this.core.completion.claim_from_queue() {
            if this.core.completion.release_queue() {
                // SAFETY: both sides are released.
                unsafe { Self::free(job) };
            }
            return;
        }
        let (free, unseen) = this.core.completion.finish_run(this.call());
        if let Some(JobError::Panicked(_)) = &unseen {
            seat.registry.panicked(unseen.expect("just seen"));
        }
        if free {
            // SAFETY: both sides are released.
            unsafe { Self::free(job) };
        }
    }

    unsafe fn discard(job: NonNull<Header>) {
        // SAFETY: as in `run`.
        let this = unsafe { job.cast::<Self>().as_ref() };
        if this.core.completion.claim() {
            this.drop_closure();
            this.core.completion.complete(Err(JobError::Closed));
        }
        if this.core.completion.release_queue() {
            // SAFETY: both sides are released.
            unsafe { Self::free(job) };
        }
    }

    unsafe fn perform(job: NonNull<Header>) {
        // SAFETY: the caller is the handle, whose side isn't released.
        let this = unsafe { job.cast::<Self>().as_ref() };
        this.core.completion.complete(this.call());
    }

    unsafe fn drop_work(job: NonNull<Header>) {
        // SAFETY: as in `perform`.
        unsafe { job.cast::<Self>().as_ref() }.drop_closure();
    }

    unsafe fn free(job: NonNull<Header>) {
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
            header: Header {
                vtable: Spawned::<F, T>::VTABLE,
                tag: 0,
            },
            spawned: Spawned::<F, T>::SPAWNED,
            completion: Completion::<T>::new(),
        },
        work: UnsafeCell::new(Some(work)),
    });
    // Q1: `Spawned` begins with `Core`, which begins with `Header`.
    let job = NonNull::from(Box::leak(job)).cast::<Header>();
    let handle = SpawnedRef {
        job: job.cast(),
        owns: PhantomData,
    };
    (JobRef(job), handle)
}

impl<T> SpawnedRef<T> {
    /// The job's state.
    pub fn completion(&self) -> &Completion<T> {
        // SAFETY: alive until our side is released, in `drop`.
        &unsafe { self.job.as_ref() }.completion
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
