//! Searches that stop once they have found.
//!
//! For the first (or last) item each piece knows its place among all pieces: the
//! interval of the line from 0 to 2^64 that splitting has left it, halved at each
//! split. A piece gives up when a piece before (after) it has found something.
//! After 64 splits places collide, and pieces merely search on for nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::thread::iter::{Consumer, ParallelIterator};

/// Which of several finds counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Any.
    Any,
    /// The first in order.
    First,
    /// The last in order.
    Last,
}

#[derive(Clone)]
struct Find<'f> {
    which: Which,
    /// The best place found, counted from the end that is wanted; `MAX` if none.
    best: &'f AtomicU64,
    /// This piece's interval, counted alike.
    low: u64,
    high: u64,
}

impl Find<'_> {
    fn in_vain(&self) -> bool {
        // Relaxed: the results go by the joins; this only saves work.
        let best = self.best.load(Ordering::Relaxed);
        match self.which {
            Which::Any => best != u64::MAX,
            // Strictly: of two pieces in one place, both go on.
            Which::First | Which::Last => best < self.low,
        }
    }
}

impl<T: Send> Consumer<T> for Find<'_> {
    type Result = Option<T>;

    fn split(&self, _at: usize) -> (Self, Self) {
        let middle = self.low + (self.high - self.low) / 2;
        let (mut left, mut right) = (self.clone(), self.clone());
        if self.which == Which::Last {
            left.low = middle;
            right.high = middle;
        } else {
            left.high = middle;
            right.low = middle;
        }
        (left, right)
    }

    fn consume<I: Iterator<Item = T>>(self, mut items: I) -> Option<T> {
        let mut found = None;
        while !self.in_vain() {
            match items.next() {
                None => break,
                Some(item) => {
                    found = Some(item);
                    if self.which != Which::Last {
                        break;
                    }
                }
            }
        }
        if found.is_some() {
            self.best.fetch_min(self.low, Ordering::Relaxed);
        }
        found
    }

    fn merge(&self, left: Option<T>, right: Option<T>) -> Option<T> {
        match self.which {
            Which::Last => right.or(left),
            Which::Any | Which::First => left.or(right),
        }
    }

    fn is_full(&self) -> bool {
        self.in_vain()
    }
}

pub(crate) fn find<I: ParallelIterator>(items: I, which: Which) -> Option<I::Item> {
    let best = AtomicU64::new(u64::MAX);
    items.drive(Find {
        which,
        best: &best,
        low: 0,
        high: u64::MAX - 1,
    })
}
