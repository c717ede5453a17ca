//! The life of a pool: initializer, recycling, shutdown.

use crate::{builder, end, new_pool, watchdog};
use std::sync::atomic::Ordering;
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
    static STATE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
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
    for _ in 0..5 {
        let pool = std::sync::Arc::new(std::sync::Mutex::new(Some(new_pool(2))));
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let pool = std::sync::Arc::clone(&pool);
                std::thread::spawn(move || {
                    let mut served = 0;
                    loop {
                        let job = match &*pool.lock().unwrap() {
                            Some(pool) => pool.submit(|n: u32| n, 1),
                            None => return served,
                        };
                        match job {
                            Ok(job) => match job.wait() {
                                Ok(_) => served += 1,
                                Err(JobError::ShutDown) => return served,
                                Err(other) => panic!("{other}"),
                            },
                            Err(Error::ShutDown) => return served,
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        while pool
            .lock()
            .unwrap()
            .as_ref()
            .unwrap()
            .call(|n: u8| n, 1)
            .is_err()
        {}
        let taken = pool.lock().unwrap().take().unwrap();
        end(taken);
        for submitter in submitters {
            submitter.join().unwrap();
        }
    }
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
