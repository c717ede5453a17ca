//! How a loop sleeps, and what wakes it: descriptors, the next deadline, and
//! other threads.
//!
//! Who decides: the loop itself, at step 3 of a turn, when the run queue is empty and a
//! short look for wakes of others (`look_for_more`) has found none. The last word is a
//! compare-and-swap of the remote side's state (`begin_sleep`), which fails if
//! somebody has woken a task meanwhile; why that loses no wake stands in
//! `remote/README.md`. With virtual time nothing sleeps for a deadline: the clock is
//! moved to it.
//!
//! All three are descriptors in one epoll instance: sockets by the reactor, the
//! deadline as a timerfd (epoll's own timeout counts whole milliseconds), other
//! threads by the bell of the [remote side](crate::remote), an eventfd. Nothing
//! is made before the first sleep that needs it.
//!
//! The timerfd and the bell are watched edge-triggered and never read: arming
//! the one, and writing to the other, makes a new edge whatever they hold.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use mio::Events;

use super::core::Core;
use super::stats::add;
use crate::backoff::Backoff;
use crate::error::Error;
use crate::limits::{EVENTS_AT_ONCE, SPIN_AFTER_WAKES, SPIN_TOO_LONG};
use crate::reactor::Own;
use crate::sys::timerfd::TimerFd;
use crate::trace::{Kind, emit};

/// What a loop needs to sleep.
#[derive(Default)]
pub(super) struct Sleeper {
    events: Option<Events>,
    timer: Option<TimerFd>,
    /// For when the timer is armed, by the loop's clock; `None` if it isn't, or
    /// has expired.
    armed_for: Option<u64>,
    /// Whether looking for more wakes after those from other threads has paid lately.
    looks: Backoff,
}

/// Fails only where the system refuses epoll, a timerfd or an eventfd, and a loop
/// can't go on without.
fn or_panic<T>(what: &'static str, result: io::Result<T>) -> T {
    result.unwrap_or_else(|source| panic!("{}", Error::Os { what, source }))
}

impl Core {
    /// Takes in what epoll has, without waiting: what a busy loop does.
    pub(super) fn poll_io(&self) {
        if let Some(reactor) = self.reactor_if_used()
            && reactor.is_watching()
        {
            self.wait_for_io(Some(Duration::ZERO));
        }
    }

    fn wait_for_io(&self, timeout: Option<Duration>) {
        // Out of its cell while wakers run.
        let events = self.sleeper.borrow_mut().events.take();
        let mut events = events.unwrap_or_else(|| Events::with_capacity(EVENTS_AT_ONCE));
        or_panic(
            "wait for events (epoll)",
            self.reactor().poll(&mut events, timeout),
        );
        self.sleeper.borrow_mut().events = Some(events);
    }

    /// Sleeps until a descriptor is ready, the next deadline is reached, or
    /// another thread has something. Returns at once if that is so already.
    pub(super) fn sleep(&self) {
        self.refuse_fork();
        let timers = self.timers_if_used();
        let deadline = timers.and_then(|timers| timers.driver().borrow_mut().next_deadline());
        if self.options.virtual_time
            && let (Some(timers), Some(deadline)) = (timers, deadline)
        {
            self.poll_io();
            if self.scheduler.borrow().queue.is_empty() && !self.remote.is_notified() {
                timers.clock().advance_to(deadline);
            }
            return;
        }
        if self.look_for_more(deadline) {
            return;
        }
        or_panic("make or watch an eventfd", self.hang_the_bell());
        if let (Some(timers), Some(deadline)) = (timers, deadline) {
            let now = timers.now_ns();
            if deadline <= now {
                return self.poll_io();
            }
            or_panic("arm a timer", self.arm(now, deadline));
        }
        // From here on, other threads ring.
        if !self.remote.begin_sleep() {
            return;
        }
        if self.publishes {
            self.remote.published().publish_idle();
        }
        add(&self.counters.parks, 1);
        let began = std::time::Instant::now();
        let until = deadline.unwrap_or(u64::MAX);
        emit(Kind::Park, line!(), u64::from(self.loop_id()), until);
        self.wait_for_io(None);
        let slept = crate::time::clock::saturating_ns(began.elapsed());
        add(&self.counters.idle_ns, slept);
        self.remote.end_sleep();
    }

    fn hang_the_bell(&self) -> io::Result<()> {
        self.remote.with_bell(|bell, new| {
            if new {
                self.reactor().watch_own(bell.as_raw_fd(), Own::Bell)?;
            }
            Ok(())
        })
    }

    /// Makes the timerfd expire at `deadline`, or earlier.
    ///
    /// A timer that is armed for an earlier moment is left alone: it costs one
    /// wake too many, once, where re-arming would cost a system call each time
    /// that a timeout is cancelled and a later one begun, as servers do at every
    /// request.
    fn arm(&self, now: u64, deadline: u64) -> io::Result<()> {
        let mut sleeper = self.sleeper.borrow_mut();
        if sleeper
            .armed_for
            .is_some_and(|armed| armed > now && armed <= deadline)
        {
            return Ok(());
        }
        sleeper.armed_for = Some(deadline);
        let timer = self.timer(&mut sleeper.timer)?;
        timer.arm(Duration::from_nanos(deadline - now))
    }

    fn timer<'t>(&self, made: &'t mut Option<TimerFd>) -> io::Result<&'t TimerFd> {
        if made.is_none() {
            let timer = TimerFd::new()?;
            self.reactor().watch_own(timer.as_raw_fd(), Own::Timer)?;
            *made = Some(timer);
        }
        Ok(made.as_ref().expect("made above"))
    }

    /// Makes everything that a sleep needs.
    pub(crate) fn prepare(&self) -> Result<(), Error> {
        let made = || {
            self.hang_the_bell()?;
            self.timer(&mut self.sleeper.borrow_mut().timer)?;
            Ok(())
        };
        let what = "make what it needs to sleep";
        made().map_err(|source| Error::Os { what, source })
    }

    /// Before a sleep that follows wakes from other threads: looks for more of them
    /// for a moment, if that has paid lately. Returns whether not to sleep.
    ///
    /// A thread that wakes us task by task finds us either awake, at 10 to 30 ns a
    /// wake, or asleep, at microseconds for both. A moment's patience keeps us in
    /// the first case: we make way for a thread on our own core, then look out for
    /// one on another. (A million wakes of 64 tasks, both threads where the kernel
    /// puts them: 90 ns each, where sleeping at once took 40 to 4,500, and 360 in a
    /// runtime that writes to its eventfd each time.)
    ///
    /// It is wasted if the other thread sleeps itself, or if strangers want our
    /// core, and which is the case only success tells ([`Backoff`]).
    fn look_for_more(&self, deadline: Option<u64>) -> bool {
        if !self.options.spin.is_zero() {
            return self.spin(self.options.spin, deadline);
        }
        if !self.collected.replace(false) {
            return false;
        }
        let mut sleeper = self.sleeper.borrow_mut();
        if !sleeper.looks.tries_now() {
            return false;
        }
        let began = std::time::Instant::now();
        // First for a thread on our own core, which runs only if we let it.
        std::thread::yield_now();
        let found = (self.remote.is_notified() || self.spin(SPIN_AFTER_WAKES, deadline))
            && began.elapsed() < SPIN_TOO_LONG;
        sleeper.looks.learn(found);
        found
    }

    /// Looks for wakes for a while. Returns whether there are any, or the
    /// deadline has come.
    fn spin(&self, how_long: Duration, deadline: Option<u64>) -> bool {
        let began = std::time::Instant::now();
        while began.elapsed() < how_long {
            for _ in 0..8 {
                if self.remote.is_notified() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if deadline.is_some_and(|deadline| deadline <= self.now_ns()) {
                return true;
            }
        }
        false
    }
}
