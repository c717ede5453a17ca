//! More jobs of one thread than one of its deques holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use threeply_pools::JobError;
use threeply_pools::thread::{self, ThreadPool, spawn, spawn_detached};

use crate::watchdog;

#[test]
fn each_of_many_jobs_is_run_once() {
    const JOBS: usize = 50_000;
    let _watchdog = watchdog();
    for threads in 1..=3 {
        let pool = ThreadPool::new(threads).unwrap();
        let runs: Arc<Vec<AtomicUsize>> = Arc::new((0..JOBS).map(|_| 0.into()).collect());
        let (over, ended) = mpsc::channel::<()>();
        let jobs = runs.clone();
        pool.spawn_detached(move || {
            for job in 0..JOBS {
                let (jobs, over) = (jobs.clone(), over.clone());
                spawn_detached(move || {
                    jobs[job].fetch_add(1, Ordering::Relaxed);
                    drop(over);
                });
            }
        });
        assert!(ended.recv().is_err(), "the last job drops the channel");
        let once = |runs: &AtomicUsize| runs.load(Ordering::Relaxed) == 1;
        assert!(runs.iter().all(once));
    }
}

#[test]
fn a_job_amid_a_pile_is_run_while_its_owner_blocks() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    for awaited in [0, 150, 299] {
        let blocks = pool.spawn(move || {
            let (done, job_done) = mpsc::channel();
            for job in 0..300 {
                let done = done.clone();
                spawn_detached(move || {
                    let _ = done.send(job);
                });
            }
            job_done.iter().find(|job| *job == awaited)
        });
        assert_eq!(blocks.wait().unwrap(), Some(awaited));
    }
}

#[test]
fn a_scope_upon_a_pile_runs_its_own_jobs_only() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let foreign = Arc::new(AtomicUsize::new(0));
    let ran = foreign.clone();
    let seen = pool.spawn(move || {
        let spawn_foreign = |count| {
            for _ in 0..count {
                let ran = ran.clone();
                spawn_detached(move || {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
            }
        };
        spawn_foreign(500);
        let own = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..1000 {
                scope.spawn(|_| {
                    own.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        spawn_foreign(500);
        (own.into_inner(), ran.load(Ordering::Relaxed))
    });
    assert_eq!(seen.wait().unwrap(), (1000, 0));
    assert!(pool.shutdown(Duration::from_secs(30)).is_clean());
    assert_eq!(foreign.load(Ordering::Relaxed), 1000);
}

#[test]
fn shutdown_discards_a_pile_and_tells_its_handles() {
    const JOBS: usize = 1000;
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let (give, given) = mpsc::channel();
    pool.spawn_detached(move || {
        give.send((0..JOBS).map(|_| spawn(|| ())).collect::<Vec<_>>())
            .unwrap();
        let _ = gate.recv();
    });
    let handles = given.recv().unwrap();
    assert_eq!(pool.dump().queued, JOBS);
    let report = pool.shutdown(Duration::ZERO);
    assert_eq!((report.cancelled, report.still_running), (JOBS, 1));
    for handle in handles {
        assert!(matches!(handle.wait(), Err(JobError::Closed)));
    }
    drop(go);
}
