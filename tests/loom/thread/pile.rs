//! `pools/src/thread/attic.rs` and `pile.rs`: a deque of one job, and rooms of two.

use std::sync::Arc;

use loom::thread;
use threeply_pools::switch::{Weakening, weaken};
use threeply_pools::thread::attic::AtticOwner;
use threeply_pools::thread::parker::Parker;
use threeply_pools::thread::pile::Pile;
use threeply_pools::thread::sleep::{Interest, Provide, Sleep, Work};

use crate::explore::explore;

fn pop_against_theft_model() {
    explore(3, || {
        let attic = AtticOwner::<usize>::new(2);
        (0..3).for_each(|job| attic.push(job));
        let other = attic.shared().clone();
        let thief = thread::spawn(move || {
            let mut stolen = other.steal(2, || None);
            stolen.extend(other.steal(2, || None));
            assert!(stolen.is_sorted(), "thieves take the oldest");
            stolen
        });
        // Down into the lower room, to what the thief wants; up again, into a room that
        // is used a second time.
        let mut taken: Vec<_> = (0..2).map_while(|_| attic.pop()).collect();
        attic.push(3);
        attic.push(4);
        taken.extend(thief.join().unwrap());
        assert_eq!(
            taken.len() + attic.shared().len(),
            5,
            "each job is taken once"
        );
        taken.extend(std::iter::from_fn(|| attic.pop()));
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3, 4], "each job is taken once");
    });
}

#[test]
fn pop_against_theft() {
    pop_against_theft_model();
}

#[test]
#[should_panic(expected = "each job is taken once")]
fn pop_against_theft_broken() {
    weaken(Weakening::KeepAtticClaim, pop_against_theft_model);
}

fn climb_against_theft_model() {
    explore(3, || {
        let (pile, victim) = Pile::<usize>::new(1, 2);
        pile.push(0);
        pile.push(1);
        let victim = Arc::new(victim);
        let other = victim.clone();
        let thief = thread::spawn(move || {
            let stolen: Vec<_> = (0..2).map_while(|_| other.steal()).collect();
            assert!(stolen.is_sorted(), "thieves take the oldest");
            stolen
        });
        // Downstairs, if the thief was fast, and up again.
        let mut taken: Vec<_> = (0..2).map_while(|_| pile.pop()).collect();
        pile.push(2);
        pile.push(3);
        taken.extend(thief.join().unwrap());
        let left = 4 - taken.len();
        assert_eq!(victim.len(), left, "a job lies where no thief looks");
        assert_eq!(victim.is_empty(), left == 0);
        taken.extend(std::iter::from_fn(|| pile.pop()));
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3], "each job is taken once");
    });
}

#[test]
fn climb_against_theft() {
    climb_against_theft_model();
}

#[test]
#[should_panic(expected = "a job lies where no thief looks")]
fn climb_against_theft_broken() {
    weaken(Weakening::KeepAtticClaim, climb_against_theft_model);
}

fn push_onto_pile_against_park_model() {
    explore(3, || {
        let sleep = Arc::new(Sleep::new(1, 0));
        assert!(sleep.take_permit());
        let parker = Arc::new(Parker::new());
        let (pile, thief) = Pile::<usize>::new(1, 2);
        pile.push(1);
        let (other, bed) = (sleep.clone(), parker.clone());
        let worker = thread::spawn(move || {
            let stolen = thief.steal();
            assert!(stolen.is_some(), "it was there before");
            other.fall_asleep(0, Interest::Anything, &bed);
            let seen = !thief.is_empty();
            if seen {
                other.retract(0);
            }
            seen
        });
        pile.push(2); // upstairs, if the deque is still full
        assert_eq!(sleep.notify(Work::Job), Provide::Done);
        let seen = worker.join().unwrap();
        assert!(seen || parker.take_token(), "a worker sleeps on a job");
    });
}

#[test]
fn push_onto_pile_against_park() {
    push_onto_pile_against_park_model();
}

#[test]
#[should_panic(expected = "a worker sleeps on a job")]
fn push_onto_pile_against_park_broken() {
    weaken(Weakening::SkipPushFence, push_onto_pile_against_park_model);
}
