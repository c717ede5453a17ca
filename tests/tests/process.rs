//! The process pool from outside: jobs, errors, deaths, shutdown.

use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use threeply_pools::process::{Cause, Error, JobError, ProcessPool};

/// Ends the process if a test takes too long: a hang must fail, not stall.
struct Watchdog(std::sync::Arc<AtomicBool>);

#[track_caller]
fn watchdog() -> Watchdog {
    let place = Location::caller();
    let done = std::sync::Arc::new(AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&done);
    std::thread::spawn(move || {
        let limit = Instant::now() + Duration::from_secs(60);
        while !seen.load(Ordering::Relaxed) {
            if Instant::now() > limit {
                eprintln!("the test at {place} hangs");
                std::process::abort();
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
    });
    Watchdog(done)
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn end(pool: ProcessPool) {
    let pids = pool.worker_pids();
    let report = pool.shutdown(Duration::from_secs(20));
    for pid in pids {
        assert!(
            !std::path::Path::new(&format!("/proc/{pid}")).exists(),
            "a zombie: {pid}, {report:?}"
        );
    }
}

#[test]
fn a_job_runs_in_another_process_and_returns_its_result() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    let job = pool
        .submit(|n: u64| (n * 2, std::process::id()), 21)
        .unwrap();
    let (value, pid) = job.wait().unwrap();
    assert_eq!(value, 42);
    assert_ne!(pid, std::process::id());
    assert_eq!(
        pool.call(|s: String| s.len(), "four".to_owned())
            .unwrap()
            .unwrap(),
        4
    );
    end(pool);
}

#[test]
fn many_jobs_from_many_threads_all_return() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    std::thread::scope(|scope| {
        for t in 0..4u64 {
            let pool = &pool;
            scope.spawn(move || {
                let jobs: Vec<_> = (0..2_000)
                    .map(|i| pool.submit(|n: u64| n + 1, t * 10_000 + i).unwrap())
                    .collect();
                for (i, job) in jobs.into_iter().enumerate() {
                    assert_eq!(job.wait().unwrap(), t * 10_000 + i as u64 + 1);
                }
            });
        }
    });
    end(pool);
}

#[test]
fn a_panic_reaches_its_own_job_with_message_and_place() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let bad = pool
        .submit(|n: u32| -> u32 { panic!("no {n}") }, 7)
        .unwrap();
    let good = pool.submit(|n: u32| n, 8).unwrap();
    let Err(JobError::Panicked(report)) = bad.wait() else {
        panic!("not a panic");
    };
    assert_eq!(report.message, "no 7");
    assert!(report.location.unwrap().contains("process.rs"));
    assert_eq!(good.wait().unwrap(), 8);
    end(pool);
}

#[test]
fn a_death_costs_exactly_the_job_that_ran() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    let jobs: Vec<_> = (0..200u32)
        .map(|i| {
            pool.submit(
                |i: u32| {
                    match i {
                        50 => std::process::exit(3),
                        100 => std::process::abort(),
                        150 => unsafe_kill_self(),
                        _ => {}
                    }
                    i
                },
                i,
            )
            .unwrap()
        })
        .collect();
    for (i, job) in (0u32..).zip(jobs) {
        match (i, job.wait()) {
            (50, Err(JobError::Died(death))) => assert_eq!(death.cause, Cause::Exited(3)),
            (100, Err(JobError::Died(death))) => {
                assert!(
                    matches!(death.cause, Cause::Signal { signal: 6, .. }),
                    "{death}"
                );
            }
            (150, Err(JobError::Died(death))) => {
                assert!(
                    matches!(death.cause, Cause::Signal { signal: 9, .. }),
                    "{death}"
                );
            }
            (i, Ok(value)) if ![50, 100, 150].contains(&i) => assert_eq!(value, i),
            (i, other) => panic!("{i}: {other:?}"),
        }
    }
    end(pool);
}

fn unsafe_kill_self() {
    let me = nix::unistd::Pid::this();
    nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn a_stack_overflow_is_reported_as_such() {
    let _dog = watchdog();
    let pool = ProcessPool::builder()
        .workers(1)
        .stack_size(1 << 20)
        .build()
        .unwrap();
    fn deep(n: u64) -> u64 {
        let filler = std::hint::black_box([n; 64]);
        if n == u64::MAX {
            0
        } else {
            deep(n + 1) + filler[(n % 64) as usize]
        }
    }
    let error = pool.submit(deep, 0).unwrap().wait().unwrap_err();
    assert_eq!(error.death().expect("died").cause, Cause::StackOverflow);
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    end(pool);
}

#[test]
fn large_arguments_and_results_cross() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    for len in [0usize, 10_000, 16_370, 100_000, 5_000_000] {
        let data: Vec<u32> = (0..len as u32 / 4).collect();
        let back = pool
            .submit(
                |mut data: Vec<u32>| {
                    data.reverse();
                    data
                },
                data.clone(),
            )
            .unwrap()
            .wait()
            .unwrap();
        assert!(back.iter().rev().eq(data.iter()), "{len}");
    }
    end(pool);
}

#[test]
fn a_job_over_its_limit_is_killed_and_told_so() {
    let _dog = watchdog();
    let pool = ProcessPool::builder()
        .workers(1)
        .job_limit(Duration::from_millis(50))
        .build()
        .unwrap();
    let slow = pool
        .submit(
            |_: ()| loop {
                std::hint::spin_loop()
            },
            (),
        )
        .unwrap();
    let quick = pool.submit(|n: u8| n, 5).unwrap();
    let outcome: Result<(), _> = slow.wait();
    assert!(
        matches!(outcome, Err(JobError::TimedOut { .. })),
        "{outcome:?}"
    );
    assert_eq!(quick.wait().unwrap(), 5);
    end(pool);
}

#[test]
fn errors_of_the_pool_say_what_to_do() {
    assert!(matches!(ProcessPool::new(0), Err(Error::NoWorkers)));
}
