//! Work that is waited for, done, or lost with whom took it: `pools/src/ipc/ledger.rs`.

use std::cell::Cell;
use std::sync::Arc;

use loom::sync::atomic::{AtomicU8, AtomicU32, Ordering::Relaxed};
use threeply_pools::ipc::Error;
use threeply_pools::ipc::kernel::{Deadline, Party, Slept};
use threeply_pools::ipc::ledger::{Books, End};
use threeply_pools::ipc::members::Token;
use threeply_pools::process::ring::Bytes;
use threeply_pools::switch::{self, Weakening, weaken};

use super::world::{Member, SEATS, World};
use crate::explore::explore;

/// A queue with room for one message of one byte.
struct Shared {
    books: Books<SEATS>,
    bytes: [AtomicU8; 5],
    worked: AtomicU32,
}

impl Shared {
    /// With one message in it.
    fn new(world: &Arc<World>) -> Arc<Shared> {
        let shared = Shared {
            books: Books::new(1),
            bytes: Default::default(),
            worked: AtomicU32::new(0),
        };
        let me = world.party(0);
        shared.books.try_put(&me, &Ring::of(&shared), &[7]).unwrap();
        Arc::new(shared)
    }
}

/// Its bytes, and whether they have been read.
struct Ring<'a> {
    bytes: &'a [AtomicU8; 5],
    read: Cell<bool>,
}

impl<'a> Ring<'a> {
    fn of(shared: &'a Shared) -> Ring<'a> {
        Ring {
            bytes: &shared.bytes,
            read: Cell::new(false),
        }
    }
}

impl Bytes for Ring<'_> {
    fn capacity(&self) -> usize {
        self.bytes.len()
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        for (place, byte) in (at..).zip(bytes) {
            self.bytes[place as usize % 5].store(*byte, Relaxed);
        }
    }

    fn get(&self, at: u64, bytes: &mut [u8]) {
        self.read.set(true);
        for (place, byte) in (at..).zip(bytes) {
            *byte = self.bytes[place as usize % 5].load(Relaxed);
        }
    }
}

/// A party that dies when it would write down that it holds what it has taken.
struct Mortal<'a> {
    member: &'a Member,
    ring: &'a Ring<'a>,
}

impl Party for Mortal<'_> {
    fn me(&self) -> Token {
        if self.ring.read.take() {
            self.member.die();
        }
        self.member.me()
    }
    fn sleep(&self, word: &switch::AtomicU32, expected: u32, deadline: Deadline) -> Slept {
        self.member.sleep(word, expected, deadline)
    }
    fn wake(&self, word: &switch::AtomicU32, count: u32) {
        self.member.wake(word, count);
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

/// What a consumer does with the message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It works on it, and says so.
    Done,
    /// It drops the receipt.
    Dropped,
    /// It dies holding it.
    Held,
    /// It dies between taking it and writing that down.
    Vanished,
}

/// One party takes the message, another joins.
fn join_hears_of_every_message_model(fate: Fate) {
    let world = World::new();
    let shared = Shared::new(&world);
    let (other, member) = (shared.clone(), world.party(1));
    let consumer = loom::thread::spawn(move || {
        let (books, ring) = (&other.books, Ring::of(&other));
        match fate {
            Fate::Vanished => {
                let mortal = Mortal {
                    member: &member,
                    ring: &ring,
                };
                let _ = books.try_get(&mortal, &ring);
                return;
            }
            _ => assert_eq!(books.try_get(&member, &ring).unwrap(), [7]),
        }
        let end = match fate {
            Fate::Held => return member.die(),
            Fate::Dropped => End::Lost,
            _ => {
                other.worked.store(1, Relaxed);
                End::Done
            }
        };
        assert!(books.finish(&member, &ring, end));
        member.finish();
    });
    let (other, member) = (shared.clone(), world.party(2));
    let joiner = loom::thread::spawn(move || {
        let ring = Ring::of(&other);
        let outcome = other.books.join(&member, &ring, Deadline::NEVER);
        member.finish();
        (outcome, other.worked.load(Relaxed))
    });
    world.settle(2);
    let (outcome, worked) = joiner.join().unwrap();
    if fate == Fate::Done {
        assert!(matches!(outcome, Ok(())), "{outcome:?}");
        assert_eq!(worked, 1, "joined before the work was done");
    } else {
        let told = matches!(outcome, Err(Error::Lost { messages: 1 }));
        assert!(told, "a loss that nobody is told of");
    }
    consumer.join().unwrap();
    let me = world.party(0);
    let ring = Ring::of(&shared);
    let again = shared.books.finish(&me, &ring, End::Done);
    assert!(!again, "it took nothing");
}

#[test]
fn join_waits_for_what_is_taken() {
    explore(2, || join_hears_of_every_message_model(Fate::Done));
    explore(1, || join_hears_of_every_message_model(Fate::Dropped));
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn join_waits_for_what_is_taken_broken() {
    weaken(Weakening::DoneUntold, || {
        explore(2, || join_hears_of_every_message_model(Fate::Done));
    });
}

#[test]
fn what_the_dead_held_is_lost() {
    explore(1, || join_hears_of_every_message_model(Fate::Held));
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn what_the_dead_held_is_lost_broken() {
    weaken(Weakening::DeadKeepMessages, || {
        explore(1, || join_hears_of_every_message_model(Fate::Held));
    });
}

#[test]
fn what_vanished_is_lost() {
    explore(1, || join_hears_of_every_message_model(Fate::Vanished));
}

#[test]
#[should_panic(expected = "a loss that nobody is told of")]
fn what_vanished_is_lost_broken() {
    weaken(Weakening::VanishUnseen, || {
        explore(1, || join_hears_of_every_message_model(Fate::Vanished));
    });
}
