//! A mutex whose guard may be held across an await: a semaphore of one permit
//! around a value.
//!
//! Unlocking with somebody in line *hands over*: the permit goes straight to
//! the first waiter and nobody can snatch it on the way. That is what makes
//! the lock fair, and what makes a cancelled waiter pass on what it was handed
//! (`permits.rs`, invariant 3).
//!
//! Rejected: *barging* (unlock frees the lock, whoever comes first takes it)
//! is faster for threads that fight over a lock for a few instructions, but
//! starves tasks whose turn comes once per turn of their loop.
//!
//! Read before: `semaphore.rs`; after: `rwlock.rs`.
#![allow(unsafe_code)] // An `UnsafeCell` around the value: that is what a mutex is.

use std::cell::UnsafeCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::blocking;
use super::family::{Family, Local, Shared};
use super::semaphore::{Semaphore, Take};
use crate::inspect::SyncKind;

/// The mutex is locked, or others wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TryLockError;

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is taken, or others wait for it: wait with `.await`")
    }
}

impl std::error::Error for TryLockError {}

/// A fair mutex for tasks, whose guard may be held across an await.
///
/// Named as in tokio. Waiters get it in the order in which they first polled
/// [`lock`](Self::lock). There is no poisoning: a panic while the guard is held
/// unlocks it. Locking it twice in one task waits for ever.
///
/// Every operation is O(1). A `lock` future can be dropped at any moment: it
/// gives up its turn, and a lock it was handed already goes to the next.
///
/// # Invariants
///
/// 1. Whoever took the one permit of `turn`, and only they, may touch `value`;
///    the guards are the only ones who take it, and return it when dropped.
/// 2. The permit passes through the family's lock, so all that one guard wrote
///    is visible to the next one (Shared: release and acquire of that lock).
pub struct Mutex<F: Family, T: ?Sized> {
    turn: Semaphore<F>,
    value: UnsafeCell<T>,
}

// SAFETY: by invariants 1 and 2 a shared `&Mutex` hands out `&mut T` to one
// thread at a time, which is sending the `T` around; so `T: Send` is enough.
unsafe impl<T: ?Sized + Send> Sync for Mutex<Shared, T> {}

impl<F: Family, T> Mutex<F, T> {
    /// An unlocked mutex around `value`.
    #[track_caller]
    pub fn new(value: T) -> Self {
        Mutex {
            turn: Semaphore::inside(SyncKind::Mutex, 1),
            value: UnsafeCell::new(value),
        }
    }

    /// The value back.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<F: Family, T: ?Sized> Mutex<F, T> {
    /// Waits for the lock. Cancel-safe: a wait that is dropped leaves the line, and
    /// passes on the turn that it may have been given.
    #[inline]
    pub fn lock(&self) -> Lock<'_, F, T> {
        Lock {
            mutex: self,
            take: self.turn.take(1),
        }
    }

    /// Locks it if it is free and nobody waits.
    ///
    /// # Errors
    ///
    /// If that isn't so.
    pub fn try_lock(&self) -> Result<MutexGuard<'_, F, T>, TryLockError> {
        match self.turn.try_take(1) {
            Ok(()) => Ok(MutexGuard {
                mutex: self,
                borrows: PhantomData,
            }),
            Err(_) => Err(TryLockError),
        }
    }

    /// The value, without locking: the borrow checker knows nobody else looks.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Whether somebody holds the lock at this moment.
    pub fn is_locked(&self) -> bool {
        self.turn.available_permits() == 0
    }

    /// How many wait for the lock now.
    pub fn waiters(&self) -> usize {
        self.turn.waiters()
    }
}

impl<T: ?Sized> Mutex<Local, T> {
    /// As [`lock`](Self::lock), and as cancel-safe, with a guard that owns its mutex.
    pub async fn lock_owned(self: Rc<Self>) -> OwnedMutexGuard<Local, T> {
        let _ = self.turn.take(1).await;
        OwnedMutexGuard {
            mutex: self,
            borrows: PhantomData,
        }
    }

    /// As [`try_lock`](Self::try_lock), with a guard that owns its mutex.
    ///
    /// # Errors
    ///
    /// If it is locked or somebody waits.
    pub fn try_lock_owned(self: Rc<Self>) -> Result<OwnedMutexGuard<Local, T>, TryLockError> {
        match self.turn.try_take(1) {
            Ok(()) => Ok(OwnedMutexGuard {
                mutex: self,
                borrows: PhantomData,
            }),
            Err(_) => Err(TryLockError),
        }
    }
}

impl<T: ?Sized> Mutex<Shared, T> {
    /// As [`lock`](Self::lock), and as cancel-safe, with a guard that owns its mutex.
    pub async fn lock_owned(self: Arc<Self>) -> OwnedMutexGuard<Shared, T> {
        let _ = self.turn.take(1).await;
        OwnedMutexGuard {
            mutex: self,
            borrows: PhantomData,
        }
    }

    /// As [`try_lock`](Self::try_lock), with a guard that owns its mutex.
    ///
    /// # Errors
    ///
    /// If it is locked or somebody waits.
    pub fn try_lock_owned(self: Arc<Self>) -> Result<OwnedMutexGuard<Shared, T>, TryLockError> {
        match self.turn.try_take(1) {
            Ok(()) => Ok(OwnedMutexGuard {
                mutex: self,
                borrows: PhantomData,
            }),
            Err(_) => Err(TryLockError),
        }
    }

    /// Blocks the thread until it has the lock.
    ///
    /// # Panics
    ///
    /// On the thread of an event loop that runs: use `lock().await` there.
    pub fn blocking_lock(&self) -> MutexGuard<'_, Shared, T> {
        let ask = self.turn.ask();
        blocking::wait(
            "`Mutex::blocking_lock`",
            "`lock().await`",
            &ask,
            self.lock(),
        )
    }
}

impl<F: Family, T: Default> Default for Mutex<F, T> {
    #[track_caller]
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<F: Family, T> From<T> for Mutex<F, T> {
    fn from(value: T) -> Self {
        Mutex::new(value)
    }
}

impl<F: Family, T: ?Sized + fmt::Debug> fmt::Debug for Mutex<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => out.field("value", &&*guard),
            Err(_) => out.field("value", &format_args!("<locked>")),
        };
        out.finish()
    }
}

/// The future of [`Mutex::lock`].
#[must_use = "futures do nothing unless they are polled"]
pub struct Lock<'a, F: Family, T: ?Sized> {
    mutex: &'a Mutex<F, T>,
    take: Take<'a, F>,
}

impl<'a, F: Family, T: ?Sized> Future for Lock<'a, F, T> {
    type Output = MutexGuard<'a, F, T>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Nobody can close the semaphore: it is private.
        Pin::new(&mut self.take).poll(cx).map(|_| MutexGuard {
            mutex: self.mutex,
            borrows: PhantomData,
        })
    }
}

/// The lock of a [`Mutex`] in hand; dropping it unlocks.
#[must_use = "a guard that is dropped at once locks nothing"]
pub struct MutexGuard<'a, F: Family, T: ?Sized> {
    mutex: &'a Mutex<F, T>,
    /// `Send` if `T` is, `Sync` if `T` is, as a `&mut T` would be.
    borrows: PhantomData<&'a mut T>,
}

impl<'a, F: Family, T: ?Sized> MutexGuard<'a, F, T> {
    /// The mutex that this guard locks.
    pub fn mutex(guard: &Self) -> &'a Mutex<F, T> {
        guard.mutex
    }
}

impl<F: Family, T: ?Sized> Deref for MutexGuard<'_, F, T> {
    type Target = T;
    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this guard holds the permit (invariant 1), and `&self` keeps
        // it from handing out `&mut T` meanwhile.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<F: Family, T: ?Sized> DerefMut for MutexGuard<'_, F, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: this guard holds the permit (invariant 1), and `&mut self`
        // makes this the only reference made through it.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<F: Family, T: ?Sized> Drop for MutexGuard<'_, F, T> {
    #[inline]
    fn drop(&mut self) {
        self.mutex.turn.give(1);
    }
}

impl<F: Family, T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// As [`MutexGuard`], without a lifetime: it owns a handle of its mutex.
#[must_use = "a guard that is dropped at once locks nothing"]
pub struct OwnedMutexGuard<F: Family, T: ?Sized> {
    mutex: F::Ref<Mutex<F, T>>,
    /// `Sync` only if `T` is.
    borrows: PhantomData<T>,
}

impl<F: Family, T: ?Sized> OwnedMutexGuard<F, T> {
    /// The mutex that this guard locks.
    pub fn mutex(guard: &Self) -> &F::Ref<Mutex<F, T>> {
        &guard.mutex
    }
}

impl<F: Family, T: ?Sized> Deref for OwnedMutexGuard<F, T> {
    type Target = T;
    fn deref(&self) -> &T {
        // SAFETY: as in `MutexGuard::deref`.
        unsafe { &*self.mutex.value.get() }
    }
}

impl<F: Family, T: ?Sized> DerefMut for OwnedMutexGuard<F, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `MutexGuard::deref_mut`.
        unsafe { &mut *self.mutex.value.get() }
    }
}

impl<F: Family, T: ?Sized> Drop for OwnedMutexGuard<F, T> {
    fn drop(&mut self) {
        self.mutex.turn.give(1);
    }
}

impl<F: Family, T: ?Sized + fmt::Debug> fmt::Debug for OwnedMutexGuard<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
