//! A number of parties wait for each other; if one dies, they are told.
//!
//! ```text
//!   words behind the door:   round · arrived · broken
//!
//!   wait:  arrived + 1 ─▶ the last?  arrived := 0, round + 1, tell all
//!                      └▶ otherwise  until round is another one, or broken
//!   a death, a time-out, abort:  broken := round + 1, tell all
//!   reset: who waits gets an error; arrived := 0, round + 1, broken := 0
//! ```
//!
//! Any process that has a handle counts as a party when it dies without having
//! dropped it: nobody can know whether it would have come.
//!
//! Read before this: [`super::semaphore`]. Read after it: [`super::value`].

use super::error::Error;
use super::kernel::{Deadline, Party};
use super::monitor::{Door, GaveUp, Monitor, News};
use super::segment::Segment;
use crate::switch::{AtomicU32, Ordering, Weakening, weakened};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use std::time::Duration;

/// The words.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Gate {
    monitor: Monitor,
    opened: News,
    parties: AtomicU32,
    arrived: AtomicU32,
    round: AtomicU32,
    broken: AtomicU32,
    /// How many deaths had been counted when it was made or reset.
    deaths: AtomicU32,
    /// The round before the last reset, plus one; zero if that broke nobody's wait.
    reset: AtomicU32,
}

/// How a wait began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// All others had come.
    Last,
    /// Not the last; in this round.
    Waits(u32),
    /// There is nothing to wait for.
    Broken,
}

// Relaxed throughout: the door's lock orders all of it.
impl Gate {
    /// The words of a barrier for so many.
    pub fn new(parties: u32) -> Gate {
        let gate = Gate::default();
        gate.parties.store(parties, Ordering::Relaxed);
        gate
    }

    /// After a death behind the door: whoever died there was a party.
    fn repair(&self) {
        self.broken.store(1, Ordering::Relaxed);
    }

    fn enter<'a, P: Party>(&'a self, party: &'a P) -> Door<'a, P> {
        self.monitor.enter(party, || self.repair())
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed) != 0
    }

    /// Comes, as one more party, without waiting yet.
    pub fn come<P: Party>(&self, party: &P) -> Arrival {
        self.arrive(&mut self.enter(party))
    }

    fn arrive<'a, P: Party>(&'a self, door: &mut Door<'a, P>) -> Arrival {
        if self.is_broken() {
            // Those who sleep since before a death behind the door don't know yet.
            door.tell(&self.opened, u32::MAX);
            return Arrival::Broken;
        }
        let arrived = self.arrived.load(Ordering::Relaxed) + 1;
        let round = self.round.load(Ordering::Relaxed);
        if arrived < self.parties.load(Ordering::Relaxed) {
            self.arrived.store(arrived, Ordering::Relaxed);
            return Arrival::Waits(round);
        }
        // One of those who came may have died while nobody was here to see it.
        if !weakened(Weakening::CountTheDead) {
            self.look_around(door);
        }
        if self.is_broken() {
            return Arrival::Broken;
        }
        self.arrived.store(0, Ordering::Relaxed);
        self.round.store(round.wrapping_add(1), Ordering::Relaxed);
        if !weakened(Weakening::OpenUntold) {
            door.tell(&self.opened, u32::MAX);
        }
        Arrival::Last
    }

    /// Whether the wait that began in `round` is over, and how.
    ///
    /// A round that all have come to counts, whoever dies after that: so it is looked at
    /// first.
    fn outcome(&self, round: u32) -> Option<Result<(), Error>> {
        if weakened(Weakening::BrokenBeforeRound) && self.is_broken() {
            return Some(Err(Error::Broken));
        }
        if self.round.load(Ordering::Relaxed) != round {
            let was_reset = self.reset.load(Ordering::Relaxed) == round.wrapping_add(1);
            return Some(if was_reset {
                Err(Error::Broken)
            } else {
                Ok(())
            });
        }
        self.is_broken().then_some(Err(Error::Broken))
    }

    fn break_it<'a, P: Party>(&'a self, door: &mut Door<'a, P>) {
        self.broken.store(1, Ordering::Relaxed);
        door.tell(&self.opened, u32::MAX);
    }

    /// Breaks it if a party has died.
    fn look_around<'a, P: Party>(&'a self, door: &mut Door<'a, P>) {
        if weakened(Weakening::DeathUnseen) {
            return;
        }
        if door.party().sweep() != self.deaths.load(Ordering::Relaxed) && !self.is_broken() {
            self.break_it(door);
        }
    }

    /// Waits for all others. Returns whether this was the last to come.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::TimedOut`]
    pub fn wait<P: Party>(&self, party: &P, deadline: Deadline) -> Result<bool, Error> {
        match self.come(party) {
            Arrival::Last => Ok(true),
            Arrival::Broken => Err(Error::Broken),
            Arrival::Waits(round) => self.stay(party, round, deadline).map(|()| false),
        }
    }

    /// Waits for the others of `round`, to which this party has come.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::TimedOut`]
    pub fn stay<P: Party>(&self, party: &P, round: u32, deadline: Deadline) -> Result<(), Error> {
        loop {
            let outcome = self.monitor.wait_until(
                party,
                &self.opened,
                deadline,
                || self.repair(),
                |door| self.look_around(door),
                |_| self.outcome(round),
            );
            match outcome {
                Ok(outcome) => return outcome,
                // Other threads of this process may be parties: wait on.
                Err(GaveUp::PeersGone) => {}
                Err(GaveUp::TimedOut) => {
                    let mut door = self.enter(party);
                    if let Some(outcome) = self.outcome(round) {
                        return outcome; // At the last moment.
                    }
                    self.break_it(&mut door);
                    return Err(Error::TimedOut);
                }
            }
        }
    }

    /// Takes back an arrival in `round` whose waiter was dropped.
    fn leave(&self, party: &impl Party, round: u32) {
        let _door = self.enter(party);
        if self.round.load(Ordering::Relaxed) == round {
            let arrived = self.arrived.load(Ordering::Relaxed);
            self.arrived
                .store(arrived.saturating_sub(1), Ordering::Relaxed);
        }
    }

    fn reset<P: Party>(&self, party: &P) {
        let mut door = self.enter(party);
        let round = self.round.load(Ordering::Relaxed);
        if self.arrived.load(Ordering::Relaxed) > 0 {
            self.reset.store(round.wrapping_add(1), Ordering::Relaxed);
        }
        self.arrived.store(0, Ordering::Relaxed);
        self.round.store(round.wrapping_add(1), Ordering::Relaxed);
        self.deaths.store(party.sweep(), Ordering::Relaxed);
        self.broken.store(0, Ordering::Relaxed);
        door.tell(&self.opened, u32::MAX);
    }
}

/// So many parties that wait for each other, again and again:
/// `std::sync::Barrier` and `threading.Barrier`, for processes. A clone, or what a
/// process gets as an argument, is a handle to the same one.
///
/// ```
/// use threeply_pools::ipc::{Barrier, Process};
///
/// fn meet(start: Barrier) {
///     start.wait().unwrap();
/// }
///
/// let start = Barrier::new(3)?;
/// let a = Process::spawn(meet, start.clone())?;
/// let b = Process::spawn(meet, start.clone())?;
/// start.wait()?;
/// assert!(a.join()?.success() && b.join()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// If a process that has a handle dies, or a party's time runs out, the barrier is
/// broken: whoever waits, or comes, gets [`Error::Broken`], until
/// [`reset`](Barrier::reset).
#[derive(Debug, Clone)]
pub struct Barrier {
    segment: Arc<Segment<Gate>>,
}

/// What a party learns when all have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult(bool);

impl BarrierWaitResult {
    /// Whether this party was the last to come: true for exactly one.
    pub fn is_leader(&self) -> bool {
        self.0
    }
}

impl Barrier {
    /// Makes one for so many parties; takes a descriptor and a page.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Config`] for no parties.
    pub fn new(parties: u32) -> Result<Barrier, Error> {
        if parties == 0 {
            return Err(Error::Config(
                "a barrier for no parties would never open: ask for 1 or more",
            ));
        }
        let segment = Arc::new(Segment::<Gate>::new::<u8>(0)?);
        segment.words().parties.store(parties, Ordering::Relaxed);
        Ok(Barrier { segment })
    }

    /// Waits for all others.
    ///
    /// # Errors
    /// [`Error::Broken`], within a pulse of 50 ms after a death.
    pub fn wait(&self) -> Result<BarrierWaitResult, Error> {
        let last = self.segment.words().wait(&*self.segment, Deadline::NEVER)?;
        Ok(BarrierWaitResult(last))
    }

    /// Waits for all others, but no longer than `timeout`; then it is broken for all.
    ///
    /// # Errors
    /// [`Error::TimedOut`], [`Error::Broken`]
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, Error> {
        let deadline = Deadline::after(timeout);
        let last = self.segment.words().wait(&*self.segment, deadline)?;
        Ok(BarrierWaitResult(last))
    }

    /// [`wait`](Barrier::wait) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe: dropped before the others have come, this party hasn't come either.
    ///
    /// # Errors
    /// As [`wait`](Barrier::wait).
    pub async fn wait_async(&self) -> Result<BarrierWaitResult, Error> {
        struct Arrived<'a> {
            segment: &'a Segment<Gate>,
            round: Option<u32>,
        }
        impl Drop for Arrived<'_> {
            fn drop(&mut self) {
                if let Some(round) = self.round {
                    self.segment.words().leave(self.segment, round);
                }
            }
        }
        let segment = &*self.segment;
        let gate = segment.words();
        let round = match gate.come(segment) {
            Arrival::Last => return Ok(BarrierWaitResult(true)),
            Arrival::Broken => return Err(Error::Broken),
            Arrival::Waits(round) => round,
        };
        let mut arrived = Arrived {
            segment,
            round: Some(round),
        };
        loop {
            let outcome = segment
                .wait_until(
                    &gate.monitor,
                    &gate.opened,
                    || gate.repair(),
                    |door| gate.look_around(door),
                    |_| gate.outcome(round),
                )
                .await;
            if let Ok(outcome) = outcome {
                arrived.round = None;
                return outcome.map(|()| BarrierWaitResult(false));
            }
        }
    }

    /// Breaks it: whoever waits or comes gets an error.
    pub fn abort(&self) {
        let gate = self.segment.words();
        gate.break_it(&mut gate.enter(&*self.segment));
    }

    /// Makes it whole and empty again. Whoever waits gets [`Error::Broken`].
    pub fn reset(&self) {
        self.segment.words().reset(&*self.segment);
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        let gate = self.segment.words();
        let mut door = gate.enter(&*self.segment);
        gate.look_around(&mut door);
        gate.is_broken()
    }

    /// For how many it was made.
    pub fn parties(&self) -> u32 {
        self.segment.words().parties.load(Ordering::Relaxed)
    }

    /// How many have come and wait.
    pub fn waiters(&self) -> u32 {
        let gate = self.segment.words();
        let _door = gate.enter(&*self.segment);
        gate.arrived.load(Ordering::Relaxed)
    }
}

impl Serialize for Barrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Barrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Arc::new(Segment::unpack::<u8, D>(deserializer)?);
        Ok(Barrier { segment })
    }
}
