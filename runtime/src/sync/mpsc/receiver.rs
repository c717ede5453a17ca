//! The receiving end of a channel.
//!
//! Read before: `mpsc.rs`, `sender.rs`; after: `broadcast.rs`.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::patience::Patience;
use super::{Channel, State};
use crate::context::forbid_blocking;
use crate::inspect::{SyncKind, round};
use crate::limits::{CHANNEL_KEEP_BYTES, ITEMS_PER_OPERATION};
use crate::sync::after::After;
use crate::sync::blocking;
use crate::sync::coop;
use crate::sync::errors::TryRecvError;
use crate::sync::family::{Family, Lock, Shared};
use crate::task::waker::copy;
use crate::trace::{Kind, emit};

/// The receiver of an [`unbounded_channel`](super::unbounded_channel); the same type serves both kinds.
pub type UnboundedReceiver<F, T> = Receiver<F, T>;

/// The receiving end. Dropping it closes the channel and drops what is in it.
///
/// It is a [`Stream`] too.
pub struct Receiver<F: Family, T> {
    channel: Channel<F, T>,
    /// Unbounded only: items taken from the channel and not yet handed out.
    batch: VecDeque<T>,
    /// How many items of `batch` may be handed out before the next one counts as
    /// an operation. Only set where some are left.
    prepaid: u32,
    /// Whether to give a sender on another thread a moment before waiting for it.
    patience: Patience,
}

impl<F: Family, T> Receiver<F, T> {
    /// The receiver of `channel`, which has a `capacity` or is unbounded.
    pub(super) fn new(channel: Channel<F, T>, capacity: Option<usize>) -> Self {
        Receiver {
            channel,
            batch: VecDeque::new(),
            prepaid: 0,
            patience: Patience::new(F::BETWEEN_THREADS && capacity.is_none()),
        }
    }

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
        if self.prepaid > 0
            && coop::is_paid()
            && let Some(item) = self.batch.pop_front()
        {
            self.prepaid -= 1;
            return Poll::Ready(Some(item));
        }
        self.poll_recv_paying(cx)
    }

    /// Takes an operation from the task's budget, which pays for the next items of
    /// the batch too.
    #[inline]
    fn poll_recv_paying(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let channel = &*self.channel;
        let about = move || Some(round::sync_wait::<F, _>(channel, State::about_receiving));
        if coop::proceed_or_tell(cx, about).is_pending() {
            return Poll::Pending;
        }
        if let Some(item) = self.next_of_batch() {
            self.prepaid = ITEMS_PER_OPERATION - 1;
            return Poll::Ready(Some(item));
        }
        let paused = F::BETWEEN_THREADS && self.patience.pause();
        let batch = &mut self.batch;
        let prepaid = &mut self.prepaid;
        let polled = self.channel.with(|state, after| {
            state.received_by = cx.waker().data().addr();
            match take(state, batch, after) {
                Ok(item) => {
                    if !batch.is_empty() {
                        *prepaid = ITEMS_PER_OPERATION - 1;
                    }
                    Poll::Ready(Some(item))
                }
                Err(TryRecvError::Closed) => Poll::Ready(None),
                Err(TryRecvError::Empty) => {
                    match &state.receiver {
                        Some(known) if known.will_wake(cx.waker()) => {}
                        _ => after.discard(state.receiver.replace(copy(cx.waker()))),
                    }
                    Poll::Pending
                }
            }
        });
        if F::BETWEEN_THREADS {
            self.patience.learn(paused, self.batch.len());
        }
        polled
    }

    /// The next item that needs no lock. None left: the buffer is about to be
    /// swapped with the senders', and what a flood left of it is freed before
    /// that, outside of the lock.
    #[inline(always)]
    fn next_of_batch(&mut self) -> Option<T> {
        let item = self.batch.pop_front();
        // (A division of constants; items without a size need no memory.)
        if item.is_none()
            && size_of::<T>() > 0
            && self.batch.capacity() > CHANNEL_KEEP_BYTES / size_of::<T>().max(1)
        {
            self.batch = VecDeque::new();
        }
        item
    }

    /// Takes the next item if there is one.
    ///
    /// # Errors
    ///
    /// See [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        if let Some(item) = self.next_of_batch() {
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
    let channel = std::ptr::from_ref(state).addr() as u64;
    if state.capacity.is_some() {
        if let Some(item) = state.queue.pop_front() {
            emit(Kind::Receive, line!(), channel, 1);
            state.slots.give(1, after);
            return Ok(item);
        }
    } else if !state.queue.is_empty() {
        std::mem::swap(&mut state.queue, batch);
        emit(Kind::Receive, line!(), channel, batch.len() as u64);
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
            Err(TryRecvError::Empty) => {
                let ask = blocking::only_named(SyncKind::MpscReceive, &*self.channel);
                blocking::wait(WHAT.0, WHAT.1, &ask, self.recv())
            }
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
