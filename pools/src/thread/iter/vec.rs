//! Vectors and arrays, by value.
#![allow(unsafe_code)] // Pieces of one vector's memory, each dropped by itself.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use crate::thread::iter::indexed::driven_by_bridge;
use crate::thread::iter::{
    Consumer, IndexedParallelIterator, IntoParallelIterator, ParallelIterator, bridge::bridge,
    slice,
};

/// A vector's memory, without its items: freed when the last piece goes.
struct Memory<T> {
    start: *mut T,
    capacity: usize,
}

// SAFETY: it owns memory, no items; freeing may happen on any thread.
unsafe impl<T: Send> Send for Memory<T> {}
// SAFETY: it is only looked at.
unsafe impl<T: Send> Sync for Memory<T> {}

impl<T> Drop for Memory<T> {
    fn drop(&mut self) {
        // SAFETY: from a vector of this capacity; items are the pieces' business.
        drop(unsafe { Vec::from_raw_parts(self.start, 0, self.capacity) });
    }
}

/// The items of a vector, by value: a piece of its memory.
///
/// - **P1** The items from `next` up to `end` are initialized and this piece's.
pub struct IntoIter<T> {
    memory: Arc<Memory<T>>,
    next: usize,
    end: usize,
}

impl<T> std::fmt::Debug for IntoIter<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntoIter")
            .field("len", &(self.end - self.next))
            .finish()
    }
}

impl<T> IntoIter<T> {
    /// Takes the item at `at` out.
    ///
    /// # Safety
    /// It is initialized, and the caller takes it out of the piece.
    unsafe fn take(&self, at: usize) -> T {
        // SAFETY: within the vector, by P1.
        let place = unsafe { self.memory.start.add(at) };
        // SAFETY: our caller's promise.
        unsafe { place.read() }
    }
}

impl<T> Drop for IntoIter<T> {
    fn drop(&mut self) {
        // SAFETY: within the vector, by P1.
        let start = unsafe { self.memory.start.add(self.next) };
        let rest = std::ptr::slice_from_raw_parts_mut(start, self.end - self.next);
        // SAFETY: P1.
        unsafe { rest.drop_in_place() };
    }
}

impl<T> Iterator for IntoSeq<T> {
    type Item = T;
    #[inline]
    fn next(&mut self) -> Option<T> {
        let piece = &mut self.0;
        if piece.next == piece.end {
            return None;
        }
        piece.next += 1;
        // SAFETY: P1, and it is outside the piece now.
        Some(unsafe { piece.take(piece.next - 1) })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.0.end - self.0.next;
        (len, Some(len))
    }
}

impl<T> DoubleEndedIterator for IntoSeq<T> {
    fn next_back(&mut self) -> Option<T> {
        let piece = &mut self.0;
        if piece.next == piece.end {
            return None;
        }
        piece.end -= 1;
        // SAFETY: P1, and it is outside the piece now.
        Some(unsafe { piece.take(piece.end) })
    }
}

impl<T> ExactSizeIterator for IntoSeq<T> {}

/// The sequential side of [`IntoIter`].
#[derive(Debug)]
pub struct IntoSeq<T>(IntoIter<T>);

driven_by_bridge!([T: Send] IntoIter<T>, T);

impl<T: Send> IndexedParallelIterator for IntoIter<T> {
    type Seq = IntoSeq<T>;
    fn len(&self) -> usize {
        self.end - self.next
    }
    fn split_at(mut self, at: usize) -> (Self, Self) {
        let middle = self.next + at;
        assert!(middle <= self.end);
        // P1: the items behind the middle change hands.
        let right = Self {
            memory: self.memory.clone(),
            next: middle,
            end: self.end,
        };
        self.end = middle;
        (self, right)
    }
    fn into_seq(self) -> IntoSeq<T> {
        IntoSeq(self)
    }
}

impl<T: Send> IntoParallelIterator for Vec<T> {
    type Iter = IntoIter<T>;
    type Item = T;
    fn into_par_iter(self) -> IntoIter<T> {
        let mut vec = ManuallyDrop::new(self);
        IntoIter {
            next: 0,
            end: vec.len(),
            memory: Arc::new(Memory {
                start: vec.as_mut_ptr(),
                capacity: vec.capacity(),
            }),
        }
    }
}

impl<T: Send, const N: usize> IntoParallelIterator for [T; N] {
    type Iter = IntoIter<T>;
    type Item = T;
    fn into_par_iter(self) -> IntoIter<T> {
        Vec::from(self).into_par_iter()
    }
}

impl<'a, T: Sync + 'a> IntoParallelIterator for &'a Vec<T> {
    type Iter = slice::Iter<'a, T>;
    type Item = &'a T;
    fn into_par_iter(self) -> Self::Iter {
        self.as_slice().into_par_iter()
    }
}

impl<'a, T: Send + 'a> IntoParallelIterator for &'a mut Vec<T> {
    type Iter = slice::IterMut<'a, T>;
    type Item = &'a mut T;
    fn into_par_iter(self) -> Self::Iter {
        self.as_mut_slice().into_par_iter()
    }
}
