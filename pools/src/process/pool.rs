//! [`ProcessPool`]: what users see.
//!
//! Read before this: the picture in [`super`] and [`super::builder`]. Read after
//! it: [`super::handle`], then [`super::state`].

use crate::process::admission::Admission;
use crate::process::builder::Builder;
use crate::process::cell::Cell;
use crate::process::dump::Dump;
use crate::process::encode::{encode, locate};
use crate::process::error::{Error, JobError};
use crate::process::handle::JobHandle;
use crate::process::job::{Job, Target};
use crate::process::options::JobOptions;
use crate::process::shared::Shared;
use crate::process::state::Tally;
use crate::process::statistics::Statistics;
use crate::process::terms::Terms;
use crate::process::trampoline::Call;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::{Future, poll_fn};
use std::panic::Location;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle as Thread;
use std::time::{Duration, Instant};
use threeply_runtime::context::forbid_blocking;
use threeply_runtime::inspect::{self, WaitsFor, blocked};

/// A pool of worker processes that run functions of this program.
///
/// A worker is this executable, started once more and diverted before `main`; no
/// set-up is needed. A job is a function (or a closure that captures nothing) and
/// an argument; argument and result cross by serde.
///
/// ```
/// use threeply_pools::process::ProcessPool;
///
/// let pool = ProcessPool::new(2)?;
/// let job = pool.submit(|n: u64| (1..=n).product::<u64>(), 10)?;
/// assert_eq!(job.wait()?, 3_628_800);
///
/// // What a closure would have captured goes into the argument.
/// let factor = 3;
/// assert_eq!(pool.call(|(a, b): (i32, i32)| a * b, (factor, 14))??, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A worker that dies takes one job with it, the one that it was running; what it
/// hadn't begun runs elsewhere, and another worker takes its place.
///
/// Dropping the pool doesn't wait: what was submitted still runs to its end, then
/// the workers exit. [`shutdown`](ProcessPool::shutdown) waits. When this process
/// ends, in whatever way, its workers end too.
#[derive(Debug)]
pub struct ProcessPool {
    pub(crate) shared: Arc<Shared>,
    pub(crate) thread: Mutex<Option<Thread<()>>>,
}

impl ProcessPool {
    /// A pool of `workers` processes.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(workers: usize) -> Result<ProcessPool, Error> {
        ProcessPool::builder().workers(workers).build()
    }

    /// A pool that is to be set up first.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Number of workers that there are to be. (There may be fewer, while some are
    /// being started, or if [`idle_exit`](Builder::idle_exit) is set.)
    pub fn workers(&self) -> usize {
        self.shared.lock().size()
    }

    /// Changes the number of workers. More are started at once, by the supervisor; of
    /// too many, those with the least to do go, each after the job that it has begun.
    /// Doesn't wait for either. No job is lost.
    ///
    /// # Errors
    /// [`Error::NoWorkers`] for zero.
    pub fn resize(&self, workers: usize) -> Result<(), Error> {
        if workers == 0 {
            return Err(Error::NoWorkers);
        }
        let mut state = self.shared.lock();
        let recalled = state.resize(workers, Instant::now());
        self.shared.send_on(state, recalled);
        Ok(())
    }

    /// Process ids of the workers that are alive, for information.
    pub fn worker_pids(&self) -> Vec<u32> {
        let state = self.shared.lock();
        let workers = state.workers.iter().flatten();
        workers.map(|worker| worker.link.pid).collect()
    }

    /// What the pool and its workers are doing at this moment.
    pub fn statistics(&self) -> Statistics {
        Statistics::of(&self.shared.lock(), Instant::now())
    }

    /// Every worker and every job that isn't done, by name, place of submission and
    /// state: the answer to "why is nothing happening?". O(n) in workers and jobs,
    /// under the pool's lock; asks no worker, so it answers while all of them hang.
    ///
    /// ```
    /// use threeply_pools::process::{ProcessPool, WorkerState};
    ///
    /// let pool = ProcessPool::new(1)?;
    /// let job = pool.options().name("nap").submit(
    ///     |ms| std::thread::sleep(std::time::Duration::from_millis(ms)),
    ///     300,
    /// )?;
    /// // process pool, open: 1 of 1 workers, 1 jobs
    /// //   worker 4711: busy with job 0, `nap` (src/main.rs:5:16) for 1.2ms, 0 done
    /// //   job `nap` (src/main.rs:5:16): runs in worker 4711 as 0 for 1.2ms
    /// let dump = pool.dump();
    /// assert_eq!(dump.jobs[0].label.name(), Some("nap"));
    /// assert_ne!(dump.workers[0].state, WorkerState::Idle);
    /// job.wait()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dump(&self) -> Dump {
        Dump::of(&self.shared.lock(), Instant::now())
    }

    /// Hands in a job. Blocks while the queue is full.
    ///
    /// # Errors
    /// [`Error::NotInExecutable`], [`Error::Argument`] and [`Error::TooLarge`] for
    /// this job alone; [`Error::ShutDown`] and [`Error::Broken`] for every job.
    #[track_caller]
    pub fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<JobHandle<R>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.options().submit(function, argument)
    }

    /// As [`submit`](ProcessPool::submit), but doesn't wait.
    ///
    /// # Errors
    /// As `submit`, and [`Error::Full`].
    #[track_caller]
    pub fn try_submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<JobHandle<R>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.options().try_submit(function, argument)
    }

    /// As [`submit`](ProcessPool::submit), but waits for room asynchronously, on any
    /// executor; those who wait get in in the order in which they came.
    ///
    /// Cancel-safe: if it is dropped before it is done, nothing was submitted.
    ///
    /// # Errors
    /// As `submit`.
    #[track_caller]
    pub fn submit_async<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> impl Future<Output = Result<JobHandle<R>, Error>> + Send + use<A, R>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.options().submit_async(function, argument)
    }

    /// Runs a job and waits for its result: `submit` and
    /// [`wait`](JobHandle::wait) in one.
    ///
    /// # Errors
    /// The outer as [`submit`](ProcessPool::submit), the inner as
    /// [`JobHandle::wait`].
    #[track_caller]
    pub fn call<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<Result<R, JobError>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        self.options().call(function, argument)
    }

    /// For jobs with a name, limits or retries of their own; they begin with the
    /// pool's.
    pub fn options(&self) -> JobOptions<'_> {
        JobOptions::new(self)
    }

    pub(crate) fn prepare<A, R>(
        &self,
        function: fn(A) -> R,
        argument: &A,
        terms: Option<Arc<Terms>>,
        site: &'static Location<'static>,
    ) -> Result<Prepared, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let call = locate(Call::of(function))?;
        let (arguments, baggage) = encode(argument, &self.shared.arguments)?;
        let cell = Arc::new(Cell::default());
        let job = Job {
            target: Arc::clone(&cell) as Arc<dyn Target>,
            call,
            arguments,
            index: 0,
            count: 1,
            terms,
            site,
            attempt: 1,
            baggage,
        };
        Ok((cell, job))
    }

    pub(crate) fn accept<R>(
        &self,
        (cell, job): Prepared,
        wait: bool,
    ) -> Result<JobHandle<R>, Error> {
        let label = job.label();
        let (placed, awake) = self.shared.accept(job, true, wait)?;
        Ok(JobHandle::new(cell, label, &self.shared, placed, awake))
    }

    /// Takes no more jobs, waits until those that it has are done or `patience` has
    /// passed, ends the workers, and waits for them.
    ///
    /// Jobs that weren't done by then fail with [`JobError::ShutDown`]; whoever submits
    /// meanwhile, or waits for room, gets [`Error::ShutDown`]. Called again, it waits for
    /// the same end. What the pool keeps beside its workers (some descriptors, its part
    /// in the fork server) goes when it is dropped.
    ///
    /// # Panics
    /// On the thread of an event loop, which it would block: use
    /// [`shutdown_async`](ProcessPool::shutdown_async) there.
    pub fn shutdown(&self, patience: Duration) -> ShutdownReport {
        forbid_blocking("`ProcessPool::shutdown`", "`shutdown_async(..).await`");
        let before = self.begin_shutdown(patience);
        let _told = blocked::until(vec![WaitsFor::other("the end of a process pool")]);
        let mut state = self.shared.lock();
        while !state.is_over() {
            state = self.shared.wait_for_change(state, None);
        }
        let report = ShutdownReport::new(&before, &state.tally);
        drop(state);
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
        self.shared.outputs.wait();
        self.shared.callbacks.wait();
        report
    }

    /// As [`shutdown`](ProcessPool::shutdown), but waits asynchronously, on any
    /// executor.
    ///
    /// Cancel-safe in so far as the shutdown goes on if it is dropped.
    pub async fn shutdown_async(&self, patience: Duration) -> ShutdownReport {
        let before = self.begin_shutdown(patience);
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if state.is_over() {
                return Poll::Ready(ShutdownReport::new(&before, &state.tally));
            }
            state.room.for_the_end.push(context.waker().clone());
            inspect::note(|| WaitsFor::other("the end of a process pool"));
            Poll::Pending
        })
        .await
    }

    fn begin_shutdown(&self, patience: Duration) -> Tally {
        let before = self.shared.lock().tally;
        self.shared.drain(Instant::now().checked_add(patience));
        before
    }
}

/// A job that is ready to be handed in, and where its outcome will be.
pub(crate) type Prepared = (Arc<Cell>, Job);

/// Waits for room for what was prepared.
pub(crate) fn admission<R>(
    shared: &Arc<Shared>,
    prepared: Result<Prepared, Error>,
) -> impl Future<Output = Result<JobHandle<R>, Error>> + Send + use<R> {
    let shared = Arc::clone(shared);
    async move {
        let (cell, job) = prepared?;
        let label = job.label();
        let (placed, awake) = Admission::new(&shared, job).await?;
        Ok(JobHandle::new(cell, label, &shared, placed, awake))
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.shared.drain(None);
    }
}

impl ShutdownReport {
    fn new(before: &Tally, now: &Tally) -> ShutdownReport {
        ShutdownReport {
            completed: now.completed,
            failed: now.failed,
            abandoned: now.failed - before.failed,
            workers_started: now.started,
            workers_died: now.died,
        }
    }
}

/// What a pool has done, told at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Jobs that gave a result.
    pub completed: u64,
    /// Jobs that gave an error of any kind, in all.
    pub failed: u64,
    /// Jobs that failed since the shutdown began: unfinished when patience ended,
    /// or by themselves.
    pub abandoned: u64,
    /// Workers that were started in all.
    pub workers_started: u64,
    /// Workers that died without having been told to.
    pub workers_died: u64,
}
