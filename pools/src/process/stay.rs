//! Sleeping where one's caller sleeps.
//!
//! A caller that comes seldom finds two processors asleep: the worker's, which must be
//! woken to run the job, and then its own, which must be woken to read the reply. That is
//! most of what such a round trip takes (tens of microseconds each), though the two never
//! run at the same time. So a worker whose caller is *alone* goes to sleep bound to the
//! processor on which that caller waited: this one is awake when the next job comes.
//!
//! ```text
//!   caller      wait: stays at 1 ── reads the reply ── ... ── submits ─┐ ── sleeps ──▶
//!   processor 1 ═════════════════════════════════════════════════════════════════════
//!   worker                 replies ── binds itself to 1, sleeps ······ └▶ wakes, is free
//!                                                                         again, runs it
//! ```
//!
//! 1. Nothing of the user's ever runs bound: the worker takes back what it has done to
//!    itself before it looks at what has come, and a job's threads and processes inherit
//!    what they would have. It binds itself to no processor that it mustn't use.
//! 2. A worker that is bound can't begin elsewhere, though its caller may be busy with
//!    something else. So a caller is alone only if [`LONE`] jobs in a row came from one
//!    thread, each when no other was left. And its worker stays beside it only if the jobs
//!    come seldom ([`SPARSE`](super::limits::SPARSE)) and it waits for them, by blocking and
//!    soon ([`PROMPT`]). The first job of another kind ends that.
//!
//! Read before this: [`super::silence`]. Read after it: [`super::worker`].
//!
//! Rejected: to bind the worker from its parent, when the job is sent (a thread has no
//! descriptor, only a number, which may be somebody else's by then); to stay beside a loop
//! (it doesn't wait for the job, it does something else meanwhile).

use crate::process::limits::{LONE, PROMPT};
use crate::process::link::Link;
use crate::process::shared::Shared;
use crate::spin::processor;
use crate::switch::{AtomicU32, AtomicU64, Ordering};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::time::Instant;

/// What a pool knows about who submits. Guesses: Relaxed throughout.
#[derive(Debug, Default)]
pub struct Lone {
    /// The thread that submitted last.
    caller: AtomicU64,
    /// How many jobs it has submitted in a row, each when no other was left.
    streak: AtomicU32,
}

impl Lone {
    /// A job comes from this thread, when no other is left or not. Whether its caller is
    /// alone.
    #[inline]
    pub fn note(&self, no_other: bool) -> bool {
        let caller = this_thread();
        let same = self.caller.load(Ordering::Relaxed) == caller;
        if !same {
            self.caller.store(caller, Ordering::Relaxed);
        }
        let before = self.streak.load(Ordering::Relaxed);
        let goes_on = same && no_other;
        let streak = if goes_on { LONE.min(before + 1) } else { 0 };
        if streak != before {
            self.streak.store(streak, Ordering::Relaxed);
        }
        streak == LONE
    }

    /// It doesn't wait for its job.
    pub fn end(&self) {
        self.streak.store(0, Ordering::Relaxed);
    }

    /// Whether the last caller is alone.
    pub fn is_alone(&self) -> bool {
        self.streak.load(Ordering::Relaxed) == LONE
    }
}

/// Tells this thread from all others that live.
fn this_thread() -> u64 {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr() as u64)
}

impl Shared {
    /// This thread waits now, for a job that it submitted at `since`, if its worker may sleep
    /// beside it.
    ///
    /// One that works before it waits wants its job to run beside its own work, not in its
    /// stead. (A worker that is woken on its caller's processor may run the whole job before
    /// the caller comes to wait, which looks the same. That matters for long jobs only, and
    /// what staying spares matters for short ones.)
    pub fn stay_beside(&self, link: &Link, since: Option<Instant>) {
        let Some(since) = since else {
            return;
        };
        if since.elapsed() > PROMPT {
            self.part_from(link);
        } else if self.lone.is_alone() {
            link.words().stay_at.here();
        }
    }

    /// This thread doesn't wait, or not at once.
    pub fn part_from(&self, link: &Link) {
        self.lone.end();
        link.words().stay_at.anywhere();
    }
}

/// Where a worker is to sleep: stored by its callers, read by the worker. A hint, too.
#[derive(Debug, Default)]
pub struct StayAt(AtomicU32);

impl StayAt {
    /// The caller waits here.
    #[inline]
    pub fn here(&self) {
        self.tell(processor() + 1);
    }

    /// Wherever it likes.
    #[inline]
    pub fn anywhere(&self) {
        self.tell(0);
    }

    fn tell(&self, at: u32) {
        // Mostly it says so already, and a store would take the line from the worker.
        if self.0.load(Ordering::Relaxed) != at {
            self.0.store(at, Ordering::Relaxed);
        }
    }

    /// Binds this thread to where it is to sleep, until the returned value is dropped.
    #[inline]
    pub fn stay(&self) -> Option<Stay> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            at => Stay::at(at - 1),
        }
    }
}

/// This thread is bound to one processor.
#[derive(Debug)]
pub struct Stay {
    /// Where it may run otherwise.
    anywhere: CpuSet,
}

impl Stay {
    #[cold]
    fn at(processor: u32) -> Option<Stay> {
        let this = Pid::from_raw(0);
        let anywhere = sched_getaffinity(this).ok()?;
        let mut there = CpuSet::new();
        there.set(processor as usize).ok()?;
        if !anywhere.is_set(processor as usize).ok()? || anywhere == there {
            return None;
        }
        sched_setaffinity(this, &there).ok()?;
        Some(Stay { anywhere })
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let this = Pid::from_raw(0);
        if sched_setaffinity(this, &self.anywhere).is_err() {
            // None of those is left to its control group. Wherever that may be, then.
            let mut all = CpuSet::new();
            for processor in 0..CpuSet::count() {
                let _ = all.set(processor);
            }
            let _ = sched_setaffinity(this, &all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_alone_after_some_jobs_until_somebody_else_comes() {
        let lone = Lone::default();
        let becomes_alone = || (1..LONE).all(|_| !lone.note(true)) && lone.note(true);
        assert!(!lone.note(true), "a first job tells nothing");
        assert!(becomes_alone());
        assert!(lone.note(true) && lone.is_alone());
        assert!(!lone.note(false), "two jobs at a time");
        assert!(!lone.is_alone());
        assert!(becomes_alone());
        std::thread::scope(|scope| {
            scope.spawn(|| assert!(!lone.note(true), "another thread"));
        });
        assert!(!lone.note(true), "the first again");
        assert!(becomes_alone());
        lone.end();
        assert!(!lone.is_alone(), "nobody waits");
    }

    #[test]
    fn one_is_bound_until_it_is_dropped_and_never_where_one_may_not_be() {
        let this = Pid::from_raw(0);
        let before = sched_getaffinity(this).unwrap();
        let at = StayAt::default();
        assert!(at.stay().is_none());
        at.here();
        if let Some(stay) = at.stay() {
            let bound = sched_getaffinity(this).unwrap();
            let all = 0..CpuSet::count();
            assert_eq!(all.filter(|&n| bound.is_set(n).unwrap()).count(), 1);
            drop(stay);
        } // Else there is one processor only.
        assert_eq!(sched_getaffinity(this).unwrap(), before);
        let nowhere = CpuSet::new(); // Which the kernel refuses.
        drop(Stay { anywhere: nowhere });
        let after = sched_getaffinity(this).unwrap();
        let mut processors = 0..CpuSet::count();
        assert!(processors.all(|n| after.is_set(n).unwrap() || !before.is_set(n).unwrap()));
        sched_setaffinity(this, &before).unwrap();
        at.tell(CpuSet::count() as u32);
        assert!(at.stay().is_none());
        at.anywhere();
        assert!(at.stay().is_none());
        assert_eq!(sched_getaffinity(this).unwrap(), before);
    }
}
