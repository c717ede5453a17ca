//! One word that is set and slept on: `pools/src/ipc/event.rs`.

use std::sync::Arc;

use threeply_pools::ipc::event::Flag;
use threeply_pools::ipc::kernel::Deadline;
use threeply_pools::switch::{Weakening, weaken};

use super::world::World;
use crate::explore::explore;

/// Two parties wait, the third sets the event.
fn whoever_waits_goes_on_model() {
    let world = World::new();
    let flag = Arc::new(Flag::default());
    let others = [1, 2].map(|seat| {
        let (flag, member) = (flag.clone(), world.party(seat));
        loom::thread::spawn(move || {
            flag.wait(&member, Deadline::NEVER).unwrap();
            member.finish();
        })
    });
    flag.set(&world.party(0));
    world.settle(2);
    for other in others {
        other.join().unwrap();
    }
}

#[test]
fn whoever_waits_goes_on() {
    explore(2, whoever_waits_goes_on_model);
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn whoever_waits_goes_on_broken() {
    weaken(Weakening::WakeBeforeSet, || {
        explore(2, whoever_waits_goes_on_model);
    });
}
