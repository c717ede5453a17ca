//! A trace ring's writer against a reader: `runtime/src/trace/ring.rs`.

use loom::sync::Arc;

use threeply_runtime::switch::atomic::AtomicU64;
use threeply_runtime::switch::{Weakening, weaken};
use threeply_runtime::trace::ring::Ring;

use crate::explore::explore;

/// Two places, so that the third record overwrites the first.
struct Memory {
    head: AtomicU64,
    places: [[AtomicU64; 4]; 2],
}

impl Memory {
    fn new() -> Arc<Memory> {
        let place = || [(); 4].map(|()| AtomicU64::new(u64::MAX));
        Arc::new(Memory {
            head: AtomicU64::new(0),
            places: [place(), place()],
        })
    }

    fn ring(&self) -> Ring<'_> {
        Ring::new(&self.head, &self.places)
    }
}

/// Every record that a reader gets is the one that was written under its number.
fn read_against_write_model() {
    let memory = Memory::new();
    let writer = {
        let memory = memory.clone();
        loom::thread::spawn(move || {
            for number in 0..3 {
                memory.ring().push(number, [10 * number; 4]);
            }
        })
    };
    let copied = memory.ring().read(0);
    for (number, words) in &copied.records {
        assert_eq!(*words, [10 * number; 4], "a record is of two writes");
    }
    writer.join().unwrap();
}

#[test]
fn read_against_write() {
    explore(3, read_against_write_model);
}

#[test]
#[should_panic(expected = "a record is of two writes")]
fn read_against_write_unannounced_broken() {
    weaken(Weakening::TraceOverwritesUnannounced, || {
        explore(3, read_against_write_model)
    });
}

#[test]
#[should_panic(expected = "a record is of two writes")]
fn read_against_write_announced_early_broken() {
    weaken(Weakening::TraceAnnouncesEarly, || {
        explore(3, read_against_write_model)
    });
}

#[test]
#[should_panic(expected = "a record is of two writes")]
fn read_against_write_trusting_broken() {
    weaken(Weakening::TraceTrustsItsCopy, || {
        explore(3, read_against_write_model)
    });
}
