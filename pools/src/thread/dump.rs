//! What a pool is doing at a moment: each worker, and how much is queued.
//!
//! A walk over the lanes, which stops nobody: what it tells of different workers is
//! not of exactly the same moment. Who sleeps is known to `sleep.rs` in any case;
//! what those who don't are at, only if the pool publishes it (`activity.rs`).

use std::fmt;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::thread::lane::LaneShared;
use crate::thread::registry::Registry;
use crate::thread::sleep::Interest;

/// What a pool's workers are doing, and how much is queued; see
/// [`ThreadPool::dump`](crate::thread::ThreadPool::dump). Its text has a line for each
/// worker.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Dump {
    /// The pool's name.
    pub name: String,
    /// Whether it takes work.
    pub open: bool,
    /// Threads that run at the same time.
    pub threads: usize,
    /// Threads of others that take part at this moment, by `join`, `scope`, `run` or
    /// a parallel iterator.
    pub guests: usize,
    /// Jobs from outside that nobody has begun.
    pub injected: usize,
    /// Jobs that nobody has begun, in all.
    pub queued: usize,
    /// The workers: more than [`threads`](Dump::threads) while some block, fewer if
    /// some have ended for idleness. In the order of their numbers.
    pub workers: Vec<WorkerDump>,
}

/// What a worker is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerDump {
    /// Its number in the pool.
    pub index: usize,
    /// The thread's name.
    pub name: String,
    /// What it is at.
    pub state: WorkerState,
    /// What it works on, the innermost, and for how long. `None` if it has nothing to
    /// do, or if the pool was built without
    /// [`publish_running`](crate::thread::Builder::publish_running).
    pub work: Option<(Work, Duration)>,
    /// Jobs that lie in its queue.
    pub queued: usize,
}

/// What a worker is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WorkerState {
    /// It runs something.
    Running,
    /// It looks for work.
    Searching,
    /// It runs something or looks for work: the pool doesn't publish which.
    Awake,
    /// It has found nothing to do, and sleeps.
    Parked,
    /// It sleeps inside of its work, until all jobs of a scope have ended.
    AwaitsScope,
    /// It sleeps inside of its work, until a half of a `join` has ended that another
    /// thread runs.
    AwaitsFork,
    /// It is in [`blocking`](fn@crate::thread::blocking), or waits for a job: its permit
    /// to run is lent.
    Blocking,
    /// It is one thread too many since others came back from blocking; it lingers for
    /// a moment, to be used again.
    Spare,
}

/// What a worker works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Work {
    /// A job that was spawned here.
    Job {
        /// Where `spawn` was called.
        site: &'static Location<'static>,
    },
    /// A half of a `join`, or a piece of a parallel iterator, that another thread
    /// began.
    Fork,
}

/// What `registry`'s pool is doing.
pub fn of(registry: &Registry) -> Dump {
    let now = Instant::now();
    let injected = registry.injected();
    let (staffed, spares) = (registry.staffed(), registry.sleep.spares());
    let asleep = registry.sleep.asleep();
    let lanes: Vec<_> = registry.lanes.iter().collect();
    let queued: usize = lanes.iter().map(|lane| lane.jobs.len()).sum();
    let state = |lane: &LaneShared| {
        let interest = asleep.iter().find(|(index, _)| *index == lane.index);
        match interest {
            _ if spares.contains(&lane.index) => WorkerState::Spare,
            Some((_, Interest::Anything)) => WorkerState::Parked,
            // These lend their permit, too.
            Some((_, Interest::Scope(_))) => WorkerState::AwaitsScope,
            Some((_, Interest::ForksOf(_))) => WorkerState::AwaitsFork,
            None if lane.activity.is_blocked() => WorkerState::Blocking,
            None if lane.activity.running().is_some() => WorkerState::Running,
            None if registry.config.publish_running => WorkerState::Searching,
            None => WorkerState::Awake,
        }
    };
    let worker = |lane: &&LaneShared| WorkerDump {
        index: lane.index,
        name: registry.config.name_of(lane.index),
        state: state(lane),
        work: lane
            .activity
            .running()
            .map(|(work, since)| (work, now.saturating_duration_since(since))),
        queued: lane.jobs.len(),
    };
    let is_worker = |index: &usize| staffed.contains(index) || spares.contains(index);
    Dump {
        name: registry.config.name.clone(),
        open: registry.gate.is_open(),
        threads: registry.config.threads,
        guests: registry.guests(),
        injected,
        queued: injected + queued,
        workers: lanes
            .iter()
            .filter(|lane| is_worker(&lane.index))
            .map(worker)
            .collect(),
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Job { site } => write!(f, "a job spawned at {site}"),
            Work::Fork => f.write_str("a part of what another thread began"),
        }
    }
}

impl fmt::Display for WorkerDump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            WorkerState::Running => "running",
            WorkerState::Searching => "searching",
            WorkerState::Awake => "running or searching",
            WorkerState::Parked => "parked",
            WorkerState::AwaitsScope => "waits for the end of a scope",
            WorkerState::AwaitsFork => "waits for a half of a join that runs elsewhere",
            WorkerState::Blocking => "blocking, its permit is lent",
            WorkerState::Spare => "spare",
        };
        write!(f, "{}: {state}", self.name)?;
        if let Some((work, since)) = self.work {
            write!(f, ", {work}, for {since:.1?}")?;
        }
        match self.queued {
            0 => Ok(()),
            queued => write!(f, ", {queued} jobs queued here"),
        }
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.open { "open" } else { "shutting down" };
        write!(
            f,
            "thread pool '{}', {state}: {} threads, {} guests, {} jobs queued, {} of them from \
             outside",
            self.name, self.threads, self.guests, self.queued, self.injected
        )?;
        for worker in &self.workers {
            write!(f, "\n  {worker}")?;
        }
        Ok(())
    }
}
