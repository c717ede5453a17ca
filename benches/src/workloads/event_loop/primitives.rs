//! Every engine's channels and locks, in the words that the workloads use.
//!
//! Each engine takes the primitives that it brings, or that its own documentation
//! names: smol its `channel` and `lock`, monoio those of `local-sync`, by its
//! author, glommio its own. What an engine lacks, it leaves out; compio brings
//! none at all.

use std::future::Future;
use std::rc::Rc;

use glommio::channels::local_channel;
use glommio::sync as glommio_sync;
use threeply_runtime::sync::{local, shared};
use tokio::sync as tokio_sync;

use super::engines::{Engine, Glommio, Monoio, Smol, Threeply, TokioLocal, TokioPlain};

/// A family of primitives and the executor that it runs on.
pub trait Family: 'static {
    /// The executor.
    type Engine: Engine;
}

/// A one-value channel.
pub trait Oneshot: Family {
    /// Sends once.
    type Sender: 'static;
    /// Receives once.
    type Receiver: 'static;
    /// A pair.
    fn oneshot() -> (Self::Sender, Self::Receiver);
    /// Sends.
    fn give(sender: Self::Sender, value: u64);
    /// Receives.
    fn take(receiver: Self::Receiver) -> impl Future<Output = u64>;
}

/// A bounded queue with one producer and one consumer.
pub trait Bounded: Family {
    /// The sending half.
    type Sender: 'static;
    /// The receiving half.
    type Receiver: 'static;
    /// A pair.
    fn bounded(capacity: usize) -> (Self::Sender, Self::Receiver);
    /// Sends; waits while the queue is full.
    fn send(sender: &Self::Sender, value: u64) -> impl Future<Output = ()>;
    /// Receives.
    fn recv(receiver: &mut Self::Receiver) -> impl Future<Output = u64>;
}

/// An unbounded queue.
pub trait Unbounded: Family {
    /// The sending half.
    type Sender: 'static;
    /// The receiving half.
    type Receiver: 'static;
    /// A pair.
    fn unbounded() -> (Self::Sender, Self::Receiver);
    /// Sends.
    fn push(sender: &Self::Sender, value: u64);
    /// Receives.
    fn pop(receiver: &mut Self::Receiver) -> impl Future<Output = u64>;
}

/// A wake-up that is kept for who comes later.
pub trait Notify: Family {
    /// The primitive.
    type Notify: 'static;
    /// A new one.
    fn notify() -> Self::Notify;
    /// Wakes one.
    fn notify_one(notify: &Self::Notify);
    /// Waits.
    fn notified(notify: &Self::Notify) -> impl Future<Output = ()>;
}

/// A lock around a number.
pub trait Mutex: Family {
    /// The primitive.
    type Mutex: 'static;
    /// A new one.
    fn mutex() -> Self::Mutex;
    /// Locks, adds one, runs `held` with the guard alive, unlocks; the new number.
    fn add(mutex: &Self::Mutex, held: impl Future<Output = ()>) -> impl Future<Output = u64>;
}

/// A number of permits.
pub trait Semaphore: Family {
    /// The primitive.
    type Semaphore: 'static;
    /// A new one.
    fn semaphore(permits: usize) -> Self::Semaphore;
    /// Takes a permit, runs `held`, gives it back.
    fn with_permit(
        semaphore: &Self::Semaphore,
        held: impl Future<Output = ()>,
    ) -> impl Future<Output = ()>;
}

/// Ours, between the tasks of one loop.
#[derive(Debug)]
pub struct Local;
/// Ours, across threads.
#[derive(Debug)]
pub struct Shared;
/// tokio's, below a `LocalSet`.
#[derive(Debug)]
pub struct TokioInLocalSet;
/// tokio's, below plain `spawn`.
#[derive(Debug)]
pub struct TokioSpawned;

/// Ours have tokio's names and signatures, so the text is the same for them.
macro_rules! with_tokios_names {
    ($family:ty, $engine:ty, $sync:ident) => {
        impl Family for $family {
            type Engine = $engine;
        }
        impl Oneshot for $family {
            type Sender = $sync::oneshot::Sender<u64>;
            type Receiver = $sync::oneshot::Receiver<u64>;
            fn oneshot() -> (Self::Sender, Self::Receiver) {
                $sync::oneshot::channel()
            }
            fn give(sender: Self::Sender, value: u64) {
                sender.send(value).expect("the receiver lives");
            }
            async fn take(receiver: Self::Receiver) -> u64 {
                receiver.await.expect("the sender sends")
            }
        }
        impl Bounded for $family {
            type Sender = $sync::mpsc::Sender<u64>;
            type Receiver = $sync::mpsc::Receiver<u64>;
            fn bounded(capacity: usize) -> (Self::Sender, Self::Receiver) {
                $sync::mpsc::channel(capacity)
            }
            async fn send(sender: &Self::Sender, value: u64) {
                sender.send(value).await.expect("the receiver lives");
            }
            async fn recv(receiver: &mut Self::Receiver) -> u64 {
                receiver.recv().await.expect("the sender sends")
            }
        }
        impl Unbounded for $family {
            type Sender = $sync::mpsc::UnboundedSender<u64>;
            type Receiver = $sync::mpsc::UnboundedReceiver<u64>;
            fn unbounded() -> (Self::Sender, Self::Receiver) {
                $sync::mpsc::unbounded_channel()
            }
            fn push(sender: &Self::Sender, value: u64) {
                sender.send(value).expect("the receiver lives");
            }
            async fn pop(receiver: &mut Self::Receiver) -> u64 {
                receiver.recv().await.expect("the sender sends")
            }
        }
        impl Notify for $family {
            type Notify = $sync::Notify;
            fn notify() -> Self::Notify {
                $sync::Notify::new()
            }
            fn notify_one(notify: &Self::Notify) {
                notify.notify_one();
            }
            async fn notified(notify: &Self::Notify) {
                notify.notified().await;
            }
        }
        impl Mutex for $family {
            type Mutex = $sync::Mutex<u64>;
            fn mutex() -> Self::Mutex {
                $sync::Mutex::new(0)
            }
            async fn add(mutex: &Self::Mutex, held: impl Future<Output = ()>) -> u64 {
                let mut guard = mutex.lock().await;
                *guard += 1;
                held.await;
                *guard
            }
        }
        impl Semaphore for $family {
            type Semaphore = $sync::Semaphore;
            fn semaphore(permits: usize) -> Self::Semaphore {
                $sync::Semaphore::new(permits)
            }
            async fn with_permit(semaphore: &Self::Semaphore, held: impl Future<Output = ()>) {
                let _permit = semaphore.acquire().await.expect("nobody closes it");
                held.await;
            }
        }
    };
}

with_tokios_names!(Local, Threeply, local);
with_tokios_names!(Shared, Threeply, shared);
with_tokios_names!(TokioInLocalSet, TokioLocal, tokio_sync);
with_tokios_names!(TokioSpawned, TokioPlain, tokio_sync);

/// smol's own: `async-channel` and `async-lock`.
#[derive(Debug)]
pub struct OfSmol;

impl Family for OfSmol {
    type Engine = Smol;
}
impl Oneshot for OfSmol {
    // smol has no oneshot; a channel of one is what its users take.
    type Sender = smol::channel::Sender<u64>;
    type Receiver = smol::channel::Receiver<u64>;
    fn oneshot() -> (Self::Sender, Self::Receiver) {
        smol::channel::bounded(1)
    }
    fn give(sender: Self::Sender, value: u64) {
        sender.try_send(value).expect("there is room");
    }
    async fn take(receiver: Self::Receiver) -> u64 {
        receiver.recv().await.expect("the sender sends")
    }
}
impl Bounded for OfSmol {
    type Sender = smol::channel::Sender<u64>;
    type Receiver = smol::channel::Receiver<u64>;
    fn bounded(capacity: usize) -> (Self::Sender, Self::Receiver) {
        smol::channel::bounded(capacity)
    }
    async fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver lives");
    }
    async fn recv(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect("the sender sends")
    }
}
impl Unbounded for OfSmol {
    type Sender = smol::channel::Sender<u64>;
    type Receiver = smol::channel::Receiver<u64>;
    fn unbounded() -> (Self::Sender, Self::Receiver) {
        smol::channel::unbounded()
    }
    fn push(sender: &Self::Sender, value: u64) {
        sender.try_send(value).expect("the receiver lives");
    }
    async fn pop(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect("the sender sends")
    }
}
impl Mutex for OfSmol {
    type Mutex = smol::lock::Mutex<u64>;
    fn mutex() -> Self::Mutex {
        smol::lock::Mutex::new(0)
    }
    async fn add(mutex: &Self::Mutex, held: impl Future<Output = ()>) -> u64 {
        let mut guard = mutex.lock().await;
        *guard += 1;
        held.await;
        *guard
    }
}
impl Semaphore for OfSmol {
    type Semaphore = smol::lock::Semaphore;
    fn semaphore(permits: usize) -> Self::Semaphore {
        smol::lock::Semaphore::new(permits)
    }
    async fn with_permit(semaphore: &Self::Semaphore, held: impl Future<Output = ()>) {
        let _permit = semaphore.acquire().await;
        held.await;
    }
}

/// `local-sync` on monoio.
#[derive(Debug)]
pub struct OfMonoio;

impl Family for OfMonoio {
    type Engine = Monoio;
}
impl Oneshot for OfMonoio {
    type Sender = local_sync::oneshot::Sender<u64>;
    type Receiver = local_sync::oneshot::Receiver<u64>;
    fn oneshot() -> (Self::Sender, Self::Receiver) {
        local_sync::oneshot::channel()
    }
    fn give(sender: Self::Sender, value: u64) {
        sender.send(value).expect("the receiver lives");
    }
    async fn take(receiver: Self::Receiver) -> u64 {
        receiver.await.expect("the sender sends")
    }
}
impl Bounded for OfMonoio {
    type Sender = local_sync::mpsc::bounded::Tx<u64>;
    type Receiver = local_sync::mpsc::bounded::Rx<u64>;
    fn bounded(capacity: usize) -> (Self::Sender, Self::Receiver) {
        local_sync::mpsc::bounded::channel(capacity)
    }
    async fn send(sender: &Self::Sender, value: u64) {
        assert!(sender.send(value).await.is_ok(), "the receiver lives");
    }
    async fn recv(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect("the sender sends")
    }
}
impl Unbounded for OfMonoio {
    type Sender = local_sync::mpsc::unbounded::Tx<u64>;
    type Receiver = local_sync::mpsc::unbounded::Rx<u64>;
    fn unbounded() -> (Self::Sender, Self::Receiver) {
        local_sync::mpsc::unbounded::channel()
    }
    fn push(sender: &Self::Sender, value: u64) {
        assert!(sender.send(value).is_ok(), "the receiver lives");
    }
    async fn pop(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect("the sender sends")
    }
}
impl Semaphore for OfMonoio {
    type Semaphore = local_sync::semaphore::Semaphore;
    fn semaphore(permits: usize) -> Self::Semaphore {
        local_sync::semaphore::Semaphore::new(permits)
    }
    async fn with_permit(semaphore: &Self::Semaphore, held: impl Future<Output = ()>) {
        let Ok(_permit) = semaphore.acquire().await else {
            panic!("nobody closes it")
        };
        held.await;
    }
}

/// glommio's own.
#[derive(Debug)]
pub struct OfGlommio;

impl Family for OfGlommio {
    type Engine = Glommio;
}
impl Bounded for OfGlommio {
    type Sender = local_channel::LocalSender<u64>;
    type Receiver = local_channel::LocalReceiver<u64>;
    fn bounded(capacity: usize) -> (Self::Sender, Self::Receiver) {
        local_channel::new_bounded(capacity)
    }
    async fn send(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver lives");
    }
    async fn recv(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect("the sender sends")
    }
}
impl Oneshot for OfGlommio {
    // glommio has no oneshot; a channel of one stands in, as for smol.
    type Sender = local_channel::LocalSender<u64>;
    type Receiver = local_channel::LocalReceiver<u64>;
    fn oneshot() -> (Self::Sender, Self::Receiver) {
        local_channel::new_bounded(1)
    }
    fn give(sender: Self::Sender, value: u64) {
        sender.try_send(value).expect("there is room");
    }
    async fn take(receiver: Self::Receiver) -> u64 {
        receiver.recv().await.expect("the sender sends")
    }
}
impl Unbounded for OfGlommio {
    type Sender = local_channel::LocalSender<u64>;
    type Receiver = local_channel::LocalReceiver<u64>;
    fn unbounded() -> (Self::Sender, Self::Receiver) {
        local_channel::new_unbounded()
    }
    fn push(sender: &Self::Sender, value: u64) {
        sender.try_send(value).expect("the receiver lives");
    }
    async fn pop(receiver: &mut Self::Receiver) -> u64 {
        receiver.recv().await.expect("the sender sends")
    }
}
impl Mutex for OfGlommio {
    // glommio has no mutex but a lock for writers.
    type Mutex = glommio_sync::RwLock<u64>;
    fn mutex() -> Self::Mutex {
        glommio_sync::RwLock::new(0)
    }
    async fn add(mutex: &Self::Mutex, held: impl Future<Output = ()>) -> u64 {
        let mut guard = mutex.write().await.expect("nobody closes it");
        *guard += 1;
        held.await;
        *guard
    }
}
impl Semaphore for OfGlommio {
    type Semaphore = Rc<glommio_sync::Semaphore>;
    fn semaphore(permits: usize) -> Self::Semaphore {
        Rc::new(glommio_sync::Semaphore::new(permits as u64))
    }
    async fn with_permit(semaphore: &Self::Semaphore, held: impl Future<Output = ()>) {
        let _permit = semaphore.acquire_permit(1).await.expect("nobody closes it");
        held.await;
    }
}
