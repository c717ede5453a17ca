//! Traces of thread pools.

use std::sync::mpsc;
use std::time::Duration;

use threeply_pools::thread::ThreadPool;
use threeply_runtime::trace::{ArrowKind, Kind, LaneKind};

use crate::kit::{arrows, count, lanes, record};

const SOON: Duration = Duration::from_secs(30);

fn pool(threads: usize) -> ThreadPool {
    ThreadPool::builder().threads(threads).build().unwrap()
}

#[test]
fn a_job_from_outside_is_injected_taken_and_run() {
    let (trace, ()) = record(|| {
        let pool = pool(1);
        assert_eq!(pool.spawn(|| 7).wait().unwrap(), 7);
        let _ = pool.shutdown(SOON);
    });
    assert_eq!(
        arrows(&trace, Kind::JobInject, Kind::JobTake),
        [ArrowKind::Steal]
    );
    assert_eq!(
        arrows(&trace, Kind::JobTake, Kind::JobRun),
        [ArrowKind::Push]
    );
    assert_eq!(
        lanes(&trace, LaneKind::Thread),
        2,
        "the caller and the worker"
    );
}

#[test]
fn a_stolen_job_has_thief_and_victim() {
    let (trace, ()) = record(|| {
        let pool = pool(2);
        let (begun, has_begun) = mpsc::channel();
        // The outer job holds its worker until the inner one runs, so that only
        // the other worker can run it: by stealing.
        let outer = pool.spawn(move || {
            let inner = threeply_pools::thread::spawn(move || begun.send(()).unwrap());
            has_begun.recv().unwrap();
            drop(inner);
        });
        outer.wait().unwrap();
        let _ = pool.shutdown(SOON);
    });
    assert_eq!(count(&trace, Kind::JobSteal), 1);
    assert_eq!(
        arrows(&trace, Kind::JobPush, Kind::JobSteal),
        [ArrowKind::Steal]
    );
    assert_eq!(
        arrows(&trace, Kind::JobSteal, Kind::JobRun),
        [ArrowKind::Push]
    );
    assert!(arrows(&trace, Kind::Unpark, Kind::ThreadPark).len() <= count(&trace, Kind::Unpark));
}

#[test]
fn a_stolen_fork_is_promoted_stolen_run_and_waited_for() {
    let (trace, ()) = record(|| {
        let pool = pool(2);
        let (begun, has_begun) = mpsc::channel();
        let (end, may_end) = mpsc::channel();
        pool.join(
            // Until the other half runs on the other thread; which then waits
            // until this half is over.
            move || {
                has_begun.recv().unwrap();
                end.send(()).unwrap();
            },
            move || {
                begun.send(()).unwrap();
                may_end.recv().unwrap();
            },
        );
        let _ = pool.shutdown(SOON);
    });
    assert_eq!(
        arrows(&trace, Kind::Promote, Kind::ForkSteal),
        [ArrowKind::Steal]
    );
    assert_eq!(
        arrows(&trace, Kind::ForkSteal, Kind::ForkRun),
        [ArrowKind::Push]
    );
    assert_eq!(count(&trace, Kind::LatchSet), 1);
    let waits = count(&trace, Kind::LatchWait);
    assert_eq!(
        arrows(&trace, Kind::LatchSet, Kind::LatchWait),
        vec![ArrowKind::Latch; waits]
    );
}

#[test]
fn every_job_of_many_has_its_cause() {
    let (trace, ()) = record(|| {
        let pool = pool(2);
        pool.scope(|scope| {
            for _ in 0..100 {
                scope.spawn(|scope| scope.spawn(|_| ()));
            }
        });
        let jobs: Vec<_> = (0..100).map(|n| pool.spawn(move || n)).collect();
        let sum: u32 = jobs.into_iter().map(|job| job.wait().unwrap()).sum();
        assert_eq!(sum, 4950);
        assert_eq!(pool.broadcast(|index| index).len(), 2);
        let _ = pool.shutdown(SOON);
    });
    // `check` has looked at each; here that there is something to look at.
    assert!(count(&trace, Kind::JobRun) >= 300);
    assert_eq!(count(&trace, Kind::JobPost), 2);
}
