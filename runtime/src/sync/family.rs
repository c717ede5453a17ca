//! The two families, and the only difference between them.
//!
//! Every primitive is a plain state with transitions (`permits.rs`, and the
//! `State` in each file), put behind a [`Lock`]. What the lock is decides the
//! family:
//!
//! | | [`Local`] | [`Shared`] |
//! |---|---|---|
//! | for | the tasks of one loop | threads, loops, thread-pool jobs |
//! | lock | a `RefCell`, no atomics | a mutex around a few dozen instructions |
//! | pointer | `Rc` | `Arc` |
//! | `Send` | never | if the value is |
//! | waits | async | async and blocking |
//!
//! So each primitive is written, explained and tested once, and neither family
//! pays for the other. Users name them as `sync::local::Mutex<T>` and
//! `sync::shared::Mutex<T>`, which are aliases.
//!
//! # Why the shared family has a lock inside
//!
//! Lock-free fast paths in front of the queue (tokio's semaphore) save one
//! atomic read-modify-write of the four that a free lock and unlock cost, and
//! put a second source of truth beside the queue. Under contention, which is
//! what these types are for, the queue must be locked anyway. The section is
//! short and runs no foreign code but `Waker::clone`.
//!
//! Read before: `after.rs`; after: `wait_queue.rs`.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use super::after::After;
use super::pair::{Leave, LocalLeave, SharedLeave};
use crate::switch;

/// A cell whose content is only reached inside [`with`](Lock::with).
pub trait Lock<T> {
    /// Puts `value` behind a lock.
    fn new(value: T) -> Self;

    /// Runs `f` alone with the content, lets go, then wakes and drops what `f`
    /// put into [`After`]. `f` must run no foreign code except `Waker::clone`.
    fn with<R>(&self, f: impl FnOnce(&mut T, &mut After) -> R) -> R;

    /// Runs `f` with the content for a dump, or gives `None` if it is locked at
    /// this moment: a dump waits for nobody.
    fn look<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Local {}
    impl Sealed for super::Shared {}
}

/// [`Local`] or [`Shared`]; see the [module](self). Sealed.
pub trait Family: sealed::Sealed + Sized + 'static {
    /// What stands around the state of a primitive.
    type Lock<T>: Lock<T>;
    /// What the handles of a channel share it by.
    type Ref<T: ?Sized>: Clone + Deref<Target = T>;
    /// How the two ends of a oneshot share it.
    type Leave: Leave;
    /// A cell written once.
    type Once<T>: Once<T>;
    /// Whether others may act while a task of ours runs.
    const BETWEEN_THREADS: bool;

    /// Allocates something to be shared.
    fn share<T>(value: T) -> Self::Ref<T>;
    /// The value itself if `shared` was the last handle, else the handle.
    fn unshare<T>(shared: Self::Ref<T>) -> Result<T, Self::Ref<T>>;
    /// Whether both handles share the same allocation.
    fn same<T>(a: &Self::Ref<T>, b: &Self::Ref<T>) -> bool {
        std::ptr::eq::<T>(&**a, &**b)
    }
}

/// A cell written at most once; the standard library's, named alike.
pub trait Once<T>: Default {
    /// The value, if there is one.
    fn get(&self) -> Option<&T>;
    /// As `get`, exclusively.
    fn get_mut(&mut self) -> Option<&mut T>;
    /// Writes the value, or gives it back if there is one already.
    fn set(&self, value: T) -> Result<(), T>;
    /// Takes the value out.
    fn into_inner(self) -> Option<T>;
}

/// The family for the tasks of one loop: no atomics, never `Send`.
#[derive(Debug)]
pub enum Local {}

/// The family for several threads: each primitive is async and blocking.
#[derive(Debug)]
pub enum Shared {}

/// The lock of [`Local`]: a `RefCell` that stays on its thread.
#[derive(Debug)]
pub struct LocalLock<T> {
    value: RefCell<T>,
    /// A `RefCell` may move to another thread while it isn't borrowed. That
    /// would be sound here too, but the family promises that it doesn't.
    stays: PhantomData<Rc<()>>,
}

impl<T> Lock<T> for LocalLock<T> {
    fn new(value: T) -> Self {
        LocalLock {
            value: RefCell::new(value),
            stays: PhantomData,
        }
    }

    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut T, &mut After) -> R) -> R {
        After::around(|after| f(&mut self.value.borrow_mut(), after))
    }

    fn look<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        self.value.try_borrow().ok().map(|value| f(&value))
    }
}

/// The lock of [`Shared`].
#[derive(Debug)]
pub struct SharedLock<T> {
    value: switch::Mutex<T>,
}

impl<T> Lock<T> for SharedLock<T> {
    fn new(value: T) -> Self {
        SharedLock {
            value: switch::Mutex::new(value),
        }
    }

    #[inline(always)]
    #[track_caller]
    fn with<R>(&self, f: impl FnOnce(&mut T, &mut After) -> R) -> R {
        switch::next_lock_is_the_callers();
        After::around(|after| {
            // Poison is ignored: a panic inside (an allocation that fails, a
            // foreign `Waker::clone`) happens before the state is changed.
            let mut value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
            f(&mut value, after)
        })
    }

    fn look<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        self.value.try_lock().ok().map(|value| f(&value))
    }
}

impl Family for Local {
    type Lock<T> = LocalLock<T>;
    type Ref<T: ?Sized> = Rc<T>;
    type Leave = LocalLeave;
    type Once<T> = std::cell::OnceCell<T>;
    const BETWEEN_THREADS: bool = false;

    fn share<T>(value: T) -> Rc<T> {
        Rc::new(value)
    }
    fn unshare<T>(shared: Rc<T>) -> Result<T, Rc<T>> {
        Rc::try_unwrap(shared)
    }
}

impl Family for Shared {
    type Lock<T> = SharedLock<T>;
    type Ref<T: ?Sized> = Arc<T>;
    type Leave = SharedLeave;
    type Once<T> = std::sync::OnceLock<T>;
    const BETWEEN_THREADS: bool = true;

    fn share<T>(value: T) -> Arc<T> {
        Arc::new(value)
    }
    fn unshare<T>(shared: Arc<T>) -> Result<T, Arc<T>> {
        Arc::try_unwrap(shared)
    }
}

impl<T> Once<T> for std::cell::OnceCell<T> {
    fn get(&self) -> Option<&T> {
        self.get()
    }
    fn get_mut(&mut self) -> Option<&mut T> {
        self.get_mut()
    }
    fn set(&self, value: T) -> Result<(), T> {
        self.set(value)
    }
    fn into_inner(self) -> Option<T> {
        self.into_inner()
    }
}

impl<T> Once<T> for std::sync::OnceLock<T> {
    fn get(&self) -> Option<&T> {
        self.get()
    }
    fn get_mut(&mut self) -> Option<&mut T> {
        self.get_mut()
    }
    fn set(&self, value: T) -> Result<(), T> {
        self.set(value)
    }
    fn into_inner(self) -> Option<T> {
        self.into_inner()
    }
}
