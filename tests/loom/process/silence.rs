//! Replies that ring nobody but their caller: `pools/src/process/silence.rs`, with
//! `pools/src/process/role.rs` and `pools/src/process/bell.rs`.

use std::sync::Arc;

use threeply_pools::process::bell::Wake;
use threeply_pools::process::role::Role;
use threeply_pools::process::silence::Silence;
use threeply_pools::switch::{Mutex, Weakening, weaken};
use threeply_runtime::switch::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

use crate::explore::explore;

/// The part of a pool's state that matters here, under its lock.
#[derive(Default)]
struct State {
    silence: Silence,
    /// Jobs that wait for the worker.
    queued: u64,
    /// Jobs that it was sent and whose replies nobody has read.
    sent: u64,
}

/// A pool of one worker: its words, its ring of replies (a count), its bells.
struct Pool {
    state: Mutex<State>,
    reader: Role<()>,
    wake_caller: Wake,
    wake_supervisor: Wake,
    replies: AtomicU64,
    caller_bell: AtomicBool,
    /// The worker's end has been noticed, and its books are closed.
    ended: AtomicBool,
    buried: AtomicBool,
}

impl Pool {
    /// Job 0 was sent, quietly, to a worker that was idle.
    fn new() -> Arc<Pool> {
        let pool = Arc::new(Pool {
            state: Mutex::new(State::default()),
            reader: Role::new(()),
            wake_caller: Wake::default(),
            wake_supervisor: Wake::default(),
            replies: AtomicU64::new(0),
            caller_bell: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            buried: AtomicBool::new(false),
        });
        let mut state = pool.state.lock().unwrap();
        state.silence.begin(true, 0, &pool.wake_supervisor);
        state.sent = 1;
        drop(state);
        pool
    }

    /// The worker's: a reply is there. The supervisor's bell wakes it, here on the same
    /// thread.
    fn publish(&self) {
        self.replies.fetch_add(1, Release);
        Wake::published();
        if self.wake_caller.must_ring(0) {
            self.ring_caller();
        }
        if self.wake_supervisor.must_ring(0) {
            self.pump_if_free();
        }
    }

    /// A descriptor has one order that all agree on, as a word has only for its swaps.
    fn ring_caller(&self) {
        self.caller_bell.swap(true, AcqRel);
    }

    fn has_replies(&self) -> bool {
        self.replies.load(Acquire) != 0
    }

    /// `Shared::pump`: settles the books and sends what is queued.
    fn pump(&self) {
        let read = self.replies.swap(0, AcqRel);
        let mut state = self.state.lock().unwrap();
        state.sent -= read;
        if state.sent == 0 {
            state.sent = std::mem::take(&mut state.queued);
        }
    }

    /// `Shared::leave`.
    fn leave(&self) {
        let mut right = ();
        loop {
            let look = || self.has_replies() || self.ended.load(Acquire);
            let Some(again) = self.reader.leave(right, || self.ask(), look) else {
                return;
            };
            right = again;
            if self.ended.load(Acquire) {
                self.buried.store(true, Relaxed);
                return;
            }
            self.pump();
        }
    }

    /// Asks for the supervisor, under the lock.
    fn ask(&self) {
        let mut state = self.state.lock().unwrap();
        state.silence.end();
        self.wake_caller.silence();
        if state.sent > 0 {
            self.wake_supervisor.ask(0);
        }
    }

    fn pump_if_free(&self) {
        if self.reader.take().is_some() {
            self.pump();
            self.leave();
        }
    }
}

/// A handle is dropped, or awaited, while the reply comes: `Shared::watch`.
fn a_reply_nobody_waits_for_is_read_model() {
    let pool = Pool::new();
    let worker = pool.clone();
    let worker = loom::thread::spawn(move || worker.publish());
    if pool
        .reader
        .watch(|| pool.ask(), || pool.has_replies())
        .is_some()
    {
        pool.pump();
        pool.leave();
    }
    worker.join().unwrap();
    assert!(!pool.has_replies(), "a reply was left in the ring");
}

/// A job must be queued behind one whose reply is quiet, and which nobody waits for.
fn a_queued_job_breaks_the_silence_model() {
    let pool = Pool::new();
    let worker = pool.clone();
    let worker = loom::thread::spawn(move || worker.publish());
    let interrupted = {
        let mut state = pool.state.lock().unwrap();
        state.queued += 1;
        state.silence.interrupt()
    };
    if interrupted {
        pool.pump_if_free(); // The supervisor, which was rung.
    }
    worker.join().unwrap();
    let queued = pool.state.lock().unwrap().queued;
    assert_eq!(queued, 0, "a job waits behind a reply that nobody reads");
}

/// A caller reads its reply itself and sleeps on its bell alone; the worker may answer
/// before it dies, or not; the supervisor notices the death.
fn a_death_reaches_a_caller_that_sleeps_model(answers: bool) {
    let pool = Pool::new();
    pool.reader.take().unwrap();
    let other = pool.clone();
    let other = loom::thread::spawn(move || {
        if answers {
            other.publish();
        }
        // It dies, and the supervisor notices: `Shared::worker_may_have_ended`.
        other.ended.store(true, Release);
        let nudge = || other.ring_caller();
        if other.reader.take_or(nudge).is_some() {
            other.buried.store(true, Relaxed);
        }
    });
    // `JobHandle::wait_until`, up to where it sleeps.
    let wait = || loop {
        pool.pump();
        let answered = pool.state.lock().unwrap().sent == 0;
        if answered || pool.ended.load(Acquire) {
            pool.leave();
            return true;
        }
        pool.wake_caller.ask(0);
        if !pool.has_replies() && !pool.caller_bell.swap(false, AcqRel) {
            return false;
        }
    };
    let mut done = wait();
    other.join().unwrap();
    while !done && pool.caller_bell.swap(false, AcqRel) {
        done = wait();
    }
    assert!(done, "a caller waits for a worker that is dead");
    let buried = pool.buried.load(Relaxed);
    assert!(buried, "a dead worker wasn't buried");
}

#[test]
fn a_reply_nobody_waits_for_is_read() {
    explore(3, a_reply_nobody_waits_for_is_read_model);
}

#[test]
#[should_panic(expected = "a reply was left in the ring")]
fn a_reply_nobody_waits_for_is_read_broken() {
    weaken(Weakening::WatchWithoutLook, || {
        explore(3, a_reply_nobody_waits_for_is_read_model);
    });
}

#[test]
fn a_queued_job_breaks_the_silence() {
    explore(3, a_queued_job_breaks_the_silence_model);
}

#[test]
#[should_panic(expected = "a job waits behind a reply that nobody reads")]
fn a_queued_job_breaks_the_silence_broken() {
    weaken(Weakening::SilenceUnbroken, || {
        explore(3, a_queued_job_breaks_the_silence_model);
    });
}

#[test]
fn a_death_reaches_a_caller_that_sleeps() {
    explore(3, || a_death_reaches_a_caller_that_sleeps_model(false));
    explore(3, || a_death_reaches_a_caller_that_sleeps_model(true));
}

#[test]
#[should_panic(expected = "a caller waits for a worker that is dead")]
fn a_death_reaches_a_caller_that_sleeps_broken() {
    weaken(Weakening::NudgeUntold, || {
        explore(3, || a_death_reaches_a_caller_that_sleeps_model(false));
    });
}
