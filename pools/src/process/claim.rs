//! One death, one job: the word that says how far a worker has come.
//!
//! The jobs that a worker is given have numbers 0, 1, 2, … in the order in which
//! they stand in its ring. Before it runs one it **claims** it, here:
//!
//! ```text
//!   n                  jobs below n are claimed, n and later ones are not
//!   RECALLED | k       the parent has taken back all that was unclaimed;
//!                      numbers below k are void, the worker goes on with k
//!
//!   worker  n            ──try_claim(n)──▶ n + 1
//!   worker  RECALLED|k   ──try_claim(k)──▶ k + 1
//!   parent  n            ──recall(k)─────▶ RECALLED | k      returns n
//!   parent  RECALLED|j   ──recall(k)─────▶ RECALLED | k      returns j
//! ```
//!
//! Each arrow is one compare-and-swap on one word, so for every job either the
//! worker's claim or the parent's recall comes first, and never both:
//!
//! 1. **A claimed job is never run elsewhere.** It gives its reply, or the worker
//!    dies and the job fails with that death.
//! 2. **An unclaimed job is never lost and never run twice.** After a recall, or
//!    after the worker's death, the parent hands it to another worker.
//!
//! A worker publishes the reply of job *n* before it claims *n + 1*. So after a
//! death at most one job is claimed and without a reply: the one that died.
//!
//! Read before this: [`super::bell`]. Read after it: [`super::worker`], which
//! claims, and [`super::death`], which settles accounts.
//!
//! Rejected: two words, `started` and `finished`, stored by the worker (works for
//! deaths, but the parent can't take a job back from a live worker, so one long
//! job would hold up all that were sent along behind it).

use crate::switch::{AtomicU64, Ordering, Weakening, weakened};

/// Set while jobs that stand in the ring are void.
const RECALLED: u64 = 1 << 63;

/// The claim word; see the head of this file for its states.
#[derive(Debug, Default)]
pub struct Claim(AtomicU64);

impl Claim {
    /// The worker's: may job `seq` run? `false` means that it was taken back;
    /// every number up to the next that succeeds was, too.
    #[inline]
    pub fn try_claim(&self, seq: u64) -> bool {
        // Relaxed throughout: the job's bytes are ordered by the ring, its reply
        // by the other ring; only the order of this one word's changes matters.
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            if now != seq && now != RECALLED | seq {
                return false;
            }
            if weakened(Weakening::ClaimWithoutCas) {
                self.0.store(seq + 1, Ordering::Relaxed);
                return true;
            }
            match self
                .0
                .compare_exchange_weak(now, seq + 1, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(newer) => now = newer,
            }
        }
    }

    /// The parent's: takes back every unclaimed job below `next`, which is the
    /// number of the next job that it is going to send. Jobs from the returned
    /// number on weren't claimed and won't be.
    pub fn recall(&self, next: u64) -> u64 {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let first = now & !RECALLED;
            match self.0.compare_exchange_weak(
                now,
                RECALLED | next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return first,
                Err(newer) => now = newer,
            }
        }
    }

    /// The first number that isn't claimed. Final once the worker is dead.
    #[inline]
    pub fn first_unclaimed(&self) -> u64 {
        self.0.load(Ordering::Relaxed) & !RECALLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_claimed_in_order_and_once() {
        let claim = Claim::default();
        assert!(claim.try_claim(0));
        assert!(!claim.try_claim(0));
        assert!(claim.try_claim(1));
        assert_eq!(claim.first_unclaimed(), 2);
    }

    #[test]
    fn recalled_jobs_are_refused_until_the_next_one_that_was_sent() {
        let claim = Claim::default();
        assert!(claim.try_claim(0));
        assert_eq!(claim.recall(4), 1);
        assert!(!claim.try_claim(1));
        assert!(!claim.try_claim(3));
        assert_eq!(
            claim.recall(6),
            4,
            "a second recall before the worker noticed"
        );
        assert!(!claim.try_claim(4));
        assert!(claim.try_claim(6));
        assert_eq!(claim.first_unclaimed(), 7);
    }
}
