//! Ticks: `interval`.
//!
//! *Read after* [`mod@super::sleep`], which it is made of.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_core::Stream;

use super::clock::saturating_ns;
use super::sleep::Sleep;
use super::timers::Timers;

/// Ticks every `period`, the first time at once.
///
/// Ticks are counted from the schedule, not from when they are awaited, so they
/// don't drift. What happens to ticks for which nobody came in time says
/// [`MissedTick`]; the default is to catch up ([`MissedTick::Burst`]).
///
/// # Panics
/// If `period` is zero. Outside a loop, when first polled.
///
/// ```
/// use std::time::Duration;
/// use threeply_runtime::{block_on, time::interval};
///
/// block_on(async {
///     let mut every = interval(Duration::from_millis(2));
///     let first = every.tick().await;
///     let second = every.tick().await;
///     assert_eq!(second - first, Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    Interval::new(None, period)
}

/// [`interval`] whose first tick is at `start`.
///
/// # Panics
/// If `period` is zero. Outside a loop, when first polled.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    Interval::new(Some(start), period)
}

/// What becomes of ticks that were due while nobody awaited them. With a period
/// of 10 and a tick awaited at 10, then nothing until 35:
///
/// ```text
///   Burst   10 · · 35 35 · 40 · · 50     (20 and 30 at once, then on schedule)
///   Delay   10 · · 35 · · · 45 · · · 55  (a new schedule from the late tick on)
///   Skip    10 · · 35 · 40 · · · 50      (one late tick, then on schedule)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTick {
    /// Tick as often as was missed, without pause, until caught up.
    #[default]
    Burst,
    /// Tick once and begin a new schedule there: at least a period apart.
    Delay,
    /// Tick once and go on with the schedule, at whole multiples of the period.
    Skip,
}

/// The ticks of [`interval`]: [`tick`](Self::tick), or a `Stream` without end.
#[derive(Debug)]
pub struct Interval {
    start: Option<Instant>,
    period_ns: u64,
    missed: MissedTick,
    state: Option<State>,
}

/// From the first poll on.
struct State {
    timers: Rc<Timers>,
    /// When the next tick is due.
    due: u64,
    sleep: Sleep,
}

impl Interval {
    #[track_caller]
    fn new(start: Option<Instant>, period: Duration) -> Self {
        assert!(
            !period.is_zero(),
            "`interval` needs a period longer than zero; to run without pause, use `yield_now`"
        );
        Interval {
            start,
            period_ns: saturating_ns(period),
            missed: MissedTick::default(),
            state: None,
        }
    }

    /// Says what becomes of missed ticks.
    pub fn missed_tick(mut self, missed: MissedTick) -> Self {
        self.missed = missed;
        self
    }

    /// Waits for the next tick; gives the moment it was *due*.
    ///
    /// Cancel-safe: a tick not handed out is handed out next time.
    pub async fn tick(&mut self) -> Instant {
        std::future::poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// [`tick`](Self::tick) as a poll.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let start = self.start;
        let state = self.state.get_or_insert_with(|| {
            let timers = super::current("`interval`");
            let due = start.map_or_else(|| timers.now_ns(), |start| timers.ns_at(start));
            let sleep = Sleep::bound(timers.clone(), due);
            State { timers, due, sleep }
        });
        // A tick that is due already waits for the loop's next turn as well, so
        // that a task that is always late starves nobody.
        ready!(Pin::new(&mut state.sleep).poll(cx));
        let due = state.due;
        let on_schedule = due.saturating_add(self.period_ns);
        let now = state.timers.now_ns();
        state.due = match self.missed {
            _ if now < on_schedule => on_schedule,
            MissedTick::Burst => on_schedule,
            MissedTick::Delay => now.saturating_add(self.period_ns),
            MissedTick::Skip => {
                let since = (now - due) % self.period_ns;
                now.saturating_add(self.period_ns - since)
            }
        };
        state.sleep = Sleep::bound(state.timers.clone(), state.due);
        Poll::Ready(state.timers.instant_at(due))
    }

    /// Begins a new schedule, with the next tick a period from now.
    pub fn reset(&mut self) {
        let timers = match &self.state {
            Some(state) => state.timers.clone(),
            None => super::current("`interval`"),
        };
        let due = timers.now_ns().saturating_add(self.period_ns);
        let mut sleep = match self.state.take() {
            Some(state) => state.sleep,
            None => Sleep::bound(timers.clone(), due),
        };
        sleep.reset(timers.instant_at(due));
        self.state = Some(State { timers, due, sleep });
    }

    /// The period.
    pub fn period(&self) -> Duration {
        Duration::from_nanos(self.period_ns)
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(cx).map(Some)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "due at {:?}", self.timers.instant_at(self.due))
    }
}
