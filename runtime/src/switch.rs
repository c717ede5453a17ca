//! The one place of this crate that knows `cfg(loom)`: what protocols between
//! threads are built of, from the standard library or from the model checker.
//!
//! A [`Weakening`] is a named way to break a protocol: a broken twin runs its
//! model under `weaken` to prove that it would notice. In normal
//! builds [`weakened`] is the constant `false` and what it guards costs nothing.

#[cfg(loom)]
pub mod recorded;

#[cfg(loom)]
pub use loom::thread;
#[cfg(loom)]
pub use recorded::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub use std::sync::{Condvar, Mutex, MutexGuard, atomic};
#[cfg(not(loom))]
pub use std::thread;

/// What a sleeping loop is woken by.
#[cfg(not(loom))]
pub use crate::sys::eventfd::EventFd as Doorbell;
#[cfg(loom)]
pub use model::Doorbell;
#[cfg(loom)]
pub use recorded::next_lock_is_the_callers;

/// Words of a page of the remote bitmap; few in models, which track each.
#[cfg(not(loom))]
pub const LEAVES: usize = 64;
/// Words of a page of the remote bitmap.
#[cfg(loom)]
pub const LEAVES: usize = 2;

/// Whether this is a build for the model checker.
pub const IN_MODEL: bool = cfg!(loom);

/// Words for the name of the task that a loop publishes; few in models.
#[cfg(not(loom))]
pub const PUBLISHED_NAME: usize = 4;
/// Words for the name of the task that a loop publishes.
#[cfg(loom)]
pub const PUBLISHED_NAME: usize = 1;

#[cfg(loom)]
pub use model::{weaken, weakened};

/// The faults that models must catch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakening {
    /// The parent of many children clears its flag by a store, which reads
    /// nothing, instead of a swap.
    ReadySetStores,
    /// Cancelling a token takes its waiters in one locked section and sets the
    /// reason in the next.
    TokenTakesEarly,
    /// A new child of a token doesn't look again whether its parent was cancelled
    /// while it was made.
    TokenForgetsChild,
    /// A waiter that leaves a wait queue with its turn granted doesn't say so,
    /// and nobody passes the turn on.
    WaiterKeepsTurn,
    /// A waiter polled with another waker keeps being woken by the first.
    WaiterKeepsWaker,
    /// Permits granted to a waiter still count as available.
    GrantIsNotCounted,
    /// A sender asks in one locked section whether the receiver waits, and puts
    /// the value in and wakes it, if it did, in the next.
    SenderPeeks,
    /// The last sender of a channel asks in one locked section whether the receiver
    /// waits, and ends the channel in the next.
    LastSenderPeeks,
    /// The receiver of a oneshot asks in one locked section whether the sender waits
    /// for its end, and ends in the next.
    ReceiverPeeks,
    /// The end of a oneshot that leaves doesn't publish what it did before.
    PairLeavesRelaxed,
    /// A thread about to block looks in one locked section whether it was woken,
    /// and falls asleep in the next.
    SleeperLooksEarly,
    /// Who rings a loop's bell has looked for it under an earlier lock.
    RemoteRingsUnlocked,
    /// The loop falls asleep by a store, whatever its state was.
    RemoteSleepsBlindly,
    /// The loop takes the woken bits first and clears the notice after that.
    RemoteCollectsFirst,
    /// A wake doesn't publish what its thread wrote before.
    RemoteWakesRelaxed,
    /// A new loop begins with the state AWAKE, whatever its remote side's was.
    RemoteOpensAwake,
    /// A call is left in the mailbox of a loop that has ended.
    RemotePostsToClosed,
    /// A thread that blocks for a result looks for it under one lock and falls
    /// asleep under the next.
    DeliverySleepsLate,
    /// A handle that is dropped looks for a result under one lock and says that
    /// nobody will take it under the next.
    DeliveryDetachesLate,
    /// A poll looks for the result under one lock and leaves its waker under the
    /// next.
    DeliveryLooksTwice,
    /// A signal handler rings the bell before it sets the signal's bit.
    SignalRingsFirst,
    /// A full trace ring's writer goes on to the next place without a fence.
    TraceOverwritesUnannounced,
    /// A trace record is announced without Release.
    TraceAnnouncesEarly,
    /// A reader of a trace ring doesn't look whether it was overtaken.
    TraceTrustsItsCopy,
    /// A loop publishes what it runs without marking that it is about to.
    PublishesUnmarked,
}

/// Whether the protocol is to run with this fault: never, outside of models.
#[cfg(not(loom))]
#[inline(always)]
pub fn weakened(_: Weakening) -> bool {
    false
}

/// The lanes of a model show the next lock that this thread takes as taken where this
/// function's caller was called: for those that lock inside of a closure, through which
/// `#[track_caller]` doesn't see.
#[cfg(not(loom))]
#[inline(always)]
pub fn next_lock_is_the_callers() {}

#[cfg(loom)]
mod model {
    use super::Weakening;
    use std::cell::Cell;

    std::thread_local! {
        // Not loom's: it runs all threads of a model on one thread of the system.
        static WEAKENED: Cell<Option<Weakening>> = const { Cell::new(None) };
    }

    /// Whether the protocol is to run with this fault.
    pub fn weakened(which: Weakening) -> bool {
        WEAKENED.get() == Some(which)
    }

    /// An eventfd, as far as the protocols need one: it remembers that it was rung.
    /// Copies stand for the same one.
    #[derive(Clone)]
    pub struct Doorbell(std::sync::Arc<super::atomic::AtomicBool>);

    impl Doorbell {
        /// A bell that wasn't rung.
        ///
        /// # Errors
        /// None; the real one can run out of descriptors.
        pub fn new() -> std::io::Result<Doorbell> {
            let rung = super::atomic::AtomicBool::new(false);
            Ok(Doorbell(std::sync::Arc::new(rung)))
        }

        /// Rings.
        ///
        /// # Errors
        /// None.
        #[track_caller]
        pub fn notify(&self) -> std::io::Result<()> {
            self.0.store(true, super::atomic::Ordering::Release);
            Ok(())
        }

        /// Whether it was rung, so that a loop asleep would wake up.
        #[track_caller]
        pub fn is_rung(&self) -> bool {
            self.0.load(super::atomic::Ordering::Acquire)
        }
    }

    impl std::os::fd::AsRawFd for Doorbell {
        /// No descriptor: models don't sleep in epoll.
        fn as_raw_fd(&self) -> std::os::fd::RawFd {
            -1
        }
    }

    /// Runs `model` with one fault built in. (A panic of it, which is what a twin
    /// is for, ends its thread, and the fault with it.)
    pub fn weaken(which: Weakening, model: impl FnOnce()) {
        WEAKENED.set(Some(which));
        model();
        WEAKENED.set(None);
    }
}
