//! From the queue into the ring of a worker, and how far ahead.

use crate::process::job::Job;
use crate::process::limits;
use crate::process::link::Link;
use crate::process::page::request_counters;
use crate::process::state::worker::{Sent, Stage, Worker};
use crate::process::state::{Placed, State};
use crate::process::wire;
use crate::switch::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};
use threeply_runtime::trace::{Kind, emit};

impl State {
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
        let front_is_limited = worker.sent.front().is_some_and(|s| s.job.is_limited());
        !worker.is_going()
            && worker.verdict.is_none()
            && !front_is_limited
            && !worker.is_worn(self.jobs_per_worker.saturating_sub(worker.open as u64))
    }

    /// Accepts a job: sends it to a worker if one is free for it, else queues it.
    /// The caller rings the worker after it has let go of the lock.
    ///
    /// `quiet` says that the caller is going to read the reply itself, or asks for the
    /// supervisor when it decides not to: then nobody else is woken by it.
    /// `lone` says that the caller has been alone for a while.
    pub fn accept(&mut self, job: Job, quiet: bool, lone: bool) -> Option<Placed> {
        self.outstanding += usize::from(job.count);
        if self.stays && !lone {
            self.stay_nowhere();
        }
        if self.queue.is_empty() {
            let mut slot = None;
            while slot.is_none()
                && let Some(idle) = self.idle.pop()
            {
                let worker = self.workers[idle].as_ref();
                slot = worker.is_some_and(|w| self.takes_more(w)).then_some(idle);
            }
            if slot.is_none() && job.goes_ahead() {
                slot = self.least_loaded();
            }
            if let Some(slot) = slot {
                return match self.send(slot, job, quiet) {
                    Ok(seq) => {
                        let worker = self.workers[slot].as_ref()?;
                        let link = Arc::clone(&worker.link);
                        let seldom = u128::from(worker.think_ns) >= limits::SPARSE.as_nanos();
                        let stays = (lone && seldom).then_some(worker.front_since);
                        if self.stays && stays.is_none() {
                            self.stay_nowhere();
                        }
                        self.stays = stays.is_some();
                        Some(Placed { link, seq, stays })
                    }
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

    /// From now on workers sleep wherever they like.
    #[cold]
    fn stay_nowhere(&mut self) {
        self.stays = false;
        for worker in self.workers.iter().flatten() {
            worker.link.words().stay_at.anywhere();
        }
    }

    /// Writes a job into a worker's ring and says as which number; gives it back if there
    /// is no room.
    fn send(&mut self, slot: usize, job: Job, quiet: bool) -> Result<u64, Job> {
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
            // The first word of a new one is for the supervisor in any case.
            let quiet = quiet && worker.stage == Stage::Ready;
            worker.silence.begin(quiet, seq, &words.wake_supervisor);
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
        if let Some(baggage) = &job.baggage {
            let last = seq + u64::from(job.count) - 1;
            if !worker.link.pass(last, baggage.fds()) {
                return Err(job);
            }
        }
        let limited = job.is_limited();
        // Before: the worker may be faster than we.
        let frame = u64::from(worker.link.pid) | u64::from(job.count) << 32;
        emit(Kind::FrameOut, line!(), frame, seq);
        worker.link.announce(seq, &job);
        match job.with_frame(seq, |parts| worker.requests.write(&counters, parts)) {
            Ok(true) => {}
            Ok(false) => {
                worker.link.retract(seq);
                return Err(job);
            }
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
        if limited {
            // It is alone in there: nothing is sent along with a limited job.
            self.front_begins(slot, Instant::now());
        }
        Ok(seq)
    }

    /// What stands first in a worker's ring begins now; if it is limited, the
    /// supervisor looks when its time may be over.
    pub(super) fn front_begins(&mut self, slot: usize, now: Instant) {
        let Some(worker) = self.workers[slot].as_mut() else {
            return;
        };
        worker.front_begins(now);
        let job = worker.front().map(|sent| &sent.job);
        let limits = job.map(|job| job.limit().into_iter().chain(job.cpu_limit()));
        if let Some(due) = limits.and_then(Iterator::min)
            && let Some(due) = now.checked_add(due)
        {
            self.look_by(due);
        }
    }

    /// Whether some worker was asked to be quiet; the caller then rings the supervisor,
    /// which reads what there is and asks to be told from now on.
    pub fn break_silence(&mut self) -> bool {
        let workers = self.workers.iter_mut().flatten();
        workers.fold(false, |any, worker| worker.silence.interrupt() | any)
    }

    /// Sends queued jobs to a worker, as far ahead as is sensible.
    pub fn refill(&mut self, slot: usize) -> bool {
        let mut sent_any = false;
        while let Some(job) = self.queue.front() {
            let Some(worker) = self.workers[slot].as_ref() else {
                break;
            };
            let may = worker.open == 0 || (worker.open < self.depth() && job.goes_ahead());
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
}
