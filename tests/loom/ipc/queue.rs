//! Messages that are put and taken, and a producer that dies amid one:
//! `pools/src/ipc/queue.rs`.

use std::sync::Arc;

use loom::sync::atomic::{AtomicU8, Ordering::Relaxed};
use threeply_pools::ipc::Error;
use threeply_pools::ipc::kernel::Deadline;
use threeply_pools::ipc::queue::Positions;
use threeply_pools::process::ring::Bytes;
use threeply_pools::switch::{Weakening, weaken};

use super::world::{Member, World};
use crate::explore::explore;

/// A ring of two messages of one byte, and who dies while it writes to it.
struct Ring<'a> {
    bytes: &'a [AtomicU8; 10],
    dies: Option<&'a Member>,
}

impl Bytes for Ring<'_> {
    fn capacity(&self) -> usize {
        self.bytes.len()
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        if let Some(member) = self.dies {
            member.die();
        }
        for (place, byte) in (at..).zip(bytes) {
            self.bytes[place as usize % 10].store(*byte, Relaxed);
        }
    }

    fn get(&self, at: u64, bytes: &mut [u8]) {
        for (place, byte) in (at..).zip(bytes) {
            *byte = self.bytes[place as usize % 10].load(Relaxed);
        }
    }
}

/// One message fits at a time: each side waits for the other.
fn messages_arrive_once_and_in_order_model() {
    let world = World::new();
    let shared = Arc::new((Positions::new(1), <[AtomicU8; 10]>::default()));
    let (other, member) = (shared.clone(), world.party(1));
    let producer = loom::thread::spawn(move || {
        let (positions, bytes) = &*other;
        let ring = Ring { bytes, dies: None };
        for message in [7, 8] {
            positions
                .put(&member, &ring, &[message], Deadline::NEVER)
                .unwrap();
        }
        member.finish();
    });
    let (other, member) = (shared.clone(), world.party(2));
    let consumer = loom::thread::spawn(move || {
        let (positions, bytes) = &*other;
        let ring = Ring { bytes, dies: None };
        for message in [7, 8] {
            let got = positions.get(&member, &ring, Deadline::NEVER).unwrap();
            assert_eq!(got, [message], "not the next message");
        }
        member.finish();
    });
    world.settle(2);
    producer.join().unwrap();
    consumer.join().unwrap();
}

/// A producer dies while it copies a message in.
fn a_dead_producer_leaves_no_half_message_model() {
    let world = World::new();
    let shared = Arc::new((Positions::new(1), <[AtomicU8; 10]>::default()));
    let (other, member) = (shared.clone(), world.party(1));
    let producer = loom::thread::spawn(move || {
        let (positions, bytes) = &*other;
        let dies = Some(&member);
        let _ = positions.try_put(&member, &Ring { bytes, dies }, &[7]);
    });
    let member = world.party(2);
    let consumer = loom::thread::spawn(move || {
        let (positions, bytes) = &*shared;
        let got = positions.try_get(&member, &Ring { bytes, dies: None });
        member.finish();
        got
    });
    world.settle(2);
    let got = consumer.join().unwrap();
    assert!(
        matches!(got, Err(Error::WouldBlock)),
        "a message that nobody put"
    );
    producer.join().unwrap();
}

#[test]
fn messages_arrive_once_and_in_order() {
    explore(2, messages_arrive_once_and_in_order_model);
}

#[test]
#[should_panic(expected = "a sleeper was forgotten")]
fn messages_arrive_once_and_in_order_broken() {
    weaken(Weakening::SleepUncounted, || {
        explore(2, messages_arrive_once_and_in_order_model);
    });
}

#[test]
fn a_dead_producer_leaves_no_half_message() {
    explore(2, a_dead_producer_leaves_no_half_message_model);
}

#[test]
#[should_panic(expected = "a message that nobody put")]
fn a_dead_producer_leaves_no_half_message_broken() {
    weaken(Weakening::CommitBeforeCopy, || {
        explore(2, a_dead_producer_leaves_no_half_message_model);
    });
}
