//! [`ProcessPool`] and its [`Builder`]: what users see.
//!
//! Read before this: the picture in [`super`]. Read after it: [`super::handle`],
//! then [`super::state`].

use crate::process::arena::Arena;
use crate::process::cell::Cell;
use crate::process::codec::{CodecError, Sink};
use crate::process::error::{Error, JobError};
use crate::process::handle::JobHandle;
use crate::process::job::{Arguments, Job, Target};
use crate::process::limits;
use crate::process::link::Link;
use crate::process::oom::OomCounter;
use crate::process::page::{RingBytes, SharedFile};
use crate::process::ring::Writer;
use crate::process::start;
use crate::process::state::{Delivery, Phase, Placed, State, Tally};
use crate::process::supervisor;
use crate::process::text::Text;
use crate::process::trampoline::Call;
use crate::process::worker::hook;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::thread::JoinHandle as Thread;
use std::time::{Duration, Instant};
use threeply_runtime::context::forbid_blocking;
use threeply_runtime::sys::eventfd::EventFd;

/// How a pool is to be; see [`Builder`] for what each means.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) workers: usize,
    pub(crate) name: Option<String>,
    pub(crate) stack_size: usize,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) start_in_main: bool,
    pub(crate) spinning: bool,
    pub(crate) queue_jobs: usize,
    pub(crate) queue_bytes: usize,
    pub(crate) jobs_per_worker: u64,
    pub(crate) job_limit: Option<Duration>,
    pub(crate) initializer: Option<Initializer>,
}

/// Runs first in every worker.
#[derive(Debug, Clone)]
pub(crate) struct Initializer {
    call: [u64; 2],
    argument: Vec<u8>,
}

/// Sets up a [`ProcessPool`].
#[derive(Debug, Clone)]
#[must_use = "a builder makes a pool only when `build` is called"]
pub struct Builder {
    options: Options,
    initializer_error: Option<Arc<str>>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            options: Options {
                workers: std::thread::available_parallelism().map_or(1, usize::from),
                name: None,
                stack_size: limits::STACK,
                memory_limit: None,
                start_in_main: false,
                spinning: true,
                queue_jobs: limits::QUEUE_JOBS,
                queue_bytes: limits::QUEUE_BYTES,
                jobs_per_worker: u64::MAX,
                job_limit: None,
                initializer: None,
            },
            initializer_error: None,
        }
    }
}

impl Builder {
    /// Number of worker processes; by default as many as there are processors for
    /// this process (affinity and control groups respected).
    pub fn workers(mut self, workers: usize) -> Builder {
        self.options.workers = workers;
        self
    }

    /// What the workers are called in lists of processes.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.options.name = Some(name.into());
        self
    }

    /// Bytes of stack for jobs; by default 8 MiB, as a main thread has.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.options.stack_size = bytes;
        self
    }

    /// The most private memory that a worker may have, in bytes (`RLIMIT_DATA`). A
    /// job that needs more aborts its worker, and fails with
    /// [`Cause::MemoryLimit`](crate::process::Cause::MemoryLimit).
    pub fn memory_limit(mut self, bytes: u64) -> Builder {
        self.options.memory_limit = Some(bytes);
        self
    }

    /// Lets workers begin in `main`, where [`worker_main`](crate::process::worker_main)
    /// must be called first, instead of before it.
    pub fn start_in_main(mut self, yes: bool) -> Builder {
        self.options.start_in_main = yes;
        self
    }

    /// Whether workers and callers may look for each other's messages for some
    /// microseconds before they sleep, when that has paid off lately. On by
    /// default; never done on a single processor.
    pub fn spinning(mut self, yes: bool) -> Builder {
        self.options.spinning = yes;
        self
    }

    /// Jobs that may be queued before `submit` blocks; by default a million.
    pub fn queue_jobs(mut self, jobs: usize) -> Builder {
        self.options.queue_jobs = jobs;
        self
    }

    /// Bytes of arguments that may be queued before `submit` blocks; by default 1 GiB.
    pub fn queue_bytes(mut self, bytes: usize) -> Builder {
        self.options.queue_bytes = bytes;
        self
    }

    /// Replaces a worker after it has run so many jobs (Python's
    /// `maxtasksperchild`). Never by default. Zero counts as one.
    pub fn jobs_per_worker(mut self, jobs: u64) -> Builder {
        self.options.jobs_per_worker = jobs.max(1);
        self
    }

    /// The time that each job may run; one that runs longer is killed with its
    /// worker, and fails with [`JobError::TimedOut`]. No limit by default.
    pub fn job_limit(mut self, limit: Duration) -> Builder {
        self.options.job_limit = Some(limit);
        self
    }

    /// Runs `function` first in every worker. If it panics, the worker counts as
    /// one that can't be started.
    pub fn initializer<A>(mut self, function: fn(A), argument: A) -> Builder
    where
        A: Serialize + DeserializeOwned,
    {
        match initializer(function, &argument) {
            Ok(initializer) => self.options.initializer = Some(initializer),
            Err(error) => self.initializer_error = Some(Arc::from(error.to_string())),
        }
        self
    }

    /// Starts the workers, and a thread for the supervisor. Returns as soon as their
    /// processes exist (about a millisecond for each); they report for work
    /// meanwhile.
    ///
    /// # Errors
    /// [`Error::NoWorkers`], [`Error::HookMissing`], [`Error::Argument`] for an
    /// initializer's argument, and what may go wrong when processes are started.
    pub fn build(self) -> Result<ProcessPool, Error> {
        let shared = self.start_workers()?;
        let thread = supervisor::on_a_thread(&shared).map_err(|source| {
            shared.end_at_once();
            Error::Resources {
                what: "no thread for the supervisor",
                source,
            }
        })?;
        Ok(ProcessPool {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// As [`build`](Builder::build), but with the supervisor as a task of the event
    /// loop that runs on this thread: a result then reaches the task that awaits
    /// it without any other thread. When the loop ends, so does the pool; jobs
    /// that aren't done by then fail with [`JobError::ShutDown`].
    ///
    /// A worker that died is replaced on the loop's thread, which takes it about
    /// a millisecond.
    ///
    /// # Errors
    /// As `build`, and [`Error::NoLoop`] if no loop runs on this thread.
    pub fn build_on_loop(self) -> Result<ProcessPool, Error> {
        threeply_runtime::context::check().map_err(Error::NoLoop)?;
        let shared = self.start_workers()?;
        supervisor::on_this_loop(&shared).map_err(Error::NoLoop)?;
        Ok(ProcessPool {
            shared,
            thread: Mutex::new(None),
        })
    }

    fn start_workers(self) -> Result<Arc<Shared>, Error> {
        if let Some(reason) = self.initializer_error {
            let reason = format!("the initializer: {reason}");
            return Err(Error::Argument { reason });
        }
        let mut options = self.options;
        if options.workers == 0 {
            return Err(Error::NoWorkers);
        }
        let in_main = options.start_in_main;
        if !hook::in_place(in_main) {
            return Err(Error::HookMissing { in_main });
        }
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        options.spinning &= processors > 1;
        let need = |what| move |source| Error::Resources { what, source };
        let arguments_file = SharedFile::new(c"threeply-arguments", limits::PAGE, limits::ARENA)
            .map_err(need("no memory file for arguments"))?;
        let mapping = arguments_file
            .map(true)
            .map_err(need("no address space for arguments"))?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(
                options.workers,
                options.spinning,
                options.jobs_per_worker,
            )),
            changed: Condvar::new(),
            arguments: Arc::new(Arena::new(mapping, 0)),
            arguments_file,
            supervisor_bell: EventFd::new().map_err(need("no eventfd"))?,
            oom: OomCounter::new(),
            options,
        });
        for slot in 0..shared.options.workers {
            let started = start::start(
                slot,
                &shared.options,
                &shared.arguments_file,
                &shared.supervisor_bell,
            );
            match started {
                Ok((link, writer)) => shared.admit(&mut shared.lock(), Arc::new(link), writer),
                Err(error) => {
                    shared.end_at_once();
                    return Err(error);
                }
            }
        }
        Ok(shared)
    }
}

fn initializer<A>(function: fn(A), argument: &A) -> Result<Initializer, Error>
where
    A: Serialize + DeserializeOwned,
{
    // An arena of its own, too small for anything: the argument stays inline.
    let none = SharedFile::new(c"threeply-none", limits::PAGE, limits::PAGE)
        .and_then(|file| file.map(true))
        .map_err(|source| Error::Resources {
            what: "no memory for the initializer's argument",
            source,
        })?;
    let arena = Arena::new(none, 0);
    let call = locate(Call::of(function))?;
    let encoded = encode(argument, &arena)?;
    match encoded {
        super::codec::Encoded::Inline(argument) => Ok(Initializer { call, argument }),
        super::codec::Encoded::Large { .. } => unreachable!("the arena has no room"),
    }
}

/// What all parties of a pool in this process share.
#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// Told when the queue has room, when all is done, and when all workers are gone.
    pub(crate) changed: Condvar,
    pub(crate) arguments: Arc<Arena>,
    pub(crate) arguments_file: SharedFile,
    pub(crate) supervisor_bell: EventFd,
    pub(crate) oom: OomCounter,
    pub(crate) options: Options,
}

impl Shared {
    /// The state, under its lock.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody has to be told that something has changed.
    pub fn is_waited_for(&self, state: &State) -> bool {
        state.waiting > 0 || !state.room_wakers.is_empty()
    }

    /// Tells those who wait for a change.
    pub fn tell_of_change(&self) {
        let wakers = std::mem::take(&mut self.lock().room_wakers);
        self.changed.notify_all();
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// Waits for a change, at most until `deadline`.
    pub fn wait_for_change<'s>(
        &self,
        mut state: MutexGuard<'s, State>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'s, State> {
        state.waiting += 1;
        let mut state = match deadline {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.waiting -= 1;
        state
    }

    /// Wakes the supervisor.
    pub fn ring_supervisor(&self) {
        let _ = self.supervisor_bell.notify();
    }

    /// Takes in a worker that was just started, and sends it the initializer.
    pub fn admit(&self, state: &mut State, link: Arc<Link>, writer: Writer<RingBytes>) {
        let slot = link.slot;
        state.add(Arc::clone(&link), writer, Instant::now());
        if let Some(Initializer { call, argument }) = &self.options.initializer {
            let job = Job {
                target: Arc::new(Initialized(Arc::clone(&link))),
                call: *call,
                arguments: Arguments::Inline(argument.clone()),
                index: 0,
                count: 1,
                limit: None,
            };
            state.send_first(slot, job);
        }
        state.refill(slot);
        // It may have come up and gone to sleep before we came to this.
        link.ring_if_asleep();
    }

    /// Closes the pool without any patience: kills and reaps the workers, and fails
    /// what they had.
    pub fn end_at_once(&self) {
        let mut deliveries = Vec::new();
        self.lock().phase = Phase::Closed;
        for link in self.links() {
            link.kill();
            let _ = link.wait_for_end();
            self.worker_may_have_ended(&link);
        }
        self.lock()
            .fail_queue(|| JobError::ShutDown, &mut deliveries);
        Delivery::deliver_all(&mut deliveries);
        self.tell_of_change();
    }
}

/// Where an initializer's outcome goes.
struct Initialized(Arc<Link>);

impl Target for Initialized {
    fn deliver(&self, _: usize, outcome: super::cell::Outcome) {
        if let Err(error) = outcome {
            self.0.refuse(format!("the initializer failed: {error}"));
        }
    }
    fn is_unwanted(&self) -> bool {
        false
    }
    fn is_internal(&self) -> bool {
        true
    }
}

pub(crate) fn locate(call: Call) -> Result<[u64; 2], Error> {
    let text = Text::of_this_program();
    match (
        text.offset_of(call.trampoline),
        text.offset_of(call.function),
    ) {
        (Some(trampoline), Some(function)) => Ok([trampoline, function]),
        _ => Err(Error::NotInExecutable),
    }
}

/// Encodes one argument as an element: its length, then its bytes.
fn encode<A: Serialize>(argument: &A, arena: &Arena) -> Result<super::codec::Encoded, Error> {
    let mut sink = Sink::new(arena, u32::MAX as usize);
    append(&mut sink, argument).map_err(|error| match error {
        CodecError::TooLarge { len, max } => Error::TooLarge { len, max },
        other => Error::Argument {
            reason: other.to_string(),
        },
    })?;
    Ok(sink.finish())
}

/// Appends one argument as an element.
pub(crate) fn append<A: Serialize>(sink: &mut Sink<'_>, argument: &A) -> Result<(), CodecError> {
    let start = sink.len();
    sink.put(&[0; 4])?;
    sink.value(argument)?;
    let len = sink.len() - start - 4;
    let len = u32::try_from(len).map_err(|_| CodecError::TooLarge {
        len,
        max: u32::MAX as usize,
    })?;
    sink.patch_u32(start, len);
    Ok(())
}

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
    shared: Arc<Shared>,
    thread: Mutex<Option<Thread<()>>>,
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

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.shared.options.workers
    }

    /// Process ids of the workers that are alive, for information.
    pub fn worker_pids(&self) -> Vec<u32> {
        let state = self.shared.lock();
        state
            .workers
            .iter()
            .flatten()
            .map(|worker| worker.link.pid)
            .collect()
    }

    /// Hands in a job. Blocks while the queue is full.
    ///
    /// # Errors
    /// [`Error::NotInExecutable`], [`Error::Argument`] and [`Error::TooLarge`] for
    /// this job alone; [`Error::ShutDown`] and [`Error::Broken`] for every job.
    pub fn submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<JobHandle<R>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let (cell, job) = self.job(function, &argument)?;
        self.accept(cell, job, false, true)
    }

    /// As [`submit`](ProcessPool::submit), but doesn't wait.
    ///
    /// # Errors
    /// As `submit`, and [`Error::Full`].
    pub fn try_submit<A, R>(&self, function: fn(A) -> R, argument: A) -> Result<JobHandle<R>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let (cell, job) = self.job(function, &argument)?;
        self.accept(cell, job, false, false)
    }

    /// As [`submit`](ProcessPool::submit), but waits for room asynchronously.
    ///
    /// Cancel-safe: if it is dropped before it is done, nothing was submitted.
    ///
    /// # Errors
    /// As `submit`.
    pub async fn submit_async<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<JobHandle<R>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let (cell, job) = self.job(function, &argument)?;
        let mut job = Some(job);
        let options = &self.shared.options;
        poll_fn(|context| {
            let mut state = self.shared.lock();
            let Some(waiting) = &job else {
                return Poll::Ready(());
            };
            let room = state.has_room(waiting, options.queue_jobs, options.queue_bytes);
            if room || state.phase != Phase::Open || !state.must_queue() {
                return Poll::Ready(());
            }
            state.room_wakers.push(context.waker().clone());
            Poll::Pending
        })
        .await;
        let job = job.take().expect("still here");
        // Others may have been faster; then this blocks for a moment.
        self.accept(cell, job, false, true)
    }

    /// Runs a job and waits for its result: the fastest way to do just that, since
    /// nobody but the caller is going to be woken by the reply.
    ///
    /// # Errors
    /// The outer as [`submit`](ProcessPool::submit), the inner as
    /// [`JobHandle::wait`].
    pub fn call<A, R>(
        &self,
        function: fn(A) -> R,
        argument: A,
    ) -> Result<Result<R, JobError>, Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let (cell, job) = self.job(function, &argument)?;
        Ok(self.accept(cell, job, true, true)?.wait())
    }

    fn job<A, R>(&self, function: fn(A) -> R, argument: &A) -> Result<(Arc<Cell>, Job), Error>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize + DeserializeOwned,
    {
        let call = locate(Call::of(function))?;
        let encoded = encode(argument, &self.shared.arguments)?;
        let cell = Arc::new(Cell::default());
        let job = Job {
            target: Arc::clone(&cell) as Arc<dyn Target>,
            call,
            arguments: Arguments::new(encoded, &self.shared.arguments),
            index: 0,
            count: 1,
            limit: self.shared.options.job_limit,
        };
        Ok((cell, job))
    }

    fn accept<R>(
        &self,
        cell: Arc<Cell>,
        job: Job,
        direct: bool,
        wait: bool,
    ) -> Result<JobHandle<R>, Error> {
        let (placed, awake) = self.shared.accept(job, direct, wait)?;
        Ok(JobHandle::new(cell, &self.shared, placed, awake, direct))
    }

    /// Takes no more jobs, waits until those that it has are done or `patience` has
    /// passed, ends the workers, and waits for them.
    ///
    /// Jobs that weren't done by then fail with [`JobError::ShutDown`].
    ///
    /// # Panics
    /// On the thread of an event loop, which it would block: use
    /// [`shutdown_async`](ProcessPool::shutdown_async) there.
    pub fn shutdown(self, patience: Duration) -> ShutdownReport {
        forbid_blocking("`ProcessPool::shutdown`", "`shutdown_async(..).await`");
        let before = self.begin_shutdown(patience);
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
        report
    }

    /// As [`shutdown`](ProcessPool::shutdown), but waits asynchronously, on any
    /// executor.
    ///
    /// Cancel-safe in so far as the shutdown goes on if it is dropped.
    pub async fn shutdown_async(self, patience: Duration) -> ShutdownReport {
        let before = self.begin_shutdown(patience);
        poll_fn(|context| {
            let mut state = self.shared.lock();
            if state.is_over() {
                return Poll::Ready(ShutdownReport::new(&before, &state.tally));
            }
            state.room_wakers.push(context.waker().clone());
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

impl Drop for ProcessPool {
    fn drop(&mut self) {
        self.shared.drain(None);
    }
}

impl Shared {
    /// Takes no more jobs; the supervisor does the rest.
    fn drain(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
        if let Some(deadline) = deadline {
            state.deadline = Some(deadline);
        }
        drop(state);
        self.ring_supervisor();
        self.tell_of_change();
    }

    /// Accepts a job. Returns where it was sent, if at once, and whether that
    /// worker was awake.
    pub fn accept(
        &self,
        job: Job,
        direct: bool,
        wait: bool,
    ) -> Result<(Option<Placed>, bool), Error> {
        let options = &self.options;
        let limited = job.limit.is_some();
        let mut state = self.lock();
        loop {
            if let Some(failure) = &state.broken {
                return Err(Error::Broken(failure.clone()));
            }
            if state.phase != Phase::Open {
                return Err(Error::ShutDown);
            }
            if !state.must_queue() || state.has_room(&job, options.queue_jobs, options.queue_bytes)
            {
                break;
            }
            if !wait {
                return Err(Error::Full);
            }
            drop(state);
            forbid_blocking("`submit` to a full pool", "`submit_async(..).await`");
            state = self.lock();
            if state.phase == Phase::Open
                && !state.has_room(&job, options.queue_jobs, options.queue_bytes)
            {
                state = self.wait_for_change(state, None);
            }
        }
        let placed = state.accept(job, direct);
        let ticks = placed.is_some() && state.starts_ticking();
        drop(state);
        let mut awake = true;
        if let Some(placed) = &placed {
            awake = !placed.link.ring_if_asleep();
        }
        if limited || ticks {
            // It has a deadline, or workers, to look after.
            self.ring_supervisor();
        }
        Ok((placed, awake))
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
