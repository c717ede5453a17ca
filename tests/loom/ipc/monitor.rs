//! Waiting for a change behind a door: `pools/src/ipc/monitor.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use threeply_pools::ipc::kernel::Deadline;
use threeply_pools::ipc::monitor::{Monitor, News};
use threeply_pools::switch::{Weakening, weaken};

use super::world::World;
use crate::explore::explore;

#[derive(Default)]
struct Shared {
    monitor: Monitor,
    news: News,
    ready: AtomicU32,
}

/// One party waits for a change, another makes it.
fn no_change_is_overlooked_model() {
    let world = World::new();
    let shared = Arc::new(Shared::default());
    let (other, member) = (shared.clone(), world.party(1));
    let other = loom::thread::spawn(move || {
        let waited = other.monitor.wait_until(
            &member,
            &other.news,
            Deadline::NEVER,
            || {},
            |_| {},
            |_| (other.ready.load(Relaxed) != 0).then_some(()),
        );
        waited.unwrap();
        member.finish();
    });
    let me = world.party(0);
    let mut door = shared.monitor.enter(&me, || {});
    shared.ready.store(1, Relaxed);
    door.tell(&shared.news, 1);
    drop(door);
    world.settle(1);
    other.join().unwrap();
}

#[test]
fn no_change_is_overlooked() {
    explore(2, no_change_is_overlooked_model);
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn no_change_is_overlooked_broken() {
    weaken(Weakening::SleepUncounted, || {
        explore(2, no_change_is_overlooked_model);
    });
}
