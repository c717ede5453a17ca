//! A ring of records: one thread writes, anybody reads, nobody ever waits.
//!
//! When it is full, the oldest record makes way: a recording may go on for
//! hours, and what is asked about is what happened last. How many were
//! overwritten is the difference of two counts.
//!
//! ```text
//!   head = h:   …  h-3  h-2  h-1 │ the place of h, which is that of h - capacity
//!                  written, whole│ perhaps half overwritten
//! ```
//! The writer publishes record *h* by `head = h + 1`, and only then touches the
//! place of the next. So a reader that finds `head = h` **after** it has copied
//! can trust every record it copied but number `h - capacity`, whose place the
//! writer may have been in (**T1**), and those before, which are gone (**T2**).
//!
//! Three orderings make it so, and `tests/loom/trace.rs` breaks each:
//! 1. `head` is stored with Release, and first loaded with Acquire: the words of
//!    a record that is announced are seen.
//! 2. The writer's Release fence between announcing record *h - 1* and writing
//!    *h*, with the reader's Acquire fence between copying and looking again: if
//!    the copy has a word of record *h*, the second look sees `head ≥ h`.
//!
//! On x86 both cost the writer nothing.
//!
//! Rejected: dropping the newest records of a full ring (a reader then needs no
//! second look, but a long recording ends with its beginning); locks, and rings
//! shared by threads (an atomic addition for each event).
//!
//! Read before: [`super::record`]. Next: [`super::board`].

use super::record::WORDS;
use crate::switch::atomic::{AtomicU64, Ordering, fence};
use crate::switch::{Weakening, weakened};

/// A ring, as its writer or a reader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'m> {
    /// How many records were ever written.
    head: &'m AtomicU64,
    /// A power of two of places.
    places: &'m [[AtomicU64; WORDS]],
}

/// What a reader found in a ring.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// The records' words, each with its number, oldest first.
    pub records: Vec<(u64, [u64; WORDS])>,
    /// How many of those asked for were overwritten.
    pub lost: u64,
}

impl<'m> Ring<'m> {
    /// A ring over memory that is used for nothing else.
    ///
    /// # Panics
    /// If the number of places isn't a power of two.
    #[must_use]
    pub fn new(head: &'m AtomicU64, places: &'m [[AtomicU64; WORDS]]) -> Ring<'m> {
        assert!(places.len().is_power_of_two());
        Ring { head, places }
    }

    /// How many records were ever written. For the writer.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    /// Which bits of a number say its place.
    #[inline(always)]
    fn mask(&self) -> usize {
        self.places.len().wrapping_sub(1)
    }

    /// Writes record number `number`. The one thread that may call this keeps
    /// count: it begins with [`written`](Self::written) and goes up by one. (If this
    /// looked it up, loom would miss interleavings: of accesses to `head` it
    /// remembers the last alone, which would be the writer's own.)
    #[inline(always)]
    pub fn push(&self, number: u64, words: [u64; WORDS]) {
        // There is one, since the number of places is a power of two: said so, it needs
        // no panic, and the writer no frame.
        let Some(place) = self.places.get(number as usize & self.mask()) else {
            return;
        };
        if !weakened(Weakening::TraceOverwritesUnannounced) {
            fence(Ordering::Release); // Ordering 2.
        }
        for (to, word) in place.iter().zip(words) {
            to.store(word, Ordering::Relaxed);
        }
        let publish = match weakened(Weakening::TraceAnnouncesEarly) {
            true => Ordering::Relaxed,
            false => Ordering::Release, // Ordering 1.
        };
        self.head.store(number + 1, publish);
    }

    /// Copies the records from number `from` on, while the writer may go on.
    #[must_use]
    pub fn read(&self, from: u64) -> Copied {
        let head = self.head.load(Ordering::Acquire); // Ordering 1.
        let capacity = self.places.len() as u64;
        let first = from.max(head.saturating_sub(capacity));
        let mut records: Vec<_> = (first..head)
            .map(|number| {
                let place = &self.places[number as usize & self.mask()];
                let word = |at: usize| place[at].load(Ordering::Relaxed);
                (number, [word(0), word(1), word(2), word(3)])
            })
            .collect();
        if !weakened(Weakening::TraceTrustsItsCopy) {
            fence(Ordering::Acquire); // Ordering 2.
            let head = self.head.load(Ordering::Relaxed);
            records.retain(|(number, _)| number + capacity > head); // T1, T2.
        }
        // A memory that another process has garbled may say anything.
        let lost = head.saturating_sub(from) - records.len() as u64;
        Copied { records, lost }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(copied: &Copied) -> Vec<u64> {
        copied.records.iter().map(|record| record.0).collect()
    }

    #[test]
    fn a_full_ring_keeps_the_newest_and_counts_the_rest() {
        let head = AtomicU64::new(0);
        let places: Vec<[AtomicU64; WORDS]> = (0..8).map(|_| Default::default()).collect();
        let ring = Ring::new(&head, &places);
        assert_eq!(ring.read(0), Copied::default());
        for number in 0..5 {
            ring.push(number, [number, 0, 0, 0]);
        }
        assert_eq!(numbers(&ring.read(0)), [0, 1, 2, 3, 4]);
        assert_eq!(numbers(&ring.read(3)), [3, 4]);
        for number in 5..20 {
            ring.push(number, [number, 0, 0, 0]);
        }
        // One place is given up: the writer might be in it.
        let copied = ring.read(0);
        assert_eq!(numbers(&copied), (13..20).collect::<Vec<_>>());
        assert_eq!(copied.lost, 13);
        assert!(
            copied
                .records
                .iter()
                .all(|(number, words)| words[0] == *number)
        );
    }
}
