//! Adapters that wrap the source: they need to know each item's place.

use std::iter;
use std::ops::Range;

use crate::thread::iter::bridge::bridge;
use crate::thread::iter::{Consumer, IndexedParallelIterator, ParallelIterator};

/// Makes an indexed iterator a parallel one, by `bridge`.
macro_rules! driven_by_bridge {
    ([$($generics:tt)*] $type:ty, $item:ty $(, where $($bounds:tt)*)?) => {
        impl<$($generics)*> ParallelIterator for $type
        $(where $($bounds)*)?
        {
            type Item = $item;
            fn drive<C: Consumer<Self::Item>>(self, consumer: C) -> C::Result {
                bridge(self, consumer)
            }
            fn opt_len(&self) -> Option<usize> {
                Some(IndexedParallelIterator::len(self))
            }
        }
    };
}
pub(crate) use driven_by_bridge;

/// See [`IndexedParallelIterator::zip`].
#[derive(Debug)]
pub struct Zip<A, B> {
    a: A,
    b: B,
}

impl<A, B> Zip<A, B> {
    pub(crate) fn new(a: A, b: B) -> Self {
        Self { a, b }
    }
}

driven_by_bridge!([A: IndexedParallelIterator, B: IndexedParallelIterator] Zip<A, B>, (A::Item, B::Item));

impl<A: IndexedParallelIterator, B: IndexedParallelIterator> IndexedParallelIterator for Zip<A, B> {
    type Seq = iter::Zip<A::Seq, B::Seq>;
    fn len(&self) -> usize {
        self.a.len().min(self.b.len())
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (a, c) = self.a.split_at(at);
        let (b, d) = self.b.split_at(at);
        (Self::new(a, b), Self::new(c, d))
    }
    fn into_seq(self) -> Self::Seq {
        // Cut to the same length, so that both ends agree.
        let len = self.len();
        let a = self.a.split_at(len).0;
        let b = self.b.split_at(len).0;
        a.into_seq().zip(b.into_seq())
    }
    fn min_len(&self) -> usize {
        self.a.min_len().max(self.b.min_len())
    }
    fn max_len(&self) -> usize {
        self.a.max_len().min(self.b.max_len())
    }
}

/// See [`IndexedParallelIterator::enumerate`].
#[derive(Debug)]
pub struct Enumerate<I> {
    items: I,
    first: usize,
}

impl<I> Enumerate<I> {
    pub(crate) fn new(items: I) -> Self {
        Self { items, first: 0 }
    }
}

driven_by_bridge!([I: IndexedParallelIterator] Enumerate<I>, (usize, I::Item));

impl<I: IndexedParallelIterator> IndexedParallelIterator for Enumerate<I> {
    type Seq = iter::Zip<Range<usize>, I::Seq>;
    fn len(&self) -> usize {
        self.items.len()
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let (left, right) = self.items.split_at(at);
        (
            Self {
                items: left,
                first: self.first,
            },
            Self {
                items: right,
                first: self.first + at,
            },
        )
    }
    fn into_seq(self) -> Self::Seq {
        let end = self.first + self.items.len();
        (self.first..end).zip(self.items.into_seq())
    }
    fn min_len(&self) -> usize {
        self.items.min_len()
    }
    fn max_len(&self) -> usize {
        self.items.max_len()
    }
}

/// See [`IndexedParallelIterator::rev`].
#[derive(Debug)]
pub struct Rev<I> {
    items: I,
}

impl<I> Rev<I> {
    pub(crate) fn new(items: I) -> Self {
        Self { items }
    }
}

driven_by_bridge!([I: IndexedParallelIterator] Rev<I>, I::Item);

impl<I: IndexedParallelIterator> IndexedParallelIterator for Rev<I> {
    type Seq = iter::Rev<I::Seq>;
    fn len(&self) -> usize {
        self.items.len()
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let len = self.items.len();
        let (left, right) = self.items.split_at(len - at);
        (Self::new(right), Self::new(left))
    }
    fn into_seq(self) -> Self::Seq {
        self.items.into_seq().rev()
    }
    fn min_len(&self) -> usize {
        self.items.min_len()
    }
    fn max_len(&self) -> usize {
        self.items.max_len()
    }
}

/// See [`IndexedParallelIterator::step_by`].
#[derive(Debug)]
pub struct StepBy<I> {
    items: I,
    step: usize,
}

impl<I> StepBy<I> {
    pub(crate) fn new(items: I, step: usize) -> Self {
        Self { items, step }
    }
}

driven_by_bridge!([I: IndexedParallelIterator] StepBy<I>, I::Item);

impl<I: IndexedParallelIterator> IndexedParallelIterator for StepBy<I> {
    type Seq = iter::StepBy<I::Seq>;
    fn len(&self) -> usize {
        self.items.len().div_ceil(self.step)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.saturating_mul(self.step).min(self.items.len());
        let (left, right) = self.items.split_at(at);
        (Self::new(left, self.step), Self::new(right, self.step))
    }
    fn into_seq(self) -> Self::Seq {
        self.items.into_seq().step_by(self.step)
    }
}

/// See [`IndexedParallelIterator::chunks`].
#[derive(Debug)]
pub struct Chunks<I> {
    items: I,
    size: usize,
}

impl<I> Chunks<I> {
    pub(crate) fn new(items: I, size: usize) -> Self {
        Self { items, size }
    }
}

/// The sequential side of [`Chunks`].
#[derive(Debug)]
pub struct ChunksSeq<S> {
    items: S,
    size: usize,
}

impl<S: ExactSizeIterator> Iterator for ChunksSeq<S> {
    type Item = Vec<S::Item>;
    fn next(&mut self) -> Option<Self::Item> {
        let chunk: Vec<_> = self.items.by_ref().take(self.size).collect();
        (!chunk.is_empty()).then_some(chunk)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        let len = self.items.len().div_ceil(self.size);
        (len, Some(len))
    }
}

impl<S: ExactSizeIterator + DoubleEndedIterator> DoubleEndedIterator for ChunksSeq<S> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let last = match self.items.len() % self.size {
            0 => self.size,
            rest => rest,
        };
        let mut chunk: Vec<_> = self.items.by_ref().rev().take(last).collect();
        chunk.reverse();
        (!chunk.is_empty()).then_some(chunk)
    }
}

impl<S: ExactSizeIterator> ExactSizeIterator for ChunksSeq<S> {}

driven_by_bridge!([I: IndexedParallelIterator] Chunks<I>, Vec<I::Item>);

impl<I: IndexedParallelIterator> IndexedParallelIterator for Chunks<I> {
    type Seq = ChunksSeq<I::Seq>;
    fn len(&self) -> usize {
        self.items.len().div_ceil(self.size)
    }
    fn split_at(self, at: usize) -> (Self, Self) {
        let at = at.saturating_mul(self.size).min(self.items.len());
        let (left, right) = self.items.split_at(at);
        (Self::new(left, self.size), Self::new(right, self.size))
    }
    fn into_seq(self) -> Self::Seq {
        ChunksSeq {
            items: self.items.into_seq(),
            size: self.size,
        }
    }
}

/// A bound on the length of pieces.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $min:expr, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<I> {
            items: I,
            bound: usize,
        }

        impl<I> $name<I> {
            pub(crate) fn new(items: I, bound: usize) -> Self {
                Self { items, bound }
            }
        }

        driven_by_bridge!([I: IndexedParallelIterator] $name<I>, I::Item);

        impl<I: IndexedParallelIterator> IndexedParallelIterator for $name<I> {
            type Seq = I::Seq;
            fn len(&self) -> usize {
                self.items.len()
            }
            fn split_at(self, at: usize) -> (Self, Self) {
                let (left, right) = self.items.split_at(at);
                (Self::new(left, self.bound), Self::new(right, self.bound))
            }
            fn into_seq(self) -> Self::Seq {
                self.items.into_seq()
            }
            fn min_len(&self) -> usize {
                $min(self.items.min_len(), self.bound)
            }
            fn max_len(&self) -> usize {
                $max(self.items.max_len(), self.bound)
            }
        }
    };
}

bounded!(
    /// See [`IndexedParallelIterator::with_min_len`].
    MinLen, usize::max, |max, _| max
);
bounded!(
    /// See [`IndexedParallelIterator::with_max_len`].
    MaxLen, |min, _| min, usize::min
);
