//! The life of a pool: initializer, recycling, shutdown.

use crate::{builder, end, gate, hold, kill, new_pool, until, watchdog};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use threeply_pools::process::{Error, JobError};

#[test]
fn an_initializer_that_fails_is_told_to_every_job_and_nothing_hangs() {
    let _dog = watchdog();
    fn fails(reason: String) {
        panic!("{reason}")
    }
    let pool = builder()
        .workers(2)
        .initializer(fails, "no data".to_owned())
        .build()
        .unwrap();
    match pool.submit(|n: u8| n, 1) {
        Ok(job) => match job.wait() {
            Err(JobError::WorkerStart(failure)) => assert!(failure.to_string().contains("no data")),
            other => panic!("{other:?}"),
        },
        Err(Error::Broken(failure)) => assert!(failure.to_string().contains("no data")),
        Err(other) => panic!("{other}"),
    }
    end(pool);
}

#[test]
fn an_initializer_runs_before_any_job() {
    let _dog = watchdog();
    static STATE: AtomicU32 = AtomicU32::new(0);
    fn initialize(value: u32) {
        STATE.store(value, Ordering::Relaxed);
    }
    let pool = builder()
        .workers(2)
        .initializer(initialize, 7)
        .build()
        .unwrap();
    for value in pool.map(|_: u32| STATE.load(Ordering::Relaxed), 0..100) {
        assert_eq!(value.unwrap(), 7);
    }
    end(pool);
}

#[test]
fn recycled_workers_lose_no_job() {
    let _dog = watchdog();
    let pool = builder().workers(2).jobs_per_worker(10).build().unwrap();
    let mut pids = std::collections::HashSet::new();
    for (i, outcome) in pool
        .map(|n: u32| (n, std::process::id()), 0..300)
        .chunk(1)
        .enumerate()
    {
        let (value, pid) = outcome.unwrap();
        assert_eq!(value, i as u32);
        pids.insert(pid);
    }
    assert!(pids.len() >= 15, "{} workers", pids.len());
    end(pool);
}

#[test]
fn submitting_during_shutdown_is_refused_or_served_never_lost() {
    let _dog = watchdog();
    for round in 0..6 {
        // Few places, so that some of them wait for one when it begins.
        let pool = builder().workers(2).queue_jobs(1).build().unwrap();
        pool.call(|n: u8| n, 1).unwrap().unwrap();
        let begun = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let submitters: Vec<_> = (0..4)
                .map(|which| {
                    let (pool, begun) = (&pool, &begun);
                    scope.spawn(move || {
                        let mut served = 0u64;
                        loop {
                            let job = match which % 2 {
                                0 => pool.submit(|n: u32| n, 1),
                                _ => pollster::block_on(pool.submit_async(|n: u32| n, 1)),
                            };
                            begun.fetch_add(1, Ordering::Relaxed);
                            match job.map(|job| job.wait()) {
                                Ok(Ok(_)) => served += 1,
                                Ok(Err(JobError::ShutDown)) if round % 2 == 1 => {}
                                Err(Error::ShutDown) => return served,
                                other => panic!("{other:?}"),
                            }
                        }
                    })
                })
                .collect();
            until(|| begun.load(Ordering::Relaxed) > 100);
            // With patience, everything that got in is run.
            let patience = Duration::from_secs(20 * (1 - round % 2));
            let report = pool.shutdown(patience);
            let served: u64 = submitters.into_iter().map(|s| s.join().unwrap()).sum();
            assert_eq!(report.completed, served + 1, "{report:?}");
            assert!(round % 2 == 1 || report.failed == 0, "{report:?}");
        });
        assert!(matches!(pool.submit(|n: u8| n, 1), Err(Error::ShutDown)));
        let again = pool.shutdown(Duration::ZERO);
        assert_eq!(again.abandoned, 0);
        end(pool);
    }
}

#[test]
fn those_who_wait_for_room_are_sent_away_by_a_shutdown() {
    let _dog = watchdog();
    let pool = builder().workers(1).queue_jobs(1).build().unwrap();
    let (file, path) = gate();
    let held = pool.submit(hold, path).unwrap();
    let queued = pool.submit(|n: u32| n, 2).unwrap();
    std::thread::scope(|scope| {
        let (tell, task) = std::sync::mpsc::channel();
        let pool = &pool;
        let blocked = scope.spawn(move || {
            tell.send(nix::unistd::gettid()).unwrap();
            pool.submit(|n: u32| n, 3).map(drop)
        });
        let awaits = scope.spawn(|| pollster::block_on(pool.submit_async(|n: u32| n, 4)).map(drop));
        let status = format!("/proc/self/task/{}/stat", task.recv().unwrap());
        until(|| std::fs::read_to_string(&status).unwrap().contains(") S "));
        let shutdown = scope.spawn(|| pool.shutdown(Duration::from_secs(20)));
        assert!(matches!(blocked.join().unwrap(), Err(Error::ShutDown)));
        assert!(matches!(awaits.join().unwrap(), Err(Error::ShutDown)));
        drop(file);
        assert_eq!(shutdown.join().unwrap().completed, 2);
    });
    held.wait().unwrap();
    assert_eq!(queued.wait().unwrap(), 2);
}

#[test]
fn an_initializer_s_argument_may_be_large() {
    let _dog = watchdog();
    static WORDS: std::sync::OnceLock<Vec<String>> = std::sync::OnceLock::new();
    let words: Vec<_> = (0..100_000).map(|n| n.to_string()).collect();
    let pool = builder()
        .workers(2)
        .initializer(|words| WORDS.set(words).unwrap(), words)
        .build()
        .unwrap();
    for round in 0..3 {
        let look = |n: usize| (WORDS.get().unwrap()[n].clone(), WORDS.get().unwrap().len());
        let seen = pool.call(look, 77_777).unwrap().unwrap();
        assert_eq!(seen, ("77777".to_owned(), 100_000), "round {round}");
        pool.worker_pids().into_iter().for_each(kill); // Later ones get it, too.
    }
    end(pool);
    fn fails(words: Vec<String>) {
        panic!("{} are too many", words.len());
    }
    let words = vec!["word".to_owned(); 10_000];
    let pool = builder()
        .workers(1)
        .initializer(fails, words)
        .build()
        .unwrap();
    let told = match pool.submit(|n: u8| n, 1) {
        Ok(job) => job.wait().unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(told.contains("10000 are too many"), "{told}");
    end(pool);
}

#[test]
fn shutdown_gives_up_jobs_that_outlast_its_patience() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let endless: threeply_pools::process::JobHandle<()> = pool
        .submit(
            |_: ()| loop {
                std::thread::park()
            },
            (),
        )
        .unwrap();
    let queued = pool.submit(|n: u8| n, 1).unwrap();
    let report = pool.shutdown(Duration::from_millis(50));
    assert_eq!(report.abandoned, 2);
    assert!(matches!(endless.wait(), Err(JobError::ShutDown)));
    assert!(matches!(queued.wait(), Err(JobError::ShutDown)));
}

#[test]
fn a_pool_may_be_dropped_in_a_callback_and_its_jobs_still_run() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let job = pool.submit(|n: u8| n, 1).unwrap();
    let last = pool.submit(|n: u8| n, 2).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    job.on_done(move || {
        drop(pool);
        done.send(()).unwrap();
    });
    is_done.recv().unwrap();
    assert_eq!(last.wait().unwrap(), 2);
}
