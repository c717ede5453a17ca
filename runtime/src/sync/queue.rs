//! asyncio's `Queue`, `LifoQueue` and `PriorityQueue`: many producers, many
//! consumers, a limit, and a way to wait until all the work is done.
//!
//! Two counters with a line in front of each ([`Permits`]): free slots, which
//! producers take and consumers give; and items, the other way round. What is
//! in between is a [`Discipline`].
//!
//! ```text
//!   put: take a slot ──▶ push ──▶ give an item       unfinished += 1
//!   get: take an item ──▶ pop ──▶ give a slot
//!   task_done                                        unfinished -= 1 ──▶ join
//! ```
//!
//! A consumer whose turn is granted owns *one* item, not a particular one: it
//! takes whichever is first by then.
//!
//! Read before: `permits.rs`, `mpsc.rs`; after: `queue/discipline.rs`.

use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use super::after::After;
use super::blocking;
use super::errors::{SendError, TrySendError};
use super::family::{Family, Lock, Shared};
use super::permits::{Permits, Refused};
use super::place::{Line, Place};
use super::wait_queue::{Ticket, WaitQueue};
use crate::inspect::{About, SyncKind};
use crate::trace::{Kind, Origin, emit, emit_of};

mod discipline;

pub use discipline::{Discipline, Fifo, Lifo, Priority, Takes};

/// The queue was shut down and is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutDown;

impl fmt::Display for ShutDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the queue was shut down and nothing is left in it")
    }
}

impl Error for ShutDown {}

/// Why [`Queue::try_get`] has no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TryGetError {
    /// Nothing there, or others wait for it.
    Empty,
    /// As [`ShutDown`].
    ShutDown,
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TryGetError::Empty => f.write_str("the queue is empty: wait with `get`"),
            TryGetError::ShutDown => ShutDown.fmt(f),
        }
    }
}

impl Error for TryGetError {}

/// # Invariants
///
/// 1. Items in `content` = permits of `items` that are available, or granted
///    to a consumer that hasn't run yet.
/// 2. `unfinished` = items put in minus `task_done`s (minus what an immediate
///    shutdown dropped).
/// 3. Shut down: nobody waits for a slot, and nobody for an item unless it has
///    been granted one.
struct State<D> {
    content: D,
    slots: Permits,
    items: Permits,
    unfinished: usize,
    joiners: WaitQueue,
    shut_down: bool,
    origin: Origin,
}

impl<D> State<D> {
    const SLOTS: Line<State<D>> = Line {
        leave: State::leave_slots,
        about: |state| state.slots.about(),
    };
    const ITEMS: Line<State<D>> = Line {
        leave: State::leave_items,
        about: |state| state.items.about(),
    };
    const JOINERS: Line<State<D>> = Line {
        leave: State::leave_joiners,
        about: |state| {
            let left = format!("{} items aren't done", state.unfinished);
            About::new(SyncKind::QueueJoin).detail(left)
        },
    };

    fn push<T>(&mut self, item: T, after: &mut After)
    where
        D: Discipline<T>,
    {
        let address = self.address();
        emit_of(
            Kind::QueuePut,
            line!(),
            address,
            D::TAKES as u64,
            &mut self.origin,
        );
        self.content.push(item);
        self.unfinished += 1;
        self.items.give(1, after);
    }

    fn pop<T>(&mut self, after: &mut After) -> Option<T>
    where
        D: Discipline<T>,
    {
        emit(Kind::QueueGet, line!(), self.address(), D::TAKES as u64);
        let item = self.content.pop();
        self.slots.give(1, after);
        item
    }

    /// What a trace knows the queue by.
    fn address(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }

    fn finish(&mut self, n: usize, after: &mut After) {
        self.unfinished -= n;
        if self.unfinished == 0 {
            self.joiners.release_all(after);
        }
    }

    fn leave_slots(&mut self, ticket: Ticket, after: &mut After) {
        self.slots.leave(ticket, after);
    }

    fn leave_items(&mut self, ticket: Ticket, after: &mut After) {
        self.items.leave(ticket, after);
    }

    fn leave_joiners(&mut self, ticket: Ticket, after: &mut After) {
        self.joiners.leave(ticket, after);
    }
}

/// A queue for work, named as asyncio's, shared by reference, `Rc` or `Arc`.
///
/// `D` is the order: [`Fifo`], [`Lifo`] or [`Priority`]. Waiting producers and
/// waiting consumers are each served first come, first served, and every wait
/// can be dropped at any moment without loss of an item or a slot.
pub struct Queue<F: Family, T, D: Discipline<T> = Fifo<T>> {
    state: F::Lock<State<D>>,
    holds: std::marker::PhantomData<fn(T) -> T>,
}

impl<F: Family, T, D: Discipline<T>> Queue<F, T, D> {
    /// A queue that holds at most `maxsize` items: `put` waits for a slot.
    ///
    /// # Panics
    ///
    /// If `maxsize` is 0; for a queue without a limit use
    /// [`unbounded`](Self::unbounded).
    #[track_caller]
    pub fn new(maxsize: usize) -> Self {
        assert!(
            maxsize > 0,
            "a queue needs a maxsize of at least 1; use Queue::unbounded() for no limit"
        );
        Self::with_slots(maxsize)
    }

    /// A queue without a limit: `put` never waits.
    #[track_caller]
    pub fn unbounded() -> Self {
        Self::with_slots(usize::MAX)
    }

    #[track_caller]
    fn with_slots(slots: usize) -> Self {
        Queue {
            state: F::Lock::new(State {
                content: D::default(),
                slots: Permits::new(slots, SyncKind::QueuePut),
                items: Permits::new(0, SyncKind::QueueGet),
                unfinished: 0,
                joiners: WaitQueue::new(),
                shut_down: false,
                origin: Origin::here(),
            }),
            holds: std::marker::PhantomData,
        }
    }

    /// Puts an item in; waits for a free slot if need be.
    ///
    /// Cancel-safe for the queue: dropped before it is done it put nothing in, and
    /// passes its slot on. The item is dropped with it.
    ///
    /// # Errors
    ///
    /// Gives the item back if the queue is, or gets, shut down.
    pub async fn put(&self, item: T) -> Result<(), SendError<T>> {
        let mut item = Some(item);
        let mut place = Place::<F, _>::new(&self.state, &State::SLOTS);
        let put = poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                let taken = state.slots.poll_take(1, ticket, cx.waker(), after);
                taken.map(|taken| {
                    if taken.is_err() {
                        return false;
                    }
                    if state.shut_down {
                        // Granted before, run after: too late all the same.
                        state.slots.give(1, after);
                        return false;
                    }
                    if let Some(item) = item.take() {
                        state.push(item, after);
                    }
                    true
                })
            })
        })
        .await;
        match item {
            Some(item) if !put => Err(SendError(item)),
            _ => Ok(()),
        }
    }

    /// Puts an item in if a slot is free and nobody waits for it.
    ///
    /// # Errors
    ///
    /// See [`TrySendError`].
    pub fn try_put(&self, item: T) -> Result<(), TrySendError<T>> {
        self.state
            .with(|state, after| match state.slots.try_take(1) {
                Ok(()) => {
                    state.push(item, after);
                    Ok(())
                }
                Err(Refused::Busy) => Err(TrySendError::Full(item)),
                Err(Refused::Closed) => Err(TrySendError::Closed(item)),
            })
    }

    /// Takes the first item; waits for one if need be.
    ///
    /// Cancel-safe: dropping the future loses no item. To make
    /// [`join`](Self::join) work, say [`task_done`](Self::task_done) for each.
    ///
    /// # Errors
    ///
    /// If the queue is, or gets, shut down and is empty.
    pub async fn get(&self) -> Result<T, ShutDown> {
        let mut place = Place::<F, _>::new(&self.state, &State::ITEMS);
        poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                if ticket.is_none() && state.shut_down && state.items.available() == 0 {
                    return Poll::Ready(Err(ShutDown));
                }
                state
                    .items
                    .poll_take(1, ticket, cx.waker(), after)
                    .map(|taken| match taken {
                        Ok(()) => state.pop(after).ok_or(ShutDown),
                        Err(_let_go) => Err(ShutDown),
                    })
            })
        })
        .await
    }

    /// Takes the first item if there is one that nobody else was promised.
    ///
    /// # Errors
    ///
    /// See [`TryGetError`].
    pub fn try_get(&self) -> Result<T, TryGetError> {
        self.state
            .with(|state, after| match state.items.try_take(1) {
                Ok(()) => state.pop(after).ok_or(TryGetError::Empty),
                Err(_) if state.shut_down => Err(TryGetError::ShutDown),
                Err(_) => Err(TryGetError::Empty),
            })
    }

    /// Says that the work on an item taken earlier is done.
    ///
    /// # Panics
    ///
    /// If it is said more often than items were put in.
    pub fn task_done(&self) {
        let known = self.state.with(|state, after| {
            let known = state.unfinished > 0;
            if known {
                state.finish(1, after);
            }
            known
        });
        assert!(
            known,
            "task_done() was called more often than items were put into the queue"
        );
    }

    /// Waits until [`task_done`](Self::task_done) was said for every item ever
    /// put in. Can be dropped at any moment.
    pub async fn join(&self) {
        let mut place = Place::<F, _>::new(&self.state, &State::JOINERS);
        poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                if ticket.is_none() && state.unfinished == 0 {
                    return Poll::Ready(());
                }
                state
                    .joiners
                    .poll_turn((), ticket, cx.waker(), after)
                    .map(|_turn| ())
            })
        })
        .await;
    }

    /// Lets nothing more in: producers fail, consumers take what is left and
    /// fail then.
    pub fn shutdown(&self) {
        self.state.with(|state, after| {
            state.shut_down = true;
            state.slots.close(after);
            // Whoever waits for an item found none: there will be none.
            state.items.release_waiters(after);
        });
    }

    /// As [`shutdown`](Self::shutdown), and drops what is left, which counts as
    /// done. Items that consumers were granted already stay theirs. Returns
    /// how many were dropped.
    pub fn shutdown_now(&self) -> usize {
        self.shutdown();
        let dropped = self.state.with(|state, after| {
            let left = state.items.forget(usize::MAX);
            let dropped: Vec<T> = (0..left).filter_map(|_| state.content.pop()).collect();
            state.slots.give(dropped.len(), after);
            state.finish(dropped.len(), after);
            dropped
        });
        // The items themselves are dropped here, outside of the lock.
        dropped.len()
    }

    /// Whether the queue was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.state.with(|state, _| state.shut_down)
    }

    /// How many items are in it.
    pub fn len(&self) -> usize {
        self.state.with(|state, _| state.content.len())
    }

    /// Whether no item is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no slot is free.
    pub fn is_full(&self) -> bool {
        self.state.with(|state, _| state.slots.available() == 0)
    }

    /// How many items were put in and not yet reported done.
    pub fn unfinished(&self) -> usize {
        self.state.with(|state, _| state.unfinished)
    }
}

impl<T, D: Discipline<T>> Queue<Shared, T, D> {
    /// As [`put`](Self::put), blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `put(item).await` there.
    pub fn blocking_put(&self, item: T) -> Result<(), SendError<T>> {
        let ask = blocking::only_named(SyncKind::QueuePut, &self.state);
        blocking::wait(
            "`Queue::blocking_put`",
            "`put(item).await`",
            &ask,
            self.put(item),
        )
    }

    /// As [`get`](Self::get), blocking the thread.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `get().await` there.
    pub fn blocking_get(&self) -> Result<T, ShutDown> {
        let ask = blocking::only_named(SyncKind::QueueGet, &self.state);
        blocking::wait("`Queue::blocking_get`", "`get().await`", &ask, self.get())
    }

    /// As [`join`](Self::join), blocking the thread.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `join().await` there.
    pub fn blocking_join(&self) {
        let ask = blocking::only_named(SyncKind::QueueJoin, &self.state);
        blocking::wait(
            "`Queue::blocking_join`",
            "`join().await`",
            &ask,
            self.join(),
        );
    }
}

impl<F: Family, T, D: Discipline<T>> fmt::Debug for Queue<F, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("unfinished", &self.unfinished())
            .field("shut_down", &self.is_shut_down())
            .finish()
    }
}
