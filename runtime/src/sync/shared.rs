//! The shared family: across threads, loops and jobs of the thread pool.
//!
//! Every wait exists twice: async, on any executor, and blocking, for a thread
//! that runs no event loop (`blocking_…`). For the tasks of one loop
//! [`local`](super::local) has the same under the same names, cheaper.

use super::family::Shared;

pub use super::barrier::BarrierWaitResult;
pub use super::limiter::AlreadyBorrowed;
pub use super::mutex::TryLockError;
pub use super::once_cell::SetError;
pub use super::semaphore::{AcquireError, TryAcquireError};

/// [`mutex::Mutex`](super::mutex::Mutex) across threads.
pub type Mutex<T> = super::mutex::Mutex<Shared, T>;
/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = super::mutex::MutexGuard<'a, Shared, T>;
/// The owning guard of a [`Mutex`].
pub type OwnedMutexGuard<T> = super::mutex::OwnedMutexGuard<Shared, T>;
/// [`rwlock::RwLock`](super::rwlock::RwLock) across threads.
pub type RwLock<T> = super::rwlock::RwLock<Shared, T>;
/// The reading guard of an [`RwLock`].
pub type RwLockReadGuard<'a, T> = super::rwlock::RwLockReadGuard<'a, Shared, T>;
/// The writing guard of an [`RwLock`].
pub type RwLockWriteGuard<'a, T> = super::rwlock::RwLockWriteGuard<'a, Shared, T>;
/// The owning reading guard of an [`RwLock`].
pub type OwnedRwLockReadGuard<T> = super::rwlock::OwnedRwLockReadGuard<Shared, T>;
/// The owning writing guard of an [`RwLock`].
pub type OwnedRwLockWriteGuard<T> = super::rwlock::OwnedRwLockWriteGuard<Shared, T>;
/// [`semaphore::Semaphore`](super::semaphore::Semaphore) across threads.
pub type Semaphore = super::semaphore::Semaphore<Shared>;
/// A permit of a [`Semaphore`].
pub type SemaphorePermit<'a> = super::semaphore::Permit<'a, Shared>;
/// An owning permit of a [`Semaphore`].
pub type OwnedSemaphorePermit = super::semaphore::OwnedPermit<Shared>;
/// [`limiter::Limiter`](super::limiter::Limiter) across threads.
pub type Limiter = super::limiter::Limiter<Shared>;
/// A token of a [`Limiter`].
pub type LimiterToken<'a> = super::limiter::Token<'a, Shared>;
/// [`notify::Notify`](super::notify::Notify) across threads.
pub type Notify = super::notify::Notify<Shared>;
/// The future of `Notify::notified`.
pub type Notified<'a> = super::notify::Notified<'a, Shared>;
/// [`event::Event`](super::event::Event) across threads.
pub type Event = super::event::Event<Shared>;
/// [`condvar::Condvar`](super::condvar::Condvar) across threads.
pub type Condvar = super::condvar::Condvar<Shared>;
/// [`barrier::Barrier`](super::barrier::Barrier) across threads.
pub type Barrier = super::barrier::Barrier<Shared>;
/// [`once_cell::OnceCell`](super::once_cell::OnceCell) across threads.
pub type OnceCell<T> = super::once_cell::OnceCell<Shared, T>;
/// [`queue::Queue`](super::queue::Queue) across threads: first in, first out.
pub type Queue<T> = super::queue::Queue<Shared, T>;
/// A queue that gives the last item put in first.
pub type LifoQueue<T> = super::queue::Queue<Shared, T, super::queue::Lifo<T>>;
/// A queue that gives the smallest item first.
pub type PriorityQueue<T> = super::queue::Queue<Shared, T, super::queue::Priority<T>>;

/// A channel for one value; see [`sync::oneshot`](super::oneshot).
pub mod oneshot {
    use super::Shared;
    pub use crate::sync::errors::{RecvError, TryRecvError};

    /// The sending end.
    pub type Sender<T> = crate::sync::oneshot::Sender<Shared, T>;
    /// The receiving end, a future.
    pub type Receiver<T> = crate::sync::oneshot::Receiver<Shared, T>;

    /// Makes a channel for one value.
    #[track_caller]
    pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
        crate::sync::oneshot::channel()
    }
}

/// Many senders, one receiver; see [`sync::mpsc`](super::mpsc).
pub mod mpsc {
    use super::Shared;
    pub use crate::sync::errors::{SendError, TryRecvError, TrySendError};

    /// The sending end of a bounded channel.
    pub type Sender<T> = crate::sync::mpsc::Sender<Shared, T>;
    /// A slot of a bounded channel in hand.
    pub type Permit<'a, T> = crate::sync::mpsc::Permit<'a, Shared, T>;
    /// The sending end of an unbounded channel.
    pub type UnboundedSender<T> = crate::sync::mpsc::UnboundedSender<Shared, T>;
    /// The receiving end.
    pub type Receiver<T> = crate::sync::mpsc::Receiver<Shared, T>;
    /// The receiving end of an unbounded channel.
    pub type UnboundedReceiver<T> = crate::sync::mpsc::UnboundedReceiver<Shared, T>;

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
    use super::Shared;
    pub use crate::sync::broadcast::{RecvError, TryRecvError};
    pub use crate::sync::errors::SendError;

    /// The sending end.
    pub type Sender<T> = crate::sync::broadcast::Sender<Shared, T>;
    /// A receiving end.
    pub type Receiver<T> = crate::sync::broadcast::Receiver<Shared, T>;

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
    use super::Shared;
    pub use crate::sync::errors::{RecvError, SendError};

    /// The changing end.
    pub type Sender<T> = crate::sync::watch::Sender<Shared, T>;
    /// A watching end.
    pub type Receiver<T> = crate::sync::watch::Receiver<Shared, T>;

    /// A channel that holds `value`.
    #[track_caller]
    pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
        crate::sync::watch::channel(value)
    }
}
