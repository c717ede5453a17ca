//! `pools/src/thread/completion.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;
use threeply_pools::JobError;
use threeply_pools::switch::{Weakening, weaken};
use threeply_pools::thread::completion::Completion;

use crate::explore::explore;

fn run_against_cancel_model() {
    explore(3, || {
        let job = Arc::new(Completion::<u32>::new());
        let other = job.clone();
        // Std's, so it adds no schedule and no ordering that loom would see.
        let claims = Arc::new(AtomicUsize::new(0));
        let won = |claims: &AtomicUsize| {
            let before = claims.fetch_add(1, Ordering::Relaxed);
            assert_eq!(before, 0, "a job is run or cancelled, not both");
        };
        let others = claims.clone();
        let runner = thread::spawn(move || {
            if other.claim_from_queue() {
                won(&others);
                let (free, _) = other.finish_run(Ok(5));
                (1, usize::from(free))
            } else {
                (0, usize::from(other.release_queue()))
            }
        });
        let cancelled = job.claim();
        if cancelled {
            won(&claims);
            job.complete(Err(JobError::Cancelled));
        }
        let seen = job.try_take();
        let freed = usize::from(job.release_handle());
        let (ran, freed_by_runner) = runner.join().unwrap();
        assert_eq!(ran + usize::from(cancelled), 1, "nobody claimed");
        match seen {
            Some(Ok(5)) => assert_eq!(ran, 1),
            Some(result) => assert!(cancelled && result.is_err()),
            None => assert!(!cancelled),
        }
        assert_eq!(freed + freed_by_runner, 1, "a job is freed once");
    });
}

#[test]
fn run_against_cancel_against_drop() {
    run_against_cancel_model();
}

#[test]
#[should_panic(expected = "a job is run or cancelled, not both")]
fn run_against_cancel_against_drop_broken() {
    weaken(Weakening::SplitClaim, run_against_cancel_model);
}

#[derive(Default)]
struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn complete_against_poll_model() {
    explore(3, || {
        let job = Arc::new(Completion::<u32>::new());
        let other = job.clone();
        let runner = thread::spawn(move || {
            assert!(other.claim());
            other.complete(Ok(5));
        });
        let (first, last) = (
            Arc::new(CountWakes::default()),
            Arc::new(CountWakes::default()),
        );
        let mut ready = false;
        // The handle moves to another waker between two polls.
        for wakes in [&first, &last] {
            let waker = Waker::from(wakes.clone());
            if let Poll::Ready(result) = job.poll_take(&mut Context::from_waker(&waker)) {
                assert!(matches!(result, Some(Ok(5))));
                ready = true;
                break;
            }
        }
        runner.join().unwrap();
        let woken = last.0.load(Ordering::Relaxed) == 1;
        assert!(ready || woken, "a job completed and nobody was woken");
        assert!(ready || matches!(job.try_take(), Some(Ok(5))));
    });
}

#[test]
fn complete_against_poll() {
    complete_against_poll_model();
}

#[test]
#[should_panic(expected = "a job completed and nobody was woken")]
fn complete_against_poll_broken() {
    weaken(Weakening::SkipWakerCheck, complete_against_poll_model);
}
