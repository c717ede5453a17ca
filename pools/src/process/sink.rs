//! The buffer that serde writes a value into.
//!
//! A [`Sink`] begins as a small `Vec`, grows, and moves into an extent of an arena when
//! it outgrows what fits in a ring, so that a large value is written once, to where the
//! other process reads it. The fast path is a compare and a store; postcard's own `Vec`
//! flavor is 5 to 25 times slower on large values.
//!
//! Read before this: [`super::arena`]. Read after it: [`super::codec`].
#![allow(unsafe_code)] // writes through a cursor into memory that it owns

use crate::process::arena::{Arena, Extent};
use crate::process::codec::{CodecError, describe};
use crate::process::limits::INLINE_MAX;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use std::ptr::NonNull;

/// Bytes to begin with: most jobs never need more.
const FIRST: usize = 112;

/// What a [`Sink`] has gathered.
#[derive(Debug)]
pub enum Encoded {
    /// Small enough for a ring.
    Inline(Vec<u8>),
    /// In an arena.
    Large {
        /// Where.
        extent: Extent,
        /// How many bytes of it.
        len: usize,
    },
}

/// A growing buffer that serde writes into.
///
/// Invariant 1: `start <= cursor <= end`, all within the one allocation that
/// `room` owns; the bytes from `start` to `cursor` are written.
#[derive(Debug)]
pub struct Sink<'a> {
    start: NonNull<u8>,
    cursor: NonNull<u8>,
    end: NonNull<u8>,
    room: Room,
    arena: &'a Arena,
    max: usize,
}

#[derive(Debug)]
enum Room {
    /// Its length is zero until the end: the cursor knows better.
    Heap(Vec<u8>),
    Arena(Extent),
    Taken,
}

impl<'a> Sink<'a> {
    /// An empty buffer that moves into `arena` when it must, and takes at most
    /// `max` bytes.
    pub fn new(arena: &'a Arena, max: usize) -> Sink<'a> {
        Sink::reusing(Vec::with_capacity(FIRST), arena, max)
    }

    /// As [`Sink::new`], with a buffer that was used before, or an empty one.
    pub fn reusing(mut room: Vec<u8>, arena: &'a Arena, max: usize) -> Sink<'a> {
        let start = NonNull::new(room.as_mut_ptr()).expect("a Vec's pointer isn't null");
        let capacity = room.capacity().min(INLINE_MAX).min(max);
        Sink {
            start,
            cursor: start,
            // SAFETY: within the same allocation.
            end: unsafe { start.add(capacity) },
            room: Room::Heap(room),
            arena,
            max,
        }
    }

    /// Bytes written so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.cursor.as_ptr() as usize - self.start.as_ptr() as usize
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets what was written beyond `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        assert!(len <= self.len());
        // SAFETY: between start and cursor (invariant 1).
        self.cursor = unsafe { self.start.add(len) };
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`].
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        if bytes.len() > self.end.as_ptr() as usize - self.cursor.as_ptr() as usize {
            self.grow(bytes.len())?;
        }
        // SAFETY: there is room up to `end`; `bytes` can't overlap memory that
        // only this sink refers to.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.cursor.as_ptr(), bytes.len());
        }
        // SAFETY: within the allocation (invariant 1).
        self.cursor = unsafe { self.cursor.add(bytes.len()) };
        Ok(())
    }

    /// Writes over four bytes that were appended before.
    pub fn patch_u32(&mut self, at: usize, value: u32) {
        assert!(at + 4 <= self.len());
        // SAFETY: within what was written (invariant 1).
        let place = unsafe { self.start.add(at) };
        // SAFETY: four bytes of ours; no alignment is assumed.
        unsafe { place.cast::<[u8; 4]>().write(value.to_le_bytes()) };
    }

    /// Appends a value.
    ///
    /// # Errors
    /// What the value's `Serialize` says, or [`CodecError::TooLarge`].
    #[inline]
    pub fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        let mut too_large = None;
        let flavor = Output {
            sink: self,
            too_large: &mut too_large,
        };
        match postcard::serialize_with_flavor(value, flavor) {
            Ok(()) => Ok(()),
            Err(error) => Err(too_large.unwrap_or_else(|| CodecError::Serde(describe(&error)))),
        }
    }

    /// What was gathered.
    pub fn finish(mut self) -> Encoded {
        let len = self.len();
        match std::mem::replace(&mut self.room, Room::Taken) {
            Room::Heap(mut bytes) => {
                // SAFETY: so many were written (invariant 1).
                unsafe { bytes.set_len(len) };
                Encoded::Inline(bytes)
            }
            Room::Arena(extent) => Encoded::Large { extent, len },
            Room::Taken => unreachable!("finish consumes the sink"),
        }
    }

    /// Moves to a larger room, so that `more` bytes fit.
    #[cold]
    fn grow(&mut self, more: usize) -> Result<(), CodecError> {
        let len = self.len();
        let need = len.saturating_add(more);
        let too_large = |max| CodecError::TooLarge { len: need, max };
        if need > self.max {
            return Err(too_large(self.max));
        }
        let wanted = need.max(2 * len).max(FIRST);
        let (room, start, capacity) = if wanted <= INLINE_MAX {
            let mut bytes = Vec::<u8>::with_capacity(wanted);
            let start = NonNull::new(bytes.as_mut_ptr()).expect("a Vec's pointer isn't null");
            let capacity = bytes.capacity().min(INLINE_MAX).min(self.max);
            (Room::Heap(bytes), start, capacity)
        } else {
            let extent = self.arena.take(wanted);
            // What is there already is as much as there is room for.
            let room = || self.end.as_ptr() as usize - self.start.as_ptr() as usize;
            let extent = extent.ok_or_else(|| too_large(room()))?;
            let (start, capacity) = (self.arena.address(&extent), extent.capacity);
            (Room::Arena(extent), start, capacity)
        };
        // SAFETY: `len` bytes are written in the old room, and the new one is
        // another allocation with space for more.
        unsafe { std::ptr::copy_nonoverlapping(self.start.as_ptr(), start.as_ptr(), len) };
        self.release(room, len);
        self.start = start;
        // SAFETY: `len` is less than the capacity.
        self.cursor = unsafe { start.add(len) };
        // SAFETY: one past the end of the new allocation.
        self.end = unsafe { start.add(capacity) };
        Ok(())
    }

    fn release(&mut self, replacement: Room, used: usize) {
        if let Room::Arena(extent) = std::mem::replace(&mut self.room, replacement) {
            self.arena.free(extent, used);
        }
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        let used = self.len();
        self.release(Room::Taken, used);
    }
}

/// The sink as postcard's output.
struct Output<'s, 'a> {
    sink: &'s mut Sink<'a>,
    too_large: &'s mut Option<CodecError>,
}

impl Flavor for Output<'_, '_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.sink.put(bytes).map_err(|error| {
            *self.too_large = Some(error);
            postcard::Error::SerializeBufferFull
        })
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::codec::decode;
    use crate::process::page::SharedFile;
    use std::collections::BTreeMap;

    fn arena() -> Arena {
        let file = SharedFile::new(c"threeply-test", 4096, 1 << 24).unwrap();
        Arena::new(file.map(true).unwrap(), 0)
    }

    fn bytes_of(arena: &Arena, encoded: Encoded) -> Vec<u8> {
        match encoded {
            Encoded::Inline(bytes) => bytes,
            Encoded::Large { extent, len } => {
                // SAFETY: nobody else knows of this arena.
                let bytes = unsafe { arena.mapping().slice(extent.offset, len) };
                let bytes = bytes.expect("mapped").to_vec();
                arena.free(extent, len);
                bytes
            }
        }
    }

    #[test]
    fn values_of_every_size_come_back() {
        let arena = arena();
        for len in [0, 1, 100, 200, 5_000, INLINE_MAX, 200_000, 3_000_000] {
            let value: (Vec<u32>, String, BTreeMap<u8, bool>) = (
                (0..len as u32 / 4).collect(),
                "é".repeat(len % 977),
                [(1, true), (2, false)].into(),
            );
            let mut sink = Sink::new(&arena, usize::MAX);
            sink.put(b"head").unwrap();
            sink.value(&value).unwrap();
            let bytes = bytes_of(&arena, sink.finish());
            assert_eq!(&bytes[..4], b"head");
            assert_eq!(
                decode::<(Vec<u32>, String, BTreeMap<u8, bool>)>(&bytes[4..]),
                Ok(value)
            );
        }
    }

    #[test]
    fn only_what_outgrows_a_ring_goes_to_the_arena() {
        let arena = arena();
        let mut sink = Sink::new(&arena, usize::MAX);
        sink.put(&vec![7; INLINE_MAX / 2]).unwrap();
        assert!(matches!(sink.finish(), Encoded::Inline(_)));
        let mut sink = Sink::new(&arena, usize::MAX);
        sink.put(&vec![7; INLINE_MAX + 1]).unwrap();
        let Encoded::Large { extent, len } = sink.finish() else {
            panic!("too large for a ring");
        };
        assert_eq!(len, INLINE_MAX + 1);
        arena.free(extent, len);
    }

    #[test]
    fn the_limit_is_stated_and_nothing_is_lost() {
        let arena = arena();
        let mut sink = Sink::new(&arena, 100_000);
        sink.put(&[1; 60_000]).unwrap();
        let error = sink.put(&[1; 60_000]).unwrap_err();
        assert_eq!(
            error,
            CodecError::TooLarge {
                len: 120_000,
                max: 100_000
            }
        );
        drop(sink);
        assert_eq!(arena.take(60_000).unwrap().offset, 0, "the room came back");
    }
}
