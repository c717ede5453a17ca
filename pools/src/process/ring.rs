//! A one-way pipe in shared memory: one process writes bytes, the other reads.
//!
//! Two counters that only grow say what was written (`tail`) and what was read
//! (`head`); their difference is what is in it, and a byte's place is its count
//! modulo the capacity. A pipe of the kernel costs a syscall a message; this
//! costs two copies of a few bytes and one Release store, and what was published
//! is safe from the writer's death, as in a pipe. A writer that dies amid a frame has
//! not stored `tail` yet, which it does once for all parts of it: the half-written
//! bytes count as free, and nobody ever reads half a frame.
//!
//! ```text
//!            head              tail            head + capacity
//!   ── read ──┼── published ────┼── free ─────────┤
//!             reader moves it   writer moves it
//! ```
//!
//! Invariants:
//! 1. Only the writer stores `tail`, only the reader stores `head`.
//! 2. `head <= tail <= head + capacity`. The other side is **not believed** to
//!    keep this: each side checks what it loads, and a violation is
//!    [`Corrupt`], never an access out of bounds.
//! 3. The writer touches only free bytes, the reader only published ones:
//!    `tail`'s Release store (pairs with the reader's Acquire load) makes the
//!    bytes visible before they count as published, `head`'s Release store
//!    (pairs with the writer's Acquire load) ends the reading before they count
//!    as free.
//!
//! The ring says nothing about sleeping: that is [`super::bell`]'s.
//!
//! Read before this: [`super::frame`]. Read after it: [`super::bell`].

use crate::switch::{AtomicU64, Ordering, Weakening, weakened};
use std::fmt;

/// Bytes that two processes share, addressed by a running count.
///
/// The ring hands out only places that invariant 3 gives to the caller.
pub trait Bytes {
    /// Length in bytes; a power of two.
    fn capacity(&self) -> usize;
    /// Copies `bytes` to the places from `at` on, modulo the capacity.
    fn put(&self, at: u64, bytes: &[u8]);
    /// Copies the places from `at` on, modulo the capacity, to `bytes`.
    fn get(&self, at: u64, bytes: &mut [u8]);
}

/// The other side has stored a counter that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the counters of a shared ring contradict each other")
    }
}

impl std::error::Error for Corrupt {}

/// The two counters, which live in shared memory, each on a line of its own.
#[derive(Debug)]
pub struct Counters<'a> {
    /// Bytes read so far; stored by the reader.
    pub head: &'a AtomicU64,
    /// Bytes published so far; stored by the writer.
    pub tail: &'a AtomicU64,
}

/// The writing side. One value at a time may exist for a ring.
#[derive(Debug)]
pub struct Writer<B> {
    bytes: B,
    tail: u64,
}

impl<B: Bytes> Writer<B> {
    /// Begins to write to a ring that is empty and new.
    pub fn new(bytes: B) -> Writer<B> {
        Writer { bytes, tail: 0 }
    }

    /// Whether a message of `len` bytes fits now.
    ///
    /// # Errors
    /// [`Corrupt`] if the reader's counter can't be.
    #[inline]
    pub fn has_room(&self, counters: &Counters<'_>, len: usize) -> Result<bool, Corrupt> {
        // Acquire: pairs with the reader's Release store; what it has read may be
        // written over only after that (invariant 3).
        let used = self
            .tail
            .wrapping_sub(counters.head.load(Ordering::Acquire));
        match (self.bytes.capacity() as u64).checked_sub(used) {
            Some(room) => Ok(len as u64 <= room),
            None => Err(Corrupt),
        }
    }

    /// Writes the parts as one message, all or nothing; `false` if there is no
    /// room now.
    ///
    /// # Errors
    /// [`Corrupt`] if the reader's counter can't be.
    #[inline]
    pub fn write(&mut self, counters: &Counters<'_>, parts: &[&[u8]]) -> Result<bool, Corrupt> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if !self.has_room(counters, len)? {
            return Ok(false);
        }
        for part in parts {
            self.bytes.put(self.tail, part);
            self.tail += part.len() as u64;
        }
        let publish = if weakened(Weakening::RingWithoutRelease) {
            Ordering::Relaxed
        } else {
            // Release: pairs with the reader's Acquire load of `tail`.
            Ordering::Release
        };
        counters.tail.store(self.tail, publish);
        Ok(true)
    }
}

/// The reading side. One value at a time may exist for a ring.
#[derive(Debug)]
pub struct Reader<B> {
    bytes: B,
    head: u64,
}

impl<B: Bytes> Reader<B> {
    /// Begins to read from a ring that is new.
    pub fn new(bytes: B) -> Reader<B> {
        Reader { bytes, head: 0 }
    }

    /// How many bytes are there to read.
    ///
    /// # Errors
    /// [`Corrupt`] if the writer's counter can't be.
    #[inline]
    pub fn available(&self, counters: &Counters<'_>) -> Result<usize, Corrupt> {
        // Acquire: pairs with the writer's Release store of `tail`.
        let available = counters
            .tail
            .load(Ordering::Acquire)
            .wrapping_sub(self.head);
        if available > self.bytes.capacity() as u64 {
            return Err(Corrupt);
        }
        Ok(available as usize)
    }

    /// Copies out what begins `skip` bytes on; the caller has seen that so much
    /// is [`available`](Reader::available).
    #[inline]
    pub fn peek(&self, skip: usize, out: &mut [u8]) {
        self.bytes.get(self.head + skip as u64, out);
    }

    /// Frees the next `len` bytes for the writer.
    #[inline]
    pub fn advance(&mut self, counters: &Counters<'_>, len: usize) {
        self.head += len as u64;
        // Release: pairs with the writer's Acquire load of `head`.
        counters.head.store(self.head, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    struct Heap(RefCell<Vec<u8>>);

    impl Bytes for &Heap {
        fn capacity(&self) -> usize {
            self.0.borrow().len()
        }
        fn put(&self, at: u64, bytes: &[u8]) {
            for (i, byte) in bytes.iter().enumerate() {
                let place = (at as usize + i) % self.capacity();
                self.0.borrow_mut()[place] = *byte;
            }
        }
        fn get(&self, at: u64, bytes: &mut [u8]) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = self.0.borrow()[(at as usize + i) % self.capacity()];
            }
        }
    }

    #[test]
    fn bytes_come_out_in_order_across_the_seam() {
        let heap = Heap(RefCell::new(vec![0; 16]));
        let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
        let counters = Counters {
            head: &head,
            tail: &tail,
        };
        let (mut writer, mut reader) = (Writer::new(&heap), Reader::new(&heap));
        for round in 0..50u8 {
            let message = [round; 5];
            assert!(
                writer
                    .write(&counters, &[&message[..2], &message[2..]])
                    .unwrap()
            );
            assert!(writer.write(&counters, &[&message]).unwrap());
            assert!(
                !writer.write(&counters, &[&[0; 7]]).unwrap(),
                "10 of 16 are used"
            );
            assert_eq!(reader.available(&counters), Ok(10));
            let mut out = [0; 10];
            reader.peek(0, &mut out);
            assert_eq!(out, [round; 10]);
            reader.advance(&counters, 10);
        }
        assert_eq!(reader.available(&counters), Ok(0));
    }

    #[test]
    fn counters_that_lie_are_noticed_on_both_sides() {
        let heap = Heap(RefCell::new(vec![0; 16]));
        let (head, tail) = (AtomicU64::new(0), AtomicU64::new(0));
        let counters = Counters {
            head: &head,
            tail: &tail,
        };
        tail.store(17, Ordering::Relaxed);
        assert_eq!(Reader::new(&heap).available(&counters), Err(Corrupt));
        head.store(1, Ordering::Relaxed);
        assert_eq!(Writer::new(&heap).write(&counters, &[b"x"]), Err(Corrupt));
    }
}
