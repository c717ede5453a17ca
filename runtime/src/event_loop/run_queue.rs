//! The tasks that want to be polled, by number, first come, first served.
//!
//! A ring in one allocation, of a power of two so that going round is a mask.
//! Woken tasks always go to the back, also those that wake themselves: putting
//! them in front starves the rest.
//!
//! Invariant **R1**: the ring's length is a power of two, and `mask` is one less; so
//! whatever is masked lies within the ring.

#![allow(unsafe_code)] // The ring without checks of bounds, by invariant R1.

use crate::limits::RUN_QUEUE_KEEP;

const FIRST_CAPACITY: usize = 64;

/// See the [module](self).
pub struct RunQueue {
    ring: Box<[u32]>,
    mask: usize,
    /// Counts what was popped; counters run free and are masked on use.
    head: usize,
    /// Counts what was pushed.
    tail: usize,
}

impl Default for RunQueue {
    fn default() -> RunQueue {
        RunQueue::new()
    }
}

impl RunQueue {
    /// An empty queue with room for a few.
    #[must_use]
    pub fn new() -> RunQueue {
        RunQueue {
            ring: vec![0; FIRST_CAPACITY].into_boxed_slice(),
            mask: FIRST_CAPACITY - 1,
            head: 0,
            tail: 0,
        }
    }

    /// Numbers in the queue.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.tail.wrapping_sub(self.head)
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// How many numbers were ever pushed.
    #[must_use]
    pub fn pushed(&self) -> u64 {
        self.tail as u64
    }

    /// How many numbers were ever popped.
    #[must_use]
    pub fn popped(&self) -> u64 {
        self.head as u64
    }

    #[inline]
    fn at(&self, counter: usize) -> u32 {
        debug_assert!(self.mask < self.ring.len());
        // SAFETY: R1.
        unsafe { *self.ring.get_unchecked(counter & self.mask) }
    }

    /// Appends a number. O(1), amortized.
    #[inline(always)]
    pub fn push(&mut self, number: u32) {
        if self.len() > self.mask {
            return self.grow_and_push(number);
        }
        self.put(number);
    }

    #[inline(always)]
    fn put(&mut self, number: u32) {
        debug_assert!(self.mask < self.ring.len());
        // SAFETY: R1.
        let place = unsafe { self.ring.get_unchecked_mut(self.tail & self.mask) };
        *place = number;
        self.tail = self.tail.wrapping_add(1);
    }

    /// Takes the oldest number. O(1).
    #[inline]
    pub fn pop(&mut self) -> Option<u32> {
        if self.is_empty() {
            return None;
        }
        let number = self.at(self.head);
        self.head = self.head.wrapping_add(1);
        Some(number)
    }

    /// The number that stands `index` places behind the oldest. O(1).
    #[inline]
    #[must_use]
    pub fn peek(&self, index: usize) -> Option<u32> {
        (index < self.len()).then(|| self.at(self.head.wrapping_add(index)))
    }

    /// Brings the number that stands `index` places behind the oldest to the
    /// front, in exchange for it. O(1).
    pub fn bring_to_front(&mut self, index: usize) {
        debug_assert!(index < self.len());
        let other = self.head.wrapping_add(index);
        self.ring.swap(self.head & self.mask, other & self.mask);
    }

    /// The end of a push that finds the ring full. (With the push in it, whoever
    /// pushes last can leave by a jump here, and needs no frame.)
    #[cold]
    #[inline(never)]
    fn grow_and_push(&mut self, number: u32) {
        self.move_to(self.ring.len() * 2);
        self.put(number);
    }

    #[cold]
    fn move_to(&mut self, capacity: usize) {
        debug_assert!(capacity.is_power_of_two() && capacity >= self.len());
        let mut ring = vec![0; capacity].into_boxed_slice();
        for index in 0..self.len() {
            let counter = self.head.wrapping_add(index);
            ring[counter & (capacity - 1)] = self.at(counter);
        }
        self.ring = ring;
        self.mask = capacity - 1;
    }

    /// Gives memory back after a flood; called once a turn. A ring that is at most
    /// a quarter full is halved, so a turn's polls pay for what is moved.
    #[inline]
    pub fn trim(&mut self) {
        if self.ring.len() > RUN_QUEUE_KEEP && self.len() <= self.ring.len() / 4 {
            self.move_to(self.ring.len() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn behaves_as_a_deque_also_across_growth() {
        let mut queue = RunQueue::new();
        let mut model = VecDeque::new();
        let mut random = 1_u64;
        for step in 0..20_000_u32 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // More pushes than pops in the first half, fewer in the second.
            let limit = if step < 10_000 { 10 } else { 6 };
            if (random >> 33) % 16 < limit {
                queue.push(step);
                model.push_back(step);
            } else {
                assert_eq!(queue.pop(), model.pop_front());
            }
            if !model.is_empty() && step % 7 == 0 {
                let index = step as usize % model.len();
                assert_eq!(queue.peek(index), model.get(index).copied());
                queue.bring_to_front(index);
                model.swap(0, index);
            }
            assert_eq!(queue.len(), model.len());
        }
        assert_eq!(queue.pushed() - queue.popped(), model.len() as u64);
        assert!(queue.pushed() > 5_000, "also after the ring has moved");
    }

    #[test]
    fn a_flood_leaves_no_memory_behind() {
        let mut queue = RunQueue::new();
        for number in 0..RUN_QUEUE_KEEP as u32 + 1 {
            queue.push(number);
        }
        let most = queue.ring.len();
        for number in 0..RUN_QUEUE_KEEP as u32 + 1 {
            assert_eq!(queue.pop(), Some(number));
            queue.trim();
        }
        assert!(most > RUN_QUEUE_KEEP && queue.ring.len() <= RUN_QUEUE_KEEP);
        queue.push(7);
        assert_eq!(queue.pop(), Some(7));
    }
}
