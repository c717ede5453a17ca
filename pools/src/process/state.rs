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
//! done in [`limits::AHEAD_TIME`] by the length of jobs lately, so that it doesn't
//! idle while the parent reacts. If that guess was wrong and another worker is
//! free, what isn't claimed yet is recalled ([`State::rebalance`]).
//!
//! Read before this: [`super::job`], [`super::link`] and [`super::claim`]. Read
//! after it: [`super::pump`] and [`super::death`].

use crate::process::cell::Outcome;
use crate::process::error::{JobError, StartFailure};
use crate::process::job::{Job, Target};
use crate::process::limits;
use crate::process::link::{Frame, Garbage, Link};
use crate::process::page::{RingBytes, request_counters};
use crate::process::reply::{LargeReply, Reply};
use crate::process::ring::Writer;
use crate::process::text::Text;
use crate::process::wire;
use crate::process::worker::panics::PanicReport;
use crate::switch::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// An outcome on its way to whoever waits for it.
pub struct Delivery {
    target: Arc<dyn Target>,
    index: usize,
    outcome: Outcome,
}

impl Delivery {
    /// Delivers all. Runs wakers and callbacks, so no lock may be held.
    pub fn deliver_all(deliveries: &mut Vec<Delivery>) {
        let mut last: Option<Arc<dyn Target>> = None;
        for Delivery {
            target,
            index,
            outcome,
        } in deliveries.drain(..)
        {
            // Somebody else's waker or callback; the panic hook has reported it.
            let deliver = || target.deliver(index, outcome);
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(deliver));
            if let Some(last) = last.replace(Arc::clone(&target))
                && !std::ptr::addr_eq(Arc::as_ptr(&last), Arc::as_ptr(&target))
            {
                last.delivered();
            }
        }
        if let Some(last) = last {
            last.delivered();
        }
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// A job, or the part of a chunk, that stands in a worker's ring.
#[derive(Debug)]
pub struct Sent {
    /// The number of its first element.
    pub first: u64,
    /// How many of its elements have been answered.
    pub settled: u16,
    /// The job.
    pub job: Job,
}

impl Sent {
    fn next(&self) -> u64 {
        self.first + u64::from(self.settled)
    }
    fn end(&self) -> u64 {
        self.first + u64::from(self.job.count)
    }
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Started, hasn't said anything yet.
    Starting {
        /// When that becomes suspicious.
        deadline: Instant,
    },
    /// At work, or ready for it.
    Ready,
    /// Told to exit.
    Leaving {
        /// When it is killed.
        deadline: Instant,
    },
}

/// Why the pool itself is about to kill a worker, and for which job.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// The job's number.
    pub seq: u64,
    /// Its limit, or `None` if it was cancelled.
    pub limit: Option<Duration>,
}

/// One worker as the pool's state knows it.
#[derive(Debug)]
pub struct Worker {
    /// Its memory, bells and process.
    pub link: Arc<Link>,
    requests: Writer<RingBytes>,
    /// How far it is.
    pub stage: Stage,
    /// What stands in its ring, in the order in which it will be run.
    pub sent: VecDeque<Sent>,
    next_seq: u64,
    /// Elements in `sent` that aren't answered.
    open: usize,
    /// Elements that it has answered in all.
    done: u64,
    /// Since when the first of `sent` has been running, as far as we know.
    pub front_since: Instant,
    /// When its last reply was read, if it had nothing more to do then.
    idle_since: Option<Instant>,
    /// How long callers take between a result and the next job, smoothed.
    think_ns: u64,
    busy_seen: (u64, u64),
    /// Set before the pool kills it.
    pub verdict: Option<Verdict>,
    /// What it said when it failed to start.
    pub complaint: Option<String>,
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
    /// The workers by slot.
    pub workers: Vec<Option<Worker>>,
    /// Slots of workers that have nothing to do; the one used last stands last.
    idle: Vec<usize>,
    /// Elements that were accepted and aren't answered.
    pub outstanding: usize,
    /// Smoothed length of a job in nanoseconds; `None` before the first.
    job_ns: Option<u64>,
    /// Places for which a worker is being started.
    reserved: Vec<bool>,
    /// Starts in a row that failed.
    pub start_failures: u32,
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
    /// Threads that wait for `changed`.
    pub waiting: usize,
    /// Tasks that wait for room in the queue.
    pub room_wakers: Vec<std::task::Waker>,
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
}

impl State {
    /// A pool that is open and has no worker yet.
    pub fn new(size: usize, spinning: bool, jobs_per_worker: u64) -> State {
        State {
            phase: Phase::Open,
            deadline: None,
            queue: VecDeque::new(),
            queued_bytes: 0,
            queued_elements: 0,
            workers: (0..size).map(|_| None).collect(),
            idle: Vec::with_capacity(size),
            outstanding: 0,
            job_ns: None,
            reserved: vec![false; size],
            start_failures: 0,
            retry_at: None,
            broken: None,
            spinning,
            jobs_per_worker,
            tally: Tally::default(),
            ticking: false,
            waiting: 0,
            room_wakers: Vec::new(),
        }
    }

    /// Adds a worker that was just started.
    pub fn add(&mut self, link: Arc<Link>, requests: Writer<RingBytes>, now: Instant) {
        let slot = link.slot;
        debug_assert!(self.workers[slot].is_none());
        self.workers[slot] = Some(Worker {
            link,
            requests,
            stage: Stage::Starting {
                deadline: now + limits::HANDSHAKE,
            },
            sent: VecDeque::new(),
            next_seq: 0,
            open: 0,
            done: 0,
            front_since: now,
            idle_since: None,
            think_ns: u64::MAX / 2,
            busy_seen: (0, 0),
            verdict: None,
            complaint: None,
        });
        // First, so that workers which are known to run are preferred.
        self.idle.insert(0, slot);
        self.tally.started += 1;
    }

    /// The worker behind `link`, unless it has been replaced.
    pub fn worker(&mut self, link: &Arc<Link>) -> Option<&mut Worker> {
        let worker = self.workers.get_mut(link.slot)?.as_mut()?;
        Arc::ptr_eq(&worker.link, link).then_some(worker)
    }

    /// Takes a worker out, for good.
    pub fn remove(&mut self, link: &Arc<Link>) -> Option<Worker> {
        self.worker(link)?;
        self.idle.retain(|&slot| slot != link.slot);
        self.workers[link.slot].take()
    }

    /// Reserves a place that has no worker, for one that is about to be started.
    pub fn reserve_empty(&mut self) -> Option<usize> {
        let slot = (0..self.workers.len())
            .find(|&slot| self.workers[slot].is_none() && !self.reserved[slot])?;
        self.reserved[slot] = true;
        Some(slot)
    }

    /// The start is over, one way or the other.
    pub fn release(&mut self, slot: usize) {
        self.reserved[slot] = false;
    }

    /// Sends a worker its initializer, before anything else.
    pub fn send_first(&mut self, slot: usize, job: Job) {
        if self.send(slot, job, false).is_ok() {
            self.idle.retain(|&other| other != slot);
        }
    }

    /// Sends what is queued to all workers that may have more. Returns those who
    /// must be rung.
    pub fn refill_all(&mut self) -> Vec<Arc<Link>> {
        let mut links = Vec::new();
        for slot in 0..self.workers.len() {
            if self.refill(slot)
                && let Some(worker) = self.workers[slot].as_ref()
            {
                links.push(Arc::clone(&worker.link));
            }
        }
        links
    }

    /// Sends what is queued to idle workers. Returns those who must be rung.
    pub fn refill_idle(&mut self) -> Vec<Arc<Link>> {
        let mut links = Vec::new();
        for slot in self.idle.clone().into_iter().rev() {
            if self.refill(slot)
                && let Some(worker) = self.workers[slot].as_ref()
            {
                links.push(Arc::clone(&worker.link));
            }
        }
        links
    }

    /// How many elements a worker may have at a time.
    fn depth(&self) -> usize {
        match self.job_ns {
            None => 1,
            Some(ns) => {
                let fit = limits::AHEAD_TIME.as_nanos() as u64 / ns.max(1);
                (fit as usize).clamp(1, limits::AHEAD_MAX)
            }
        }
    }

    /// Whether the queue has room for `job`.
    pub fn has_room(&self, job: &Job, max_jobs: usize, max_bytes: usize) -> bool {
        // A job that is larger than the limit by itself gets its turn alone.
        self.queue.is_empty()
            || (self.queued_elements + usize::from(job.count) <= max_jobs
                && self.queued_bytes + job.weight() <= max_bytes)
    }

    /// Whether `job` would have to be queued.
    pub fn must_queue(&self) -> bool {
        !self.queue.is_empty() || (self.idle.is_empty() && self.least_loaded().is_none())
    }

    /// A worker that may be sent something ahead.
    fn least_loaded(&self) -> Option<usize> {
        let depth = self.depth();
        if depth <= 1 {
            return None;
        }
        self.workers
            .iter()
            .enumerate()
            .filter_map(|(slot, worker)| Some((slot, worker.as_ref()?)))
            .filter(|(_, worker)| worker.open < depth && self.takes_more(worker))
            .min_by_key(|(_, worker)| worker.open)
            .map(|(slot, _)| slot)
    }

    fn takes_more(&self, worker: &Worker) -> bool {
        let front_is_limited = worker.sent.front().is_some_and(|s| s.job.limit.is_some());
        !matches!(worker.stage, Stage::Leaving { .. })
            && worker.verdict.is_none()
            && !front_is_limited
            && worker.done + (worker.open as u64) < self.jobs_per_worker
    }

    /// Accepts a job: sends it to a worker if one is free for it, else queues it.
    /// The caller rings the worker after it has let go of the lock.
    ///
    /// `direct` says that the caller is going to read the reply itself.
    pub fn accept(&mut self, job: Job, direct: bool) -> Option<Placed> {
        self.outstanding += usize::from(job.count);
        if self.queue.is_empty() {
            let mut slot = None;
            while slot.is_none()
                && let Some(idle) = self.idle.pop()
            {
                let worker = self.workers[idle].as_ref();
                slot = worker.is_some_and(|w| self.takes_more(w)).then_some(idle);
            }
            if slot.is_none() && job.limit.is_none() {
                slot = self.least_loaded();
            }
            if let Some(slot) = slot {
                return match self.send(slot, job, direct) {
                    Ok(placed) => Some(placed),
                    Err(job) => {
                        self.enqueue(job);
                        None
                    }
                };
            }
        }
        self.enqueue(job);
        None
    }

    fn enqueue(&mut self, job: Job) {
        self.queued_bytes += job.weight();
        self.queued_elements += usize::from(job.count);
        self.queue.push_back(job);
    }

    fn enqueue_first(&mut self, job: Job) {
        self.queued_bytes += job.weight();
        self.queued_elements += usize::from(job.count);
        self.queue.push_front(job);
    }

    fn dequeue(&mut self) -> Option<Job> {
        let job = self.queue.pop_front()?;
        self.queued_bytes -= job.weight();
        self.queued_elements -= usize::from(job.count);
        Some(job)
    }

    /// Writes a job into a worker's ring; gives it back if there is no room.
    fn send(&mut self, slot: usize, job: Job, direct: bool) -> Result<Placed, Job> {
        let spinning = self.spinning;
        let worker = self.workers[slot].as_mut().expect("a slot that is in use");
        let words = worker.link.words();
        let counters = request_counters(words);
        if let Some(rooms) = worker.link.returned() {
            for room in rooms {
                let body = wire::numbers(room);
                let header = wire::header(wire::FREE, 0, 0, body.len()).to_bytes();
                if worker.requests.write(&counters, &[&header, &body]) != Ok(true) {
                    worker.link.give_back(room);
                    break;
                }
            }
        }
        let seq = worker.next_seq;
        if worker.open == 0 {
            // It was idle: whoever reads the reply sets the words anew.
            if direct {
                words.wake_supervisor.silence();
            } else {
                words.wake_supervisor.ask(seq);
            }
            let now = Instant::now();
            if let Some(idle) = worker.idle_since.take() {
                let think = now.duration_since(idle).as_nanos() as u64;
                worker.think_ns = worker.think_ns / 4 * 3 + think / 4;
            }
            let brisk = u128::from(worker.think_ns) < limits::THINK.as_nanos();
            let spin = if brisk && spinning {
                limits::SPIN
            } else {
                Duration::ZERO
            };
            words
                .spin_ns
                .store(spin.as_nanos() as u32, Ordering::Relaxed);
            worker.front_since = now;
        }
        match job.with_frame(seq, |parts| worker.requests.write(&counters, parts)) {
            Ok(true) => {}
            Ok(false) => return Err(job),
            Err(_) => {
                worker.link.condemn();
                return Err(job);
            }
        }
        worker.next_seq += u64::from(job.count);
        worker.open += usize::from(job.count);
        worker.sent.push_back(Sent {
            first: seq,
            settled: 0,
            job,
        });
        Ok(Placed {
            link: Arc::clone(&worker.link),
            seq,
        })
    }

    /// Sends queued jobs to a worker, as far ahead as is sensible.
    pub fn refill(&mut self, slot: usize) -> bool {
        let mut sent_any = false;
        while let Some(job) = self.queue.front() {
            let Some(worker) = self.workers[slot].as_ref() else {
                break;
            };
            let may = worker.open == 0 || (worker.open < self.depth() && job.limit.is_none());
            if !may || !self.takes_more(worker) {
                break;
            }
            let job = self.dequeue().expect("looked at just now");
            if job.target.is_unwanted() {
                self.outstanding -= usize::from(job.count);
                continue;
            }
            if let Err(job) = self.send(slot, job, false) {
                self.enqueue_first(job);
                break;
            }
            sent_any = true;
        }
        if sent_any {
            self.idle.retain(|&other| other != slot);
        }
        sent_any
    }

    /// Notes what a worker has sent, and gathers the outcomes.
    ///
    /// # Errors
    /// [`Garbage`] if no worker of ours could have sent it.
    pub fn settle(
        &mut self,
        link: &Arc<Link>,
        frames: &mut Vec<Frame>,
        out: &mut Vec<Delivery>,
    ) -> Result<(), Garbage> {
        let now = Instant::now();
        for (header, body) in frames.drain(..) {
            if header.kind == wire::HELLO {
                self.greet(link, &body)?;
                continue;
            }
            let worker = self.worker(link).ok_or(Garbage)?;
            let sent = worker.sent.front_mut().ok_or(Garbage)?;
            if header.seq != sent.next() {
                return Err(Garbage);
            }
            let outcome = read_outcome(link, header.kind, body)?;
            let index = sent.job.index + usize::from(sent.settled);
            sent.settled += 1;
            let target = if sent.next() == sent.end() {
                worker
                    .sent
                    .pop_front()
                    .expect("looked at just now")
                    .job
                    .target
            } else {
                Arc::clone(&sent.job.target)
            };
            worker.open -= 1;
            worker.done += 1;
            worker.front_since = now;
            if worker
                .verdict
                .is_some_and(|verdict| verdict.seq == header.seq)
            {
                worker.verdict = None; // It was done before it could be killed.
            }
            if !target.is_internal() {
                self.count(&outcome);
                self.start_failures = 0; // Workers come up, and get to work.
            }
            out.push(Delivery {
                target,
                index,
                outcome,
            });
        }
        self.measure(link);
        let jobs_per_worker = self.jobs_per_worker;
        let Some(worker) = self.worker(link) else {
            return Ok(());
        };
        if worker.open == 0 {
            if worker.done >= jobs_per_worker && worker.stage == Stage::Ready {
                worker.dismiss(now);
            } else if !self.idle.contains(&link.slot) {
                self.worker(link).expect("looked at just now").idle_since = Some(now);
                self.idle.push(link.slot);
            }
        }
        Ok(())
    }

    fn count(&mut self, outcome: &Outcome) {
        self.outstanding -= 1;
        match outcome {
            Ok(_) => self.tally.completed += 1,
            Err(_) => self.tally.failed += 1,
        }
    }

    /// Reads what the worker says about the length of its jobs.
    fn measure(&mut self, link: &Arc<Link>) {
        let Some(worker) = self.worker(link) else {
            return;
        };
        let words = link.words();
        let ns = words.busy_ns.load(Ordering::Relaxed);
        let jobs = words.busy_jobs.load(Ordering::Relaxed);
        let (ns_before, jobs_before) = std::mem::replace(&mut worker.busy_seen, (ns, jobs));
        let jobs = jobs.saturating_sub(jobs_before);
        if let Some(average) = ns.saturating_sub(ns_before).checked_div(jobs) {
            // Weighs as much as eight earlier looks at most.
            let weight = jobs.min(8);
            self.job_ns = Some(match self.job_ns {
                None => average,
                Some(before) => (before / 8) * (8 - weight) + (average / 8) * weight,
            });
        }
    }

    /// Whether nothing is left: no job, no worker.
    pub fn is_over(&self) -> bool {
        self.outstanding == 0 && self.workers.iter().all(Option::is_none)
    }

    /// The smoothed length of a job, if any has run.
    pub fn job_time(&self) -> Option<Duration> {
        self.job_ns.map(Duration::from_nanos)
    }

    fn greet(&mut self, link: &Arc<Link>, body: &[u8]) -> Result<(), Garbage> {
        let expected = [
            u64::from(wire::VERSION),
            link.nonce,
            Text::of_this_program().fingerprint(),
        ];
        let said: [u64; 3] = wire::read_numbers(body).ok_or(Garbage)?;
        let worker = self.worker(link).ok_or(Garbage)?;
        if said != expected {
            worker.complaint = Some(format!(
                "a worker is not of this executable (it says {said:x?}, expected {expected:x?})"
            ));
            return Err(Garbage);
        }
        if let Stage::Starting { .. } = worker.stage {
            worker.stage = Stage::Ready;
        }
        Ok(())
    }

    /// From which reply on the reader of a worker wants to be woken; `None` if it
    /// has nothing to say.
    pub fn wake_from(&mut self, link: &Arc<Link>) -> Option<u64> {
        let brief = self.job_ns.is_some_and(|ns| ns < 20_000);
        let worker = self.worker(link)?;
        if let Stage::Starting { .. } = worker.stage {
            return Some(0);
        }
        let next = worker.sent.front()?.next();
        // Replies of brief jobs wait for company; a tick looks after them.
        let company = if brief { worker.open as u64 / 2 } else { 0 };
        Some(next + company)
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

    /// Whether the supervisor must be told that ticks are needed from now on.
    pub fn starts_ticking(&mut self) -> bool {
        let starts = !self.ticking && self.wants_ticks();
        self.ticking |= starts;
        starts
    }

    /// Whether anything was sent ahead, so that ticks are needed.
    pub fn wants_ticks(&self) -> bool {
        self.workers.iter().flatten().any(|worker| worker.open > 1)
    }

    /// Takes back what waits behind a long job while another worker is free.
    /// Returns the links whose waiting callers must look again.
    pub fn rebalance(&mut self, now: Instant) -> Option<Arc<Link>> {
        if !self.queue.is_empty() || self.idle.is_empty() {
            return None;
        }
        let (slot, _) = self
            .workers
            .iter()
            .enumerate()
            .filter_map(|(slot, worker)| Some((slot, worker.as_ref()?)))
            .filter(|(_, w)| w.open > 1 && now.duration_since(w.front_since) >= limits::HELD_UP)
            .max_by_key(|(_, worker)| worker.open)?;
        let link = Arc::clone(&self.workers[slot].as_ref()?.link);
        self.recall(&link);
        Some(link)
    }

    /// Takes back everything that the worker hasn't claimed; it goes to the head
    /// of the queue.
    pub fn recall(&mut self, link: &Arc<Link>) {
        let Some(worker) = self.worker(link) else {
            return;
        };
        let first = link.words().claim.recall(worker.next_seq);
        let back = worker.take_from(first);
        for job in back.into_iter().rev() {
            if job.target.is_internal() {
                // Its initializer: still the first thing that it is to do.
                self.send_first(link.slot, job);
                link.ring_if_asleep();
            } else {
                self.enqueue_first(job);
            }
        }
        let nothing_left = self.worker(link).is_some_and(|worker| worker.open == 0);
        if nothing_left && !self.idle.contains(&link.slot) {
            self.idle.push(link.slot);
        }
    }

    /// Settles accounts with a worker that has ended and whose replies have all
    /// been read: the element that it had claimed fails with `error`, the others
    /// go back to the head of the queue.
    pub fn bury(&mut self, worker: &mut Worker, error: JobError, out: &mut Vec<Delivery>) {
        let first_unclaimed = worker.link.words().claim.first_unclaimed();
        let back = worker.take_from(first_unclaimed);
        let users = back.into_iter().filter(|job| !job.target.is_internal());
        for job in users.rev() {
            self.enqueue_first(job);
        }
        // At most one element is left: claimed, and without a reply.
        let mut error = Some(error);
        for sent in worker.sent.drain(..) {
            for at in sent.settled..sent.job.count {
                let outcome = Err(error.take().unwrap_or(JobError::Cancelled));
                if !sent.job.target.is_internal() {
                    self.outstanding -= 1;
                    self.tally.failed += 1;
                }
                out.push(Delivery {
                    target: Arc::clone(&sent.job.target),
                    index: sent.job.index + usize::from(at),
                    outcome,
                });
            }
        }
        worker.open = 0;
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

    /// Fails everything that is queued.
    pub fn fail_queue(&mut self, error: impl Fn() -> JobError, out: &mut Vec<Delivery>) {
        while let Some(job) = self.dequeue() {
            for at in 0..usize::from(job.count) {
                self.outstanding -= 1;
                self.tally.failed += 1;
                out.push(Delivery {
                    target: Arc::clone(&job.target),
                    index: job.index + at,
                    outcome: Err(error()),
                });
            }
        }
    }
}

impl Worker {
    /// Whether it has yet to do its first job.
    pub fn is_new(&self) -> bool {
        self.done == 0
    }

    /// Tells it to exit once it has done what it was sent.
    pub fn dismiss(&mut self, now: Instant) {
        let header = wire::header(wire::EXIT, 0, 0, 0).to_bytes();
        let counters = request_counters(self.link.words());
        if self.requests.write(&counters, &[&header]) != Ok(true) {
            self.link.kill();
        }
        self.link.ring_if_asleep();
        self.stage = Stage::Leaving {
            deadline: now + limits::EXIT_PATIENCE,
        };
    }

    /// Removes every element from number `first` on and returns them as jobs.
    fn take_from(&mut self, first: u64) -> Vec<Job> {
        let mut back = Vec::new();
        while let Some(sent) = self.sent.back_mut() {
            if sent.end() <= first {
                break;
            }
            let keep = first
                .saturating_sub(sent.first)
                .max(u64::from(sent.settled));
            let keep = u16::try_from(keep).expect("less than the job's count");
            let job = if keep == 0 {
                self.sent.pop_back().expect("looked at just now").job
            } else if keep < sent.job.count {
                let rest = sent.job.split_off(keep);
                if keep == sent.settled {
                    self.sent.pop_back(); // Nothing of it is left to answer.
                }
                rest
            } else {
                break;
            };
            self.open -= usize::from(job.count);
            back.push(job);
        }
        back.reverse();
        back
    }
}

fn read_outcome(link: &Arc<Link>, kind: u8, body: Box<[u8]>) -> Result<Outcome, Garbage> {
    let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
    Ok(match kind {
        wire::VALUE => Ok(Reply::Inline(body)),
        wire::VALUE_LARGE => {
            let place = wire::read_numbers(&body).ok_or(Garbage)?;
            Ok(Reply::Large(LargeReply::new(link, place).ok_or(Garbage)?))
        }
        wire::PANIC => {
            let report: PanicReport = postcard::from_bytes(&body).map_err(|_| Garbage)?;
            Err(JobError::Panicked(report))
        }
        wire::BAD_ARGUMENT => Err(JobError::Argument {
            reason: text(&body),
        }),
        wire::BAD_RESULT => Err(JobError::Result {
            reason: text(&body),
        }),
        wire::TOO_LARGE => {
            let [len, max] = wire::read_numbers(&body).ok_or(Garbage)?;
            let (len, max) = (len as usize, max as usize);
            Err(JobError::TooLarge { len, max })
        }
        _ => return Err(Garbage),
    })
}
