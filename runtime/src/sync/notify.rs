//! [`Notify`]: wakes one waiter, or all, and keeps at most one notification
//! for later.
//!
//! Read before: `place.rs`; after: `event.rs`, `condvar.rs`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::after::After;
use super::blocking;
use super::coop;
use super::family::{Family, Lock, Shared};
use super::place::{Line, Place};
use super::wait_queue::{Ticket, Turn, WaitQueue};
use crate::inspect::{About, SyncKind, round};

/// What a [`Notify`] knows.
///
/// # Invariants
///
/// 1. `stored` only while nobody waits: a notification goes to a waiter if
///    there is one.
#[derive(Debug)]
struct State {
    line: WaitQueue,
    stored: bool,
    /// How many times `notify_waiters` was called: a `Notified` made before a
    /// call is let go by it even if it wasn't polled yet.
    broadcasts: u64,
}

static LINE: Line<State> = Line {
    leave: State::leave,
    about: |_| About::new(SyncKind::Notify),
};

impl State {
    fn notify_one(&mut self, after: &mut After) {
        if !self.line.grant_front(after) {
            self.stored = true;
        }
    }

    /// A waiter that leaves with a notification in hand passes it on.
    fn leave(&mut self, ticket: Ticket, after: &mut After) {
        if self.line.leave(ticket, after).0 == Turn::Granted {
            self.notify_one(after);
        }
    }
}

/// A notification without a value, named as in tokio.
///
/// [`notify_one`](Self::notify_one) wakes the one who waits longest, or is
/// kept for the next to come (one at most, however often it is called).
/// [`notify_waiters`](Self::notify_waiters) wakes all who wait and keeps
/// nothing. To wait for a state that lasts use an `Event` or a `watch` channel.
///
/// O(1), `notify_waiters` O(waiters). A [`Notified`] can be dropped at any
/// moment: a notification that it was given by `notify_one` goes to the next.
///
/// # Never miss a change
///
/// Make the [`Notified`] first, look at the condition, then await: a
/// `notify_waiters` between looking and awaiting counts.
pub struct Notify<F: Family> {
    state: F::Lock<State>,
}

impl<F: Family> Notify<F> {
    /// Nobody waits, nothing is stored.
    #[track_caller]
    pub fn new() -> Self {
        Notify {
            state: F::Lock::new(State {
                line: WaitQueue::new(),
                stored: false,
                broadcasts: 0,
            }),
        }
    }

    /// Wakes the first in the line, or stores one notification if it is empty.
    #[inline]
    pub fn notify_one(&self) {
        self.state.with(State::notify_one);
    }

    /// Wakes all who wait now; stores nothing.
    pub fn notify_waiters(&self) {
        self.state.with(|state, after| {
            state.broadcasts += 1;
            state.line.release_all(after);
        });
    }

    /// Waits for a notification.
    ///
    /// It takes its place in the line when it is first polled, or by
    /// [`Notified::enable`]; `notify_waiters` counts from this call on.
    ///
    /// Cancel-safe: a wait that is dropped passes on the notification of `notify_one`
    /// that it may have been given; its place in the line is lost.
    #[inline]
    pub fn notified(&self) -> Notified<'_, F> {
        let broadcasts = self.state.with(|state, _| state.broadcasts);
        Notified {
            place: Place::new(&self.state, &LINE),
            broadcasts,
            done: false,
        }
    }

    /// How many wait now.
    pub fn waiters(&self) -> usize {
        self.state.with(|state, _| state.line.len())
    }
}

impl Notify<Shared> {
    /// Blocks the thread until it is notified.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `notified().await` there.
    pub fn blocking_notified(&self) {
        let ask = || round::sync_wait::<Shared, State>(&self.state, LINE.about);
        blocking::wait(
            "`Notify::blocking_notified`",
            "`notified().await`",
            &ask,
            self.notified(),
        );
    }
}

impl<F: Family> Default for Notify<F> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Family> fmt::Debug for Notify<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (stored, waiting) = self.state.with(|s, _| (s.stored, s.line.len()));
        f.debug_struct("Notify")
            .field("stored", &stored)
            .field("waiting", &waiting)
            .finish()
    }
}

/// The future of [`Notify::notified`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Notified<'a, F: Family> {
    place: Place<'a, F, State>,
    broadcasts: u64,
    done: bool,
}

impl<F: Family> Notified<'_, F> {
    /// Takes its place in the line without waiting. Returns whether it is
    /// notified already: awaiting it is then over at once, and the notification is the
    /// caller's, who may drop the future.
    pub fn enable(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        self.done || self.step(&mut cx).is_ready()
    }

    #[inline]
    fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let seen = self.broadcasts;
        let polled = self.place.poll_unbudgeted(cx, |state, ticket, cx, after| {
            if ticket.is_none() {
                if state.broadcasts != seen {
                    return Poll::Ready(());
                }
                if std::mem::take(&mut state.stored) {
                    return Poll::Ready(());
                }
            }
            state
                .line
                .poll_turn((), ticket, cx.waker(), after)
                .map(|_turn| ())
        });
        self.done = polled.is_ready();
        polled
    }
}

impl<F: Family> Future for Notified<'_, F> {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.done {
            return Poll::Ready(());
        }
        if coop::proceed_or_tell(cx, self.place.about()).is_pending() {
            return Poll::Pending;
        }
        self.step(cx)
    }
}

impl<F: Family> fmt::Debug for Notified<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified")
            .field("waiting", &self.place.is_taken())
            .field("done", &self.done)
            .finish()
    }
}
