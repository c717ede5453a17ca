//! [`Builder`]: how a pool is to be, and its start.
//!
//! Read before this: the picture in [`super`]. Read after it: `options`, then
//! [`super::pool`].

mod options;

pub(crate) use options::Initializer;
pub use options::Options;

use crate::process::census;
use crate::process::control_group;
use crate::process::error::Error;
use crate::process::fork_server::ForkServer;
use crate::process::output::Output;
use crate::process::pool::ProcessPool;
use crate::process::shared::Shared;
use crate::process::stall::{OnStall, Stall};
use crate::process::start::{Begun, StartMethod};
use crate::process::supervisor::{self, Host};
use crate::process::terms::Retry;
use crate::process::worker::hook;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

/// Sets up a [`ProcessPool`].
#[derive(Debug, Clone, Default)]
#[must_use = "a builder makes a pool only when `build` is called"]
pub struct Builder {
    options: Options,
    /// If it was told.
    workers: Option<usize>,
    initializer_error: Option<Arc<str>>,
}

impl Builder {
    /// Number of worker processes; by default as many as there are processors for
    /// this process (affinity and control groups respected).
    pub fn workers(mut self, workers: usize) -> Builder {
        self.workers = Some(workers);
        self
    }

    /// What the workers are called in lists of processes.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.options.name = Some(name.into());
        self
    }

    /// Has the supervisor watch that not all workers are stuck while there are jobs to
    /// run: that they have been at the very same jobs for `limit` while others wait. It
    /// reports it, once each time, with what each job is called and where it was
    /// submitted: on stderr, or to [`on_stall`](Self::on_stall). Jobs that compute for
    /// longer than that are reported, too; nothing is done to them (see
    /// [`limit`](crate::process::JobOptions::limit) for that).
    ///
    /// The supervisor looks [a few times](crate::limits::WATCHDOG_LOOKS) within `limit`
    /// while the pool has jobs, and not at all while it has none. Off by default.
    pub fn watchdog(mut self, limit: Duration) -> Builder {
        self.options.watchdog = Some(limit);
        self
    }

    /// What the [`watchdog`](Self::watchdog) calls instead of writing on stderr, on the
    /// pool's thread for callbacks.
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Builder {
        self.options.on_stall = Some(OnStall(Arc::new(hook)));
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
        self.options.memory_limit = Some(bytes.max(1)); // Zero is "none" to a worker.
        self
    }

    /// Gives each worker a control group of its own, in which everything stays that its
    /// jobs start: with the worker, all of that ends, without exception
    /// ([`control_group`]). Needs version 2 of control
    /// groups, Linux 5.14, and the right to make directories in this process's own group
    /// (a service of systemd with `Delegate=yes`, a container of one's own, root). Off by
    /// default: without it, what a job starts is found by its process group and its
    /// environment, and what has left both escapes.
    pub fn control_groups(mut self, yes: bool) -> Builder {
        self.options.control_groups = yes;
        self
    }

    /// Lets workers begin in `main`, where [`worker_main`](crate::process::worker_main)
    /// must be called first, instead of before it.
    pub fn start_in_main(mut self, yes: bool) -> Builder {
        self.options.start_in_main = yes;
        self
    }

    /// How workers are started: by [`StartMethod::Exec`] unless set.
    ///
    /// ```
    /// use threeply_pools::process::{ProcessPool, StartMethod};
    ///
    /// let pool = ProcessPool::builder()
    ///     .workers(2)
    ///     .start_method(StartMethod::ForkServer)
    ///     .build()?;
    /// assert_eq!(pool.call(|n: u32| n + 1, 1)??, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn start_method(mut self, method: StartMethod) -> Builder {
        self.options.start_method = method;
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
    /// worker, and fails with [`JobError::TimedOut`](crate::process::JobError). No limit by default.
    pub fn job_limit(mut self, limit: Duration) -> Builder {
        self.options.terms.limit = Some(limit);
        self
    }

    /// The processor time that each job may use; one that uses more is killed with
    /// its worker, and fails with [`JobError::CpuExceeded`](crate::process::JobError).
    /// It is measured over all threads of the worker, without the processes that it
    /// starts, and may be exceeded by some milliseconds. No limit by default.
    pub fn cpu_limit(mut self, limit: Duration) -> Builder {
        self.options.terms.cpu_limit = Some(limit);
        self
    }

    /// Runs jobs again whose worker died. Never by default; see [`Retry`].
    pub fn retry(mut self, retry: Retry) -> Builder {
        self.options.terms.retry = retry;
        self
    }

    /// Replaces a worker that has more private memory than so many bytes after a job
    /// (jobs that leak). Never by default.
    pub fn recycle_above(mut self, bytes: u64) -> Builder {
        self.options.recycle_above = Some(bytes.max(1));
        self
    }

    /// Ends workers that have had nothing to do for so long. They come back when
    /// there are jobs for them, which then wait for their start (some milliseconds).
    /// By default workers stay.
    pub fn idle_exit(mut self, patience: Duration) -> Builder {
        self.options.idle_exit = Some(patience);
        self
    }

    /// Where the stdout of workers goes; by default to this process's own.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use threeply_pools::process::{Output, ProcessPool};
    ///
    /// let lines = Arc::new(Mutex::new(Vec::new()));
    /// let seen = Arc::clone(&lines);
    /// let pool = ProcessPool::builder()
    ///     .workers(1)
    ///     .stdout(Output::lines(move |line| seen.lock().unwrap().push(line.text.to_owned())))
    ///     .build()?;
    /// pool.call(|name: String| print!("hello, {name}"), "world".to_owned())??;
    /// pool.shutdown(std::time::Duration::MAX);
    /// assert_eq!(*lines.lock().unwrap(), ["hello, world"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn stdout(mut self, output: Output) -> Builder {
        self.options.stdout = output;
        self
    }

    /// Where the stderr of workers goes; by default to this process's own, by way of
    /// the pool, so that errors can tell a worker's last words ([`Output::relay`]).
    pub fn stderr(mut self, output: Output) -> Builder {
        self.options.stderr = output;
        self
    }

    /// Runs `function` first in every worker, later ones too. If it panics, the worker
    /// counts as one that can't be started.
    ///
    /// What it makes is found by jobs in a static; a large argument is given to each
    /// worker anew, unless it is a [`Shared`](crate::process::Shared).
    ///
    /// ```
    /// use std::sync::OnceLock;
    /// use threeply_pools::process::ProcessPool;
    ///
    /// static WORDS: OnceLock<Vec<String>> = OnceLock::new();
    ///
    /// let pool = ProcessPool::builder()
    ///     .workers(2)
    ///     .initializer(|words| WORDS.set(words).unwrap(), vec!["zero".to_owned(), "one".into()])
    ///     .build()?;
    /// assert_eq!(pool.call(|n: usize| WORDS.get().unwrap()[n].clone(), 1)??, "one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn initializer<A>(mut self, function: fn(A), argument: A) -> Builder
    where
        A: Serialize + DeserializeOwned,
    {
        match Initializer::new(function, &argument) {
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
        let no_thread = |source| Error::Resources {
            what: "no thread for the supervisor",
            source,
        };
        let (shared, host) = self.start_workers(|| Host::new().map_err(no_thread))?;
        shared.guarded.store(true, Ordering::Relaxed);
        let thread = host.supervise(&shared).map_err(|source| {
            shared.end_at_once();
            no_thread(source)
        })?;
        Ok(ProcessPool {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// As [`build`](Builder::build), but with the supervisor as a task of the event
    /// loop that runs on this thread: a result then reaches the task that awaits
    /// it without any other thread. When the loop ends, so does the pool; jobs
    /// that aren't done by then fail with [`JobError::ShutDown`](crate::process::JobError).
    ///
    /// A worker that died is replaced on the loop's thread, which takes it about
    /// a millisecond.
    ///
    /// # Errors
    /// As `build`, and [`Error::NoLoop`] if no loop runs on this thread.
    pub fn build_on_loop(self) -> Result<ProcessPool, Error> {
        // Descriptors may run out before the loop first sleeps.
        supervisor::prepare_this_loop()?;
        let (shared, ()) = self.start_workers(|| Ok(()))?;
        supervisor::on_this_loop(&shared).map_err(Error::NoLoop)?;
        Ok(ProcessPool {
            shared,
            thread: Mutex::new(None),
        })
    }

    /// Starts the workers, and has `host` made, which comes up beside them.
    fn start_workers<H>(
        self,
        host: impl FnOnce() -> Result<H, Error>,
    ) -> Result<(Arc<Shared>, H), Error> {
        if let Some(reason) = self.initializer_error {
            let reason = format!("the initializer: {reason}");
            return Err(Error::Argument { reason });
        }
        let mut options = self.options;
        options.workers = self.workers.unwrap_or_else(processors);
        if options.workers == 0 {
            return Err(Error::NoWorkers);
        }
        if options.watchdog == Some(Duration::ZERO) {
            return Err(Error::NoPatience);
        }
        if options.control_groups {
            control_group::sweep();
        }
        let in_main = options.start_in_main;
        if !hook::in_place(in_main) {
            return Err(Error::HookMissing { in_main });
        }
        options.spinning &= *PROCESSORS > 1;
        if options.start_method == StartMethod::ForkServer {
            options.fork_server = Some(ForkServer::get(in_main));
        }
        // First of all what takes longest, the exec of the first worker. (A spare of the fork
        // server is up already, and would only wait.)
        let begin = |slot, options: &Options| Begun::new(slot, options, &|| false);
        let mut first = match options.fork_server {
            None => Some(begin(0, &options)?),
            Some(_) => None,
        };
        let host = host()?;
        let shared = Shared::new(options)?;
        census::enter(Arc::downgrade(&shared));
        for slot in 0..shared.options.workers {
            if shared.options.idle_exit.is_some() && slot > 0 {
                break; // The others come when there is work for them.
            }
            let begun = match first.take() {
                Some(begun) => Ok(begun),
                None => begin(slot, &shared.options),
            };
            match begun.and_then(|begun| shared.equip(begun)) {
                Ok((link, writer)) => shared.admit(&mut shared.lock(), Arc::new(link), writer),
                Err(error) => {
                    shared.end_at_once();
                    return Err(error);
                }
            }
        }
        Ok((shared, host))
    }
}

/// How many processors there are to use now. std looks for a quota, too, which takes 17
/// system calls, 25 µs.
fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many there were for the first pool: enough to know whether spinning pays.
static PROCESSORS: LazyLock<usize> = LazyLock::new(processors);
