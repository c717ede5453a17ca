//! The event loop.
//!
//! Reading order: [`mod@core`] (what a loop consists of), [`turn`] (what it does),
//! [`sleeper`] (how it waits), [`ending`] (how it stops), [`handle`] and
//! [`remote_handle`] (how other threads reach it), [`run_queue`], [`mod@stats`].

pub mod builder;
pub mod core;
pub mod ending;
pub(crate) mod fork;
pub mod handle;
pub mod remote_handle;
pub mod run_queue;
pub mod sleeper;
pub mod stats;
pub mod turn;

use std::fmt;
use std::future::{self, Future};
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::context::{self, Entered};
use crate::error::Error;
use crate::inspect::watcher::Watcher;
use crate::inspect::{Dump, on_signal, watchdog};
use crate::task::cell::Extra;
use crate::task::{JoinHandle, TaskInfo};
use builder::Options;

pub use self::core::Core;
pub use builder::Builder;
pub use ending::ShutdownReport;
pub use handle::Handle;
pub use remote_handle::RemoteHandle;
pub use stats::Stats;

/// Runs a future on a loop that is made for it, and returns its output.
///
/// When the future is ready, the tasks that it spawned and that haven't ended are
/// dropped; await their handles to let them end. To keep a loop over several
/// calls, or to configure one, make an [`EventLoop`].
///
/// Starting and ending the loop costs less than a microsecond.
///
/// # Panics
/// If the future does; if a loop runs on this thread already (loops don't nest);
/// if 65,535 loops are alive.
///
/// ```
/// assert_eq!(threeply_runtime::block_on(async { 6 * 7 }), 42);
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    refuse_nesting("`block_on`");
    match EventLoop::new() {
        Ok(event_loop) => event_loop.block_on(future),
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn refuse_nesting(what: &str) {
    context::forbid_blocking(
        what,
        "`.await` in async code, `spawn` for something that should run by itself, or a thread of \
         its own (`unblock`) for code that must block",
    );
}

/// What the loop that runs on this thread has done so far; `None` outside of one.
#[must_use]
pub fn stats() -> Option<Stats> {
    context::try_with(Core::stats)
}

/// A single-threaded event loop.
///
/// Tasks run only while a `block_on` of the loop is running; in between they
/// stand still. The loop belongs to the thread on which it was made.
///
/// # Dropping it
/// Everything is dropped on this thread, with the loop entered, so that
/// destructors may wake, spawn and stop timers: first the calls from other
/// threads that weren't made yet, then the tasks, oldest first, then tasks that
/// destructors have spawned. Their joiners get a cancelled error. A destructor
/// that panics is [reported](crate::task::set_unhandled_panic_hook) and stops
/// nothing. Last go timers and descriptors.
pub struct EventLoop {
    core: Rc<Core>,
    /// The threads that watch it; they end before it does.
    watchers: Vec<Watcher>,
}

impl EventLoop {
    /// A loop with the default settings. Makes no system call: what the loop
    /// needs to sleep is made when it first sleeps.
    ///
    /// # Errors
    /// [`Error::TooManyLoops`].
    pub fn new() -> Result<EventLoop, Error> {
        Self::with_options(Options::default())
    }

    /// To set a name, budgets, virtual time, a seed.
    pub fn builder() -> Builder {
        Builder::new()
    }

    fn with_options(options: Options) -> Result<EventLoop, Error> {
        let mut event_loop = EventLoop {
            core: Core::new(options)?,
            watchers: Vec::new(),
        };
        event_loop.start_watchers()?;
        Ok(event_loop)
    }

    fn start_watchers(&mut self) -> Result<(), Error> {
        let (handle, options) = (self.handle(), &self.core.options);
        let failed = |what| move |source| Error::Os { what, source };
        if let Some(limit) = options.watchdog {
            let watcher = watchdog::start(handle, limit, options.on_stall.clone());
            self.watchers
                .push(watcher.map_err(failed("start the watchdog's thread"))?);
        }
        if let Some(signal) = options.dump_on {
            let watcher = on_signal::start(handle, signal);
            self.watchers
                .push(watcher.map_err(failed("catch the signal for dumps"))?);
        }
        Ok(())
    }

    /// Makes what the loop needs to sleep (an epoll instance, an eventfd, a timerfd) now,
    /// instead of when it first sleeps: for a loop that has to go on when descriptors have
    /// run out later.
    ///
    /// ```
    /// let event_loop = threeply_runtime::EventLoop::new()?;
    /// event_loop.prepare()?;
    /// # Ok::<(), threeply_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Os`] if the system refuses one.
    ///
    /// # Panics
    /// If the process is a fork of the one that made the loop.
    pub fn prepare(&self) -> Result<(), Error> {
        self.core.refuse_fork();
        self.core.prepare()
    }

    /// Runs the loop until `future` is ready, and returns its output. Tasks that
    /// haven't ended by then stand still until the next call.
    ///
    /// The future may borrow from outside; it is a task like others, and runs
    /// when it is woken.
    ///
    /// # Panics
    /// If the future does; if a loop runs on this thread already; if the process
    /// is a fork of the one that made the loop; if the system refuses an epoll
    /// instance, an eventfd or a timerfd when the loop has to sleep.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        refuse_nesting("`EventLoop::block_on`");
        self.core.refuse_fork();
        let entered = Entered::enter(&self.core);
        let core = entered.core();
        // The main future is a task without a future: it has a place, so that it
        // can be woken, and a name, but its future stays on this stack.
        let name = core.options.name.clone().unwrap_or("main".into());
        let nothing = future::pending::<()>();
        let main = core.add(nothing, Some(Extra::named(name)), Location::caller(), false);
        let main = main.task().clone();
        let began = Instant::now();
        let future = pin!(future);
        let result = catch_unwind(AssertUnwindSafe(|| core.run(future, &main)));
        stats::add(
            &core.counters.run_ns,
            crate::time::clock::saturating_ns(began.elapsed()),
        );
        if result.is_err() {
            core.end_poll_of_main(true);
        }
        core.leave_main(main);
        if core.publishes {
            core.remote.published().publish_idle();
        }
        core.finish_dumps();
        drop(entered);
        result.unwrap_or_else(|panic| {
            if let Some(seed) = self.core.options.seed {
                eprintln!("threeply: this run's seed was {seed}; THREEPLY_SEED={seed} repeats it");
            }
            resume_unwind(panic)
        })
    }

    /// Starts a task, which runs when the loop does. The future need not be
    /// `Send`.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        let site = Location::caller();
        self.core.spawn(future, None, site)
    }

    /// A handle of the loop for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.core.handle()
    }

    /// Runs the loop until all tasks have ended, but not longer than `limit`
    /// (by the loop's clock), and drops it. The report names the tasks that
    /// hadn't ended, and were cancelled.
    ///
    /// Other threads can spawn through handles no more from the beginning on; a
    /// task that should end early has to be told by other means, a
    /// [`CancellationToken`](crate::cancel::CancellationToken) for example.
    ///
    /// # Panics
    /// As [`block_on`](Self::block_on), if a loop runs on this thread.
    #[track_caller]
    pub fn shutdown(self, limit: Duration) -> ShutdownReport {
        self.end_gracefully(limit)
    }

    /// What the loop has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// All tasks that haven't ended, and what they wait for; to be called while the
    /// loop stands still, between two calls of [`block_on`](Self::block_on). Inside
    /// of it there is [`inspect::dump`](crate::inspect::dump).
    ///
    /// Tasks are polled for it, so one may end, or spawn another. O(n log n).
    ///
    /// # Panics
    /// If a loop runs on this thread.
    #[must_use]
    #[track_caller]
    pub fn dump(&self) -> Dump {
        refuse_nesting("`EventLoop::dump`");
        self.core.refuse_fork();
        let entered = Entered::enter(&self.core);
        entered.core().dump()
    }

    /// All tasks that haven't ended, oldest first, without asking them what they
    /// wait for: as [`task::all`](crate::task::all). O(n log n).
    #[must_use]
    pub fn tasks(&self) -> Vec<TaskInfo> {
        self.core.tasks()
    }
}

impl fmt::Debug for EventLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLoop")
            .field("id", &self.core.loop_id())
            .field("name", &self.core.options.name)
            .field("tasks", &self.core.scheduler.borrow().alive())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
