//! Work for whoever is free: many producers, many consumers, each message once.
//!
//! ```text
//!   words behind the door:   head · tail (bytes ever taken and put) · items · closed
//!   data: a ring of bytes    ┌───────┬─────────┬───────┬────────┐
//!                            │ free  │len│bytes│len│…  │  free  │
//!                            └───────┴─────────┴───────┴────────┘
//!                                    ▲ head            ▲ tail
//!   put:  room?  copy in behind tail  ─▶ tail += 4 + len   ◀─ the message is there
//!   get:  items? copy out from head   ─▶ head += 4 + len   ◀─ the message is taken
//! ```
//!
//! 1. **The store of `tail` is the put, that of `head` the get.** A producer that
//!    dies before it has put nothing; a consumer that dies before it has left the
//!    message to others. One that dies after it took the message with it.
//! 2. **`items` is what lies between them**, counted anew after a death behind the
//!    door.
//! 3. Messages are encoded before the door and decoded after it: user code never
//!    runs inside.
//!
//! Read before this: [`super::monitor`]. Read after it: [`super::ledger`].
//!
//! Rejected: *a pipe with a lock at each end*, as Python has it (a death with the
//! lock, or halfway through a message, stops everybody for ever); *a ring without
//! a lock* (each place would need a state of its own, to be settled for the dead;
//! the lock costs a few nanoseconds beside the copying).
#![allow(unsafe_code)] // copies bytes from and to shared memory

use super::error::Error;
use super::kernel::{Deadline, Party};
use super::limits::QUEUE_BYTES;
use super::message;
use super::monitor::{Door, Monitor, News};
use super::segment::Segment;
use super::words::Words;
use crate::process::ring::Bytes;
use crate::switch::{AtomicU32, AtomicU64, Ordering, Weakening, weakened};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// Bytes before each message: its length.
const HEAD: u64 = 4;

/// The words.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Positions {
    pub(super) monitor: Monitor,
    pub(super) filled: News,
    pub(super) emptied: News,
    head: AtomicU64,
    tail: AtomicU64,
    items: AtomicU32,
    max_items: AtomicU32,
    closed: AtomicU32,
}

// Relaxed where nothing is said: the door's lock orders all of it.
impl Positions {
    /// The words of a queue for so many messages.
    pub fn new(max_items: u32) -> Positions {
        let positions = Positions::default();
        positions.limit(max_items);
        positions
    }

    /// So many messages at a time, and no more.
    pub(super) fn limit(&self, max_items: u32) {
        self.max_items.store(max_items, Ordering::Relaxed);
    }

    /// After a death behind the door: invariant 2.
    pub(super) fn repair(&self, ring: &impl Bytes) {
        let (mut at, tail) = (self.head(), self.tail());
        let mut items = 0;
        while at < tail {
            at += HEAD + u64::from(len_at(ring, at));
            items += 1;
        }
        self.items.store(items, Ordering::Relaxed);
    }

    fn head(&self) -> u64 {
        self.head.load(Ordering::Relaxed)
    }

    fn tail(&self) -> u64 {
        self.tail.load(Ordering::Relaxed)
    }

    fn enter<'a, P: Party>(&'a self, party: &'a P, ring: &impl Bytes) -> Door<'a, P> {
        self.monitor.enter(party, || self.repair(ring))
    }

    /// How many messages there are.
    pub(super) fn items(&self) -> u32 {
        self.items.load(Ordering::Relaxed)
    }

    /// Takes no more messages.
    pub(super) fn close<'a, P: Party>(&'a self, door: &mut Door<'a, P>) {
        self.closed.store(1, Ordering::Relaxed);
        door.tell(&self.filled, u32::MAX);
        door.tell(&self.emptied, u32::MAX);
    }

    /// Whether it takes no more.
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed) != 0
    }

    /// Puts a message if there is room.
    pub(super) fn put_now<'a, P: Party>(
        &'a self,
        door: &mut Door<'a, P>,
        ring: &impl Bytes,
        bytes: &[u8],
    ) -> Option<Result<(), Error>> {
        if self.is_closed() {
            return Some(Err(Error::Closed));
        }
        let (head, tail) = (self.head(), self.tail());
        let items = self.items();
        let need = HEAD + bytes.len() as u64;
        let free = (ring.capacity() as u64).checked_sub(tail.wrapping_sub(head));
        let Some(free) = free else {
            return Some(Err(CORRUPT));
        };
        if need > free || items >= self.max_items.load(Ordering::Relaxed) {
            return None;
        }
        if weakened(Weakening::CommitBeforeCopy) {
            self.tail.store(tail + need, Ordering::Release);
        }
        ring.put(tail, &(bytes.len() as u32).to_le_bytes());
        ring.put(tail + HEAD, bytes);
        // Release: not before the bytes, also not in the compiler's eyes, since we
        // may die in between (invariant 1).
        self.tail.store(tail + need, Ordering::Release);
        self.items.store(items + 1, Ordering::Relaxed);
        door.tell(&self.filled, 1);
        Some(Ok(()))
    }

    /// Takes a message if there is one.
    pub(super) fn get_now<'a, P: Party>(
        &'a self,
        door: &mut Door<'a, P>,
        ring: &impl Bytes,
    ) -> Option<Result<Vec<u8>, Error>> {
        let (head, tail) = (self.head(), self.tail());
        if head == tail {
            return self.is_closed().then_some(Err(Error::Closed));
        }
        let len = u64::from(len_at(ring, head));
        if HEAD + len > tail.wrapping_sub(head) {
            return Some(Err(CORRUPT));
        }
        let mut bytes = vec![0; len as usize];
        ring.get(head + HEAD, &mut bytes);
        // Release: not before the bytes were read (invariant 1).
        self.head.store(head + HEAD + len, Ordering::Release);
        let items = self.items();
        self.items.store(items.saturating_sub(1), Ordering::Relaxed);
        // Messages differ in size, and so do those who wait for room.
        door.tell(&self.emptied, u32::MAX);
        Some(Ok(bytes))
    }

    /// Puts a message, waiting for room.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::TimedOut`], [`Error::PeersGone`],
    /// [`Error::Corrupt`]
    pub fn put<P: Party>(
        &self,
        party: &P,
        ring: &impl Bytes,
        bytes: &[u8],
        deadline: Deadline,
    ) -> Result<(), Error> {
        self.monitor.wait_until(
            party,
            &self.emptied,
            deadline,
            || self.repair(ring),
            |_| {},
            |door| self.put_now(door, ring, bytes),
        )?
    }

    /// Puts a message if there is room.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`put`](Positions::put).
    pub fn try_put(
        &self,
        party: &impl Party,
        ring: &impl Bytes,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let mut door = self.enter(party, ring);
        self.put_now(&mut door, ring, bytes)
            .unwrap_or(Err(Error::WouldBlock))
    }

    /// Takes a message, waiting for one.
    ///
    /// # Errors
    /// As [`put`](Positions::put).
    pub fn get<P: Party>(
        &self,
        party: &P,
        ring: &impl Bytes,
        deadline: Deadline,
    ) -> Result<Vec<u8>, Error> {
        self.monitor.wait_until(
            party,
            &self.filled,
            deadline,
            || self.repair(ring),
            |_| {},
            |door| self.get_now(door, ring),
        )?
    }

    /// Takes a message if there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`put`](Positions::put).
    pub fn try_get(&self, party: &impl Party, ring: &impl Bytes) -> Result<Vec<u8>, Error> {
        let mut door = self.enter(party, ring);
        self.get_now(&mut door, ring)
            .unwrap_or(Err(Error::WouldBlock))
    }
}

const CORRUPT: Error = Error::Corrupt("a queue's positions");

fn len_at(ring: &impl Bytes, at: u64) -> u32 {
    let mut len = [0; HEAD as usize];
    ring.get(at, &mut len);
    u32::from_le_bytes(len)
}

/// That there is room for so many messages and bytes: any at all.
pub(super) fn check_room(messages: u32, bytes: usize) -> Result<(), Error> {
    if messages == 0 || bytes <= HEAD as usize {
        return Err(Error::Config(
            "a queue without room would block for ever: ask for 1 message and 5 bytes or more",
        ));
    }
    Ok(())
}

/// A message's bytes, which would fit if the ring were empty.
pub(super) fn encoded<T: Serialize>(value: &T, ring: &impl Bytes) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(64);
    message::encode_bytes(value, &mut bytes)?;
    let max = ring.capacity().min(u32::MAX as usize) - HEAD as usize;
    if bytes.len() > max {
        let len = bytes.len();
        return Err(Error::TooLarge { len, max });
    }
    Ok(bytes)
}

/// A queue's bytes: its segment's data.
pub(super) struct Ring<'a, S: Words>(pub(super) &'a Segment<S>);

impl<S: Words> Ring<'_, S> {
    /// Calls `copy` with the address of each of the at most two stretches that `len`
    /// bytes from count `at` on occupy, and with the range of these bytes.
    fn stretches(
        &self,
        at: u64,
        len: usize,
        mut copy: impl FnMut(*mut u8, std::ops::Range<usize>),
    ) {
        let (start, capacity) = self.0.data::<u8>();
        let place = (at % capacity as u64) as usize;
        assert!(len <= capacity, "checked before");
        let first = len.min(capacity - place);
        // SAFETY: `place` is less than the capacity, for which there is room.
        copy(unsafe { start.add(place) }.as_ptr(), 0..first);
        copy(start.as_ptr(), first..len);
    }
}

impl<S: Words> Bytes for Ring<'_, S> {
    fn capacity(&self) -> usize {
        self.0.data::<u8>().1
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        self.stretches(at, bytes.len(), |to, range| {
            let from = &bytes[range];
            // SAFETY: mapped and, behind the door, ours; `bytes` is our own memory.
            unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        });
    }

    fn get(&self, at: u64, bytes: &mut [u8]) {
        self.stretches(at, bytes.len(), |from, range| {
            let to = &mut bytes[range];
            // SAFETY: mapped and, behind the door, written by nobody.
            unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        });
    }
}

/// A queue between processes, bounded in messages and in bytes:
/// `multiprocessing.Queue`. A clone, or what a process gets as an argument, is a
/// handle to the same one, to put as well as to get.
///
/// Messages are taken in the order in which they were put, each once. A process that
/// dies, whatever it was doing, neither stops the others nor leaves half a message;
/// it takes with it what it had taken.
///
/// ```
/// use threeply_pools::ipc::{Error, Process, Queue};
///
/// fn produce(queue: Queue<u64>) {
///     for n in 0..100 {
///         queue.put(&n).unwrap();
///     }
///     queue.close();
/// }
///
/// let queue = Queue::new(10)?;
/// let process = Process::spawn(produce, queue.clone())?;
/// let mut sum = 0;
/// while let Ok(n) = queue.get() {
///     sum += n;
/// }
/// assert_eq!(sum, 4950);
/// # process.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Handles of this module can't be put: they are descriptors, and these don't go
/// through memory. Send them by a [`Channel`](super::Channel).
pub struct Queue<T> {
    segment: Arc<Segment<Positions>>,
    message: PhantomData<fn(T) -> T>,
}

impl<T> Queue<T> {
    /// A queue of up to so many messages, and up to
    /// [`QUEUE_BYTES`] of them.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Config`] for no messages.
    pub fn new(messages: u32) -> Result<Queue<T>, Error> {
        Queue::with_capacity(messages, QUEUE_BYTES)
    }

    /// A queue of up to so many messages and bytes; a message has four bytes besides
    /// its own.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::TooLarge`]; [`Error::Config`] for nothing.
    pub fn with_capacity(messages: u32, bytes: usize) -> Result<Queue<T>, Error> {
        check_room(messages, bytes)?;
        let segment = Segment::<Positions>::new::<u8>(bytes)?;
        segment.words().limit(messages);
        Ok(Queue::with(segment))
    }

    fn with(segment: Segment<Positions>) -> Queue<T> {
        Queue {
            segment: Arc::new(segment),
            message: PhantomData,
        }
    }

    fn parts(&self) -> (&Positions, &Segment<Positions>, Ring<'_, Positions>) {
        (self.segment.words(), &self.segment, Ring(&self.segment))
    }

    /// How many messages wait now.
    pub fn len(&self) -> usize {
        let (words, party, ring) = self.parts();
        let _door = words.enter(party, &ring);
        words.items() as usize
    }

    /// Whether no message waits now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no room for one more message now. In bytes it can be too full
    /// for a long message before that.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity()
    }

    /// How many messages it was made for.
    pub fn capacity(&self) -> usize {
        self.segment.words().max_items.load(Ordering::Relaxed) as usize
    }

    /// Takes no more messages, from anybody; those that are there can still be
    /// taken, then everybody gets [`Error::Closed`].
    pub fn close(&self) {
        let (words, party, ring) = self.parts();
        words.close(&mut words.enter(party, &ring));
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.segment.words().is_closed()
    }
}

impl<T: Serialize> Queue<T> {
    /// Puts a message; waits for room.
    ///
    /// # Errors
    /// [`Error::Encode`]; [`Error::TooLarge`] for what will never fit;
    /// [`Error::Closed`]; [`Error::PeersGone`], within a pulse of 50 ms, if it is full
    /// and no other process has a handle any more (threads of this process aren't
    /// counted).
    pub fn put(&self, value: &T) -> Result<(), Error> {
        self.put_by(value, Deadline::NEVER)
    }

    /// Puts a message, if there is room within `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; otherwise as [`put`](Queue::put).
    pub fn put_timeout(&self, value: &T, timeout: Duration) -> Result<(), Error> {
        self.put_by(value, Deadline::after(timeout))
    }

    fn put_by(&self, value: &T, deadline: Deadline) -> Result<(), Error> {
        let bytes = encoded(value, &self.parts().2)?;
        let (words, party, ring) = self.parts();
        words.put(party, &ring, &bytes, deadline)
    }

    /// Puts a message, if there is room.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`put`](Queue::put).
    pub fn try_put(&self, value: &T) -> Result<(), Error> {
        let bytes = encoded(value, &self.parts().2)?;
        let (words, party, ring) = self.parts();
        words.try_put(party, &ring, &bytes)
    }

    /// [`put`](Queue::put) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe: dropped while it waits, nothing is put.
    ///
    /// # Errors
    /// As [`put`](Queue::put).
    pub async fn put_async(&self, value: &T) -> Result<(), Error> {
        let bytes = encoded(value, &self.parts().2)?;
        let (words, party, ring) = self.parts();
        party
            .wait_until(
                &words.monitor,
                &words.emptied,
                || words.repair(&ring),
                |_| {},
                |door| words.put_now(door, &ring, &bytes),
            )
            .await?
    }
}

impl<T: DeserializeOwned> Queue<T> {
    /// Takes a message; waits for one.
    ///
    /// # Errors
    /// [`Error::Closed`]; [`Error::PeersGone`], within a pulse of 50 ms, if it is
    /// empty and no other process has a handle any more (threads of this process
    /// aren't counted); [`Error::Decode`], and the message is gone.
    pub fn get(&self) -> Result<T, Error> {
        self.get_by(Deadline::NEVER)
    }

    /// Takes a message, if one comes within `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; otherwise as [`get`](Queue::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, Error> {
        self.get_by(Deadline::after(timeout))
    }

    fn get_by(&self, deadline: Deadline) -> Result<T, Error> {
        let (words, party, ring) = self.parts();
        let bytes = words.get(party, &ring, deadline)?;
        message::decode(&bytes, Vec::new())
    }

    /// Takes a message, if there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`get`](Queue::get).
    pub fn try_get(&self) -> Result<T, Error> {
        let (words, party, ring) = self.parts();
        let bytes = words.try_get(party, &ring)?;
        message::decode(&bytes, Vec::new())
    }

    /// [`get`](Queue::get) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe: dropped while it waits, nothing is taken.
    ///
    /// # Errors
    /// As [`get`](Queue::get).
    pub async fn get_async(&self) -> Result<T, Error> {
        let (words, party, ring) = self.parts();
        let bytes = party
            .wait_until(
                &words.monitor,
                &words.filled,
                || words.repair(&ring),
                |_| {},
                |door| words.get_now(door, &ring),
            )
            .await??;
        message::decode(&bytes, Vec::new())
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue {
            segment: Arc::clone(&self.segment),
            message: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Queue::with(Segment::unpack::<u8, D>(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    struct Heap(RefCell<[u8; 64]>);

    impl Bytes for Heap {
        fn capacity(&self) -> usize {
            64
        }
        fn put(&self, at: u64, bytes: &[u8]) {
            for (place, byte) in (at..).zip(bytes) {
                self.0.borrow_mut()[place as usize % 64] = *byte;
            }
        }
        fn get(&self, at: u64, bytes: &mut [u8]) {
            for (place, byte) in (at..).zip(bytes) {
                *byte = self.0.borrow()[place as usize % 64];
            }
        }
    }

    #[test]
    fn after_a_death_messages_are_counted_anew() {
        let (positions, ring) = (Positions::default(), Heap(RefCell::new([0; 64])));
        let mut at = 60; // Across the seam.
        positions.head.store(at, Ordering::Relaxed);
        for len in [5u32, 0, 9] {
            ring.put(at, &len.to_le_bytes());
            at += HEAD + u64::from(len);
        }
        // Whoever put the last died before it had counted it.
        positions.tail.store(at, Ordering::Relaxed);
        positions.items.store(2, Ordering::Relaxed);
        positions.repair(&ring);
        assert_eq!(positions.items.load(Ordering::Relaxed), 3);
    }
}
