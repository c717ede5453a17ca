//! Many senders, one receiver, first in, first out; bounded or unbounded.
//!
//! One queue behind the family's lock, one counter of free slots with a line
//! in front ([`Permits`]) for the bounded kind, one waker of the receiver. A
//! sender wakes the receiver only if it waits.
//!
//! The receiver of an *unbounded* channel takes everything there is in one go,
//! by swapping its own empty buffer for the full one, and then serves itself
//! without the lock. Between threads that leaves the senders alone with the
//! lock nearly always, so an item costs one uncontended lock on their side and
//! next to nothing on the receiver's. Where the receiver is the faster one it would find
//! single items, and both would fight for the lock: then it gives the sender a moment
//! (`mpsc/patience.rs`; 10^6 items from another thread: 60 to 80 ns each, where looking at
//! once took 90 to 180). A *bounded* channel can't do that: every
//! item taken must free its slot at once, or `try_send` would say "full" of a
//! channel that isn't.
//!
//! # Rejected designs
//!
//! * *A lock-free list of blocks* (tokio, crossbeam): a sender still needs one
//!   atomic to claim a slot, one to publish it and one to ask whether the
//!   receiver waits; a lock and an unlock are two.
//! * *A linked stack, reversed by the receiver*: a single compare-and-swap an
//!   item, but a malloc on one thread and its free on another.
//!
//! Read before: `permits.rs`, `place.rs`; after: `mpsc/sender.rs`,
//! `mpsc/receiver.rs`, `mpsc/patience.rs`.

use std::collections::VecDeque;
use std::task::Waker;

use super::after::After;
use super::family::{Family, Lock};
use super::permits::Permits;
use super::place::Line;
use super::wait_queue::{Ticket, WaitQueue};
use crate::context;
use crate::inspect::{About, SyncKind};
use crate::trace::{Kind, Origin, emit_of};

mod patience;
mod receiver;
mod sender;

pub use receiver::{Receiver, Recv, UnboundedReceiver};
pub use sender::{Permit, Sender, Sending, UnboundedSender};

/// The channel behind the lock; public only as a part of the futures' types.
///
/// # Invariants
///
/// 1. Bounded: `capacity` = free slots + items in `queue` + slots in the hands
///    of senders (reserved, or granted to a waiter that hasn't run yet).
/// 2. `receiver` is `Some` only if the receiver saw nothing to take when it
///    last looked; whoever changes that takes the waker and wakes it.
pub struct State<T> {
    queue: VecDeque<T>,
    /// `None` for an unbounded channel.
    capacity: Option<usize>,
    /// Free slots and the senders that wait for one. Unused if unbounded.
    slots: Permits,
    senders: usize,
    /// The receiver was closed or dropped: no new slot is given out.
    closed: bool,
    receiver_gone: bool,
    receiver: Option<Waker>,
    /// Who awaits `Sender::closed`.
    until_closed: WaitQueue,
    /// The data word of the waker of the task that made the last sender, for a
    /// dump.
    sender_made_by: usize,
    /// The data word of the waker of the task that received last, for a dump.
    received_by: usize,
    origin: Origin,
}

impl<T> State<T> {
    /// The line for a free slot.
    const SLOTS: Line<State<T>> = Line {
        leave: State::leave_slots,
        about: |state| About {
            receiver: state.received_by,
            ..state.slots.about()
        },
    };

    /// The line for the end of the receiver.
    const UNTIL_CLOSED: Line<State<T>> = Line {
        leave: State::leave_until_closed,
        about: |_| About::new(SyncKind::MpscClosed),
    };

    /// What the receiver waits for.
    fn about_receiving(&self) -> About {
        About {
            sender_made_by: match self.senders {
                1 => self.sender_made_by,
                _ => 0,
            },
            ..About::new(SyncKind::MpscReceive).detail(format!("{} senders", self.senders))
        }
    }

    /// Whether the receiver will never get another item. (`queue` is empty.)
    fn is_finished(&self) -> bool {
        let in_hand = match self.capacity {
            Some(capacity) => capacity - self.slots.available() - self.queue.len(),
            None => 0,
        };
        self.senders == 0 || (self.closed && in_hand == 0)
    }

    /// Puts an item in for which a slot was taken; gives it back if nobody is
    /// left to take it.
    #[inline(always)]
    fn push(&mut self, value: T, after: &mut After) -> Result<(), T> {
        if self.receiver_gone {
            if self.capacity.is_some() {
                self.slots.give(1, after);
            }
            return Err(value);
        }
        self.append(value);
        if self.receiver.is_some() {
            after.wake(self.receiver.take());
        }
        Ok(())
    }

    /// Where every value comes in.
    #[inline(always)]
    fn append(&mut self, value: T) {
        let channel = std::ptr::from_ref(self).addr();
        emit_of(Kind::Send, line!(), channel as u64, 1, &mut self.origin);
        self.queue.push_back(value);
    }

    /// Gives a slot back that was taken and not used.
    fn unreserve(&mut self, after: &mut After) {
        self.slots.give(1, after);
        self.wake_if_finished(after);
    }

    fn wake_if_finished(&mut self, after: &mut After) {
        if self.queue.is_empty() && self.is_finished() {
            after.wake(self.receiver.take());
        }
    }

    /// A sender leaves the line for a slot.
    fn leave_slots(&mut self, ticket: Ticket, after: &mut After) {
        self.slots.leave(ticket, after);
        self.wake_if_finished(after);
    }

    fn leave_until_closed(&mut self, ticket: Ticket, after: &mut After) {
        self.until_closed.leave(ticket, after);
    }

    fn close(&mut self, after: &mut After) {
        self.closed = true;
        self.slots.close(after);
        self.until_closed.release_all(after);
    }
}

/// What all handles of a channel share.
type Channel<F, T> = <F as Family>::Ref<<F as Family>::Lock<State<T>>>;

#[track_caller]
fn new<F: Family, T>(capacity: Option<usize>) -> (Channel<F, T>, Receiver<F, T>) {
    let channel: Channel<F, T> = F::share(F::Lock::new(State {
        queue: VecDeque::new(),
        capacity,
        slots: Permits::new(capacity.unwrap_or(0), SyncKind::MpscSend),
        senders: 1,
        closed: false,
        receiver_gone: false,
        receiver: None,
        until_closed: WaitQueue::new(),
        sender_made_by: context::current_word(),
        received_by: 0,
        origin: Origin::here(),
    }));
    let receiver = Receiver::new(channel.clone(), capacity);
    (channel, receiver)
}

/// A channel that holds at most `capacity` items; senders wait for a free slot.
///
/// # Panics
///
/// With a capacity of 0: there is no rendezvous channel here.
#[track_caller]
pub fn channel<F: Family, T>(capacity: usize) -> (Sender<F, T>, Receiver<F, T>) {
    assert!(
        capacity > 0,
        "a channel needs a capacity of at least 1; for a hand-over use a oneshot channel"
    );
    let (channel, receiver) = new(Some(capacity));
    (Sender::new(channel), receiver)
}

/// A channel without a limit: sending never waits, and nothing but memory
/// stops a sender that is faster than the receiver.
#[track_caller]
pub fn unbounded_channel<F: Family, T>() -> (UnboundedSender<F, T>, UnboundedReceiver<F, T>) {
    let (channel, receiver) = new(None);
    (UnboundedSender::new(channel), receiver)
}
