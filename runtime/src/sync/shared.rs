//! The shared family: across threads, loops and jobs of the thread pool.
//!
//! Every wait exists twice: async, on any executor, and blocking, for a thread
//! that runs no event loop (`blocking_…`). For the tasks of one loop
//! [`local`](super::local) has the same under the same names, cheaper.

use super::family::Shared;

/// As [`sync::mutex::Mutex`](super::mutex::Mutex), across threads.
pub type Mutex<T> = super::mutex::Mutex<Shared, T>;
/// The guard of a [`Mutex`].
pub type MutexGuard<'a, T> = super::mutex::MutexGuard<'a, Shared, T>;
/// The owning guard of a [`Mutex`].
pub type OwnedMutexGuard<T> = super::mutex::OwnedMutexGuard<Shared, T>;
/// As [`sync::semaphore::Semaphore`](super::semaphore::Semaphore), for the
/// tasks of one loop.
pub type Semaphore = super::semaphore::Semaphore<Shared>;
/// A permit of a [`Semaphore`].
pub type SemaphorePermit<'a> = super::semaphore::Permit<'a, Shared>;
/// An owning permit of a [`Semaphore`].
pub type OwnedSemaphorePermit = super::semaphore::OwnedPermit<Shared>;
/// As [`sync::notify::Notify`](super::notify::Notify), for the tasks of one
/// loop.
pub type Notify = super::notify::Notify<Shared>;
/// The future of [`Notify::notified`](super::notify::Notify::notified).
pub type Notified<'a> = super::notify::Notified<'a, Shared>;

/// A channel for one value; see [`sync::oneshot`](super::oneshot).
pub mod oneshot {
    use super::Shared;
    pub use crate::sync::errors::{RecvError, TryRecvError};

    /// The sending end.
    pub type Sender<T> = crate::sync::oneshot::Sender<Shared, T>;
    /// The receiving end, a future.
    pub type Receiver<T> = crate::sync::oneshot::Receiver<Shared, T>;

    /// Makes a channel for one value.
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
    pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        crate::sync::mpsc::channel(capacity)
    }

    /// A channel without a limit.
    pub fn unbounded_channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
        crate::sync::mpsc::unbounded_channel()
    }
}
