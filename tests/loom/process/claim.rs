//! Which side has a job, the worker or the parent: `pools/src/process/claim.rs`.

use std::sync::Arc;

use threeply_pools::process::claim::Claim;
use threeply_pools::switch::{Weakening, weaken};
use threeply_runtime::switch::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crate::explore::explore;

/// Jobs 0 and 1 were sent; the parent takes back what isn't claimed, runs it
/// elsewhere, and sends job 2.
fn every_job_runs_once_model() {
    let claim = Arc::new(Claim::default());
    let runs: Arc<[AtomicU64; 3]> = Arc::new([0, 1, 2].map(|_| AtomicU64::new(0)));
    let sent = Arc::new(AtomicBool::new(false));
    let (worker_claim, worker_runs, ring) = (claim.clone(), runs.clone(), sent.clone());
    let worker = loom::thread::spawn(move || {
        for job in 0..3 {
            let is_there = job < 2 || ring.load(Acquire);
            if is_there && worker_claim.try_claim(job) {
                worker_runs[job as usize].fetch_add(1, Relaxed);
            }
        }
    });
    let first = claim.recall(2);
    sent.store(true, Release);
    for job in first..2 {
        runs[job as usize].fetch_add(1, Relaxed);
    }
    worker.join().unwrap();
    // Job 2 was sent after the recall; if the worker looked before that, it is
    // still there to be claimed.
    if claim.try_claim(2) {
        runs[2].fetch_add(1, Relaxed);
    }
    for runs in runs.iter() {
        let runs = runs.load(Relaxed);
        assert!(runs < 2, "a job ran twice");
        assert!(runs > 0, "a job was lost");
    }
}

#[test]
fn every_job_runs_once() {
    explore(3, every_job_runs_once_model);
}

#[test]
#[should_panic(expected = "a job ran twice")]
fn every_job_runs_once_broken() {
    weaken(Weakening::ClaimWithoutCas, || {
        explore(3, every_job_runs_once_model);
    });
}
