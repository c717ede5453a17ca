//! So many may be inside at a time; the permits of the dead return.
//!
//! ```text
//!   words behind the door:   total · available · held[seat] = token, count
//!
//!   acquire n:  available ≥ n?  held[me] + n ─▶ available − n
//!   release n:                  held[me] − n ─▶ available + n, tell n
//! ```
//!
//! The word that counts is `held`: one store of it is the acquisition, and
//! `available` is only what is left of `total`. After a death behind the door it is
//! computed anew. Whoever waits looks at each pulse whether somebody who holds
//! permits has died, and takes them back.
//!
//! Read before this: [`super::monitor`]. Read after it: [`super::barrier`].

use super::error::Error;
use super::kernel::{Deadline, Party};
use super::limits::MEMBERS;
use super::members::Token;
use super::monitor::{Door, GaveUp, Monitor, News};
use super::segment::Segment;
use crate::switch::{AtomicU32, AtomicU64, Ordering, Weakening, weakened};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use std::time::Duration;

/// The words. `N` is the number of seats.
#[derive(Debug)]
#[repr(C)]
pub struct Permits<const N: usize> {
    monitor: Monitor,
    released: News,
    total: AtomicU32,
    available: AtomicU32,
    held: [AtomicU64; N],
}

impl<const N: usize> Default for Permits<N> {
    fn default() -> Self {
        Permits {
            monitor: Monitor::default(),
            released: News::default(),
            total: AtomicU32::default(),
            available: AtomicU32::default(),
            held: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

/// Who holds how many: one word, so that one store changes both.
pub(super) fn entry(token: Token, count: u32) -> u64 {
    if count == 0 {
        0
    } else {
        u64::from(token.bits()) << 32 | u64::from(count)
    }
}

/// Its parts; `None` for nobody.
pub(super) fn holder(entry: u64) -> Option<(Token, u32)> {
    Some((Token::from_bits((entry >> 32) as u32)?, entry as u32))
}

// Relaxed throughout: the door's lock orders all of it.
impl<const N: usize> Permits<N> {
    /// After a death behind the door.
    fn repair(&self) {
        let held = self.held.iter();
        let held: u32 = held.map(|entry| entry.load(Ordering::Relaxed) as u32).sum();
        let total = self.total.load(Ordering::Relaxed);
        self.available
            .store(total.saturating_sub(held), Ordering::Relaxed);
    }

    fn enter<'a, P: Party>(&'a self, party: &'a P) -> Door<'a, P> {
        self.monitor.enter(party, || self.repair())
    }

    /// How many of `entry` are the living `token`'s; what a dead predecessor in the
    /// same seat held returns.
    fn mine(&self, token: Token) -> u32 {
        match holder(self.held[token.seat()].load(Ordering::Relaxed)) {
            Some((same, count)) if same == token => count,
            Some((_, count)) => {
                self.held[token.seat()].store(0, Ordering::Relaxed);
                self.add(count);
                0
            }
            None => 0,
        }
    }

    fn add(&self, count: u32) {
        let available = self.available.load(Ordering::Relaxed);
        self.available.store(available + count, Ordering::Relaxed);
    }

    fn take<P: Party>(&self, door: &Door<'_, P>, count: u32) -> Option<()> {
        let me = door.party().me();
        let mine = self.mine(me);
        let available = self.available.load(Ordering::Relaxed);
        let left = available.checked_sub(count)?;
        self.held[me.seat()].store(entry(me, mine + count), Ordering::Relaxed);
        self.available.store(left, Ordering::Relaxed);
        Some(())
    }

    /// Takes back what the dead hold.
    fn reclaim<'a, P: Party>(&'a self, door: &mut Door<'a, P>) {
        for held in &self.held {
            if let Some((token, count)) = holder(held.load(Ordering::Relaxed))
                && !door.party().is_alive(token)
                && !weakened(Weakening::DeadKeepPermits)
            {
                if !weakened(Weakening::DeadHoldOn) {
                    held.store(0, Ordering::Relaxed);
                }
                self.add(count);
                door.tell(&self.released, count);
            }
        }
    }

    /// Adds permits.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if there would be more than `u32` counts.
    pub fn grow(&self, party: &impl Party, count: u32) -> Result<(), Error> {
        let mut door = self.enter(party);
        let total = self.total.load(Ordering::Relaxed);
        let more = total.checked_add(count).ok_or(Error::TooLarge {
            len: total as usize + count as usize,
            max: u32::MAX as usize,
        })?;
        self.total.store(more, Ordering::Relaxed);
        self.add(count);
        door.tell(&self.released, count);
        Ok(())
    }

    /// Takes `count`, waiting for them.
    ///
    /// # Errors
    /// [`GaveUp`]
    pub fn acquire<P: Party>(
        &self,
        party: &P,
        count: u32,
        deadline: Deadline,
    ) -> Result<(), GaveUp> {
        self.monitor.wait_until(
            party,
            &self.released,
            deadline,
            || self.repair(),
            |door| self.reclaim(door),
            |door| self.take(door, count),
        )
    }

    /// Takes `count`, if there are as many.
    pub fn try_acquire(&self, party: &impl Party, count: u32) -> bool {
        let mut door = self.enter(party);
        if self.take(&door, count).is_some() {
            return true;
        }
        self.reclaim(&mut door);
        self.take(&door, count).is_some()
    }

    /// Gives back `count` of what `party` holds; with `forget`, for good.
    pub fn release(&self, party: &impl Party, count: u32, forget: bool) {
        let mut door = self.enter(party);
        let me = party.me();
        let mine = self.mine(me);
        let left = entry(me, mine.saturating_sub(count));
        self.held[me.seat()].store(left, Ordering::Relaxed);
        if forget {
            // Last: who dies before this has given them back instead.
            let total = self.total.load(Ordering::Relaxed);
            self.total
                .store(total.saturating_sub(count), Ordering::Relaxed);
        } else {
            self.add(count);
            if !weakened(Weakening::ReleaseUntold) {
                door.tell(&self.released, count);
            }
        }
    }

    /// How many could be taken now, apart from what the dead may hold.
    pub fn available(&self, party: &impl Party) -> u32 {
        let _door = self.enter(party);
        self.available.load(Ordering::Relaxed)
    }
}

/// A number of permits that processes take and give back: `tokio`'s and
/// `threading`'s semaphore, for processes. A clone, or what a process gets as an
/// argument, is a handle to the same one.
///
/// The permits of a process that dies return, within a pulse of 50 ms for those who
/// wait. Who comes first isn't served first.
///
/// ```
/// use threeply_pools::ipc::{Process, Semaphore};
///
/// fn work(places: Semaphore) {
///     let _place = places.acquire().unwrap();
///     // At most two processes are here at a time.
/// }
///
/// let places = Semaphore::new(2)?;
/// let processes = (0..3).map(|_| Process::spawn(work, places.clone()));
/// for process in processes.collect::<Result<Vec<_>, _>>()? {
///     assert!(process.join()?.success());
/// }
/// assert_eq!(places.available_permits(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore {
    segment: Arc<Segment<Permits<MEMBERS>>>,
}

impl Semaphore {
    /// Makes one with so many permits; takes a descriptor and a page.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new(permits: u32) -> Result<Semaphore, Error> {
        let segment = Arc::new(Segment::<Permits<MEMBERS>>::new::<u8>(0)?);
        segment.words().grow(&*segment, permits)?;
        Ok(Semaphore { segment })
    }

    fn permit(&self, count: u32) -> Permit<'_> {
        Permit {
            semaphore: self,
            count,
        }
    }

    /// Takes a permit; waits for one.
    ///
    /// # Errors
    /// [`Error::PeersGone`] if no other process has a handle any more (threads of
    /// this process aren't counted).
    pub fn acquire(&self) -> Result<Permit<'_>, Error> {
        self.acquire_many(1)
    }

    /// Takes `count` permits at once; waits until there are as many.
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    pub fn acquire_many(&self, count: u32) -> Result<Permit<'_>, Error> {
        self.acquire_by(count, Deadline::NEVER)
    }

    /// Takes a permit, if there is one within `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; otherwise as [`acquire`](Semaphore::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, Error> {
        self.acquire_by(1, Deadline::after(timeout))
    }

    fn acquire_by(&self, count: u32, deadline: Deadline) -> Result<Permit<'_>, Error> {
        let words = self.segment.words();
        words.acquire(&*self.segment, count, deadline)?;
        Ok(self.permit(count))
    }

    /// Takes a permit, if there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Error> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits, if there are as many.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]
    pub fn try_acquire_many(&self, count: u32) -> Result<Permit<'_>, Error> {
        let words = self.segment.words();
        if words.try_acquire(&*self.segment, count) {
            Ok(self.permit(count))
        } else {
            Err(Error::WouldBlock)
        }
    }

    /// [`acquire`](Semaphore::acquire) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe: dropped while it waits, it takes nothing.
    ///
    /// # Errors
    /// As [`acquire`](Semaphore::acquire).
    pub async fn acquire_async(&self) -> Result<Permit<'_>, Error> {
        let words = self.segment.words();
        self.segment
            .wait_until(
                &words.monitor,
                &words.released,
                || words.repair(),
                |door| words.reclaim(door),
                |door| words.take(door, 1),
            )
            .await?;
        Ok(self.permit(1))
    }

    /// Adds permits, and wakes those who can go on.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond `u32::MAX`.
    pub fn add_permits(&self, count: u32) -> Result<(), Error> {
        self.segment.words().grow(&*self.segment, count)
    }

    /// How many permits could be taken now.
    pub fn available_permits(&self) -> u32 {
        self.segment.words().available(&*self.segment)
    }
}

/// Permits that are held; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping it gives the permits back at once"]
pub struct Permit<'a> {
    semaphore: &'a Semaphore,
    count: u32,
}

impl Permit<'_> {
    /// How many.
    pub fn num_permits(&self) -> u32 {
        self.count
    }

    /// Takes them out of the semaphore for good.
    pub fn forget(mut self) {
        self.give(true);
        self.count = 0;
    }

    fn give(&self, forget: bool) {
        let segment = &*self.semaphore.segment;
        segment.words().release(segment, self.count, forget);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.give(false);
        }
    }
}

impl Serialize for Semaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Semaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Arc::new(Segment::unpack::<u8, D>(deserializer)?);
        Ok(Semaphore { segment })
    }
}
