//! Waiting for a mutex's value: `pools/src/ipc/condvar.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use threeply_pools::ipc::condvar::Turn;
use threeply_pools::ipc::kernel::Deadline;
use threeply_pools::ipc::lock::LockWord;
use threeply_pools::switch::{Weakening, weaken};

use super::world::World;
use crate::explore::explore;

#[derive(Default)]
struct Shared {
    lock: LockWord,
    turn: Turn,
    ready: AtomicU32,
}

/// One party waits for the value to change, another changes it and notifies.
fn no_notification_is_missed_model() {
    let world = World::new();
    let shared = Arc::new(Shared::default());
    let (other, member) = (shared.clone(), world.party(1));
    let other = loom::thread::spawn(move || {
        other.lock.lock(&member, Deadline::NEVER).unwrap();
        while other.ready.load(Relaxed) == 0 {
            let (_, outcome) = other.turn.wait(
                &member,
                Deadline::NEVER,
                || other.lock.unlock(&member),
                || other.lock.lock(&member, Deadline::NEVER).unwrap(),
            );
            outcome.unwrap();
        }
        other.lock.unlock(&member);
        member.finish();
    });
    let me = world.party(0);
    shared.lock.lock(&me, Deadline::NEVER).unwrap();
    shared.ready.store(1, Relaxed);
    shared.lock.unlock(&me);
    shared.turn.notify(&me, 1);
    world.settle(1);
    other.join().unwrap();
}

#[test]
fn no_notification_is_missed() {
    explore(2, no_notification_is_missed_model);
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn no_notification_is_missed_broken() {
    weaken(Weakening::LookAfterUnlock, || {
        explore(2, no_notification_is_missed_model);
    });
}
