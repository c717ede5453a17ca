//! A work-stealing deque small enough for loom: the algorithm of
//! `crossbeam-deque` (Chase and Lev, with the fences of Lê et al., 2013), on a
//! buffer that doesn't grow.
//!
//! The models drive the shipped protocols over this deque. It has no orderings
//! that crossbeam's hasn't, so that a protocol can't lean on a lock inside it;
//! a mutex around a `VecDeque` would hide the very bugs the models look for.
//! Compiled always, so that it can't rot, and used by the models alone.

use std::sync::Arc;

use crate::switch::atomic::{AtomicIsize, AtomicUsize, Ordering, fence};
use crate::switch::{Mutex, Weakening, weakened};

/// More elements than any model pushes.
const CAPACITY: usize = 4;

/// What a steal came back with; as `crossbeam_deque::Steal`.
#[derive(Debug)]
pub enum Steal<T> {
    /// Nothing to steal.
    Empty,
    /// One element.
    Success(T),
    /// Somebody else was faster; try again.
    Retry,
}

/// An element of the model, as one word.
pub trait Word: Sized {
    /// As a word.
    fn into_word(self) -> usize;
    /// Back from a word made by [`into_word`](Self::into_word).
    fn from_word(word: usize) -> Self;
}

impl Word for usize {
    fn into_word(self) -> usize {
        self
    }
    fn from_word(word: usize) -> Self {
        word
    }
}

#[derive(Debug)]
struct Ring {
    front: AtomicIsize,
    back: AtomicIsize,
    slots: Vec<AtomicUsize>,
}

/// The owner's end: push and pop, last in, first out.
#[derive(Debug)]
pub struct Owner<T>(Arc<Ring>, std::marker::PhantomData<std::cell::Cell<T>>);

/// The other end: steal the oldest.
#[derive(Debug)]
pub struct Thief<T>(Arc<Ring>, std::marker::PhantomData<fn(T) -> T>);

impl<T: Word> Owner<T> {
    /// An empty deque.
    pub fn new_lifo() -> Self {
        Self(
            Arc::new(Ring {
                front: AtomicIsize::new(0),
                back: AtomicIsize::new(0),
                slots: (0..CAPACITY).map(|_| AtomicUsize::new(0)).collect(),
            }),
            std::marker::PhantomData,
        )
    }

    /// A thief's end of this deque.
    pub fn stealer(&self) -> Thief<T> {
        Thief(self.0.clone(), std::marker::PhantomData)
    }

    /// Is it empty, as far as the owner can tell?
    pub fn is_empty(&self) -> bool {
        self.0.back.load(Ordering::Relaxed) - self.0.front.load(Ordering::Relaxed) <= 0
    }

    /// How many there are, about.
    pub fn len(&self) -> usize {
        let front = self.0.front.load(Ordering::Relaxed);
        let len = self.0.back.load(Ordering::Relaxed) - front;
        len.max(0).cast_unsigned()
    }

    /// Adds `value` at the owner's end.
    pub fn push(&self, value: T) {
        let ring = &*self.0;
        let back = ring.back.load(Ordering::Relaxed);
        assert!(back - ring.front.load(Ordering::Acquire) < CAPACITY as isize);
        ring.slots[back as usize % CAPACITY].store(value.into_word(), Ordering::Relaxed);
        fence(Ordering::Release); // with the thief's Acquire load of `back`
        ring.back.store(back + 1, Ordering::Relaxed);
    }

    /// Takes the youngest.
    pub fn pop(&self) -> Option<T> {
        let ring = &*self.0;
        let back = ring.back.load(Ordering::Relaxed);
        if back - ring.front.load(Ordering::Relaxed) <= 0 {
            return None;
        }
        let back = back - 1;
        ring.back.store(back, Ordering::Relaxed);
        fence(Ordering::SeqCst); // with the thief's: one of the two sees the other
        let front = ring.front.load(Ordering::Relaxed);
        if front > back {
            ring.back.store(back + 1, Ordering::Relaxed);
            return None;
        }
        let word = ring.slots[back as usize % CAPACITY].load(Ordering::Relaxed);
        if front == back && !weakened(Weakening::SkipLastRace) {
            let won = ring
                .front
                .compare_exchange(front, front + 1, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok();
            ring.back.store(back + 1, Ordering::Relaxed);
            return won.then(|| T::from_word(word));
        }
        Some(T::from_word(word))
    }
}

impl<T: Word> Thief<T> {
    /// How many there are, about.
    pub fn len(&self) -> usize {
        let front = self.0.front.load(Ordering::Acquire);
        (self.0.back.load(Ordering::Acquire) - front).max(0) as usize
    }

    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        let front = self.0.front.load(Ordering::Acquire);
        fence(Ordering::SeqCst);
        self.0.back.load(Ordering::Acquire) - front <= 0
    }

    /// Takes the oldest.
    pub fn steal(&self) -> Steal<T> {
        let ring = &*self.0;
        let front = ring.front.load(Ordering::Acquire);
        fence(Ordering::SeqCst); // with the owner's in `pop`
        if ring.back.load(Ordering::Acquire) - front <= 0 {
            return Steal::Empty;
        }
        let word = ring.slots[front as usize % CAPACITY].load(Ordering::Relaxed);
        match ring
            .front
            .compare_exchange(front, front + 1, Ordering::SeqCst, Ordering::Relaxed)
        {
            Ok(_) => Steal::Success(T::from_word(word)),
            Err(_) => Steal::Retry,
        }
    }

    /// Takes the oldest; the model moves no batch.
    pub fn steal_batch_and_pop(&self, _into: &Owner<T>) -> Steal<T> {
        self.steal()
    }
}

impl<T> Clone for Thief<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), std::marker::PhantomData)
    }
}

/// A queue for everybody.
#[derive(Debug)]
pub struct Injector<T>(Mutex<std::collections::VecDeque<T>>);

impl<T> Default for Injector<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Injector<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self(Mutex::new(std::collections::VecDeque::new()))
    }
    /// Adds at the end.
    pub fn push(&self, value: T) {
        self.0.lock().unwrap().push_back(value);
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
    /// Takes the oldest.
    pub fn steal(&self) -> Steal<T> {
        match self.0.lock().unwrap().pop_front() {
            Some(value) => Steal::Success(value),
            None => Steal::Empty,
        }
    }
    /// Takes the oldest; the model moves no batch.
    pub fn steal_batch_and_pop(&self, _into: &Owner<T>) -> Steal<T> {
        self.steal()
    }
}
