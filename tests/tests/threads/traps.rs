//! What bites users of other pools, and must not bite here.

// One test forks, to be refused.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use threeply_pools::thread::{self, ThreadPool};

use crate::watchdog;

fn spin(micros: u64) {
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_micros(micros) {
        std::hint::spin_loop();
    }
}

/// A waiter that took foreign jobs while it holds a lock would deadlock on it.
#[test]
fn a_lock_held_over_join_is_not_wanted_by_what_the_waiter_runs() {
    let _watchdog = watchdog();
    let pool = Arc::new(ThreadPool::new(2).unwrap());
    let lock = Arc::new(Mutex::new(0_u64));
    let jobs: Vec<_> = (0..400)
        .map(|_| {
            let lock = lock.clone();
            pool.spawn(move || {
                let mut sum = lock.lock().unwrap();
                let (a, b) = thread::join(|| spin(5), || spin(20));
                let ((), ()) = (a, b);
                *sum += 1;
            })
        })
        .collect();
    for job in jobs {
        job.wait().unwrap();
    }
    assert_eq!(*lock.lock().unwrap(), 400);
}

/// The same with a scope, whose end waits, too.
#[test]
fn a_lock_held_over_scope_is_not_wanted_by_what_the_waiter_runs() {
    let _watchdog = watchdog();
    let pool = Arc::new(ThreadPool::new(2).unwrap());
    let lock = Arc::new(Mutex::new(0_u64));
    let jobs: Vec<_> = (0..200)
        .map(|_| {
            let lock = lock.clone();
            pool.spawn(move || {
                let mut sum = lock.lock().unwrap();
                thread::scope(|s| {
                    for _ in 0..4 {
                        s.spawn(|_| spin(5));
                    }
                });
                *sum += 1;
            })
        })
        .collect();
    for job in jobs {
        job.wait().unwrap();
    }
    assert_eq!(*lock.lock().unwrap(), 200);
}

/// A waiter that took foreign jobs would find the cell borrowed.
#[test]
fn a_thread_local_borrowed_over_join_stays_the_borrowers() {
    thread_local! {
        static MINE: RefCell<u64> = const { RefCell::new(0) };
    }
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let jobs: Vec<_> = (0..400)
        .map(|_| {
            pool.spawn(|| {
                MINE.with(|mine| {
                    let mut mine = mine.borrow_mut();
                    thread::join(|| spin(5), || spin(20));
                    *mine += 1;
                });
            })
        })
        .collect();
    for job in jobs {
        job.wait().unwrap();
    }
}

/// How deep are we in jobs on this thread's stack?
#[test]
fn a_waiter_never_nests_a_foreign_job_on_its_stack() {
    thread_local! {
        static DEPTH: Cell<usize> = const { Cell::new(0) };
    }
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let deepest = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> = (0..500)
        .map(|_| {
            let deepest = deepest.clone();
            pool.spawn(move || {
                DEPTH.set(DEPTH.get() + 1);
                deepest.fetch_max(DEPTH.get(), Ordering::Relaxed);
                thread::join(|| spin(2), || thread::join(|| spin(3), || spin(3)));
                thread::scope(|s| s.spawn(|_| spin(2)));
                DEPTH.set(DEPTH.get() - 1);
            })
        })
        .collect();
    for job in jobs {
        job.wait().unwrap();
    }
    assert_eq!(deepest.load(Ordering::Relaxed), 1);
}

#[test]
fn deep_joins_need_no_more_stack_than_their_depth() {
    fn down(depth: usize) -> usize {
        if depth == 0 {
            return 0;
        }
        let (a, b) = thread::join(|| down(depth - 1), || 1);
        a + b
    }
    let _watchdog = watchdog();
    let pool = ThreadPool::builder()
        .threads(2)
        .stack_size(16 << 20)
        .build()
        .unwrap();
    assert_eq!(pool.install(|| down(5_000)), 5_000);
}

#[test]
fn recursion_inside_scope_ends() {
    fn tree<'s>(s: &thread::Scope<'s>, depth: u32, count: &'s AtomicUsize) {
        count.fetch_add(1, Ordering::Relaxed);
        if depth > 0 {
            s.spawn(move |s| tree(s, depth - 1, count));
            s.spawn(move |s| tree(s, depth - 1, count));
        }
    }
    fn nested(depth: u32, count: &AtomicUsize) {
        count.fetch_add(1, Ordering::Relaxed);
        if depth > 0 {
            thread::scope(|s| {
                s.spawn(|_| nested(depth - 1, count));
                s.spawn(|_| nested(depth - 1, count));
            });
        }
    }
    let _watchdog = watchdog();
    for threads in [1, 2, 3] {
        let pool = ThreadPool::new(threads).unwrap();
        let count = AtomicUsize::new(0);
        pool.scope(|s| tree(s, 10, &count));
        assert_eq!(count.swap(0, Ordering::Relaxed), 2047);
        pool.install(|| nested(9, &count));
        assert_eq!(count.swap(0, Ordering::Relaxed), 1023);
        pool.run(|| nested(9, &count));
        assert_eq!(count.into_inner(), 1023);
    }
}

#[test]
fn pools_nest_either_way() {
    let _watchdog = watchdog();
    let outer = Arc::new(ThreadPool::new(1).unwrap());
    let inner = Arc::new(ThreadPool::new(1).unwrap());
    let (o, i) = (outer.clone(), inner.clone());
    let result = outer.install(move || {
        i.install(move || {
            // Back into the first pool, whose only thread waits for us.
            o.install(|| thread::join(|| 1, || 2))
        })
    });
    assert_eq!(result, (1, 2));
    assert_eq!(
        outer.run(|| inner.join(|| outer.join(|| 1, || 2), || 3)),
        ((1, 2), 3)
    );
}

#[test]
fn a_wait_from_outside_runs_no_job() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let me = std::thread::current().id();
    let jobs: Vec<_> = (0..100)
        .map(|_| pool.spawn(|| std::thread::current().id()))
        .collect();
    for job in jobs {
        assert_ne!(job.wait().unwrap(), me);
    }
}

#[test]
fn a_pool_may_be_dropped_at_any_moment() {
    let _watchdog = watchdog();
    let ran = Arc::new(AtomicUsize::new(0));
    for round in 0..100 {
        let pool = ThreadPool::new(2).unwrap();
        let jobs: Vec<_> = (0..round)
            .map(|_| {
                let ran = ran.clone();
                pool.spawn(move || ran.fetch_add(1, Ordering::Relaxed))
            })
            .collect();
        if round % 2 == 0 {
            drop(pool);
            for job in jobs {
                job.wait().unwrap();
            }
        } else {
            drop(jobs);
            drop(pool);
        }
    }
    // From a thread of its own, too.
    let pool = Arc::new(ThreadPool::new(1).unwrap());
    let (send, receive) = mpsc::channel();
    let last = pool.clone();
    let (go, gate) = mpsc::channel::<()>();
    let job = pool.spawn(move || {
        gate.recv().unwrap();
        drop(last);
        send.send(()).unwrap();
    });
    drop(pool);
    go.send(()).unwrap();
    receive.recv().unwrap();
    job.wait().unwrap();
}

#[test]
fn a_panic_in_either_half_of_join_reaches_the_caller_and_drops_both() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    for inside in [false, true] {
        for (a_panics, b_panics) in [(true, false), (false, true), (true, true)] {
            let work = || {
                std::panic::catch_unwind(|| {
                    thread::join(
                        || {
                            spin(30);
                            assert!(!a_panics, "a");
                        },
                        || assert!(!b_panics, "b"),
                    )
                })
                .unwrap_err()
                .downcast::<&str>()
                .map(|text| *text)
                .unwrap()
            };
            for _ in 0..20 {
                let text = if inside {
                    pool.install(work)
                } else {
                    pool.run(work)
                };
                assert_eq!(text, if a_panics { "a" } else { "b" });
            }
        }
    }
}

#[test]
fn an_idle_pool_does_not_run() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    pool.install(|| thread::join(|| spin(100), || spin(100)));
    let switches = |tid: &str| -> u64 {
        let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status"));
        let status = status.unwrap_or_default();
        status
            .lines()
            .filter_map(|line| line.split_once("ctxt_switches:"))
            .map(|(_, count)| count.trim().parse::<u64>().unwrap())
            .sum()
    };
    let tids = pool.broadcast(|_| nix::unistd::gettid().to_string());
    // On a busy machine it takes a while until the last searcher sleeps.
    let quiet = (0..20).any(|_| {
        let before: u64 = tids.iter().map(|tid| switches(tid)).sum();
        std::thread::sleep(Duration::from_millis(200));
        let after: u64 = tids.iter().map(|tid| switches(tid)).sum();
        after - before <= 2
    });
    assert!(quiet, "an idle pool wakes up again and again");
}

#[test]
fn idle_threads_end_and_come_back() {
    let _watchdog = watchdog();
    let (ended, ends) = mpsc::channel();
    let ended = Mutex::new(ended);
    let pool = ThreadPool::builder()
        .threads(2)
        .idle_exit(Duration::from_millis(1))
        .on_exit(move |index| {
            let _ = ended.lock().unwrap().send(index);
        })
        .build()
        .unwrap();
    assert_eq!(pool.spawn(|| 1).wait().unwrap(), 1);
    ends.recv().unwrap();
    ends.recv().unwrap();
    assert_eq!(pool.spawn(|| 2).wait().unwrap(), 2);
    assert_eq!(pool.broadcast(|_| ()).len(), 2);
    assert!(pool.shutdown(Duration::from_secs(30)).is_clean());
}

#[test]
fn use_after_a_fork_without_exec_is_refused() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    // SAFETY: the child only asks the pool, which looks at an atomic, and exits.
    let child = unsafe { nix::unistd::fork() }.unwrap();
    match child {
        nix::unistd::ForkResult::Child => {
            let refused = matches!(pool.try_spawn(|| ()), Err(threeply_pools::Error::Forked));
            // SAFETY: ends the child at once, without the parent's handlers.
            unsafe { libc::_exit(i32::from(!refused)) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            let status = nix::sys::wait::waitpid(child, None).unwrap();
            assert_eq!(status, nix::sys::wait::WaitStatus::Exited(child, 0));
        }
    }
}

#[test]
fn nonsense_options_are_refused_with_advice() {
    for (builder, word) in [
        (ThreadPool::builder().threads(0), "at least one"),
        (ThreadPool::builder().threads(1_000_000), "limit"),
        (ThreadPool::builder().threads(1).stack_size(1), "too small"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}
