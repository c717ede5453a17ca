//! What a loop counts of itself.
//!
//! Plain counters of the loop's own thread: counting costs an addition, and
//! reading them costs the loop nothing. From other threads, ask by
//! `handle.spawn(|| async { threeply_runtime::stats() })`.

use std::cell::Cell;
use std::time::Duration;

#[derive(Default)]
pub(super) struct Counters {
    /// Polls by which a dump asked.
    pub(super) asked: Cell<u64>,
    pub(super) turns: Cell<u64>,
    pub(super) parks: Cell<u64>,
    pub(super) idle_ns: Cell<u64>,
    pub(super) run_ns: Cell<u64>,
    pub(super) longest_poll_ns: Cell<u64>,
}

pub(super) fn add(counter: &Cell<u64>, more: u64) {
    counter.set(counter.get().wrapping_add(more));
}

/// What a loop has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that haven't ended, the main future of `block_on` included.
    pub tasks_alive: usize,
    /// Tasks that wait for their poll at this moment.
    pub tasks_ready: usize,
    /// Polls of tasks.
    pub polls: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Wakes on the loop's own thread; those of a task that was queued already
    /// count too.
    pub wakes_local: u64,
    /// Tasks woken by other threads; several wakes of a task between two turns
    /// count once.
    pub wakes_remote: u64,
    /// Wakes, of both kinds, of tasks that were gone.
    pub wakes_spurious: u64,
    /// How often the loop slept.
    pub parks: u64,
    /// The time that it slept.
    pub idle: Duration,
    /// The time inside `block_on` that it didn't sleep. Up to date when a
    /// `block_on` has returned; during one, as of the last time it slept.
    pub busy: Duration,
    /// The longest poll, if polls are timed
    /// ([`Builder::time_polls`](super::Builder::time_polls)).
    pub longest_poll: Option<Duration>,
}
