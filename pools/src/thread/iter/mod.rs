//! Parallel iterators, with rayon's names and laws.
//!
//! Two ideas carry all of it:
//! - a [`Consumer`] takes a sequential iterator to a result and merges two results
//!   of neighbours; adapters like `filter` wrap the consumer (`adapt.rs`);
//! - a source is an [`IndexedParallelIterator`]: a value that can be split in two
//!   and turned into a sequential iterator; adapters like `zip` wrap the source
//!   (`indexed.rs`).
//!
//! `bridge.rs` brings them together: it splits both, forks, and merges. Read it
//! first. What stays in order stays in order: results are merged left to right,
//! whoever computed them.
//!
//! ```
//! use threeply_pools::thread::prelude::*;
//!
//! let words = ["four", "bread", "apple", "pie"];
//! let longest = words.par_iter().map(|word| word.len()).max();
//! assert_eq!(longest, Some(5));
//! ```

pub mod adapt;
pub mod bridge;
pub mod collect;
pub mod collections;
pub mod find;
pub mod indexed;
pub mod range;
pub mod reduce;
pub mod slice;
pub mod tries;
pub mod vec;

use std::cmp::Ordering;
use std::iter::{Product, Sum};
use std::sync::Arc;

use adapt::{
    Chain, Cloned, Copied, Filter, FilterMap, FlatMap, FlatMapIter, Flatten, Fold, Inspect, Map,
    Update, WhileSome,
};
use find::Which;
use indexed::{Chunks, Enumerate, MaxLen, MinLen, Rev, StepBy, Zip};
use tries::Try;

/// Takes items to a result; split and merged as the items are.
pub trait Consumer<T>: Clone + Send {
    /// What comes of the items.
    type Result: Send;

    /// For the items before and after `at`. `at` counts items only if the whole
    /// chain is indexed ([`ParallelIterator::opt_len`]).
    fn split(&self, _at: usize) -> (Self, Self) {
        (self.clone(), self.clone())
    }

    /// Takes in all items of one piece.
    fn consume<I: Iterator<Item = T>>(self, items: I) -> Self::Result;

    /// The result of two neighbours, left before right.
    fn merge(&self, left: Self::Result, right: Self::Result) -> Self::Result;

    /// Are further items in vain?
    fn is_full(&self) -> bool {
        false
    }
}

/// What can become a parallel iterator.
pub trait IntoParallelIterator {
    /// The iterator.
    type Iter: ParallelIterator<Item = Self::Item>;
    /// Its items.
    type Item: Send;
    /// Becomes one.
    fn into_par_iter(self) -> Self::Iter;
}

impl<I: ParallelIterator> IntoParallelIterator for I {
    type Iter = I;
    type Item = I::Item;
    fn into_par_iter(self) -> I {
        self
    }
}

/// `par_iter` for all whose reference is a parallel iterator.
pub trait IntoParallelRefIterator<'data> {
    /// The iterator.
    type Iter: ParallelIterator<Item = Self::Item>;
    /// Its items, mostly `&'data T`.
    type Item: Send + 'data;
    /// Iterates over references.
    fn par_iter(&'data self) -> Self::Iter;
}

impl<'data, I: 'data + ?Sized> IntoParallelRefIterator<'data> for I
where
    &'data I: IntoParallelIterator,
{
    type Iter = <&'data I as IntoParallelIterator>::Iter;
    type Item = <&'data I as IntoParallelIterator>::Item;
    fn par_iter(&'data self) -> Self::Iter {
        self.into_par_iter()
    }
}

/// `par_iter_mut` for all whose mutable reference is a parallel iterator.
pub trait IntoParallelRefMutIterator<'data> {
    /// The iterator.
    type Iter: ParallelIterator<Item = Self::Item>;
    /// Its items, mostly `&'data mut T`.
    type Item: Send + 'data;
    /// Iterates over mutable references.
    fn par_iter_mut(&'data mut self) -> Self::Iter;
}

impl<'data, I: 'data + ?Sized> IntoParallelRefMutIterator<'data> for I
where
    &'data mut I: IntoParallelIterator,
{
    type Iter = <&'data mut I as IntoParallelIterator>::Iter;
    type Item = <&'data mut I as IntoParallelIterator>::Item;
    fn par_iter_mut(&'data mut self) -> Self::Iter {
        self.into_par_iter()
    }
}

/// A collection that a parallel iterator can be collected into.
pub trait FromParallelIterator<T: Send> {
    /// Collects.
    fn from_par_iter<I: IntoParallelIterator<Item = T>>(items: I) -> Self;
}

/// A collection that a parallel iterator can be added to.
pub trait ParallelExtend<T: Send> {
    /// Adds all items, in their order.
    fn par_extend<I: IntoParallelIterator<Item = T>>(&mut self, items: I);
}

/// Items that several threads may work on at once.
///
/// The methods do what std's `Iterator` or rayon say of the same name. Closures
/// run on the caller and on the pool's threads, in no particular order; a panic of
/// one is passed on when all have ended.
pub trait ParallelIterator: Sized + Send {
    /// What it is made of.
    type Item: Send;

    /// Runs it: every terminal method ends here.
    fn drive<C: Consumer<Self::Item>>(self, consumer: C) -> C::Result;

    /// The number of items, if the whole chain is indexed.
    fn opt_len(&self) -> Option<usize> {
        None
    }

    // ---- adapters ----

    /// `f` of each item.
    fn map<F, R>(self, f: F) -> Map<Self, F>
    where
        F: Fn(Self::Item) -> R + Sync + Send,
        R: Send,
    {
        Map::new(self, f)
    }

    /// Calls `f` on each item as it goes by.
    fn inspect<F>(self, f: F) -> Inspect<Self, F>
    where
        F: Fn(&Self::Item) + Sync + Send,
    {
        Inspect::new(self, f)
    }

    /// Changes each item as it goes by.
    fn update<F>(self, f: F) -> Update<Self, F>
    where
        F: Fn(&mut Self::Item) + Sync + Send,
    {
        Update::new(self, f)
    }

    /// The items behind the references, copied.
    fn copied<'a, T>(self) -> Copied<Self>
    where
        Self: ParallelIterator<Item = &'a T>,
        T: 'a + Copy + Send + Sync,
    {
        Copied::new(self)
    }

    /// The items behind the references, cloned.
    fn cloned<'a, T>(self) -> Cloned<Self>
    where
        Self: ParallelIterator<Item = &'a T>,
        T: 'a + Clone + Send + Sync,
    {
        Cloned::new(self)
    }

    /// The items that `keep` accepts.
    fn filter<F>(self, keep: F) -> Filter<Self, F>
    where
        F: Fn(&Self::Item) -> bool + Sync + Send,
    {
        Filter::new(self, keep)
    }

    /// What `f` makes of the items, where it makes something.
    fn filter_map<F, R>(self, f: F) -> FilterMap<Self, F>
    where
        F: Fn(Self::Item) -> Option<R> + Sync + Send,
        R: Send,
    {
        FilterMap::new(self, f)
    }

    /// All items of the parallel iterators that `f` makes; these are parallel, too.
    fn flat_map<F, R>(self, f: F) -> FlatMap<Self, F>
    where
        F: Fn(Self::Item) -> R + Sync + Send,
        R: IntoParallelIterator,
    {
        FlatMap::new(self, f)
    }

    /// All items of the sequential iterators that `f` makes.
    fn flat_map_iter<F, R>(self, f: F) -> FlatMapIter<Self, F>
    where
        F: Fn(Self::Item) -> R + Sync + Send,
        R: IntoIterator,
        R::Item: Send,
    {
        FlatMapIter::new(self, f)
    }

    /// All items of the items.
    fn flatten(self) -> Flatten<Self>
    where
        Self::Item: IntoParallelIterator,
    {
        Flatten::new(self)
    }

    /// The items of this, then those of `other`.
    fn chain<C>(self, other: C) -> Chain<Self, C::Iter>
    where
        C: IntoParallelIterator<Item = Self::Item>,
    {
        Chain::new(self, other.into_par_iter())
    }

    /// Folds each piece, beginning with `identity()`: an iterator over the pieces'
    /// results, whose number depends on how the work was split.
    fn fold<T, ID, F>(self, identity: ID, f: F) -> Fold<Self, ID, F>
    where
        F: Fn(T, Self::Item) -> T + Sync + Send,
        ID: Fn() -> T + Sync + Send,
        T: Send,
    {
        Fold::new(self, identity, f)
    }

    /// The values of the `Some`s before some `None`; after one is seen, the rest
    /// stops as soon as possible.
    fn while_some<T>(self) -> WhileSome<Self>
    where
        Self: ParallelIterator<Item = Option<T>>,
        T: Send,
    {
        WhileSome::new(self)
    }

    // ---- results ----

    /// Calls `f` with each item.
    fn for_each<F>(self, f: F)
    where
        F: Fn(Self::Item) + Sync + Send,
    {
        reduce::for_each(self, &f);
    }

    /// Calls `f` with each item and a value that each piece has made for itself.
    fn for_each_init<T, INIT, F>(self, init: INIT, f: F)
    where
        F: Fn(&mut T, Self::Item) + Sync + Send,
        INIT: Fn() -> T + Sync + Send,
    {
        reduce::for_each_init(self, &init, &f);
    }

    /// Calls `f` with each item until one call fails; which failure is returned
    /// depends on who was first.
    fn try_for_each<F, R>(self, f: F) -> R
    where
        F: Fn(Self::Item) -> R + Sync + Send,
        R: Try<Output = ()> + Send,
    {
        tries::try_reduce(self.map(f), &|| (), &|(), ()| R::from_output(()))
    }

    /// All items into one by `op`, which must be associative; `identity()` may be
    /// put in anywhere.
    fn reduce<OP, ID>(self, identity: ID, op: OP) -> Self::Item
    where
        OP: Fn(Self::Item, Self::Item) -> Self::Item + Sync + Send,
        ID: Fn() -> Self::Item + Sync + Send,
    {
        reduce::reduce(self, &identity, &op)
    }

    /// All items into one by `op`, which must be associative; `None` if there are
    /// none.
    fn reduce_with<OP>(self, op: OP) -> Option<Self::Item>
    where
        OP: Fn(Self::Item, Self::Item) -> Self::Item + Sync + Send,
    {
        reduce::reduce_with(self, &op)
    }

    /// [`reduce`](Self::reduce) of what the items hold, until one is a failure or
    /// `op` fails.
    fn try_reduce<T, OP, ID>(self, identity: ID, op: OP) -> Self::Item
    where
        OP: Fn(T, T) -> Self::Item + Sync + Send,
        ID: Fn() -> T + Sync + Send,
        Self::Item: Try<Output = T>,
        T: Send,
    {
        tries::try_reduce(self, &identity, &op)
    }

    /// The sum.
    fn sum<S>(self) -> S
    where
        S: Send + Sum<Self::Item> + Sum<S>,
    {
        reduce::sum(self)
    }

    /// The product.
    fn product<P>(self) -> P
    where
        P: Send + Product<Self::Item> + Product<P>,
    {
        reduce::product(self)
    }

    /// The number of items.
    fn count(self) -> usize {
        self.map(|_| 1_usize).sum()
    }

    /// The least; of equal ones, the first.
    fn min(self) -> Option<Self::Item>
    where
        Self::Item: Ord,
    {
        self.min_by(Ord::cmp)
    }

    /// The greatest; of equal ones, the last.
    fn max(self) -> Option<Self::Item>
    where
        Self::Item: Ord,
    {
        self.max_by(Ord::cmp)
    }

    /// The least by `compare`; of equal ones, the first.
    fn min_by<F>(self, compare: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item, &Self::Item) -> Ordering + Sync + Send,
    {
        self.reduce_with(|a, b| {
            if compare(&a, &b) == Ordering::Greater {
                b
            } else {
                a
            }
        })
    }

    /// The greatest by `compare`; of equal ones, the last.
    fn max_by<F>(self, compare: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item, &Self::Item) -> Ordering + Sync + Send,
    {
        self.reduce_with(|a, b| {
            if compare(&a, &b) == Ordering::Greater {
                a
            } else {
                b
            }
        })
    }

    /// The item with the least key; of equal ones, the first. One key an item.
    fn min_by_key<K, F>(self, key: F) -> Option<Self::Item>
    where
        K: Ord + Send,
        F: Fn(&Self::Item) -> K + Sync + Send,
    {
        self.map(|item| (key(&item), item))
            .min_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, item)| item)
    }

    /// The item with the greatest key; of equal ones, the last. One key an item.
    fn max_by_key<K, F>(self, key: F) -> Option<Self::Item>
    where
        K: Ord + Send,
        F: Fn(&Self::Item) -> K + Sync + Send,
    {
        self.map(|item| (key(&item), item))
            .max_by(|a, b| a.0.cmp(&b.0))
            .map(|(_, item)| item)
    }

    /// Some item that `wanted` accepts; the rest stops as soon as possible.
    fn find_any<F>(self, wanted: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item) -> bool + Sync + Send,
    {
        find::find(self.filter(wanted), Which::Any)
    }

    /// The first item that `wanted` accepts; what comes after it stops as soon as
    /// possible.
    fn find_first<F>(self, wanted: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item) -> bool + Sync + Send,
    {
        find::find(self.filter(wanted), Which::First)
    }

    /// The last item that `wanted` accepts.
    fn find_last<F>(self, wanted: F) -> Option<Self::Item>
    where
        F: Fn(&Self::Item) -> bool + Sync + Send,
    {
        find::find(self.filter(wanted), Which::Last)
    }

    /// The first thing that `f` makes of an item, anywhere.
    fn find_map_any<F, R>(self, f: F) -> Option<R>
    where
        F: Fn(Self::Item) -> Option<R> + Sync + Send,
        R: Send,
    {
        find::find(self.filter_map(f), Which::Any)
    }

    /// The first thing that `f` makes of an item, in order.
    fn find_map_first<F, R>(self, f: F) -> Option<R>
    where
        F: Fn(Self::Item) -> Option<R> + Sync + Send,
        R: Send,
    {
        find::find(self.filter_map(f), Which::First)
    }

    /// Does `wanted` accept some item?
    fn any<F>(self, wanted: F) -> bool
    where
        F: Fn(Self::Item) -> bool + Sync + Send,
    {
        self.map(wanted).find_any(|accepted| *accepted).is_some()
    }

    /// Does `wanted` accept every item?
    fn all<F>(self, wanted: F) -> bool
    where
        F: Fn(Self::Item) -> bool + Sync + Send,
    {
        self.map(wanted).find_any(|accepted| !*accepted).is_none()
    }

    /// All items in a collection, in order where that has one.
    fn collect<C: FromParallelIterator<Self::Item>>(self) -> C {
        C::from_par_iter(self)
    }

    /// Those that `f` accepts, and the others.
    fn partition<C, F>(self, f: F) -> (C, C)
    where
        C: Default + Send + ParallelExtend<Self::Item>,
        F: Fn(&Self::Item) -> bool + Sync + Send,
    {
        let (yes, no) = collect::partition(self, &f);
        let (mut left, mut right) = (C::default(), C::default());
        left.par_extend(yes);
        right.par_extend(no);
        (left, right)
    }

    /// The firsts and the seconds of pairs.
    fn unzip<A, B, CA, CB>(self) -> (CA, CB)
    where
        Self: ParallelIterator<Item = (A, B)>,
        A: Send,
        B: Send,
        CA: Default + Send + ParallelExtend<A>,
        CB: Default + Send + ParallelExtend<B>,
    {
        let (firsts, seconds) = collect::unzip(self);
        let (mut left, mut right) = (CA::default(), CB::default());
        left.par_extend(firsts);
        right.par_extend(seconds);
        (left, right)
    }
}

/// A parallel iterator that knows the place of each item: it can be split at any.
pub trait IndexedParallelIterator: ParallelIterator {
    /// The items of a piece, one after the other.
    type Seq: DoubleEndedIterator<Item = Self::Item> + ExactSizeIterator;

    /// The number of items.
    fn len(&self) -> usize;

    /// The items before `at`, and from there on; `at ≤ len`.
    fn split_at(self, at: usize) -> (Self, Self);

    /// Sequentially from here on.
    fn into_seq(self) -> Self::Seq;

    /// The least length of a piece.
    fn min_len(&self) -> usize {
        1
    }

    /// The greatest length of a piece.
    fn max_len(&self) -> usize {
        usize::MAX
    }

    /// Is there no item?
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Pairs with the items of `other`, until either ends.
    fn zip<Z>(self, other: Z) -> Zip<Self, Z::Iter>
    where
        Z: IntoParallelIterator,
        Z::Iter: IndexedParallelIterator,
    {
        Zip::new(self, other.into_par_iter())
    }

    /// [`zip`](Self::zip) of two of the same length.
    ///
    /// # Panics
    /// If the lengths differ.
    fn zip_eq<Z>(self, other: Z) -> Zip<Self, Z::Iter>
    where
        Z: IntoParallelIterator,
        Z::Iter: IndexedParallelIterator,
    {
        let other = other.into_par_iter();
        assert_eq!(self.len(), other.len(), "zip_eq of different lengths");
        Zip::new(self, other)
    }

    /// Pairs of place and item.
    fn enumerate(self) -> Enumerate<Self> {
        Enumerate::new(self)
    }

    /// The items in vectors of `size`, the last one shorter if need be.
    ///
    /// # Panics
    /// If `size` is zero.
    fn chunks(self, size: usize) -> Chunks<Self> {
        assert!(size != 0, "chunks of no items");
        Chunks::new(self, size)
    }

    /// The items from the last to the first.
    fn rev(self) -> Rev<Self> {
        Rev::new(self)
    }

    /// Each `step`-th item, beginning with the first.
    ///
    /// # Panics
    /// If `step` is zero.
    fn step_by(self, step: usize) -> StepBy<Self> {
        assert!(step != 0, "steps of no items");
        StepBy::new(self, step)
    }

    /// The first `n` items.
    fn take(self, n: usize) -> Self {
        let n = n.min(self.len());
        self.split_at(n).0
    }

    /// All but the first `n` items.
    fn skip(self, n: usize) -> Self {
        let n = n.min(self.len());
        self.split_at(n).1
    }

    /// Pieces of at least `min` items.
    fn with_min_len(self, min: usize) -> MinLen<Self> {
        MinLen::new(self, min)
    }

    /// Pieces of at most `max` items.
    fn with_max_len(self, max: usize) -> MaxLen<Self> {
        MaxLen::new(self, max)
    }

    /// The place of some item that `wanted` accepts.
    fn position_any<F>(self, wanted: F) -> Option<usize>
    where
        F: Fn(Self::Item) -> bool + Sync + Send,
    {
        self.map(wanted)
            .enumerate()
            .find_any(|(_, accepted)| *accepted)
            .map(|(at, _)| at)
    }

    /// The place of the first item that `wanted` accepts.
    fn position_first<F>(self, wanted: F) -> Option<usize>
    where
        F: Fn(Self::Item) -> bool + Sync + Send,
    {
        self.map(wanted)
            .enumerate()
            .find_first(|(_, accepted)| *accepted)
            .map(|(at, _)| at)
    }

    /// Collects into `target`, whose memory is used again and whose contents go.
    fn collect_into_vec(self, target: &mut Vec<Self::Item>) {
        target.clear();
        target.par_extend(self);
    }
}

/// Shares an adapter's closure among the pieces of its iterator.
pub(crate) type Shared<F> = Arc<F>;
