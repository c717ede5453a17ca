//! A job that needs a worker while the supervisor plans its next look:
//! `pools/src/process/state/mod.rs` (`will_look`, `look_by`). Here it is the pool itself.

use std::time::{Duration, Instant};

use threeply_pools::process::Output;
use threeply_pools::process::builder::Options;
use threeply_pools::process::shared::Shared;
use threeply_pools::switch::{Weakening, weaken};

use super::shutdown::job;
use crate::explore::explore;

/// The pool's last worker never came up. The supervisor looks around, woken by its timer,
/// and meanwhile a job comes.
fn a_job_is_planned_for_model() {
    let mut options = Options::default();
    options.workers = 1;
    options.idle_exit = Some(Duration::from_secs(1));
    options.stderr = Output::inherit();
    let pool = Shared::new(options).unwrap();
    let now = Instant::now();
    let retry_at = now + Duration::from_secs(60);
    let mut state = pool.lock();
    state.retry_at = Some(retry_at);
    state.will_look(now, now); // which is past by now
    drop(state);
    let supervisor = pool.clone();
    let supervisor = loom::thread::spawn(move || supervisor.look_around(now).unwrap());
    let (_cell, job) = job();
    pool.accept(job, true, false).unwrap();
    let looks_at = supervisor.join().unwrap();
    let rung = pool.supervisor_bell.drain().is_ok_and(|rings| rings > 0);
    assert!(
        rung || looks_at <= retry_at,
        "a job waits for a worker whose start nobody plans"
    );
}

#[test]
fn a_job_is_planned_for() {
    explore(3, a_job_is_planned_for_model);
}

#[test]
#[should_panic(expected = "a job waits for a worker whose start nobody plans")]
fn a_job_is_planned_for_broken() {
    weaken(Weakening::PlanWithoutLook, || {
        explore(3, a_job_is_planned_for_model);
    });
}
