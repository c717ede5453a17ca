//! The one wait queue beneath every primitive of both families.
//!
//! A first-come-first-served line of [`Waker`]s in which anybody may give up
//! at any moment: trio's *parking lot* in Rust. It is a plain data structure:
//! no interior mutability, no atomics, no `unsafe`. The local family keeps it
//! in a `RefCell`, the shared family inside a short critical section
//! (`family.rs`), so what is proven about it once holds for all.
//!
//! Read next: `permits.rs`, which counts on top of it, then `place.rs`, which
//! makes a waiter leave the line when its future is dropped.
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

use std::task::Waker;

use crate::limits::WAIT_QUEUE_KEEP;

/// "No slot": the end of a list.
const NIL: u32 = u32::MAX;

/// Where a waiter stands.
///
/// ```text
///            join                 grant_front
///   (none) ───────▶ Waiting ────────────────────▶ Granted
///                    │   │     release_front          │
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

/// What [`WaitQueue::leave`] gives back.
#[derive(Debug)]
pub struct Left<A> {
    /// How far the waiter had come.
    pub turn: Turn,
    /// What it had asked for.
    pub ask: A,
    /// Its waker, if nobody took it to wake it. The caller must drop it
    /// *after* it let go of the lock around the queue: dropping a waker may
    /// run a destructor that enters this very queue.
    pub waker: Option<Waker>,
}

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
    head: u32,
    tail: u32,
    free: u32,
    waiting: u32,
    live: u32,
}

impl<A> WaitQueue<A> {
    /// An empty line. Allocates nothing.
    pub const fn new() -> Self {
        WaitQueue {
            slots: Vec::new(),
            head: NIL,
            tail: NIL,
            free: NIL,
            waiting: 0,
            live: 0,
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

    /// Joins at the back.
    ///
    /// # Panics
    ///
    /// With 2³² − 1 waiters in one line.
    pub fn join(&mut self, ask: A, waker: Waker) -> Ticket
    where
        A: Copy,
    {
        let slot = Slot {
            previous: self.tail,
            next: NIL,
            turn: Turn::Waiting,
            ask,
            waker: Some(waker),
        };
        let index = if self.free == NIL {
            let index = u32::try_from(self.slots.len()).unwrap_or(NIL);
            assert!(index != NIL, "a wait queue holds at most 2^32 - 2 waiters");
            self.slots.push(slot);
            index
        } else {
            let index = self.free;
            let vacant = &mut self.slots[index as usize];
            self.free = vacant.next;
            *vacant = slot;
            index
        };
        match self.tail {
            NIL => self.head = index,
            tail => self.slots[tail as usize].next = index,
        }
        self.tail = index;
        self.waiting += 1;
        self.live += 1;
        Ticket(index)
    }

    /// What the first in the line asks for.
    #[inline]
    pub fn front(&self) -> Option<&A> {
        match self.head {
            NIL => None,
            head => Some(&self.slots[head as usize].ask),
        }
    }

    /// `Waiting` → `Granted` for the first in the line. The caller wakes the
    /// waker after it let go of the lock around the queue.
    #[inline]
    pub fn grant_front(&mut self) -> Option<Waker> {
        self.take_front(Turn::Granted)
    }

    /// `Waiting` → `Released` for the first in the line; as
    /// [`grant_front`](Self::grant_front) otherwise.
    #[inline]
    pub fn release_front(&mut self) -> Option<Waker> {
        self.take_front(Turn::Released)
    }

    fn take_front(&mut self, turn: Turn) -> Option<Waker> {
        if self.head == NIL {
            return None;
        }
        let index = self.head;
        self.unlink(index);
        let slot = &mut self.slots[index as usize];
        slot.turn = turn;
        slot.waker.take()
    }

    /// How far the holder of this ticket has come.
    #[inline]
    pub fn turn(&self, ticket: &Ticket) -> Turn {
        self.slots[ticket.0 as usize].turn
    }

    /// Makes sure that `waker` is the one that will be woken. Returns the one
    /// it replaced, to be dropped after the lock around the queue is let go.
    pub fn renew(&mut self, ticket: &Ticket, waker: &Waker) -> Option<Waker> {
        let slot = &mut self.slots[ticket.0 as usize];
        debug_assert_eq!(slot.turn, Turn::Waiting);
        match &slot.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => slot.waker.replace(waker.clone()),
        }
    }

    /// Gives the slot back, wherever its holder stands.
    pub fn leave(&mut self, ticket: Ticket) -> Left<A>
    where
        A: Copy,
    {
        let index = ticket.0;
        if self.slots[index as usize].turn == Turn::Waiting {
            self.unlink(index);
        }
        let slot = &mut self.slots[index as usize];
        let left = Left {
            turn: slot.turn,
            ask: slot.ask,
            waker: slot.waker.take(),
        };
        slot.next = self.free;
        self.free = index;
        self.live -= 1;
        if self.live == 0 && self.slots.len() > WAIT_QUEUE_KEEP {
            // A crowd came and went: don't keep its memory.
            self.slots = Vec::new();
            self.free = NIL;
        }
        left
    }

    /// Takes a `Waiting` slot out of the line (invariant 1).
    fn unlink(&mut self, index: u32) {
        let Slot { previous, next, .. } = self.slots[index as usize];
        match previous {
            NIL => self.head = next,
            p => self.slots[p as usize].next = next,
        }
        match next {
            NIL => self.tail = previous,
            n => self.slots[n as usize].previous = previous,
        }
        self.waiting -= 1;
    }
}

impl<A> Default for WaitQueue<A> {
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
        let mut queue = WaitQueue::new();
        let a = join(&mut queue, 1);
        let b = join(&mut queue, 2);
        assert_eq!(queue.front(), Some(&1));
        assert!(queue.grant_front().is_some());
        assert_eq!(
            (queue.turn(&a), queue.turn(&b)),
            (Turn::Granted, Turn::Waiting)
        );
        assert_eq!(queue.front(), Some(&2));
        assert_eq!(queue.leave(a).turn, Turn::Granted);
        assert_eq!(queue.leave(b).turn, Turn::Waiting);
        assert!(queue.is_empty() && queue.grant_front().is_none());
    }

    #[test]
    fn anybody_may_leave_from_the_middle() {
        let mut queue = WaitQueue::new();
        let tickets: Vec<_> = (0..5).map(|n| join(&mut queue, n)).collect();
        let mut tickets: Vec<_> = tickets.into_iter().map(Some).collect();
        for gone in [2, 0, 4] {
            let left = queue.leave(tickets[gone].take().unwrap());
            assert!(left.waker.is_some());
        }
        assert_eq!(queue.len(), 2);
        assert_eq!(queue.front(), Some(&1));
        let _ = queue.release_front();
        assert_eq!(queue.front(), Some(&3));
        let _ = queue.release_front();
        assert!(queue.is_empty());
    }

    #[test]
    fn a_warm_queue_reuses_its_slots() {
        let mut queue = WaitQueue::new();
        for n in 0..100 {
            let ticket = join(&mut queue, n);
            queue.grant_front();
            queue.leave(ticket);
        }
        assert_eq!(queue.slots.len(), 1);
    }

    #[test]
    fn the_memory_of_a_crowd_is_given_back() {
        let mut queue = WaitQueue::new();
        let crowd: Vec<_> = (0..=WAIT_QUEUE_KEEP).map(|_| join(&mut queue, 0)).collect();
        for ticket in crowd {
            queue.leave(ticket);
        }
        assert_eq!(queue.slots.capacity(), 0);
        let again = join(&mut queue, 7);
        assert_eq!(queue.leave(again).ask, 7);
    }

    #[test]
    fn a_waker_is_replaced_only_by_a_different_one() {
        use std::sync::Arc;
        struct Other;
        impl std::task::Wake for Other {
            fn wake(self: Arc<Self>) {}
        }
        let mut queue = WaitQueue::new();
        let one = Waker::from(Arc::new(Other));
        let ticket = queue.join(0, one.clone());
        assert!(queue.renew(&ticket, &one).is_none());
        let other = Waker::from(Arc::new(Other));
        assert!(queue.renew(&ticket, &other).is_some());
        assert!(queue.renew(&ticket, &other).is_none());
        queue.leave(ticket);
    }
}
