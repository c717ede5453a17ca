//! A queue of work that tells when all of it is done.
//!
//! A [`Queue`](super::Queue), with a receipt for each message that is taken.
//!
//! Read before this: [`super::ledger`], its words. Read after it:
//! [`super::channel`](mod@super::channel).
//!
//! Rejected: *`join` on every queue* (one whose consumers say nothing would join at
//! once: a type of its own can't be used wrongly); *a bare `task_done` on the queue*
//! (who says it too often is found out too late, or never; and who panics before it
//! says it would keep everybody waiting); *giving a lost message to somebody else* (it
//! would be worked on twice, perhaps, and would kill the next one, perhaps).

use super::error::Error;
use super::kernel::Deadline;
use super::ledger::{Books, End};
use super::limits::{MEMBERS, QUEUE_BYTES};
use super::message;
use super::queue::{Ring, check_room, encoded};
use super::segment::Segment;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

/// A [`Queue`](super::Queue) of work whose producers can wait until all of it is done:
/// `multiprocessing.JoinableQueue`. A clone, or what a process gets as an argument, is a
/// handle to the same one, to put as well as to get.
///
/// With each message comes a [`Receipt`], on which the consumer says
/// [`task_done`](Receipt::task_done); [`join`](JoinableQueue::join) waits for all of
/// them.
///
/// ```
/// use threeply_pools::ipc::{JoinableQueue, Process, Value};
///
/// fn work((queue, sum): (JoinableQueue<u64>, Value<u64>)) {
///     while let Ok((n, receipt)) = queue.get() {
///         sum.update(|sum| *sum += n * n);
///         receipt.task_done();
///     }
/// }
///
/// let (queue, sum) = (JoinableQueue::new(10)?, Value::new(0)?);
/// let a = Process::spawn(work, (queue.clone(), sum.clone()))?;
/// let b = Process::spawn(work, (queue.clone(), sum.clone()))?;
/// for n in 0..100 {
///     queue.put(&n)?;
/// }
/// queue.join()?;
/// assert_eq!(sum.get(), 328_350);
/// queue.close(); // ends the loops
/// assert!(a.join()?.success() && b.join()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Losses
/// A message is **lost** if its consumer's process dies before `task_done`, or drops the
/// receipt: by a panic, by `?`, or because nobody kept it. Nobody else gets the message,
/// since part of the work may have been done; but `join` doesn't wait for it, and tells
/// by [`Error::Lost`] how many there are, until they are
/// [cleared](JoinableQueue::clear_lost).
///
/// For all else see [`Queue`](super::Queue): order, bounds, and that handles can't be put.
pub struct JoinableQueue<T> {
    segment: Arc<Segment<Books<MEMBERS>>>,
    message: PhantomData<fn(T) -> T>,
}

/// The promise to say when the work on a message is done. It may be kept anywhere in the
/// process that took the message: it goes to other threads, and outlives the handle.
#[derive(Debug)]
#[must_use = "dropping it declares the message lost: call `task_done` when the work is done"]
pub struct Receipt {
    segment: Arc<Segment<Books<MEMBERS>>>,
    end: End,
}

impl Receipt {
    /// Says that the work on the message is done. There is one receipt for each message,
    /// so that it can't be said too often.
    pub fn task_done(mut self) {
        self.end = End::Done;
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let ring = Ring(&self.segment);
        self.segment.words().finish(&*self.segment, &ring, self.end);
    }
}

/// A queue's words, its party and its bytes.
type Parts<'a> = (
    &'a Books<MEMBERS>,
    &'a Segment<Books<MEMBERS>>,
    Ring<'a, Books<MEMBERS>>,
);

impl<T> JoinableQueue<T> {
    /// A queue of up to so many messages, and up to [`QUEUE_BYTES`] of them. Messages
    /// that were taken don't count, done or not.
    ///
    /// # Errors
    /// [`Error::Memory`]; [`Error::Config`] for no messages.
    pub fn new(messages: u32) -> Result<JoinableQueue<T>, Error> {
        JoinableQueue::with_capacity(messages, QUEUE_BYTES)
    }

    /// A queue of up to so many messages and bytes; a message has four bytes besides
    /// its own.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::TooLarge`]; [`Error::Config`] for nothing.
    pub fn with_capacity(messages: u32, bytes: usize) -> Result<JoinableQueue<T>, Error> {
        check_room(messages, bytes)?;
        let segment = Segment::<Books<MEMBERS>>::new::<u8>(bytes)?;
        segment.words().positions.limit(messages);
        Ok(JoinableQueue::with(Arc::new(segment)))
    }

    fn with(segment: Arc<Segment<Books<MEMBERS>>>) -> JoinableQueue<T> {
        JoinableQueue {
            segment,
            message: PhantomData,
        }
    }

    fn parts(&self) -> Parts<'_> {
        (self.segment.words(), &self.segment, Ring(&self.segment))
    }

    /// How many messages wait to be taken now.
    pub fn len(&self) -> usize {
        let (words, party, ring) = self.parts();
        let _door = words.enter(party, &ring);
        words.positions.items() as usize
    }

    /// Whether no message waits to be taken now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many messages wait, or are taken and neither done nor lost.
    pub fn unfinished(&self) -> usize {
        self.ledger().0 as usize
    }

    /// How many messages are lost.
    pub fn lost(&self) -> u32 {
        self.ledger().1
    }

    fn ledger(&self) -> (u32, u32) {
        let (words, party, ring) = self.parts();
        let mut door = words.enter(party, &ring);
        words.look_around(&mut door);
        words.read()
    }

    /// Declares that what was lost has been dealt with: the next
    /// [`join`](JoinableQueue::join) doesn't tell of it. Returns how many there were.
    pub fn clear_lost(&self) -> u32 {
        let (words, party, ring) = self.parts();
        let mut door = words.enter(party, &ring);
        words.look_around(&mut door);
        let (unfinished, lost) = words.read();
        words.write(unfinished, 0);
        lost
    }

    /// Takes no more messages, from anybody; those that are there can still be taken,
    /// then everybody who calls `get` gets [`Error::Closed`].
    pub fn close(&self) {
        let (words, party, ring) = self.parts();
        words.positions.close(&mut words.enter(party, &ring));
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.segment.words().positions.is_closed()
    }

    /// Waits until the work on every message ever put is done. At once, if none is there.
    ///
    /// # Errors
    /// [`Error::Lost`] if all others are done, within a pulse of 50 ms after the death of
    /// the last to have one; [`Error::PeersGone`], within a pulse, if there still are
    /// messages and no other process has a handle any more (threads of this process
    /// aren't counted).
    pub fn join(&self) -> Result<(), Error> {
        let (words, party, ring) = self.parts();
        words.join(party, &ring, Deadline::NEVER)
    }

    /// [`join`](JoinableQueue::join), but no longer than `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; otherwise as [`join`](JoinableQueue::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), Error> {
        let (words, party, ring) = self.parts();
        words.join(party, &ring, Deadline::after(timeout))
    }

    /// [`join`](JoinableQueue::join) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// As [`join`](JoinableQueue::join).
    pub async fn join_async(&self) -> Result<(), Error> {
        let (words, party, ring) = self.parts();
        party
            .wait_until(
                &words.positions.monitor,
                &words.finished,
                || words.repair(&ring),
                |door| words.look_around(door),
                |_| words.finished_now(),
            )
            .await?
    }
}

impl<T: Serialize> JoinableQueue<T> {
    /// Puts a message; waits for room.
    ///
    /// # Errors
    /// As [`Queue::put`](super::Queue::put).
    pub fn put(&self, value: &T) -> Result<(), Error> {
        self.put_by(value, Deadline::NEVER)
    }

    /// Puts a message, if there is room within `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; otherwise as [`put`](JoinableQueue::put).
    pub fn put_timeout(&self, value: &T, timeout: Duration) -> Result<(), Error> {
        self.put_by(value, Deadline::after(timeout))
    }

    fn put_by(&self, value: &T, deadline: Deadline) -> Result<(), Error> {
        let (words, party, ring) = self.parts();
        let bytes = encoded(value, &ring)?;
        words.put(party, &ring, &bytes, deadline)
    }

    /// Puts a message, if there is room.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`put`](JoinableQueue::put).
    pub fn try_put(&self, value: &T) -> Result<(), Error> {
        let (words, party, ring) = self.parts();
        let bytes = encoded(value, &ring)?;
        words.try_put(party, &ring, &bytes)
    }

    /// [`put`](JoinableQueue::put) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe: dropped while it waits, nothing is put.
    ///
    /// # Errors
    /// As [`put`](JoinableQueue::put).
    pub async fn put_async(&self, value: &T) -> Result<(), Error> {
        let (words, party, ring) = self.parts();
        let bytes = encoded(value, &ring)?;
        party
            .wait_until(
                &words.positions.monitor,
                &words.positions.emptied,
                || words.repair(&ring),
                |_| {},
                |door| words.put_now(door, &ring, &bytes),
            )
            .await?
    }
}

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Takes a message, with its receipt; waits for one.
    ///
    /// # Errors
    /// As [`Queue::get`](super::Queue::get); what can't be decoded is lost.
    pub fn get(&self) -> Result<(T, Receipt), Error> {
        self.get_by(Deadline::NEVER)
    }

    /// Takes a message, if one comes within `timeout`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; otherwise as [`get`](JoinableQueue::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<(T, Receipt), Error> {
        self.get_by(Deadline::after(timeout))
    }

    fn get_by(&self, deadline: Deadline) -> Result<(T, Receipt), Error> {
        let (words, party, ring) = self.parts();
        self.taken(&words.get(party, &ring, deadline)?)
    }

    /// Takes a message, if there is one.
    ///
    /// # Errors
    /// [`Error::WouldBlock`]; otherwise as [`get`](JoinableQueue::get).
    pub fn try_get(&self) -> Result<(T, Receipt), Error> {
        let (words, party, ring) = self.parts();
        self.taken(&words.try_get(party, &ring)?)
    }

    /// [`get`](JoinableQueue::get) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe: dropped while it waits, nothing is taken.
    ///
    /// # Errors
    /// As [`get`](JoinableQueue::get).
    pub async fn get_async(&self) -> Result<(T, Receipt), Error> {
        let (words, party, ring) = self.parts();
        let bytes = party
            .wait_until(
                &words.positions.monitor,
                &words.positions.filled,
                || words.repair(&ring),
                |_| {},
                |door| words.get_now(door, &ring),
            )
            .await??;
        self.taken(&bytes)
    }

    /// A message that this process has just taken.
    fn taken(&self, bytes: &[u8]) -> Result<(T, Receipt), Error> {
        // First: it is lost if it can't be decoded, also if that panics.
        let receipt = Receipt {
            segment: Arc::clone(&self.segment),
            end: End::Lost,
        };
        let value = message::decode(bytes, Vec::new())?;
        Ok((value, receipt))
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        JoinableQueue::with(Arc::clone(&self.segment))
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue").finish_non_exhaustive()
    }
}

impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Segment::unpack::<u8, D>(deserializer)?;
        Ok(JoinableQueue::with(Arc::new(segment)))
    }
}
