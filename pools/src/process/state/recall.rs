//! From a worker back to the queue: what waits behind a long job, what is to be
//! cancelled, and what a dead worker hadn't begun.

use crate::process::error::JobError;
use crate::process::job::Job;
use crate::process::limits;
use crate::process::link::Link;
use crate::process::state::worker::Worker;
use crate::process::state::{Delivery, State};
use std::sync::Arc;
use std::time::Instant;
use threeply_runtime::trace::{Kind, emit};

impl State {
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
        let Some(worker) = self.worker(link) else {
            return;
        };
        worker.rests_since = Instant::now();
        if worker.open == 0 && !worker.is_going() && !self.idle.contains(&link.slot) {
            self.idle.push(link.slot);
        }
    }

    /// Takes back what nobody wants any more, and the jobs that stand with it, from
    /// workers that haven't claimed it. Returns the links whose waiting callers must look
    /// again.
    pub fn recall_unwanted(&mut self) -> Vec<Arc<Link>> {
        let workers = self.workers.iter().flatten();
        let unwanted = workers.filter(|worker| {
            let mut sent = worker.sent.iter();
            sent.any(|sent| sent.job.target.is_unwanted())
        });
        let links: Vec<_> = unwanted.map(|worker| Arc::clone(&worker.link)).collect();
        for link in &links {
            self.recall(link);
        }
        links
    }

    /// Settles accounts with a worker that has ended and whose replies have all
    /// been read: the element that it had claimed fails with what `error` says, or
    /// is kept to be run again if `retry` and its terms allow it; the others go back
    /// to the head of the queue.
    pub fn bury(
        &mut self,
        worker: &mut Worker,
        error: impl Fn(&Job) -> JobError,
        retry: bool,
        out: &mut Vec<Delivery>,
    ) {
        let first_unclaimed = worker.link.words().claim.first_unclaimed();
        let back = worker.take_from(first_unclaimed);
        let pid = u64::from(worker.link.pid);
        emit(Kind::WorkerDeath, line!(), pid, back.len() as u64);
        let users = back.into_iter().filter(|job| !job.target.is_internal());
        for job in users.rev() {
            self.enqueue_first(job);
        }
        // At most one element is left: claimed, and without a reply. (If the claims
        // themselves are garbage it may be more: of those nobody knows whether they
        // ran, so none is run elsewhere.)
        for mut sent in worker.sent.drain(..) {
            let pause = sent.job.retry().pause_after(sent.job.attempt);
            if let Some(pause) = pause.filter(|_| retry) {
                let mut again = match sent.settled {
                    0 => sent.job,
                    settled => sent.job.split_off(settled),
                };
                again.attempt += 1;
                self.keep_for_later(again, Instant::now() + pause);
                continue;
            }
            sent.job.target.decided();
            for at in sent.settled..sent.job.count {
                let outcome = Err(Box::new(error(&sent.job)));
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
}
