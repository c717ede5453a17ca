//! A ring of bytes: `pools/src/process/ring.rs`.

use std::sync::Arc;

use threeply_pools::process::ring::{Bytes, Counters, Reader, Writer};
use threeply_pools::switch::{Weakening, weaken};
use threeply_runtime::switch::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use crate::explore::explore;

/// Bytes that may be seen stale if nothing orders them, instead of a data race,
/// so that it is the model's own assertion which fails.
struct Shared {
    bytes: Vec<AtomicU8>,
    head: AtomicU64,
    tail: AtomicU64,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared {
            bytes: (0..4).map(|_| AtomicU8::new(0)).collect(),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
        })
    }

    fn counters(&self) -> Counters<'_> {
        Counters {
            head: &self.head,
            tail: &self.tail,
        }
    }
}

impl Bytes for &Shared {
    fn capacity(&self) -> usize {
        4
    }
    fn put(&self, at: u64, bytes: &[u8]) {
        for (place, byte) in (at..).zip(bytes) {
            self.bytes[place as usize % 4].store(*byte, Relaxed);
        }
    }
    fn get(&self, at: u64, bytes: &mut [u8]) {
        for (place, byte) in (at..).zip(bytes) {
            *byte = self.bytes[place as usize % 4].load(Relaxed);
        }
    }
}

/// Three messages of two bytes through a ring of four, so that the last overwrites
/// the first.
fn bytes_are_published_whole_model() {
    let shared = Shared::new();
    let writing = shared.clone();
    let writer = loom::thread::spawn(move || {
        let mut writer = Writer::new(&*writing);
        let mut sent = 0;
        for message in 1..=3u8 {
            let parts: [&[u8]; 2] = [&[message], &[message]];
            if !writer.write(&writing.counters(), &parts).unwrap() {
                break;
            }
            sent = message;
        }
        sent
    });
    let mut reader = Reader::new(&*shared);
    let mut next = 1;
    let mut read_all = || {
        let available = reader.available(&shared.counters()).unwrap();
        for _ in 0..available / 2 {
            let mut message = [0; 2];
            reader.peek(0, &mut message);
            assert_eq!(
                message, [next; 2],
                "bytes were seen before they were published"
            );
            reader.advance(&shared.counters(), 2);
            next += 1;
        }
    };
    read_all();
    read_all();
    let sent = writer.join().unwrap();
    read_all();
    assert_eq!(next, sent + 1, "a published message was not there");
}

#[test]
fn bytes_are_published_whole() {
    explore(3, bytes_are_published_whole_model);
}

#[test]
#[should_panic(expected = "bytes were seen before they were published")]
fn bytes_are_published_whole_broken() {
    weaken(Weakening::RingWithoutRelease, || {
        explore(3, bytes_are_published_whole_model);
    });
}
