//! One value that processes read and write, never half written.
//!
//! ```text
//!   words behind the door:  which = 0 or 1        data:  [ value | value ]
//!
//!   get:  copy the one that `which` names
//!   set:  write the other one ─▶ which := the other
//! ```
//!
//! The store of `which` is the change. A process that dies before it has changed
//! nothing, one that dies after it everything; so a value is never poisoned.
//!
//! Read before this: [`super::monitor`]. Read after it: [`super::queue`].
#![allow(unsafe_code)] // reads and writes values in shared memory

use super::error::Error;
use super::kernel::Party;
use super::monitor::{Door, Monitor};
use super::mutex::Plain;
use super::segment::Segment;
use crate::switch::{AtomicU32, Ordering};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

/// The words.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Which {
    monitor: Monitor,
    which: AtomicU32,
}

/// A value shared by processes: `multiprocessing.Value`. A clone, or what a process
/// gets as an argument, is a handle to the same value.
///
/// Every access locks for as long as it takes to copy the value. A process that
/// dies amid a change has either made it or not.
///
/// ```
/// use threeply_pools::ipc::{Process, Value};
///
/// fn count(hits: Value<u64>) {
///     hits.update(|n| *n += 1);
/// }
///
/// let hits = Value::new(0)?;
/// Process::spawn(count, hits.clone())?.join()?;
/// assert_eq!(hits.get(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Value<T: Plain> {
    segment: Arc<Segment<Which>>,
    value: PhantomData<T>,
}

impl<T: Plain> Value<T> {
    /// Makes one; takes a descriptor and a page.
    ///
    /// # Errors
    /// [`Error::Memory`]
    pub fn new(value: T) -> Result<Value<T>, Error> {
        let shared = Value::with(Segment::new::<T>(2)?);
        shared.set(value);
        Ok(shared)
    }

    fn with(segment: Segment<Which>) -> Value<T> {
        Value {
            segment: Arc::new(segment),
            value: PhantomData,
        }
    }

    fn enter(&self) -> Door<'_, Segment<Which>> {
        // One word, one store: there is nothing to repair.
        self.segment.words().monitor.enter(&*self.segment, || {})
    }

    fn place(&self, which: u32) -> NonNull<T> {
        let (first, count) = self.segment.data::<T>();
        debug_assert_eq!(count, 2);
        // SAFETY: there are two, one after the other.
        unsafe { first.add(which as usize & 1) }
    }

    fn read(&self, _door: &Door<'_, impl Party>) -> T {
        let which = self.segment.words().which.load(Ordering::Relaxed);
        // SAFETY: mapped, aligned, any bytes are valid (`Plain`), and nobody writes
        // behind the door but us.
        unsafe { self.place(which).read() }
    }

    fn write(&self, _door: &Door<'_, impl Party>, value: T) {
        let which = &self.segment.words().which;
        let other = which.load(Ordering::Relaxed) ^ 1;
        // SAFETY: as for `read`.
        unsafe { self.place(other).write(value) };
        // Release: not before the value, also not in the compiler's eyes, since we
        // may die in between.
        which.store(other, Ordering::Release);
    }

    /// A copy of the value.
    pub fn get(&self) -> T {
        self.read(&self.enter())
    }

    /// Sets the value.
    pub fn set(&self, value: T) {
        self.write(&self.enter(), value);
    }

    /// Sets the value and returns the one before.
    pub fn replace(&self, value: T) -> T {
        let door = self.enter();
        let before = self.read(&door);
        self.write(&door, value);
        before
    }

    /// Changes the value by `change`, while everybody else waits; returns what it
    /// returns. If it panics, the value stays as it was. It must not use the same
    /// value: it would wait for itself.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let door = self.enter();
        let mut value = self.read(&door);
        let result = change(&mut value);
        self.write(&door, value);
        result
    }
}

impl<T: Plain> Clone for Value<T> {
    fn clone(&self) -> Self {
        Value {
            segment: Arc::clone(&self.segment),
            value: PhantomData,
        }
    }
}

impl<T: Plain + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.get()).finish()
    }
}

impl<T: Plain> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.segment.pack(serializer)
    }
}

impl<'de, T: Plain> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let segment = Segment::unpack::<T, D>(deserializer)?;
        if segment.data::<T>().1 != 2 {
            return Err(serde::de::Error::custom("its memory was overwritten"));
        }
        Ok(Value::with(segment))
    }
}
