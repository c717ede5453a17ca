//! Parties that wait for each other: `pools/src/ipc/barrier.rs`.

use std::sync::Arc;

use threeply_pools::ipc::Error;
use threeply_pools::ipc::barrier::{Arrival, Gate};
use threeply_pools::ipc::kernel::Deadline;
use threeply_pools::switch::{Weakening, weaken};

use super::world::World;
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
