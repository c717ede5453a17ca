//! What waits for a worker, bounded in jobs and in bytes.

use crate::process::error::JobError;
use crate::process::job::Job;
use crate::process::state::{Delivery, Phase, State};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

impl State {
    /// Whether the queue has room for `job`.
    pub fn has_room(&self, job: &Job) -> bool {
        // A job that is larger than the limit by itself gets its turn alone.
        self.queue.is_empty()
            || (self.queued_elements + usize::from(job.count) <= self.max_jobs
                && self.queued_bytes + job.weight() <= self.max_bytes)
    }

    pub(super) fn enqueue(&mut self, job: Job) {
        self.queued_bytes += job.weight();
        self.queued_elements += usize::from(job.count);
        self.queue.push_back(job);
    }

    pub(super) fn enqueue_first(&mut self, job: Job) {
        self.queued_bytes += job.weight();
        self.queued_elements += usize::from(job.count);
        self.queue.push_front(job);
    }

    pub(super) fn dequeue(&mut self) -> Option<Job> {
        let job = self.queue.pop_front()?;
        self.queued_bytes -= job.weight();
        self.queued_elements -= usize::from(job.count);
        Some(job)
    }

    /// Whom to tell that something has changed: as many of those who wait for room
    /// as there is room for, or all if there will be none.
    pub fn to_be_told(&mut self) -> Vec<Waker> {
        let called = if self.phase != Phase::Open || self.broken.is_some() {
            usize::MAX
        } else {
            self.max_jobs.saturating_sub(self.queued_elements).max(1)
        };
        self.room.call(called)
    }

    /// Elements that wait for a worker.
    pub fn queued(&self) -> usize {
        self.queued_elements
    }

    /// Keeps a job that died, to be run again from `at` on.
    pub(super) fn keep_for_later(&mut self, job: Job, at: Instant) {
        self.later.push((at, job));
        self.look_by(at);
    }

    /// The jobs that wait for their next run, and when that is due.
    pub fn paused(&self) -> impl Iterator<Item = (Instant, &Job)> {
        self.later.iter().map(|(at, job)| (*at, job))
    }

    /// How many jobs wait for their next run.
    pub fn waiting_for_retry(&self) -> usize {
        self.later.len()
    }

    /// Queues what is to be run again by now, before everything else.
    pub fn wake_later(&mut self, now: Instant) {
        for (at, job) in std::mem::take(&mut self.later) {
            if at > now && !job.target.is_unwanted() {
                self.later.push((at, job));
            } else {
                self.enqueue_first(job);
            }
        }
    }

    /// When the next job is to be run again.
    pub(super) fn later_due(&self) -> Option<Instant> {
        self.later.iter().map(|(at, _)| *at).min()
    }

    /// Fails everything that is queued.
    pub fn fail_queue(&mut self, error: impl Fn() -> JobError, out: &mut Vec<Delivery>) {
        for (_, job) in std::mem::take(&mut self.later) {
            self.enqueue(job);
        }
        while let Some(job) = self.dequeue() {
            for at in 0..usize::from(job.count) {
                self.outstanding -= 1;
                self.tally.failed += 1;
                out.push(Delivery {
                    target: Arc::clone(&job.target),
                    index: job.index + at,
                    outcome: Err(Box::new(error())),
                });
            }
        }
    }
}
