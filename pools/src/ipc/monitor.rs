//! A lock with conditions: what every compound object is built on.
//!
//! A semaphore, a barrier or a queue has several words that must agree. They are
//! only touched *behind the door*: with the object's lock held, for a fraction of a
//! microsecond and never while user code runs. Whoever must wait for a change steps
//! outside, sleeps on a [`News`], and looks again.
//!
//! ```text
//!   wait_until(attempt):
//!      enter ─▶ attempt ─ok─▶ leave, done
//!        ▲        │ no
//!        │        ▼
//!        │      sleepers + 1, remember news ─▶ leave ─▶ sleep while news is the same
//!        └──────────── sleepers − 1 ◀────────────────────────┘
//!   whoever changes something:  enter ─▶ change ─▶ sleepers? news + 1 ─▶ leave ─▶ wake
//! ```
//!
//! 1. **No change is overlooked**: attempt, count and remembering happen in one
//!    stay behind the door, change and news in another. Either the change came
//!    first, and the attempt saw it; or the sleeper is counted, and news differs
//!    from what it remembers.
//! 2. **A death behind the door breaks nothing for good**: whoever enters next finds
//!    the lock broken and first calls `repair`, which makes the words agree again
//!    from the one that counts (each object says which), however far the dead one
//!    came. Every change is therefore *one* store of the word that counts.
//! 3. **Nobody sleeps longer than a pulse without looking around**: who died, whether
//!    anybody else is left. So a wake-up that went to one who died over it is late
//!    by a pulse, never lost.
//!
//! A process that dies asleep leaves `sleepers` too high: a superfluous wake-up
//! call at each change from then on, a third of a microsecond.
//!
//! Read before this: [`super::lock`]. Read after it: [`super::semaphore`], the
//! simplest object of this kind.

use super::kernel::{Deadline, Party, Slept};
use super::lock::{Found, LockWord};
use crate::switch::{AtomicU32, Ordering, Weakening, weakened};

/// The lock in front of an object's words.
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct Monitor(LockWord);

/// Something that sleepers wait for. Only touched behind the door, except for the
/// sleep itself.
#[derive(Debug, Default)]
#[repr(C)]
pub struct News {
    number: AtomicU32,
    sleepers: AtomicU32,
}

/// Why a wait ended without what was waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaveUp {
    /// The deadline has passed.
    TimedOut,
    /// No other process is left that could bring it about.
    PeersGone,
}

/// One stay behind the door; dropping it leaves.
#[derive(Debug)]
#[must_use = "dropping it leaves at once"]
pub struct Door<'a, P: Party> {
    monitor: &'a Monitor,
    party: &'a P,
    /// Whom to wake outside, and how many.
    ring: [Option<(&'a News, u32)>; 2],
}

impl Monitor {
    /// Enters; waits for whoever is inside. If somebody died in there, `repair` is
    /// called first.
    #[inline]
    pub fn enter<'a, P: Party>(&'a self, party: &'a P, repair: impl FnOnce()) -> Door<'a, P> {
        let found = self.0.lock(party, Deadline::NEVER);
        if found != Some(Found::Whole) {
            repair();
            self.0.mend();
        }
        Door {
            monitor: self,
            party,
            ring: [None; 2],
        }
    }

    /// Waits until `attempt`, which is called behind the door, gives something.
    /// `look_around` is called there after every pulse without news, before the
    /// next attempt.
    ///
    /// # Errors
    /// [`GaveUp`]
    pub fn wait_until<'a, P: Party, R>(
        &'a self,
        party: &'a P,
        news: &'a News,
        deadline: Deadline,
        repair: impl Fn(),
        mut look_around: impl FnMut(&mut Door<'a, P>),
        mut attempt: impl FnMut(&mut Door<'a, P>) -> Option<R>,
    ) -> Result<R, GaveUp> {
        let mut door = self.enter(party, &repair);
        if let Some(result) = attempt(&mut door) {
            return Ok(result);
        }
        loop {
            let seen = if weakened(Weakening::SleepUncounted) {
                news.number.load(Ordering::Relaxed)
            } else {
                news.await_next()
            };
            drop(door);
            let slept = party.sleep(&news.number, seen, deadline);
            door = self.enter(party, &repair);
            news.stop_waiting();
            if slept == Slept::Elapsed {
                look_around(&mut door);
            }
            if let Some(result) = attempt(&mut door) {
                return Ok(result);
            }
            if slept == Slept::Elapsed {
                if deadline.has_passed() {
                    return Err(GaveUp::TimedOut);
                }
                if !party.has_peers() {
                    return Err(GaveUp::PeersGone);
                }
            }
        }
    }
}

impl News {
    /// Counts a sleeper and tells the number that it is to sleep on. Behind the door.
    pub fn await_next(&self) -> u32 {
        let sleepers = self.sleepers.load(Ordering::Relaxed);
        // Relaxed throughout: the door's lock orders all of this.
        self.sleepers
            .store(sleepers.saturating_add(1), Ordering::Relaxed);
        self.number.load(Ordering::Relaxed)
    }

    /// A sleeper is back. Behind the door.
    pub fn stop_waiting(&self) {
        let sleepers = self.sleepers.load(Ordering::Relaxed);
        self.sleepers
            .store(sleepers.saturating_sub(1), Ordering::Relaxed);
    }

    /// The word that sleepers sleep on.
    pub fn word(&self) -> &AtomicU32 {
        &self.number
    }
}

impl<'a, P: Party> Door<'a, P> {
    /// Something has changed for which up to `count` sleepers on `news` may wait:
    /// they are woken after leaving.
    #[inline]
    pub fn tell(&mut self, news: &'a News, count: u32) {
        if news.sleepers.load(Ordering::Relaxed) == 0 {
            return;
        }
        let number = news.number.load(Ordering::Relaxed);
        news.number.store(number.wrapping_add(1), Ordering::Relaxed);
        let place = self
            .ring
            .iter_mut()
            .find(|place| place.is_none_or(|(same, _)| std::ptr::eq(same, news)))
            .expect("an object has at most two kinds of news");
        *place = Some((news, count.max(place.map_or(0, |(_, before)| before))));
    }

    /// Who is inside.
    pub fn party(&self) -> &'a P {
        self.party
    }
}

impl<P: Party> Drop for Door<'_, P> {
    #[inline]
    fn drop(&mut self) {
        self.monitor.0.unlock(self.party);
        for (news, count) in self.ring.into_iter().flatten() {
            self.party.wake(&news.number, count);
        }
    }
}
