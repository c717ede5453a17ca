//! Ranges of integers.

use std::ops::{Range, RangeInclusive};

use crate::thread::iter::adapt::Chain;
use crate::thread::iter::indexed::driven_by_bridge;
use crate::thread::iter::{
    Consumer, IndexedParallelIterator, IntoParallelIterator, ParallelIterator, bridge::bridge,
};

/// The integers of a range.
#[derive(Debug, Clone)]
pub struct Iter<T> {
    start: T,
    len: usize,
}

/// The sequential side of [`Iter`].
#[derive(Debug, Clone)]
pub struct Seq<T> {
    start: T,
    range: Range<usize>,
}

macro_rules! integers {
    ($($int:ty),*) => {$(
        driven_by_bridge!([] Iter<$int>, $int);

        impl Iter<$int> {
            #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
            fn nth(start: $int, n: usize) -> $int {
                // Wrapping: a signed range may be longer than its type's maximum.
                start.wrapping_add(n as $int)
            }
        }

        impl Iterator for Seq<$int> {
            type Item = $int;
            #[inline]
            fn next(&mut self) -> Option<$int> {
                let start = self.start;
                self.range.next().map(|n| Iter::<$int>::nth(start, n))
            }
            fn size_hint(&self) -> (usize, Option<usize>) {
                self.range.size_hint()
            }
            fn fold<B, F: FnMut(B, $int) -> B>(self, init: B, f: F) -> B {
                let start = self.start;
                self.range.map(|n| Iter::<$int>::nth(start, n)).fold(init, f)
            }
        }

        impl DoubleEndedIterator for Seq<$int> {
            fn next_back(&mut self) -> Option<$int> {
                let start = self.start;
                self.range.next_back().map(|n| Iter::<$int>::nth(start, n))
            }
        }

        impl ExactSizeIterator for Seq<$int> {}

        impl IndexedParallelIterator for Iter<$int> {
            type Seq = Seq<$int>;
            fn len(&self) -> usize {
                self.len
            }
            fn split_at(self, at: usize) -> (Self, Self) {
                (
                    Self { start: self.start, len: at },
                    Self { start: Self::nth(self.start, at), len: self.len - at },
                )
            }
            fn into_seq(self) -> Seq<$int> {
                Seq { start: self.start, range: 0..self.len }
            }
        }

        /// # Panics
        /// If the range has more than `usize::MAX` integers.
        impl IntoParallelIterator for Range<$int> {
            type Iter = Iter<$int>;
            type Item = $int;
            fn into_par_iter(self) -> Iter<$int> {
                let len = if self.start < self.end {
                    usize::try_from(self.end.abs_diff(self.start))
                        .expect("a parallel range has at most usize::MAX integers")
                } else {
                    0
                };
                Iter { start: self.start, len }
            }
        }

        /// # Panics
        /// If the range has more than `usize::MAX` integers.
        impl IntoParallelIterator for RangeInclusive<$int> {
            type Iter = Chain<Iter<$int>, Iter<$int>>;
            type Item = $int;
            fn into_par_iter(self) -> Self::Iter {
                // The last one apart: one past it may not exist.
                let (start, end) = self.into_inner();
                let last = Iter { start: end, len: usize::from(start <= end) };
                Chain::new((start..end).into_par_iter(), last)
            }
        }
    )*};
}

integers!(
    u8, u16, u32, u64, usize, u128, i8, i16, i32, i64, isize, i128
);
