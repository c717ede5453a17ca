//! How many workers there are: as many as the pool's size, or fewer while there is
//! nothing to do, if it may shrink.
//!
//! ```text
//!              start             HELLO          nothing to do for long,
//!   (no one) ─────────▶ Starting ─────▶ Ready ─ worn, or one too many ──▶ Leaving ──▶ (no one)
//!                                        │ one too many, but at work        ▲
//!                                        └──▶ retiring ── done ─────────────┘
//! ```

use crate::process::limits;
use crate::process::link::Link;
use crate::process::state::{Phase, Stage, State, Worker};
use std::sync::Arc;
use std::time::{Duration, Instant};

impl State {
    /// How many workers there are to be.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Workers that stay, those on their way included.
    fn staff(&self) -> usize {
        let stay = self.workers.iter().flatten().filter(|w| !w.is_going());
        stay.count() + self.reserved.iter().filter(|&&reserved| reserved).count()
    }

    /// Whether a worker is on its way.
    pub fn has_starting(&self) -> bool {
        let starts = |worker: &Worker| matches!(worker.stage, Stage::Starting { .. });
        self.reserved.iter().any(|&reserved| reserved) || self.workers.iter().flatten().any(starts)
    }

    /// Whether a worker is to be started (for which there may be no place yet).
    pub fn lacks_staff(&self) -> bool {
        let wanted = match self.phase {
            Phase::Open => self.idle_exit.is_none() || !self.queue.is_empty(),
            Phase::Draining => !self.queue.is_empty(),
            Phase::Closed => false,
        };
        wanted && self.broken.is_none() && self.staff() < self.size
    }

    /// Reserves a place for a worker that is about to be started, if there is to be
    /// one and there is a place. A worker on its way out occupies its place to the
    /// end, so that there are never more processes than places.
    pub fn reserve_empty(&mut self) -> Option<usize> {
        if !self.lacks_staff() {
            return None;
        }
        let slot = self.empty_place()?;
        self.reserved[slot] = true;
        Some(slot)
    }

    fn empty_place(&self) -> Option<usize> {
        let empty = |&slot: &usize| self.workers[slot].is_none() && !self.reserved[slot];
        (0..self.workers.len()).find(empty)
    }

    /// When a worker is to be started, if one is missing and there is a place for it.
    pub(super) fn start_due(&self, now: Instant) -> Option<Instant> {
        if !self.lacks_staff() || self.empty_place().is_none() {
            return None;
        }
        Some(self.retry_at.map_or(now, |at| at.max(now)))
    }

    /// The start is over, one way or the other.
    pub fn release(&mut self, slot: usize) {
        self.reserved[slot] = false;
    }

    /// Changes the number of workers. Those that are too many go as soon as they
    /// have done what they have begun. Returns the links whose waiting callers must
    /// look again.
    pub fn resize(&mut self, size: usize, now: Instant) -> Vec<Arc<Link>> {
        self.size = size;
        while self.workers.len() < size {
            self.workers.push(None);
            self.reserved.push(false);
        }
        // Whoever was one too many before may stay now.
        for worker in self.workers.iter_mut().flatten() {
            worker.retiring = false;
        }
        let mut recalled = Vec::new();
        while self.staff() > size {
            let stay = self.workers.iter().flatten().filter(|w| !w.is_going());
            // Those with the least to do go first.
            let Some(worker) = stay.min_by_key(|worker| worker.open) else {
                break; // Only workers that are being started; see `admit`.
            };
            let link = Arc::clone(&worker.link);
            self.retire(&link, now);
            recalled.push(link);
        }
        self.look_by(now);
        recalled
    }

    /// Sends a worker away as soon as it has done what it has begun.
    pub fn retire(&mut self, link: &Arc<Link>, now: Instant) {
        let Some(worker) = self.worker(link) else {
            return;
        };
        worker.retiring = true;
        self.recall(link);
        if let Some(worker) = self.worker(link)
            && worker.open == 0
        {
            worker.dismiss(now);
        }
        self.idle.retain(|&slot| slot != link.slot);
    }

    /// Whether more workers stay than there are to be.
    pub fn is_overstaffed(&self) -> bool {
        self.staff() > self.size
    }

    /// Sends workers away that have had nothing to do for long. Returns when to look
    /// again.
    pub fn thin_out(&mut self, now: Instant) -> Option<Instant> {
        let patience = self.idle_exit.filter(|_| self.phase == Phase::Open)?;
        let mut next = None;
        let mut gone = Vec::new();
        for worker in self.workers.iter_mut().flatten() {
            if worker.is_going() {
                continue;
            }
            let leaves_at = later_of(worker, patience, now);
            if worker.rests() && leaves_at <= now {
                worker.dismiss(now);
                gone.push(worker.link.slot);
            } else {
                let next = next.get_or_insert(leaves_at);
                *next = leaves_at.min(*next);
            }
        }
        self.idle.retain(|slot| !gone.contains(slot));
        next
    }
}

/// When a worker may go, as things stand.
fn later_of(worker: &Worker, patience: Duration, now: Instant) -> Instant {
    let since = if worker.rests() {
        worker.rests_since
    } else {
        now
    };
    since.checked_add(patience).unwrap_or(now + limits::FAR)
}
