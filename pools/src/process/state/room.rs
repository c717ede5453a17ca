//! Tasks that wait: for room in the queue, first come first served, or for the end
//! of the pool.
//!
//! A task keeps its place, by number, until it has been let in or gives up. When
//! there is room for `n` jobs the first `n` are woken, not all of them; one that
//! gives up after it was woken passes that on
//! ([`Admission`](crate::process::admission::Admission)). The model with a twin that
//! doesn't is `tests/loom/process/room.rs`.

use crate::switch::{Weakening, weakened};
use std::collections::BTreeMap;
use std::task::Waker;

/// See the head of this file.
#[derive(Debug, Default)]
pub struct Room {
    waiting: BTreeMap<u64, Waker>,
    next: u64,
    /// Tasks that wait for the end.
    pub for_the_end: Vec<Waker>,
}

impl Room {
    /// Waits at the place `id`, or behind all others.
    pub fn wait(&mut self, id: Option<u64>, waker: &Waker) -> u64 {
        let id = id.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.waiting.insert(id, waker.clone());
        id
    }

    /// Waits no more, having been let in.
    pub fn leave(&mut self, id: u64) {
        self.waiting.remove(&id);
    }

    /// Waits no more, without having been let in. `true` if it had been called: then
    /// the next is to be.
    pub fn give_up(&mut self, id: u64) -> bool {
        self.waiting.remove(&id).is_none() && !weakened(Weakening::GiveUpUntold)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.for_the_end.is_empty()
    }

    /// The first `n` tasks, to be woken, and whoever waits for the end.
    pub fn call(&mut self, n: usize) -> Vec<Waker> {
        let mut wakers = std::mem::take(&mut self.for_the_end);
        while wakers.len() < n
            && let Some((_, waker)) = self.waiting.pop_first()
        {
            wakers.push(waker);
        }
        wakers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_kept_and_only_so_many_are_called() {
        let mut room = Room::default();
        let waker = Waker::noop();
        let first = room.wait(None, waker);
        let second = room.wait(None, waker);
        assert_eq!(room.wait(Some(first), waker), first);
        assert_eq!(room.call(1).len(), 1);
        assert!(room.give_up(first), "called");
        assert_eq!(room.wait(Some(first), waker), first, "before the second");
        assert_eq!(room.call(1).len(), 1);
        assert!(!room.give_up(second), "not called");
        assert!(room.is_empty());
    }
}
