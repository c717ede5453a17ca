//! Permits that are waited for, given back, or left by the dead:
//! `pools/src/ipc/semaphore.rs`.

use std::sync::Arc;

use threeply_pools::ipc::kernel::Deadline;
use threeply_pools::ipc::semaphore::Permits;
use threeply_pools::switch::{Weakening, weaken};

use super::world::{SEATS, World};
use crate::explore::explore;

/// One party has the permit, another waits for it. The first gives it back, or
/// dies with it.
fn a_permit_returns_model(dies: bool) {
    let world = World::new();
    let permits = Arc::new(Permits::<SEATS>::default());
    let me = world.party(0);
    permits.grow(&me, 1).unwrap();
    assert!(permits.try_acquire(&world.party(1), 1));
    let (other, member) = (permits.clone(), world.party(2));
    let waits = loom::thread::spawn(move || {
        other.acquire(&member, 1, Deadline::NEVER).unwrap();
        member.finish();
    });
    let (other, member) = (permits.clone(), world.party(1));
    let holds = loom::thread::spawn(move || {
        if dies {
            member.die();
        } else {
            other.release(&member, 1, false);
            member.finish();
        }
    });
    world.settle(2);
    waits.join().unwrap();
    holds.join().unwrap();
    assert_eq!(permits.available(&me), 0, "a permit came back twice");
}

#[test]
fn a_permit_returns() {
    explore(2, || a_permit_returns_model(false));
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn a_permit_returns_broken() {
    weaken(Weakening::ReleaseUntold, || {
        explore(2, || a_permit_returns_model(false));
    });
}

#[test]
fn a_dead_partys_permit_returns() {
    explore(2, || a_permit_returns_model(true));
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn a_dead_partys_permit_returns_broken() {
    weaken(Weakening::DeadKeepPermits, || {
        explore(2, || a_permit_returns_model(true));
    });
}

/// One party has died with the only permit, and two others want it.
fn a_dead_partys_permit_returns_once_model() {
    let world = World::new();
    let permits = Arc::new(Permits::<SEATS>::default());
    permits.grow(&world.party(0), 1).unwrap();
    assert!(permits.try_acquire(&world.party(1), 1));
    world.bury(1);
    let others = [0, 2].map(|seat| {
        let (permits, member) = (permits.clone(), world.party(seat));
        loom::thread::spawn(move || permits.try_acquire(&member, 1))
    });
    let got = others.map(|other| other.join().unwrap());
    assert!(got != [true; 2], "a permit came back twice");
    assert!(got != [false; 2], "a permit didn't come back");
}

#[test]
fn a_dead_partys_permit_returns_once() {
    explore(2, a_dead_partys_permit_returns_once_model);
}

#[test]
#[should_panic(expected = "a permit came back twice")]
fn a_dead_partys_permit_returns_once_broken() {
    weaken(Weakening::DeadHoldOn, || {
        explore(2, a_dead_partys_permit_returns_once_model);
    });
}
