//! Many values of one type, shared by processes.
//!
//! A [`Mutex`](super::Mutex) whose value is a slice; see [`super::mutex`] for what
//! its elements may be and what happens when its owner dies.

use super::error::{Error, Poisoned, TryLockError};
use super::mutex::{self, Locked, MutexGuard, Plain};
use super::segment::Segment;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

/// So many values of type `T`, behind one lock, shared by processes.
///
/// ```
/// use threeply_pools::ipc::{Array, Process};
///
/// fn square(array: Array<u32>) {
///     array.lock().unwrap().iter_mut().for_each(|n| *n *= *n);
/// }
///
/// let array = Array::new(&[1, 2, 3])?;
/// Process::spawn(square, array.clone())?.join()?;
/// assert_eq!(array.to_vec()?, [1, 4, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Array<T: Plain> {
    segment: Arc<Segment<Locked>>,
    element: std::marker::PhantomData<T>,
}

impl<T: Plain> Array<T> {
    /// An array of these values.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::TooLarge`]
    pub fn new(values: &[T]) -> Result<Array<T>, Error> {
        let array = Array::zeroed(values.len())?;
        array.lock()?.copy_from_slice(values);
        Ok(array)
    }

    /// `len` values of which all bytes are zero; they cost memory once they are used.
    ///
    /// # Errors
    /// [`Error::Memory`], [`Error::TooLarge`]
    pub fn zeroed(len: usize) -> Result<Array<T>, Error> {
        Ok(Array::with(Segment::new::<T>(len)?))
    }

    fn with(segment: Segment<Locked>) -> Array<T> {
        Array {
            segment: Arc::new(segment),
            element: std::marker::PhantomData,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.segment.data::<T>().1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Locks all elements, as [`Mutex::lock`](super::Mutex::lock).
    ///
    /// # Errors
    /// [`Poisoned`], with the guard in it: the former owner died or panicked.
    pub fn lock(&self) -> Result<MutexGuard<'_, [T]>, Poisoned<MutexGuard<'_, [T]>>> {
        mutex::lock(&self.segment, slice::<T>)
    }

    /// Locks if nobody holds it.
    ///
    /// # Errors
    /// As [`Mutex::try_lock`](super::Mutex::try_lock).
    pub fn try_lock(&self) -> Result<MutexGuard<'_, [T]>, TryLockError<MutexGuard<'_, [T]>>> {
        mutex::try_lock(&self.segment, slice::<T>)
    }

    /// Locks, if that is possible within `timeout`.
    ///
    /// # Errors
    /// As [`Mutex::lock_timeout`](super::Mutex::lock_timeout).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<MutexGuard<'_, [T]>, TryLockError<MutexGuard<'_, [T]>>> {
        mutex::lock_timeout(&self.segment, timeout, slice::<T>)
    }

    /// [`lock`](Array::lock) without blocking the thread, on any executor.
    ///
    /// # Cancel safety
    /// Safe: dropped while it waits, it doesn't lock.
    ///
    /// # Errors
    /// [`Poisoned`]
    pub async fn lock_async(&self) -> Result<MutexGuard<'_, [T]>, Poisoned<MutexGuard<'_, [T]>>> {
        mutex::lock_async(&self.segment, slice::<T>).await
    }

    /// The element at `index`; locks for a moment.
    ///
    /// # Errors
    /// [`Error::Poisoned`]
    ///
    /// # Panics
    /// If there is no such element.
    pub fn get(&self, index: usize) -> Result<T, Error> {
        let len = self.len();
        assert!(index < len, "element {index} of an array of {len}");
        Ok(self.lock()?[index])
    }

    /// Sets the element at `index`; locks for a moment.
    ///
    /// # Errors
    /// [`Error::Poisoned`]
    ///
    /// # Panics
    /// If there is no such element; nothing is poisoned by that.
    pub fn set(&self, index: usize, value: T) -> Result<(), Error> {
        let len = self.len();
        assert!(index < len, "element {index} of an array of {len}");
        self.lock()?[index] = value;
        Ok(())
    }

    /// A copy of all elements, as they are at one moment.
    ///
    /// # Errors
    /// [`Error::Poisoned`]
    pub fn to_vec(&self) -> Result<Vec<T>, Error> {
        Ok(self.lock()?.to_vec())
    }

    /// Whether the next who locks will be told that elements may be half changed.
    pub fn is_poisoned(&self) -> bool {
        self.segment.words().lock.is_broken()
    }

    /// Declares the elements to be in order.
    pub fn clear_poison(&self) {
        self.segment.words().lock.mend();
    }
}

fn slice<T>((first, len): (NonNull<T>, usize)) -> NonNull<[T]> {
    NonNull::slice_from_raw_parts(first, len)
}

impl<T: Plain> Clone for Array<T> {
    fn clone(&self) -> Self {
        Array {
            segment: Arc::clone(&self.segment),
            element: std::marker::PhantomData,
        }
    }
}

impl<T: Plain> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array").field("len", &self.len()).finish()
    }
}

impl<T: Plain> Serialize for Array<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Array<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Array::with(Segment::unpack::<T, D>(deserializer)?))
    }
}
