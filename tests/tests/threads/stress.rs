//! Everything at once, with a seed to repeat it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use threeply_pools::JobError;
use threeply_pools::thread::{self, ThreadPool};

use crate::random::Random;
use crate::watchdog;

/// Each job runs exactly once, or was cancelled and never runs, whoever is faster.
#[test]
fn jobs_run_exactly_once_under_random_cancel() {
    let _watchdog = watchdog();
    let mut random = Random::new("random_cancel");
    for threads in [1, 2, 3] {
        let pool = Arc::new(ThreadPool::new(threads).unwrap());
        for _ in 0..20 {
            let runs: Arc<Vec<AtomicU32>> = Arc::new((0..200).map(|_| AtomicU32::new(0)).collect());
            let mut jobs = Vec::new();
            let mut detached = Vec::new();
            for at in 0..200 {
                let runs = runs.clone();
                let job = pool.spawn(move || runs[at].fetch_add(1, Ordering::Relaxed));
                match random.below(4) {
                    0 => jobs.push((at, job.cancel(), job)),
                    1 => {
                        detached.push(at);
                        drop(job);
                    }
                    _ => jobs.push((at, false, job)),
                }
            }
            let inside = random.below(2) == 0;
            let check = || {
                for (at, cancelled, job) in jobs {
                    match job.wait() {
                        Ok(before) => assert!(!cancelled && before == 0),
                        Err(error) => assert!(cancelled && matches!(error, JobError::Cancelled)),
                    }
                    assert_eq!(runs[at].load(Ordering::Relaxed), u32::from(!cancelled));
                }
            };
            if inside {
                pool.install(check)
            } else {
                check()
            }
            let last = pool.spawn(|| ());
            last.wait().unwrap();
        }
        let pool = Arc::into_inner(pool).unwrap();
        assert!(pool.shutdown(Duration::from_secs(30)).is_clean());
    }
}

/// Random trees of join, scope, spawn and wait count their nodes.
#[test]
fn random_trees_of_everything_count_their_nodes() {
    fn node(seed: u64, depth: u32, count: &AtomicUsize) -> usize {
        count.fetch_add(1, Ordering::Relaxed);
        if depth == 0 {
            return 1;
        }
        let (a, b) = (
            seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            seed.rotate_left(17) ^ 0x55,
        );
        1 + match seed >> 61 {
            0..=3 => {
                let (x, y) =
                    thread::join(|| node(a, depth - 1, count), || node(b, depth - 1, count));
                x + y
            }
            4 | 5 => {
                let sum = AtomicUsize::new(0);
                thread::scope(|s| {
                    for seed in [a, b, a ^ b] {
                        let sum = &sum;
                        s.spawn(move |_| {
                            sum.fetch_add(node(seed, depth - 1, count), Ordering::Relaxed);
                        });
                    }
                });
                sum.into_inner()
            }
            6 => {
                let job = thread::spawn(move || {
                    let count = AtomicUsize::new(0);
                    (node(a, depth - 1, &count), count.into_inner())
                });
                let here = node(b, depth - 1, count);
                let (there, counted) = job.wait().unwrap();
                count.fetch_add(counted, Ordering::Relaxed);
                here + there
            }
            _ => node(a, depth - 1, count),
        }
    }
    let _watchdog = watchdog();
    let mut random = Random::new("random_trees");
    for threads in [1, 2, 4] {
        let pool = ThreadPool::new(threads).unwrap();
        for round in 0..60 {
            let (seed, count) = (random.next(), AtomicUsize::new(0));
            let work = || node(seed, 9, &count);
            let nodes = if round % 2 == 0 {
                pool.install(work)
            } else {
                pool.run(work)
            };
            assert_eq!(nodes, count.into_inner(), "seed {seed}");
        }
    }
}

/// Many threads from outside share one pool.
#[test]
fn many_guests_share_one_pool() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    std::thread::scope(|s| {
        for guest in 0..6_u64 {
            let pool = &pool;
            s.spawn(move || {
                for round in 0..50 {
                    assert_eq!(pool.run(|| crate::fib(12)), 144);
                    assert_eq!(
                        pool.spawn(move || guest + round).wait().unwrap(),
                        guest + round
                    );
                    let count = AtomicUsize::new(0);
                    pool.scope(|s| {
                        for _ in 0..10 {
                            s.spawn(|_| {
                                count.fetch_add(1, Ordering::Relaxed);
                            });
                        }
                    });
                    assert_eq!(count.into_inner(), 10);
                }
            });
        }
    });
}

/// A handle is a future on anybody's executor, and a dropped one keeps no waker.
#[test]
fn a_handle_is_a_future_and_frees_its_waker() {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let inner = Arc::new(Unpark(std::thread::current()));
    let waker = Waker::from(inner.clone());
    let mut cx = Context::from_waker(&waker);
    for _ in 0..200 {
        let mut job = std::pin::pin!(pool.spawn(|| 5));
        let value = loop {
            match job.as_mut().poll(&mut cx) {
                Poll::Ready(value) => break value,
                Poll::Pending => std::thread::park(),
            }
        };
        assert_eq!(value.unwrap(), 5);
    }
    // Another waker: a worker may still be waking the first one.
    let inner = Arc::new(Unpark(std::thread::current()));
    let waker = Waker::from(inner.clone());
    let mut cx = Context::from_waker(&waker);
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let mut job = Box::pin(pool.spawn(move || gate.recv()));
    assert!(job.as_mut().poll(&mut cx).is_pending());
    assert_eq!(Arc::strong_count(&inner), 3);
    drop(job);
    assert_eq!(
        Arc::strong_count(&inner),
        2,
        "dropping the handle frees its waker"
    );
    drop(go);
    drop(waker);
}
