//! The supervisor on the event loop of the caller.

use crate::{builder, kill, watchdog};
use futures::FutureExt;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use threeply_pools::ipc::Barrier;
use threeply_pools::process::{Error, JobError, JobPlace, ProcessPool, as_completed};
use threeply_runtime::time::sleep;

#[test]
fn jobs_are_awaited_on_the_loop_that_hosts_the_supervisor() {
    let _dog = watchdog();
    threeply_runtime::block_on(async {
        let pool = builder().workers(2).build_on_loop().unwrap();
        let jobs: Vec<_> = (0..500u32)
            .map(|n| pool.submit(|n: u32| n + 1, n).unwrap())
            .collect();
        for (n, job) in (1..).zip(jobs) {
            assert_eq!(job.await.unwrap(), n);
        }
        let died = pool.submit(|_: ()| std::process::abort(), ()).unwrap();
        let _: &threeply_pools::process::JobHandle<()> = &died;
        assert!(died.await.unwrap_err().death().is_some());
        assert_eq!(
            pool.submit_async(|n: u8| n, 4)
                .await
                .unwrap()
                .await
                .unwrap(),
            4
        );
        let report = pool.shutdown_async(Duration::from_secs(20)).await;
        assert_eq!((report.completed, report.failed), (501, 1));
    });
}

/// Round trips that give the supervisor nothing to do but to read replies.
async fn awaited(pool: &ProcessPool) {
    for n in 0..20u32 {
        let job = pool.submit(|n: u32| n + 1, n).unwrap();
        assert_eq!(job.await.unwrap(), n + 1);
    }
}

#[test]
fn a_reply_that_is_there_is_read_by_the_task_that_asks() {
    let _dog = watchdog();
    threeply_runtime::block_on(async {
        let pool = builder().workers(1).build_on_loop().unwrap();
        awaited(&pool).await;
        let mut job = pool.submit(|n: u32| n + 1, 5).unwrap();
        // The supervisor can't run meanwhile: it is a task of this loop.
        let answered = || matches!(pool.dump().jobs[0].place, JobPlace::Answered { .. });
        while !answered() {
            std::hint::spin_loop();
        }
        let first = job.poll_unpin(&mut Context::from_waker(Waker::noop()));
        let there = matches!(first, Poll::Ready(Ok(6)));
        assert!(there, "it takes a turn of the loop");
    });
}

#[test]
fn a_supervisor_that_reads_replies_notices_all_else() {
    let _dog = watchdog();
    threeply_runtime::block_on(async {
        let pool = builder()
            .workers(1)
            .jobs_per_worker(70)
            .build_on_loop()
            .unwrap();
        awaited(&pool).await;
        kill(pool.worker_pids()[0]);
        awaited(&pool).await; // by another worker
        let strict = pool.options().limit(Duration::from_millis(10));
        let late = strict.submit(|_: ()| std::thread::park(), ()).unwrap();
        assert!(matches!(late.await, Err(JobError::TimedOut { .. })));
        awaited(&pool).await;
        pool.resize(3).unwrap();
        // Two at a time, which meet only in two workers.
        let meet = Barrier::new(2).unwrap();
        let pairs = |meet: Barrier| meet.wait().map(drop).map_err(|e| e.to_string());
        let jobs = [(); 2].map(|()| pool.submit(pairs, meet.clone()).unwrap());
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        pool.resize(1).unwrap();
        for _ in 0..5 {
            awaited(&pool).await; // Wears a worker out.
        }
        let report = pool.shutdown_async(Duration::from_secs(20)).await;
        assert_eq!((report.failed, report.workers_died), (1, 2), "{report:?}");
    });
}

#[test]
fn an_idle_pool_does_not_run() {
    let _dog = watchdog();
    threeply_runtime::block_on(async {
        let pool = builder().workers(2).build_on_loop().unwrap();
        awaited(&pool).await;
        let runs = || -> u64 {
            let workers = pool.worker_pids().into_iter().map(switches).sum::<u64>();
            workers + threeply_runtime::stats().unwrap().turns
        };
        // On a busy machine it takes a while until both workers are up and sleep.
        for _ in 0..20 {
            let before = runs();
            sleep(Duration::from_millis(200)).await;
            if runs() - before <= 3 {
                return; // Our own sleep is a turn or two.
            }
        }
        panic!("an idle pool wakes up again and again");
    });
}

/// How often the threads of a process have been taken off a processor.
fn switches(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("status")));
    let counts = statuses.flat_map(|status| {
        let status = status.unwrap_or_default();
        let counts = status.lines().filter_map(|line| {
            let (_, count) = line.split_once("ctxt_switches:")?;
            Some(count.trim().parse::<u64>().unwrap())
        });
        counts.collect::<Vec<_>>()
    });
    counts.sum()
}

#[test]
fn a_pool_ends_with_the_loop_that_hosts_it() {
    let _dog = watchdog();
    let (pool, job) = threeply_runtime::block_on(async {
        let pool = builder().workers(1).build_on_loop().unwrap();
        let job = pool
            .submit(
                |_: ()| loop {
                    std::thread::park()
                },
                (),
            )
            .unwrap();
        threeply_runtime::yield_now().await;
        (pool, job)
    });
    let outcome: Result<(), _> = job.wait();
    assert!(matches!(outcome, Err(JobError::ShutDown)), "{outcome:?}");
    assert!(matches!(pool.submit(|n: u8| n, 1), Err(Error::ShutDown)));
    assert!(pool.worker_pids().is_empty());
}

/// What a panic says.
fn panic_of(what: impl FnOnce()) -> String {
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what));
    *panicked.unwrap_err().downcast::<String>().unwrap()
}

#[test]
fn whatever_would_wait_for_the_loop_that_it_blocks_says_so_instead() {
    let _dog = watchdog();
    threeply_runtime::block_on(async {
        let pool = builder().workers(1).queue_jobs(8).build_on_loop().unwrap();
        let nap = |ms: u64| std::thread::sleep(Duration::from_millis(ms));
        let advised = |what: &dyn Fn(), advice: &str| {
            let said = panic_of(what);
            assert!(said.contains("would block the event loop"), "{said}");
            assert!(said.contains(advice), "{said}");
        };
        advised(&|| drop(pool.map(nap, [1]).next()), "submit_async(..)");
        advised(
            &|| drop(pool.map_unordered(nap, [1]).next()),
            "submit_async(..)",
        );
        let job = || pool.submit(nap, 1).unwrap();
        advised(&|| drop(as_completed([job()]).next()), ".await");
        advised(&|| drop(job().wait()), ".await");
        advised(&|| drop(job().wait_timeout(Duration::ZERO)), "timeout");
        advised(&|| drop(pool.call(nap, 1)), ".await");
        let fill = || while pool.try_submit(nap, 1).is_ok() {};
        advised(
            &|| {
                fill();
                drop(pool.submit(nap, 1));
            },
            "submit_async(..)",
        );
        let report = pool.shutdown_async(Duration::from_secs(20)).await;
        assert_eq!(report.failed, 0, "{report:?}");
        let pool = builder().workers(1).build_on_loop().unwrap();
        let said = panic_of(|| {
            pool.shutdown(Duration::MAX);
        });
        assert!(said.contains("shutdown_async(..)"), "{said}");
    });
}
