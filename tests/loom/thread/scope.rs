//! `pools/src/thread/outstanding.rs`, and the sleep at the end of a scope.
//!
//! As in `sleep.rs` nobody parks: a model ends by looking whether the owner was
//! woken.

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use threeply_pools::switch::{Owner, Weakening, weaken};
use threeply_pools::thread::outstanding::Outstanding;
use threeply_pools::thread::parker::Parker;
use threeply_pools::thread::sleep::{Interest, Provide, Sleep, Work};

use crate::explore::explore;

struct Frame {
    outstanding: Outstanding,
    parker: Parker,
    /// What each job did; Relaxed, so that only the count makes it visible.
    results: [AtomicUsize; 2],
}

/// Runs job `which`, which the owner's thread began, on another thread.
fn end_elsewhere(frame: &Frame, which: usize) {
    frame.results[which].store(1, Ordering::Relaxed);
    if frame.outstanding.end_elsewhere() {
        frame.parker.unpark();
    }
}

fn end_of_scope_model() {
    explore(3, || {
        let frame = Arc::new(Frame {
            outstanding: Outstanding::new(),
            parker: Parker::new(),
            results: [AtomicUsize::new(0), AtomicUsize::new(0)],
        });
        // Both begun by the owner's thread, both stolen.
        let thieves = [0, 1].map(|which| {
            frame.outstanding.begin_here();
            let frame = frame.clone();
            move || end_elsewhere(&frame, which)
        });
        let thieves = thieves.map(thread::spawn);
        let mut ended = frame.outstanding.all_ended();
        if !ended {
            frame.outstanding.publish();
            ended = frame.outstanding.all_ended();
        }
        if ended {
            for result in &frame.results {
                let result = result.load(Ordering::Relaxed);
                assert_eq!(result, 1, "a scope has ended, and not what a job did");
            }
        }
        for thief in thieves {
            thief.join().unwrap();
        }
        assert!(
            ended || frame.parker.take_token(),
            "all jobs have ended and their scope's owner sleeps"
        );
        assert!(frame.outstanding.all_ended());
    });
}

#[test]
fn end_of_scope() {
    end_of_scope_model();
}

#[test]
#[should_panic(expected = "all jobs have ended and their scope's owner sleeps")]
fn end_of_scope_broken() {
    weaken(Weakening::SkipPublish, end_of_scope_model);
}

#[test]
#[should_panic(expected = "a scope has ended, and not what a job did")]
fn end_of_scope_unpublished_results_broken() {
    weaken(Weakening::EndWithoutRelease, end_of_scope_model);
}

fn job_against_sleep_at_the_end_model() {
    const TAG: usize = 64;
    explore(3, || {
        let sleep = Arc::new(Sleep::new(2, 0));
        // The owner's thread, and the one that runs a job of the scope.
        assert!(sleep.take_permit() && sleep.take_permit());
        let _ = sleep.found_work();
        let parker = Arc::new(Parker::new());
        let jobs = Owner::<usize>::new_lifo();
        let (other, bed, thief) = (sleep.clone(), parker.clone(), jobs.stealer());
        let owner = thread::spawn(move || {
            other.fall_asleep(0, Interest::Scope(TAG), &bed);
            let seen = !thief.is_empty();
            if seen {
                other.retract(0);
            }
            seen
        });
        jobs.push(1);
        // A searcher counts too, but may take something else first.
        assert_eq!(sleep.notify(Work::ScopeJob(TAG)), Provide::Done);
        let seen = owner.join().unwrap();
        assert!(
            seen || parker.take_token(),
            "a scope's owner sleeps beside a job of its scope"
        );
    });
}

#[test]
fn job_against_sleep_at_the_end() {
    job_against_sleep_at_the_end_model();
}

#[test]
#[should_panic(expected = "a scope's owner sleeps beside a job of its scope")]
fn job_against_sleep_at_the_end_broken() {
    weaken(Weakening::SkipPushFence, job_against_sleep_at_the_end_model);
}
