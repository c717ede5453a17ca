//! Something that has happened, or not yet: one word, which is also what sleepers
//! sleep on.
//!
//! ```text
//!   0 ──set: swap 1, wake all──▶ 1 ──clear──▶ 0
//!   wait: while it is 0: sleep while it is 0
//! ```
//!
//! The kernel looks at the word once more, under its own lock, before it lets
//! anybody sleep on it; so a `set` either is seen there or finds the sleeper.
//!
//! Read before this: [`super::segment`].

use super::error::Error;
use super::kernel::{Deadline, Party, Slept};
use super::monitor::GaveUp;
use super::segment::Segment;
use crate::switch::{AtomicU32, Ordering, Weakening, weakened};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use std::time::Duration;

/// The word.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Flag(AtomicU32);

impl Flag {
    /// Sets it and wakes everybody. Returns whether it was set already.
    pub fn set(&self, party: &impl Party) -> bool {
        if weakened(Weakening::WakeBeforeSet) {
            party.wake(&self.0, u32::MAX);
        }
        // Release: pairs with the Acquire of `is_set`.
        let was_set = self.0.swap(1, Ordering::Release) == 1;
        if !was_set && !weakened(Weakening::WakeBeforeSet) {
            party.wake(&self.0, u32::MAX);
        }
        was_set
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// [`GaveUp`]
    pub fn wait(&self, party: &impl Party, deadline: Deadline) -> Result<(), GaveUp> {
        while !self.is_set() {
            if party.sleep(&self.0, 0, deadline) == Slept::Elapsed {
                self.look_around(party, deadline)?;
            }
        }
        Ok(())
    }

    fn look_around(&self, party: &impl Party, deadline: Deadline) -> Result<(), GaveUp> {
        if self.is_set() {
            Ok(())
        } else if deadline.has_passed() {
            Err(GaveUp::TimedOut)
        } else if !party.has_peers() && !self.is_set() {
            Err(GaveUp::PeersGone)
        } else {
            Ok(())
        }
    }
}

/// Something that one process tells all others, once: `threading.Event`, for
/// processes. A clone, or what a process gets as an argument, is a handle to the
/// same event.
///
/// ```
/// use threeply_pools::ipc::{Event, Process};
///
/// fn wait_for_it(go: Event) {
///     go.wait().unwrap();
/// }
///
/// let go = Event::new()?;
/// let process = Process::spawn(wait_for_it, go.clone())?;
/// go.set();
/// assert!(process.join()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Event {
    segment: Arc<Segment<Flag>>,
}

impl Event {
    /// Makes one, not set; takes a descriptor and a page.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new() -> Result<Event, Error> {
        let segment = Arc::new(Segment::new::<u8>(0)?);
        Ok(Event { segment })
    }

    /// Sets it: everybody who waits goes on. Returns whether it was set already.
    pub fn set(&self) -> bool {
        self.segment.words().set(&*self.segment)
    }

    /// Takes it back: whoever waits from now on waits for the next `set`.
    pub fn clear(&self) {
        self.segment.words().0.store(0, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.segment.words().is_set()
    }

    /// Waits until it is set.
    ///
    /// # Errors
    /// [`Error::PeersGone`], within a pulse of 50 ms, if no other process has a
    /// handle any more (threads of this process aren't counted).
    pub fn wait(&self) -> Result<(), Error> {
        let flag = self.segment.words();
        Ok(flag.wait(&*self.segment, Deadline::NEVER)?)
    }

    /// Waits until it is set, but no longer than that.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::PeersGone`]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), Error> {
        let deadline = Deadline::after(timeout);
        Ok(self.segment.words().wait(&*self.segment, deadline)?)
    }

    /// [`wait`](Event::wait) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// [`Error::PeersGone`]
    pub async fn wait_async(&self) -> Result<(), Error> {
        let flag = self.segment.words();
        while !flag.is_set() {
            if self.segment.sleep_async(&flag.0, 0).await == Slept::Elapsed {
                flag.look_around(&*self.segment, Deadline::NEVER)?;
            }
        }
        Ok(())
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Arc::new(Segment::unpack::<u8, D>(deserializer)?);
        Ok(Event { segment })
    }
}
