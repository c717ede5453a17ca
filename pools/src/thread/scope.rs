//! `scope`: jobs that may borrow from the caller, because it waits for them.
//!
//! Before this: `job.rs`, `registry.rs`, `outstanding.rs`. The end of a scope runs jobs of the scope
//! only (they carry its tag), so that its caller is nobody's hostage: it may hold
//! locks and borrowed thread-locals that foreign jobs want.
//!
//! Rejected: a queue for each scope. Its jobs would run oldest first, and a tree
//! of spawns would need memory for its width instead of its depth.
#![allow(unsafe_code)] // Jobs outlive the compiler's idea of their borrows.

use std::any::Any;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use crate::switch::atomic::{AtomicBool, Ordering};
use crate::thread::activity;
use crate::thread::context;
use crate::thread::dump::Work;
use crate::thread::job::{JobRef, ScopedTask, Task, lies_in_queue};
use crate::thread::outstanding::Outstanding;
use crate::thread::registry::Registry;
use crate::thread::seat::Seat;
use crate::thread::sleep::Interest;
use crate::thread::worker::Patience;

/// The place to spawn jobs that borrow data living at least as long as `'scope`.
///
/// Invariants:
/// - **B1** The scope's frame isn't left before `outstanding` said that all have
///   ended, so it outlives its jobs (O1).
/// - **B2** The count's part of the owner is touched on the owner's lane alone, so
///   by one thread.
/// - **B3** A job's last touch of the scope is the count's step (O3).
pub struct Scope<'scope> {
    registry: *const Arc<Registry>,
    owner: usize,
    outstanding: Outstanding,
    cancelled: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Invariant in `'scope`, as rayon's and std's.
    #[allow(clippy::type_complexity)]
    borrows: PhantomData<Box<dyn FnOnce(&Scope<'scope>) + 'scope>>,
}

// SAFETY: the registry outlives the scope, whose caller borrows it; the rest is
// `Sync`.
unsafe impl Sync for Scope<'_> {}
// SAFETY: as above; nothing in it belongs to a thread by its type.
unsafe impl Send for Scope<'_> {}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

#[repr(C)] // The scope's address first: `ScopedTask` asks for it.
struct ScopeTask<'scope, F> {
    scope: *const Scope<'scope>,
    work: F,
}

// SAFETY: the first word is the scope's address.
unsafe impl<'scope, F> ScopedTask for ScopeTask<'scope, F> where
    F: FnOnce(&Scope<'scope>) + Send + 'scope
{
}

/// The same for work that doesn't fit beside the scope's address.
#[repr(transparent)]
struct BoxedScopeTask<'scope, F>(ScopeTask<'scope, Box<F>>);

// SAFETY: the first word is the scope's address.
unsafe impl<'scope, F> ScopedTask for BoxedScopeTask<'scope, F> where
    F: FnOnce(&Scope<'scope>) + Send + 'scope
{
}

// SAFETY: the second word is the box.
unsafe impl<'scope, F> Task for BoxedScopeTask<'scope, F>
where
    F: FnOnce(&Scope<'scope>) + Send + 'scope,
{
    const ADDRESS_AT: Option<usize> = Some(1);

    fn run(self, seat: &Seat) {
        self.0.run(seat);
    }

    fn discard(self) {
        self.0.discard();
    }
}

// SAFETY: the scope is `Sync`, and alive until the task has run (B1).
unsafe impl<F: Send> Send for ScopeTask<'_, F> {}

// SAFETY: it names no word.
unsafe impl<'scope, F> Task for ScopeTask<'scope, F>
where
    F: FnOnce(&Scope<'scope>) + Send + 'scope,
{
    fn run(self, seat: &Seat) {
        let Self { scope, work } = self;
        // SAFETY: B1: we are outstanding.
        let this = unsafe { &*scope };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if this.is_cancelled() {
                drop(work);
            } else {
                work(this);
            }
        }));
        if let Err(panic) = outcome {
            this.keep_panic(panic);
        }
        let owner = this.owner;
        if seat.lane.index() == owner {
            this.outstanding.end_here();
        } else if this.outstanding.end_elsewhere() {
            // The scope may be gone (B3).
            seat.registry.lanes.get(owner).parker.unpark();
        }
    }

    fn discard(self) {
        // Only tagged jobs are of this kind, and the registry keeps those.
        unreachable!("a scope's jobs are run, since somebody waits for them");
    }
}

impl<'scope> Scope<'scope> {
    fn tag(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn registry(&self) -> &Arc<Registry> {
        // SAFETY: borrowed by the call that made the scope, and outlives it.
        unsafe { &*self.registry }
    }

    /// Adds a job that runs before the scope ends, with the scope to spawn more.
    ///
    /// A job's panic doesn't stop its siblings; the first one is passed on by
    /// `scope` when all have ended. Costs a push, and an allocation if `work` is
    /// larger than two words.
    #[track_caller]
    pub fn spawn<F>(&self, work: F)
    where
        F: FnOnce(&Self) + Send + 'scope,
    {
        if self.registry().config.publish_running {
            let site = Location::caller();
            let publish = move |scope: &Self| {
                activity::during(Work::Job { site }, || work(scope));
            };
            return self.add(publish);
        }
        self.add(work);
    }

    #[inline]
    fn add<F>(&self, work: F)
    where
        F: FnOnce(&Self) + Send + 'scope,
    {
        let scope = std::ptr::from_ref(self);
        let job = if lies_in_queue::<ScopeTask<'scope, F>>() {
            let task = ScopeTask { scope, work };
            // SAFETY: B1: the scope, and with it all of `'scope`, outlives the job.
            unsafe { JobRef::of_scoped_task(task) }
        } else {
            let boxed = BoxedScopeTask(ScopeTask {
                scope,
                work: Box::new(work),
            });
            // SAFETY: as above.
            unsafe { JobRef::of_scoped_task(boxed) }
        };
        context::with(|seat| match seat {
            Some(seat) if Arc::ptr_eq(&seat.registry, self.registry()) => {
                if seat.lane.index() == self.owner {
                    self.outstanding.begin_here();
                } else {
                    self.outstanding.begin_elsewhere();
                }
                seat.push_job(job, self.tag());
            }
            _ => {
                self.outstanding.begin_elsewhere();
                self.registry().inject(job);
            }
        });
    }

    /// Lets no further job of the scope begin: those that wait are dropped, those
    /// that run may look at [`is_cancelled`](Self::is_cancelled).
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Was the scope cancelled?
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn keep_panic(&self, panic: Box<dyn Any + Send>) {
        let mut first = self.panic.lock().unwrap();
        if first.is_none() {
            *first = Some(panic);
        }
    }

    /// Runs jobs of this scope until all have ended.
    fn wait(&self, seat: &Seat, mark: isize) {
        let lane = &seat.lane;
        let tag = self.tag();
        let mut patience = Patience::new();
        loop {
            while let Some(job) = lane.pop_job_above(mark) {
                if job.tag() == tag {
                    job.run(seat);
                } else {
                    // Somebody else's: to those who may run anything.
                    seat.registry.inject(job);
                }
            }
            if self.outstanding.all_ended() {
                return;
            }
            if let Some(job) = steal_tagged(seat, tag) {
                job.run(seat);
                patience = Patience::new();
                continue;
            }
            if patience.pause() {
                continue;
            }
            self.outstanding.publish(); // whoever ends the last job wakes us (O2)
            seat.registry.sleep.fall_asleep(
                lane.index(),
                Interest::Scope(tag),
                &lane.shared.parker,
            );
            if !self.outstanding.all_ended() && !tagged_in_sight(seat, tag) {
                seat.blocked(|| lane.shared.parker.park());
            }
            seat.registry.sleep.retract(lane.index());
        }
    }
}

fn tagged_in_sight(seat: &Seat, tag: usize) -> bool {
    use crate::switch::atomic::Ordering::Relaxed;
    seat.find_peer(|peer| {
        (peer.tag_hint.load(Relaxed) == tag && !peer.jobs.is_empty()).then_some(())
    })
    .is_some()
        || seat.registry.has_strays()
}

/// Steals a job of the scope `tag` from where one was seen last.
fn steal_tagged(seat: &Seat, tag: usize) -> Option<JobRef> {
    let found = seat.find_nearby(|peer| {
        if peer.tag_hint.load(Ordering::Relaxed) != tag {
            return None;
        }
        peer.steal_job(seat.lane.index())
    });
    let found = found.or_else(|| seat.take_stray())?;
    if found.tag() == tag {
        return Some(found);
    }
    seat.registry.inject(found);
    None
}

/// Runs `body` with a scope, then the scope's jobs, on `seat`'s thread and others.
pub(crate) fn run<'scope, F, R>(seat: &Seat, body: F) -> R
where
    F: FnOnce(&Scope<'scope>) -> R,
{
    let scope = Scope {
        registry: &raw const seat.registry,
        owner: seat.lane.index(),
        outstanding: Outstanding::new(),
        cancelled: AtomicBool::new(false),
        panic: Mutex::new(None),
        borrows: PhantomData,
    };
    let mark = seat.lane.job_mark();
    let outcome = catch_unwind(AssertUnwindSafe(|| body(&scope)));
    scope.wait(seat, mark); // B1
    let first_panic = scope.panic.into_inner().unwrap();
    match (outcome, first_panic) {
        (Err(panic), _) | (Ok(_), Some(panic)) => resume_unwind(panic),
        (Ok(result), None) => result,
    }
}
