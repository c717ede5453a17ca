//! `scope`: jobs that may borrow from the caller, because it waits for them.
//!
//! Before this: `job.rs`, `registry.rs`. The end of a scope runs jobs of the scope
//! only (they carry its tag), so that its caller is nobody's hostage: it may hold
//! locks and borrowed thread-locals that foreign jobs want.
//!
//! Rejected: a queue for each scope. Its jobs would run oldest first, and a tree
//! of spawns would need memory for its width instead of its depth.
#![allow(unsafe_code)] // Jobs outlive the compiler's idea of their borrows.

use std::any::Any;
use std::cell::Cell;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use crate::switch::atomic::{AtomicBool, AtomicIsize, Ordering};
use crate::thread::context;
use crate::thread::job::{JobRef, Task};
use crate::thread::registry::{Registry, Seat};
use crate::thread::sleep::Interest;
use crate::thread::worker::Patience;

/// The place to spawn jobs that borrow data living at least as long as `'scope`.
///
/// Invariants:
/// - **B1** The scope's frame isn't left before `outstanding` was seen at zero, so
///   it outlives its jobs.
/// - **B2** Jobs outstanding are `local` (touched by the owner's thread alone, on
///   the owner's lane) plus `others`. Each change is one step of one of the two,
///   and a job that spawns is itself outstanding; so the owner sees the sum zero
///   only when all is done.
/// - **B3** A job's last touch of the scope is its decrement.
pub struct Scope<'scope> {
    registry: *const Arc<Registry>,
    owner: usize,
    /// Jobs spawned less jobs ended, on the owner's lane.
    local: Cell<isize>,
    /// The same for all other threads.
    others: AtomicIsize,
    cancelled: AtomicBool,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// Invariant in `'scope`, as rayon's and std's.
    #[allow(clippy::type_complexity)]
    borrows: PhantomData<Box<dyn FnOnce(&Scope<'scope>) + 'scope>>,
}

// SAFETY: `local` is touched on the owner's lane only (B2), so by one thread; the
// registry outlives the scope, whose caller borrows it; the rest is `Sync`.
unsafe impl Sync for Scope<'_> {}
// SAFETY: as above; nothing in it belongs to a thread by its type.
unsafe impl Send for Scope<'_> {}

impl std::fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

struct ScopeTask<'scope, F> {
    scope: *const Scope<'scope>,
    work: F,
}

// SAFETY: the scope is `Sync`, and alive until the task has run (B1).
unsafe impl<F: Send> Send for ScopeTask<'_, F> {}

impl<'scope, F> Task for ScopeTask<'scope, F>
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
            this.local.set(this.local.get() - 1);
            return;
        }
        // Release: what the job did happens before the owner sees it ended. After
        // this the scope may be gone (B3).
        if this.others.fetch_sub(1, Ordering::Release) == 1 {
            seat.with_peer(owner, |owner| owner.parker.unpark());
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
    /// `scope` when all have ended. Costs an allocation and a push.
    pub fn spawn(&self, work: impl FnOnce(&Self) + Send + 'scope) {
        let task = ScopeTask { scope: self, work };
        // SAFETY: B1: the scope, and with it all of `'scope`, outlives the job.
        let job = unsafe { JobRef::of_task(task, self.tag()) };
        context::with(|seat| match seat {
            Some(seat) if Arc::ptr_eq(&seat.registry, self.registry()) => {
                if seat.lane.index() == self.owner {
                    self.local.set(self.local.get() + 1);
                } else {
                    self.others.fetch_add(1, Ordering::Relaxed); // we are outstanding (B2)
                }
                seat.push_job(job, self.tag());
            }
            _ => {
                self.others.fetch_add(1, Ordering::Relaxed);
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

    fn all_ended(&self) -> bool {
        // Acquire: pairs with the Release of the last decrements.
        self.others.load(Ordering::Acquire) + self.local.get() == 0
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
            if self.all_ended() {
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
            // From here on the others' count is all there is, so that whoever
            // brings it to zero knows that it is the last, and wakes us.
            self.others.fetch_add(self.local.take(), Ordering::Relaxed);
            seat.registry.sleep.fall_asleep(
                lane.index(),
                Interest::Scope(tag),
                &lane.shared.parker,
            );
            if !self.all_ended() && !tagged_in_sight(seat, tag) {
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
    let found = seat.find_peer(|peer| {
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
        local: Cell::new(0),
        others: AtomicIsize::new(0),
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
