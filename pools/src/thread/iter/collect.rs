//! Into collections, in order.
//!
//! If the whole chain is indexed, each piece writes its items to their places in
//! the vector's memory. Else each piece makes a vector, and these are appended in
//! order at the end: one more move an item.
#![allow(unsafe_code)] // Several threads fill one vector's spare memory.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use crate::thread::iter::{
    Consumer, FromParallelIterator, IntoParallelIterator, ParallelExtend, ParallelIterator,
};

/// The part of a vector's spare memory that one piece fills.
///
/// - **V1** The parts of live `Part`s and `Filled`s don't overlap, and lie in
///   memory that outlives `'v`.
/// - **V2** The first `len` items of a `Filled` are initialized, and its own.
struct Part<'v, T> {
    start: *mut T,
    capacity: usize,
    memory: PhantomData<&'v mut [MaybeUninit<T>]>,
}

// SAFETY: as a `&mut [MaybeUninit<T>]`, which it is by V1.
unsafe impl<T: Send> Send for Part<'_, T> {}

// A consumer is cloned where the source doesn't tell places; then `collect`
// doesn't use this one. A copy that writes nothing is harmless.
impl<T> Clone for Part<'_, T> {
    fn clone(&self) -> Self {
        Self {
            start: self.start,
            capacity: 0,
            memory: PhantomData,
        }
    }
}

struct Filled<'v, T> {
    start: *mut T,
    len: usize,
    memory: PhantomData<&'v mut [T]>,
}

// SAFETY: as a `&mut [T]` (V2).
unsafe impl<T: Send> Send for Filled<'_, T> {}

impl<T> Drop for Filled<'_, T> {
    fn drop(&mut self) {
        // SAFETY: V2. (Only if some piece panicked.)
        unsafe { std::ptr::slice_from_raw_parts_mut(self.start, self.len).drop_in_place() };
    }
}

impl<'v, T: Send> Consumer<T> for Part<'v, T> {
    type Result = Filled<'v, T>;

    fn split(&self, at: usize) -> (Self, Self) {
        assert!(at <= self.capacity, "a source yields more than its length");
        let part = |start, capacity| Self {
            start,
            capacity,
            memory: PhantomData,
        };
        // SAFETY: within the part, by the assertion.
        let middle = unsafe { self.start.add(at) };
        // V1: two halves, and `self` writes nothing any more.
        (part(self.start, at), part(middle, self.capacity - at))
    }

    fn consume<I: Iterator<Item = T>>(self, items: I) -> Filled<'v, T> {
        let mut filled = Filled {
            start: self.start,
            len: 0,
            memory: PhantomData,
        };
        items.for_each(|item| {
            assert!(
                filled.len < self.capacity,
                "a source yields more than its length"
            );
            // SAFETY: within the part, by the assertion.
            let place = unsafe { self.start.add(filled.len) };
            // SAFETY: V1: ours, and not initialized yet.
            unsafe { place.write(item) };
            filled.len += 1;
        });
        filled
    }

    fn merge(&self, mut left: Filled<'v, T>, right: Filled<'v, T>) -> Filled<'v, T> {
        // SAFETY: one past the left one's items at most.
        let end = unsafe { left.start.add(left.len) };
        if std::ptr::eq(end, right.start) {
            left.len += right.len;
            std::mem::forget(right); // V2: its items are the left one's now
        }
        // Else the left came out short: the right one's items go, and the count
        // doesn't match in the end.
        left
    }
}

fn extend_indexed<T: Send, I: ParallelIterator<Item = T>>(
    target: &mut Vec<T>,
    len: usize,
    items: I,
) {
    target.reserve(len);
    let before = target.len();
    let part = Part {
        start: target.spare_capacity_mut().as_mut_ptr().cast::<T>(),
        capacity: len,
        memory: PhantomData,
    };
    let filled = items.drive(part);
    assert_eq!(filled.len, len, "a source yields less than its length");
    std::mem::forget(filled);
    // SAFETY: V2: so many items after `before` are initialized, and nobody else's.
    unsafe { target.set_len(before + len) };
}

/// Pieces' vectors, in order.
#[derive(Clone)]
struct Pieces;

impl<T: Send> Consumer<T> for Pieces {
    type Result = Vec<Vec<T>>;
    fn consume<I: Iterator<Item = T>>(self, items: I) -> Vec<Vec<T>> {
        let piece: Vec<T> = items.collect();
        if piece.is_empty() {
            Vec::new()
        } else {
            vec![piece]
        }
    }
    fn merge(&self, mut left: Vec<Vec<T>>, mut right: Vec<Vec<T>>) -> Vec<Vec<T>> {
        if left.is_empty() {
            return right;
        }
        left.append(&mut right);
        left
    }
}

fn pieces<I: ParallelIterator>(items: I) -> Vec<Vec<I::Item>> {
    items.drive(Pieces)
}

impl<T: Send> ParallelExtend<T> for Vec<T> {
    fn par_extend<I: IntoParallelIterator<Item = T>>(&mut self, items: I) {
        let items = items.into_par_iter();
        if let Some(len) = items.opt_len() {
            extend_indexed(self, len, items);
            return;
        }
        let mut pieces = pieces(items);
        if self.is_empty() && pieces.len() == 1 {
            *self = pieces.pop().expect("there is one");
            return;
        }
        self.reserve(pieces.iter().map(Vec::len).sum());
        for mut piece in pieces {
            self.append(&mut piece);
        }
    }
}

/// `par_extend` and `collect` of a std collection, piece by piece.
macro_rules! collection {
    ([$($generics:tt)*] $type:ty, $item:ty) => {
        impl<$($generics)*> ParallelExtend<$item> for $type {
            fn par_extend<It: IntoParallelIterator<Item = $item>>(&mut self, items: It) {
                for piece in pieces(items.into_par_iter()) {
                    self.extend(piece);
                }
            }
        }
        collected_by_extend!([$($generics)*] $type, $item);
    };
}

macro_rules! collected_by_extend {
    ([$($generics:tt)*] $type:ty, $item:ty) => {
        impl<$($generics)*> FromParallelIterator<$item> for $type {
            fn from_par_iter<It: IntoParallelIterator<Item = $item>>(items: It) -> Self {
                let mut collection = Self::default();
                collection.par_extend(items);
                collection
            }
        }
    };
}

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::hash::{BuildHasher, Hash};

collected_by_extend!([T: Send] Vec<T>, T);
collection!([T: Send] VecDeque<T>, T);
collection!([T: Send] LinkedList<T>, T);
collection!([T: Send + Ord] BinaryHeap<T>, T);
collection!([T: Send + Ord] BTreeSet<T>, T);
collection!([K: Send + Ord, V: Send] BTreeMap<K, V>, (K, V));
collection!([T: Send + Hash + Eq, S: BuildHasher + Default + Send] HashSet<T, S>, T);
collection!([K: Send + Hash + Eq, V: Send, S: BuildHasher + Default + Send] HashMap<K, V, S>, (K, V));
collection!([] String, char);
collection!([] String, String);
collection!(['a] String, &'a str);

impl<T: Send> FromParallelIterator<T> for Box<[T]> {
    fn from_par_iter<I: IntoParallelIterator<Item = T>>(items: I) -> Self {
        Vec::from_par_iter(items).into_boxed_slice()
    }
}

impl FromParallelIterator<()> for () {
    fn from_par_iter<I: IntoParallelIterator<Item = ()>>(items: I) {
        items.into_par_iter().for_each(|()| ());
    }
}

/// Items in two lists of vectors.
struct Partition<'f, F>(&'f F);

impl<F> Clone for Partition<'_, F> {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl<T: Send, F: Fn(&T) -> bool + Sync> Consumer<T> for Partition<'_, F> {
    type Result = (Vec<T>, Vec<T>);
    fn consume<I: Iterator<Item = T>>(self, items: I) -> (Vec<T>, Vec<T>) {
        items.partition(self.0)
    }
    fn merge(&self, mut left: Self::Result, mut right: Self::Result) -> Self::Result {
        left.0.append(&mut right.0);
        left.1.append(&mut right.1);
        left
    }
}

pub(crate) fn partition<I: ParallelIterator>(
    items: I,
    f: &(impl Fn(&I::Item) -> bool + Sync),
) -> (Vec<I::Item>, Vec<I::Item>) {
    items.drive(Partition(f))
}

#[derive(Clone)]
struct Unzip;

impl<A: Send, B: Send> Consumer<(A, B)> for Unzip {
    type Result = (Vec<A>, Vec<B>);
    fn consume<I: Iterator<Item = (A, B)>>(self, items: I) -> (Vec<A>, Vec<B>) {
        items.unzip()
    }
    fn merge(&self, mut left: Self::Result, mut right: Self::Result) -> Self::Result {
        left.0.append(&mut right.0);
        left.1.append(&mut right.1);
        left
    }
}

pub(crate) fn unzip<A: Send, B: Send>(
    items: impl ParallelIterator<Item = (A, B)>,
) -> (Vec<A>, Vec<B>) {
    items.drive(Unzip)
}
