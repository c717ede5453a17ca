//! The sending ends of a channel.
//!
//! Read before: `mpsc.rs`; after: `receiver.rs`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{Channel, State};
use crate::context::{self, forbid_blocking};
use crate::inspect::SyncKind;
use crate::switch::{Weakening, weakened};
use crate::sync::blocking;
use crate::sync::errors::{SendError, TrySendError};
use crate::sync::family::{Family, Lock, Shared};
use crate::sync::permits::{Closed, Refused};
use crate::sync::place::Place;

/// What both kinds of sender are: one of the counted handles that keep the
/// channel open.
struct Handle<F: Family, T> {
    channel: Channel<F, T>,
}

impl<F: Family, T> Clone for Handle<F, T> {
    fn clone(&self) -> Self {
        self.channel.with(|state, _| {
            state.senders += 1;
            state.sender_made_by = context::current_word();
        });
        Handle {
            channel: self.channel.clone(),
        }
    }
}

impl<F: Family, T> Drop for Handle<F, T> {
    fn drop(&mut self) {
        let peeked = weakened(Weakening::LastSenderPeeks)
            && self.channel.with(|state, _| state.receiver.is_none());
        self.channel.with(|state, after| {
            state.senders -= 1;
            if state.senders == 0 && !peeked {
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
        let mut place = Place::<F, _>::new(&self.channel, &State::UNTIL_CLOSED);
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
    /// The first sender of `channel`.
    pub(super) fn new(channel: Channel<F, T>) -> Self {
        let handle = Handle { channel };
        Sender { handle }
    }

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
            place: Place::new(&*self.handle.channel, &State::SLOTS),
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

    /// Waits for a free slot and keeps it for one item. Cancel-safe: a wait that is
    /// dropped leaves the line, and passes on the slot that it may have been granted.
    ///
    /// # Errors
    ///
    /// If the receiver is, or gets, closed.
    pub async fn reserve(&self) -> Result<Permit<'_, F, T>, SendError<()>> {
        let mut place = Place::<F, _>::new(&*self.handle.channel, &State::SLOTS);
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

    /// Waits until the receiver is gone or closed. Cancel-safe.
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
            Err(TrySendError::Full(value)) => {
                let ask = blocking::only_named(SyncKind::MpscSend, &*self.handle.channel);
                blocking::wait(WHAT.0, WHAT.1, &ask, self.send(value))
            }
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
        // Before a slot is taken, which would be lost.
        assert!(self.value.is_some(), "a send was polled after it was done");
        let Sending { place, value } = &mut *self;
        place.poll(cx, |state, ticket, cx, after| {
            let taken = state.slots.poll_take(1, ticket, cx.waker(), after);
            match (taken, value.take()) {
                (Poll::Ready(Ok(())), Some(value)) => {
                    Poll::Ready(state.push(value, after).map_err(SendError))
                }
                (Poll::Ready(Err(Closed)), Some(value)) => Poll::Ready(Err(SendError(value))),
                (_, unsent) => {
                    *value = unsent;
                    Poll::Pending
                }
            }
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
    /// The first sender of `channel`.
    pub(super) fn new(channel: Channel<F, T>) -> Self {
        let handle = Handle { channel };
        UnboundedSender { handle }
    }

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
            // Not closed, so the receiver is there.
            state.append(value);
            if state.receiver.is_some() && !peeked {
                after.wake(state.receiver.take());
            }
            Ok(())
        })
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Waits until the receiver is gone or closed. Cancel-safe.
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
