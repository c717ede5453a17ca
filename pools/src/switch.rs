//! The one place where this crate's synchronization is either the real thing or
//! loom's model of it.
//!
//! Protocols import their atomics, fences and locks from here and never ask which
//! they got. A [`Weakening`] is a named way to break a protocol: models run under
//! `weaken` to prove that they would notice. In normal builds nobody can ask
//! for one, and [`weakened`] is the constant `false`.

#[cfg(not(loom))]
mod real {
    pub use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
    pub use std::sync::{Arc, Condvar, Mutex, MutexGuard};

    pub use crossbeam_deque::{Injector, Steal, Stealer as Thief, Worker as Owner};
    pub use std::sync::atomic;

    /// A cell whose accesses loom would check; here it costs nothing.
    #[derive(Debug)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Wraps `value`.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Calls `f` with a pointer that it may read through.
        #[inline(always)]
        pub fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// Calls `f` with a pointer that it may write through.
        #[inline(always)]
        pub fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }

    /// Whether to look at a word once more before sleeping on it; pauses if so.
    #[inline(always)]
    pub fn look_again() -> bool {
        std::hint::spin_loop();
        true
    }

    /// Where the kernel finds a word on which processes sleep.
    #[inline(always)]
    pub fn futex_address(word: &AtomicU32) -> *mut u32 {
        word.as_ptr()
    }

    /// Whether the protocol is to run with this fault built in: never.
    #[inline(always)]
    pub fn weakened(_: super::Weakening) -> bool {
        false
    }
}

#[cfg(loom)]
mod model {
    pub use loom::sync::Arc;
    // Loom's, with a record of what was done to them.
    pub use threeply_runtime::switch::recorded::{Condvar, Mutex, MutexGuard, atomic};

    pub use atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

    // The work-stealing deque, as loom can check it.
    pub use crate::thread::deque_model::{Injector, Owner, Steal, Thief};
    pub use loom::cell::UnsafeCell;

    use super::Weakening;
    use std::cell::Cell;

    thread_local! {
        // Not loom's: it runs all threads of a model on one thread of the system.
        static WEAKENED: Cell<Option<Weakening>> = const { Cell::new(None) };
    }

    /// Looking again is nothing new to a model: every schedule is tried anyway.
    pub fn look_again() -> bool {
        false
    }

    /// A model's words aren't the kernel's: models bring a sleep of their own.
    pub fn futex_address(_: &AtomicU32) -> *mut u32 {
        unreachable!("a model never sleeps in the kernel")
    }

    /// Whether the protocol is to run with this fault built in.
    pub fn weakened(which: Weakening) -> bool {
        WEAKENED.get() == Some(which)
    }

    /// Runs `model` with one fault built in.
    pub fn weaken(which: Weakening, model: impl FnOnce()) {
        struct Restore;
        impl Drop for Restore {
            fn drop(&mut self) {
                WEAKENED.set(None);
            }
        }
        let _restore = Restore; // Also when the model fails, as it should.
        WEAKENED.set(Some(which));
        model();
    }
}

#[cfg(loom)]
pub use model::*;
#[cfg(not(loom))]
pub use real::*;

/// The faults that models must catch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakening {
    /// The two sides of a doorbell skip the fence between telling and looking.
    BellWithoutFence,
    /// A ring publishes what it wrote without Release.
    RingWithoutRelease,
    /// A worker claims a job by load and store instead of compare-and-swap.
    ClaimWithoutCas,
    /// Whoever stops reading a worker's replies doesn't look once more.
    LeaveWithoutLook,
    /// A handle that isn't waited for asks to be told, and doesn't look after that.
    WatchWithoutLook,
    /// Whoever notices a death tells nobody who reads that worker's replies.
    NudgeUntold,
    /// A job that must be queued leaves quiet workers quiet.
    SilenceUnbroken,
    /// Whether a pool takes jobs is found out under an earlier lock than the job gets in.
    AdmitUnderNextLock,
    /// The supervisor plans its next look without what has become due since it looked.
    PlanWithoutLook,
    /// The supervisor goes on reading replies without asking whether there is more to do.
    LookUnasked,
    /// A pool that closes its door tells nobody who waits there.
    CloseUntold,
    /// A task that gives up its place in the queue's waiting room doesn't pass on that
    /// it had been called.
    GiveUpUntold,
    /// That a job's outcome is on its way isn't noted.
    DecideUnnoted,
    /// A job's completion doesn't look at whether it was cancelled.
    CompleteOverCancel,
    /// `Sleep::notify…`: the fence between pushing and looking for sleepers.
    SkipPushFence,
    /// `Sleep`: a thief that found work and was the last searcher doesn't pass
    /// its wake-up on.
    SkipChain,
    /// `ForkStack::retire`: a promoted fork is taken for an unpromoted one.
    TrustPromotedFork,
    /// `Owner::pop` of the model deque: no race for the last element.
    SkipLastRace,
    /// `Attic::steal`: a thief keeps the claim to a job that it leaves to the owner.
    KeepAtticClaim,
    /// `Latch::wait`: the waiter parks without looking at the latch again.
    SkipLatchRecheck,
    /// `Completion::complete`: a waker registered meanwhile is not looked for.
    SkipWakerCheck,
    /// `Completion::claim`: load and store in place of one exchange.
    SplitClaim,
    /// `Gate::ended_meanwhile`: no second look at the gate after the push.
    SkipGateRecheck,
    /// `Sleep::block`: no look at the queues after giving up the permit.
    SkipLendRecheck,
    /// `Sleep::retire`: no look at the queues after leaving the searchers.
    SkipRetireRecheck,
    /// `Lanes::add`: whoever sleeps is told of a lane before it is there.
    TellBeforeAdding,
    /// `leapfrog`: a waiter looks at its latch before it steals from its thief, not after.
    LookBeforeSteal,
    /// `leapfrog`: a fork is handed back and its owner isn't woken.
    HandBackUntold,
    /// `Lanes::found_empty`: no look into the lane after its mark is taken off.
    SkipMarkRecheck,
    /// `Activity::call`: what runs is looked at under one lock, and the watchdog's name
    /// left under the next.
    CallUnderNextLock,
    /// `ipc::members`: a seat changes hands by a store.
    SeatWithoutCas,
    /// `ipc::members`: a dead process's seat is freed before the death is counted.
    SweepBeforeCounting,
    /// `LockWord`: whoever locks after it has slept forgets that others may sleep.
    LockForgetsSleepers,
    /// `LockWord`: a dead owner's lock is taken over by a store.
    InheritWithoutCas,
    /// `LockWord::unlock` publishes nothing.
    LockWithoutRelease,
    /// `ipc::reentrant`: a lock is entered again by any thread of the process that holds it.
    NestAnyThread,
    /// `ipc::reentrant`: who unlocks leaves its name standing.
    KeepName,
    /// `ipc::reentrant`: who takes the lock counts on from where the last owner was.
    KeepDepth,
    /// `Monitor`: a sleeper isn't counted before it leaves the door.
    SleepUncounted,
    /// `ipc::event`: sleepers are woken before the event is set.
    WakeBeforeSet,
    /// `ipc::condvar`: the number to sleep on is read after the mutex was unlocked.
    LookAfterUnlock,
    /// `ipc::semaphore`: giving permits back wakes nobody.
    ReleaseUntold,
    /// `ipc::semaphore`: what the dead hold isn't taken back.
    DeadKeepPermits,
    /// `ipc::semaphore`: what the dead hold is taken back, and still counts as held.
    DeadHoldOn,
    /// `ipc::barrier`: nobody looks whether a party has died.
    DeathUnseen,
    /// `ipc::barrier`: the last to come doesn't look whether those before it still live.
    CountTheDead,
    /// `ipc::barrier`: the last party doesn't open the barrier for those asleep.
    OpenUntold,
    /// `ipc::barrier`: a waiter looks at a death before it looks at its round.
    BrokenBeforeRound,
    /// `ipc::queue`: a message is taken into account before it has been copied.
    CommitBeforeCopy,
    /// `ipc::ledger`: the last message to be done wakes nobody.
    DoneUntold,
    /// `ipc::ledger`: what the dead had taken isn't given up.
    DeadKeepMessages,
    /// `ipc::ledger`: a message that vanished in the hands of the dead isn't looked for.
    VanishUnseen,
    /// `Outstanding::publish`: the owner sleeps with a part of the count to itself.
    SkipPublish,
    /// `Outstanding::end_elsewhere`: a job ends without Release.
    EndWithoutRelease,
}

/// A sequentially consistent fence that `step` leaves out.
#[inline(always)]
#[track_caller] // So that lanes of a model tell whose fence it is.
pub fn fence_unless(step: Weakening) {
    if !weakened(step) {
        fence(Ordering::SeqCst);
    }
}
