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
//! next to nothing on the receiver's. A *bounded* channel can't do that: every
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
//! Read before: `permits.rs`, `place.rs`; after: `broadcast.rs`.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::after::After;
use super::blocking;
use super::coop;
use super::errors::{SendError, TryRecvError, TrySendError};
use super::family::{Family, Lock, Shared};
use super::permits::{Closed, Permits, Refused};
use super::place::Place;
use super::wait_queue::{Ticket, WaitQueue};
use crate::context::forbid_blocking;
use crate::limits::CHANNEL_KEEP_BYTES;
use crate::switch::{Weakening, weakened};

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
}

impl<T> State<T> {
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
        self.queue.push_back(value);
        after.wake(self.receiver.take());
        Ok(())
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

type Channel<F, T> = <F as Family>::Ref<<F as Family>::Lock<State<T>>>;

fn new<F: Family, T>(capacity: Option<usize>) -> (Channel<F, T>, Receiver<F, T>) {
    let channel: Channel<F, T> = F::share(F::Lock::new(State {
        queue: VecDeque::new(),
        capacity,
        slots: Permits::new(capacity.unwrap_or(0)),
        senders: 1,
        closed: false,
        receiver_gone: false,
        receiver: None,
        until_closed: WaitQueue::new(),
    }));
    let receiver = Receiver {
        channel: channel.clone(),
        batch: VecDeque::new(),
    };
    (channel, receiver)
}

/// A channel that holds at most `capacity` items; senders wait for a free slot.
///
/// # Panics
///
/// With a capacity of 0: there is no rendezvous channel here.
pub fn channel<F: Family, T>(capacity: usize) -> (Sender<F, T>, Receiver<F, T>) {
    assert!(
        capacity > 0,
        "a channel needs a capacity of at least 1; for a hand-over use a oneshot channel"
    );
    let (channel, receiver) = new(Some(capacity));
    let handle = Handle { channel };
    (Sender { handle }, receiver)
}

/// A channel without a limit: sending never waits, and nothing but memory
/// stops a sender that is faster than the receiver.
pub fn unbounded_channel<F: Family, T>() -> (UnboundedSender<F, T>, UnboundedReceiver<F, T>) {
    let (channel, receiver) = new(None);
    let handle = Handle { channel };
    (UnboundedSender { handle }, receiver)
}

/// What both kinds of sender are: one of the counted handles that keep the
/// channel open.
struct Handle<F: Family, T> {
    channel: Channel<F, T>,
}

impl<F: Family, T> Clone for Handle<F, T> {
    fn clone(&self) -> Self {
        self.channel.with(|state, _| state.senders += 1);
        Handle {
            channel: self.channel.clone(),
        }
    }
}

impl<F: Family, T> Drop for Handle<F, T> {
    fn drop(&mut self) {
        self.channel.with(|state, after| {
            state.senders -= 1;
            if state.senders == 0 {
                after.wake(state.receiver.take());
            }
        });
    }
}

impl<F: Family, T> Handle<F, T> {
    fn is_closed(&self) -> bool {
        self.channel.with(|state, _| state.closed)
    }

    async fn closed(&self) {
        let mut place = Place::<F, _>::new(&self.channel, State::leave_until_closed);
        poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                if state.closed && ticket.is_none() {
                    return Poll::Ready(());
                }
                state
                    .until_closed
                    .poll_turn((), ticket, cx.waker(), after)
                    .map(|_turn| ())
            })
        })
        .await;
    }
}

/// Sends into a bounded channel. Clone it for more senders; the channel ends
/// when the last one is dropped and what was sent has been received.
pub struct Sender<F: Family, T> {
    handle: Handle<F, T>,
}

impl<F: Family, T> Sender<F, T> {
    /// Waits for a free slot and puts `value` in. First come, first served.
    ///
    /// Dropped before it is done it didn't send: `value` is dropped with it.
    /// Use [`reserve`](Self::reserve) to keep the value meanwhile.
    ///
    /// # Errors
    ///
    /// Gives the value back if the receiver is, or gets, closed.
    #[inline]
    pub fn send(&self, value: T) -> Sending<'_, F, T> {
        Sending {
            place: Place::new(&*self.handle.channel, State::leave_slots),
            value: Some(value),
        }
    }

    /// Puts `value` in if a slot is free and nobody waits for it.
    ///
    /// # Errors
    ///
    /// See [`TrySendError`].
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.handle
            .channel
            .with(|state, after| match state.slots.try_take(1) {
                Ok(()) => state.push(value, after).map_err(TrySendError::Closed),
                Err(Refused::Busy) => Err(TrySendError::Full(value)),
                Err(Refused::Closed) => Err(TrySendError::Closed(value)),
            })
    }

    /// Waits for a free slot and keeps it for one item.
    ///
    /// # Errors
    ///
    /// If the receiver is, or gets, closed.
    pub async fn reserve(&self) -> Result<Permit<'_, F, T>, SendError<()>> {
        let mut place = Place::<F, _>::new(&*self.handle.channel, State::leave_slots);
        poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                state.slots.poll_take(1, ticket, cx.waker(), after)
            })
        })
        .await
        .map_err(|Closed| SendError(()))?;
        Ok(Permit { sender: Some(self) })
    }

    /// Takes a free slot if there is one and nobody waits for it.
    ///
    /// # Errors
    ///
    /// See [`TrySendError`].
    pub fn try_reserve(&self) -> Result<Permit<'_, F, T>, TrySendError<()>> {
        match self.handle.channel.with(|state, _| state.slots.try_take(1)) {
            Ok(()) => Ok(Permit { sender: Some(self) }),
            Err(Refused::Busy) => Err(TrySendError::Full(())),
            Err(Refused::Closed) => Err(TrySendError::Closed(())),
        }
    }

    /// How many slots are free now.
    pub fn capacity(&self) -> usize {
        self.handle.channel.with(|state, _| state.slots.available())
    }

    /// How many items the channel can hold.
    pub fn max_capacity(&self) -> usize {
        self.handle
            .channel
            .with(|state, _| state.capacity.unwrap_or(0))
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Waits until the receiver is gone or closed. Dropping the future at any
    /// moment is harmless.
    pub async fn closed(&self) {
        self.handle.closed().await;
    }

    /// Whether both send into the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        F::same(&self.handle.channel, &other.handle.channel)
    }
}

impl<F: Family, T> Clone for Sender<F, T> {
    fn clone(&self) -> Self {
        Sender {
            handle: self.handle.clone(),
        }
    }
}

impl<F: Family, T> fmt::Debug for Sender<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("closed", &self.is_closed())
            .finish()
    }
}

impl<T> Sender<Shared, T> {
    /// Blocks the thread until `value` is in.
    ///
    /// # Errors
    ///
    /// Gives the value back if the receiver is, or gets, closed.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `send(value).await` there.
    pub fn blocking_send(&self, value: T) -> Result<(), SendError<T>> {
        const WHAT: (&str, &str) = ("`mpsc::Sender::blocking_send`", "`send(value).await`");
        forbid_blocking(WHAT.0, WHAT.1);
        match self.try_send(value) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(value)) => Err(SendError(value)),
            Err(TrySendError::Full(value)) => blocking::wait(WHAT.0, WHAT.1, self.send(value)),
        }
    }
}

/// The future of [`Sender::send`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Sending<'a, F: Family, T> {
    place: Place<'a, F, State<T>>,
    /// `None` once it is done.
    value: Option<T>,
}

// Nothing in it is ever pinned, whatever `T` is.
impl<F: Family, T> Unpin for Sending<'_, F, T> {}

impl<F: Family, T> Future for Sending<'_, F, T> {
    type Output = Result<(), SendError<T>>;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Sending { place, value } = &mut *self;
        place.poll(cx, |state, ticket, cx, after| {
            let taken = state.slots.poll_take(1, ticket, cx.waker(), after);
            taken.map(|taken| {
                let value = value.take().expect("a send was polled after it was done");
                match taken {
                    Ok(()) => state.push(value, after).map_err(SendError),
                    Err(Closed) => Err(SendError(value)),
                }
            })
        })
    }
}

/// A slot of a bounded channel in hand; dropped unused, it is free again.
#[must_use = "a permit that is dropped at once reserves nothing"]
pub struct Permit<'a, F: Family, T> {
    sender: Option<&'a Sender<F, T>>,
}

impl<F: Family, T> Permit<'_, F, T> {
    /// Puts `value` in. Never waits; an item sent after the receiver was
    /// dropped is dropped too.
    pub fn send(mut self, value: T) {
        if let Some(sender) = self.sender.take() {
            let _unwanted = sender
                .handle
                .channel
                .with(|state, after| state.push(value, after));
        }
    }
}

impl<F: Family, T> Drop for Permit<'_, F, T> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.handle.channel.with(State::unreserve);
        }
    }
}

impl<F: Family, T> fmt::Debug for Permit<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}

/// Sends into an unbounded channel. Clone it for more senders; the channel
/// ends when the last one is dropped and what was sent has been received.
pub struct UnboundedSender<F: Family, T> {
    handle: Handle<F, T>,
}

impl<F: Family, T> UnboundedSender<F, T> {
    /// Puts `value` in. Never waits. Amortized O(1).
    ///
    /// # Errors
    ///
    /// Gives the value back if the receiver is gone or closed.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let channel = &self.handle.channel;
        let peeked =
            weakened(Weakening::SenderPeeks) && channel.with(|state, _| state.receiver.is_none());
        channel.with(|state, after| {
            if state.closed {
                return Err(SendError(value));
            }
            if peeked {
                state.queue.push_back(value);
                return Ok(());
            }
            state.push(value, after).map_err(SendError)
        })
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Waits until the receiver is gone or closed. Dropping the future at any
    /// moment is harmless.
    pub async fn closed(&self) {
        self.handle.closed().await;
    }

    /// Whether both send into the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        F::same(&self.handle.channel, &other.handle.channel)
    }
}

impl<F: Family, T> Clone for UnboundedSender<F, T> {
    fn clone(&self) -> Self {
        UnboundedSender {
            handle: self.handle.clone(),
        }
    }
}

impl<F: Family, T> fmt::Debug for UnboundedSender<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnboundedSender")
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// The receiver of an [`unbounded_channel`]; the same type serves both kinds.
pub type UnboundedReceiver<F, T> = Receiver<F, T>;

/// The receiving end. Dropping it closes the channel and drops what is in it.
///
/// It is a [`Stream`] too.
pub struct Receiver<F: Family, T> {
    channel: Channel<F, T>,
    /// Unbounded only: items taken from the channel and not yet handed out.
    batch: VecDeque<T>,
}

impl<F: Family, T> Receiver<F, T> {
    /// Waits for the next item; `None` once the channel is finished: every
    /// sender is gone, or it was closed, and everything sent was received.
    ///
    /// Cancel-safe: dropping the future loses no item.
    #[inline]
    pub fn recv(&mut self) -> Recv<'_, F, T> {
        Recv { receiver: self }
    }

    /// As [`recv`](Self::recv), for a hand-written future.
    #[inline(always)]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        if coop::poll_proceed(cx).is_pending() {
            return Poll::Pending;
        }
        if let Some(item) = self.batch.pop_front() {
            return Poll::Ready(Some(item));
        }
        let batch = &mut self.batch;
        self.channel
            .with(|state, after| match take(state, batch, after) {
                Ok(item) => Poll::Ready(Some(item)),
                Err(TryRecvError::Closed) => Poll::Ready(None),
                Err(TryRecvError::Empty) => {
                    match &state.receiver {
                        Some(known) if known.will_wake(cx.waker()) => {}
                        _ => after.discard(state.receiver.replace(cx.waker().clone())),
                    }
                    Poll::Pending
                }
            })
    }

    /// Takes the next item if there is one.
    ///
    /// # Errors
    ///
    /// See [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if let Some(item) = self.batch.pop_front() {
            return Ok(item);
        }
        let batch = &mut self.batch;
        self.channel.with(|state, after| take(state, batch, after))
    }

    /// Waits for at least one item and moves up to `limit` of those that are
    /// there to the end of `buffer`. Returns how many; 0 once the channel is
    /// finished, or if `limit` is 0.
    ///
    /// Cancel-safe: dropping the future loses no item.
    pub async fn recv_many(&mut self, buffer: &mut Vec<T>, limit: usize) -> usize {
        if limit == 0 {
            return 0;
        }
        let Some(first) = self.recv().await else {
            return 0;
        };
        buffer.push(first);
        let mut count = 1;
        while count < limit {
            match self.try_recv() {
                Ok(item) => buffer.push(item),
                Err(_) => break,
            }
            count += 1;
        }
        count
    }

    /// Lets nothing more in. What was sent, and what senders that hold a slot
    /// still send, can be received; waiting senders fail.
    pub fn close(&mut self) {
        self.channel.with(State::close);
    }

    /// Whether nothing more gets in.
    pub fn is_closed(&self) -> bool {
        self.channel
            .with(|state, _| state.closed || state.senders == 0)
    }

    /// How many items could be received now.
    pub fn len(&self) -> usize {
        self.batch.len() + self.channel.with(|state, _| state.queue.len())
    }

    /// Whether nothing could be received now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The future of [`Receiver::recv`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct Recv<'a, F: Family, T> {
    receiver: &'a mut Receiver<F, T>,
}

impl<F: Family, T> Future for Recv<'_, F, T> {
    type Output = Option<T>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.receiver.poll_recv(cx)
    }
}

/// The next item from behind the lock. `batch` is empty.
#[inline(always)]
fn take<T>(
    state: &mut State<T>,
    batch: &mut VecDeque<T>,
    after: &mut After,
) -> Result<T, TryRecvError> {
    if state.capacity.is_some() {
        if let Some(item) = state.queue.pop_front() {
            state.slots.give(1, after);
            return Ok(item);
        }
    } else if !state.queue.is_empty() {
        if batch.capacity() * size_of::<T>() > CHANNEL_KEEP_BYTES {
            // A flood went through: don't keep its memory.
            *batch = VecDeque::new();
        }
        std::mem::swap(&mut state.queue, batch);
        return batch.pop_front().ok_or(TryRecvError::Empty);
    }
    match state.is_finished() {
        true => Err(TryRecvError::Closed),
        false => Err(TryRecvError::Empty),
    }
}

impl<T> Receiver<Shared, T> {
    /// Blocks the thread for the next item; `None` once the channel is
    /// finished, as [`recv`](Self::recv).
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `recv().await` there.
    pub fn blocking_recv(&mut self) -> Option<T> {
        const WHAT: (&str, &str) = ("`mpsc::Receiver::blocking_recv`", "`recv().await`");
        forbid_blocking(WHAT.0, WHAT.1);
        match self.try_recv() {
            Ok(item) => Some(item),
            Err(TryRecvError::Closed) => None,
            Err(TryRecvError::Empty) => blocking::wait(WHAT.0, WHAT.1, self.recv()),
        }
    }
}

impl<F: Family, T> Stream for Receiver<F, T> {
    type Item = T;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.get_mut().poll_recv(cx)
    }
}

impl<F: Family, T> Unpin for Receiver<F, T> {}

impl<F: Family, T> Drop for Receiver<F, T> {
    fn drop(&mut self) {
        // The items are dropped here, outside of the lock.
        let _unwanted = self.channel.with(|state, after| {
            after.discard(state.receiver.take());
            state.receiver_gone = true;
            state.close(after);
            let unwanted = std::mem::take(&mut state.queue);
            if state.capacity.is_some() {
                state.slots.give(unwanted.len(), after);
            }
            unwanted
        });
    }
}

impl<F: Family, T> fmt::Debug for Receiver<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .field("closed", &self.is_closed())
            .finish()
    }
}
