//! A place in a line that is given up when it is dropped: what makes every
//! wait of both families cancel-safe.
//!
//! Read before: `wait_queue.rs`, `family.rs`; after: `semaphore.rs`.

use std::task::{Context, Poll};

use super::after::After;
use super::coop;
use super::family::{Family, Lock};
use super::wait_queue::Ticket;
use crate::inspect::About;
use crate::inspect::round::{self, Told};

/// How a waiter leaves a line inside the state `S`, passing on what it may
/// have been granted.
pub type Leave<S> = fn(&mut S, Ticket, &mut After);

/// One of the lines inside a primitive's state `S`, as its waiters know it.
pub struct Line<S> {
    /// How one leaves it early.
    pub leave: Leave<S>,
    /// What one waits for in it, for a dump.
    pub about: fn(&S) -> About,
}

/// A future's place in one of the lines inside a primitive's state `S`.
///
/// Dropping it at any moment, before the first poll, while waiting, or after
/// the turn was granted but before anybody saw it, runs the line's `leave`, which
/// passes the turn on. It holds an index and no address, so the futures built on it
/// are `Unpin` and need no `unsafe`.
pub struct Place<'a, F: Family, S> {
    lock: &'a F::Lock<S>,
    line: &'a Line<S>,
    ticket: Option<Ticket>,
}

impl<'a, F: Family, S> Place<'a, F, S> {
    /// A place not yet taken.
    #[inline(always)]
    pub fn new(lock: &'a F::Lock<S>, line: &'a Line<S>) -> Self {
        Place {
            lock,
            line,
            ticket: None,
        }
    }

    /// One poll: `step` gets the state, this waiter's ticket (to put, to look
    /// at and to take out) and what to do after the lock. `Pending` without a
    /// call of `step` if the task has used up its budget for this poll.
    #[inline(always)]
    pub fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut S, &mut Option<Ticket>, &mut Context<'_>, &mut After) -> Poll<R>,
    ) -> Poll<R> {
        if coop::proceed_or_tell(cx, self.about()).is_pending() {
            return Poll::Pending;
        }
        self.poll_unbudgeted(cx, step)
    }

    /// As [`poll`](Self::poll), whatever the budget.
    #[inline(always)]
    pub fn poll_unbudgeted<R>(
        &mut self,
        cx: &mut Context<'_>,
        step: impl FnOnce(&mut S, &mut Option<Ticket>, &mut Context<'_>, &mut After) -> Poll<R>,
    ) -> Poll<R> {
        self.lock
            .with(|state, after| step(state, &mut self.ticket, cx, after))
    }

    /// Leaves the line by `leave` instead of the usual way, if it is in one.
    pub fn give_up(&mut self, leave: impl FnOnce(&mut S, Ticket, &mut After)) {
        if let Some(ticket) = self.ticket.take() {
            self.lock.with(|state, after| leave(state, ticket, after));
        }
    }

    /// The rare case of `drop`: a wait that is given up.
    #[cold]
    fn leave(&mut self) {
        let leave = self.line.leave;
        self.give_up(leave);
    }

    /// What it waits for, for a dump. The closure borrows nothing of the place,
    /// which so can stay in registers.
    #[inline(always)]
    pub(crate) fn about(&self) -> impl FnOnce() -> Option<Told> + use<'a, F, S> {
        let (lock, line) = (self.lock, self.line);
        move || Some(round::sync_wait::<F, S>(lock, line.about))
    }

    /// Whether this waiter holds a slot.
    pub fn is_taken(&self) -> bool {
        self.ticket.is_some()
    }
}

impl<F: Family, S> Drop for Place<'_, F, S> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.leave();
        }
    }
}
