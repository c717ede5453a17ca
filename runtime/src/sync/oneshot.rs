//! A channel for exactly one value: a promise and its future.
//!
//! ```text
//!              send                    poll / try_recv
//!   EMPTY ───────────────▶ FULL ─────────────────────────▶ DONE
//!     │ │                    │ drop(Receiver), close + drop ▲
//!     │ └── drop(Sender) ────┼──▶ ABANDONED (Err) ──────────┤
//!     │                      └──────────────────────────────┤
//!     └── close, drop(Receiver) ──▶ CLOSED (send fails) ────┘
//! ```
//!
//! Read before: `family.rs`, `pair.rs`; after: `mpsc.rs`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::after::After;
use super::blocking;
use super::coop;
use super::errors::{RecvError, TryRecvError};
use super::family::{Family, Lock, Shared};
use super::pair::Pair;
use crate::inspect::{About, SyncKind, round};
use crate::switch::{Weakening, weakened};
use crate::task::waker::copy;
use crate::trace::{Kind, Origin, emit, emit_of};

struct State<T> {
    value: Option<T>,
    /// `send` happened or the sender was dropped.
    sender_done: bool,
    /// The receiver was closed or dropped.
    closed: bool,
    /// Who awaits the value.
    receiver: Option<Waker>,
    /// Who awaits `Sender::closed`.
    sender: Option<Waker>,
    origin: Origin,
}

type Channel<F, T> = Pair<<F as Family>::Leave, <F as Family>::Lock<State<T>>>;

impl<T> State<T> {
    /// What the receiver waits for.
    fn about_receiving(&self) -> About {
        About::new(SyncKind::OneshotReceive)
    }

    /// What a trace knows the channel by.
    #[inline(always)]
    fn address(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }

    #[inline]
    fn try_recv(&mut self) -> Result<T, TryRecvError> {
        match self.value.take() {
            Some(value) => {
                emit(Kind::OneshotReceive, line!(), self.address(), 1);
                Ok(value)
            }
            None if self.sender_done || self.closed => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    fn close(&mut self, after: &mut After) {
        self.closed = true;
        after.wake(self.sender.take());
    }
}

/// Puts `waker` where the other side will find it.
#[inline(always)]
fn register(slot: &mut Option<Waker>, waker: &Waker, after: &mut After) {
    match slot {
        Some(known) if known.will_wake(waker) => {}
        _ => after.discard(slot.replace(copy(waker))),
    }
}

/// Makes a channel for one value. One allocation, or none on a loop where another
/// oneshot or a task of its size has ended.
#[inline]
#[track_caller]
pub fn channel<F: Family, T>() -> (Sender<F, T>, Receiver<F, T>) {
    let origin = Origin::here();
    let state = || State {
        value: None,
        sender_done: false,
        closed: false,
        receiver: None,
        sender: None,
        origin,
    };
    let (one, other): (Channel<F, T>, _) = Pair::new(|| F::Lock::new(state()));
    let sender = Sender { channel: Some(one) };
    let receiver = Receiver {
        channel: Some(other),
    };
    (sender, receiver)
}

/// Sends the one value. Dropped without sending, the receiver gets an error.
pub struct Sender<F: Family, T> {
    /// `None` once sent.
    channel: Option<Channel<F, T>>,
}

impl<F: Family, T> Sender<F, T> {
    /// Sends the value and wakes the receiver. Never waits. O(1).
    ///
    /// # Errors
    ///
    /// Gives the value back if the receiver is gone or closed. `Ok` doesn't
    /// promise that the value will be looked at: the receiver may be dropped
    /// right after.
    pub fn send(mut self, value: T) -> Result<(), T> {
        let Some(channel) = self.channel.take() else {
            return Err(value);
        };
        let peeked =
            weakened(Weakening::SenderPeeks) && channel.with(|state, _| state.receiver.is_none());
        channel.with(|state, after| {
            state.sender_done = true;
            if state.closed {
                return Err(value);
            }
            let address = state.address();
            emit_of(Kind::OneshotSend, line!(), address, 1, &mut state.origin);
            state.value = Some(value);
            if !peeked {
                after.wake(state.receiver.take());
            }
            Ok(())
        })
    }

    /// Whether the receiver is gone or closed.
    pub fn is_closed(&self) -> bool {
        match &self.channel {
            Some(channel) => channel.with(|state, _| state.closed),
            None => true,
        }
    }

    /// Waits until the receiver is gone or closed: time to stop working on an
    /// answer nobody wants. Cancel-safe.
    pub async fn closed(&mut self) {
        poll_fn(|cx| self.poll_closed(cx)).await;
    }

    /// As [`closed`](Self::closed), for a hand-written future.
    pub fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(channel) = &self.channel else {
            return Poll::Ready(());
        };
        let closed = channel.with(|state, after| {
            if state.closed {
                return Poll::Ready(());
            }
            register(&mut state.sender, cx.waker(), after);
            Poll::Pending
        });
        if closed.is_pending() {
            round::note(|| {
                Some(round::sync_wait::<F, State<T>>(channel, |_| {
                    About::new(SyncKind::OneshotClosed)
                }))
            });
        }
        closed
    }
}

/// A sender that goes without having sent.
#[inline(never)]
fn abandon<F: Family, T>(channel: Channel<F, T>) {
    channel.with(|state, after| {
        state.sender_done = true;
        after.discard(state.sender.take());
        after.wake(state.receiver.take());
    });
}

impl<F: Family, T> Drop for Sender<F, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            abandon::<F, T>(channel);
        }
    }
}

/// A future of the one value.
///
/// Awaiting `&mut receiver` is cancel-safe: a value is either delivered or
/// still in the channel. Polled again after it gave the value it gives
/// [`RecvError`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Receiver<F: Family, T> {
    /// `None` once the outcome was delivered.
    channel: Option<Channel<F, T>>,
}

impl<F: Family, T> Receiver<F, T> {
    /// Takes the value if it is there. Never waits.
    ///
    /// # Errors
    ///
    /// See [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let channel = self.channel.as_ref().ok_or(TryRecvError::Closed)?;
        let outcome = channel.with(|state, _| state.try_recv());
        if !matches!(outcome, Err(TryRecvError::Empty)) {
            self.channel = None;
        }
        outcome
    }

    /// Makes `send` fail from now on. A value sent before can still be taken.
    pub fn close(&mut self) {
        if let Some(channel) = &self.channel {
            channel.with(State::close);
        }
    }
}

impl<T> Receiver<Shared, T> {
    /// Blocks the thread until the value is there.
    ///
    /// # Errors
    ///
    /// If the sender was dropped without sending.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: await the receiver there.
    pub fn blocking_recv(mut self) -> Result<T, RecvError> {
        let Some(channel) = &self.channel else {
            return Err(RecvError);
        };
        let ask = blocking::only_named(SyncKind::OneshotReceive, &**channel);
        blocking::wait(
            "`oneshot::Receiver::blocking_recv`",
            "`receiver.await`",
            &ask,
            &mut self,
        )
    }
}

// Nothing in it is ever pinned, whatever `T` and the family's pointer are.
impl<F: Family, T> Unpin for Receiver<F, T> {}

impl<F: Family, T> Future for Receiver<F, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(channel) = &self.channel else {
            return Poll::Ready(Err(RecvError));
        };
        let lock = &**channel;
        let about = move || Some(round::sync_wait::<F, _>(lock, State::about_receiving));
        if coop::proceed_or_tell(cx, about).is_pending() {
            return Poll::Pending;
        }
        let outcome = channel.with(|state, after| match state.try_recv() {
            Ok(value) => Poll::Ready(Ok(value)),
            Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => {
                register(&mut state.receiver, cx.waker(), after);
                Poll::Pending
            }
        });
        if outcome.is_ready() {
            // The sender needs nothing from us any more: let go now, so that
            // neither a lock nor the allocation outlives the delivery.
            self.channel = None;
        }
        outcome
    }
}

/// A receiver that goes without having received.
#[inline(never)]
fn give_up<F: Family, T>(channel: Channel<F, T>) {
    let peeked =
        weakened(Weakening::ReceiverPeeks) && channel.with(|state, _| state.sender.is_none());
    // The value, if any, is dropped here, outside of the lock.
    let _unwanted = channel.with(|state, after| {
        after.discard(state.receiver.take());
        if peeked {
            state.closed = true;
        } else {
            state.close(after);
        }
        state.value.take()
    });
}

impl<F: Family, T> Drop for Receiver<F, T> {
    #[inline]
    fn drop(&mut self) {
        if let Some(channel) = self.channel.take() {
            give_up::<F, T>(channel);
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

impl<F: Family, T> fmt::Debug for Receiver<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("done", &self.channel.is_none())
            .finish()
    }
}
