//! [`Condvar`]: wait, with a mutex given up meanwhile, until somebody says
//! that the guarded value changed.
//!
//! ```text
//!   wait(guard) ──▶ in line, then unlock ──notify──▶ Granted ──lock──▶ guard
//!                          │ dropped                    │ dropped
//!                          ▼                            ▼
//!                        (gone)              the next in line is notified
//! ```
//!
//! A waiter joins the line *before* it unlocks, so a notification by whoever
//! locks next can't miss it. It keeps its ticket until it has the lock again,
//! so a notification isn't lost with a waiter that is cancelled on the way.
//!
//! Read before: `mutex.rs`, `event.rs`; after: `barrier.rs`.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use super::after::After;
use super::blocking;
use super::family::{Family, Lock, Shared};
use super::mutex::MutexGuard;
use super::place::{Line, Place};
use super::wait_queue::{Ticket, Turn, WaitQueue};
use crate::inspect::{About, SyncKind, round};

#[derive(Debug)]
struct State {
    line: WaitQueue,
}

static LINE: Line<State> = Line {
    leave: State::leave,
    about: |_| About::new(SyncKind::Condvar),
};

impl State {
    fn leave(&mut self, ticket: Ticket, after: &mut After) {
        if self.line.leave(ticket, after).0 == Turn::Granted {
            self.line.grant_front(after);
        }
    }
}

/// A condition variable for the [`Mutex`](super::mutex::Mutex) of the same
/// family: asyncio's `Condition`, std's `Condvar`.
///
/// Notifications aren't stored. First come, first served. Nobody is woken
/// without being notified, but the value may have changed again before the
/// woken one has the lock: use [`wait_while`](Self::wait_while).
pub struct Condvar<F: Family> {
    state: F::Lock<State>,
}

impl<F: Family> Condvar<F> {
    /// Nobody waits.
    #[track_caller]
    pub fn new() -> Self {
        Condvar {
            state: F::Lock::new(State {
                line: WaitQueue::new(),
            }),
        }
    }

    /// Unlocks, waits for a notification, and locks again.
    ///
    /// If the future is dropped, the mutex stays unlocked (or is unlocked), and
    /// a notification that was meant for it goes to the next in line. So with
    /// a timeout around it, lock again afterwards.
    pub async fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, F, T>) -> MutexGuard<'a, F, T> {
        let mutex = MutexGuard::mutex(&guard);
        let mut locked = Some(guard);
        let mut place = Place::<F, _>::new(&self.state, &LINE);
        poll_fn(|cx| {
            let turn = place.poll_unbudgeted(cx, |state, ticket, cx, after| match ticket {
                Some(place) if state.line.turn(place) != Turn::Waiting => Poll::Ready(()),
                _ => state
                    .line
                    .poll_turn((), ticket, cx.waker(), after)
                    .map(|_turn| ()),
            });
            // In line now: unlock, outside of our own lock.
            locked = None;
            if turn.is_pending() {
                round::note(place.about());
            }
            turn
        })
        .await;
        let guard = mutex.lock().await;
        place.give_up(|state, ticket, after| {
            state.line.leave(ticket, after);
        });
        guard
    }

    /// Waits until `condition` is false. Looks at it first, and each time that
    /// this is notified.
    ///
    /// Cancel-safe as [`wait`](Self::wait).
    pub async fn wait_while<'a, T: ?Sized>(
        &self,
        mut guard: MutexGuard<'a, F, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, F, T> {
        while condition(&mut guard) {
            guard = self.wait(guard).await;
        }
        guard
    }

    /// Wakes the one who waits longest, if any.
    pub fn notify_one(&self) {
        self.state.with(|state, after| {
            state.line.grant_front(after);
        });
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.state
            .with(|state, after| state.line.release_all(after));
    }

    /// How many wait to be notified now.
    pub fn waiters(&self) -> usize {
        self.state.with(|state, _| state.line.len())
    }
}

impl Condvar<Shared> {
    /// As [`wait`](Self::wait), blocking the thread.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `wait(guard).await` there.
    pub fn blocking_wait<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, Shared, T>,
    ) -> MutexGuard<'a, Shared, T> {
        let ask = || round::sync_wait::<Shared, State>(&self.state, LINE.about);
        blocking::wait(
            "`Condvar::blocking_wait`",
            "`wait(guard).await`",
            &ask,
            self.wait(guard),
        )
    }

    /// As [`wait_while`](Self::wait_while), blocking the thread.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use
    /// `wait_while(guard, condition).await` there.
    pub fn blocking_wait_while<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, Shared, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, Shared, T> {
        let ask = || round::sync_wait::<Shared, State>(&self.state, LINE.about);
        blocking::wait(
            "`Condvar::blocking_wait_while`",
            "`wait_while(guard, condition).await`",
            &ask,
            self.wait_while(guard, condition),
        )
    }
}

impl<F: Family> Default for Condvar<F> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Family> fmt::Debug for Condvar<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar")
            .field("waiting", &self.waiters())
            .finish()
    }
}
