//! One worker as the pool's state knows it, and what was sent to it.

use crate::process::job::Job;
use crate::process::limits;
use crate::process::link::Link;
use crate::process::page::{RingBytes, request_counters};
use crate::process::ring::Writer;
use crate::process::wire;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    pub(super) fn next(&self) -> u64 {
        self.first + u64::from(self.settled)
    }
    pub(super) fn end(&self) -> u64 {
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
    pub(super) requests: Writer<RingBytes>,
    /// How far it is.
    pub stage: Stage,
    /// What stands in its ring, in the order in which it will be run.
    pub sent: VecDeque<Sent>,
    pub(super) next_seq: u64,
    /// Elements in `sent` that aren't answered.
    pub(super) open: usize,
    /// Elements that it has answered in all.
    pub(super) done: u64,
    /// Since when the first of `sent` has been running, as far as we know.
    pub front_since: Instant,
    /// When its last reply was read, if it had nothing more to do then.
    pub(super) idle_since: Option<Instant>,
    /// How long callers take between a result and the next job, smoothed.
    pub(super) think_ns: u64,
    pub(super) busy_seen: (u64, u64),
    /// Set before the pool kills it.
    pub verdict: Option<Verdict>,
    /// What it said when it failed to start.
    pub complaint: Option<String>,
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
    pub(super) fn take_from(&mut self, first: u64) -> Vec<Job> {
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
