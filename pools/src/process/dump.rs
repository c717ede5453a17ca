//! Everything a pool knows at a moment: each worker, and each job.
//!
//! [`super::statistics`] counts; this lists, for the question "why is nothing
//! happening?". Made from the [`State`] under its lock, in one pass over workers and
//! jobs; nothing is recorded for it beforehand but what errors tell anyway. How far a
//! worker has come is read from its claim word ([`super::claim`]), without asking it.

use crate::process::job::Job;
use crate::process::limits;
use crate::process::state::{Phase, Sent, Stage, State, Worker};
use crate::process::terms::JobLabel;
use std::fmt;
use std::time::{Duration, Instant};

/// What a pool's workers are doing, and every job that isn't done; see
/// [`ProcessPool::dump`](crate::process::ProcessPool::dump).
///
/// Its text has a line for each worker and for each job; jobs that differ in nothing
/// that is told share one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dump {
    /// Whether it takes jobs. If not, those that it has are being brought to an end.
    pub open: bool,
    /// Number of workers that there are to be.
    pub size: usize,
    /// The workers that there are.
    pub workers: Vec<WorkerDump>,
    /// The jobs that are with workers, in the order in which each worker runs them;
    /// then those that wait to be tried again; then the queue, the next one first.
    pub jobs: Vec<JobDump>,
}

/// What a worker is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerDump {
    /// Its process id.
    pub pid: u32,
    /// What it is at.
    pub state: WorkerState,
    /// Since when it has been in that state, as the parent knows it. `None` for a
    /// worker that is dying: nobody noted the hour.
    pub since: Option<Duration>,
    /// Jobs that it has answered.
    pub done: u64,
    /// Jobs that stand in its ring and that it hasn't begun.
    pub ahead: usize,
}

/// What a worker is at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// Its process has been started, and hasn't reported yet or runs the pool's
    /// initializer.
    Starting,
    /// It has nothing to do.
    Idle,
    /// It runs this job, or is about to begin it, or its reply hasn't been read yet:
    /// see the job's [`place`](JobDump::place).
    Busy {
        /// What the job is called.
        job: JobLabel,
        /// Its number among those that this worker was given.
        number: u64,
    },
    /// It was told to exit.
    Leaving,
    /// It has ended, or is being killed: its supervisor is about to replace it.
    Dying,
}

/// A job, or the part of a chunk of a map that isn't done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobDump {
    /// What it is called, and where it was submitted.
    pub label: JobLabel,
    /// Where it is.
    pub place: JobPlace,
    /// Which run of it this is; the first is 1.
    pub attempt: u32,
    /// How many elements of a map it stands for; 1 for any other job.
    pub elements: u16,
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobPlace {
    /// It waits for a worker.
    Queued,
    /// Its worker died; it is run again after this time.
    Retrying(Duration),
    /// It stands in the ring of this worker, which hasn't begun it: it may still be
    /// taken back.
    Sent {
        /// The worker.
        pid: u32,
        /// The job's number there.
        number: u64,
    },
    /// The worker has claimed it: it runs.
    Running {
        /// The worker.
        pid: u32,
        /// The job's number there.
        number: u64,
        /// For how long at most: it may have begun a little after its parent's clock
        /// was read.
        at_most: Duration,
    },
    /// The worker has answered; nobody has read that yet.
    Answered {
        /// The worker.
        pid: u32,
        /// The job's number there.
        number: u64,
    },
}

impl Dump {
    pub(crate) fn of(state: &State, now: Instant) -> Dump {
        let workers = || state.workers.iter().flatten();
        let given = workers().flat_map(|worker| {
            let sent = worker.sent.iter();
            let sent = sent.filter(|sent| !sent.job.target.is_internal());
            sent.map(move |sent| JobDump::of_sent(worker, sent, now))
        });
        let paused = state.paused().map(|(at, job)| {
            let left = at.saturating_duration_since(now);
            JobDump::of(job, JobPlace::Retrying(left))
        });
        let queued = state.queue.iter();
        let queued = queued.map(|job| JobDump::of(job, JobPlace::Queued));
        Dump {
            open: state.phase == Phase::Open,
            size: state.size(),
            workers: workers()
                .map(|worker| WorkerDump::of(worker, now))
                .collect(),
            jobs: given.chain(paused).chain(queued).collect(),
        }
    }
}

impl WorkerDump {
    fn of(worker: &Worker, now: Instant) -> WorkerDump {
        let front = worker.front();
        // Both stages note when they are to be over.
        let begun = |deadline: Instant, patience: Duration| {
            patience.saturating_sub(deadline.saturating_duration_since(now))
        };
        let dying = worker.verdict.is_some() || worker.link.has_ended();
        let (state, since) = match worker.stage {
            _ if dying => (WorkerState::Dying, None),
            Stage::Starting { deadline } => (
                WorkerState::Starting,
                Some(begun(deadline, limits::HANDSHAKE)),
            ),
            Stage::Leaving { deadline } => (
                WorkerState::Leaving,
                Some(begun(deadline, limits::EXIT_PATIENCE)),
            ),
            Stage::Ready => match front {
                Some(sent) => {
                    let state = if sent.job.target.is_internal() {
                        WorkerState::Starting
                    } else {
                        WorkerState::Busy {
                            job: sent.job.label(),
                            number: sent.next(),
                        }
                    };
                    (
                        state,
                        Some(now.saturating_duration_since(worker.front_since)),
                    )
                }
                None => (
                    WorkerState::Idle,
                    Some(now.saturating_duration_since(worker.rests_since)),
                ),
            },
        };
        let unclaimed = worker.link.words().claim.first_unclaimed();
        let waiting = |sent: &Sent| sent.end().saturating_sub(unclaimed.max(sent.next()));
        WorkerDump {
            pid: worker.link.pid,
            state,
            since,
            done: worker.done(),
            ahead: worker.sent.iter().map(waiting).sum::<u64>() as usize,
        }
    }
}

impl JobDump {
    fn of(job: &Job, place: JobPlace) -> JobDump {
        JobDump {
            label: job.label(),
            place,
            attempt: job.attempt,
            elements: job.count,
        }
    }

    fn of_sent(worker: &Worker, sent: &Sent, now: Instant) -> JobDump {
        JobDump {
            elements: sent.job.count - sent.settled,
            ..JobDump::of(&sent.job, JobPlace::of_sent(worker, sent, now))
        }
    }
}

impl JobPlace {
    /// Where a job is that stands in `worker`'s ring.
    pub(crate) fn of_sent(worker: &Worker, sent: &Sent, now: Instant) -> JobPlace {
        let (pid, number) = (worker.link.pid, sent.next());
        let unclaimed = worker.link.words().claim.first_unclaimed();
        let is_front = worker
            .front()
            .is_some_and(|front| front.first == sent.first);
        if unclaimed <= number {
            JobPlace::Sent { pid, number }
        // The reply of a job is published before the next one is claimed; and what
        // lies in the ring unread begins with that of the first in the line.
        } else if sent.end() < unclaimed
            || (is_front && sent.job.count == 1 && worker.link.has_replies())
        {
            JobPlace::Answered { pid, number }
        } else {
            JobPlace::Running {
                pid,
                number,
                at_most: now.saturating_duration_since(worker.front_since),
            }
        }
    }
}

impl fmt::Display for WorkerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerState::Starting => f.write_str("starting"),
            WorkerState::Idle => f.write_str("idle"),
            WorkerState::Busy { job, number } => write!(f, "busy with job {number}, {job}"),
            WorkerState::Leaving => f.write_str("leaving"),
            WorkerState::Dying => f.write_str("dying"),
        }
    }
}

impl fmt::Display for WorkerDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}: {}", self.pid, self.state)?;
        if let Some(since) = self.since {
            write!(f, " for {since:.1?}")?;
        }
        write!(f, ", {} done", self.done)?;
        match self.ahead {
            0 => Ok(()),
            ahead => write!(f, ", {ahead} more sent"),
        }
    }
}

impl fmt::Display for JobPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JobPlace::Queued => f.write_str("queued"),
            JobPlace::Retrying(left) => write!(f, "to be run again in {left:.1?}"),
            JobPlace::Sent { pid, number } => write!(f, "sent to worker {pid} as {number}"),
            JobPlace::Running {
                pid,
                number,
                at_most,
            } => write!(f, "runs in worker {pid} as {number} for {at_most:.1?}"),
            JobPlace::Answered { pid, number } => {
                write!(f, "answered by worker {pid} as {number}, not read yet")
            }
        }
    }
}

impl fmt::Display for JobDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.label, self.place)?;
        if self.elements != 1 {
            write!(f, ", {} elements", self.elements)?;
        }
        match self.attempt {
            1 => Ok(()),
            attempt => write!(f, ", attempt {attempt}"),
        }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.open { "open" } else { "shutting down" };
        let (workers, size) = (self.workers.len(), self.size);
        let jobs = self.jobs.len();
        write!(
            f,
            "process pool, {state}: {workers} of {size} workers, {jobs} jobs"
        )?;
        for worker in &self.workers {
            write!(f, "\n  {worker}")?;
        }
        for same in self.jobs.chunk_by(|one, next| one == next) {
            write!(f, "\n  job {}", same[0])?;
            if same.len() > 1 {
                write!(f, ", {} times", same.len())?;
            }
        }
        Ok(())
    }
}
