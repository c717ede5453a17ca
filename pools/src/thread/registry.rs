//! The registry: what all threads of one pool share, and how jobs come into it.
//!
//! Lanes, injector, sleep, gate. Before this: `lanes.rs`, `sleep.rs`, `gate.rs`. After
//! it: `staff.rs` and `guests.rs` (who works here), `seat.rs` (how they find work),
//! `closing.rs` (the end).

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::Location;
use std::sync::Arc;

use crate::error::{Error, JobError};
use crate::switch::atomic::AtomicUsize;
use crate::switch::{Injector, Mutex};
use crate::thread::activity::published;
use crate::thread::config::Config;
use crate::thread::gate::Gate;
use crate::thread::handle::JobHandle;
use crate::thread::job::{JobRef, SpawnedRef, detached, spawned_static};
use crate::thread::lane::{Lane, LaneShared};
use crate::thread::lanes::Lanes;
use crate::thread::pile::steal_by;
use crate::thread::seat::Seat;
use crate::thread::sleep::{Sleep, Work};
use crate::thread::staff::Threads;
use crate::thread::watchdog::Watchdog;
use crate::thread::{context, cpus, forked};
use threeply_runtime::trace::{Kind, emit};

/// What all threads of one pool share.
#[derive(Debug)]
pub struct Registry {
    /// What the builder decided.
    pub config: Config,
    /// Every lane that there is, and which may have something to steal.
    pub lanes: Lanes,
    /// Seats that no thread uses, of guests and of workers that ended.
    #[allow(clippy::vec_box)] // a seat has an address while somebody sits there
    pub(super) free_guests: Mutex<Vec<Box<Seat>>>,
    pub(super) free_workers: Mutex<Vec<Lane>>,
    /// Guests at work now.
    pub(super) guests: AtomicUsize,
    /// The lanes whose threads are at work or may be, for `broadcast`.
    pub(super) staffed: Mutex<BTreeSet<usize>>,
    /// Jobs from outside, without a scope.
    pub(super) injector: Injector<JobRef>,
    /// Jobs of scopes that found no lane: rare, and apart from the injector so
    /// that who waits for a scope can look through them.
    pub(super) strays: Injector<JobRef>,
    /// Who sleeps.
    pub sleep: Sleep,
    /// Whether work may come in.
    pub gate: Gate,
    pub(super) threads: Mutex<Threads>,
    /// There is one until it is to end.
    pub(super) watchdog: Mutex<Option<Watchdog>>,
    pub(super) cancelled: AtomicUsize,
    /// Threads of this process that can run at the same time.
    pub cores: usize,
    pub(super) born: forked::Generation,
}

/// What became of a job that was to be queued.
#[derive(Debug, PartialEq, Eq)]
enum Enqueued {
    /// It will be run, or it was discarded.
    Settled,
    /// The pool ended meanwhile: it is queued, but perhaps nobody will look. (The
    /// registry discards it at last.)
    MaybeTooLate,
}

impl Registry {
    /// A pool without threads yet.
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            lanes: Lanes::new(),
            free_guests: Mutex::new(Vec::new()),
            free_workers: Mutex::new(Vec::new()),
            guests: AtomicUsize::new(0),
            staffed: Mutex::new(BTreeSet::new()),
            injector: Injector::new(),
            strays: Injector::new(),
            sleep: Sleep::new(config.threads, config.max_spares),
            gate: Gate::new(),
            threads: Mutex::new(Threads::default()),
            watchdog: Mutex::new(None),
            cancelled: AtomicUsize::new(0),
            cores: cpus::available(),
            born: forked::generation(),
            config,
        })
    }

    /// Queues a job from outside, or from a thread that keeps its own deque for
    /// something else.
    pub fn inject(self: &Arc<Self>, job: JobRef) {
        emit(Kind::JobInject, line!(), job.address(), job.tag() as u64);
        let work = match job.tag() {
            0 => {
                self.injector.push(job);
                Work::Job
            }
            tag => {
                self.strays.push(job);
                Work::ScopeJob(tag)
            }
        };
        self.provide(self.sleep.notify(work));
    }

    /// A new job, of the current thread if that works here, else from outside.
    pub fn spawn<F, T>(self: &Arc<Self>, site: &'static Location<'static>, work: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.config.publish_running {
            return self.submit(site, spawned_static(published(site, work)));
        }
        self.submit(site, spawned_static(work))
    }

    /// A new job that nobody waits for.
    pub fn spawn_detached(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        work: impl FnOnce() + Send + 'static,
    ) {
        if self.config.publish_running {
            self.enqueue(detached(published(site, work)));
            return;
        }
        self.enqueue(detached(work));
    }

    /// Queues a job, and makes the handle that users see.
    pub fn submit<T>(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        (job, handle): (JobRef, SpawnedRef<T>),
    ) -> JobHandle<T> {
        let handle = JobHandle::new(handle, site, Arc::as_ptr(self).addr());
        if self.enqueue(job) == Enqueued::MaybeTooLate {
            handle.close();
        }
        handle
    }

    /// Queues a job of this thread, if it has a seat here, else from outside; a
    /// closed pool discards it.
    #[inline(always)] // see `Seat::push_job`
    fn enqueue(self: &Arc<Self>, job: JobRef) -> Enqueued {
        context::with(|seat| match seat {
            Some(seat) if Arc::ptr_eq(&seat.registry, self) => {
                if self.gate.is_cancelling() {
                    job.discard();
                } else {
                    seat.push_job(job, 0);
                }
                Enqueued::Settled
            }
            _ => {
                if !self.gate.is_open() || self.born.is_foreign() {
                    job.discard();
                    return Enqueued::Settled;
                }
                self.inject(job);
                if self.gate.ended_meanwhile() {
                    return Enqueued::MaybeTooLate;
                }
                Enqueued::Settled
            }
        })
    }

    /// May work come in from this thread?
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn check_open(self: &Arc<Self>) -> Result<(), Error> {
        if self.born.is_foreign() {
            return Err(Error::Forked);
        }
        let inside =
            context::with(|seat| seat.is_some_and(|seat| Arc::ptr_eq(&seat.registry, self)));
        if self.gate.is_open() || (inside && !self.gate.is_cancelling()) {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }

    /// Are there jobs of scopes outside all lanes?
    pub fn has_strays(&self) -> bool {
        !self.strays.is_empty()
    }

    fn has_injected(&self) -> bool {
        !self.injector.is_empty() || self.has_strays()
    }

    /// Is there work that an idle worker could take?
    pub fn has_work(&self) -> bool {
        self.has_injected() || self.any_marked(LaneShared::has_work)
    }

    /// Is there a job that needs a thread? (A fork's owner runs it itself.)
    pub fn has_jobs(&self) -> bool {
        self.has_injected() || self.any_marked(|lane| !lane.jobs.is_empty())
    }

    fn any_marked(&self, is_one: impl Fn(&LaneShared) -> bool) -> bool {
        let found = self.lanes.visit_marked(0, |lane| {
            if is_one(lane) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        found.is_some()
    }

    /// Jobs that lie in no lane.
    pub fn injected(&self) -> usize {
        self.injector.len() + self.strays.len()
    }

    /// Tells the pool's hook of a panic that no handle will show.
    pub fn panicked(&self, error: JobError) {
        if let Some(hook) = &self.config.on_panic {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(error)));
        }
    }
}

/// Takes the oldest, however often others are faster.
pub(super) fn take_from(queue: &Injector<JobRef>) -> Option<JobRef> {
    steal_by(|| queue.steal())
}
