//! Where a loop keeps its tasks: places with numbers, so that a wake can name a
//! task by a number.
//!
//! *Read after* `cell`; *next* [`crate::event_loop::core`]. Together with the run
//! queue it forms what a wake touches, the `Scheduler`.
//!
//! The life of a place:
//! ```text
//!          1 reserve + fill                 2 remove
//!   Free ───────────────────▶ Taken ◀──────────────────▶ …
//!    ▲                          │ not queued ──▶ Free
//!    │                          │ queued ──────▶ Ghost
//!    └──────── 3 pop ───────────┴─────────────────┘
//! ```
//! A task may end in the very poll in which it was woken, or be cancelled while
//! it is queued. Its number is then still in the run queue, and if the place
//! were given away at once, its next owner would be run for a wake that wasn't
//! its own, or be queued twice. So the place remains a *ghost* until the queue
//! has let go of the number.
//!
//! While a task is polled, the loop refers to it without counting. Invariant
//! **S1**: a task that `Scheduler::pop` has handed out stays in its place
//! until its poll is over; for places are emptied by `Core::end` only, at the end
//! of that poll, and by the ends of `block_on` and of the loop, when nothing is
//! polled.
//!
//! Invariant **S2**: there are as many words as tasks, if only `None`, and every number in
//! the run queue or in `free` is that of a place: only such are put in, and the slab
//! doesn't shrink. Invariant **S3** is told at `SchedulerCell`.
//!
//! The generation of a place counts its owners. A wake that names another
//! generation is for a task that is gone, and does nothing.

#![allow(unsafe_code)] // A reference that isn't counted, places and a borrow that aren't checked: S1 to S3.

use std::cell::{Ref, RefCell, RefMut};
use std::mem;

use super::cell::{Borrowed, TaskRef, TypedTask};
use super::id::{GENERATION_BITS, WakeId};
use super::prefetch::prefetch;
use crate::event_loop::run_queue::RunQueue;
use crate::limits::{MAX_TASKS, PREFETCH_FROM_TASKS, PREFETCH_PLACES_AHEAD};
use crate::trace::{self, Kind, emit, emit_wake};

/// The place whose "wakes" mean that another thread left a call in the loop's
/// mailbox.
pub const MAILBOX: u32 = 0;

const QUEUED: u32 = 1 << 31;
const EMPTY: u32 = 1 << 30;
const GENERATION: u32 = (1 << GENERATION_BITS) - 1;

/// The generation of a place and the bits QUEUED and EMPTY, so that one comparison
/// with a waker's generation says: the right task is here, and not queued yet.
#[derive(Clone, Copy)]
struct Word(u32);

impl Word {
    #[inline]
    fn is_queued(self) -> bool {
        self.0 & QUEUED != 0
    }

    #[inline]
    fn generation(self) -> u32 {
        self.0 & GENERATION
    }
}

/// A loop's tasks, and the queue of those that want to be polled.
pub(crate) struct Scheduler {
    /// By place, as long as `tasks`. Apart from them, because a wake needs nothing
    /// else: with many tasks it then finds 16 neighbours in one line of the cache.
    words: Vec<Word>,
    tasks: Vec<Option<TaskRef>>,
    /// Free places, the last one freed last. Those in use cost nothing here.
    free: Vec<u32>,
    /// Not as wide as the counters below, or the compiler would count two of them at once
    /// by a wide load, which waits for the narrow stores before it.
    alive: u32,
    loop_id: u16,
    pub(crate) queue: RunQueue,
    /// Numbers that other than local wakes have put into the queue.
    pushed_otherwise: u64,
    /// Local wakes that have put nothing into the queue.
    wakes_in_vain: u64,
    /// Pops of places whose task was gone.
    ghosts: u64,
    pub(crate) wakes_remote: u64,
    pub(crate) wakes_spurious: u64,
    /// Whether wakes are told of, as of the beginning of the turn.
    pub(crate) traced: bool,
}

impl Scheduler {
    pub(crate) fn new(loop_id: u16) -> Scheduler {
        Scheduler {
            words: Vec::new(),
            tasks: Vec::new(),
            free: Vec::new(),
            alive: 0,
            loop_id,
            queue: RunQueue::new(),
            pushed_otherwise: 0,
            wakes_in_vain: 0,
            ghosts: 0,
            wakes_remote: 0,
            wakes_spurious: 0,
            traced: false,
        }
    }

    /// Tasks that haven't ended.
    pub(crate) fn alive(&self) -> usize {
        self.alive as usize
    }

    /// How many tasks were handed out to be polled. Reckoned from what the queue counts
    /// anyway, as is `wakes_local`: so neither a poll nor a wake counts itself.
    pub(crate) fn popped(&self) -> u64 {
        self.queue.popped() - self.ghosts
    }

    /// Wakes on the loop's own thread.
    pub(crate) fn wakes_local(&self) -> u64 {
        self.queue.pushed() - self.pushed_otherwise + self.wakes_in_vain
    }

    /// Places, free ones included.
    #[inline]
    pub(crate) fn places(&self) -> usize {
        self.words.len()
    }

    /// A place for the next task, to be given to [`fill`](Self::fill) at once.
    ///
    /// # Panics
    /// If there are [`MAX_TASKS`] already.
    #[inline]
    pub(crate) fn reserve(&mut self) -> WakeId {
        let place = match self.free.last() {
            Some(place) => *place,
            None => self.add_place(),
        };
        // SAFETY: S2.
        let generation = unsafe { self.words.get_unchecked(place as usize) }.generation();
        WakeId::new(self.loop_id, generation, place)
    }

    #[cold]
    #[inline(never)]
    fn add_place(&mut self) -> u32 {
        let place = self.places().max(1); // 0 is the mailbox's.
        assert!(
            place <= MAX_TASKS,
            "{MAX_TASKS} tasks are alive on this event loop, which is all there can be: wait for \
             some to end before spawning more, or use several loops"
        );
        self.words.resize(place + 1, Word(EMPTY));
        self.tasks.resize_with(place + 1, || None);
        self.free.push(place as u32);
        place as u32
    }

    /// Transition 1; the task is queued if it is `ready`.
    ///
    /// # Safety
    /// `id` is what the last [`reserve`](Self::reserve) gave.
    #[inline(always)]
    pub(crate) unsafe fn fill(&mut self, id: WakeId, task: TaskRef, ready: bool) {
        let place = id.slot() as usize;
        debug_assert_eq!(self.free.last(), Some(&id.slot()));
        // SAFETY: `reserve` left the place there; numbers need no destructor.
        unsafe { self.free.set_len(self.free.len() - 1) };
        // SAFETY: S2.
        let former = unsafe { self.tasks.get_unchecked_mut(place) }.replace(task);
        debug_assert!(former.is_none());
        mem::forget(former); // Nothing, which the compiler can't know.
        // SAFETY: S2.
        let word = unsafe { self.words.get_unchecked_mut(place) };
        debug_assert_eq!(word.0, EMPTY | id.generation());
        self.alive += 1;
        word.0 = id.generation();
        if ready {
            word.0 |= QUEUED;
            self.pushed_otherwise += 1;
            self.queue.push(id.slot());
        }
    }

    /// Transition 2: the task has ended. The caller drops it when the scheduler
    /// is no longer borrowed.
    #[inline]
    pub(crate) fn remove(&mut self, number: u32) -> Option<TaskRef> {
        let task = self.tasks.get_mut(number as usize)?.take()?;
        // SAFETY: there are as many words as tasks (S2).
        let word = unsafe { self.words.get_unchecked_mut(number as usize) };
        let generation = (word.generation() + 1) & GENERATION;
        word.0 = word.0 & QUEUED | EMPTY | generation;
        self.alive -= 1;
        if !word.is_queued() {
            self.free.push(number);
        }
        Some(task)
    }

    /// Queues the task that `id` names, once.
    #[inline(always)]
    pub(crate) fn wake(&mut self, id: WakeId) {
        let Some(word) = self.words.get_mut(id.slot() as usize) else {
            return self.wake_in_vain(id);
        };
        if word.0 != id.generation() {
            return self.wake_in_vain(id);
        }
        word.0 |= QUEUED;
        if trace::BUILT_IN && self.traced {
            return self.tell_of_wake(id);
        }
        self.queue.push(id.slot());
    }

    /// The rest of `wake`, traced. At its end and by a flag at hand, since a call in its
    /// middle has every wake save registers, and one of a static's address is two more.
    #[cold]
    #[inline(never)]
    fn tell_of_wake(&mut self, id: WakeId) {
        emit_wake(Kind::Wake, line!(), id.0, 0);
        self.queue.push(id.slot());
    }

    /// The task is queued already, or gone.
    #[cold]
    #[inline(never)]
    fn wake_in_vain(&mut self, id: WakeId) {
        emit_wake(Kind::Wake, line!(), id.0, 1);
        self.wakes_in_vain += 1;
        let word = self.words.get(id.slot() as usize);
        if word.is_none_or(|word| word.0 & !QUEUED != id.generation()) {
            self.wakes_spurious += 1;
        }
    }

    /// As [`wake`](Self::wake), for a wake that came from elsewhere and lost its
    /// generation on the way.
    pub(crate) fn wake_place(&mut self, number: u32) {
        self.wakes_remote += 1;
        let mut in_vain = true;
        match self.words.get_mut(number as usize) {
            Some(word) if word.0 & EMPTY == 0 => {
                if !word.is_queued() {
                    word.0 |= QUEUED;
                    self.pushed_otherwise += 1;
                    self.queue.push(number);
                    in_vain = false;
                }
            }
            _ => self.wakes_spurious += 1,
        }
        let place = WakeId::new(self.loop_id, 0, number);
        emit(Kind::Collected, line!(), place.0, u64::from(in_vain));
    }

    /// The next task to be polled. Transition 3 for ghosts.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<(u32, Borrowed)> {
        loop {
            let number = self.queue.pop()?;
            debug_assert!((number as usize) < self.places());
            // SAFETY: S2.
            let word = unsafe { self.words.get_unchecked_mut(number as usize) };
            word.0 &= !QUEUED;
            // SAFETY: S2.
            if let Some(task) = unsafe { self.tasks.get_unchecked(number as usize) } {
                // SAFETY: S1; the caller uses it for this poll only.
                return Some((number, unsafe { Borrowed::new(task) }));
            }
            self.ghosts += 1;
            self.free.push(number);
        }
    }

    /// Whether there are so many tasks that [`prefetch_next`](Self::prefetch_next) pays.
    pub(crate) fn are_many(&self) -> bool {
        self.places() > PREFETCH_FROM_TASKS
    }

    /// Has the memory of the next tasks on its way by the time they are polled:
    /// first the place, then, when that is near, the task that it names.
    pub(crate) fn prefetch_next(&self) {
        if let Some(number) = self.queue.peek(PREFETCH_PLACES_AHEAD)
            && let Some(task) = self.tasks.get(number as usize)
        {
            prefetch(task);
            prefetch(&self.words[number as usize]);
        }
        if let Some(number) = self.queue.peek(PREFETCH_PLACES_AHEAD / 2)
            && let Some(task) = self.get(number)
        {
            task.prefetch();
        }
    }

    #[inline]
    pub(crate) fn get(&self, number: u32) -> Option<&TaskRef> {
        self.tasks.get(number as usize)?.as_ref()
    }

    /// All tasks, with their places and whether they are queued.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = (u32, &TaskRef, bool)> {
        let places = (0..).zip(self.words.iter().zip(&self.tasks));
        places.filter_map(|(number, (word, task))| Some((number, task.as_ref()?, word.is_queued())))
    }
}

/// The scheduler as its loop holds it. What a wake and a poll do each time goes without
/// looking at the flag of a `RefCell`; all else looks.
///
/// Invariant **S3**: while somebody is in the scheduler, nobody else is. What runs
/// between `{` and `}` here, and while a guard of [`borrow`](Self::borrow) or
/// [`borrow_mut`](Self::borrow_mut) is alive, is code of the scheduler and closures of
/// the loop that look at tasks or make one: none calls a future, a destructor or a
/// waker, so nobody comes back. Debug builds look.
pub(crate) struct SchedulerCell(RefCell<Scheduler>);

impl SchedulerCell {
    pub(crate) fn new(loop_id: u16) -> SchedulerCell {
        SchedulerCell(RefCell::new(Scheduler::new(loop_id)))
    }

    #[inline]
    pub(crate) fn borrow(&self) -> Ref<'_, Scheduler> {
        self.0.borrow()
    }

    #[inline]
    pub(crate) fn borrow_mut(&self) -> RefMut<'_, Scheduler> {
        self.0.borrow_mut()
    }

    /// # Safety
    /// S3, for as long as the reference is used.
    #[inline(always)]
    #[expect(clippy::mut_from_ref)]
    unsafe fn enter(&self) -> &mut Scheduler {
        debug_assert!(self.0.try_borrow_mut().is_ok());
        // SAFETY: S3: there is no other reference.
        unsafe { &mut *self.0.as_ptr() }
    }

    /// See [`Scheduler::wake`].
    #[inline(always)]
    pub(crate) fn wake(&self, id: WakeId) {
        // SAFETY: S3.
        unsafe { self.enter() }.wake(id);
    }

    /// See [`Scheduler::pop`].
    #[inline(always)]
    pub(crate) fn pop(&self) -> Option<(u32, Borrowed)> {
        // SAFETY: S3. What is given away refers to the task, not to the scheduler.
        unsafe { self.enter() }.pop()
    }

    /// See [`Scheduler::remove`].
    #[inline(always)]
    pub(crate) fn remove(&self, place: u32) -> Option<TaskRef> {
        // SAFETY: S3.
        unsafe { self.enter() }.remove(place)
    }

    /// A new task, which is ready: `make` makes it for the place it gets, and may look at
    /// the other tasks.
    #[inline(always)]
    pub(crate) fn add<T>(
        &self,
        make: impl FnOnce(WakeId, &Scheduler) -> TypedTask<T>,
    ) -> TypedTask<T> {
        // SAFETY: S3: `make` fills a block of memory and reads of the parent.
        let scheduler = unsafe { self.enter() };
        let id = scheduler.reserve();
        let task = make(id, scheduler);
        // SAFETY: reserved above; `make` doesn't come here (S3).
        unsafe { scheduler.fill(id, task.task().clone(), true) };
        task
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::panic::Location;

    use super::*;
    use crate::task::blocks::Blocks;
    use crate::task::cell::Birth;
    use crate::task::erased;
    use crate::task::id::TaskIds;

    fn add(scheduler: &mut Scheduler, ids: &TaskIds) -> WakeId {
        let wake_id = scheduler.reserve();
        let birth = Birth {
            id: ids.next(),
            wake_id,
            site: Location::caller(),
            joinable: false,
            extra: None,
        };
        let task = erased::make(&Blocks::new(), birth, pending::<()>());
        // SAFETY: reserved above.
        unsafe { scheduler.fill(wake_id, task.task().clone(), false) };
        wake_id
    }

    #[test]
    fn generations_wrap_around_and_the_oldest_waker_is_then_a_false_hit_at_worst() {
        let (mut scheduler, ids) = (Scheduler::new(1), &TaskIds::default());
        let first = add(&mut scheduler, ids);
        assert_eq!((first.slot(), first.generation()), (1, 0));
        // As if 2^24 − 1 owners had come and gone.
        drop(scheduler.remove(1));
        scheduler.words[1] = Word(EMPTY | GENERATION);
        let last = add(&mut scheduler, ids);
        assert_eq!(last.generation(), GENERATION);
        scheduler.wake(first);
        assert!(scheduler.queue.is_empty() && scheduler.wakes_spurious == 1);
        scheduler.wake(last);
        assert_eq!(scheduler.pop().map(|popped| popped.0), Some(1));
        drop(scheduler.remove(1));
        // Round again: the first waker's number is in use, and it hits.
        let again = add(&mut scheduler, ids);
        assert_eq!(again, first);
        scheduler.wake(first);
        assert_eq!(scheduler.queue.len(), 1);
    }

    #[test]
    fn a_place_is_not_given_away_while_the_queue_holds_its_number() {
        let (mut scheduler, ids) = (Scheduler::new(1), &TaskIds::default());
        let old = add(&mut scheduler, ids);
        scheduler.wake(old);
        drop(scheduler.remove(old.slot()));
        let other = add(&mut scheduler, ids);
        assert_ne!(other.slot(), old.slot());
        scheduler.wake(old);
        assert!(scheduler.pop().is_none());
        let heir = add(&mut scheduler, ids);
        assert_eq!(heir.slot(), old.slot());
        assert_eq!(heir.generation(), old.generation() + 1);
    }
}
