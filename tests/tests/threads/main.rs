//! The thread pool, from outside: what its users may rely on.

mod bridges;
mod dumps;
mod fits;
mod iterators;
mod many;
mod piles;
mod random;
mod stress;
mod terms;
mod traps;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use threeply_pools::JobError;
use threeply_pools::thread::{self, ThreadPool, blocking};
pub(crate) use threeply_tests::watchdog::watchdog;

fn fib(n: u32) -> u64 {
    if n < 2 {
        return u64::from(n);
    }
    let (a, b) = thread::join(|| fib(n - 1), || fib(n - 2));
    a + b
}

#[test]
fn a_spawned_job_gives_its_value_or_its_panic() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    assert_eq!(pool.spawn(|| 6 * 7).wait().unwrap(), 42);
    let error = pool.spawn(|| panic!("on purpose")).wait().unwrap_err();
    assert!(error.is_panic());
    assert_eq!(error.to_string(), "the job panicked: on purpose");
    assert_eq!(pool.spawn(|| 1).wait().unwrap(), 1, "the pool survives");
}

#[test]
fn join_computes_both_from_outside_and_from_inside() {
    let _watchdog = watchdog();
    for threads in [1, 2, 3] {
        let pool = ThreadPool::new(threads).unwrap();
        assert_eq!(pool.run(|| fib(20)), 6765);
        assert_eq!(pool.install(|| fib(20)), 6765);
        assert_eq!(pool.spawn(|| fib(20)).wait().unwrap(), 6765);
    }
}

#[test]
fn two_large_halves_run_at_the_same_time() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    // Each half waits for the other: serial, this would hang. (Only the first
    // calls from a place wake somebody unasked, until the place is known.)
    let (to_b, from_a) = mpsc::channel();
    let (to_a, from_b) = mpsc::channel();
    pool.join(
        move || {
            to_b.send(()).unwrap();
            from_b.recv().unwrap();
        },
        move || {
            to_a.send(()).unwrap();
            from_a.recv().unwrap();
        },
    );
}

#[test]
fn a_scope_waits_for_jobs_that_borrow() {
    let _watchdog = watchdog();
    for threads in [1, 2, 4] {
        let pool = ThreadPool::new(threads).unwrap();
        for inside in [false, true] {
            let count = AtomicUsize::new(0);
            let work = || {
                pool.scope(|s| {
                    for _ in 0..100 {
                        s.spawn(|s| {
                            count.fetch_add(1, Ordering::Relaxed);
                            s.spawn(|_| {
                                count.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
                assert_eq!(count.load(Ordering::Relaxed), 200);
            };
            if inside { pool.install(work) } else { work() }
        }
    }
}

#[test]
fn a_scope_passes_on_a_panic_after_all_jobs_ended() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let count = AtomicUsize::new(0);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pool.scope(|s| {
            for i in 0..50 {
                let count = &count;
                s.spawn(move |_| {
                    if i == 7 {
                        panic!("job seven");
                    }
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
    }));
    assert_eq!(
        *outcome.unwrap_err().downcast::<&str>().unwrap(),
        "job seven"
    );
    assert_eq!(count.load(Ordering::Relaxed), 49);
}

#[test]
fn a_cancelled_job_never_runs_and_says_so() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let first = pool.spawn(move || gate.recv().unwrap());
    let second = pool.spawn(|| unreachable!());
    assert!(second.cancel());
    assert!(!second.cancel());
    assert!(matches!(second.wait(), Err(JobError::Cancelled)));
    go.send(()).unwrap();
    first.wait().unwrap();
}

#[test]
fn jobs_that_wait_for_jobs_do_not_deadlock() {
    let _watchdog = watchdog();
    let pool = std::sync::Arc::new(ThreadPool::new(1).unwrap());
    let inner = pool.clone();
    let nested = pool.spawn(move || {
        let jobs: Vec<_> = (0..10).map(|i| inner.spawn(move || i)).collect();
        jobs.into_iter().map(|job| job.wait().unwrap()).sum::<i32>()
    });
    assert_eq!(nested.wait().unwrap(), 45);
}

#[test]
fn a_blocking_job_lends_its_thread() {
    let _watchdog = watchdog();
    let pool = std::sync::Arc::new(ThreadPool::new(1).unwrap());
    let (send, receive) = mpsc::channel();
    let waits = pool.spawn(move || blocking(|| receive.recv().unwrap()));
    let sends = pool.spawn(move || send.send(5).unwrap());
    assert_eq!(waits.wait().unwrap(), 5);
    sends.wait().unwrap();
}

#[test]
fn shutdown_drains_and_later_spawns_are_refused() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let jobs: Vec<_> = (0..1000).map(|i| pool.spawn(move || i)).collect();
    let report = pool.shutdown(Duration::from_secs(30));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(
        jobs.into_iter().map(|j| j.wait().unwrap()).sum::<i32>(),
        499_500
    );
    assert!(matches!(pool.spawn(|| ()).wait(), Err(JobError::Closed)));
    assert!(pool.try_spawn(|| ()).is_err());
}

#[test]
fn shutdown_past_its_deadline_cancels_and_reports() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let (started, start) = mpsc::channel();
    let running = pool.spawn(move || {
        started.send(()).unwrap();
        let _ = gate.recv();
    });
    start.recv().unwrap();
    let queued = pool.spawn(|| ());
    let report = pool.shutdown(Duration::ZERO);
    assert_eq!((report.cancelled, report.still_running), (1, 1));
    assert!(matches!(queued.wait(), Err(JobError::Closed)));
    drop(go);
    running.wait().unwrap();
}

#[test]
fn broadcast_reaches_every_thread_once() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(3).unwrap();
    for _ in 0..50 {
        assert_eq!(pool.broadcast(|index| index), [0, 1, 2]);
    }
    assert_eq!(pool.install(|| pool.broadcast(|index| index)), [0, 1, 2]);
}

#[test]
fn a_cancelled_scope_begins_no_further_job() {
    let _watchdog = watchdog();
    for threads in [1, 2] {
        let pool = ThreadPool::new(threads).unwrap();
        let ran = AtomicUsize::new(0);
        pool.install(|| {
            thread::scope(|s| {
                s.cancel();
                for _ in 0..100 {
                    s.spawn(|_| {
                        ran.fetch_add(1, Ordering::Relaxed);
                    });
                }
                assert!(s.is_cancelled());
            });
        });
        assert_eq!(ran.into_inner(), 0);
    }
}
