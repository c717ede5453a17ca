//! Std's other collections, and any sequential iterator.
//!
//! A tree or a hash table can't be split from outside, so its items (or references
//! to them) go into a vector first, as rayon does.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::hash::Hash;

use crate::thread::iter::{Consumer, IntoParallelIterator, ParallelIterator, vec};
use std::sync::Mutex;

macro_rules! through_vec {
    ($([$($generics:tt)*] $type:ty, $item:ty;)*) => {$(
        impl<$($generics)*> IntoParallelIterator for $type {
            type Iter = vec::IntoIter<$item>;
            type Item = $item;
            fn into_par_iter(self) -> Self::Iter {
                self.into_iter().collect::<Vec<_>>().into_par_iter()
            }
        }
    )*};
}

through_vec! {
    [T: Send] VecDeque<T>, T;
    [T: Send] LinkedList<T>, T;
    [T: Send + Ord] BinaryHeap<T>, T;
    [T: Send + Ord] BTreeSet<T>, T;
    [K: Send + Ord, V: Send] BTreeMap<K, V>, (K, V);
    [T: Send + Hash + Eq, S] HashSet<T, S>, T;
    [K: Send + Hash + Eq, V: Send, S] HashMap<K, V, S>, (K, V);
    [T: Send] Option<T>, T;
    ['a, T: Sync] &'a VecDeque<T>, &'a T;
    ['a, T: Sync] &'a LinkedList<T>, &'a T;
    ['a, T: Sync + Ord] &'a BTreeSet<T>, &'a T;
    ['a, K: Sync + Ord, V: Sync] &'a BTreeMap<K, V>, (&'a K, &'a V);
    ['a, T: Sync + Hash + Eq, S] &'a HashSet<T, S>, &'a T;
    ['a, K: Sync + Hash + Eq, V: Sync, S] &'a HashMap<K, V, S>, (&'a K, &'a V);
    ['a, K: Sync + Send + Ord, V: Send] &'a mut BTreeMap<K, V>, (&'a K, &'a mut V);
    ['a, K: Sync + Send + Hash + Eq, V: Send, S] &'a mut HashMap<K, V, S>, (&'a K, &'a mut V);
}

/// Turns any sequential iterator into a parallel one, whose items come in no
/// particular order.
pub trait ParallelBridge: Iterator + Send + Sized {
    /// Becomes parallel. Threads take turns at the iterator, under a lock, so its
    /// items should be worth more than that.
    fn par_bridge(self) -> Bridge<Self> {
        Bridge { items: self }
    }
}

impl<I: Iterator + Send> ParallelBridge for I {}

/// See [`ParallelBridge::par_bridge`].
#[derive(Debug)]
pub struct Bridge<I> {
    items: I,
}

struct Turns<'a, I>(&'a Mutex<std::iter::Fuse<I>>);

impl<I: Iterator> Iterator for Turns<'_, I> {
    type Item = I::Item;
    fn next(&mut self) -> Option<I::Item> {
        // A poisoned iterator panicked in another thread, which passes that on.
        self.0.lock().ok()?.next()
    }
}

impl<I: Iterator + Send> ParallelIterator for Bridge<I>
where
    I::Item: Send,
{
    type Item = I::Item;
    fn drive<C: Consumer<I::Item>>(self, consumer: C) -> C::Result {
        let items = Mutex::new(self.items.fuse());
        let pieces = crate::thread::current_num_threads();
        take_turns(&items, pieces, consumer)
    }
}

fn take_turns<I: Iterator + Send, C: Consumer<I::Item>>(
    items: &Mutex<std::iter::Fuse<I>>,
    pieces: usize,
    consumer: C,
) -> C::Result
where
    I::Item: Send,
{
    if pieces <= 1 {
        return consumer.consume(Turns(items));
    }
    let half = pieces / 2;
    let (left, right) = consumer.split(0);
    let (left, right) = crate::thread::join(
        || take_turns(items, half, left),
        || take_turns(items, pieces - half, right),
    );
    consumer.merge(left, right)
}
