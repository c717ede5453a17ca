//! How a loop is configured.

use std::borrow::Cow;
use std::time::Duration;

use super::EventLoop;
use crate::error::Error;
use crate::inspect::watchdog::{Stall, StallHook};
use crate::limits::{POLL_BUDGET, TURN_BUDGET};
use crate::signal::Signal;

#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) turn_budget: u32,
    pub(super) poll_budget: u32,
    pub(super) virtual_time: bool,
    pub(super) seed: Option<u64>,
    pub(super) time_polls: bool,
    pub(super) spin: Duration,
    pub(super) publish: bool,
    pub(super) watchdog: Option<Duration>,
    pub(super) on_stall: StallHook,
    pub(super) dump_on: Option<Signal>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: None,
            turn_budget: TURN_BUDGET,
            poll_budget: POLL_BUDGET,
            virtual_time: false,
            seed: None,
            time_polls: false,
            spin: Duration::ZERO,
            publish: false,
            watchdog: None,
            on_stall: StallHook::default(),
            dump_on: None,
        }
    }
}

/// Makes an [`EventLoop`] with other than the default settings.
///
/// ```
/// use std::time::Duration;
/// use threeply_runtime::{EventLoop, time::sleep};
///
/// // An hour of virtual time, in no time, in an order that seed 7 repeats.
/// let event_loop = EventLoop::builder().virtual_time(true).seed(7).build()?;
/// event_loop.block_on(sleep(Duration::from_secs(3_600)));
/// # Ok::<(), threeply_runtime::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    options: Options,
}

impl Builder {
    /// The defaults.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// A name for messages and dumps.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// The polls that may happen in a row before timers, I/O and other threads
    /// are looked at; at least 1. Default [`TURN_BUDGET`].
    pub fn turn_budget(mut self, polls: u32) -> Self {
        self.options.turn_budget = polls.max(1);
        self
    }

    /// The operations that a task may finish in one poll before it is made to let
    /// others run; at least 1. Default [`POLL_BUDGET`].
    pub fn poll_budget(mut self, operations: u32) -> Self {
        self.options.poll_budget = operations.max(1);
        self
    }

    /// Whether time is virtual: it stands still while anything can run, and jumps
    /// to the next deadline when nothing can. For tests. It doesn't know of work
    /// on other threads, and won't wait for that with a deadline pending.
    pub fn virtual_time(mut self, on: bool) -> Self {
        self.options.virtual_time = on;
        self
    }

    /// Draws the order in which ready tasks run from this seed, instead of first
    /// come, first served; the same seed gives the same order. For tests: a panic
    /// of `block_on` prints the seed.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// As [`seed`](Self::seed), with the number in the environment variable
    /// `THREEPLY_SEED`, or one that differs from run to run if that is not set.
    pub fn seed_from_env(self) -> Self {
        let seed = std::env::var("THREEPLY_SEED").ok();
        let seed = seed.and_then(|seed| seed.trim().parse().ok());
        self.seed(seed.unwrap_or_else(|| {
            let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
            now.as_nanos() as u64 ^ u64::from(std::process::id()) << 40
        }))
    }

    /// Whether to measure how long each poll takes, for
    /// [`Stats::longest_poll`](super::Stats::longest_poll). Costs two readings of
    /// the clock a poll, some 50 ns.
    pub fn time_polls(mut self, on: bool) -> Self {
        self.options.time_polls = on;
        self
    }

    /// For how long an idle loop looks for wakes from other threads before it
    /// sleeps. Default: not at all. A few µs can bring a round trip between
    /// threads from some 20 µs to below one, at the price of a core's time.
    pub fn spin(mut self, before_sleep: Duration) -> Self {
        self.options.spin = before_sleep;
        self
    }

    /// Whether the loop publishes which task it runs, at each poll, so that
    /// [`Handle::dump`](super::Handle::dump) can name the one that blocks it. Costs
    /// a few stores a poll. The watchdog and [`dump_on_signal`](Self::dump_on_signal)
    /// bring it along.
    pub fn publish_running(mut self, on: bool) -> Self {
        self.options.publish = on;
        self
    }

    /// Has a thread watch that no poll takes longer than `limit`. One that does is
    /// reported while it lasts, with the task's name, where it was spawned, and a
    /// backtrace: on stderr, or to [`on_stall`](Self::on_stall).
    ///
    /// For the backtrace the blocked thread is interrupted by a realtime signal;
    /// system calls go on, as far as the kernel lets them (`SA_RESTART`; a blocking
    /// `poll` or `nanosleep` of the task's own may give `EINTR`). See
    /// [`inspect::watchdog`](crate::inspect::watchdog) for what it can see and what
    /// not. Costs a few stores a poll, and a thread that looks
    /// [a few times](crate::limits::WATCHDOG_LOOKS) within `limit`.
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.options.watchdog = Some(limit);
        self
    }

    /// What the [`watchdog`](Self::watchdog) calls, on its own thread, instead of
    /// writing on stderr.
    pub fn on_stall(mut self, hook: impl Fn(&Stall) + Send + Sync + 'static) -> Self {
        self.options.on_stall = StallHook::new(hook);
        self
    }

    /// Has a dump of the loop's tasks written on stderr whenever the process gets
    /// this signal; usually [`Signal::USER_1`]. The signal is caught from
    /// [`build`](Self::build) until the loop is dropped. Takes a thread, so that a
    /// loop that doesn't turn is told of, too.
    pub fn dump_on_signal(mut self, signal: Signal) -> Self {
        self.options.dump_on = Some(signal);
        self
    }

    /// Makes the loop.
    ///
    /// # Errors
    /// [`Error::TooManyLoops`]; [`Error::Os`] if a thread that was asked for can't be
    /// started, or a signal not be caught.
    pub fn build(self) -> Result<EventLoop, Error> {
        EventLoop::with_options(self.options)
    }
}
