//! Every receiver gets every value; a receiver that is too slow is told how
//! many it missed.
//!
//! One ring of the latest values behind the family's lock. Each value has a
//! sequence number and counts the receivers that have yet to see it; it is
//! dropped when the last one has, or when the ring is full and a new one comes.
//! Sending therefore never waits: the slowest receiver can't hold up the rest.
//!
//! A value is kept behind an `Rc` or `Arc` of its own, so that cloning it for a
//! receiver (the user's code) happens outside of the lock; the last receiver
//! gets it without a clone.
//!
//! Read before: `mpsc.rs`; after: `watch.rs`.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use super::after::After;
use super::blocking;
use super::errors::SendError;
use super::family::{Family, Lock, Shared};
use super::place::{Line, Place};
use super::wait_queue::{Ticket, WaitQueue};
use crate::inspect::{About, SyncKind};
use crate::trace::{Kind, Origin, emit, emit_of};

/// Why [`Receiver::recv`] has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvError {
    /// Every sender is gone and this receiver has seen all.
    Closed,
    /// So many values were overwritten before this receiver saw them. It goes
    /// on with the oldest one that is left.
    Lagged(u64),
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Closed => f.write_str("the channel is closed: every sender is gone"),
            RecvError::Lagged(n) => write!(
                f,
                "the receiver was too slow and missed {n} values; receive faster, or make the \
                 channel's capacity larger"
            ),
        }
    }
}

impl Error for RecvError {}

/// Why [`Receiver::try_recv`] has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryRecvError {
    /// Nothing new.
    Empty,
    /// As [`RecvError::Closed`].
    Closed,
    /// As [`RecvError::Lagged`].
    Lagged(u64),
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            TryRecvError::Empty => f.write_str("nothing new to receive: wait with `recv`"),
            TryRecvError::Closed => RecvError::Closed.fmt(f),
            TryRecvError::Lagged(n) => RecvError::Lagged(n).fmt(f),
        }
    }
}

impl Error for TryRecvError {}

struct Entry<V> {
    value: V,
    /// How many receivers have yet to see it.
    unseen: usize,
}

/// # Invariants
///
/// 1. `ring` holds the values with the numbers `first..first + ring.len()`.
/// 2. An entry's `unseen` counts the live receivers whose `next` is at most its
///    number; the front entry's is not 0.
/// 3. Only receivers that have seen everything stand in the line.
struct State<V> {
    ring: VecDeque<Entry<V>>,
    first: u64,
    capacity: usize,
    senders: usize,
    receivers: usize,
    line: WaitQueue,
    origin: Origin,
}

impl<V: Clone> State<V> {
    const LINE: Line<State<V>> = Line {
        leave: State::leave,
        about: |state| {
            let senders = format!("{} senders", state.senders);
            About::new(SyncKind::BroadcastReceive).detail(senders)
        },
    };

    /// What a trace knows the channel by.
    fn address(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }

    fn end(&self) -> u64 {
        self.first + self.ring.len() as u64
    }

    /// Puts a value in; returns the one it pushed out.
    fn push(&mut self, value: V, after: &mut After) -> Option<V> {
        let oldest = if self.ring.len() == self.capacity {
            self.first += 1;
            self.ring.pop_front().map(|entry| entry.value)
        } else {
            None
        };
        let (address, number) = (self.address(), self.end());
        emit_of(
            Kind::BroadcastSend,
            line!(),
            address,
            number,
            &mut self.origin,
        );
        self.ring.push_back(Entry {
            value,
            unseen: self.receivers,
        });
        self.line.release_all(after);
        oldest
    }

    fn try_recv(&mut self, next: &mut u64) -> Result<V, TryRecvError> {
        if *next < self.first {
            let missed = self.first - *next;
            *next = self.first;
            return Err(TryRecvError::Lagged(missed));
        }
        let Some(entry) = self.ring.get_mut((*next - self.first) as usize) else {
            return Err(match self.senders {
                0 => TryRecvError::Closed,
                _ => TryRecvError::Empty,
            });
        };
        entry.unseen -= 1;
        let value = entry.value.clone();
        emit(Kind::BroadcastReceive, line!(), self.address(), *next);
        *next += 1;
        // Only the front one can have become useless: whoever has yet to see
        // it has yet to see those behind it too. The caller holds a clone, so
        // no destructor of a user's type runs here.
        while self.ring.front().is_some_and(|entry| entry.unseen == 0) {
            self.ring.pop_front();
            self.first += 1;
        }
        Ok(value)
    }

    /// A receiver goes: it will never see `next..`. Returns what nobody else
    /// will see either.
    fn forget_from(&mut self, next: u64) -> Vec<V> {
        self.receivers -= 1;
        let seen = next.saturating_sub(self.first) as usize;
        for entry in self.ring.iter_mut().skip(seen) {
            entry.unseen -= 1;
        }
        let mut unwanted = Vec::new();
        while self.ring.front().is_some_and(|entry| entry.unseen == 0) {
            self.first += 1;
            unwanted.extend(self.ring.pop_front().map(|entry| entry.value));
        }
        unwanted
    }

    fn leave(&mut self, ticket: Ticket, after: &mut After) {
        self.line.leave(ticket, after);
    }
}

type Value<F, T> = <F as Family>::Ref<T>;
type Channel<F, T> = <F as Family>::Ref<<F as Family>::Lock<State<Value<F, T>>>>;

/// A channel that keeps the latest `capacity` values for receivers that are
/// behind. Memory grows with the values that are really kept.
///
/// # Panics
///
/// With a capacity of 0.
#[track_caller]
pub fn channel<F: Family, T>(capacity: usize) -> (Sender<F, T>, Receiver<F, T>) {
    assert!(
        capacity > 0,
        "a broadcast channel needs a capacity of at least 1"
    );
    let channel: Channel<F, T> = F::share(F::Lock::new(State {
        ring: VecDeque::new(),
        first: 0,
        capacity,
        senders: 1,
        receivers: 1,
        line: WaitQueue::new(),
        origin: Origin::here(),
    }));
    let receiver = Receiver {
        channel: channel.clone(),
        next: 0,
    };
    (Sender { channel }, receiver)
}

/// Sends to all receivers. Clone it for more senders.
pub struct Sender<F: Family, T> {
    channel: Channel<F, T>,
}

impl<F: Family, T> Sender<F, T> {
    /// Sends `value` to every receiver there is. Never waits. Returns how many
    /// receivers can see it. O(1) plus the wakes; one allocation.
    ///
    /// # Errors
    ///
    /// Gives the value back if there is no receiver; there may be one later.
    pub fn send(&self, value: T) -> Result<usize, SendError<T>> {
        let mut value = Some(F::share(value));
        let (count, _pushed_out) = self.channel.with(|state, after| match state.receivers {
            0 => (0, None),
            count => (count, value.take().and_then(|v| state.push(v, after))),
        });
        match value.map(F::unshare) {
            Some(Ok(unsent)) => Err(SendError(unsent)),
            _ => Ok(count),
        }
    }

    /// A new receiver, of what is sent from now on.
    pub fn subscribe(&self) -> Receiver<F, T> {
        subscribe(&self.channel)
    }

    /// How many receivers there are.
    pub fn receiver_count(&self) -> usize {
        self.channel.with(|state, _| state.receivers)
    }

    /// How many values some receiver has yet to see.
    pub fn len(&self) -> usize {
        self.channel.with(|state, _| state.ring.len())
    }

    /// Whether every receiver has seen everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether both send into the same channel.
    pub fn same_channel(&self, other: &Self) -> bool {
        F::same(&self.channel, &other.channel)
    }
}

fn subscribe<F: Family, T>(channel: &Channel<F, T>) -> Receiver<F, T> {
    let next = channel.with(|state, _| {
        state.receivers += 1;
        state.end()
    });
    Receiver {
        channel: channel.clone(),
        next,
    }
}

impl<F: Family, T> Clone for Sender<F, T> {
    fn clone(&self) -> Self {
        self.channel.with(|state, _| state.senders += 1);
        Sender {
            channel: self.channel.clone(),
        }
    }
}

impl<F: Family, T> Drop for Sender<F, T> {
    fn drop(&mut self) {
        self.channel.with(|state, after| {
            state.senders -= 1;
            if state.senders == 0 {
                state.line.release_all(after);
            }
        });
    }
}

/// Sees every value sent since it was made.
pub struct Receiver<F: Family, T> {
    channel: Channel<F, T>,
    /// The number of the next value to see.
    next: u64,
}

impl<F: Family, T: Clone> Receiver<F, T> {
    /// Waits for the next value. Cancel-safe: dropping the future loses none.
    ///
    /// # Errors
    ///
    /// See [`RecvError`]; after `Lagged` one can go on receiving.
    pub async fn recv(&mut self) -> Result<T, RecvError> {
        let Receiver { channel, next } = self;
        let mut place = Place::<F, _>::new(&**channel, &State::LINE);
        let value = poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                state.line.leave_if_over(ticket, after);
                match state.try_recv(next) {
                    Ok(value) => Poll::Ready(Ok(value)),
                    Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError::Closed)),
                    Err(TryRecvError::Lagged(n)) => Poll::Ready(Err(RecvError::Lagged(n))),
                    Err(TryRecvError::Empty) => state
                        .line
                        .poll_turn((), ticket, cx.waker(), after)
                        .map(|_turn| Err(RecvError::Closed)),
                }
            })
        })
        .await?;
        drop(place);
        Ok(own::<F, T>(value))
    }

    /// Takes the next value if there is one.
    ///
    /// # Errors
    ///
    /// See [`TryRecvError`].
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let value = self
            .channel
            .with(|state, _| state.try_recv(&mut self.next))?;
        Ok(own::<F, T>(value))
    }
}

/// The value itself if this was the last handle of it, else a clone.
fn own<F: Family, T: Clone>(value: F::Ref<T>) -> T {
    F::unshare(value).unwrap_or_else(|shared| (*shared).clone())
}

impl<F: Family, T> Receiver<F, T> {
    /// Another receiver, of what is sent from now on.
    pub fn resubscribe(&self) -> Self {
        subscribe(&self.channel)
    }

    /// How many values this receiver has yet to see, missed ones included.
    pub fn len(&self) -> usize {
        self.channel
            .with(|state, _| (state.end() - self.next) as usize)
    }

    /// Whether this receiver has seen everything.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every sender is gone.
    pub fn is_closed(&self) -> bool {
        self.channel.with(|state, _| state.senders == 0)
    }
}

impl<T: Clone> Receiver<Shared, T> {
    /// Blocks the thread for the next value.
    ///
    /// # Errors
    ///
    /// See [`RecvError`].
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `recv().await` there.
    pub fn blocking_recv(&mut self) -> Result<T, RecvError> {
        let ask = blocking::only_named(SyncKind::BroadcastReceive, &*self.channel);
        blocking::wait(
            "`broadcast::Receiver::blocking_recv`",
            "`recv().await`",
            &ask,
            self.recv(),
        )
    }
}

impl<F: Family, T> Drop for Receiver<F, T> {
    fn drop(&mut self) {
        // The values are dropped here, outside of the lock.
        let _unwanted = self.channel.with(|state, _| state.forget_from(self.next));
    }
}

impl<F: Family, T> fmt::Debug for Sender<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("receivers", &self.receiver_count())
            .finish()
    }
}

impl<F: Family, T> fmt::Debug for Receiver<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("len", &self.len())
            .finish()
    }
}
