//! `pools/src/thread/sleep.rs`, the marks of `lanes.rs`, and `gate.rs`.
//!
//! Nobody parks here: a model ends by looking whether the sleeper was woken, so
//! that a lost wake-up is an assertion's failure and not a deadlock.

use std::ops::ControlFlow;
use std::sync::Arc;

use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use threeply_pools::switch::{Owner, Steal, Weakening, weaken};
use threeply_pools::thread::gate::Gate;
use threeply_pools::thread::lane::Lane;
use threeply_pools::thread::lanes::Lanes;
use threeply_pools::thread::parker::Parker;
use threeply_pools::thread::sleep::{Interest, Provide, Sleep, Work};

use crate::explore::explore;

fn one_lane() -> Lanes {
    let lanes = Lanes::new();
    lanes.add(|index| ((), Lane::new(index, true).shared), || ());
    lanes
}

fn is_marked(lanes: &Lanes) -> bool {
    let found = lanes.visit_marked(0, |_| ControlFlow::Break(()));
    found.is_some()
}

fn push_against_park_model() {
    explore(3, || {
        let sleep = Arc::new(Sleep::new(1, 0));
        assert!(sleep.take_permit());
        let parker = Arc::new(Parker::new());
        let jobs = Owner::<usize>::new_lifo();
        let lanes = Arc::new(one_lane());
        let (other, bed, thief) = (sleep.clone(), parker.clone(), jobs.stealer());
        let marks = lanes.clone();
        let worker = thread::spawn(move || {
            other.fall_asleep(0, Interest::Anything, &bed);
            let seen = is_marked(&marks) && !thief.is_empty();
            if seen {
                other.retract(0);
            }
            seen
        });
        jobs.push(1);
        lanes.mark(0);
        assert_eq!(sleep.notify(Work::Job), Provide::Done);
        let seen = worker.join().unwrap();
        assert!(seen || parker.take_token(), "a worker sleeps on a job");
    });
}

#[test]
fn push_against_park() {
    push_against_park_model();
}

#[test]
#[should_panic(expected = "a worker sleeps on a job")]
fn push_against_park_broken() {
    weaken(Weakening::SkipPushFence, push_against_park_model);
}

fn mark_against_unmark_model() {
    explore(3, || {
        let lanes = Arc::new(one_lane());
        lanes.mark(0); // by what was there before
        let handed_back = Arc::new(AtomicBool::new(false));
        let (marks, there) = (lanes.clone(), handed_back.clone());
        let owner = thread::spawn(move || {
            marks.found_empty(0, || there.load(Ordering::Relaxed));
        });
        handed_back.store(true, Ordering::Relaxed);
        lanes.mark(0);
        owner.join().unwrap();
        assert!(is_marked(&lanes), "a lane with a fork isn't marked");
    });
}

#[test]
fn mark_against_unmark() {
    mark_against_unmark_model();
}

#[test]
#[should_panic(expected = "a lane with a fork isn't marked")]
fn mark_against_unmark_broken() {
    weaken(Weakening::SkipMarkRecheck, mark_against_unmark_model);
}

fn two_sleepers_model() {
    explore(3, || {
        let sleep = Arc::new(Sleep::new(2, 0));
        let parkers = [Arc::new(Parker::new()), Arc::new(Parker::new())];
        for (lane, parker) in parkers.iter().enumerate() {
            assert!(sleep.take_permit());
            sleep.fall_asleep(lane, Interest::Anything, parker);
        }
        let jobs = Owner::<usize>::new_lifo();
        jobs.push(1);
        assert_eq!(sleep.notify(Work::Job), Provide::Done);
        assert!(parkers[1].take_token(), "the youngest sleeper is woken");

        let (other, thief) = (sleep.clone(), jobs.stealer());
        let woken = thread::spawn(move || {
            while !matches!(thief.steal(), Steal::Success(_)) {}
            if other.found_work() && !thief.is_empty() {
                assert_eq!(other.notify(Work::Job), Provide::Done);
            }
        });
        jobs.push(2);
        assert_eq!(sleep.notify(Work::Job), Provide::Done);
        woken.join().unwrap();
        assert!(
            parkers[0].take_token(),
            "a job waits beside a sleeper and nobody looks for it"
        );
    });
}

#[test]
fn two_sleepers_one_wake_up() {
    two_sleepers_model();
}

#[test]
#[should_panic(expected = "a job waits beside a sleeper and nobody looks for it")]
fn two_sleepers_one_wake_up_broken() {
    weaken(Weakening::SkipChain, two_sleepers_model);
}

fn blocking_against_push_model() {
    explore(3, || {
        let sleep = Arc::new(Sleep::new(1, 1));
        assert!(sleep.take_permit());
        let _ = sleep.found_work();
        let jobs = Owner::<usize>::new_lifo();
        let (other, thief) = (sleep.clone(), jobs.stealer());
        // It blocks until after the model's end.
        let worker = thread::spawn(move || other.block(|| !thief.is_empty()));
        jobs.push(1);
        let by_pusher = sleep.notify(Work::Job);
        let by_blocker = worker.join().unwrap();
        let lent = [by_pusher, by_blocker]
            .iter()
            .filter(|provide| **provide == Provide::StartThread)
            .count();
        assert_ne!(lent, 0, "a job waits while the permit is unused");
        assert_eq!(lent, 1, "the permit is lent twice");
        sleep.unblock();
        assert!(
            sleep.too_many(),
            "the permit was lent, so one thread steps back"
        );
    });
}

#[test]
fn blocking_against_push() {
    blocking_against_push_model();
}

#[test]
#[should_panic(expected = "a job waits while the permit is unused")]
fn blocking_against_push_broken() {
    weaken(Weakening::SkipLendRecheck, blocking_against_push_model);
}

fn shutdown_against_push_model() {
    explore(3, || {
        let sleep = Arc::new(Sleep::new(1, 0));
        let gate = Arc::new(Gate::new());
        let jobs = Owner::<usize>::new_lifo();
        let (other, thief) = (gate.clone(), jobs.stealer());
        let last = thread::spawn(move || {
            // The last idle worker: lets threads end, then looks once more.
            other.end();
            !thief.is_empty()
        });
        let taken_back = if gate.is_open() {
            jobs.push(1);
            let _ = sleep.notify(Work::Job);
            gate.ended_meanwhile()
        } else {
            true
        };
        let run = last.join().unwrap();
        assert!(
            run || taken_back,
            "a job is queued and all threads are gone"
        );
    });
}

#[test]
fn shutdown_against_push() {
    shutdown_against_push_model();
}

#[test]
#[should_panic(expected = "a job is queued and all threads are gone")]
fn shutdown_against_push_broken() {
    weaken(Weakening::SkipGateRecheck, shutdown_against_push_model);
}

fn push_against_retirement_model() {
    explore(3, || {
        let sleep = Arc::new(Sleep::new(1, 0));
        assert!(sleep.take_permit());
        let parker = Arc::new(Parker::new());
        let jobs = Owner::<usize>::new_lifo();
        // The only worker has been idle for as long as one may be.
        sleep.fall_asleep(0, Interest::Anything, &parker);
        let (other, bed, thief) = (sleep.clone(), parker.clone(), jobs.stealer());
        let worker = thread::spawn(move || {
            other.retract(0);
            let provide = other.retire(0, &bed, true, || !thief.is_empty());
            let provide = provide.expect("it gives its permit up");
            provide == Provide::StartThread || !other.leave(0)
        });
        jobs.push(1);
        let starts = sleep.notify(Work::Job) == Provide::StartThread;
        let stays = worker.join().unwrap();
        assert!(starts || stays, "the last worker has left beside a job");
        assert!(!(starts && stays), "two threads share one permit");
    });
}

#[test]
fn push_against_retirement() {
    push_against_retirement_model();
}

#[test]
#[should_panic(expected = "the last worker has left beside a job")]
fn push_against_retirement_broken() {
    weaken(Weakening::SkipRetireRecheck, push_against_retirement_model);
}
