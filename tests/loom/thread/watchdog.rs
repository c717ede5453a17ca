//! The hand-shake of `pools/src/thread/watchdog.rs` with `activity.rs`.
//!
//! As in `sleep.rs` nobody parks: a model ends by looking whether the watchdog was
//! woken.

use std::sync::Arc;

use loom::thread;
use threeply_pools::switch::{Weakening, weaken};
use threeply_pools::thread::Work;
use threeply_pools::thread::lane::Lane;
use threeply_pools::thread::lanes::Lanes;
use threeply_pools::thread::parker::Parker;
use threeply_pools::thread::watchdog::nothing_runs;

use crate::explore::explore;

fn doze_against_begin_model() {
    explore(3, || {
        let lanes = Arc::new(Lanes::new());
        for _ in 0..2 {
            lanes.add(|index| ((), Lane::new(index, true).shared), || ());
        }
        // One thread begins something that outlasts the model, the other one doesn't.
        let long = lanes.clone();
        let long = thread::spawn(move || {
            std::mem::forget(long.get(1).activity.begin(Work::Fork));
        });
        let short = lanes.clone();
        let short = thread::spawn(move || drop(short.get(0).activity.begin(Work::Fork)));
        let parker = Arc::new(Parker::new());
        let dozes = nothing_runs(&lanes, &parker);
        long.join().unwrap();
        short.join().unwrap();
        assert!(
            !dozes || parker.take_token(),
            "the watchdog sleeps while something runs"
        );
    });
}

#[test]
fn doze_against_begin() {
    doze_against_begin_model();
}

#[test]
#[should_panic(expected = "the watchdog sleeps while something runs")]
fn doze_against_begin_broken() {
    weaken(Weakening::CallUnderNextLock, doze_against_begin_model);
}

fn doze_against_new_lane_model() {
    explore(3, || {
        let (lanes, parker) = (Arc::new(Lanes::new()), Arc::new(Parker::new()));
        let (table, watchdog) = (lanes.clone(), parker.clone());
        let starts = thread::spawn(move || {
            table.add(
                |index| ((), Lane::new(index, true).shared),
                || watchdog.unpark(),
            );
            // Outlasts the model.
            std::mem::forget(table.get(0).activity.begin(Work::Fork));
        });
        let mut dozes = nothing_runs(&lanes, &parker);
        if dozes && parker.take_token() {
            dozes = nothing_runs(&lanes, &parker);
        }
        starts.join().unwrap();
        assert!(
            !dozes || parker.take_token(),
            "the watchdog doesn't know of a lane in which something runs"
        );
    });
}

#[test]
fn doze_against_new_lane() {
    doze_against_new_lane_model();
}

#[test]
#[should_panic(expected = "the watchdog doesn't know of a lane in which something runs")]
fn doze_against_new_lane_broken() {
    weaken(Weakening::TellBeforeAdding, doze_against_new_lane_model);
}
