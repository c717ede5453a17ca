//! A pool that closes while jobs come: `pools/src/process/admission.rs`. Here it is the
//! pool itself, without workers.

use std::future::Future;
use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use threeply_pools::process::admission::Admission;
use threeply_pools::process::builder::Options;
use threeply_pools::process::cell::Cell;
use threeply_pools::process::job::{Arguments, Job};
use threeply_pools::process::shared::Shared;
use threeply_pools::process::state::Delivery;
use threeply_pools::process::{Error, Output};
use threeply_pools::switch::{Weakening, weaken};
use threeply_runtime::switch::atomic::{AtomicBool, Ordering::Relaxed};

use crate::explore::explore;

struct Task(AtomicBool);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// A pool with room for one job that waits for a worker, and no worker.
fn pool() -> Arc<Shared> {
    let mut options = Options::default();
    options.queue_jobs = 1;
    options.stderr = Output::inherit();
    Shared::new(options).unwrap()
}

pub(super) fn job() -> (Arc<Cell>, Job) {
    let cell = Arc::new(Cell::default());
    let job = Job {
        target: cell.clone(),
        call: [0, 0],
        arguments: Arguments::Inline(Default::default()),
        index: 0,
        count: 1,
        terms: None,
        site: Location::caller(),
        attempt: 1,
        baggage: None,
    };
    (cell, job)
}

/// What the supervisor does about a pool that is draining, without patience.
fn close(pool: &Shared) {
    let mut deliveries = Vec::new();
    let _ = pool.lock().close_if_done(Instant::now(), &mut deliveries);
    Delivery::deliver_all(&mut deliveries);
}

/// A job comes while the pool closes.
fn a_job_gets_in_or_is_refused_model() {
    let pool = pool();
    let closing = pool.clone();
    let closing = loom::thread::spawn(move || {
        closing.drain(Some(Instant::now()));
        close(&closing);
    });
    let (cell, job) = job();
    let submitted = pool.accept(job, true, false);
    closing.join().unwrap();
    match submitted {
        Ok(_) => assert!(cell.is_done(), "a job was left in a pool that has closed"),
        Err(error) => assert!(matches!(error, Error::ShutDown)),
    }
}

/// A task goes to wait for room while the pool closes.
fn a_task_that_waits_is_sent_away_model() {
    let pool = pool();
    let (_first, job_before) = job();
    pool.accept(job_before, true, false).unwrap();
    let closing = pool.clone();
    let closing = loom::thread::spawn(move || {
        closing.drain(Some(Instant::now()));
        close(&closing);
    });
    let (_second, job) = job();
    let task = Arc::new(Task(AtomicBool::new(false)));
    let waker = Waker::from(task.clone());
    let mut context = Context::from_waker(&waker);
    let mut admission = pin!(Admission::new(&pool, job));
    let early = admission.as_mut().poll(&mut context);
    closing.join().unwrap();
    let outcome = match early {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => {
            let woken = task.0.load(Relaxed);
            assert!(woken, "a task waits at a door that is closed");
            match admission.poll(&mut context) {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => panic!("it still waits"),
            }
        }
    };
    assert!(matches!(outcome, Err(Error::ShutDown)));
}

#[test]
fn a_job_gets_in_or_is_refused() {
    explore(3, a_job_gets_in_or_is_refused_model);
}

#[test]
#[should_panic(expected = "a job was left in a pool that has closed")]
fn a_job_gets_in_or_is_refused_broken() {
    weaken(Weakening::AdmitUnderNextLock, || {
        explore(3, a_job_gets_in_or_is_refused_model);
    });
}

#[test]
fn a_task_that_waits_is_sent_away() {
    explore(3, a_task_that_waits_is_sent_away_model);
}

#[test]
#[should_panic(expected = "a task waits at a door that is closed")]
fn a_task_that_waits_is_sent_away_broken() {
    weaken(Weakening::CloseUntold, || {
        explore(3, a_task_that_waits_is_sent_away_model);
    });
}
