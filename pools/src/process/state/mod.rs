//! What the pool knows, all under one lock: the queue, the workers, and which job
//! was sent to which of them.
//!
//! ```text
//!            submit                 send                    settle (reply)
//!   caller ─────────▶ ┌────────┐ ─────────▶ ┌────────────┐ ─────────▶ target
//!      │              │ queued │            │ sent to w  │
//!      │              └────────┘ ◀───────── └────────────┘ ─────────▶ target
//!      └── directly, if a worker is idle ──────▲  recall,      settle (death):
//!                                                 death: what   the one that was
//!                                                 was unclaimed claimed fails
//! ```
//!
//! Everything here is plain sequential code; nothing blocks, and nothing of the
//! user's runs under the lock (outcomes are gathered as [`Delivery`] and delivered
//! by the caller after it has let go).
//!
//! How far ahead: a worker is sent further jobs while it runs one, as many as are
//! done in [`AHEAD_TIME`](super::limits::AHEAD_TIME) by the length of jobs lately, so that it doesn't
//! idle while the parent reacts. If that guess was wrong and another worker is
//! free, what isn't claimed yet is recalled ([`State::rebalance`]).
//!
//! Read before this: [`super::job`], [`super::link`] and [`super::claim`]. Then, in
//! this order: [`worker`] (what is known of one), [`queue`], [`send`] (from the
//! queue to a worker), [`settle`] (its replies), [`recall`] (back to the queue),
//! [`staff`] (how many workers), [`room`] (who waits for room), [`delivery`]. Read after it: [`super::pump`] and [`super::death`].

pub mod delivery;
pub mod queue;
pub mod recall;
pub mod room;
pub mod send;
pub mod settle;
pub mod staff;
pub mod worker;

pub use delivery::Delivery;
pub use room::Room;
pub use worker::{Reason, Sent, Stage, Verdict, Worker};

use crate::process::builder::Options;
use crate::process::dump::JobPlace;
use crate::process::error::StartFailure;
use crate::process::job::Job;
use crate::process::link::Link;
use crate::process::page::RingBytes;
use crate::process::ring::Writer;
use crate::process::stall::Looks;
use crate::switch::{Weakening, weakened};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use threeply_runtime::sys::eventfd::EventFd;

/// Whether the pool takes jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It does.
    Open,
    /// It doesn't, but those that it has will be run.
    Draining,
    /// Nothing is run any more; workers are on their way out.
    Closed,
}

/// The pool's state; see the head of this file.
#[derive(Debug)]
pub struct State {
    /// Whether the pool takes jobs.
    pub phase: Phase,
    /// When shutdown loses its patience.
    pub deadline: Option<Instant>,
    /// What waits for a worker.
    pub queue: VecDeque<Job>,
    queued_bytes: usize,
    queued_elements: usize,
    max_jobs: usize,
    max_bytes: usize,
    /// Jobs that died and are to be run again, and from when on.
    later: Vec<(Instant, Job)>,
    /// How many workers there are to be.
    size: usize,
    /// After how long without a job a worker goes.
    idle_exit: Option<Duration>,
    /// The workers by slot.
    pub workers: Vec<Option<Worker>>,
    /// Slots of workers that have nothing to do; the one used last stands last.
    idle: Vec<usize>,
    /// Elements that were accepted and aren't answered.
    pub outstanding: usize,
    /// Smoothed length of a job in nanoseconds; `None` before the first.
    job_ns: Option<u64>,
    /// Some worker may be told to stay beside its caller.
    stays: bool,
    /// Places for which a worker is being started.
    reserved: Vec<bool>,
    /// Starts in a row that failed.
    pub start_failures: u32,
    /// When the first of them was.
    pub failing_since: Option<Instant>,
    /// No start is tried before this.
    pub retry_at: Option<Instant>,
    /// Set when there are too many of them.
    pub broken: Option<StartFailure>,
    /// Whether spinning is allowed.
    pub spinning: bool,
    /// Elements after which a worker is replaced.
    pub jobs_per_worker: u64,
    /// Counters for the report.
    pub tally: Tally,
    /// The supervisor looks after workers regularly.
    pub ticking: bool,
    /// Wakes the supervisor.
    bell: Arc<EventFd>,
    /// When the supervisor is going to look around; `None` if it is about to.
    looks_at: Option<Instant>,
    /// What the watchdog has seen.
    pub(in crate::process) stall: Looks,
    /// How often a worker has come, come up, or gone.
    changes_of_staff: u64,
    /// Threads that wait for `changed`.
    pub waiting: usize,
    /// Tasks that wait for room in the queue, or for the end.
    pub room: Room,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Jobs that gave a result.
    pub completed: u64,
    /// Jobs that gave an error of any kind.
    pub failed: u64,
    /// Workers started.
    pub started: u64,
    /// Workers that died without having been told to.
    pub died: u64,
}

/// What `send` did.
#[derive(Debug)]
pub struct Placed {
    /// To whom.
    pub link: Arc<Link>,
    /// As which number.
    pub seq: u64,
    /// If the worker is to stay beside whoever waits for it soon: since when.
    pub stays: Option<Instant>,
}

impl State {
    /// A pool that is open and has no worker yet. `bell` wakes its supervisor.
    pub fn new(options: &Options, bell: Arc<EventFd>) -> State {
        let size = options.workers;
        State {
            phase: Phase::Open,
            deadline: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            queued_elements: 0,
            later: Vec::new(),
            max_jobs: options.queue_jobs,
            max_bytes: options.queue_bytes,
            size,
            idle_exit: options.idle_exit,
            workers: (0..size).map(|_| None).collect(),
            idle: Vec::with_capacity(size),
            outstanding: 0,
            job_ns: None,
            stays: false,
            reserved: vec![false; size],
            start_failures: 0,
            failing_since: None,
            retry_at: None,
            broken: None,
            spinning: options.spinning,
            jobs_per_worker: options.jobs_per_worker,
            tally: Tally::default(),
            ticking: false,
            bell,
            looks_at: None,
            stall: Looks::default(),
            changes_of_staff: 0,
            waiting: 0,
            room: Room::default(),
        }
    }

    /// Adds a worker that was just started.
    pub fn add(&mut self, link: Arc<Link>, requests: Writer<RingBytes>, now: Instant) {
        let slot = link.slot;
        debug_assert!(self.workers[slot].is_none());
        self.workers[slot] = Some(Worker::new(link, requests, now));
        // First, so that workers which are known to run are preferred.
        self.idle.insert(0, slot);
        self.tally.started += 1;
        self.changes_of_staff += 1;
    }

    /// The worker behind `link`, unless it has been replaced.
    pub fn worker(&mut self, link: &Arc<Link>) -> Option<&mut Worker> {
        let worker = self.workers.get_mut(link.slot)?.as_mut()?;
        Arc::ptr_eq(&worker.link, link).then_some(worker)
    }

    /// Takes a worker out, for good.
    pub fn remove(&mut self, link: &Arc<Link>) -> Option<Worker> {
        self.worker(link)?;
        self.changes_of_staff += 1;
        self.idle.retain(|&slot| slot != link.slot);
        self.workers[link.slot].take()
    }

    /// Makes the supervisor look around at `at`, unless it does so before anyway.
    pub fn look_by(&mut self, at: Instant) {
        if self.looks_at.is_none_or(|planned| at < planned) {
            self.looks_at = Some(at);
            let _ = self.bell.notify_undrained();
        }
    }

    /// The supervisor, which looks around since `now`, is going to do so again at `at`,
    /// or sooner if something has become due while it looked: a worker's start, or a
    /// job's next try. Whoever brought that has found the moment past for which the
    /// present look was planned, and so hasn't rung. Returns when it will be.
    pub fn will_look(&mut self, at: Instant, now: Instant) -> Instant {
        let mut due = at;
        if !weakened(Weakening::PlanWithoutLook) {
            let meanwhile = self.start_due(now).into_iter().chain(self.later_due());
            due = meanwhile.fold(at, Instant::min);
        }
        self.looks_at = Some(due);
        due
    }

    /// How often a worker has come, come up, or gone: who knows this number knows whom it
    /// watches.
    pub fn changes_of_staff(&self) -> u64 {
        self.changes_of_staff
    }

    /// Whether a look around, of which one was planned for `planned` when there had been
    /// `staff` changes of staff, would find nothing to do now, and plan no earlier one. Whatever
    /// `look_around` looks at is asked for here; when in doubt, the answer is no.
    ///
    /// A limit on the front job counts, though its time was planned for. When an idle
    /// worker may go doesn't: it can only have become later.
    pub fn is_calm(&self, planned: Instant, staff: u64) -> bool {
        if weakened(Weakening::LookUnasked) {
            return true;
        }
        let at_work = |worker: &Worker| {
            worker.stage == Stage::Ready
                && worker.verdict.is_none()
                && !worker.retiring
                && worker.front().is_none_or(|sent| !sent.job.is_limited())
        };
        self.phase == Phase::Open
            && self.changes_of_staff == staff
            && self.looks_at == Some(planned)
            && self.queue.is_empty()
            && self.later.is_empty()
            && self.broken.is_none()
            && !self.ticking
            && !self.wants_ticks()
            && !self.stall.saw_a_wait()
            && !self.lacks_staff()
            && self.workers.iter().flatten().all(at_work)
    }

    /// Whether nothing is left: no job, no worker.
    pub fn is_over(&self) -> bool {
        self.outstanding == 0 && self.has_no_workers()
    }

    /// Whether there are no workers, and none is being started either.
    pub fn has_no_workers(&self) -> bool {
        self.workers.iter().all(Option::is_none) && !self.reserved.contains(&true)
    }

    /// The smoothed length of a job, if any has run.
    pub fn job_time(&self) -> Option<Duration> {
        self.job_ns.map(Duration::from_nanos)
    }

    /// Whether job `seq` still stands in the ring of the worker behind `link`.
    pub fn is_with(&mut self, link: &Arc<Link>, seq: u64) -> bool {
        self.worker(link).is_some_and(|worker| {
            worker
                .sent
                .iter()
                .any(|sent| (sent.next()..sent.end()).contains(&seq))
        })
    }

    /// How far a job is that was submitted with this target: queued, if no worker has
    /// it and it isn't to be run again either. Doesn't look through the queue.
    pub fn place(&self, target: *const (), now: Instant) -> JobPlace {
        let is_it = |job: &Job| Arc::as_ptr(&job.target).cast::<()>() == target;
        let with_worker = self.workers.iter().flatten().find_map(|worker| {
            let sent = worker.sent.iter().find(|sent| is_it(&sent.job))?;
            Some(JobPlace::of_sent(worker, sent, now))
        });
        with_worker.unwrap_or_else(|| {
            let mut paused = self.paused().filter(|(_, job)| is_it(job));
            paused.next().map_or(JobPlace::Queued, |(at, _)| {
                JobPlace::Retrying(at.saturating_duration_since(now))
            })
        })
    }

    /// Where a job is that was submitted with this target: the worker in whose ring
    /// it stands, and its number there.
    pub fn find(&self, target: *const ()) -> Option<(Arc<Link>, u64)> {
        self.workers.iter().flatten().find_map(|worker| {
            let sent = worker
                .sent
                .iter()
                .find(|sent| Arc::as_ptr(&sent.job.target).cast::<()>() == target)?;
            Some((Arc::clone(&worker.link), sent.next()))
        })
    }
}
