//! Seats that change hands: `pools/src/ipc/members.rs`.

use std::sync::Arc;

use threeply_pools::ipc::identity::Identity;
use threeply_pools::ipc::members::Table;
use threeply_pools::switch::{Weakening, weaken};

use crate::explore::explore;

const DEAD: Identity = Identity::from_bits(7);

/// Two processes want the one seat, which a dead one has.
fn a_seat_has_one_owner_model() {
    let table = Arc::new(Table::<1>::default());
    table.attach(DEAD, |_| true).unwrap();
    let take = |table: &Table<1>, who| table.attach(Identity::from_bits(who), |who| who != DEAD);
    let other = table.clone();
    let other = loom::thread::spawn(move || take(&other, 1).is_some());
    let mine = take(&table, 2).is_some();
    let others = other.join().unwrap();
    assert!(!(mine && others), "two processes have one seat");
}

/// One process sweeps the dead one's seat, another finds it free.
fn no_death_is_missed_model() {
    let table = Arc::new(Table::<1>::default());
    table.attach(DEAD, |_| true).unwrap();
    let sweeper = table.clone();
    let sweeper = loom::thread::spawn(move || {
        sweeper.sweep(|who| who != DEAD);
    });
    if table.attach(Identity::from_bits(1), |_| true).is_some() {
        assert!(table.deaths() > 0, "a death was missed");
    }
    sweeper.join().unwrap();
}

#[test]
fn a_seat_has_one_owner() {
    explore(3, a_seat_has_one_owner_model);
}

#[test]
#[should_panic(expected = "two processes have one seat")]
fn a_seat_has_one_owner_broken() {
    weaken(Weakening::SeatWithoutCas, || {
        explore(3, a_seat_has_one_owner_model);
    });
}

#[test]
fn no_death_is_missed() {
    explore(3, no_death_is_missed_model);
}

#[test]
#[should_panic(expected = "a death was missed")]
fn no_death_is_missed_broken() {
    weaken(Weakening::SweepBeforeCounting, || {
        explore(3, no_death_is_missed_model);
    });
}
