//! The supervisor on the event loop of the caller.

use crate::{builder, watchdog};
use std::time::Duration;
use threeply_pools::process::{Error, JobError};

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
