//! What a job may use at most.

use crate::{builder, end, watchdog};
use std::time::Duration;
use threeply_pools::process::JobError;

#[test]
fn a_job_over_its_limit_is_killed_and_told_so() {
    let _dog = watchdog();
    let pool = builder()
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
    // Not the same limit: on a busy machine even this may take that long.
    let patient = pool.options().limit(Duration::from_secs(60));
    let quick = patient.submit(|n: u8| n, 5).unwrap();
    let outcome: Result<(), _> = slow.wait();
    assert!(
        matches!(outcome, Err(JobError::TimedOut { .. })),
        "{outcome:?}"
    );
    assert_eq!(quick.wait().unwrap(), 5);
    end(pool);
}
