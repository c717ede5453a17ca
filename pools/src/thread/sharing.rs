//! When a thread's forks are offered to others: the promotion protocol's third part.
//!
//! Before this: `fork_stack.rs`, `fork.rs`, and `README-promotion.md`, whose section
//! "When forks are offered" this is.

use std::time::Instant;

use crate::limits;
use crate::thread::seat::Seat;
use crate::thread::sites::{self, Site};
use crate::thread::sleep::Work;

impl Seat {
    /// At the beginning of a job or a stolen fork: if somebody is hungry, the
    /// first fork is promoted at once.
    #[inline]
    pub fn ask_for_sharing(&self) {
        self.lane.recheck_in.set(0);
        self.lane.set_level(0);
        if self.registry.sleep.anybody_hungry() {
            self.lane.ask_oneself();
        }
    }

    /// At the beginning of a call from outside: as
    /// [`ask_for_sharing`](Self::ask_for_sharing), unless such calls have been too
    /// small to wake somebody for. Then thieves that are awake ask in vain, too: of
    /// a few µs of work they would take half, and each side would wait for the
    /// other's cache lines longer than that.
    pub(super) fn begin_root(&self, site: Site) -> Root<'_> {
        let sleep = &self.registry.sleep;
        self.lane.recheck_in.set(0);
        self.lane.set_level(0);
        if !sleep.anybody_hungry() {
            self.lane.listen();
            return Root {
                began: None,
                seat: self,
                site,
            };
        }
        let now = Instant::now();
        if sites::is_small(site) {
            self.lane.turn_deaf();
            self.lane.recheck_in.set(limits::RECHECK_AFTER);
            self.lane.recheck_step.set(limits::RECHECK_AFTER);
            self.lane.root_began.set(Some(now));
        } else {
            self.lane.ask_oneself();
        }
        Root {
            began: Some(now),
            seat: self,
            site,
        }
    }

    /// Promotes a fork for a thief that asks, or for a sleeper.
    #[cold]
    #[inline(never)]
    pub fn offer_fork(&self) {
        self.lane.listen();
        if self.lane.forks.promote() {
            self.mark();
            self.notify_fork(self.lane.index());
        }
    }

    /// Promotes every fork that is recorded, for thieves to come.
    #[inline(never)]
    pub fn offer_all_forks(&self) {
        self.lane.listen();
        let mut any = false;
        while self.lane.forks.promote() {
            any = true;
        }
        if any {
            self.mark();
            self.notify_fork(self.lane.index());
        }
    }

    /// Are the forks of coarse work to be promoted as they are made? If there is
    /// another thread, in the levels that make the largest pieces.
    #[inline]
    pub fn offers_pieces(&self) -> bool {
        self.lane.level() < limits::OFFERED_LEVELS
            && self.lane.recheck_in.get() == 0
            && self.registry.config.threads > usize::from(self.lane.is_worker)
    }

    /// Tells others of a fork that `lane` has promoted.
    pub fn notify_fork(&self, lane: usize) {
        let registry = &self.registry;
        // Guests at work use cores too: beyond as many threads as the pool has,
        // another one only takes turns with these.
        let idle = registry.sleep.idle();
        if idle != 0 && idle <= registry.guests() && !registry.sleep.anybody_searching() {
            return;
        }
        registry.provide(registry.sleep.notify(Work::Fork(lane)));
    }

    /// A root that was taken for small forks on: is it large after all?
    #[cold]
    #[inline(never)]
    pub fn reconsider_sleepers(&self) {
        let left = self.lane.recheck_in.get() - 1;
        self.lane.recheck_in.set(left);
        if left != 0 {
            return;
        }
        let began = self.lane.root_began.get();
        let lasts = began.map_or(limits::WORTH_A_WAKE, |began| began.elapsed());
        if lasts >= limits::WORTH_A_WAKE {
            return self.offer_fork();
        }
        if lasts >= limits::WORTH_A_THEFT {
            self.lane.listen();
        }
        // So that looks at the clock stay few, and a large root is found out before it
        // has taken twice as long.
        let step = (2 * self.lane.recheck_step.get()).min(limits::RECHECK_EVERY);
        self.lane.recheck_step.set(step);
        self.lane.recheck_in.set(step);
    }
}

/// An outermost call from outside, while it lasts; its length is noted.
pub(super) struct Root<'a> {
    began: Option<Instant>,
    seat: &'a Seat,
    site: Site,
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        self.seat.lane.recheck_in.set(0);
        if let Some(began) = self.began {
            sites::note(self.site, began.elapsed() < limits::WORTH_A_WAKE);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use crate::thread::lane::Lane;
    use crate::thread::prelude::*;
    use crate::thread::{ThreadPool, context};

    /// How many forks the calling worker has on offer.
    fn on_offer() -> usize {
        context::with(|seat| seat.expect("called on a worker").lane.shared.forks.len())
    }

    /// What is on offer when the first piece of a parallel iterator runs, while no
    /// other thread of the pool is hungry.
    fn offered_at_the_first_piece(threads: usize) -> usize {
        let pool = ThreadPool::builder().threads(threads).build().unwrap();
        let (began, begun) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let busy = (threads == 2).then(|| {
            let job = pool.spawn(move || {
                began.send(()).unwrap();
                let _ = ended.recv();
            });
            begun.recv().unwrap();
            job
        });
        let offered = pool.install(|| {
            let offered: Vec<usize> = (0..16u32).into_par_iter().map(|_| on_offer()).collect();
            offered[0]
        });
        drop(end);
        if let Some(job) = busy {
            job.wait().unwrap();
        }
        offered
    }

    #[test]
    fn pieces_are_on_offer_before_anybody_asks_if_there_is_another_thread() {
        assert_eq!(offered_at_the_first_piece(2), 4, "one fork for each level");
        assert_eq!(offered_at_the_first_piece(1), 0);
    }

    #[test]
    fn a_deaf_lane_is_asked_in_vain_until_it_listens() {
        let lane = Lane::new(0, false);
        lane.shared.demand_fork();
        assert!(lane.is_demanded());
        lane.turn_deaf();
        lane.shared.demand_fork();
        assert!(!lane.is_demanded());
        lane.listen();
        assert!(!lane.is_demanded());
        lane.shared.demand_fork();
        assert!(lane.is_demanded());
    }
}
