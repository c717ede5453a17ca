//! [`Event`]: a flag to wait for.
//!
//! Read before: `notify.rs`; after: `condvar.rs`.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use super::after::After;
use super::blocking;
use super::family::{Family, Lock, Shared};
use super::place::{Line, Place};
use super::wait_queue::{Ticket, WaitQueue};
use crate::inspect::{About, SyncKind, round};

/// Invariant: while `set` is true the line is empty.
#[derive(Debug)]
struct State {
    set: bool,
    line: WaitQueue,
}

static LINE: Line<State> = Line {
    leave: State::leave,
    about: |_| About::new(SyncKind::Event),
};

impl State {
    fn leave(&mut self, ticket: Ticket, after: &mut After) {
        self.line.leave(ticket, after);
    }
}

/// A flag that tasks wait for until somebody sets it: asyncio's and trio's
/// `Event`.
///
/// Setting it wakes everybody who waits, even if it is cleared again before
/// they run. O(1), [`set`](Self::set) O(waiters). A wait can be dropped at any
/// moment.
pub struct Event<F: Family> {
    state: F::Lock<State>,
}

impl<F: Family> Event<F> {
    /// An event that isn't set.
    #[track_caller]
    pub fn new() -> Self {
        Event {
            state: F::Lock::new(State {
                set: false,
                line: WaitQueue::new(),
            }),
        }
    }

    /// Sets the flag and wakes all who wait. Returns whether it was clear.
    pub fn set(&self) -> bool {
        self.state.with(|state, after| {
            state.line.release_all(after);
            !std::mem::replace(&mut state.set, true)
        })
    }

    /// Clears the flag: who comes from now on waits for the next `set`.
    pub fn clear(&self) {
        self.state.with(|state, _| state.set = false);
    }

    /// Whether the flag is set.
    pub fn is_set(&self) -> bool {
        self.state.with(|state, _| state.set)
    }

    /// How many wait now.
    pub fn waiters(&self) -> usize {
        self.state.with(|state, _| state.line.len())
    }

    /// Waits until the flag is set; at once if it is. Cancel-safe.
    pub async fn wait(&self) {
        let mut place = Place::<F, _>::new(&self.state, &LINE);
        poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                if ticket.is_none() && state.set {
                    return Poll::Ready(());
                }
                state
                    .line
                    .poll_turn((), ticket, cx.waker(), after)
                    .map(|_turn| ())
            })
        })
        .await;
    }
}

impl Event<Shared> {
    /// Blocks the thread until the flag is set.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `wait().await` there.
    pub fn blocking_wait(&self) {
        let ask = || round::sync_wait::<Shared, State>(&self.state, LINE.about);
        blocking::wait(
            "`Event::blocking_wait`",
            "`wait().await`",
            &ask,
            self.wait(),
        );
    }
}

impl<F: Family> Default for Event<F> {
    #[track_caller]
    fn default() -> Self {
        Self::new()
    }
}

impl<F: Family> fmt::Debug for Event<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("set", &self.is_set())
            .field("waiting", &self.waiters())
            .finish()
    }
}
