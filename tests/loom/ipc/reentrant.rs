//! A lock that its owner takes again: `pools/src/ipc/reentrant.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU32, Ordering::Relaxed};
use threeply_pools::ipc::kernel::{Deadline, Party, Slept};
use threeply_pools::ipc::lock::Found;
use threeply_pools::ipc::members::Token;
use threeply_pools::ipc::reentrant::{Holder, Nested};
use threeply_pools::switch::{self, Weakening, weaken};

use super::world::{Member, World};
use crate::explore::explore;

/// A thread: to the model a party of its own, but perhaps of a process that has others.
struct Thread {
    member: Member,
    process: Token,
    number: u64,
}

impl Thread {
    /// The party of `seat`, as a thread of the process that has the seat `process`.
    fn new(world: &Arc<World>, seat: usize, process: usize) -> Thread {
        Thread {
            member: world.party(seat),
            process: world.party(process).me(),
            number: seat as u64,
        }
    }

    fn me(&self) -> Holder {
        Holder::new(self.process, self.number)
    }
}

impl Party for Thread {
    fn sleep(&self, word: &switch::AtomicU32, expected: u32, deadline: Deadline) -> Slept {
        self.member.sleep(word, expected, deadline)
    }
    fn wake(&self, word: &switch::AtomicU32, count: u32) {
        self.member.wake(word, count);
    }
    fn me(&self) -> Token {
        self.process
    }
    fn is_alive(&self, token: Token) -> bool {
        self.member.is_alive(token)
    }
    fn sweep(&self) -> u32 {
        self.member.sweep()
    }
    fn deaths(&self) -> u32 {
        self.member.deaths()
    }
    fn has_peers(&self) -> bool {
        self.member.has_peers()
    }
}

#[derive(Default)]
struct Shared {
    lock: Nested,
    value: AtomicU32,
    inside: AtomicU32,
}

impl Shared {
    /// Locks twice, adds one to the value in two steps, mends, unlocks twice.
    fn add(&self, thread: &Thread) -> Found {
        let found = self.lock(thread);
        assert_eq!(self.inside.fetch_add(1, Relaxed), 0, "two own the lock");
        assert_eq!(self.lock(thread), found, "not told again");
        self.value.store(self.value.load(Relaxed) + 1, Relaxed);
        if found == Found::Broken {
            self.lock.mend();
        }
        self.lock.unlock(thread);
        self.inside.fetch_sub(1, Relaxed);
        self.lock.unlock(thread);
        found
    }

    fn lock(&self, thread: &Thread) -> Found {
        let me = Thread::me(thread);
        self.lock.lock(thread, me, Deadline::NEVER).unwrap()
    }
}

/// Starts two threads, of the processes named, which add as often as it says.
fn two_add(world: &Arc<World>, shared: &Arc<Shared>, processes: [(usize, u32); 2]) -> [Found; 2] {
    let mut seats = 1..;
    let threads = processes.map(|(process, times)| {
        let thread = Thread::new(world, seats.next().unwrap(), process);
        let shared = shared.clone();
        loom::thread::spawn(move || {
            let found = shared.add(&thread);
            for _ in 1..times {
                shared.add(&thread);
            }
            thread.member.finish();
            found
        })
    });
    world.settle(2);
    threads.map(|thread| thread.join().unwrap())
}

/// Two threads of one process, or of two.
fn one_thread_holds_it_model(processes: [usize; 2]) {
    let (world, shared) = (World::new(), Arc::new(Shared::default()));
    two_add(&world, &shared, processes.map(|process| (process, 1)));
    assert_eq!(shared.value.load(Relaxed), 2, "a change was lost");
}

/// One thread comes twice, another once.
fn who_left_isnt_inside_model() {
    let (world, shared) = (World::new(), Arc::new(Shared::default()));
    two_add(&world, &shared, [(1, 2), (2, 1)]);
    assert_eq!(shared.value.load(Relaxed), 3, "a change was lost");
}

/// The owner is dead, two deep, and two others want the lock.
fn a_dead_owners_depth_dies_with_it_model() {
    let (world, shared) = (World::new(), Arc::new(Shared::default()));
    let dead = Thread::new(&world, 0, 0);
    shared.lock(&dead);
    shared.lock(&dead);
    world.bury(0);
    let found = two_add(&world, &shared, [(1, 1), (2, 1)]);
    let heirs = found.iter().filter(|found| **found == Found::Broken);
    assert_eq!(heirs.count(), 1, "not one heir");
}

#[test]
fn one_thread_holds_it() {
    explore(2, || one_thread_holds_it_model([1, 1]));
    explore(2, || one_thread_holds_it_model([1, 2]));
}

#[test]
#[should_panic(expected = "a change was lost")]
fn one_thread_holds_it_broken() {
    weaken(Weakening::NestAnyThread, || {
        explore(2, || one_thread_holds_it_model([1, 1]));
    });
}

#[test]
fn who_left_isnt_inside() {
    explore(1, who_left_isnt_inside_model);
}

#[test]
#[should_panic(expected = "a change was lost")]
fn who_left_isnt_inside_broken() {
    weaken(Weakening::KeepName, || {
        explore(1, who_left_isnt_inside_model)
    });
}

#[test]
fn a_dead_owners_depth_dies_with_it() {
    explore(1, a_dead_owners_depth_dies_with_it_model);
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn a_dead_owners_depth_dies_with_it_broken() {
    weaken(Weakening::KeepDepth, || {
        explore(1, a_dead_owners_depth_dies_with_it_model);
    });
}
