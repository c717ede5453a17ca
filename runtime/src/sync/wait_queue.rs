//! The one wait queue beneath every primitive of both families.
//!
//! A first-come-first-served line of [`Waker`]s in which anybody may give up
//! at any moment: trio's *parking lot* in Rust. It is a plain data structure:
//! no interior mutability, no atomics, no `unsafe`. The local family keeps it
//! in a `RefCell`, the shared family inside a short critical section
//! (`family.rs`), so what is proven about it once holds for all.
//!
//! Read before: `family.rs`; next: `permits.rs`, which counts on top of it, then
//! `place.rs`, which makes a waiter leave when its future is dropped.
//!
//! # Rejected designs
//!
//! * *An intrusive list* threaded through the waiting futures (tokio, parking
//!   lots in C) allocates nothing at all, but needs pinned nodes, `unsafe` in
//!   every primitive and an argument about aliasing for each. Slots in a `Vec`
//!   are reused last-in-first-out, so a warm queue allocates nothing either,
//!   and joining costs one store more.
//! * *`VecDeque<Waker>` with tombstones* makes leaving cheap but lets a waiter
//!   that polls a `select!` in a loop grow the line without bound.

use std::mem;
use std::task::{Poll, Waker};

use super::after::After;
use crate::limits::WAIT_QUEUE_KEEP;
use crate::switch::{Weakening, weakened};
use crate::task::waker::copy;
use crate::trace::{Kind, Origin, emit_of};

/// "No slot": the end of a list. Out of bounds of `slots`, whatever it holds, so
/// looking it up is the test for it.
const NIL: u32 = u32::MAX;

/// Where a waiter stands.
///
/// ```text
///            join                 grant_front
///   (none) ───────▶ Waiting ────────────────────▶ Granted
///                    │   │     release_all            │
///                    │   └──────────────────▶ Released │
///              leave │                  leave │        │ leave
///                    ▼                        ▼        ▼
///                  (none)                  (none)    (none)
/// ```
///
/// A slot belongs to the waiter that joined until that waiter leaves: nobody
/// else ever frees it, so a ticket can't be stale and needs no generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// In the line.
    Waiting,
    /// Out of the line with something in hand. Whoever leaves in this state
    /// without using it must pass it on.
    Granted,
    /// Out of the line empty-handed: everybody was let go (a close, a
    /// broadcast). There is nothing to pass on.
    Released,
}

/// The right to one slot of a [`WaitQueue`]; spent by [`WaitQueue::leave`].
#[derive(Debug)]
#[must_use = "a waiter that is forgotten keeps its slot for ever"]
pub struct Ticket(u32);

#[derive(Debug)]
struct Slot<A> {
    /// Neighbour nearer the front; unused unless `Waiting`.
    previous: u32,
    /// Neighbour nearer the back while `Waiting`; next free slot while free.
    next: u32,
    turn: Turn,
    ask: A,
    waker: Option<Waker>,
}

/// A cancellable first-come-first-served line; see the [module](self).
///
/// `A` is what each waiter asks for (a number of permits, say).
///
/// Every operation is O(1), except that a joining waiter may make the slots
/// grow (amortized O(1)). A queue nobody ever waited in owns no memory.
///
/// # Invariants
///
/// 1. `head`…`tail` links exactly the `Waiting` slots, oldest first, and
///    `waiting` counts them.
/// 2. `Waiting` slots have a waker. `Granted` and `Released` slots have none:
///    it was given to whoever wakes the waiter.
/// 3. `live` counts the slots that somebody holds a ticket of.
#[derive(Debug)]
pub struct WaitQueue<A = ()> {
    slots: Vec<Slot<A>>,
    /// Apart from `live`: side by side the compiler would count both up by one wide
    /// load, which waits for the two narrow stores before it.
    waiting: u32,
    head: u32,
    tail: u32,
    free: u32,
    live: u32,
    origin: Origin,
}

impl<A: Copy> WaitQueue<A> {
    /// An empty line. Allocates nothing.
    #[track_caller]
    pub const fn new() -> Self {
        WaitQueue {
            slots: Vec::new(),
            waiting: 0,
            head: NIL,
            tail: NIL,
            free: NIL,
            live: 0,
            origin: Origin::here(),
        }
    }

    /// How many stand in the line; those who were granted or released their
    /// turn and didn't leave yet are not counted.
    #[inline]
    pub fn len(&self) -> usize {
        self.waiting as usize
    }

    /// Whether nobody stands in the line.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.head == NIL
    }

    /// One poll of standing in the line: joins at the back, or renews the
    /// waker, until the turn is `Granted` or `Released`; then leaves, and says
    /// which of the two it was.
    #[inline(always)]
    pub fn poll_turn(
        &mut self,
        ask: A,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
        after: &mut After,
    ) -> Poll<Turn> {
        let Some(place) = ticket else {
            *ticket = Some(self.join(ask, copy(waker)));
            return Poll::Pending;
        };
        let turn = self.turn(place);
        if turn == Turn::Waiting {
            after.discard(self.renew(place, waker));
            return Poll::Pending;
        }
        let index = place.0;
        *ticket = None;
        self.free_slot(index);
        Poll::Ready(turn)
    }

    /// Joins at the back.
    ///
    /// # Panics
    ///
    /// With 2³² − 1 waiters in one line.
    #[inline(always)]
    pub fn join(&mut self, ask: A, waker: Waker) -> Ticket {
        let line = std::ptr::from_ref(self).addr();
        emit_of(Kind::TurnWait, line!(), line as u64, 0, &mut self.origin);
        let index = match self.slots.get_mut(self.free as usize) {
            // Field by field: a slot built aside and moved here is read back by
            // wide loads of fresh narrow stores, which stalls.
            Some(vacant) => {
                let index = self.free;
                self.free = vacant.next;
                vacant.previous = self.tail;
                vacant.next = NIL;
                vacant.turn = Turn::Waiting;
                vacant.ask = ask;
                let former = vacant.waker.replace(waker);
                debug_assert!(former.is_none());
                mem::forget(former); // Nothing, which the compiler can't know.
                index
            }
            None => self.add_slot(ask, waker),
        };
        match self.slots.get_mut(self.tail as usize) {
            Some(last) => last.next = index,
            None => self.head = index,
        }
        self.tail = index;
        self.waiting += 1;
        self.live += 1;
        Ticket(index)
    }

    /// The part of `join` that allocates.
    #[cold]
    fn add_slot(&mut self, ask: A, waker: Waker) -> u32 {
        let index = u32::try_from(self.slots.len()).unwrap_or(NIL);
        assert!(index != NIL, "a wait queue holds at most 2^32 - 1 waiters");
        self.slots.push(Slot {
            previous: self.tail,
            next: NIL,
            turn: Turn::Waiting,
            ask,
            waker: Some(waker),
        });
        index
    }

    /// What the first in the line asks for.
    #[inline]
    pub fn front(&self) -> Option<A> {
        self.slots.get(self.head as usize).map(|slot| slot.ask)
    }

    /// The data word of the waker of the first in the line, or 0: its name in a
    /// dump.
    pub(crate) fn front_word(&self) -> usize {
        let front = self.slots.get(self.head as usize);
        let waker = front.and_then(|slot| slot.waker.as_ref());
        waker.map_or(0, |waker| waker.data().addr())
    }

    /// How many there are whose turn has come and who haven't taken note of it yet.
    pub(crate) fn granted(&self) -> u32 {
        self.live - self.waiting
    }

    /// `Waiting` → `Granted` for the first in the line, who is woken. Returns
    /// whether there was one.
    #[inline(always)]
    pub fn grant_front(&mut self, after: &mut After) -> bool {
        self.take_front(Turn::Granted, after)
    }

    /// `Waiting` → `Released` for all in the line, who are woken in order.
    pub fn release_all(&mut self, after: &mut After) {
        while self.take_front(Turn::Released, after) {}
    }

    #[inline(always)]
    fn take_front(&mut self, turn: Turn, after: &mut After) -> bool {
        let line = std::ptr::from_ref(self).addr();
        let Some(slot) = self.slots.get_mut(self.head as usize) else {
            return false;
        };
        emit_of(
            Kind::TurnGrant,
            line!(),
            line as u64,
            u64::from(turn == Turn::Released),
            &mut self.origin,
        );
        slot.turn = turn;
        let (waker, next) = (slot.waker.take(), slot.next);
        // As `unlink`, which needn't look for a neighbour in front.
        self.head = next;
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.previous = NIL,
            None => self.tail = NIL,
        }
        self.waiting -= 1;
        after.wake(waker);
        true
    }

    /// How far the holder of this ticket has come.
    #[inline]
    pub fn turn(&self, ticket: &Ticket) -> Turn {
        self.slots[ticket.0 as usize].turn
    }

    /// Makes sure that `waker` is the one that will be woken; gives the one that was so
    /// before.
    #[inline(never)]
    #[must_use = "a waker is dropped when no lock is held"]
    pub fn renew(&mut self, ticket: &Ticket, waker: &Waker) -> Option<Waker> {
        let slot = &mut self.slots[ticket.0 as usize];
        debug_assert_eq!(slot.turn, Turn::Waiting);
        match &slot.waker {
            Some(known) if known.will_wake(waker) => None,
            Some(_) if weakened(Weakening::WaiterKeepsWaker) => None,
            _ => slot.waker.replace(copy(waker)),
        }
    }

    /// Gives the slot back if its holder isn't `Waiting` any more.
    pub fn leave_if_over(&mut self, ticket: &mut Option<Ticket>, after: &mut After) {
        if let Some(over) = ticket.take_if(|ticket| self.turn(ticket) != Turn::Waiting) {
            self.leave(over, after);
        }
    }

    /// Gives the slot back, wherever its holder stands. Returns how far it had
    /// come and what it had asked for.
    pub fn leave(&mut self, ticket: Ticket, after: &mut After) -> (Turn, A) {
        let (turn, ask) = self.vacate(ticket, after);
        if weakened(Weakening::WaiterKeepsTurn) {
            return (Turn::Released, ask);
        }
        (turn, ask)
    }

    fn vacate(&mut self, ticket: Ticket, after: &mut After) -> (Turn, A) {
        let index = ticket.0;
        if self.slots[index as usize].turn == Turn::Waiting {
            self.unlink(index);
        }
        let slot = &mut self.slots[index as usize];
        let (turn, ask) = (slot.turn, slot.ask);
        if let Some(waker) = slot.waker.take() {
            after.discard(Some(waker));
        }
        self.free_slot(index);
        (turn, ask)
    }

    /// The end of a slot that isn't in the line and has no waker.
    #[inline(always)]
    fn free_slot(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.waker.is_none());
        slot.next = self.free;
        self.free = index;
        self.live -= 1;
        if self.slots.len() > WAIT_QUEUE_KEEP && self.live == 0 {
            self.free_all();
        }
    }

    /// A crowd came and went: don't keep its memory.
    #[cold]
    #[inline(never)]
    fn free_all(&mut self) {
        self.slots = Vec::new();
        self.free = NIL;
    }

    /// Takes a `Waiting` slot out of the line (invariant 1).
    fn unlink(&mut self, index: u32) {
        let Slot { previous, next, .. } = self.slots[index as usize];
        match self.slots.get_mut(previous as usize) {
            Some(slot) => slot.next = next,
            None => self.head = next,
        }
        match self.slots.get_mut(next as usize) {
            Some(slot) => slot.previous = previous,
            None => self.tail = previous,
        }
        self.waiting -= 1;
    }
}

impl<A: Copy> Default for WaitQueue<A> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(queue: &mut WaitQueue<u8>, ask: u8) -> Ticket {
        queue.join(ask, Waker::noop().clone())
    }

    #[test]
    fn turns_are_granted_in_the_order_of_joining() {
        let (mut queue, after) = (WaitQueue::new(), &mut After::default());
        let a = join(&mut queue, 1);
        let b = join(&mut queue, 2);
        assert_eq!(queue.front(), Some(1));
        assert!(queue.grant_front(after));
        assert_eq!(
            (queue.turn(&a), queue.turn(&b)),
            (Turn::Granted, Turn::Waiting)
        );
        assert_eq!(queue.front(), Some(2));
        assert_eq!(queue.leave(a, after), (Turn::Granted, 1));
        assert_eq!(queue.leave(b, after), (Turn::Waiting, 2));
        assert!(queue.is_empty() && !queue.grant_front(after));
    }

    #[test]
    fn anybody_may_leave_from_the_middle() {
        let mut queue = WaitQueue::new();
        let mut tickets: Vec<_> = (0..5).map(|n| Some(join(&mut queue, n))).collect();
        for gone in [2, 0, 4] {
            let ticket = tickets[gone].take().unwrap();
            assert_eq!(queue.leave(ticket, &mut After::default()).0, Turn::Waiting);
        }
        assert_eq!((queue.len(), queue.front()), (2, Some(1)));
        queue.grant_front(&mut After::default());
        assert_eq!((queue.len(), queue.front()), (1, Some(3)));
        queue.release_all(&mut After::default());
        assert!(queue.is_empty());
        assert_eq!(queue.turn(tickets[3].as_ref().unwrap()), Turn::Released);
    }

    #[test]
    fn a_warm_queue_reuses_its_slots() {
        let (mut queue, after) = (WaitQueue::new(), &mut After::default());
        for n in 0..100 {
            let ticket = join(&mut queue, n);
            queue.grant_front(after);
            queue.leave(ticket, after);
        }
        assert_eq!(queue.slots.len(), 1);
    }

    #[test]
    fn the_memory_of_a_crowd_is_given_back() {
        let mut queue = WaitQueue::new();
        let crowd: Vec<_> = (0..=WAIT_QUEUE_KEEP).map(|_| join(&mut queue, 0)).collect();
        for ticket in crowd {
            queue.leave(ticket, &mut After::default());
        }
        assert_eq!(queue.slots.capacity(), 0);
        let again = join(&mut queue, 7);
        assert_eq!(queue.leave(again, &mut After::default()).1, 7);
    }

    #[test]
    fn a_waker_is_replaced_only_by_a_different_one() {
        use std::sync::Arc;
        struct Ignore;
        impl std::task::Wake for Ignore {
            fn wake(self: Arc<Self>) {}
        }
        let (one, other) = (Arc::new(Ignore), Arc::new(Ignore));
        let mut queue = WaitQueue::new();
        let mut ticket = None;
        let mut poll = |who: &Arc<Ignore>| {
            let waker = Waker::from(who.clone());
            assert!(
                queue
                    .poll_turn(0, &mut ticket, &waker, &mut After::default())
                    .is_pending()
            );
            drop(waker);
            Arc::strong_count(&one) + 10 * Arc::strong_count(&other)
        };
        assert_eq!(poll(&one), 12, "stored");
        assert_eq!(poll(&one), 12, "kept");
        assert_eq!(poll(&other), 21, "replaced");
        assert_eq!(poll(&other), 21, "kept");
    }
}
