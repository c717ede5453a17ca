//! A lock in one word: `pools/src/ipc/lock.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use threeply_pools::ipc::kernel::Deadline;
use threeply_pools::ipc::lock::{Found, LockWord};
use threeply_pools::switch::{Weakening, weaken};

use super::world::{Member, World};
use crate::explore::explore;

#[derive(Default)]
struct Shared {
    lock: LockWord,
    value: AtomicU32,
    inside: AtomicU32,
}

impl Shared {
    /// Locks, adds one to the value in two steps, mends and unlocks.
    fn add(&self, member: &Member) -> Found {
        let found = self.lock.lock(member, Deadline::NEVER).unwrap();
        assert_eq!(self.inside.fetch_add(1, Relaxed), 0, "two own the lock");
        self.value.store(self.value.load(Relaxed) + 1, Relaxed);
        self.inside.fetch_sub(1, Relaxed);
        if found == Found::Broken {
            self.lock.mend();
        }
        self.lock.unlock(member);
        found
    }
}

/// Starts two parties that add one each.
fn two_add(world: &Arc<World>, shared: &Arc<Shared>) -> [Found; 2] {
    let parties = [1, 2].map(|seat| {
        let (shared, member) = (shared.clone(), world.party(seat));
        loom::thread::spawn(move || {
            let found = shared.add(&member);
            member.finish();
            found
        })
    });
    world.settle(2);
    parties.map(|party| party.join().unwrap())
}

/// Two parties lock and change a value.
fn what_one_did_the_next_sees_model() {
    let (world, shared) = (World::new(), Arc::new(Shared::default()));
    two_add(&world, &shared);
    assert_eq!(shared.value.load(Relaxed), 2, "a change was lost");
}

/// Two parties wait for a third to unlock.
fn no_sleeper_is_forgotten_model() {
    let world = World::new();
    let shared = Arc::new(Shared::default());
    let me = world.party(0);
    shared.lock.lock(&me, Deadline::NEVER).unwrap();
    let others = [1, 2].map(|seat| {
        let (shared, member) = (shared.clone(), world.party(seat));
        loom::thread::spawn(move || {
            shared.lock.lock(&member, Deadline::NEVER).unwrap();
            shared.lock.unlock(&member);
            member.finish();
        })
    });
    shared.lock.unlock(&me);
    world.settle(2);
    for other in others {
        other.join().unwrap();
    }
}

/// The owner is dead, and two parties want the lock. Pulses multiply the
/// interleavings, so one preemption must do.
fn a_dead_owner_has_one_heir_model() {
    let (world, shared) = (World::new(), Arc::new(Shared::default()));
    shared.lock.lock(&world.party(0), Deadline::NEVER).unwrap();
    world.bury(0);
    let found = two_add(&world, &shared);
    let heirs = found.iter().filter(|found| **found == Found::Broken);
    assert_eq!(heirs.count(), 1, "two own the lock, or nobody was told");
}

#[test]
fn what_one_did_the_next_sees() {
    explore(2, what_one_did_the_next_sees_model);
}

#[test]
#[should_panic(expected = "a change was lost")]
fn what_one_did_the_next_sees_broken() {
    weaken(Weakening::LockWithoutRelease, || {
        explore(2, what_one_did_the_next_sees_model);
    });
}

#[test]
fn no_sleeper_is_forgotten() {
    explore(2, no_sleeper_is_forgotten_model);
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn no_sleeper_is_forgotten_broken() {
    weaken(Weakening::LockForgetsSleepers, || {
        explore(2, no_sleeper_is_forgotten_model);
    });
}

#[test]
fn a_dead_owner_has_one_heir() {
    explore(1, a_dead_owner_has_one_heir_model);
}

#[test]
#[should_panic(expected = "two own the lock")]
fn a_dead_owner_has_one_heir_broken() {
    weaken(Weakening::InheritWithoutCas, || {
        explore(1, a_dead_owner_has_one_heir_model);
    });
}
