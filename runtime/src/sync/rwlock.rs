//! A readers-writer lock whose guards may be held across an await: a semaphore
//! of which a reader takes one permit and a writer takes all.
//!
//! Strictly first come, first served: readers that come after a waiting writer
//! wait behind it, so neither side starves. The price is that a task which
//! holds a read guard and asks for a second one can wait for ever, with a
//! writer between the two.
//!
//! Read before: `mutex.rs`; after: `notify.rs`.
#![allow(unsafe_code)] // An `UnsafeCell` around the value: that is what a lock is.

use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;

use super::blocking;
use super::family::{Family, Local, Shared};
use super::mutex::TryLockError;
use super::semaphore::Semaphore;
use crate::inspect::SyncKind;
use crate::limits::MAX_READERS;

/// A fair readers-writer lock for tasks; see the [module](self).
///
/// Named as in tokio. No poisoning. Every operation is O(1), but a writer that
/// leaves wakes all readers at the front of the line. The futures can be
/// dropped at any moment: they give up their turn, and what they had been
/// granted goes to the next.
///
/// # Invariants
///
/// 1. Of [`MAX_READERS`] permits each read guard holds one and the write guard
///    all: while there is a write guard there is no other guard.
/// 2. The permits pass through the family's lock, so what a writer wrote is
///    visible to whoever is next, and a reader is done reading before the next
///    writer writes.
pub struct RwLock<F: Family, T: ?Sized> {
    turn: Semaphore<F>,
    value: UnsafeCell<T>,
}

// SAFETY: by the invariants a shared `&RwLock` hands out `&mut T` to one thread
// at a time (needs `T: Send`) or `&T` to many (needs `T: Sync`).
unsafe impl<T: ?Sized + Send + Sync> Sync for RwLock<Shared, T> {}

impl<F: Family, T> RwLock<F, T> {
    /// An unlocked lock around `value`.
    #[track_caller]
    pub fn new(value: T) -> Self {
        RwLock {
            turn: Semaphore::inside(SyncKind::RwLock, MAX_READERS),
            value: UnsafeCell::new(value),
        }
    }

    /// The value back.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<F: Family, T: ?Sized> RwLock<F, T> {
    /// Waits until there is no writer, nor one that waits already. Cancel-safe: a
    /// wait that is dropped passes its turn on.
    pub async fn read(&self) -> RwLockReadGuard<'_, F, T> {
        // Nobody can close the semaphore: it is private. The same below.
        let who = self.turn.share(1).await.unwrap_or_default();
        RwLockReadGuard { lock: self, who }
    }

    /// Waits until everybody who came before is gone. Cancel-safe: a wait that is
    /// dropped passes its turn on, also to the readers who stood behind it.
    pub async fn write(&self) -> RwLockWriteGuard<'_, F, T> {
        let _ = self.turn.take(MAX_READERS).await;
        RwLockWriteGuard { lock: self }
    }

    /// Reads if there is no writer and nobody waits.
    ///
    /// # Errors
    ///
    /// If that isn't so.
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, F, T>, TryLockError> {
        match self.turn.try_share(1) {
            Ok(who) => Ok(RwLockReadGuard { lock: self, who }),
            Err(_) => Err(TryLockError),
        }
    }

    /// Writes if nobody reads, writes or waits.
    ///
    /// # Errors
    ///
    /// If that isn't so.
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, F, T>, TryLockError> {
        match self.turn.try_take(MAX_READERS) {
            Ok(()) => Ok(RwLockWriteGuard { lock: self }),
            Err(_) => Err(TryLockError),
        }
    }

    /// The value, without locking: the borrow checker knows nobody else looks.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// How many wait now.
    pub fn waiters(&self) -> usize {
        self.turn.waiters()
    }
}

impl<T: ?Sized> RwLock<Local, T> {
    /// As [`read`](Self::read), and as cancel-safe, with a guard that owns its lock.
    pub async fn read_owned(self: Rc<Self>) -> OwnedRwLockReadGuard<Local, T> {
        let who = self.turn.share(1).await.unwrap_or_default();
        OwnedRwLockReadGuard { lock: self, who }
    }

    /// As [`write`](Self::write), and as cancel-safe, with a guard that owns its lock.
    pub async fn write_owned(self: Rc<Self>) -> OwnedRwLockWriteGuard<Local, T> {
        let _ = self.turn.take(MAX_READERS).await;
        OwnedRwLockWriteGuard { lock: self }
    }
}

impl<T: ?Sized> RwLock<Shared, T> {
    /// As [`read`](Self::read), and as cancel-safe, with a guard that owns its lock.
    pub async fn read_owned(self: Arc<Self>) -> OwnedRwLockReadGuard<Shared, T> {
        let who = self.turn.share(1).await.unwrap_or_default();
        OwnedRwLockReadGuard { lock: self, who }
    }

    /// As [`write`](Self::write), and as cancel-safe, with a guard that owns its lock.
    pub async fn write_owned(self: Arc<Self>) -> OwnedRwLockWriteGuard<Shared, T> {
        let _ = self.turn.take(MAX_READERS).await;
        OwnedRwLockWriteGuard { lock: self }
    }

    /// As [`read`](Self::read), blocking the thread.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `read().await` there.
    pub fn blocking_read(&self) -> RwLockReadGuard<'_, Shared, T> {
        let ask = self.turn.ask();
        blocking::wait(
            "`RwLock::blocking_read`",
            "`read().await`",
            &ask,
            self.read(),
        )
    }

    /// As [`write`](Self::write), blocking the thread.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `write().await` there.
    pub fn blocking_write(&self) -> RwLockWriteGuard<'_, Shared, T> {
        let ask = self.turn.ask();
        blocking::wait(
            "`RwLock::blocking_write`",
            "`write().await`",
            &ask,
            self.write(),
        )
    }
}

impl<F: Family, T: Default> Default for RwLock<F, T> {
    #[track_caller]
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<F: Family, T> From<T> for RwLock<F, T> {
    fn from(value: T) -> Self {
        RwLock::new(value)
    }
}

impl<F: Family, T: ?Sized + fmt::Debug> fmt::Debug for RwLock<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => out.field("value", &&*guard),
            Err(_) => out.field("value", &format_args!("<locked>")),
        };
        out.finish()
    }
}

// The guards are `Send` and `Sync` where `&RwLock` is, that is with the shared
// family if `T` is both: enough for `&T`, and for `&mut T` in one hand.

/// The right to read; dropping it gives it back.
#[must_use = "a guard that is dropped at once locks nothing"]
pub struct RwLockReadGuard<'a, F: Family, T: ?Sized> {
    lock: &'a RwLock<F, T>,
    /// By which word the lock remembers this reader.
    who: usize,
}

impl<F: Family, T: ?Sized> Deref for RwLockReadGuard<'_, F, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard holds a permit, so nobody writes (invariant 1).
        unsafe { &*self.lock.value.get() }
    }
}

impl<F: Family, T: ?Sized> Drop for RwLockReadGuard<'_, F, T> {
    fn drop(&mut self) {
        self.lock.turn.give_share(1, self.who);
    }
}

/// The right to write; dropping it gives it back.
#[must_use = "a guard that is dropped at once locks nothing"]
pub struct RwLockWriteGuard<'a, F: Family, T: ?Sized> {
    lock: &'a RwLock<F, T>,
}

impl<'a, F: Family, T: ?Sized> RwLockWriteGuard<'a, F, T> {
    /// Becomes a reader, without letting another writer in between. Readers at
    /// the front of the line come in too.
    pub fn downgrade(self) -> RwLockReadGuard<'a, F, T> {
        let lock = self.lock;
        std::mem::forget(self);
        let who = lock.turn.keep_share(MAX_READERS - 1);
        RwLockReadGuard { lock, who }
    }
}

impl<F: Family, T: ?Sized> Deref for RwLockWriteGuard<'_, F, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: this guard holds all permits (invariant 1), and `&self` keeps
        // it from handing out `&mut T` meanwhile.
        unsafe { &*self.lock.value.get() }
    }
}

impl<F: Family, T: ?Sized> DerefMut for RwLockWriteGuard<'_, F, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds all permits (invariant 1), and `&mut self`
        // makes this the only reference made through it.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<F: Family, T: ?Sized> Drop for RwLockWriteGuard<'_, F, T> {
    fn drop(&mut self) {
        self.lock.turn.give(MAX_READERS);
    }
}

/// As [`RwLockReadGuard`], without a lifetime.
#[must_use = "a guard that is dropped at once locks nothing"]
pub struct OwnedRwLockReadGuard<F: Family, T: ?Sized> {
    lock: F::Ref<RwLock<F, T>>,
    /// As of [`RwLockReadGuard`].
    who: usize,
}

impl<F: Family, T: ?Sized> Deref for OwnedRwLockReadGuard<F, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: as in `RwLockReadGuard::deref`.
        unsafe { &*self.lock.value.get() }
    }
}

impl<F: Family, T: ?Sized> Drop for OwnedRwLockReadGuard<F, T> {
    fn drop(&mut self) {
        self.lock.turn.give_share(1, self.who);
    }
}

/// As [`RwLockWriteGuard`], without a lifetime.
#[must_use = "a guard that is dropped at once locks nothing"]
pub struct OwnedRwLockWriteGuard<F: Family, T: ?Sized> {
    lock: F::Ref<RwLock<F, T>>,
}

impl<F: Family, T: ?Sized> Deref for OwnedRwLockWriteGuard<F, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: as in `RwLockWriteGuard::deref`.
        unsafe { &*self.lock.value.get() }
    }
}

impl<F: Family, T: ?Sized> DerefMut for OwnedRwLockWriteGuard<F, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `RwLockWriteGuard::deref_mut`.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<F: Family, T: ?Sized> Drop for OwnedRwLockWriteGuard<F, T> {
    fn drop(&mut self) {
        self.lock.turn.give(MAX_READERS);
    }
}

impl<F: Family, T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<F: Family, T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
