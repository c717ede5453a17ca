//! `pools/src/thread/fork_stack.rs`, `latch.rs`, `leapfrog.rs`, and the deque below them.

use std::sync::Arc;

use loom::thread;
use threeply_pools::switch::{Owner, Steal, Weakening, weaken};
use threeply_pools::thread::fork_stack::{ForkStack, Retired};
use threeply_pools::thread::lane::Mailbox;
use threeply_pools::thread::latch::Latch;
use threeply_pools::thread::leapfrog::{Taken, hand_back, take_from_thief};
use threeply_pools::thread::parker::Parker;
use threeply_pools::thread::pile::steal_by;

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

/// A fork of what the waiter's own fork does, and one of what its thief does after that.
const DESCENDANT: usize = 8;
const FOREIGN: usize = 16;

fn hand_back_against_latch_model() {
    explore(3, || {
        let deque = Owner::<usize>::new_lifo();
        let victim = deque.stealer();
        // The thief runs the waiter's fork, on whose latch the waiter waits.
        let (forks, thief) = (ForkStack::new(deque), Arc::new(Thief::default()));
        let latch = Arc::new(Latch::new());
        let (peer, ended) = (thief.clone(), latch.clone());
        let waiter = thread::spawn(move || {
            let mut ran = Vec::new();
            for _ in 0..2 {
                match take_from_thief(&ended, || steal_by(|| victim.steal())) {
                    Taken::Nothing => {}
                    Taken::Foreign(fork) => hand_back(fork, &peer.returned, &peer.parker),
                    Taken::Descendant(fork) => {
                        assert_eq!(fork, DESCENDANT, "a waiter runs a fork that isn't its own");
                        ran.push(fork);
                        peer.descendant.set();
                        peer.parker.unpark();
                    }
                }
            }
            ran
        });
        let mut ran = Vec::new();
        let position = forks.push(DESCENDANT);
        forks.promote();
        match forks.retire(position) {
            Retired::Mine => ran.push(DESCENDANT),
            Retired::Stolen => thief.descendant.wait(&thief.parker),
        }
        latch.set();
        // From here on the thief does something else.
        let position = forks.push(FOREIGN);
        forks.promote();
        let mut taken = forks.retire(position) == Retired::Mine || thief.take_back();
        ran.extend(waiter.join().unwrap());
        if !taken {
            let woken = thief.parker.take_token();
            assert!(woken, "a fork was handed back and its owner sleeps");
            taken = thief.take_back();
        }
        assert!(taken, "a fork that was stolen in vain is nowhere");
        assert_eq!(ran, [DESCENDANT], "each fork is run once");
    });
}

#[derive(Default)]
struct Thief {
    parker: Parker,
    returned: Mailbox<usize>,
    descendant: Latch,
}

impl Thief {
    fn take_back(&self) -> bool {
        self.returned.take(|&fork| fork == FOREIGN).is_some()
    }
}

#[test]
fn hand_back_against_latch() {
    hand_back_against_latch_model();
}

#[test]
#[should_panic(expected = "a waiter runs a fork that isn't its own")]
fn hand_back_against_latch_looking_early_broken() {
    weaken(Weakening::LookBeforeSteal, hand_back_against_latch_model);
}

#[test]
#[should_panic(expected = "a fork was handed back and its owner sleeps")]
fn hand_back_against_latch_untold_broken() {
    weaken(Weakening::HandBackUntold, hand_back_against_latch_model);
}
