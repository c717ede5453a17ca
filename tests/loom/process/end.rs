//! A job's end, of several at once: it is sent, its worker dies, its user cancels. Which
//! it was is decided by `pools/src/process/claim.rs` and `pools/src/process/cell.rs`, the
//! books are the pool's, under its lock.

use std::sync::Arc;

use threeply_pools::process::JobError;
use threeply_pools::process::cell::{Cell, News};
use threeply_pools::process::claim::Claim;
use threeply_pools::switch::{Mutex, Weakening, weaken};
use threeply_runtime::switch::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::explore::explore;

/// The books: which numbers stand in the worker's ring, and which went back to the queue.
#[derive(Default)]
struct State {
    sent: Vec<u64>,
    next: u64,
    queued: Vec<u64>,
    buried: bool,
}

struct Pool {
    state: Mutex<State>,
    claim: Claim,
    /// Requests published.
    ring: AtomicU64,
    cells: [Cell; 2],
    runs: [AtomicU64; 2],
}

impl Pool {
    fn new() -> Arc<Pool> {
        let pool = Arc::new(Pool {
            state: Mutex::default(),
            claim: Claim::default(),
            ring: AtomicU64::new(0),
            cells: [0, 1].map(|_| Cell::default()),
            runs: [0, 1].map(|_| AtomicU64::new(0)),
        });
        pool.submit(0);
        pool
    }

    /// Into the ring, or the queue if there is no worker any more.
    fn submit(&self, job: u64) {
        let mut state = self.state.lock().unwrap();
        if state.buried {
            state.queued.push(job);
        } else {
            state.sent.push(job);
            state.next = job + 1;
            self.ring.store(state.next, Release);
        }
    }

    /// Everything from `first` on leaves the worker's books.
    fn take_back(state: &mut State, first: u64) {
        let back = state.sent.extract_if(.., |job| *job >= first);
        let back: Vec<_> = back.collect();
        state.queued.splice(0..0, back);
    }

    /// `JobHandle::cancel`.
    fn cancel(&self, job: u64) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.sent.contains(&job) {
            let first = self.claim.recall(state.next);
            Pool::take_back(&mut state, first);
        }
        let cell = &self.cells[job as usize];
        let too_late = state.sent.contains(&job) || cell.is_decided();
        let news = if too_late { None } else { cell.withdraw() };
        drop(state);
        news.map(News::tell).is_some()
    }

    /// The worker: begins what it finds, one job, and dies of it.
    fn work_and_die(&self) {
        for job in 0..self.ring.load(Acquire) {
            if self.claim.try_claim(job) {
                self.runs[job as usize].fetch_add(1, Relaxed);
                return;
            }
        }
    }

    /// `State::bury`, and the delivery.
    fn bury(&self) {
        let mut state = self.state.lock().unwrap();
        state.buried = true;
        Pool::take_back(&mut state, self.claim.first_unclaimed());
        let died = std::mem::take(&mut state.sent);
        for job in &died {
            self.cells[*job as usize].decide();
        }
        drop(state);
        assert!(died.len() < 2, "a death costs more than one job");
        for job in died {
            self.cells[job as usize].complete(Err(Box::new(JobError::ShutDown)));
        }
    }
}

/// Job 0 was sent and job 1 comes while the user cancels job 0 and the worker dies.
fn a_job_ends_in_one_way_model() {
    let pool = Pool::new();
    let worker = pool.clone();
    let worker = loom::thread::spawn(move || {
        worker.work_and_die();
        worker.bury();
    });
    let user = pool.clone();
    let user = loom::thread::spawn(move || user.cancel(0));
    pool.submit(1);
    worker.join().unwrap();
    let cancelled = [user.join().unwrap(), false];
    let queued = std::mem::take(&mut pool.state.lock().unwrap().queued);
    for job in [0, 1] {
        let ran = pool.runs[job].load(Relaxed);
        assert!(!(cancelled[job] && ran > 0), "a cancelled job ran");
        // A cancelled job is dropped when its turn comes.
        let waits = queued.iter().filter(|other| **other == job as u64).count();
        assert!(waits <= 1, "a job waits twice");
        let is_queued = waits == 1 && !cancelled[job];
        let is_done = pool.cells[job].is_done();
        assert!(is_queued || is_done, "a job was lost");
        assert!(
            !(is_queued && ran > 0),
            "a job that has run would run again"
        );
        if let Some(outcome) = pool.cells[job].take() {
            let says_so = matches!(outcome, Err(error) if matches!(*error, JobError::Cancelled));
            assert_eq!(says_so, cancelled[job], "a cancelled job has an outcome");
        }
    }
}

#[test]
fn a_job_ends_in_one_way() {
    explore(2, a_job_ends_in_one_way_model);
}

#[test]
#[should_panic(expected = "a cancelled job ran")]
fn a_job_ends_in_one_way_broken() {
    weaken(Weakening::ClaimWithoutCas, || {
        explore(2, a_job_ends_in_one_way_model);
    });
}

#[test]
#[should_panic(expected = "a cancelled job ran")]
fn a_job_ends_in_one_way_undecided_broken() {
    weaken(Weakening::DecideUnnoted, || {
        explore(2, a_job_ends_in_one_way_model);
    });
}
