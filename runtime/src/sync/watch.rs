//! One value that changes; receivers see the latest, not every one.
//!
//! Looking at the value gives a handle (`Rc` or `Arc`) of it, a snapshot that
//! may be kept as long as one likes. Rejected: a guard that holds a lock while
//! one looks (tokio): held across an await it stops the sender, or worse.
//!
//! Read before: `broadcast.rs`; after: `queue.rs`.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use super::after::After;
use super::blocking;
use super::errors::{RecvError, SendError};
use super::family::{Family, Lock, Shared};
use super::place::{Line, Place};
use super::wait_queue::{Ticket, WaitQueue};
use crate::inspect::{About, SyncKind};
use crate::trace::{Kind, Origin, emit, emit_of};

/// # Invariants
///
/// 1. `version` grows with every change; a receiver that knows it has nothing
///    to wake up for.
/// 2. Only receivers that know `version` stand in `line`.
struct State<V> {
    value: V,
    version: u64,
    senders: usize,
    receivers: usize,
    /// Who awaits a change.
    line: WaitQueue,
    /// Who awaits `Sender::closed`.
    until_closed: WaitQueue,
    origin: Origin,
}

impl<V> State<V> {
    const LINE: Line<State<V>> = Line {
        leave: State::leave,
        about: |state| {
            let senders = format!("{} senders", state.senders);
            About::new(SyncKind::WatchChange).detail(senders)
        },
    };
    const UNTIL_CLOSED: Line<State<V>> = Line {
        leave: State::leave_until_closed,
        about: |_| About::new(SyncKind::WatchClosed),
    };

    fn replace(&mut self, value: V, after: &mut After) -> V {
        self.version += 1;
        let (address, version) = (self.address(), self.version);
        emit_of(Kind::WatchSend, line!(), address, version, &mut self.origin);
        self.line.release_all(after);
        std::mem::replace(&mut self.value, value)
    }

    fn leave(&mut self, ticket: Ticket, after: &mut After) {
        self.line.leave(ticket, after);
    }

    fn leave_until_closed(&mut self, ticket: Ticket, after: &mut After) {
        self.until_closed.leave(ticket, after);
    }

    /// What a trace knows the channel by.
    fn address(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }

    /// The version that a receiver has seen from now on, who had seen `seen`.
    fn see(&self, seen: u64) -> u64 {
        if self.version != seen {
            emit(Kind::WatchSeen, line!(), self.address(), self.version);
        }
        self.version
    }

    fn has_changed(&self, seen: u64) -> Result<bool, RecvError> {
        if self.version != seen {
            Ok(true)
        } else if self.senders == 0 {
            Err(RecvError)
        } else {
            Ok(false)
        }
    }
}

/// A channel's parts: the state, and the turn of those who change the value by
/// a closure, which must not run inside the state's lock.
struct Parts<F: Family, T> {
    state: F::Lock<State<F::Ref<T>>>,
    writers: F::Lock<()>,
}

type Channel<F, T> = <F as Family>::Ref<Parts<F, T>>;

/// Makes a channel that holds `value`, which the receiver counts as seen.
#[track_caller]
pub fn channel<F: Family, T>(value: T) -> (Sender<F, T>, Receiver<F, T>) {
    let channel: Channel<F, T> = F::share(Parts {
        state: F::Lock::new(State {
            value: F::share(value),
            version: 0,
            senders: 1,
            receivers: 1,
            line: WaitQueue::new(),
            until_closed: WaitQueue::new(),
            origin: Origin::here(),
        }),
        writers: F::Lock::new(()),
    });
    let receiver = Receiver {
        channel: channel.clone(),
        seen: 0,
    };
    (Sender { channel }, receiver)
}

/// Changes the value. Clone it for more senders.
pub struct Sender<F: Family, T> {
    channel: Channel<F, T>,
}

impl<F: Family, T> Sender<F, T> {
    /// Sets the value and wakes all receivers that wait for a change.
    ///
    /// # Errors
    ///
    /// Gives the value back, unset, if there is no receiver. To set it anyhow,
    /// use [`send_replace`](Self::send_replace).
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let mut value = Some(F::share(value));
        // The wakes happen after the writers' turn is over too.
        let _old = self.channel.writers.with(|(), after| {
            self.channel.state.with(|state, _| {
                if state.receivers == 0 {
                    return None;
                }
                value.take().map(|value| state.replace(value, after))
            })
        });
        match value.map(F::unshare) {
            Some(Ok(unsent)) => Err(SendError(unsent)),
            _ => Ok(()),
        }
    }

    /// Sets the value, receivers or not, and gives the old one.
    pub fn send_replace(&self, value: T) -> F::Ref<T> {
        let value = F::share(value);
        self.channel.writers.with(|(), after| {
            self.channel
                .state
                .with(|state, _| state.replace(value, after))
        })
    }

    /// Changes the value by a closure, on a copy of it, and wakes receivers.
    ///
    /// `change` must not use this channel's senders: other senders wait until
    /// it is done. If it panics, the value stays as it was.
    pub fn send_modify(&self, change: impl FnOnce(&mut T))
    where
        T: Clone,
    {
        self.send_if_modified(|value| {
            change(value);
            true
        });
    }

    /// As [`send_modify`](Self::send_modify), but the change only takes effect
    /// if `change` says true. Returns what it said.
    pub fn send_if_modified(&self, change: impl FnOnce(&mut T) -> bool) -> bool
    where
        T: Clone,
    {
        // The old value, or the unwanted new one, is dropped outside.
        let outcome = self.channel.writers.with(|(), after| {
            let mut value = T::clone(&self.borrow());
            if !change(&mut value) {
                return Err(value);
            }
            let value = F::share(value);
            Ok(self
                .channel
                .state
                .with(|state, _| state.replace(value, after)))
        });
        outcome.is_ok()
    }

    /// The value as it is now.
    pub fn borrow(&self) -> F::Ref<T> {
        self.channel.state.with(|state, _| state.value.clone())
    }

    /// A new receiver, which counts the present value as seen.
    pub fn subscribe(&self) -> Receiver<F, T> {
        let seen = self.channel.state.with(|state, _| {
            state.receivers += 1;
            state.version
        });
        Receiver {
            channel: self.channel.clone(),
            seen,
        }
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.channel.state.with(|state, _| state.receivers)
    }

    /// Whether there is no receiver.
    pub fn is_closed(&self) -> bool {
        self.receiver_count() == 0
    }

    /// Waits until there is no receiver. Can be dropped at any moment.
    pub async fn closed(&self) {
        let mut place = Place::<F, _>::new(&self.channel.state, &State::UNTIL_CLOSED);
        poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                if ticket.is_none() && state.receivers == 0 {
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

impl<F: Family, T> Clone for Sender<F, T> {
    fn clone(&self) -> Self {
        self.channel.state.with(|state, _| state.senders += 1);
        Sender {
            channel: self.channel.clone(),
        }
    }
}

impl<F: Family, T> Drop for Sender<F, T> {
    fn drop(&mut self) {
        self.channel.state.with(|state, after| {
            state.senders -= 1;
            if state.senders == 0 {
                state.line.release_all(after);
            }
        });
    }
}

/// Sees the latest value. A clone has seen what the original has.
pub struct Receiver<F: Family, T> {
    channel: Channel<F, T>,
    seen: u64,
}

impl<F: Family, T> Receiver<F, T> {
    /// The value as it is now. A change that it shows still counts as unseen.
    pub fn borrow(&self) -> F::Ref<T> {
        self.channel.state.with(|state, _| state.value.clone())
    }

    /// The value as it is now, which counts as seen from here on.
    pub fn borrow_and_update(&mut self) -> F::Ref<T> {
        let (value, version) = self
            .channel
            .state
            .with(|state, _| (state.value.clone(), state.see(self.seen)));
        self.seen = version;
        value
    }

    /// Whether the value changed since this receiver saw it last.
    ///
    /// # Errors
    ///
    /// If it didn't, and every sender is gone.
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        self.channel
            .state
            .with(|state, _| state.has_changed(self.seen))
    }

    /// Counts the present value as unseen: the next [`changed`](Self::changed)
    /// is ready at once.
    pub fn mark_changed(&mut self) {
        self.seen = self.seen.wrapping_sub(1);
    }

    /// Waits until the value is one that this receiver hasn't seen, and counts
    /// it as seen.
    ///
    /// Cancel-safe: a change whose wait was dropped is still unseen.
    ///
    /// # Errors
    ///
    /// If there is no such change and every sender is gone.
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        let Receiver { channel, seen } = self;
        let mut place = Place::<F, _>::new(&channel.state, &State::LINE);
        poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                match state.has_changed(*seen) {
                    Ok(true) => {
                        *seen = state.see(*seen);
                        Poll::Ready(Ok(()))
                    }
                    Err(gone) => Poll::Ready(Err(gone)),
                    Ok(false) => state
                        .line
                        .poll_turn((), ticket, cx.waker(), after)
                        .map(|_turn| Err(RecvError)),
                }
            })
        })
        .await
    }

    /// Waits until the value fulfils `condition`, and gives it, counted as
    /// seen. Looks at the present value first.
    ///
    /// Cancel-safe, as [`changed`](Self::changed).
    ///
    /// # Errors
    ///
    /// If the value doesn't and every sender is gone.
    pub async fn wait_for(
        &mut self,
        mut condition: impl FnMut(&T) -> bool,
    ) -> Result<F::Ref<T>, RecvError> {
        loop {
            let value = self.borrow_and_update();
            if condition(&value) {
                return Ok(value);
            }
            self.changed().await?;
        }
    }

    /// Whether both watch the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        F::same(&self.channel, &other.channel)
    }
}

impl<T> Receiver<Shared, T> {
    /// As [`changed`](Self::changed), blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`changed`](Self::changed).
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `changed().await` there.
    pub fn blocking_changed(&mut self) -> Result<(), RecvError> {
        let ask = blocking::only_named(SyncKind::WatchChange, &self.channel.state);
        blocking::wait(
            "`watch::Receiver::blocking_changed`",
            "`changed().await`",
            &ask,
            self.changed(),
        )
    }
}

impl<F: Family, T> Clone for Receiver<F, T> {
    fn clone(&self) -> Self {
        self.channel.state.with(|state, _| state.receivers += 1);
        Receiver {
            channel: self.channel.clone(),
            seen: self.seen,
        }
    }
}

impl<F: Family, T> Drop for Receiver<F, T> {
    fn drop(&mut self) {
        self.channel.state.with(|state, after| {
            state.receivers -= 1;
            if state.receivers == 0 {
                state.until_closed.release_all(after);
            }
        });
    }
}

impl<F: Family, T: fmt::Debug> fmt::Debug for Sender<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("value", &*self.borrow())
            .finish()
    }
}

impl<F: Family, T: fmt::Debug> fmt::Debug for Receiver<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("value", &*self.borrow())
            .finish()
    }
}
