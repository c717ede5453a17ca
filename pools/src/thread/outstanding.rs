//! How many jobs of a scope have not ended, and who learns that none is left.
//!
//! Read `scope.rs` next, whose frame this count keeps alive. The owner's own jobs
//! are most of them and cost no read-modify-write: they are counted apart.

use std::sync::atomic::AtomicIsize as OneThreads;

use crate::switch::atomic::{AtomicIsize, Ordering};
use crate::switch::{Weakening, weakened};

/// Jobs begun less jobs ended, in two parts whose sum counts.
///
/// ```text
///   begin_here   +1                      begin_elsewhere  +1
///   end_here     -1                      end_elsewhere    -1, true if now 0
///        local (the owner's thread)           others (every other thread)
///          \------------- 1 publish ------------->/
///                 all_ended: local + others == 0
/// ```
/// Either part may be negative: a job begun here and ended elsewhere leaves +1 and
/// -1. Invariants:
/// - **O1** Each change is one step of one part, and who begins a job is itself
///   outstanding, or is the owner. So the owner sees the sum zero only when all
///   has ended.
/// - **O2** After 1, until the owner begins or ends a job here again, `others` is
///   the sum; so of all jobs the last one to end, and only that, is told `true`,
///   unless the owner saw the end itself.
/// - **O3** A job's last touch of the count is the step that ends it.
#[derive(Debug, Default)]
pub struct Outstanding {
    /// Loaded and stored by the owner's thread alone; an atomic, so that it may lie
    /// beside the other, and std's, so that models needn't explore it.
    local: OneThreads,
    others: AtomicIsize,
}

impl Outstanding {
    /// Nothing yet.
    pub fn new() -> Self {
        Self {
            local: OneThreads::new(0),
            others: AtomicIsize::new(0),
        }
    }

    // ---- the owner's thread ----

    /// The owner's thread adds a job.
    #[inline]
    pub fn begin_here(&self) {
        self.add_here(1);
    }

    /// A job has ended on the owner's thread.
    #[inline]
    pub fn end_here(&self) {
        self.add_here(-1);
    }

    #[inline]
    fn add_here(&self, change: isize) {
        let local = self.local.load(Ordering::Relaxed);
        self.local.store(local + change, Ordering::Relaxed);
    }

    /// Have all ended? Then what they did is visible.
    pub fn all_ended(&self) -> bool {
        // Acquire: pairs with the Release of `end_elsewhere`.
        self.others.load(Ordering::Acquire) + self.local.load(Ordering::Relaxed) == 0
    }

    /// 1: before the owner sleeps, so that who ends the last job knows it. The
    /// owner must look at [`all_ended`](Self::all_ended) once more after this.
    pub fn publish(&self) {
        if weakened(Weakening::SkipPublish) {
            return;
        }
        // Relaxed: it carries no data, and the changes of one atomic are in one
        // order: who comes after this sees it included.
        let local = self.local.load(Ordering::Relaxed);
        self.local.store(0, Ordering::Relaxed);
        self.others.fetch_add(local, Ordering::Relaxed);
    }

    // ---- any other thread ----

    /// Another thread adds a job; it runs one of the scope's itself, or has the
    /// scope borrowed.
    #[inline]
    pub fn begin_elsewhere(&self) {
        self.others.fetch_add(1, Ordering::Relaxed); // O1: not the last, whatever it is
    }

    /// A job has ended on another thread: true if the owner must be woken. After
    /// this the count may be gone (O3).
    #[inline]
    #[must_use]
    pub fn end_elsewhere(&self) -> bool {
        let release = if weakened(Weakening::EndWithoutRelease) {
            Ordering::Relaxed
        } else {
            // What the job did happens before the owner sees it ended.
            Ordering::Release
        };
        self.others.fetch_sub(1, release) == 1
    }
}
