//! The local family: for the tasks of one loop. No atomics, never `Send`.
//!
//! What crosses threads is in [`shared`](super::shared), under the same names.

use super::family::Local;

/// As [`sync::mutex::Mutex`](super::mutex::Mutex), for the tasks of one loop.
pub type Mutex<T> = super::mutex::Mutex<Local, T>;
/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = super::mutex::MutexGuard<'a, Local, T>;
/// The owning guard of a [`Mutex`].
pub type OwnedMutexGuard<T> = super::mutex::OwnedMutexGuard<Local, T>;
/// As [`sync::semaphore::Semaphore`](super::semaphore::Semaphore), for the
/// tasks of one loop.
pub type Semaphore = super::semaphore::Semaphore<Local>;
/// A permit of a [`Semaphore`].
pub type SemaphorePermit<'a> = super::semaphore::Permit<'a, Local>;
/// An owning permit of a [`Semaphore`].
pub type OwnedSemaphorePermit = super::semaphore::OwnedPermit<Local>;
/// As [`sync::notify::Notify`](super::notify::Notify), for the tasks of one
/// loop.
pub type Notify = super::notify::Notify<Local>;
/// The future of [`Notify::notified`](super::notify::Notify::notified).
pub type Notified<'a> = super::notify::Notified<'a, Local>;

/// A channel for one value; see [`sync::oneshot`](super::oneshot).
pub mod oneshot {
    use super::Local;
    pub use crate::sync::errors::{RecvError, TryRecvError};

    /// The sending end.
    pub type Sender<T> = crate::sync::oneshot::Sender<Local, T>;
    /// The receiving end, a future.
    pub type Receiver<T> = crate::sync::oneshot::Receiver<Local, T>;

    /// Makes a channel for one value.
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
    pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        crate::sync::mpsc::channel(capacity)
    }

    /// A channel without a limit.
    pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
        crate::sync::mpsc::unbounded_channel()
    }
}
