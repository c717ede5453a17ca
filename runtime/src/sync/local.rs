//! The local family: for the tasks of one loop. No atomics, never `Send`.
//!
//! What crosses threads is in [`shared`](super::shared), under the same names.

use super::family::Local;

pub use super::barrier::BarrierWaitResult;
pub use super::limiter::AlreadyBorrowed;
pub use super::mutex::TryLockError;
pub use super::once_cell::SetError;
pub use super::semaphore::{AcquireError, TryAcquireError};

/// [`mutex::Mutex`](super::mutex::Mutex) for the tasks of one loop.
pub type Mutex<T> = super::mutex::Mutex<Local, T>;
/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = super::mutex::MutexGuard<'a, Local, T>;
/// The owning guard of a [`Mutex`].
pub type OwnedMutexGuard<T> = super::mutex::OwnedMutexGuard<Local, T>;
/// [`rwlock::RwLock`](super::rwlock::RwLock) for the tasks of one loop.
pub type RwLock<T> = super::rwlock::RwLock<Local, T>;
/// The reading guard of an [`RwLock`].
pub type RwLockReadGuard<'a, T> = super::rwlock::RwLockReadGuard<'a, Local, T>;
/// The writing guard of an [`RwLock`].
pub type RwLockWriteGuard<'a, T> = super::rwlock::RwLockWriteGuard<'a, Local, T>;
/// The owning reading guard of an [`RwLock`].
pub type OwnedRwLockReadGuard<T> = super::rwlock::OwnedRwLockReadGuard<Local, T>;
/// The owning writing guard of an [`RwLock`].
pub type OwnedRwLockWriteGuard<T> = super::rwlock::OwnedRwLockWriteGuard<Local, T>;
/// [`semaphore::Semaphore`](super::semaphore::Semaphore) for the tasks of one loop.
pub type Semaphore = super::semaphore::Semaphore<Local>;
/// A permit of a [`Semaphore`].
pub type SemaphorePermit<'a> = super::semaphore::Permit<'a, Local>;
/// An owning permit of a [`Semaphore`].
pub type OwnedSemaphorePermit = super::semaphore::OwnedPermit<Local>;
/// [`limiter::Limiter`](super::limiter::Limiter) for the tasks of one loop.
pub type Limiter = super::limiter::Limiter<Local>;
/// A token of a [`Limiter`].
pub type LimiterToken<'a> = super::limiter::Token<'a, Local>;
/// [`notify::Notify`](super::notify::Notify) for the tasks of one loop.
pub type Notify = super::notify::Notify<Local>;
/// The future of `Notify::notified`.
pub type Notified<'a> = super::notify::Notified<'a, Local>;
/// [`event::Event`](super::event::Event) for the tasks of one loop.
pub type Event = super::event::Event<Local>;
/// [`condvar::Condvar`](super::condvar::Condvar) for the tasks of one loop.
pub type Condvar = super::condvar::Condvar<Local>;
/// [`barrier::Barrier`](super::barrier::Barrier) for the tasks of one loop.
pub type Barrier = super::barrier::Barrier<Local>;
/// [`once_cell::OnceCell`](super::once_cell::OnceCell) for the tasks of one loop.
pub type OnceCell<T> = super::once_cell::OnceCell<Local, T>;
/// [`queue::Queue`](super::queue::Queue) for the tasks of one loop: first in, first out.
pub type Queue<T> = super::queue::Queue<Local, T>;
/// A queue that gives the last item put in first.
pub type LifoQueue<T> = super::queue::Queue<Local, T, super::queue::Lifo<T>>;
/// A queue that gives the smallest item first.
pub type PriorityQueue<T> = super::queue::Queue<Local, T, super::queue::Priority<T>>;

/// A channel for one value; see [`sync::oneshot`](super::oneshot).
pub mod oneshot {
    use super::Local;
    pub use crate::sync::errors::{RecvError, TryRecvError};

    /// The sending end.
    pub type Sender<T> = crate::sync::oneshot::Sender<Local, T>;
    /// The receiving end, a future.
    pub type Receiver<T> = crate::sync::oneshot::Receiver<Local, T>;

    /// Makes a channel for one value.
    #[track_caller]
    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        crate::sync::oneshot::channel()
    }
}

/// Many senders, one receiver; see [`sync::mpsc`](super::mpsc).
pub mod mpsc {
    use super::Local;
    pub use crate::sync::errors::{SendError, TryRecvError, TrySendError};

    /// The sending end of a bounded channel.
    pub type Sender<T> = crate::sync::mpsc::Sender<Local, T>;
    /// A slot of a bounded channel in hand.
    pub type Permit<'a, T> = crate::sync::mpsc::Permit<'a, Local, T>;
    /// The sending end of an unbounded channel.
    pub type UnboundedSender<T> = crate::sync::mpsc::UnboundedSender<Local, T>;
    /// The receiving end.
    pub type Receiver<T> = crate::sync::mpsc::Receiver<Local, T>;
    /// The receiving end of an unbounded channel.
    pub type UnboundedReceiver<T> = crate::sync::mpsc::UnboundedReceiver<Local, T>;

    /// A channel that holds at most `capacity` items.
    ///
    /// # Panics
    ///
    /// With a capacity of 0.
    #[track_caller]
    pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        crate::sync::mpsc::channel(capacity)
    }

    /// A channel without a limit.
    #[track_caller]
    pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
        crate::sync::mpsc::unbounded_channel()
    }
}

/// Every receiver gets every value; see [`sync::broadcast`](super::broadcast).
pub mod broadcast {
    use super::Local;
    pub use crate::sync::broadcast::{RecvError, TryRecvError};
    pub use crate::sync::errors::SendError;

    /// The sending end.
    pub type Sender<T> = crate::sync::broadcast::Sender<Local, T>;
    /// A receiving end.
    pub type Receiver<T> = crate::sync::broadcast::Receiver<Local, T>;

    /// A channel that keeps the latest `capacity` values.
    ///
    /// # Panics
    ///
    /// With a capacity of 0.
    #[track_caller]
    pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        crate::sync::broadcast::channel(capacity)
    }
}

/// One value that changes; see [`sync::watch`](super::watch).
pub mod watch {
    use super::Local;
    pub use crate::sync::errors::{RecvError, SendError};

    /// The changing end.
    pub type Sender<T> = crate::sync::watch::Sender<Local, T>;
    /// A watching end.
    pub type Receiver<T> = crate::sync::watch::Receiver<Local, T>;

    /// A channel that holds `value`.
    #[track_caller]
    pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        crate::sync::watch::channel(value)
    }
}
