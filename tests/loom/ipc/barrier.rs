//! Parties that wait for each other: `pools/src/ipc/barrier.rs`.

use std::cell::Cell;
use std::sync::Arc;

use threeply_pools::ipc::Error;
use threeply_pools::ipc::barrier::{Arrival, Gate};
use threeply_pools::ipc::kernel::{Deadline, Party, Slept};
use threeply_pools::ipc::members::Token;
use threeply_pools::switch::{AtomicU32, Weakening, weaken};

use super::world::{Member, World};
use crate::explore::explore;

/// Two parties meet.
fn all_go_on_and_one_leads_model() {
    let world = World::new();
    let gate = Arc::new(Gate::new(2));
    let parties = [1, 2].map(|seat| {
        let (gate, member) = (gate.clone(), world.party(seat));
        loom::thread::spawn(move || {
            let leads = gate.wait(&member, Deadline::NEVER).unwrap();
            member.finish();
            leads
        })
    });
    world.settle(2);
    let leaders = parties.map(|party| party.join().unwrap());
    assert!(leaders[0] != leaders[1], "not one leader");
}

/// One party waits, the other dies instead of coming.
fn a_death_breaks_it_model() {
    let world = World::new();
    let gate = Arc::new(Gate::new(2));
    let (waiting, member) = (gate.clone(), world.party(1));
    let waits = loom::thread::spawn(move || {
        let outcome = waiting.wait(&member, Deadline::NEVER);
        member.finish();
        outcome
    });
    let member = world.party(2);
    let dies = loom::thread::spawn(move || member.die());
    world.settle(2);
    assert!(matches!(waits.join().unwrap(), Err(Error::Broken)));
    dies.join().unwrap();
}

/// One party comes, and dies while it waits; the other comes meanwhile or after that.
fn a_dead_party_isnt_counted_model() {
    let world = World::new();
    let gate = Arc::new(Gate::new(2));
    let (early, member) = (gate.clone(), world.party(1));
    let dies = loom::thread::spawn(move || {
        let arrival = early.come(&member);
        member.die();
        arrival
    });
    let (late, member, seen) = (gate.clone(), world.party(2), world.clone());
    let comes = loom::thread::spawn(move || {
        let after_death = seen.is_dead(1);
        let outcome = late.wait(&member, Deadline::NEVER);
        member.finish();
        (after_death, outcome)
    });
    world.settle(2);
    let waited = dies.join().unwrap() != Arrival::Last;
    let (after_death, outcome) = comes.join().unwrap();
    if after_death {
        let told = matches!(outcome, Err(Error::Broken));
        assert!(told, "a dead party was counted");
    } else if !waited {
        assert!(matches!(outcome, Ok(false)), "all had come");
    }
}

/// Where a party dies that comes last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Behind the door, before it has opened the barrier.
    Inside,
    /// Past the door: the barrier is open, and nobody has been woken.
    Past,
}

/// A party that goes no further than there.
struct Mortal {
    member: Member,
    place: Place,
    died: Cell<bool>,
}

impl Mortal {
    fn die(&self) {
        if !self.died.replace(true) {
            self.member.die();
        }
    }
}

impl Party for Mortal {
    fn sweep(&self) -> u32 {
        if self.place == Place::Inside {
            self.die();
        }
        self.member.sweep()
    }
    fn wake(&self, word: &AtomicU32, count: u32) {
        if self.place == Place::Past {
            self.die();
        }
        self.member.wake(word, count);
    }
    fn sleep(&self, word: &AtomicU32, expected: u32, deadline: Deadline) -> Slept {
        self.member.sleep(word, expected, deadline)
    }
    fn me(&self) -> Token {
        self.member.me()
    }
    fn is_alive(&self, token: Token) -> bool {
        self.member.is_alive(token)
    }
    fn deaths(&self) -> u32 {
        self.member.deaths()
    }
    fn has_peers(&self) -> bool {
        self.member.has_peers()
    }
}

/// One party has come; the other comes last, and dies behind the door, or just past it.
fn a_death_at_the_door_model(place: Place) {
    let world = World::new();
    let gate = Arc::new(Gate::new(2));
    let (waiting, member) = (gate.clone(), world.party(1));
    let Arrival::Waits(round) = gate.come(&member) else {
        panic!("it is the first");
    };
    let waits = loom::thread::spawn(move || {
        let outcome = waiting.stay(&member, round, Deadline::NEVER);
        member.finish();
        outcome
    });
    let (door, member) = (gate.clone(), world.party(2));
    let dies = loom::thread::spawn(move || {
        let died = Cell::new(false);
        let party = Mortal {
            member,
            place,
            died,
        };
        door.come(&party);
        if !party.died.get() {
            party.member.finish(); // Nobody had to be woken.
        }
    });
    world.settle(2);
    dies.join().unwrap();
    let outcome = waits.join().unwrap();
    match place {
        Place::Inside => {
            let told = matches!(outcome, Err(Error::Broken));
            assert!(told, "not all had come");
        }
        Place::Past => assert!(matches!(outcome, Ok(())), "all had come"),
    }
}

#[test]
fn a_death_at_the_door() {
    // A death is a switch that nobody forces; with two more it takes minutes.
    explore(1, || a_death_at_the_door_model(Place::Inside));
    explore(1, || a_death_at_the_door_model(Place::Past));
}

#[test]
#[should_panic(expected = "all had come")]
fn a_death_at_the_door_broken() {
    weaken(Weakening::BrokenBeforeRound, || {
        explore(2, || a_death_at_the_door_model(Place::Past));
    });
}

#[test]
fn a_dead_party_isnt_counted() {
    explore(2, a_dead_party_isnt_counted_model);
}

#[test]
#[should_panic(expected = "a dead party was counted")]
fn a_dead_party_isnt_counted_broken() {
    weaken(Weakening::CountTheDead, || {
        explore(2, a_dead_party_isnt_counted_model);
    });
}

#[test]
fn all_go_on_and_one_leads() {
    explore(2, all_go_on_and_one_leads_model);
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn all_go_on_and_one_leads_broken() {
    weaken(Weakening::OpenUntold, || {
        explore(2, all_go_on_and_one_leads_model);
    });
}

#[test]
fn a_death_breaks_it() {
    explore(2, a_death_breaks_it_model);
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn a_death_breaks_it_broken() {
    weaken(Weakening::DeathUnseen, || {
        explore(2, a_death_breaks_it_model);
    });
}
