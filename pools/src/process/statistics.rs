//! What a pool is doing at a moment, for people who look.

use crate::process::state::{Stage, State};
use crate::process::terms::JobLabel;
use std::time::{Duration, Instant};

/// What a pool is doing; see [`ProcessPool::statistics`](crate::process::ProcessPool::statistics).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Statistics {
    /// Jobs that wait for a worker.
    pub queued: usize,
    /// Jobs that were accepted and aren't done: queued, with a worker, or waiting to
    /// be tried again.
    pub outstanding: usize,
    /// Jobs that died and wait to be tried again.
    pub retrying: usize,
    /// Jobs that gave a result.
    pub completed: u64,
    /// Jobs that gave an error of any kind.
    pub failed: u64,
    /// Workers started so far.
    pub workers_started: u64,
    /// Workers that died without having been told to.
    pub workers_died: u64,
    /// The workers that there are.
    pub workers: Vec<WorkerStatistics>,
}

/// What a worker is doing.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerStatistics {
    /// Its process id.
    pub pid: u32,
    /// How far it is.
    pub stage: WorkerStage,
    /// Jobs that it has answered.
    pub done: u64,
    /// The job that it runs, as far as its parent knows, and for how long.
    pub running: Option<(JobLabel, Duration)>,
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerStage {
    /// Its process has been started and hasn't reported yet.
    Starting,
    /// At work, or ready for it.
    Ready,
    /// On its way out.
    Leaving,
}

impl Statistics {
    pub(crate) fn of(state: &State, now: Instant) -> Statistics {
        let workers = state
            .workers
            .iter()
            .flatten()
            .map(|worker| WorkerStatistics {
                pid: worker.link.pid,
                stage: match worker.stage {
                    Stage::Starting { .. } => WorkerStage::Starting,
                    Stage::Ready => WorkerStage::Ready,
                    Stage::Leaving { .. } => WorkerStage::Leaving,
                },
                done: worker.done(),
                running: worker
                    .front()
                    .filter(|sent| !sent.job.target.is_internal())
                    .map(|sent| {
                        let since = now.saturating_duration_since(worker.front_since);
                        (sent.job.label(), since)
                    }),
            });
        Statistics {
            queued: state.queued(),
            outstanding: state.outstanding,
            retrying: state.waiting_for_retry(),
            completed: state.tally.completed,
            failed: state.tally.failed,
            workers_started: state.tally.started,
            workers_died: state.tally.died,
            workers: workers.collect(),
        }
    }
}
