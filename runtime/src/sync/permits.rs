//! Counted permits with a line in front: the state machine beneath
//! [`Semaphore`](super::semaphore::Semaphore), `Mutex` (one permit), `RwLock`
//! (a writer takes them all), the free slots of a bounded channel, and both
//! sides of a `Queue`.
//!
//! A pure state: no lock, no waiting, no foreign code. Whoever owns it puts it
//! behind the [`Lock`](super::family::Lock) of its family.
//!
//! Read before: `wait_queue.rs`, `holders.rs`; after: `place.rs`, `semaphore.rs`.

use std::task::{Poll, Waker};

use super::after::After;
use super::holders::Holders;
use super::wait_queue::{Ticket, Turn, WaitQueue};
use crate::inspect::{About, SyncKind};
use crate::switch::{Weakening, weakened};

/// The permits were closed: nobody gets one any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

/// Why [`Permits::try_take`] took nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Not enough permits, or somebody waits already.
    Busy,
    /// Closed.
    Closed,
}

/// Permits and those who wait for them; see the [module](self).
///
/// # Invariants
///
/// 1. *Strictly first come, first served.* While somebody waits, newcomers
///    wait too, even if there would be enough for them.
/// 2. The first in the line asks for more than is available; otherwise
///    [`grant`](Self::give) would have served it. So nobody waits needlessly.
/// 3. A permit is available, or in the hands of a `Granted` waiter, or out
///    with a caller: leaving the line in any state loses none.
/// 4. Once closed, the line is empty.
#[derive(Debug)]
pub struct Permits {
    available: usize,
    closed: bool,
    /// What they are permits of, for a dump.
    kind: SyncKind,
    /// The data word of the waker of whoever took them all last, or was granted some
    /// last, for a dump.
    holder: usize,
    /// Who has taken a share of them, for a dump.
    holders: Holders,
    line: WaitQueue<usize>,
}

impl Permits {
    /// `available` permits of a `kind` of primitive, nobody waiting.
    #[track_caller]
    pub const fn new(available: usize, kind: SyncKind) -> Self {
        Permits {
            available,
            closed: false,
            kind,
            holder: 0,
            holders: Holders::new(),
            line: WaitQueue::new(),
        }
    }

    /// How many can be taken now.
    pub fn available(&self) -> usize {
        self.available
    }

    /// How many stand in the line.
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes `n` at once or not at all; never overtakes the line.
    #[inline(always)]
    pub fn try_take(&mut self, n: usize) -> Result<(), Refused> {
        if self.closed {
            Err(Refused::Closed)
        } else if self.available >= n && self.line.is_empty() {
            self.available -= n;
            Ok(())
        } else {
            Err(Refused::Busy)
        }
    }

    /// One poll of taking `n`. `ticket` is the caller's place in the line; it
    /// is spent when this returns `Ready`.
    #[inline(always)]
    pub fn poll_take(
        &mut self,
        n: usize,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        after: &mut After,
    ) -> Poll<Result<(), Closed>> {
        if ticket.is_none() {
            match self.try_take(n) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(Refused::Closed) => return Poll::Ready(Err(Closed)),
                Err(Refused::Busy) => {}
            }
        }
        self.poll_line(n, ticket, waker, after)
    }

    /// As `poll_take`, for a lock that is held by one: remembers who took it. (Of who
    /// waited in the line, [`grant`](Self::give) has remembered it.)
    #[inline(always)]
    pub(crate) fn poll_hold(
        &mut self,
        n: usize,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        after: &mut After,
    ) -> Poll<Result<(), Closed>> {
        if ticket.is_none() {
            match self.try_take(n) {
                Ok(()) => {
                    self.taken_by(waker.data().addr());
                    return Poll::Ready(Ok(()));
                }
                Err(Refused::Closed) => return Poll::Ready(Err(Closed)),
                Err(Refused::Busy) => {}
            }
        }
        self.poll_line(n, ticket, waker, after)
    }

    /// As `poll_take`, for one of many holders: remembers that it has a share, by the
    /// word of `waker`, until [`give_share`](Self::give_share).
    #[inline(always)]
    pub(crate) fn poll_share(
        &mut self,
        n: usize,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        after: &mut After,
    ) -> Poll<Result<(), Closed>> {
        let polled = self.poll_take(n, ticket, waker, after);
        if let Poll::Ready(Ok(())) = polled
            && n > 0
        {
            self.holders.enter(waker.data().addr());
        }
        polled
    }

    /// The part of `poll_take` that waits.
    #[inline]
    fn poll_line(
        &mut self,
        n: usize,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        after: &mut After,
    ) -> Poll<Result<(), Closed>> {
        self.line
            .poll_turn(n, ticket, waker, after)
            .map(|turn| match turn {
                Turn::Released => Err(Closed),
                Turn::Granted | Turn::Waiting => Ok(()),
            })
    }

    /// Puts `n` permits back, or in for the first time, and serves the line.
    ///
    /// # Panics
    ///
    /// If there would be more than `usize::MAX`.
    #[inline(always)]
    pub fn give(&mut self, n: usize, after: &mut After) {
        self.available = self
            .available
            .checked_add(n)
            .expect("more than usize::MAX permits were given to one semaphore");
        if !self.line.is_empty() {
            self.grant(after);
        }
    }

    /// As [`give`](Self::give), of a share that was taken by the word `who`.
    #[inline(always)]
    pub(crate) fn give_share(&mut self, n: usize, who: usize, after: &mut After) {
        self.holders.leave(who);
        self.give(n, after);
    }

    /// Who has shares.
    pub(crate) fn holders(&mut self) -> &mut Holders {
        &mut self.holders
    }

    /// Takes up to `n` out for good; returns how many there were.
    pub fn forget(&mut self, n: usize) -> usize {
        let gone = n.min(self.available);
        self.available -= gone;
        gone
    }

    /// Remembers who took them all, by the word of its waker.
    #[inline(always)]
    pub(crate) fn taken_by(&mut self, holder: usize) {
        self.holder = holder;
    }

    /// What one waits for in the line.
    pub(crate) fn about(&self) -> About {
        let (mut holders, mut all_known) = self.holders.look();
        // With no permit left and no shares, a lock has one holder, or has handed
        // itself to one.
        let is_held_by_one = self.kind.is_lock() && self.available == 0 && holders.is_empty();
        let granted = self.line.granted();
        let handed_to = if granted > 0 { self.holder } else { 0 };
        if is_held_by_one {
            holders.push(self.holder);
        } else if granted > 0 {
            holders.push(handed_to);
            all_known &= granted == 1;
        }
        // Permits that nobody is known to have: forgotten ones, or those of a
        // channel's slots.
        all_known &= !holders.is_empty();
        About {
            holders,
            all_known,
            handed_to,
            // With something left, it is the first in the line that one waits for.
            ahead: match self.available {
                0 => 0,
                _ => self.line.front_word(),
            },
            ..About::new(self.kind).detail(match self.kind.is_lock() {
                true => String::new(),
                false => format!("{} free, {} wait", self.available, self.line.len()),
            })
        }
    }

    /// Serves the line from the front as far as the permits reach.
    #[inline]
    fn grant(&mut self, after: &mut After) {
        while let Some(ask) = self.line.front()
            && ask <= self.available
        {
            if !weakened(Weakening::GrantIsNotCounted) {
                self.available -= ask;
            }
            self.holder = self.line.front_word();
            self.line.grant_front(after);
        }
    }

    /// Leaves the line; a turn that was granted already is passed on.
    pub fn leave(&mut self, ticket: Ticket, after: &mut After) {
        let in_hand = self.withdraw(ticket, after);
        // Also with nothing in hand: whoever stands behind may be content with
        // what is there.
        self.give(in_hand, after);
    }

    /// Leaves the line with what had been granted, which the caller must give
    /// back; `leave` does both.
    pub fn withdraw(&mut self, ticket: Ticket, after: &mut After) -> usize {
        match self.line.leave(ticket, after) {
            (Turn::Granted, ask) => ask,
            (Turn::Waiting | Turn::Released, _) => 0,
        }
    }

    /// Lets everybody in the line go empty-handed and refuses newcomers.
    /// Permits that are out, or granted, stay valid.
    pub fn close(&mut self, after: &mut After) {
        self.closed = true;
        self.release_waiters(after);
    }

    /// Lets everybody in the line go empty-handed; newcomers are welcome.
    pub fn release_waiters(&mut self, after: &mut After) {
        self.line.release_all(after);
    }
}
