//! In which order a queue gives its items.
//!
//! Read before: `queue.rs`; after: `limiter.rs`.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};

/// Which item of a queue goes out first, as far as the order says in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// It needn't have to do with that order.
    Any = 0,
    /// The one that is there longest.
    Oldest = 1,
    /// The one that came last.
    Newest = 2,
}

/// In which order items come out.
pub trait Discipline<T>: Default {
    /// Which item [`pop`](Self::pop) takes. For traces, where a `get` points back to
    /// its `put` if this tells which that was.
    const TAKES: Takes = Takes::Any;

    /// Puts an item in.
    fn push(&mut self, item: T);
    /// Takes the first one out.
    fn pop(&mut self) -> Option<T>;
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// First in, first out. O(1).
#[derive(Debug)]
pub struct Fifo<T>(VecDeque<T>);

/// Last in, first out. O(1).
#[derive(Debug)]
pub struct Lifo<T>(Vec<T>);

/// The smallest first, equal ones in the order they came. O(log n).
///
/// `T`'s comparison runs while the queue is locked: it must not use the queue.
#[derive(Debug)]
pub struct Priority<T: Ord> {
    heap: BinaryHeap<Ranked<T>>,
    count: u64,
}

impl<T> Default for Fifo<T> {
    fn default() -> Self {
        Fifo(VecDeque::new())
    }
}

impl<T> Discipline<T> for Fifo<T> {
    const TAKES: Takes = Takes::Oldest;

    fn push(&mut self, item: T) {
        self.0.push_back(item);
    }
    fn pop(&mut self) -> Option<T> {
        self.0.pop_front()
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Default for Lifo<T> {
    fn default() -> Self {
        Lifo(Vec::new())
    }
}

impl<T> Discipline<T> for Lifo<T> {
    const TAKES: Takes = Takes::Newest;

    fn push(&mut self, item: T) {
        self.0.push(item);
    }
    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T: Ord> Default for Priority<T> {
    fn default() -> Self {
        Priority {
            heap: BinaryHeap::new(),
            count: 0,
        }
    }
}

impl<T: Ord> Discipline<T> for Priority<T> {
    fn push(&mut self, item: T) {
        let came = self.count;
        self.count += 1;
        self.heap.push(Ranked { item, came });
    }
    fn pop(&mut self) -> Option<T> {
        self.heap.pop().map(|ranked| ranked.item)
    }
    fn len(&self) -> usize {
        self.heap.len()
    }
}

/// An item in a heap that gives the *greatest* first: so the smallest item,
/// and of equal ones the oldest, is the greatest.
#[derive(Debug)]
struct Ranked<T> {
    item: T,
    came: u64,
}

impl<T: Ord> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.item.cmp(&self.item)).then(other.came.cmp(&self.came))
    }
}

impl<T: Ord> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Ord> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T: Ord> Eq for Ranked<T> {}
