//! Waiting for a mutex's value to become what one needs.
//!
//! ```text
//!   wait:    (mutex held)  remember number ─▶ unlock ─▶ sleep while number is the same ─▶ lock
//!   notify:  change value, mutex held or not ─▶ number + 1 ─▶ wake one, or all
//! ```
//!
//! 1. **No notification after the unlock is missed**: the number was remembered
//!    before it, so the sleep ends at once if it has changed.
//! 2. **No notification dies with whom it woke**: whoever sleeps looks around at
//!    each pulse, and if somebody has died since it began to wait, it returns as if
//!    notified. Whoever waits looks at the value in any case.
//!
//! Read before this: [`super::mutex`].

use super::error::{Error, Poisoned};
use super::kernel::{Deadline, Party, Slept};
use super::mutex::{self, MutexGuard, Plain};
use super::segment::Segment;
use crate::switch::{AtomicU32, Ordering, Weakening, weakened};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use std::time::Duration;

/// The number.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Turn(AtomicU32);

impl Turn {
    /// Unlocks, waits for a notification, locks again. Wrongly notified it may be.
    /// Returns what `lock` gives, and why it stopped waiting if for another reason.
    pub fn wait<R>(
        &self,
        party: &impl Party,
        deadline: Deadline,
        unlock: impl FnOnce(),
        lock: impl FnOnce() -> R,
    ) -> (R, Result<(), Error>) {
        let mut unlock = Some(unlock);
        if weakened(Weakening::LookAfterUnlock) {
            unlock.take().expect("once")();
        }
        // Relaxed: the mutex orders it before any notification after the unlock.
        let seen = self.0.load(Ordering::Relaxed);
        if let Some(unlock) = unlock {
            unlock();
        }
        let deaths = party.deaths();
        let outcome = loop {
            if party.sleep(&self.0, seen, deadline) == Slept::Woken {
                break Ok(());
            }
            match self.look_around(party, seen, deaths, deadline) {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
        };
        (lock(), outcome)
    }

    /// After a pulse: whether to stop waiting.
    fn look_around(
        &self,
        party: &impl Party,
        seen: u32,
        deaths: u32,
        deadline: Deadline,
    ) -> Result<bool, Error> {
        if self.0.load(Ordering::Relaxed) != seen {
            Ok(true)
        } else if deadline.has_passed() {
            Err(Error::TimedOut)
        } else if party.sweep() != deaths && party.has_peers() {
            Ok(true) // Invariant 2.
        } else if !party.has_peers() {
            Err(Error::PeersGone)
        } else {
            Ok(false)
        }
    }

    /// Wakes up to `count` who wait.
    pub fn notify(&self, party: &impl Party, count: u32) {
        self.0.fetch_add(1, Ordering::Relaxed);
        party.wake(&self.0, count);
    }
}

/// `std::sync::Condvar`, for processes. A clone, or what a process gets as an
/// argument, is a handle to the same one.
///
/// ```
/// use threeply_pools::ipc::{Condvar, Mutex, Process};
///
/// fn set((value, changed): (Mutex<u32>, Condvar)) {
///     *value.lock().unwrap() = 7;
///     changed.notify_all();
/// }
///
/// let (value, changed) = (Mutex::new(0)?, Condvar::new()?);
/// let process = Process::spawn(set, (value.clone(), changed.clone()))?;
/// let guard = value.lock().unwrap();
/// let guard = changed.wait_while(guard, |value| *value == 0)?;
/// assert_eq!(*guard, 7);
/// # drop(guard);
/// # process.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Condvar {
    segment: Arc<Segment<Turn>>,
}

impl Condvar {
    /// Makes one; takes a descriptor and a page.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new() -> Result<Condvar, Error> {
        let segment = Arc::new(Segment::new::<u8>(0)?);
        Ok(Condvar { segment })
    }

    /// Unlocks the mutex, waits for a notification, and locks it again. May return
    /// without one, so look at the value; [`wait_while`](Condvar::wait_while) does.
    ///
    /// # Errors
    /// [`Error::PeersGone`], within a pulse of 50 ms, if no other process has a
    /// handle any more; [`Error::Poisoned`] if the mutex was poisoned meanwhile. The
    /// mutex isn't locked then.
    pub fn wait<'a, T: Plain>(&self, guard: MutexGuard<'a, T>) -> Result<MutexGuard<'a, T>, Error> {
        self.wait_by(guard, Deadline::NEVER)
    }

    /// As [`wait`](Condvar::wait), but no longer than `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; otherwise as [`wait`](Condvar::wait).
    pub fn wait_timeout<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Result<MutexGuard<'a, T>, Error> {
        self.wait_by(guard, Deadline::after(timeout))
    }

    /// Waits as long as `condition` holds of the value.
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    pub fn wait_while<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>, Error> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits as long as `condition` holds of the value, but no longer than `timeout`.
    ///
    /// # Errors
    /// As [`wait_timeout`](Condvar::wait_timeout).
    pub fn wait_timeout_while<'a, T: Plain>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<MutexGuard<'a, T>, Error> {
        let deadline = Deadline::after(timeout);
        while condition(&mut guard) {
            guard = self.wait_by(guard, deadline)?;
        }
        Ok(guard)
    }

    fn wait_by<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
        deadline: Deadline,
    ) -> Result<MutexGuard<'a, T>, Error> {
        let (mutex, value) = (guard.segment(), guard.pointer());
        let (locked, outcome) = self.segment.words().wait(
            &*self.segment,
            deadline,
            || drop(guard),
            || {
                let lock = &mutex.words().lock;
                let found = lock.lock(&**mutex, Deadline::NEVER);
                MutexGuard::again(mutex, value, found.expect("it waits without end"))
            },
        );
        let guard = locked.map_err(|_: Poisoned<_>| Error::Poisoned)?;
        outcome.map(|()| guard)
    }

    /// As [`wait`](Condvar::wait), without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe; dropped, it doesn't lock the mutex again, and a notification that it
    /// may have taken is lost: others may wait for a further one.
    ///
    /// # Errors
    /// As [`wait`](Condvar::wait).
    pub async fn wait_async<'a, T: Plain>(
        &self,
        guard: MutexGuard<'a, T>,
    ) -> Result<MutexGuard<'a, T>, Error> {
        let (turn, party) = (self.segment.words(), &*self.segment);
        let (locked, value) = (guard.segment(), guard.pointer());
        let seen = turn.0.load(Ordering::Relaxed);
        drop(guard);
        let deaths = party.deaths();
        let outcome = loop {
            if self.segment.sleep_async(&turn.0, seen).await == Slept::Woken {
                break Ok(());
            }
            match turn.look_around(party, seen, deaths, Deadline::NEVER) {
                Ok(true) => break Ok(()),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
        };
        let found = mutex::wait_for_lock(locked).await;
        let guard = MutexGuard::again(locked, value, found);
        let guard = guard.map_err(|_: Poisoned<_>| Error::Poisoned)?;
        outcome.map(|()| guard)
    }

    /// Wakes one who waits.
    pub fn notify_one(&self) {
        self.segment.words().notify(&*self.segment, 1);
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.segment.words().notify(&*self.segment, u32::MAX);
    }
}

impl Serialize for Condvar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Condvar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Arc::new(Segment::unpack::<u8, D>(deserializer)?);
        Ok(Condvar { segment })
    }
}
