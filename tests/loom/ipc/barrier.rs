//! Parties that wait for each other: `pools/src/ipc/barrier.rs`.

use std::sync::Arc;

use threeply_pools::ipc::Error;
use threeply_pools::ipc::barrier::Gate;
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
