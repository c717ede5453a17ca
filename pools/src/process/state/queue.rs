//! What waits for a worker, bounded in jobs and in bytes.

use crate::process::error::JobError;
use crate::process::job::Job;
use crate::process::state::{Delivery, State};
use std::sync::Arc;

impl State {
    /// Whether the queue has room for `job`.
    pub fn has_room(&self, job: &Job, max_jobs: usize, max_bytes: usize) -> bool {
        // A job that is larger than the limit by itself gets its turn alone.
        self.queue.is_empty()
            || (self.queued_elements + usize::from(job.count) <= max_jobs
                && self.queued_bytes + job.weight() <= max_bytes)
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
