//! `pools/src/thread/fork_stack.rs`, `latch.rs`, and the deque below them.

use std::sync::Arc;

use loom::thread;
use threeply_pools::switch::{Owner, Steal, Weakening, weaken};
use threeply_pools::thread::fork_stack::{ForkStack, Retired};
use threeply_pools::thread::latch::Latch;
use threeply_pools::thread::parker::Parker;

use crate::explore::explore;

fn steal_all(thief: &threeply_pools::switch::Thief<usize>, tries: usize) -> Vec<usize> {
    let mut stolen = Vec::new();
    for _ in 0..tries {
        if let Steal::Success(fork) = thief.steal() {
            stolen.push(fork);
        }
    }
    stolen
}

fn promotion_against_steal_model() {
    explore(3, || {
        let deque = Owner::<usize>::new_lifo();
        let thief = deque.stealer();
        let forks = ForkStack::new(deque);
        let thief = thread::spawn(move || steal_all(&thief, 2));
        let older = forks.push(0);
        let younger = forks.push(1);
        forks.promote();
        forks.promote();
        let mut mine = Vec::new();
        if forks.retire(younger) == Retired::Mine {
            mine.push(1);
        }
        if forks.retire(older) == Retired::Mine {
            mine.push(0);
        }
        mine.extend(thief.join().unwrap());
        mine.sort_unstable();
        assert_eq!(mine, [0, 1], "each fork is run once, by owner or thief");
    });
}

#[test]
fn promotion_against_steal() {
    promotion_against_steal_model();
}

#[test]
#[should_panic(expected = "each fork is run once, by owner or thief")]
fn promotion_against_steal_broken() {
    weaken(Weakening::TrustPromotedFork, promotion_against_steal_model);
}

fn steal_against_last_pop_model() {
    explore(3, || {
        let deque = Owner::<usize>::new_lifo();
        let thief = deque.stealer();
        deque.push(7);
        let thief = thread::spawn(move || steal_all(&thief, 1).len());
        let popped = usize::from(deque.pop().is_some());
        let stolen = thief.join().unwrap();
        assert_eq!(popped + stolen, 1, "the last element has one taker");
    });
}

#[test]
fn steal_against_last_pop() {
    steal_against_last_pop_model();
}

#[test]
#[should_panic(expected = "the last element has one taker")]
fn steal_against_last_pop_broken() {
    weaken(Weakening::SkipLastRace, steal_against_last_pop_model);
}

fn latch_against_wait_model() {
    explore(3, || {
        let shared = Arc::new((Latch::new(), Parker::new()));
        let (thief, bell) = (shared.clone(), shared.clone());
        let thief = thread::spawn(move || {
            thief.0.set();
            thief.1.unpark();
        });
        // Somebody else's wake-up, which means nothing to this wait.
        let bell = thread::spawn(move || bell.1.unpark());
        shared.0.wait(&shared.1);
        assert!(
            shared.0.is_set(),
            "the waiter left before the latch was set"
        );
        thief.join().unwrap();
        bell.join().unwrap();
    });
}

#[test]
fn latch_against_wait() {
    latch_against_wait_model();
}

#[test]
#[should_panic(expected = "the waiter left before the latch was set")]
fn latch_against_wait_broken() {
    weaken(Weakening::SkipLatchRecheck, latch_against_wait_model);
}
