//! Slices: by item, by chunk, by window.

use crate::thread::iter::indexed::driven_by_bridge;
use crate::thread::iter::{
    Consumer, IndexedParallelIterator, IntoParallelIterator, ParallelIterator, bridge::bridge,
};
use crate::thread::sort;
use std::cmp::Ordering;

/// The body of an indexed iterator over some split of a slice.
macro_rules! over_slice {
    ($(#[$doc:meta])* $name:ident, [$($lifetime:tt)*], $slice:ty, $item:ty, $seq:ty, bound $bound:ident,
     len $len:expr, split $split:expr, seq $into:expr) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name<$($lifetime)*, T> {
            slice: $slice,
            size: usize,
        }

        driven_by_bridge!([$($lifetime)*, T: $bound + $($lifetime)*] $name<$($lifetime)*, T>, $item);

        impl<$($lifetime)*, T: $bound + $($lifetime)*> IndexedParallelIterator for $name<$($lifetime)*, T> {
            type Seq = $seq;
            fn len(&self) -> usize {
                $len(self.slice.len(), self.size)
            }
            fn split_at(self, at: usize) -> (Self, Self) {
                let size = self.size;
                let (left, right) = $split(self.slice, at, size);
                (Self { slice: left, size }, Self { slice: right, size })
            }
            fn into_seq(self) -> Self::Seq {
                $into(self.slice, self.size)
            }
        }
    };
}

over_slice!(
    /// The items of a slice, by reference.
    Iter, ['a], &'a [T], &'a T, std::slice::Iter<'a, T>, bound Sync,
    len |len, _| len,
    split |slice: &'a [T], at, _| slice.split_at(at),
    seq |slice: &'a [T], _| slice.iter()
);
over_slice!(
    /// The items of a slice, by mutable reference.
    IterMut, ['a], &'a mut [T], &'a mut T, std::slice::IterMut<'a, T>, bound Send,
    len |len, _| len,
    split |slice: &'a mut [T], at, _| slice.split_at_mut(at),
    seq |slice: &'a mut [T], _| slice.iter_mut()
);
over_slice!(
    /// See [`ParallelSlice::par_chunks`].
    Chunks, ['a], &'a [T], &'a [T], std::slice::Chunks<'a, T>, bound Sync,
    len usize::div_ceil,
    split |slice: &'a [T], at: usize, size: usize| slice.split_at((at * size).min(slice.len())),
    seq |slice: &'a [T], size| slice.chunks(size)
);
over_slice!(
    /// See [`ParallelSlice::par_chunks_exact`].
    ChunksExact, ['a], &'a [T], &'a [T], std::slice::ChunksExact<'a, T>, bound Sync,
    len |len, size| len / size,
    split |slice: &'a [T], at: usize, size| slice.split_at(at * size),
    seq |slice: &'a [T], size| slice.chunks_exact(size)
);
over_slice!(
    /// See [`ParallelSliceMut::par_chunks_mut`].
    ChunksMut, ['a], &'a mut [T], &'a mut [T], std::slice::ChunksMut<'a, T>, bound Send,
    len usize::div_ceil,
    split |slice: &'a mut [T], at: usize, size: usize| {
        let at = (at * size).min(slice.len());
        slice.split_at_mut(at)
    },
    seq |slice: &'a mut [T], size| slice.chunks_mut(size)
);
over_slice!(
    /// See [`ParallelSliceMut::par_chunks_exact_mut`].
    ChunksExactMut, ['a], &'a mut [T], &'a mut [T], std::slice::ChunksExactMut<'a, T>, bound Send,
    len |len, size| len / size,
    split |slice: &'a mut [T], at: usize, size| slice.split_at_mut(at * size),
    seq |slice: &'a mut [T], size| slice.chunks_exact_mut(size)
);
over_slice!(
    /// See [`ParallelSlice::par_windows`].
    Windows, ['a], &'a [T], &'a [T], std::slice::Windows<'a, T>, bound Sync,
    len |len: usize, size: usize| (len + 1).saturating_sub(size),
    split |slice: &'a [T], at: usize, size: usize| {
        let end = (at + size - 1).min(slice.len());
        (&slice[..end], &slice[at..])
    },
    seq |slice: &'a [T], size| slice.windows(size)
);

impl<'a, T: Sync + 'a> IntoParallelIterator for &'a [T] {
    type Iter = Iter<'a, T>;
    type Item = &'a T;
    fn into_par_iter(self) -> Iter<'a, T> {
        Iter {
            slice: self,
            size: 1,
        }
    }
}

impl<'a, T: Send + 'a> IntoParallelIterator for &'a mut [T] {
    type Iter = IterMut<'a, T>;
    type Item = &'a mut T;
    fn into_par_iter(self) -> IterMut<'a, T> {
        IterMut {
            slice: self,
            size: 1,
        }
    }
}

impl<'a, T: Sync + 'a, const N: usize> IntoParallelIterator for &'a [T; N] {
    type Iter = Iter<'a, T>;
    type Item = &'a T;
    fn into_par_iter(self) -> Iter<'a, T> {
        self.as_slice().into_par_iter()
    }
}

impl<'a, T: Send + 'a, const N: usize> IntoParallelIterator for &'a mut [T; N] {
    type Iter = IterMut<'a, T>;
    type Item = &'a mut T;
    fn into_par_iter(self) -> IterMut<'a, T> {
        self.as_mut_slice().into_par_iter()
    }
}

/// Parallel iterators over parts of a slice.
pub trait ParallelSlice<T: Sync> {
    /// As a slice.
    fn as_parallel_slice(&self) -> &[T];

    /// Chunks of `size` items, the last one shorter if need be.
    ///
    /// # Panics
    /// If `size` is zero.
    fn par_chunks(&self, size: usize) -> Chunks<'_, T> {
        assert!(size != 0, "chunks of no items");
        Chunks {
            slice: self.as_parallel_slice(),
            size,
        }
    }

    /// Chunks of exactly `size` items; what is left over is left out.
    ///
    /// # Panics
    /// If `size` is zero.
    fn par_chunks_exact(&self, size: usize) -> ChunksExact<'_, T> {
        assert!(size != 0, "chunks of no items");
        ChunksExact {
            slice: self.as_parallel_slice(),
            size,
        }
    }

    /// All overlapping windows of `size` items.
    ///
    /// # Panics
    /// If `size` is zero.
    fn par_windows(&self, size: usize) -> Windows<'_, T> {
        assert!(size != 0, "windows of no items");
        Windows {
            slice: self.as_parallel_slice(),
            size,
        }
    }
}

impl<T: Sync> ParallelSlice<T> for [T] {
    fn as_parallel_slice(&self) -> &[T] {
        self
    }
}

/// Parallel iterators over mutable parts of a slice, and sorting. The sorts are
/// std's, on pieces, merged in parallel; `sort.rs` tells how.
pub trait ParallelSliceMut<T: Send> {
    /// As a slice.
    fn as_parallel_slice_mut(&mut self) -> &mut [T];

    /// Mutable chunks of `size` items, the last one shorter if need be.
    ///
    /// # Panics
    /// If `size` is zero.
    fn par_chunks_mut(&mut self, size: usize) -> ChunksMut<'_, T> {
        assert!(size != 0, "chunks of no items");
        ChunksMut {
            slice: self.as_parallel_slice_mut(),
            size,
        }
    }

    /// Mutable chunks of exactly `size` items; what is left over is left out.
    ///
    /// # Panics
    /// If `size` is zero.
    fn par_chunks_exact_mut(&mut self, size: usize) -> ChunksExactMut<'_, T> {
        assert!(size != 0, "chunks of no items");
        ChunksExactMut {
            slice: self.as_parallel_slice_mut(),
            size,
        }
    }

    /// Sorts; equal items keep their order.
    fn par_sort(&mut self)
    where
        T: Ord,
    {
        sort::stable(self.as_parallel_slice_mut(), &T::cmp);
    }

    /// Sorts by `compare`, a total order; equal items keep their order.
    fn par_sort_by<F>(&mut self, compare: F)
    where
        F: Fn(&T, &T) -> Ordering + Sync,
    {
        sort::stable(self.as_parallel_slice_mut(), &compare);
    }

    /// Sorts by a key, computed at each comparison; equal items keep their order.
    fn par_sort_by_key<K: Ord, F>(&mut self, key: F)
    where
        F: Fn(&T) -> K + Sync,
    {
        sort::stable(self.as_parallel_slice_mut(), &|a: &T, b: &T| {
            key(a).cmp(&key(b))
        });
    }

    /// Sorts by a key, computed once for each item; equal items keep their order.
    fn par_sort_by_cached_key<K: Ord + Send + Sync, F>(&mut self, key: F)
    where
        F: Fn(&T) -> K + Sync,
        T: Sync,
    {
        sort::by_cached_key(self.as_parallel_slice_mut(), &key);
    }

    /// Sorts; equal items may change places.
    fn par_sort_unstable(&mut self)
    where
        T: Ord,
    {
        sort::unstable(self.as_parallel_slice_mut(), &T::cmp);
    }

    /// Sorts by `compare`, a total order; equal items may change places.
    fn par_sort_unstable_by<F>(&mut self, compare: F)
    where
        F: Fn(&T, &T) -> Ordering + Sync,
    {
        sort::unstable(self.as_parallel_slice_mut(), &compare);
    }

    /// Sorts by a key, computed at each comparison; equal items may change places.
    fn par_sort_unstable_by_key<K: Ord, F>(&mut self, key: F)
    where
        F: Fn(&T) -> K + Sync,
    {
        sort::unstable(self.as_parallel_slice_mut(), &|a: &T, b: &T| {
            key(a).cmp(&key(b))
        });
    }
}

impl<T: Send> ParallelSliceMut<T> for [T] {
    fn as_parallel_slice_mut(&mut self) -> &mut [T] {
        self
    }
}
