//! A job that needs a worker while the supervisor plans its next look, and a change that
//! comes while it only reads replies: `pools/src/process/state/mod.rs` (`will_look`,
//! `look_by`, `is_calm`). Here it is the pool itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use threeply_pools::process::Output;
use threeply_pools::process::builder::Options;
use threeply_pools::process::shared::Shared;
use threeply_pools::switch::{Weakening, weaken};

use super::shutdown::job;
use crate::explore::explore;

/// A pool that has no worker as long as it has no job.
fn pool_without_workers() -> Arc<Shared> {
    let mut options = Options::default();
    options.workers = 1;
    options.idle_exit = Some(Duration::from_secs(1));
    options.stderr = Output::inherit();
    Shared::new(options).unwrap()
}

/// The pool's last worker never came up. The supervisor looks around, woken by its timer,
/// and meanwhile a job comes.
fn a_job_is_planned_for_model() {
    let pool = pool_without_workers();
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

/// The supervisor has been rung by a worker and reads its replies (of which there are
/// none), while somebody else changes what there is to do.
fn a_change_is_looked_at_model(change: fn(&Shared)) {
    let pool = pool_without_workers();
    let now = Instant::now();
    let planned = now + Duration::from_secs(60);
    let mut state = pool.lock();
    let staff = state.changes_of_staff();
    state.will_look(planned, now);
    drop(state);
    pool.ring_supervisor();
    let is_rung = |pool: &Shared| pool.supervisor_bell.drain().is_ok_and(|rings| rings > 0);
    // `Watched::read_replies`: until it would sleep, or has found that it must look.
    let reads = move |pool: &Shared| loop {
        if !is_rung(pool) {
            return false;
        }
        if !pool.lock().is_calm(planned, staff) {
            return true;
        }
    };
    let supervisor = pool.clone();
    let supervisor = loom::thread::spawn(move || reads(&supervisor));
    change(&pool);
    let looks = supervisor.join().unwrap() || reads(&pool);
    assert!(looks, "there is something to do, and nobody looks");
}

fn close(pool: &Shared) {
    pool.drain(None);
}

fn submit(pool: &Shared) {
    pool.accept(job().1, true, false).unwrap();
}

#[test]
fn a_change_is_looked_at() {
    explore(3, || a_change_is_looked_at_model(close));
    explore(3, || a_change_is_looked_at_model(submit));
}

#[test]
#[should_panic(expected = "there is something to do, and nobody looks")]
fn a_change_is_looked_at_broken() {
    weaken(Weakening::LookUnasked, || {
        explore(3, || a_change_is_looked_at_model(close));
    });
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
