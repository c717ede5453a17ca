//! Where a job's outcome meets whoever waits: `pools/src/process/cell.rs`.

use std::sync::Arc;
use std::task::{Wake, Waker};

use threeply_pools::process::JobError;
use threeply_pools::process::cell::Cell;
use threeply_pools::switch::{Weakening, weaken};
use threeply_runtime::switch::atomic::{AtomicBool, Ordering::Relaxed};

use crate::explore::explore;

struct Task(AtomicBool);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// A worker dies, the user cancels, and a task waits for the outcome.
fn an_outcome_is_one_and_is_told_model() {
    let cell = Arc::new(Cell::default());
    let dying = cell.clone();
    let death = loom::thread::spawn(move || dying.complete(Err(Box::new(JobError::ShutDown))));
    let cancelling = cell.clone();
    let cancel = loom::thread::spawn(move || cancelling.cancel());

    let task = Arc::new(Task(AtomicBool::new(false)));
    let waker = Waker::from(task.clone());
    let early = cell.poll(&waker);
    death.join().unwrap();
    let cancelled = cancel.join().unwrap();
    let outcome = match early {
        Some(outcome) => outcome,
        None => {
            assert!(task.0.load(Relaxed), "a waiting task was not woken");
            cell.take().unwrap()
        }
    };
    let is_cancelled = matches!(outcome, Err(error) if matches!(*error, JobError::Cancelled));
    assert_eq!(is_cancelled, cancelled, "a cancelled job has an outcome");
}

#[test]
fn an_outcome_is_one_and_is_told() {
    explore(2, an_outcome_is_one_and_is_told_model);
}

#[test]
#[should_panic(expected = "a cancelled job has an outcome")]
fn an_outcome_is_one_and_is_told_broken() {
    weaken(Weakening::CompleteOverCancel, || {
        explore(2, an_outcome_is_one_and_is_told_model);
    });
}
