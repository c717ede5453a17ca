//! Where a thread keeps its jobs: a deque for some, and an attic for what has no room
//! there.
//!
//! Before this: `deque_model.rs`, `attic.rs`. After it: `lane.rs`. The argument stands in
//! `README.md` beside this file ("A million jobs").

use std::cell::Cell;
use std::sync::Arc;
use std::time::Instant;

use crate::limits;
use crate::switch::{Injector, Owner, Steal, Thief};
use crate::thread::attic::{Attic, AtticOwner};
use crate::thread::deque_model::Word;

/// The owner's end: push and pop, last in, first out.
///
/// ```text
///                push, and the deque is full
///   DOWNSTAIRS ------------------------------> UPSTAIRS
///              <------------------------------
///                pop, and the attic is empty
/// ```
/// Invariants:
/// - **P1** Upstairs, nothing is pushed to the deque: all of it is older than what lies in
///   the attic. Downstairs, the attic is empty.
/// - **P2** The owner comes downstairs with the attic's lock held. So a thief that holds
///   it, and finds the attic not empty, finds the oldest job by looking into the
///   deque, then into the attic.
#[derive(Debug)]
pub struct Pile<T> {
    deque: Owner<T>,
    attic: AtticOwner<T>,
    upstairs: Cell<bool>,
    /// Since when the owner is downstairs, if the attic has spare memory.
    spare_since: Cell<Option<Instant>>,
    /// Pushes less pops. Only differences count.
    height: Cell<isize>,
    /// At this height the deque may be full: steals aren't counted.
    full_at: Cell<isize>,
    /// Jobs that the deque takes.
    capacity: usize,
}

/// The other end: steal the oldest.
#[derive(Debug)]
pub struct PileThief<T> {
    deque: Thief<T>,
    attic: Arc<Attic<T>>,
}

impl<T: Word> Pile<T> {
    /// An empty one, whose deque takes `capacity` jobs, and a room of its attic `room`.
    pub fn new(capacity: usize, room: usize) -> (Self, PileThief<T>) {
        let deque = Owner::new_lifo();
        let attic = AtticOwner::new(room);
        let thief = PileThief {
            deque: deque.stealer(),
            attic: attic.shared().clone(),
        };
        let owner = Self {
            deque,
            attic,
            upstairs: Cell::new(false),
            spare_since: Cell::new(None),
            height: Cell::new(0),
            full_at: Cell::new(capacity.cast_signed()),
            capacity,
        };
        (owner, thief)
    }

    /// Pushes less pops: at the end of a scope, what was pushed since its beginning
    /// lies above the value of then.
    pub fn height(&self) -> isize {
        self.height.get()
    }

    /// Is it empty, as far as the owner can tell?
    pub fn is_empty(&self) -> bool {
        self.deque.is_empty() && self.attic.shared().is_empty()
    }

    /// Adds `value` at the owner's end.
    #[inline(always)] // see `Seat::push_job`
    pub fn push(&self, value: T) {
        let height = self.height.get();
        if height == self.full_at.get() {
            self.look_for_room();
        }
        self.height.set(height.wrapping_add(1));
        if self.upstairs.get() {
            self.attic.push(value);
        } else {
            self.deque.push(value);
        }
    }

    /// The deque may be full: unless thieves have half emptied it, the owner goes
    /// upstairs.
    #[cold]
    #[inline(never)]
    fn look_for_room(&self) {
        if self.deque.len() > self.capacity / 2 {
            self.upstairs.set(true);
        } else if !self.upstairs.get() {
            self.note_room();
        }
    }

    /// Up to where the deque has room. (A batch may have filled it more than a push would:
    /// then it has grown, and shrinks again.)
    fn note_room(&self) {
        let room = self.capacity.saturating_sub(self.deque.len());
        let full_at = self.height.get().wrapping_add(room.cast_signed());
        self.full_at.set(full_at);
    }

    /// Takes the youngest.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        if self.upstairs.get() {
            let popped = self.attic.pop();
            if popped.is_some() {
                self.height.set(self.height.get().wrapping_sub(1));
                return popped;
            }
            self.come_down();
        }
        let popped = self.deque.pop();
        if popped.is_some() {
            self.height.set(self.height.get().wrapping_sub(1));
        }
        popped
    }

    #[cold]
    #[inline(never)]
    fn come_down(&self) {
        self.upstairs.set(false);
        self.note_room();
        self.spare_since.set(Some(Instant::now()));
    }

    /// Takes a batch of the oldest of `injector`: one to be run, the others to itself.
    pub fn take_batch_of(&self, injector: &Injector<T>) -> Option<T> {
        if self.upstairs.get() {
            return steal_by(|| injector.steal());
        }
        let value = steal_by(|| injector.steal_batch_and_pop(&self.deque))?;
        self.note_room();
        Some(value)
    }

    /// When its spare memory will have been of no use for long enough; `None` without any.
    pub fn spares_due(&self) -> Option<Instant> {
        let since = self.spare_since.get()?;
        Some(since + limits::KEEP_SPARE_ROOMS)
    }

    /// Gives its spare memory back.
    pub fn free_spares(&self) {
        self.spare_since.set(None);
        self.attic.free_spares();
    }
}

impl<T: Word> PileThief<T> {
    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.deque.is_empty() && self.attic.is_empty()
    }

    /// How many there are, about.
    pub fn len(&self) -> usize {
        self.deque.len() + self.attic.len()
    }

    /// Takes the oldest, however often others are faster.
    pub fn steal(&self) -> Option<T> {
        let in_deque = || steal_by(|| self.deque.steal());
        in_deque().or_else(|| {
            if self.attic.is_empty() {
                return None;
            }
            self.attic.steal(1, in_deque).pop()
        })
    }

    /// Takes a batch of the oldest: one to be run, the others into `into`.
    pub fn steal_batch_and_pop(&self, into: &Pile<T>) -> Option<T> {
        if into.upstairs.get() {
            return self.steal();
        }
        let in_deque = || steal_by(|| self.deque.steal_batch_and_pop(&into.deque));
        if let Some(value) = in_deque() {
            into.note_room();
            return Some(value);
        }
        if self.attic.is_empty() {
            return None;
        }
        let mut batch = self.attic.steal(limits::JOBS_A_THEFT, in_deque);
        into.note_room();
        let value = batch.pop()?;
        batch.into_iter().for_each(|value| into.push(value));
        Some(value)
    }
}

/// Steals by `steal`, however often others are faster.
pub fn steal_by<T>(mut steal: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match steal() {
            Steal::Success(value) => return Some(value),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    const CAPACITY: usize = limits::JOBS_A_DEQUE;
    /// Small, so that there are many.
    const ROOM: usize = 128;

    fn pile_of(jobs: usize) -> (Pile<usize>, PileThief<usize>) {
        let (pile, thief) = Pile::new(CAPACITY, ROOM);
        (0..jobs).for_each(|job| pile.push(job));
        (pile, thief)
    }

    #[test]
    fn the_youngest_comes_first_across_rooms() {
        let (pile, thief) = pile_of(1000);
        assert_eq!((pile.height(), thief.len()), (1000, 1000));
        assert!((0..1000).rev().all(|job| pile.pop() == Some(job)));
        assert_eq!((pile.pop(), pile.height()), (None, 0));
        assert!(pile.is_empty() && thief.is_empty());
        assert!(!pile.upstairs.get());
    }

    #[test]
    fn thieves_take_the_oldest_across_rooms() {
        let (pile, thief) = pile_of(1000);
        assert!((0..1000).all(|job| thief.steal() == Some(job)));
        assert_eq!(thief.steal(), None);
        assert!(pile.is_empty() && thief.is_empty());
        // The owner is still upstairs, where thieves have left nothing.
        pile.push(7);
        assert!(!thief.is_empty());
        assert_eq!((thief.len(), pile.pop(), pile.pop()), (1, Some(7), None));
        assert!(!pile.upstairs.get());
    }

    #[test]
    fn a_thief_takes_a_batch_along() {
        let ((pile, thief), (mine, _)) = (pile_of(3 * CAPACITY), pile_of(0));
        for _ in 0..CAPACITY {
            thief.steal();
        }
        let mut rest = vec![thief.steal_batch_and_pop(&mine).unwrap()];
        rest.extend(std::iter::from_fn(|| mine.pop()));
        assert_eq!(rest.iter().min(), Some(&CAPACITY), "not of the oldest");
        assert!((2..=CAPACITY).contains(&rest.len()));
        rest.extend(std::iter::from_fn(|| pile.pop()));
        rest.sort_unstable();
        assert!(rest.into_iter().eq(CAPACITY..3 * CAPACITY));
    }

    fn rooms_of(pile: &Pile<usize>) -> (usize, usize) {
        pile.attic.rooms()
    }

    #[test]
    fn rooms_are_kept_for_the_next_jobs_and_given_back_on_demand() {
        let (pile, _thief) = pile_of(CAPACITY + 9 * ROOM);
        assert_eq!((rooms_of(&pile), pile.spares_due()), ((9, 0), None));
        while pile.pop().is_some() {}
        assert_eq!(rooms_of(&pile), (0, 9));
        (0..CAPACITY + 4 * ROOM).for_each(|job| pile.push(job));
        assert_eq!(rooms_of(&pile), (4, 5));
        while pile.pop().is_some() {}
        assert_eq!(rooms_of(&pile), (0, 9));
        assert!(pile.spares_due().is_some());
        pile.free_spares();
        assert_eq!((rooms_of(&pile), pile.spares_due()), ((0, 0), None));
    }

    #[test]
    fn rooms_that_thieves_empty_serve_the_owner_again() {
        let (pile, thief) = pile_of(CAPACITY + ROOM);
        for job in CAPACITY + ROOM..CAPACITY + 1000 * ROOM {
            pile.push(job);
            assert_eq!(thief.steal(), Some(job - CAPACITY - ROOM));
        }
        let (used, spare) = rooms_of(&pile);
        assert!(used + spare <= 4, "{used} + {spare} rooms for two");
        let left = 999 * ROOM..CAPACITY + 1000 * ROOM;
        assert!(left.rev().all(|job| pile.pop() == Some(job)));
        assert_eq!(pile.pop(), None);
    }

    #[test]
    fn a_push_and_a_pop_at_the_edge_need_one_room() {
        for jobs in [CAPACITY, CAPACITY + ROOM] {
            let (pile, _thief) = pile_of(jobs);
            for _ in 0..100 {
                pile.push(1);
                assert_eq!(pile.pop(), Some(1));
            }
            let (used, spare) = rooms_of(&pile);
            assert_eq!(used + spare, 1 + jobs / (CAPACITY + ROOM));
        }
    }

    #[test]
    fn each_job_is_taken_once_while_thieves_steal() {
        const JOBS: usize = if cfg!(miri) { 500 } else { 200_000 };
        let (pile, thief) = pile_of(0);
        let over = AtomicBool::new(false);
        let mut taken = Vec::new();
        std::thread::scope(|threads| {
            let (thief, over) = (&thief, &over);
            let rob = move || {
                let (mine, _) = pile_of(0);
                let mut stolen = Vec::new();
                loop {
                    let ending = over.load(Ordering::Acquire);
                    stolen.extend(thief.steal_batch_and_pop(&mine));
                    stolen.extend(std::iter::from_fn(|| mine.pop()));
                    stolen.extend(thief.steal());
                    if ending && thief.is_empty() {
                        return stolen;
                    }
                }
            };
            let thieves = [threads.spawn(rob), threads.spawn(rob)];
            // Up and down in steps of many lengths, across the edges of rooms.
            let mut next = 0;
            for step in 1.. {
                let up = (step * 37) % (5 * CAPACITY);
                (next..JOBS.min(next + up)).for_each(|job| pile.push(job));
                next += up;
                let down = (step * 53) % (4 * CAPACITY);
                taken.extend(std::iter::from_fn(|| pile.pop()).take(down));
                if next >= JOBS {
                    break;
                }
            }
            taken.extend(std::iter::from_fn(|| pile.pop()));
            over.store(true, Ordering::Release);
            for thief in thieves {
                taken.extend(thief.join().unwrap());
            }
        });
        taken.sort_unstable();
        assert!(taken.into_iter().eq(0..JOBS));
    }
}
