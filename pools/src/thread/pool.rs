//! [`ThreadPool`] and its [`Builder`]: the pool from outside.

use std::panic::Location;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::error::{Error, JobError};
use crate::limits;
use crate::thread::config::Config;
use crate::thread::dump::{self, Dump};
use crate::thread::handle::{JobHandle, refuse_on_event_loop};
use crate::thread::registry::Registry;
use crate::thread::scope::{self, Scope};
use crate::thread::sites::Site;
use crate::thread::watchdog::Stall;
use crate::thread::{borrowed, context, cpus, fork};

/// Options of a pool. `ThreadPool::builder().threads(4).name("crunch").build()?`
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    config: Config,
    threads: Option<usize>,
}

impl Builder {
    /// Threads that run at the same time. By default as many as the process may
    /// use processors, by affinity and cgroup quota; the environment variable
    /// `THREEPLY_THREADS` overrides that.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// The pool's name; its threads are called `name-0`, `name-1`, …
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Names each thread, by its index.
    pub fn thread_name(mut self, name: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        self.config.thread_name = Some(Box::new(name));
        self
    }

    /// Stack size of the threads, in bytes. By default std's, 2 MiB.
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.config.stack_size = Some(bytes);
        self
    }

    /// Called on each thread when it starts, with its index.
    pub fn on_start(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.on_start = Some(Box::new(hook));
        self
    }

    /// Called on each thread when it ends, with its index.
    pub fn on_exit(mut self, hook: impl Fn(usize) + Send + Sync + 'static) -> Self {
        self.config.on_exit = Some(Box::new(hook));
        self
    }

    /// Called with the panic of a job whose handle was dropped: no one else sees
    /// it. (The process's panic hook has printed it already.)
    pub fn on_panic(mut self, hook: impl Fn(JobError) + Send + Sync + 'static) -> Self {
        self.config.on_panic = Some(Box::new(hook));
        self
    }

    /// Threads that may be lent beyond the pool's own while others block, see
    /// [`blocking`](fn@crate::thread::blocking). 64 by default.
    pub fn max_spares(mut self, spares: usize) -> Self {
        self.config.max_spares = spares;
        self
    }

    /// Ends a thread that found no work for so long; it is started again when
    /// there is. By default threads stay, asleep and free of cost.
    pub fn idle_exit(mut self, after: Duration) -> Self {
        self.config.idle_exit = Some(after);
        self
    }

    /// Pins the `i`-th thread to the `i`-th processor that the process may use.
    /// Off by default: it helps steady loads on an otherwise idle machine, and
    /// hurts when somebody else needs that processor.
    pub fn pin(mut self, pin: bool) -> Self {
        self.config.pin = pin;
        self
    }

    /// Whether each worker publishes what it runs, since when, and where that was
    /// spawned, so that [`dump`](ThreadPool::dump) can name it. Off by default; the
    /// watchdog brings it along. Costs about 170 instructions a job with two looks at
    /// the clock (0.15 µs), and a word of the room in which a closure needs no
    /// allocation: where it needs one for that, 600 (0.23 µs).
    pub fn publish_running(mut self, on: bool) -> Self {
        self.config.publish_running = on;
        self
    }

    /// Has a thread watch that not all workers are stuck while there are jobs to run:
    /// that they have been at the very same jobs for `limit` while others were queued.
    /// It reports it, once each time, with the place where each job was spawned: on
    /// stderr, or to [`on_stall`](Self::on_stall). Jobs that compute for longer than
    /// that are reported, too: it can't be seen from outside what they do.
    ///
    /// Brings [`publish_running`](Self::publish_running) along. The thread looks
    /// [a few times](crate::limits::WATCHDOG_LOOKS) within `limit`, and sleeps for
    /// good while nothing runs.
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.config.watchdog = Some(limit);
        self.config.publish_running = true;
        self
    }

    /// What the [`watchdog`](Self::watchdog) calls, on its own thread, instead of
    /// writing on stderr. It should return soon, as [`ThreadPool::shutdown`] waits for
    /// that thread.
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        self.config.on_stall = Some(Box::new(hook));
        self
    }

    /// Makes the pool and starts its threads.
    ///
    /// # Errors
    /// [`Error::Config`] for no threads, too many, or a stack too small;
    /// [`Error::StartThread`] if the system refuses one.
    pub fn build(self) -> Result<ThreadPool, Error> {
        let mut config = self.config;
        config.threads = match self.threads {
            Some(threads) => threads,
            None => threads_from_environment()?.unwrap_or_else(cpus::available),
        };
        if config.threads == 0 {
            return Err(Error::Config(
                "a pool needs at least one thread; leave `threads` out for one per processor"
                    .to_owned(),
            ));
        }
        if config.threads > limits::MAX_THREADS || config.max_spares > limits::MAX_THREADS {
            return Err(Error::Config(format!(
                "a pool of {} threads and {} spare ones is beyond the limit of {} each",
                config.threads,
                config.max_spares,
                limits::MAX_THREADS
            )));
        }
        if let Some(bytes) = config.stack_size
            && bytes < limits::MIN_STACK_SIZE
        {
            return Err(Error::Config(format!(
                "a stack of {bytes} bytes is too small for a worker; give it at least {}",
                limits::MIN_STACK_SIZE
            )));
        }
        if config
            .watchdog
            .is_some_and(|limit| limit < limits::WATCHDOG_MIN)
        {
            return Err(Error::Config(format!(
                "a watchdog's limit of less than {:?} would take every job for stuck",
                limits::WATCHDOG_MIN
            )));
        }
        // A watchdog is of no use without.
        config.publish_running |= config.watchdog.is_some();
        let pool = ThreadPool {
            registry: Registry::new(config),
        };
        pool.registry.start_watchdog()?;
        pool.registry.start()?;
        Ok(pool)
    }
}

fn threads_from_environment() -> Result<Option<usize>, Error> {
    let Some(text) = std::env::var_os("THREEPLY_THREADS") else {
        return Ok(None);
    };
    match text.to_str().and_then(|text| text.trim().parse().ok()) {
        Some(threads) => Ok(Some(threads)),
        None => Err(Error::Config(format!(
            "THREEPLY_THREADS is {text:?}; set it to a number of threads, or not at all"
        ))),
    }
}

/// A pool of threads that share work by stealing.
///
/// ```
/// use threeply_pools::thread::ThreadPool;
///
/// let pool = ThreadPool::builder().threads(2).build()?;
/// let job = pool.spawn(|| 6 * 7);
/// let (a, b) = pool.join(|| 1 + 1, || 2 + 2);
/// assert_eq!((a, b, job.wait()?), (2, 4, 42));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `join`, `scope`, `run` and parallel iterators *take part*: called from
/// outside, they begin on the calling thread, and the pool's threads help when it
/// pays. Such code may run on the caller, without the pool's thread-locals, stack
/// size or pinning. `install`, `spawn` and `broadcast` always run on the pool's
/// threads.
///
/// Dropping the pool doesn't wait: what was spawned still runs, and the threads
/// end after it. [`shutdown`](Self::shutdown) waits.
#[derive(Debug)]
pub struct ThreadPool {
    registry: Arc<Registry>,
}

/// How a [`ThreadPool::shutdown`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Jobs that had not begun by the deadline; their handles say so.
    pub cancelled: usize,
    /// Threads whose job still runs; they end when it does.
    pub still_running: usize,
    /// How long it took.
    pub took: Duration,
}

impl ShutdownReport {
    /// Did everything end by itself?
    pub fn is_clean(&self) -> bool {
        self.cancelled == 0 && self.still_running == 0
    }
}

impl ThreadPool {
    /// A pool of `threads` threads.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn new(threads: usize) -> Result<Self, Error> {
        Self::builder().threads(threads).build()
    }

    /// Options first.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The pool that the free functions use outside any pool; made at first use,
    /// never shut down.
    ///
    /// # Panics
    /// If it can't be made: see [`Builder::build`].
    pub fn global() -> &'static Self {
        GLOBAL.get_or_init(|| match Self::builder().name("global").build() {
            Ok(pool) => pool,
            Err(error) => panic!("the global thread pool could not be made: {error}"),
        })
    }

    /// Makes the global pool with these options.
    ///
    /// # Errors
    /// As [`Builder::build`], and [`Error::Config`] if the global pool exists.
    pub fn build_global(options: Builder) -> Result<(), Error> {
        let exists = || {
            Error::Config(
                "the global pool exists already; configure it before its first use".to_owned(),
            )
        };
        if GLOBAL.get().is_some() {
            return Err(exists());
        }
        GLOBAL.set(options.build()?).map_err(|_| exists())
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(crate) fn take_part<R>(
        &self,
        site: Site,
        f: impl FnOnce(&crate::thread::seat::Seat) -> R,
    ) -> R {
        self.registry.take_part(site, f)
    }

    /// Threads that run at the same time.
    pub fn num_threads(&self) -> usize {
        self.registry.config.threads
    }

    /// The current thread's number in this pool, if it is one of its workers:
    /// below [`num_threads`](Self::num_threads), or beyond for a spare thread or
    /// one started after guests had come.
    pub fn current_index(&self) -> Option<usize> {
        context::with(|seat| {
            seat.filter(|seat| seat.lane.is_worker && Arc::ptr_eq(&seat.registry, &self.registry))
                .map(|seat| seat.lane.index())
        })
    }

    /// Starts a job on one of the pool's threads. Callable from anywhere, never
    /// waits. After a shutdown the handle says [`JobError::Closed`].
    #[track_caller]
    pub fn spawn<F, T>(&self, work: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.registry.spawn(Location::caller(), work)
    }

    /// Starts a job and forgets it: no handle, and no allocation if `work` fits into
    /// three words. Its panic goes to [`Builder::on_panic`]; after a shutdown it is
    /// dropped.
    #[track_caller]
    pub fn spawn_detached(&self, work: impl FnOnce() + Send + 'static) {
        self.registry.spawn_detached(Location::caller(), work);
    }

    /// [`spawn`](Self::spawn), if the pool takes work.
    ///
    /// # Errors
    /// [`Error::Closed`] after a shutdown, [`Error::Forked`] in a forked child.
    #[track_caller]
    pub fn try_spawn<F, T>(&self, work: F) -> Result<JobHandle<T>, Error>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.registry.check_open()?;
        Ok(self.spawn(work))
    }

    /// Runs both and returns both results; `b` possibly on another thread.
    ///
    /// `a` runs here and at once. `b` runs here after it, unless somebody was idle
    /// meanwhile. While `b` runs elsewhere this thread runs only parts of `b`. A
    /// panic of either is passed on once both have ended; `a`'s goes first, and if
    /// `a` panics before `b` was begun, `b` is dropped.
    #[inline]
    pub fn join<A, B, RA, RB>(&self, a: A, b: B) -> (RA, RB)
    where
        A: FnOnce() -> RA + Send,
        B: FnOnce() -> RB + Send,
        RA: Send,
        RB: Send,
    {
        self.registry.take_part(Site::of_type::<(A, B)>(), |seat| {
            fork::join(seat, |_| a(), |_| b())
        })
    }

    /// Runs `body`, which may spawn jobs that borrow from outside it, and waits
    /// for all of them. While it waits it runs jobs of this scope only.
    ///
    /// # Panics
    /// With `body`'s panic, else the first of its jobs, after all have ended.
    pub fn scope<'scope, F, R>(&self, body: F) -> R
    where
        F: FnOnce(&Scope<'scope>) -> R,
    {
        self.registry
            .take_part(Site::of_type::<F>(), |seat| scope::run(seat, body))
    }

    /// Runs `f` right here, as part of the pool: `join`, `scope` and parallel
    /// iterators inside it use this pool, and cost no wake-up while they are small.
    pub fn run<F, R>(&self, f: F) -> R
    where
        F: FnOnce() -> R,
    {
        self.registry.take_part(Site::of_type::<F>(), |_| f())
    }

    /// Runs `f` on one of the pool's threads, and waits for it; on a thread of the
    /// pool, right there. From another pool's thread, that pool lends the permit
    /// meanwhile.
    ///
    /// # Panics
    /// With `f`'s panic; if the pool was shut down; on an event loop's thread.
    #[track_caller]
    pub fn install<F, R>(&self, f: F) -> R
    where
        F: FnOnce() -> R + Send,
        R: Send,
    {
        borrowed::install(&self.registry, Location::caller(), f)
    }

    /// Runs `f` once on each of the pool's threads, with the thread's number, and
    /// returns the results in the order of these. Threads ended by `idle_exit` are
    /// started again; spare threads take part while they are lent.
    ///
    /// # Panics
    /// With the first panic of `f`, after all have ended; on an event loop's thread.
    #[track_caller]
    pub fn broadcast<F, R>(&self, f: F) -> Vec<R>
    where
        F: Fn(usize) -> R + Sync,
        R: Send,
    {
        borrowed::broadcast(&self.registry, Location::caller(), f)
    }

    /// What each worker does, and how much is queued: the answer to "why is nothing
    /// happening?". Where running jobs were spawned is told if the pool was built with
    /// [`publish_running`](Builder::publish_running). O(n) in workers; stops nobody,
    /// so that what it says of different workers is not of one moment.
    ///
    /// ```
    /// use threeply_pools::thread::{ThreadPool, WorkerState};
    ///
    /// let pool = ThreadPool::builder().threads(1).publish_running(true).build()?;
    /// let (go, wait) = std::sync::mpsc::channel::<()>();
    /// let (began, is_running) = std::sync::mpsc::channel();
    /// let job = pool.spawn(move || (began.send(()), wait.recv()).1.is_ok());
    /// is_running.recv()?;
    /// // thread pool 'pool', open: 1 threads, 0 guests, 0 jobs queued, 0 of them from outside
    /// //   pool-0: running, a job spawned at src/main.rs:6:16, for 5.3µs
    /// let dump = pool.dump();
    /// assert_eq!(dump.workers[0].state, WorkerState::Running);
    /// go.send(())?;
    /// assert!(job.wait()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn dump(&self) -> Dump {
        dump::of(&self.registry)
    }

    /// Takes no more work, runs what was spawned, and waits for the threads to
    /// end, `deadline` at most. What has not begun by then is cancelled; what runs
    /// can't be stopped, is reported, and its thread ends after it.
    ///
    /// From a thread of the pool this doesn't wait for that thread.
    ///
    /// # Panics
    /// On an event loop's thread, which must not block.
    pub fn shutdown(&self, deadline: Duration) -> ShutdownReport {
        refuse_on_event_loop();
        let began = Instant::now();
        self.registry.close();
        let deadline = began.checked_add(deadline);
        let mut left = self.registry.join_threads(deadline);
        let mut cancelled = 0;
        if left > 0 {
            cancelled = self.registry.cancel_queued();
            left = self
                .registry
                .join_threads(Some(Instant::now() + limits::CANCEL_GRACE));
        }
        self.registry.end_watchdog();
        ShutdownReport {
            cancelled,
            still_running: left,
            took: began.elapsed(),
        }
    }
}

static GLOBAL: OnceLock<ThreadPool> = OnceLock::new();

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.registry.close();
    }
}
