//! [`Barrier`]: everybody waits until all have come.
//!
//! Read before: `event.rs`; after: `once_cell.rs`.

use std::fmt;
use std::future::poll_fn;
use std::task::Poll;

use super::after::After;
use super::blocking;
use super::family::{Family, Lock, Shared};
use super::place::{Line, Place};
use super::wait_queue::{Ticket, WaitQueue};
use crate::inspect::{About, SyncKind, round};

/// Invariant: fewer than `parties` stand in the line; the last to come doesn't
/// join it but lets everybody go.
#[derive(Debug)]
struct State {
    parties: usize,
    line: WaitQueue,
}

static LINE: Line<State> = Line {
    leave: State::leave,
    about: |state| {
        let there = format!("{} of {} are there", state.line.len(), state.parties);
        About::new(SyncKind::Barrier).detail(there)
    },
};

impl State {
    fn leave(&mut self, ticket: Ticket, after: &mut After) {
        self.line.leave(ticket, after);
    }
}

/// What [`Barrier::wait`] tells those who came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarrierWaitResult {
    leader: bool,
}

impl BarrierWaitResult {
    /// True for exactly one of each round: the last to come.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// A meeting point for a fixed number of tasks, used again and again.
///
/// A wait that is dropped before the round is complete doesn't count: one more
/// has to come. (tokio's would count it, and let the others go too early.)
pub struct Barrier<F: Family> {
    state: F::Lock<State>,
}

impl<F: Family> Barrier<F> {
    /// A barrier for `parties` tasks. As in std, 0 behaves as 1.
    #[track_caller]
    pub fn new(parties: usize) -> Self {
        Barrier {
            state: F::Lock::new(State {
                parties: parties.max(1),
                line: WaitQueue::new(),
            }),
        }
    }

    /// Waits until as many wait as the barrier was made for.
    ///
    /// Cancel-safe: who is dropped while it waits doesn't count any more; who is
    /// dropped after the barrier has opened was counted, and the others go on.
    pub async fn wait(&self) -> BarrierWaitResult {
        let mut place = Place::<F, _>::new(&self.state, &LINE);
        poll_fn(|cx| {
            place.poll(cx, |state, ticket, cx, after| {
                if ticket.is_none() && state.line.len() + 1 == state.parties {
                    state.line.release_all(after);
                    return Poll::Ready(BarrierWaitResult { leader: true });
                }
                state
                    .line
                    .poll_turn((), ticket, cx.waker(), after)
                    .map(|_turn| BarrierWaitResult { leader: false })
            })
        })
        .await
    }

    /// How many it is made for.
    pub fn parties(&self) -> usize {
        self.state.with(|state, _| state.parties)
    }

    /// How many wait now.
    pub fn waiters(&self) -> usize {
        self.state.with(|state, _| state.line.len())
    }
}

impl Barrier<Shared> {
    /// Blocks the thread until as many wait as the barrier was made for.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `wait().await` there.
    pub fn blocking_wait(&self) -> BarrierWaitResult {
        let ask = || round::sync_wait::<Shared, State>(&self.state, LINE.about);
        blocking::wait(
            "`Barrier::blocking_wait`",
            "`wait().await`",
            &ask,
            self.wait(),
        )
    }
}

impl<F: Family> fmt::Debug for Barrier<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parties, waiting) = self.state.with(|s, _| (s.parties, s.line.len()));
        f.debug_struct("Barrier")
            .field("parties", &parties)
            .field("waiting", &waiting)
            .finish()
    }
}
