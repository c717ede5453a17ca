//! A lock that its owner may take again: `multiprocessing.RLock`.
//!
//! ```text
//!   words:  lock (which process, see super::lock) · holder (which thread of it) · depth
//!
//!   lock:    holder is me? ── yes ─▶ depth + 1
//!                └── no ─▶ lock the lock ─▶ holder := me, depth := 1
//!   unlock:  depth − 1 ─▶ 0? ─▶ holder := nobody ─▶ unlock the lock
//! ```
//!
//! 1. **Only a thread itself writes its own name into `holder`, and it takes it off
//!    before it unlocks.** So whoever reads its own name there is inside, however old
//!    what it reads of others may be; and no other word is touched by anybody but who
//!    holds the lock.
//! 2. **A name is one thread's of one process alone**: the process's token
//!    ([`super::members`]) and a number that the process gives each thread once.
//! 3. **A process has one seat in the object, whatever number of handles it gets.**
//!    The lock names the seat, and its owner may go in by one handle and out by
//!    another: with two seats it would be dead to others once the first was dropped.
//! 4. **How deep the dead were in doesn't matter**: whoever takes the lock begins at
//!    one.
//!
//! What it guards is seen through a [`Cell`], since the owner may have several guards
//! at a time: a `&mut` from each would be two of one value.
//!
//! Read before this: [`super::mutex`].
//!
//! Rejected: *a `lock_async`* (the owner is a thread, which the tasks of an event loop
//! share: the second to come would be let in to the first); *the kernel's number of a
//! thread* (given out again); *a guard that gives `&T`, as that of `std` does* (values
//! in shared memory have no cells in them: there would be nothing to change).
#![allow(unsafe_code)] // makes references to a value in shared memory

use super::error::{Error, Poisoned, TryLockError};
use super::kernel::{Deadline, Party};
use super::lock::{Found, LockWord};
use super::members::Token;
use super::mutex::Plain;
use super::segment::Segment;
use crate::switch::{AtomicU32, AtomicU64, Ordering, Weakening, weakened};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// The words of a re-entrant mutex; its value follows them.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Nested {
    lock: LockWord,
    depth: AtomicU32,
    holder: AtomicU64,
}

/// A thread of a process; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder(u64);

impl Holder {
    /// Thread number `thread` of the process that has the seat of `token`.
    pub fn new(token: Token, thread: u64) -> Holder {
        Holder(thread << Token::BITS | u64::from(token.bits()))
    }
}

// Relaxed throughout: the lock orders all of it, but for what a thread reads of its
// own name, and that needs no order (invariant 1).
impl Nested {
    /// Goes in once more, if `me` is inside.
    fn reenter(&self, me: Holder) -> Option<Found> {
        let holder = self.holder.load(Ordering::Relaxed);
        let differs = holder ^ me.0;
        let inside = if weakened(Weakening::NestAnyThread) {
            holder != 0 && differs.trailing_zeros() >= Token::BITS
        } else {
            differs == 0
        };
        if !inside {
            return None;
        }
        let depth = self.depth.load(Ordering::Relaxed).checked_add(1);
        let depth = depth.expect("a thread has locked it 2^32 times");
        self.depth.store(depth, Ordering::Relaxed);
        Some(if self.lock.is_broken() {
            Found::Broken
        } else {
            Found::Whole
        })
    }

    /// `me` has the lock, and had not.
    fn enter(&self, me: Holder, found: Found) -> Found {
        let before = if weakened(Weakening::KeepDepth) {
            self.depth.load(Ordering::Relaxed)
        } else {
            0 // Invariant 4.
        };
        self.depth.store(before + 1, Ordering::Relaxed);
        self.holder.store(me.0, Ordering::Relaxed);
        found
    }

    /// Locks, if `me` holds it, or nobody, or the dead.
    pub fn try_lock(&self, party: &impl Party, me: Holder) -> Option<Found> {
        if let Some(found) = self.reenter(me) {
            return Some(found);
        }
        let found = self.lock.try_lock(party)?;
        Some(self.enter(me, found))
    }

    /// Locks; `None` if the deadline has passed before that.
    pub fn lock(&self, party: &impl Party, me: Holder, deadline: Deadline) -> Option<Found> {
        if let Some(found) = self.reenter(me) {
            return Some(found);
        }
        let found = self.lock.lock(party, deadline)?;
        Some(self.enter(me, found))
    }

    /// Takes one lock of the holder's back.
    pub fn unlock(&self, party: &impl Party) {
        let left = self.depth.load(Ordering::Relaxed).saturating_sub(1);
        self.depth.store(left, Ordering::Relaxed);
        if left == 0 {
            if !weakened(Weakening::KeepName) {
                self.holder.store(0, Ordering::Relaxed);
            }
            self.lock.unlock(party);
        }
    }

    /// The holder's: what is protected is in order again.
    pub fn mend(&self) {
        self.lock.mend();
    }
}

/// The number of this thread, which no other thread of this process has or had.
fn thread_number() -> u64 {
    use std::sync::atomic::AtomicU64;
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static MINE: u64 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    MINE.with(|mine| *mine)
}

/// A value behind a lock that whoever holds it may lock again, shared by processes:
/// `multiprocessing.RLock`, with a value in it; `parking_lot`'s `ReentrantMutex` and
/// `std`'s `ReentrantLock`, for processes. A clone, or what a process gets as an
/// argument, is a handle to the same one.
///
/// It is held by a **thread** of a process: other threads of the same process wait as
/// those of other processes do. As many guards as were taken must be dropped, in any
/// order, before somebody else gets in.
///
/// ```
/// use threeply_pools::ipc::{Process, ReentrantMutex};
///
/// fn deposit(account: &ReentrantMutex<i64>, amount: i64) {
///     let balance = account.lock().unwrap();
///     balance.set(balance.get() + amount);
/// }
///
/// fn pay_fee_and_deposit(account: ReentrantMutex<i64>) {
///     let _nobody_comes_between = account.lock().unwrap();
///     deposit(&account, -1); // locks again
///     deposit(&account, 100);
/// }
///
/// let account = ReentrantMutex::new(0)?;
/// let process = Process::spawn(pay_fee_and_deposit, account.clone())?;
/// assert!(process.join()?.success());
/// assert_eq!(account.lock().unwrap().get(), 99);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A guard gives a [`Cell`], because there may be several in one thread: `get`, `set`,
/// `replace`, `update` the value; of an array, `as_array_of_cells` gives the elements.
/// `ReentrantMutex<()>` is the bare lock, to be used around other objects.
///
/// If the owner's process dies, however deep it was in, whoever locks next gets
/// [`Poisoned`], within a pulse of 50 ms if it was waiting already; also if the owner's
/// thread panics. A guard that is leaked keeps it locked as long as the process lives.
///
/// It can't be awaited: tasks of one event loop run on one thread, so the lock would let
/// them all in at once. Tasks use [`Mutex::lock_async`](super::Mutex::lock_async).
/// Children made by plain `fork`, without `exec`, must not use their parent's handles.
pub struct ReentrantMutex<T: Plain> {
    segment: Arc<Segment<Nested>>,
    value: PhantomData<T>,
}

/// What [`ReentrantMutex::lock`] gives.
type Locking<'a, T> = Result<ReentrantMutexGuard<'a, T>, Poisoned<ReentrantMutexGuard<'a, T>>>;

impl<T: Plain> ReentrantMutex<T> {
    /// Makes one; takes a descriptor and a page.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new(value: T) -> Result<ReentrantMutex<T>, Error> {
        let segment = Segment::new::<T>(1)?;
        // SAFETY: room for one `T`, aligned, of which nobody else knows yet.
        unsafe { segment.data::<T>().0.write(value) };
        Ok(ReentrantMutex::with(the_only(segment)))
    }

    fn with(segment: Arc<Segment<Nested>>) -> ReentrantMutex<T> {
        ReentrantMutex {
            segment,
            value: PhantomData,
        }
    }

    fn me(&self) -> Holder {
        Holder::new(self.segment.me(), thread_number())
    }

    fn guard(&self, found: Found) -> Locking<'_, T> {
        let guard = ReentrantMutexGuard {
            segment: &self.segment,
            value: self.segment.data::<T>().0,
            panicking: std::thread::panicking(),
        };
        match found {
            Found::Whole => Ok(guard),
            Found::Broken => Err(Poisoned(guard)),
        }
    }

    /// Locks: at once if this thread holds it already, which costs no more than
    /// looking, otherwise waiting for whoever does.
    ///
    /// # Errors
    /// [`Poisoned`], with the guard in it: a former owner died or panicked.
    ///
    /// # Panics
    /// If this thread has 2³² guards of it.
    pub fn lock(&self) -> Result<ReentrantMutexGuard<'_, T>, Poisoned<ReentrantMutexGuard<'_, T>>> {
        let words = self.segment.words();
        let found = words.lock(&*self.segment, self.me(), Deadline::NEVER);
        self.guard(found.expect("it waits without end"))
    }

    /// Locks if this thread holds it, or nobody does (or its owner is dead, which costs
    /// some microseconds to find out).
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] and [`TryLockError::Poisoned`].
    ///
    /// # Panics
    /// As [`lock`](ReentrantMutex::lock).
    pub fn try_lock(
        &self,
    ) -> Result<ReentrantMutexGuard<'_, T>, TryLockError<ReentrantMutexGuard<'_, T>>> {
        let found = self.segment.words().try_lock(&*self.segment, self.me());
        let found = found.ok_or(TryLockError::WouldBlock)?;
        self.guard(found).map_err(TryLockError::Poisoned)
    }

    /// Locks, if that is possible within `timeout`.
    ///
    /// # Errors
    /// [`TryLockError::TimedOut`] and [`TryLockError::Poisoned`].
    ///
    /// # Panics
    /// As [`lock`](ReentrantMutex::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<ReentrantMutexGuard<'_, T>, TryLockError<ReentrantMutexGuard<'_, T>>> {
        let words = self.segment.words();
        let found = words.lock(&*self.segment, self.me(), Deadline::after(timeout));
        let found = found.ok_or(TryLockError::TimedOut)?;
        self.guard(found).map_err(TryLockError::Poisoned)
    }

    /// Whether this thread holds it.
    pub fn is_owned_by_current_thread(&self) -> bool {
        self.segment.words().holder.load(Ordering::Relaxed) == self.me().0
    }

    /// Whether the next who locks will be told that the value may be half changed.
    pub fn is_poisoned(&self) -> bool {
        self.segment.words().lock.is_broken()
    }

    /// Declares the value to be in order.
    pub fn clear_poison(&self) {
        self.segment.words().mend();
    }
}

/// The right to use the value; dropping it takes one lock back, and dropping the
/// thread's last one unlocks. If its thread panics meanwhile, the mutex is poisoned.
///
/// It stays in its thread, and so do references into it.
///
/// ```compile_fail,E0277
/// # use threeply_pools::ipc::ReentrantMutex;
/// let mutex = ReentrantMutex::new(0u8).unwrap();
/// let guard = mutex.lock().unwrap();
/// std::thread::scope(|scope| {
///     scope.spawn(|| guard.set(1));
/// });
/// ```
#[must_use = "dropping it unlocks at once"]
pub struct ReentrantMutexGuard<'a, T> {
    segment: &'a Segment<Nested>,
    // Neither `Send` nor `Sync`, which this makes the guard as well.
    value: NonNull<T>,
    panicking: bool,
}

impl<T> Deref for ReentrantMutexGuard<'_, T> {
    type Target = Cell<T>;
    fn deref(&self) -> &Cell<T> {
        // SAFETY: mapped as long as the segment lives, aligned, of any bytes valid
        // (`Plain`), laid out as a `T`. Among all who keep to the lock, only this
        // thread uses it, and it has no other kind of reference to it.
        unsafe { self.value.cast::<Cell<T>>().as_ref() }
    }
}

impl<T> Drop for ReentrantMutexGuard<'_, T> {
    fn drop(&mut self) {
        let words = self.segment.words();
        if !self.panicking && std::thread::panicking() {
            words.lock.break_it();
        }
        words.unlock(self.segment);
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl<T: Plain> Clone for ReentrantMutex<T> {
    fn clone(&self) -> Self {
        ReentrantMutex::with(Arc::clone(&self.segment))
    }
}

impl<T: Plain> fmt::Debug for ReentrantMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReentrantMutex").finish_non_exhaustive()
    }
}

/// The segment by which this process takes part in an object: the one that is in use
/// already, if there is such a one, otherwise `segment` (invariant 3).
fn the_only(segment: Segment<Nested>) -> Arc<Segment<Nested>> {
    static IN_USE: std::sync::Mutex<Vec<Weak<Segment<Nested>>>> = std::sync::Mutex::new(Vec::new());
    let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
    in_use.retain(|known| known.strong_count() > 0);
    let mut known = in_use.iter().filter_map(Weak::upgrade);
    if let Some(known) = known.find(|known| known.is_same_object(&segment)) {
        return known; // And the seat that was taken just now is left again.
    }
    let segment = Arc::new(segment);
    in_use.push(Arc::downgrade(&segment));
    segment
}

impl<T: Plain> Serialize for ReentrantMutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for ReentrantMutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Segment::unpack::<T, D>(deserializer)?;
        if segment.data::<T>().1 != 1 {
            return Err(serde::de::Error::custom("its memory was overwritten"));
        }
        Ok(ReentrantMutex::with(the_only(segment)))
    }
}
