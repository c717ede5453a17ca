//! The books of a queue of work: what waits, what is taken, what is done or lost.
//!
//! ```text
//!   words behind the door:  a queue's positions · held[seat] = token, how many taken
//!                           ledger = unfinished, lost
//!
//!            put                  get                   task_done
//!   nobody ───────▶ in the queue ───────▶ held by a seat ───────────▶ done
//!                                           │ its process dies,
//!                                           ▼ or drops the receipt
//!                                          lost
//!   join: until nothing is in the queue or held; then an error if something is lost
//! ```
//!
//! 1. **The store of `tail` is the put, that of `head` the get, that of `held` the end
//!    of a message**, done or lost. `unfinished` = messages in the queue + all that are
//!    held, and follows: after a put's store, before that of `task_done`.
//! 2. **What vanishes is lost, not forgotten.** A consumer that dies between the store
//!    of `head` and that of `held` leaves fewer messages than `unfinished` says: the
//!    one missing is counted as lost by whoever enters next. By the order in (1), no
//!    other death leaves fewer, unless a loss was just about to be written down.
//! 3. **`unfinished` and `lost` are one word**, so nothing is counted twice, whoever
//!    dies while it repairs.
//!
//! Read before this: [`super::queue`] and [`super::semaphore`], which also takes from
//! the dead what they hold. Read after it: [`super::joinable`], the queue itself.

use super::error::Error;
use super::kernel::{Deadline, Party};
use super::members::Token;
use super::monitor::{Door, News};
use super::queue::Positions;
use super::semaphore::{entry, holder};
use crate::process::ring::Bytes;
use crate::switch::{AtomicU64, Ordering, Weakening, weakened};

/// The words. `N` is the number of seats.
#[derive(Debug)]
#[repr(C)]
pub struct Books<const N: usize> {
    pub(super) positions: Positions,
    pub(super) finished: News,
    ledger: AtomicU64,
    held: [AtomicU64; N],
}

impl<const N: usize> Default for Books<N> {
    fn default() -> Self {
        Books {
            positions: Positions::default(),
            finished: News::default(),
            ledger: AtomicU64::default(),
            held: std::array::from_fn(|_| AtomicU64::default()),
        }
    }
}

/// How a message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The work was done.
    Done,
    /// Nobody knows.
    Lost,
}

// The door's lock orders all of it among the living. `held` and the ledger are stored
// with Release because their writer may die between two stores: none may come before
// one that stands above it, also not in the compiler's eyes (invariant 1).
impl<const N: usize> Books<N> {
    /// The words of a queue for so many messages.
    pub fn new(max_items: u32) -> Books<N> {
        let books = Books::default();
        books.positions.limit(max_items);
        books
    }

    /// Unfinished, and lost.
    pub(super) fn read(&self) -> (u32, u32) {
        let ledger = self.ledger.load(Ordering::Relaxed);
        (ledger as u32, (ledger >> 32) as u32)
    }

    pub(super) fn write(&self, unfinished: u32, lost: u32) {
        let ledger = u64::from(lost) << 32 | u64::from(unfinished);
        self.ledger.store(ledger, Ordering::Release);
    }

    /// After a death behind the door: invariant 2.
    pub(super) fn repair(&self, ring: &impl Bytes) {
        self.positions.repair(ring);
        let held = self.held.iter();
        let held: u32 = held.map(|entry| entry.load(Ordering::Relaxed) as u32).sum();
        let there = self.positions.items() + held;
        let (unfinished, lost) = self.read();
        if weakened(Weakening::VanishUnseen) {
            return self.write(there, lost);
        }
        let vanished = unfinished.saturating_sub(there);
        self.write(there, lost.saturating_add(vanished));
    }

    pub(super) fn enter<'a, P: Party>(&'a self, party: &'a P, ring: &impl Bytes) -> Door<'a, P> {
        self.positions.monitor.enter(party, || self.repair(ring))
    }

    /// `count` messages that were held, and aren't any more, are lost.
    fn lose<'a, P: Party>(&'a self, door: &mut Door<'a, P>, count: u32) {
        let (unfinished, lost) = self.read();
        let left = unfinished.saturating_sub(count);
        self.write(left, lost.saturating_add(count));
        self.tell_if_finished(door, left);
    }

    fn tell_if_finished<'a, P: Party>(&'a self, door: &mut Door<'a, P>, unfinished: u32) {
        if unfinished == 0 && !weakened(Weakening::DoneUntold) {
            door.tell(&self.finished, u32::MAX);
        }
    }

    /// How many the living `token` holds; what a dead predecessor in the same seat held
    /// is lost.
    fn mine<'a, P: Party>(&'a self, door: &mut Door<'a, P>, token: Token) -> u32 {
        let held = &self.held[token.seat()];
        match holder(held.load(Ordering::Relaxed)) {
            Some((same, count)) if same == token => count,
            Some((_, count)) => {
                held.store(0, Ordering::Release);
                self.lose(door, count);
                0
            }
            None => 0,
        }
    }

    /// Gives up what the dead hold.
    pub(super) fn look_around<'a, P: Party>(&'a self, door: &mut Door<'a, P>) {
        for held in &self.held {
            if let Some((token, count)) = holder(held.load(Ordering::Relaxed))
                && !door.party().is_alive(token)
                && !weakened(Weakening::DeadKeepMessages)
            {
                held.store(0, Ordering::Release);
                self.lose(door, count);
            }
        }
    }

    /// Puts a message if there is room.
    pub(super) fn put_now<'a, P: Party>(
        &'a self,
        door: &mut Door<'a, P>,
        ring: &impl Bytes,
        bytes: &[u8],
    ) -> Option<Result<(), Error>> {
        let (unfinished, lost) = self.read();
        let more = unfinished.checked_add(1)?; // No room in the ledger, so to speak.
        let put = self.positions.put_now(door, ring, bytes)?;
        if put.is_ok() {
            self.write(more, lost);
        }
        Some(put)
    }

    /// Takes a message if there is one.
    pub(super) fn get_now<'a, P: Party>(
        &'a self,
        door: &mut Door<'a, P>,
        ring: &impl Bytes,
    ) -> Option<Result<Vec<u8>, Error>> {
        let got = self.positions.get_now(door, ring)?;
        if got.is_ok() {
            let me = door.party().me();
            let mine = self.mine(door, me);
            self.held[me.seat()].store(entry(me, mine + 1), Ordering::Release);
        }
        Some(got)
    }

    /// Nothing is left to be done: how many are lost.
    pub(super) fn finished_now(&self) -> Option<Result<(), Error>> {
        let (unfinished, lost) = self.read();
        (unfinished == 0).then_some(match lost {
            0 => Ok(()),
            messages => Err(Error::Lost { messages }),
        })
    }

    /// Puts a message, waiting for room.
    ///
    /// # Errors
    /// As [`Positions::put`].
    pub fn put<P: Party>(
        &self,
        party: &P,
        ring: &impl Bytes,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), Error> {
        self.positions.monitor.wait_until(
            party,
            &self.positions.emptied,
            deadline,
            || self.repair(ring),
            |_| {},
            |door| self.put_now(door, ring, bytes),
        )?
    }

    /// Puts a message if there is room.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`put`](Books::put).
    pub fn try_put(
        &self,
        party: &impl Party,
        ring: &impl Bytes,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let mut door = self.enter(party, ring);
        self.put_now(&mut door, ring, bytes)
            .unwrap_or(Err(Error::WouldBlock))
    }

    /// Takes a message, waiting for one. It is `party`'s until [`Books::finish`].
    ///
    /// # Errors
    /// As [`Positions::get`].
    pub fn get<P: Party>(
        &self,
        party: &P,
        ring: &impl Bytes,
        deadline: Deadline,
    ) -> Result<Vec<u8>, Error> {
        self.positions.monitor.wait_until(
            party,
            &self.positions.filled,
            deadline,
            || self.repair(ring),
            |_| {},
            |door| self.get_now(door, ring),
        )?
    }

    /// Takes a message if there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`get`](Books::get).
    pub fn try_get(&self, party: &impl Party, ring: &impl Bytes) -> Result<Vec<u8>, Error> {
        let mut door = self.enter(party, ring);
        self.get_now(&mut door, ring)
            .unwrap_or(Err(Error::WouldBlock))
    }

    /// One of the messages that `party` holds has come to its end. Whether it held one.
    pub fn finish(&self, party: &impl Party, ring: &impl Bytes, end: End) -> bool {
        let mut door = self.enter(party, ring);
        let me = party.me();
        let mine = self.mine(&mut door, me);
        let Some(left) = mine.checked_sub(1) else {
            return false;
        };
        let held = &self.held[me.seat()];
        match end {
            End::Done => {
                let (unfinished, lost) = self.read();
                let unfinished = unfinished.saturating_sub(1);
                self.write(unfinished, lost);
                held.store(entry(me, left), Ordering::Release);
                self.tell_if_finished(&mut door, unfinished);
            }
            End::Lost => {
                held.store(entry(me, left), Ordering::Release);
                self.lose(&mut door, 1);
            }
        }
        true
    }

    /// Waits until every message ever put has come to its end.
    ///
    /// # Errors
    /// [`Error::Lost`], [`Error::TimedOut`], [`Error::PeersGone`]
    pub fn join<P: Party>(
        &self,
        party: &P,
        ring: &impl Bytes,
        deadline: Deadline,
    ) -> Result<(), Error> {
        self.positions.monitor.wait_until(
            party,
            &self.finished,
            deadline,
            || self.repair(ring),
            |door| self.look_around(door),
            |_| self.finished_now(),
        )?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::identity::Identity;
    use crate::ipc::kernel::Slept;
    use crate::ipc::members::Table;
    use crate::switch::AtomicU32;
    use std::cell::{Cell, RefCell};

    /// One who never waits, and may be dead to others.
    struct Consumer {
        token: Token,
        dead: Cell<bool>,
    }

    impl Consumer {
        fn new() -> Consumer {
            let me = Identity::from_bits(1);
            let token = Table::<2>::default().attach(me, |_| true).unwrap();
            let dead = Cell::new(false);
            Consumer { token, dead }
        }
    }

    impl Party for Consumer {
        fn sleep(&self, _: &AtomicU32, _: u32, _: Deadline) -> Slept {
            unreachable!("nobody else is there")
        }
        fn wake(&self, _: &AtomicU32, _: u32) {}
        fn me(&self) -> Token {
            self.token
        }
        fn is_alive(&self, _: Token) -> bool {
            !self.dead.get()
        }
        fn sweep(&self) -> u32 {
            0
        }
        fn deaths(&self) -> u32 {
            0
        }
        fn has_peers(&self) -> bool {
            true
        }
    }

    struct Memory(RefCell<[u8; 32]>);

    impl Bytes for Memory {
        fn capacity(&self) -> usize {
            32
        }
        fn put(&self, at: u64, bytes: &[u8]) {
            for (place, byte) in (at..).zip(bytes) {
                self.0.borrow_mut()[place as usize % 32] = *byte;
            }
        }
        fn get(&self, at: u64, bytes: &mut [u8]) {
            for (place, byte) in (at..).zip(bytes) {
                *byte = self.0.borrow()[place as usize % 32];
            }
        }
    }

    /// A queue with three messages, of which one is taken. `cut` makes the first store
    /// of a change; then the one behind the door dies, and another repairs, twice, as if
    /// it died in between. Returns what the ledger says, once before what the dead held is
    /// given up and once after.
    fn after(cut: impl FnOnce(&Books<2>, &Consumer, &Memory)) -> [(u32, u32); 2] {
        let (books, ring, me) = (
            Books::<2>::new(8),
            Memory(RefCell::default()),
            Consumer::new(),
        );
        for message in 0..3 {
            books.try_put(&me, &ring, &[message]).unwrap();
        }
        books.try_get(&me, &ring).unwrap();
        assert_eq!(books.read(), (3, 0));
        cut(&books, &me, &ring);
        books.repair(&ring);
        books.repair(&ring);
        let repaired = books.read();
        me.dead.set(true);
        books.look_around(&mut books.enter(&me, &ring));
        [repaired, books.read()]
    }

    #[test]
    fn a_death_between_two_stores_hides_no_loss_and_invents_none() {
        let nothing = after(|_, _, _| {});
        assert_eq!(nothing, [(3, 0), (2, 1)], "what it held");
        let put = after(|books, me, ring| books.positions.try_put(me, ring, &[3]).unwrap());
        assert_eq!(put, [(4, 0), (3, 1)], "it is in the queue");
        let get = after(|books, me, ring| drop(books.positions.try_get(me, ring).unwrap()));
        assert_eq!(get, [(2, 1), (1, 2)], "it was on its way to being held");
        let done = after(|books, _, _| books.write(2, 0));
        assert_eq!(done, [(3, 0), (2, 1)], "it wasn't done yet");
        let dropped = after(|books, _, _| books.held[0].store(0, Ordering::Relaxed));
        assert_eq!(dropped, [(2, 1), (2, 1)], "it is lost once");
    }
}
