//! `join`: a fork on the stack, run by its owner or by a thief.
//!
//! Before this: `fork_stack.rs`, where forks wait, and `leapfrog.rs`. After it:
//! `worker.rs`, whose idle workers steal them.
//!
//! Rejected: a waiter that runs whatever it finds (rayon). Its caller may hold a
//! lock or a borrowed thread-local that the foreign job wants, and the stack of a
//! foreign job on top of ours is unbounded. A waiter here *leapfrogs*: it takes
//! forks from the thread that runs its own fork, for they descend from it.
#![allow(unsafe_code)] // Forks live in stack frames and are shared by address.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::switch::UnsafeCell;
use crate::switch::atomic::{AtomicUsize, Ordering};
use crate::thread::activity;
use crate::thread::deque_model::Word;
use crate::thread::dump::Work;
use crate::thread::fork_stack::Retired;
use crate::thread::lane::Lane;
use crate::thread::latch::Latch;
use crate::thread::leapfrog::{Taken, hand_back, take_from_thief};
use crate::thread::seat::Seat;
use crate::thread::sleep::Interest;
use crate::thread::worker::Patience;
use threeply_runtime::trace::{Kind, emit};

/// No thief has begun the fork.
const NOBODY: usize = usize::MAX;

/// What is common to all forks, and all that a thief sees.
///
/// Invariants, on which every `unsafe` of this file rests:
/// - **J1** A [`ForkRef`] is made by [`join_recorded`] for a fork in its own
///   frame. The frame isn't left, by return or by panic, before the fork was
///   retired as the owner's, or handed back, or its latch was seen set.
/// - **J2** A fork is run once, by whoever took its only `ForkRef` out of ring,
///   deque or mailbox; that thread alone touches `work` and `outcome` until the
///   latch is set.
/// - **J3** After setting the latch the thief doesn't touch the fork.
/// - **J4** A thief's own fork stack holds nothing when it begins a stolen fork.
///   An idle worker's does anyway; a leapfrogging waiter's by F3. So everything
///   in its deque, while it runs the fork, descends from the fork.
#[derive(Debug)]
struct ForkHeader {
    run: unsafe fn(ForkRef, &Seat),
    /// Set when the outcome is there.
    latch: Latch,
    /// The lane that runs the fork, once it does.
    thief: AtomicUsize,
    /// The lane that joins it.
    owner: usize,
}

/// The right to run one fork (J2). Copied only within `ForkStack`, which keeps
/// one copy.
#[derive(Debug, Clone, Copy)]
pub struct ForkRef(*const ForkHeader);

// SAFETY: whoever holds it may run the fork (J2), whose closure and result are
// `Send` by the bounds of `join`; the header is made of atomics and constants.
unsafe impl Send for ForkRef {}

impl ForkRef {
    /// What a trace knows it by.
    pub fn address(self) -> u64 {
        self.0.addr() as u64
    }
}

impl Word for ForkRef {
    fn into_word(self) -> usize {
        self.0.expose_provenance()
    }
    fn from_word(word: usize) -> Self {
        Self(std::ptr::with_exposed_provenance(word))
    }
}

#[repr(C)] // The header first: a pointer to one is a pointer to the other.
struct StackFork<B, R> {
    header: ForkHeader,
    work: UnsafeCell<Option<B>>,
    outcome: UnsafeCell<Option<Result<R, Box<dyn Any + Send>>>>,
}

impl<B, R> StackFork<B, R>
where
    B: FnOnce(bool) -> R,
{
    /// Runs the fork on the thread that took it.
    ///
    /// # Safety
    /// `fork` is a reference to a `StackFork<B, R>`, held by J2.
    unsafe fn run(fork: ForkRef, seat: &Seat) {
        let this = fork.0.cast::<Self>();
        // SAFETY: by J1 the frame is alive until the latch is set, below.
        let this = unsafe { &*this };
        this.header
            .thief
            .store(seat.lane.index(), Ordering::Release); // with the waiter's Acquire
        // SAFETY: J2.
        let work = this.work.with_mut(|work| unsafe { (*work).take() });
        let work = work.expect("J2: a fork runs once");
        let outcome = catch_unwind(AssertUnwindSafe(|| work(true)));
        // SAFETY: J2.
        this.outcome
            .with_mut(|slot| unsafe { *slot = Some(outcome) });
        let owner = this.header.owner;
        let owners = seat.registry.lanes.get(owner);
        // We will be out of work in a moment: the owner's next fork is for us, if
        // it makes one before we have come to ask.
        owners.demand_fork();
        emit(Kind::LatchSet, line!(), fork.address(), owner as u64);
        this.header.latch.set();
        // From here on the fork may be gone (J3).
        owners.parker.unpark();
    }

    fn take_work(&self) -> Option<B> {
        // SAFETY: called by the owner that holds the fork again (J2).
        self.work.with_mut(|work| unsafe { (*work).take() })
    }

    fn take_outcome(&self) -> Option<Result<R, Box<dyn Any + Send>>> {
        // SAFETY: called by the owner that saw the latch set; J3.
        self.outcome.with_mut(|slot| unsafe { (*slot).take() })
    }
}

/// Runs a fork that `seat`'s thread took from another lane.
pub fn run_stolen(fork: ForkRef, seat: &Seat) {
    debug_assert!(
        seat.lane.forks.holds_nothing(),
        "J4: a thief begins a fork while it holds forks of its own"
    );
    seat.ask_for_sharing();
    // SAFETY: the frame is alive until the latch is set (J1).
    let run = unsafe { &*fork.0 }.run;
    let address = fork.address();
    emit(Kind::ForkRun, line!(), address, seat.lane.index() as u64);
    // SAFETY: `run` was set for the type of this fork; we hold it by J2.
    let run = || unsafe { run(fork, seat) };
    if seat.registry.config.publish_running {
        activity::during(Work::Fork, run);
    } else {
        run();
    }
    emit(Kind::ForkRunEnd, line!(), address, 0);
}

/// Runs `a` and `b`, possibly at the same time; each is told whether a thief runs
/// it.
#[inline(always)]
pub fn join<A, B, RA, RB>(seat: &Seat, a: A, b: B) -> (RA, RB)
where
    A: FnOnce(bool) -> RA + Send,
    B: FnOnce(bool) -> RB + Send,
    RA: Send,
    RB: Send,
{
    if seat.lane.takes_no_fork() {
        return (a(false), b(false));
    }
    join_recorded(seat, a, b, false)
}

/// [`join`] of coarse pieces, whose forks are promoted as they are made while the
/// pieces are large: what runs one looks at demands too seldom.
pub fn join_pieces<A, B, RA, RB>(seat: &Seat, a: A, b: B) -> (RA, RB)
where
    A: FnOnce(bool) -> RA + Send,
    B: FnOnce(bool) -> RB + Send,
    RA: Send,
    RB: Send,
{
    if seat.offers_pieces() {
        return join_recorded(seat, a, b, true);
    }
    join(seat, a, b)
}

#[inline(never)]
fn join_recorded<A, B, RA, RB>(seat: &Seat, a: A, b: B, offer: bool) -> (RA, RB)
where
    A: FnOnce(bool) -> RA + Send,
    B: FnOnce(bool) -> RB + Send,
    RA: Send,
    RB: Send,
{
    let lane = &seat.lane;
    if lane.forks.is_full() {
        seat.offer_fork();
    }
    let fork = StackFork {
        header: ForkHeader {
            run: StackFork::<B, RB>::run,
            latch: Latch::new(),
            thief: AtomicUsize::new(NOBODY),
            owner: lane.index(),
        },
        work: UnsafeCell::new(Some(b)),
        outcome: UnsafeCell::new(None),
    };
    let reference = ForkRef((&raw const fork).cast());
    let position = lane.forks.push(reference);
    let level = lane.level();
    lane.set_level(level + 1);
    if offer {
        seat.offer_all_forks();
    } else if lane.is_demanded() {
        seat.offer_fork();
    } else if lane.recheck_in.get() != 0 {
        seat.reconsider_sleepers();
    }

    // `a` may panic, and the frame must not be left before `b` is settled (J1).
    let from_a = catch_unwind(AssertUnwindSafe(|| a(false)));

    let mine = match lane.forks.retire(position) {
        Retired::Mine => true,
        Retired::Stolen => match wait_for_thief(seat, reference) {
            Ended::HandedBack => true,
            Ended::Run => false,
        },
    };
    let from_a = match from_a {
        Ok(from_a) => from_a,
        // `b` was not begun, or has ended; its value or panic is dropped.
        Err(panic) => {
            lane.set_level(level);
            resume_unwind(panic)
        }
    };
    let from_b = if mine {
        let b = fork.take_work().expect("J2: an unstolen fork has its work");
        lane.set_level(level + 1); // a fork run in the wait began at 0
        b(false)
    } else {
        match fork.take_outcome().expect("the latch was seen set") {
            Ok(from_b) => from_b,
            Err(panic) => resume_unwind(panic),
        }
    };
    lane.set_level(level);
    (from_a, from_b)
}

enum Ended {
    /// The thief ran the fork.
    Run,
    /// A thief took the fork but gave it back, and the owner has it.
    HandedBack,
}

/// Waits until a stolen fork has been run, meanwhile helping its thief.
#[cold]
fn wait_for_thief(seat: &Seat, fork: ForkRef) -> Ended {
    let owner = seat.lane.index() as u64;
    emit(Kind::LatchWait, line!(), fork.address(), owner);
    let ended = wait_for_outcome(seat, fork);
    let handed_back = u64::from(matches!(ended, Ended::HandedBack));
    emit(Kind::LatchWaitEnd, line!(), fork.address(), handed_back);
    ended
}

fn wait_for_outcome(seat: &Seat, fork: ForkRef) -> Ended {
    let lane = &seat.lane;
    // SAFETY: the fork is in the caller's frame (J1).
    let header = unsafe { &*fork.0 };
    let mut patience = Patience::new();
    loop {
        if header.latch.is_set() {
            return Ended::Run;
        }
        if take_back(lane, fork) {
            return Ended::HandedBack;
        }
        let thief = header.thief.load(Ordering::Acquire); // with the store of `run`
        if thief != NOBODY && help_thief(seat, header, thief) {
            patience = Patience::new();
            continue;
        }
        if patience.pause() {
            continue;
        }
        // Nothing to help with for a while: sleep until the latch is set, the
        // fork comes back, or the thief promotes a fork.
        let interest = Interest::ForksOf(thief);
        seat.registry
            .sleep
            .fall_asleep(lane.index(), interest, &lane.shared.parker);
        let nothing = !header.latch.is_set()
            && !lane
                .shared
                .returned
                .contains(|returned| std::ptr::eq(returned.0, fork.0))
            && header.thief.load(Ordering::Relaxed) == thief
            && (thief == NOBODY || seat.registry.lanes.get(thief).forks.is_empty());
        if nothing {
            seat.blocked(|| lane.shared.parker.park());
        }
        seat.registry.sleep.retract(lane.index());
    }
}

fn take_back(lane: &Lane, fork: ForkRef) -> bool {
    lane.shared
        .returned
        .take(|returned| std::ptr::eq(returned.0, fork.0))
        .is_some()
}

/// Leapfrogging: runs a fork of the thread that runs ours, which by J4 descends
/// from ours; true if there was one.
fn help_thief(seat: &Seat, header: &ForkHeader, thief: usize) -> bool {
    let lanes = &seat.registry.lanes;
    let steal = || lanes.get(thief).steal_fork(seat.lane.index(), false);
    match take_from_thief(&header.latch, steal) {
        Taken::Nothing => {
            lanes.get(thief).demand_fork();
            return false;
        }
        Taken::Descendant(fork) => run_stolen(fork, seat),
        Taken::Foreign(fork) => {
            // Its owner is the thief: give it back, to it and to idle workers.
            let owner = lanes.get(thief);
            hand_back(fork, &owner.returned, &owner.parker);
            lanes.mark(thief);
            seat.notify_fork(thief);
        }
    }
    true
}
