//! The jobs of a thread that have no room in its deque: a stack, from whose lower end
//! thieves take under a lock.
//!
//! Before this: `deque_model.rs`, for what the deque does. After it: `pile.rs`, which
//! says when jobs come here. The argument stands in `README.md` beside this file ("A
//! million jobs").
#![allow(unsafe_code)] // Slots that one thread fills and another empties; memory by the page.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use smallvec::SmallVec;

use crate::limits;
use crate::switch::atomic::{AtomicIsize, Ordering, fence};
use crate::switch::{Mutex, UnsafeCell, Weakening, weakened};
use crate::thread::lane::Padded;

/// What thieves see of it.
///
/// ```text
///   position   0 ..       head ..        tail ..
///            | stolen    | here         | free
///            | room 0    | room 1       | room 2 ..
/// ```
/// Invariants:
/// - **A1** Only the owner stores `tail`. Whoever stores `head` holds the lock.
/// - **A2** What lies from `head` to `tail` is written. The owner takes the last by
///   lowering `tail`, a thief the first by raising `head`; each fences between this
///   and its look at the other word, so that of two who want the same slot one sees the
///   other: a thief takes less, the owner waits for the lock and looks again.
/// - **A3** Only the owner adds and removes rooms, with the lock held: above `tail`,
///   or below `head`. So a slot that is read is in a room, and a slot is written again
///   only when who took from it has let go of the lock.
#[derive(Debug)]
pub struct Attic<T> {
    head: Padded<AtomicIsize>,
    tail: Padded<AtomicIsize>,
    rooms: Mutex<Rooms<T>>,
}

#[derive(Debug)]
struct Rooms<T> {
    /// The first position of the first of `used`.
    from: isize,
    used: VecDeque<Arc<Room<T>>>,
    spare: Vec<Arc<Room<T>>>,
}

/// The owner's half. Jobs that are left when both are dropped are forgotten, as in the
/// library's deque: `Registry` discards them before.
#[derive(Debug)]
pub struct AtticOwner<T> {
    shared: Arc<Attic<T>>,
    /// As in `shared`.
    tail: Cell<isize>,
    /// Where the owner is, the last of the rooms.
    room: RefCell<Option<Arc<Room<T>>>>,
    /// Its first position.
    room_from: Cell<isize>,
    /// Jobs in a room.
    capacity: isize,
}

impl<T> AtticOwner<T> {
    /// An empty one, with rooms for `capacity` jobs each.
    pub fn new(capacity: usize) -> Self {
        let shared = Arc::new(Attic {
            head: Padded(AtomicIsize::new(0)),
            tail: Padded(AtomicIsize::new(0)),
            rooms: Mutex::new(Rooms {
                from: 0,
                used: VecDeque::new(),
                spare: Vec::new(),
            }),
        });
        let capacity = capacity.cast_signed();
        Self {
            shared,
            tail: Cell::new(0),
            room: RefCell::new(None),
            room_from: Cell::new(-capacity),
            capacity,
        }
    }

    /// What thieves see of it.
    pub fn shared(&self) -> &Arc<Attic<T>> {
        &self.shared
    }

    /// Adds `value` at the owner's end.
    #[inline(always)] // see `Seat::push_job`
    pub fn push(&self, value: T) {
        let at = self.tail.get();
        if at - self.room_from.get() == self.capacity {
            self.enter_room(at);
        }
        let room = self.room.borrow();
        let room = room.as_ref().expect("the owner is in a room");
        room.put(at - self.room_from.get(), value);
        self.tail.set(at + 1);
        // Release: with the thief's Acquire, for the slot.
        self.shared.tail.0.store(at + 1, Ordering::Release);
    }

    /// Takes the youngest. If there is none, it begins anew at position 0.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        let at = self.tail.get() - 1;
        // Release: as in `push`; a thief may read this one in its place.
        self.shared.tail.0.store(at, Ordering::Release);
        fence(Ordering::SeqCst); // with the thief's (A2)
        if self.shared.head.0.load(Ordering::Relaxed) > at && !self.is_left_over(at) {
            return None;
        }
        self.tail.set(at);
        if at < self.room_from.get() {
            self.leave_room();
        }
        let room = self.room.borrow();
        let room = room.as_ref().expect("the owner is in a room");
        Some(room.take(at - self.room_from.get()))
    }

    /// A thief has, or had, a claim on position `at`; once it is through, is that the
    /// owner's? If not, nothing is left.
    #[cold]
    fn is_left_over(&self, at: isize) -> bool {
        let mut rooms = self.shared.rooms.lock().unwrap();
        if self.shared.head.0.load(Ordering::Relaxed) <= at {
            return true;
        }
        self.tail.set(0);
        self.shared.tail.0.store(0, Ordering::Relaxed);
        self.shared.head.0.store(0, Ordering::Relaxed);
        self.room_from.set(-self.capacity);
        self.room.take();
        rooms.from = 0;
        // The last into the spares is the first out of them again: its pages are small.
        while let Some(room) = rooms.used.pop_back() {
            rooms.keep(room);
        }
        false
    }

    /// `at` is the first position behind the owner's room.
    #[cold]
    #[inline(never)]
    fn enter_room(&self, at: isize) {
        let mut rooms = self.shared.rooms.lock().unwrap();
        let head = self.shared.head.0.load(Ordering::Relaxed);
        while !rooms.used.is_empty() && rooms.from + self.capacity <= head {
            let room = rooms.used.pop_front().expect("it isn't empty");
            rooms.from += self.capacity;
            rooms.keep(room);
        }
        let room = rooms.spare.pop();
        let room = room.unwrap_or_else(|| {
            let huge = !rooms.used.is_empty();
            Arc::new(Room::new(self.capacity.cast_unsigned(), huge))
        });
        rooms.used.push_back(room.clone());
        self.room_from.set(at);
        self.room.replace(Some(room));
    }

    /// The owner has taken what lies right below its room.
    #[cold]
    #[inline(never)]
    fn leave_room(&self) {
        let mut rooms = self.shared.rooms.lock().unwrap();
        let room = rooms.used.pop_back().expect("the owner is in a room");
        rooms.keep(room);
        self.room_from.set(self.room_from.get() - self.capacity);
        self.room.replace(rooms.used.back().cloned());
    }

    /// Rooms that it uses, and that it keeps for later. For tests.
    pub fn rooms(&self) -> (usize, usize) {
        let rooms = self.shared.rooms.lock().unwrap();
        (rooms.used.len(), rooms.spare.len())
    }

    /// Frees the rooms that it keeps for later.
    pub fn free_spares(&self) {
        let spare = std::mem::take(&mut self.shared.rooms.lock().unwrap().spare);
        drop(spare);
    }
}

impl<T> Rooms<T> {
    fn keep(&mut self, room: Arc<Room<T>>) {
        if self.spare.len() < limits::SPARE_ROOMS {
            self.spare.push(room);
        }
    }
}

impl<T> Attic<T> {
    /// How many jobs lie here, about.
    pub fn len(&self) -> usize {
        // Relaxed: a look before sleeping comes after the fence of `Sleep`, and a push
        // before the one of the notification.
        let head = self.head.0.load(Ordering::Relaxed);
        let len = self.tail.0.load(Ordering::Relaxed) - head;
        len.max(0).cast_unsigned()
    }

    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the oldest ones, half of them and no more than `most`, unless `instead`,
    /// which is asked under the lock and if there are any, has something.
    pub fn steal(&self, most: usize, instead: impl FnOnce() -> Option<T>) -> Batch<T> {
        let rooms = self.rooms.lock().unwrap();
        let head = self.head.0.load(Ordering::Relaxed);
        // Acquire, here and below: with the Release of the owner, for the slots.
        let left = self.tail.0.load(Ordering::Acquire) - head;
        if left <= 0 {
            return Batch::new();
        }
        if let Some(value) = instead() {
            return Batch::from_iter([value]);
        }
        let end = head + ((left + 1) / 2).min(most.cast_signed());
        self.head.0.store(end, Ordering::Relaxed);
        fence(Ordering::SeqCst); // with the owner's (A2)
        let tail = self.tail.0.load(Ordering::Acquire);
        let end = if tail < end {
            // The owner wants the last of them, and waits for the lock.
            if !weakened(Weakening::KeepAtticClaim) {
                self.head.0.store(tail.max(head), Ordering::Relaxed);
            }
            tail
        } else {
            end
        };
        (head..end).map(|at| rooms.take(at)).collect()
    }
}

/// Jobs of one theft, the oldest first.
pub type Batch<T> = SmallVec<[T; limits::JOBS_A_THEFT]>;

impl<T> Rooms<T> {
    fn take(&self, at: isize) -> T {
        let at = at - self.from;
        let capacity = self.used[0].capacity.cast_signed();
        self.used[(at / capacity).cast_unsigned()].take(at % capacity)
    }
}

type Slot<T> = UnsafeCell<MaybeUninit<T>>;

/// Memory for some jobs.
#[derive(Debug)]
struct Room<T> {
    map: NonNull<std::ffi::c_void>,
    /// Within `map`, aligned so that it may consist of huge pages.
    slots: NonNull<Slot<T>>,
    capacity: usize,
}

// SAFETY: it hands out `T`s, each to the one thread that may have it (A2).
unsafe impl<T: Send> Send for Room<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Room<T> {}

impl<T> Room<T> {
    /// The memory is the kernel's until it is touched.
    fn new(capacity: usize, huge: bool) -> Self {
        let layout = Self::layout(capacity);
        let (protection, flags) = (
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
        );
        let len = Self::map_len(capacity);
        // SAFETY: a new mapping, where the kernel likes.
        let map = unsafe { mmap_anonymous(None, len, protection, flags) };
        let Ok(map) = map else {
            handle_alloc_error(layout);
        };
        let before = map.as_ptr().cast::<u8>().align_offset(layout.align());
        // SAFETY: the map is as long as the room and its alignment.
        let slots = unsafe { map.byte_add(before) };
        if huge {
            // SAFETY: within the map; advice changes no contents. Without it pages are small.
            let _ = unsafe { madvise(slots, layout.size(), MmapAdvise::MADV_HUGEPAGE) };
        }
        let slots = slots.cast::<Slot<T>>();
        for at in 0..capacity {
            // SAFETY: within the map.
            let slot = unsafe { slots.add(at) };
            // SAFETY: the map is new. (For a model; else nothing is written.)
            unsafe { slot.write(UnsafeCell::new(MaybeUninit::uninit())) };
        }
        Self {
            map,
            slots,
            capacity,
        }
    }

    fn layout(capacity: usize) -> Layout {
        let layout = Layout::array::<Slot<T>>(capacity).expect("the capacity is a limit");
        let align = layout.size().next_power_of_two();
        layout.align_to(align).expect("its size is far below usize")
    }

    fn map_len(capacity: usize) -> NonZeroUsize {
        let layout = Self::layout(capacity);
        NonZeroUsize::new(layout.size() + layout.align()).expect("there is room for a job")
    }

    fn slot(&self, at: isize) -> &Slot<T> {
        let at = at.cast_unsigned();
        assert!(at < self.capacity, "a job lies outside of its room");
        // SAFETY: within the slots.
        let slot = unsafe { self.slots.add(at) };
        // SAFETY: `new` has written it, and it lives as long as `self`.
        unsafe { slot.as_ref() }
    }

    #[inline(always)] // see `Seat::push_job`
    fn put(&self, at: isize, value: T) {
        self.slot(at).with_mut(|slot| {
            // SAFETY: called by the owner for what lies above `tail` (A2, A3).
            let slot = unsafe { &mut *slot };
            slot.write(value);
        });
    }

    #[inline(always)]
    fn take(&self, at: isize) -> T {
        self.slot(at).with_mut(|slot| {
            // SAFETY: called by who has taken it (A2).
            let slot = unsafe { &*slot };
            // SAFETY: it was put there, and is taken once (A2).
            unsafe { slot.assume_init_read() }
        })
    }
}

impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        for at in 0..self.capacity {
            // SAFETY: within the slots.
            let slot = unsafe { self.slots.add(at) };
            // SAFETY: it was written by `new`. (For a model; else there is nothing to drop.)
            unsafe { slot.drop_in_place() };
        }
        // SAFETY: the map of `new`, and nobody refers to it any more.
        let unmapped = unsafe { munmap(self.map, Self::map_len(self.capacity).get()) };
        debug_assert_eq!(unmapped, Ok(()));
    }
}
