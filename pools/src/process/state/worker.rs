//! One worker as the pool's state knows it, and what was sent to it.

use crate::process::cpu;
use crate::process::job::Job;
use crate::process::limits;
use crate::process::link::Link;
use crate::process::page::{RingBytes, request_counters};
use crate::process::ring::Writer;
use crate::process::silence::Silence;
use crate::process::wire;
use crate::switch::Ordering;
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
    pub(crate) fn next(&self) -> u64 {
        self.first + u64::from(self.settled)
    }
    pub(crate) fn end(&self) -> u64 {
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
    /// Why.
    pub reason: Reason,
}

/// Why a job is killed.
#[derive(Debug, Clone, Copy)]
pub enum Reason {
    /// Somebody has asked for it.
    Cancelled,
    /// It has run for longer than this.
    Limit(Duration),
    /// It has used more processor time than this.
    CpuLimit(Duration),
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
    /// Since when it has had nothing to do, if it has nothing to do.
    pub rests_since: Instant,
    /// The processor time that it had used when the first of `sent` began, if
    /// that one may only use so much.
    pub cpu_base: Option<Duration>,
    /// It is one too many: it goes when it has done what it has begun.
    pub(super) retiring: bool,
    /// When its last reply was read, if it had nothing more to do then.
    pub(super) idle_since: Option<Instant>,
    /// How long callers take between a result and the next job, smoothed.
    pub(super) think_ns: u64,
    pub(super) busy_seen: (u64, u64),
    /// Whether its replies ring nobody but the caller who has that job.
    pub(super) silence: Silence,
    /// Set before the pool kills it.
    pub verdict: Option<Verdict>,
    /// What it said when it failed to start.
    pub complaint: Option<String>,
}

impl Worker {
    /// The state of a worker that was just started.
    pub(super) fn new(link: Arc<Link>, requests: Writer<RingBytes>, now: Instant) -> Worker {
        Worker {
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
            rests_since: now,
            cpu_base: None,
            retiring: false,
            idle_since: None,
            think_ns: u64::MAX / 2,
            busy_seen: (0, 0),
            silence: Silence::default(),
            verdict: None,
            complaint: None,
        }
    }

    /// The job that it is running, or will run next.
    pub fn front(&self) -> Option<&Sent> {
        self.sent.front()
    }

    /// Elements that it has answered in all.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Whether it is on its way out, or will be after its present job.
    pub(super) fn is_going(&self) -> bool {
        self.retiring || matches!(self.stage, Stage::Leaving { .. })
    }

    /// Whether it has nothing to do and could do something.
    pub(super) fn rests(&self) -> bool {
        self.open == 0 && self.stage == Stage::Ready
    }

    /// Whether it is to be replaced when it has done what it was sent.
    pub(super) fn is_worn(&self, jobs_per_worker: u64) -> bool {
        self.done >= jobs_per_worker || self.link.words().outgrown.load(Ordering::Relaxed) != 0
    }

    /// Notes that what stands first in its ring begins now.
    pub(super) fn front_begins(&mut self, now: Instant) {
        self.front_since = now;
        let limited = self
            .sent
            .front()
            .is_some_and(|sent| sent.job.cpu_limit().is_some());
        self.cpu_base = limited.then(|| cpu::used_by(self.link.pid)).flatten();
    }

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
