//! A value that processes change one at a time.
//!
//! The value lies in shared memory, so its type must be [`Plain`]: any bytes are a
//! valid value of it, for a process that dies while it changes the value leaves
//! whatever it had written. The next one who locks is told ([`Poisoned`]).
//!
//! The lock is [`super::lock`]'s, whose "broken" is a mutex's "poisoned".
//!
//! Read before this: [`super::segment`]. Read after it: [`super::condvar`].
#![allow(unsafe_code)] // makes references to a value in shared memory

use super::error::{Error, Poisoned, TryLockError};
use super::kernel::{Deadline, Slept};
use super::lock::{Found, LockWord};
use super::segment::Segment;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

/// Types that may live in memory which several processes share: no pointers, no
/// padding, and any bytes are a valid value. Numbers, and arrays of them, and what
/// derives [`bytemuck::Pod`].
pub trait Plain: bytemuck::Pod + Send + Sync {}

impl<T: bytemuck::Pod + Send + Sync> Plain for T {}

/// The words of a mutex or an array; data follows them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Locked {
    pub(crate) lock: LockWord,
}

/// A value behind a lock, shared by processes.
///
/// `std::sync::Mutex`, for processes: a clone, or what a process gets as an
/// argument, is a handle to the same value.
///
/// ```
/// use threeply_pools::ipc::{Mutex, Process};
///
/// fn add(counter: Mutex<u64>) {
///     for _ in 0..1000 {
///         *counter.lock().unwrap() += 1;
///     }
/// }
///
/// let counter = Mutex::new(0)?;
/// let a = Process::spawn(add, counter.clone())?;
/// let b = Process::spawn(add, counter.clone())?;
/// assert!(a.join()?.success() && b.join()?.success());
/// assert_eq!(*counter.lock().unwrap(), 2000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// If its owner dies, whoever locks next gets [`Poisoned`], within a pulse of
/// 50 ms if it was waiting already. A thread that locks what it holds itself waits
/// for ever.
pub struct Mutex<T: Plain> {
    segment: Arc<Segment<Locked>>,
    value: std::marker::PhantomData<T>,
}

impl<T: Plain> Mutex<T> {
    /// Makes one; takes a descriptor and a page.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new(value: T) -> Result<Mutex<T>, Error> {
        let segment = Segment::new::<T>(1)?;
        // SAFETY: room for one `T`, aligned, of which nobody else knows yet.
        unsafe { segment.data::<T>().0.write(value) };
        Ok(Mutex::with(segment))
    }

    fn with(segment: Segment<Locked>) -> Mutex<T> {
        Mutex {
            segment: Arc::new(segment),
            value: std::marker::PhantomData,
        }
    }

    /// Locks, waiting for whoever holds it. A free lock costs two instructions that
    /// the processors must agree on, no system call.
    ///
    /// # Errors
    /// [`Poisoned`], with the guard in it: the former owner died or panicked.
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, Poisoned<MutexGuard<'_, T>>> {
        lock(&self.segment, value)
    }

    /// Locks if nobody holds it (or its owner is dead, which costs some
    /// microseconds to find out).
    ///
    /// # Errors
    /// [`TryLockError::WouldBlock`] and [`TryLockError::Poisoned`].
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError<MutexGuard<'_, T>>> {
        try_lock(&self.segment, value)
    }

    /// Locks, if that is possible within `timeout`.
    ///
    /// # Errors
    /// [`TryLockError::TimedOut`] and [`TryLockError::Poisoned`].
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<MutexGuard<'_, T>, TryLockError<MutexGuard<'_, T>>> {
        lock_timeout(&self.segment, timeout, value)
    }

    /// [`lock`](Mutex::lock) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe: dropped while it waits, it doesn't lock.
    ///
    /// # Errors
    /// [`Poisoned`]
    pub async fn lock_async(&self) -> Result<MutexGuard<'_, T>, Poisoned<MutexGuard<'_, T>>> {
        lock_async(&self.segment, value).await
    }

    /// Whether the next who locks will be told that the value may be half changed.
    pub fn is_poisoned(&self) -> bool {
        self.segment.words().lock.is_broken()
    }

    /// Declares the value to be in order.
    pub fn clear_poison(&self) {
        self.segment.words().lock.mend();
    }
}

fn value<T>(data: (NonNull<T>, usize)) -> NonNull<T> {
    data.0
}

impl<T: Plain> Clone for Mutex<T> {
    fn clone(&self) -> Self {
        Mutex {
            segment: Arc::clone(&self.segment),
            value: std::marker::PhantomData,
        }
    }
}

impl<T: Plain> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

impl<T: Plain> Serialize for Mutex<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Mutex<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Segment::unpack::<T, D>(deserializer)?;
        if segment.data::<T>().1 != 1 {
            return Err(serde::de::Error::custom("an Array is no Mutex"));
        }
        Ok(Mutex::with(segment))
    }
}

/// How a guard's pointer is made of a segment's data.
pub(crate) type Shape<T, U> = fn((NonNull<T>, usize)) -> NonNull<U>;

pub(crate) type Locking<'a, U> = Result<MutexGuard<'a, U>, Poisoned<MutexGuard<'a, U>>>;
pub(crate) type TryLocking<'a, U> = Result<MutexGuard<'a, U>, TryLockError<MutexGuard<'a, U>>>;

fn guard<'a, T, U: ?Sized>(
    segment: &'a Arc<Segment<Locked>>,
    found: Found,
    shape: Shape<T, U>,
) -> Locking<'a, U> {
    let guard = MutexGuard {
        segment,
        value: shape(segment.data::<T>()),
        panicking: std::thread::panicking(),
    };
    match found {
        Found::Whole => Ok(guard),
        Found::Broken => Err(Poisoned(guard)),
    }
}

pub(crate) fn lock<'a, T, U: ?Sized>(
    segment: &'a Arc<Segment<Locked>>,
    shape: Shape<T, U>,
) -> Locking<'a, U> {
    let found = segment.words().lock.lock(&**segment, Deadline::NEVER);
    guard(segment, found.expect("it waits without end"), shape)
}

pub(crate) fn try_lock<'a, T, U: ?Sized>(
    segment: &'a Arc<Segment<Locked>>,
    shape: Shape<T, U>,
) -> TryLocking<'a, U> {
    let found = segment.words().lock.try_lock(&**segment);
    let found = found.ok_or(TryLockError::WouldBlock)?;
    guard(segment, found, shape).map_err(TryLockError::Poisoned)
}

pub(crate) fn lock_timeout<'a, T, U: ?Sized>(
    segment: &'a Arc<Segment<Locked>>,
    timeout: Duration,
    shape: Shape<T, U>,
) -> TryLocking<'a, U> {
    let deadline = Deadline::after(timeout);
    let found = segment.words().lock.lock(&**segment, deadline);
    let found = found.ok_or(TryLockError::TimedOut)?;
    guard(segment, found, shape).map_err(TryLockError::Poisoned)
}

pub(crate) async fn lock_async<'a, T, U: ?Sized>(
    segment: &'a Arc<Segment<Locked>>,
    shape: Shape<T, U>,
) -> Locking<'a, U> {
    let found = wait_for_lock(segment).await;
    guard(segment, found, shape)
}

/// Takes the lock, waiting for it on any executor.
pub(crate) async fn wait_for_lock(segment: &Segment<Locked>) -> Found {
    let lock = &segment.words().lock;
    if let Some(found) = lock.grab(segment) {
        return found;
    }
    loop {
        let seen = match lock.before_sleep(segment) {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        if segment.sleep_async(lock.word(), seen).await == Slept::Elapsed
            && let Some(found) = lock.inherit(segment, seen)
        {
            return found;
        }
    }
}

/// The right to use a mutex's value; dropping it unlocks. If its thread panics
/// meanwhile, the mutex is poisoned.
#[must_use = "dropping it unlocks at once"]
pub struct MutexGuard<'a, T: ?Sized> {
    segment: &'a Arc<Segment<Locked>>,
    value: NonNull<T>,
    panicking: bool,
}

// SAFETY: it is a `&mut T`, and the lock belongs to the process, not to a thread.
unsafe impl<T: ?Sized + Send> Send for MutexGuard<'_, T> {}
// SAFETY: shared, it is a `&T`.
unsafe impl<T: ?Sized + Sync> Sync for MutexGuard<'_, T> {}

impl<'a, T: ?Sized> MutexGuard<'a, T> {
    /// Where it came from, for a condition variable.
    pub(crate) fn segment(&self) -> &'a Arc<Segment<Locked>> {
        self.segment
    }

    /// What it points at.
    pub(crate) fn pointer(&self) -> NonNull<T> {
        self.value
    }

    /// The guard of a lock that has just been taken again.
    pub(crate) fn again(
        segment: &'a Arc<Segment<Locked>>,
        value: NonNull<T>,
        found: Found,
    ) -> Locking<'a, T> {
        let guard = MutexGuard {
            segment,
            value,
            panicking: std::thread::panicking(),
        };
        match found {
            Found::Whole => Ok(guard),
            Found::Broken => Err(Poisoned(guard)),
        }
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: mapped as long as the segment lives, aligned, of any bytes valid
        // (`Plain`), and ours alone among all who keep to the lock. That others in
        // this program's processes do is what the lock is for.
        unsafe { self.value.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as for `deref`.
        unsafe { self.value.as_mut() }
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        let lock = &self.segment.words().lock;
        if !self.panicking && std::thread::panicking() {
            lock.break_it();
        }
        lock.unlock(&**self.segment);
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
