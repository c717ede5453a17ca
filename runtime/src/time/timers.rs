//! What a loop has of time: its clock and its timers, shared with the futures
//! that wait for them.
//!
//! *Next*: [`super::driver`].
//!
//! A future holds an `Rc` of it from its first use on, so that it reaches its
//! timer also where no loop is entered: dropped after `block_on` has returned, or
//! when the loop drops its tasks.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use super::clock::{Clock, saturating_ns};
use super::driver::{TimerDriver, TimerKey};

/// The clock and the timers of one loop.
pub struct Timers {
    clock: Clock,
    driver: RefCell<TimerDriver>,
}

impl Timers {
    /// Without timers.
    pub fn new(clock: Clock) -> Rc<Self> {
        Rc::new(Timers {
            clock,
            driver: RefCell::new(TimerDriver::new()),
        })
    }

    /// Nanoseconds since the loop began, by its clock.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// The loop's clock.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The moment that lies `after` now. Saturates at the end of time.
    #[inline]
    pub fn deadline_after(&self, after: Duration) -> u64 {
        self.now_ns().saturating_add(saturating_ns(after))
    }

    /// An `Instant` on the loop's clock; 0 if it was before the loop began.
    #[inline]
    pub fn ns_at(&self, instant: Instant) -> u64 {
        self.clock.ns_at(instant)
    }

    /// A moment of the loop's clock as an `Instant`.
    pub fn instant_at(&self, ns: u64) -> Instant {
        self.clock.instant_at(ns)
    }

    /// The driver, for the loop's turn. Nothing that runs foreign code may be
    /// called while it is borrowed.
    pub fn driver(&self) -> &RefCell<TimerDriver> {
        &self.driver
    }
}

/// A timer in the driver: taken out when dropped.
pub struct Armed {
    timers: Rc<Timers>,
    /// `None` only while it is dropped.
    key: Option<TimerKey>,
}

impl Armed {
    /// Starts a timer that wakes the polling task.
    #[inline]
    pub fn new(timers: Rc<Timers>, deadline_ns: u64, waker: Waker) -> Self {
        let key = timers.driver.borrow_mut().insert(deadline_ns, waker);
        Armed {
            timers,
            key: Some(key),
        }
    }

    #[inline]
    fn key(&self) -> &TimerKey {
        self.key
            .as_ref()
            .expect("only `drop` and `into_waker` take it")
    }

    /// Whether the loop has fired it; if not, it will wake the polling task.
    #[inline]
    pub fn poll_fired(&self, cx: &Context<'_>) -> bool {
        let driver = self.timers.driver.borrow();
        let key = self.key();
        if driver.has_fired(key) {
            return true;
        }
        if !driver.will_wake(key, cx.waker()) {
            drop(driver);
            // Cloned before and dropped after the borrow: wakers may run any code.
            let waker = cx.waker().clone();
            let old = self.timers.driver.borrow_mut().set_waker(key, waker);
            drop(old);
        }
        false
    }

    /// Whether the loop has fired it.
    pub fn has_fired(&self) -> bool {
        self.timers.driver.borrow().has_fired(self.key())
    }

    /// Stops the timer and gives back whom it would have woken, if it hasn't.
    pub fn into_waker(mut self) -> Option<Waker> {
        let key = self.key.take()?;
        self.timers.driver.borrow_mut().cancel(key)
    }

    /// The loop's clock and timers.
    #[inline]
    pub fn timers(&self) -> &Rc<Timers> {
        &self.timers
    }
}

impl Drop for Armed {
    #[inline]
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = self.timers.driver.borrow_mut().cancel(key);
            drop(waker);
        }
    }
}
