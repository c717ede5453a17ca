//! A seat: what a thread has while it works for a pool, and how it finds work there.
//!
//! Before this: `lane.rs`, `registry.rs`. After it: `sharing.rs`, when a seat's forks
//! are offered; `worker.rs`, the order in which a worker looks.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::limits;
use crate::thread::fork::ForkRef;
use crate::thread::job::JobRef;
use crate::thread::lane::{Lane, LaneShared};
use crate::thread::registry::{Registry, take_from};
use crate::thread::sleep::Work;

/// A lane, and the registry it belongs to: what a thread has while it works for
/// a pool.
#[derive(Debug)]
pub struct Seat {
    /// The thread's lane.
    pub lane: Lane,
    /// Its pool.
    pub registry: Arc<Registry>,
}

impl Seat {
    /// The first `Some` that `f` makes of a marked lane other than ours, beginning
    /// where the last success was.
    pub fn find_peer<R>(&self, f: impl FnMut(&LaneShared) -> Option<R>) -> Option<R> {
        self.find_among(usize::MAX, f)
    }

    /// [`find_peer`](Self::find_peer) among the next few marked lanes; the next
    /// look begins behind them.
    pub fn find_nearby<R>(&self, f: impl FnMut(&LaneShared) -> Option<R>) -> Option<R> {
        self.find_among(limits::LANES_A_LOOK, f)
    }

    fn find_among<R>(
        &self,
        limit: usize,
        mut f: impl FnMut(&LaneShared) -> Option<R>,
    ) -> Option<R> {
        let mut looks = 0;
        let start = self.lane.next_victim.get();
        let found = self.registry.lanes.visit_marked(start, |peer| {
            if peer.index == self.lane.index() {
                return ControlFlow::Continue(());
            }
            if looks == limit {
                self.lane.next_victim.set(peer.index);
                return ControlFlow::Break(None);
            }
            looks += 1;
            match f(peer) {
                Some(found) => {
                    self.lane.next_victim.set(peer.index);
                    ControlFlow::Break(Some(found))
                }
                None => ControlFlow::Continue(()),
            }
        });
        self.count_steps(looks);
        found.flatten()
    }

    fn count_steps(&self, lanes: usize) {
        let mut steps = self.lane.search_steps.get();
        steps.rounds += 1;
        steps.lanes += lanes as u64;
        self.lane.search_steps.set(steps);
    }

    /// This lane may have something to steal: call it before the notification.
    #[inline(always)]
    pub fn mark(&self) {
        if !self.lane.marked.get() {
            self.mark_now();
        }
    }

    #[cold]
    #[inline(never)]
    fn mark_now(&self) {
        self.lane.marked.set(true);
        self.registry.lanes.mark(self.lane.index());
    }

    /// This thread stops, or goes to sleep with nothing of its own left.
    pub fn unmark(&self) {
        self.lane.marked.set(false);
        let shared = &self.lane.shared;
        self.registry
            .lanes
            .found_empty(shared.index, || shared.has_work());
    }

    /// Steals a promoted fork, or one that was handed back.
    pub fn steal_fork(&self) -> Option<ForkRef> {
        let thief = self.lane.index();
        self.find_nearby(|peer| peer.steal_fork(thief, true))
    }

    /// Steals a job: injected, or of another lane.
    pub fn steal_job(&self) -> Option<JobRef> {
        if let Some(job) = self.take_injected() {
            return Some(job);
        }
        let job = self.find_nearby(|peer| self.lane.steal_jobs_from(peer))?;
        self.mark_what_came_along();
        Some(job)
    }

    fn mark_what_came_along(&self) {
        if self.lane.has_jobs() {
            self.mark();
        }
    }

    /// Takes a job that came from outside.
    pub fn take_injected(&self) -> Option<JobRef> {
        if let Some(job) = self.lane.steal_injected(&self.registry.injector) {
            self.mark_what_came_along();
            return Some(job);
        }
        self.take_stray()
    }

    /// Takes a job of some scope that is in no lane.
    pub fn take_stray(&self) -> Option<JobRef> {
        if self.registry.has_strays() {
            take_from(&self.registry.strays)
        } else {
            None
        }
    }

    /// Asks lanes for a fork: the next few, and others the next time.
    pub fn demand_forks(&self) {
        let lanes = &self.registry.lanes;
        let count = lanes.count();
        let asked = count.min(limits::LANES_A_LOOK);
        let start = self.lane.next_asked.get();
        for at in start..start + asked {
            if at % count != self.lane.index() {
                lanes.get(at % count).demand_fork();
            }
        }
        self.lane.next_asked.set((start + asked) % count);
        self.count_steps(asked);
    }

    /// Adds a job of this thread.
    // Always, so that the job's words go into the queue as they are made: written to
    // the stack by the word and copied from there by two, each copy would wait for
    // the store buffer.
    #[inline(always)]
    pub fn push_job(&self, job: JobRef, tag: usize) {
        self.lane.push_job(job, tag);
        self.mark();
        let work = if tag == 0 {
            Work::Job
        } else {
            Work::ScopeJob(tag)
        };
        self.registry.provide(self.registry.sleep.notify(work));
    }

    /// Retires this thread from its search, if there are too many or `give_up` says so,
    /// and lets others have what was pushed meanwhile; false if neither.
    pub fn retire(&self, give_up: bool) -> bool {
        let registry = &self.registry;
        let parker = &self.lane.shared.parker;
        let look = || registry.has_jobs();
        let provide = registry
            .sleep
            .retire(self.lane.index(), parker, give_up, look);
        if let Some(provide) = provide {
            registry.provide(provide);
        }
        provide.is_some()
    }

    /// Runs `f`, which may block, while the permit can be lent.
    pub fn blocked<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Unblock<'a>(&'a Seat, bool);
        impl Drop for Unblock<'_> {
            fn drop(&mut self) {
                let Unblock(seat, before) = *self;
                seat.lane.shared.activity.set_blocked(before);
                seat.registry.sleep.unblock();
            }
        }
        if !self.lane.is_worker {
            return f();
        }
        let registry = &self.registry;
        let provide = registry.sleep.block(|| registry.has_jobs());
        let _unblock = Unblock(self, self.lane.shared.activity.set_blocked(true));
        registry.provide(provide);
        f()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::Location;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::thread::config::Config;
    use crate::thread::lane::SearchSteps;
    use crate::thread::sites::Site;
    use crate::thread::{borrowed, scope};

    const WORKERS: usize = 1000;

    fn a_thousand_workers() -> Arc<Registry> {
        let registry = Registry::new(Config {
            threads: WORKERS,
            max_spares: 0,
            name: "crowd".to_owned(),
            stack_size: Some(limits::MIN_STACK_SIZE),
            ..Config::default()
        });
        registry.start().unwrap();
        registry
    }

    /// Ends the workers, and sums up what they did.
    fn end(registry: &Arc<Registry>) -> SearchSteps {
        registry.close();
        assert_eq!(registry.join_threads(None), 0);
        let ended = registry.free_workers.lock().unwrap();
        assert_eq!(ended.len(), WORKERS);
        let mut sum = SearchSteps::default();
        for steps in ended.iter().map(|lane| lane.search_steps.get()) {
            sum.rounds += steps.rounds;
            sum.lanes += steps.lanes;
        }
        sum
    }

    #[test]
    fn a_thousand_workers_start_and_end_without_looking_at_each_other() {
        let registry = a_thousand_workers();
        let steps = end(&registry);
        assert!(steps.rounds >= 2 * WORKERS as u64);
        assert_eq!(steps.lanes, 0, "nobody has offered anything");
    }

    #[test]
    fn a_round_costs_the_same_among_a_thousand_workers_at_work() {
        let registry = a_thousand_workers();
        let done = AtomicUsize::new(0);
        for _ in 0..3 {
            registry.take_part(Site::of_type::<Registry>(), |seat| {
                scope::run(seat, |scope| {
                    for _ in 0..WORKERS {
                        scope.spawn(|scope| {
                            scope.spawn(|_| {
                                done.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            });
            let sum = registry.spawn(Location::caller(), || crate::thread::join(|| 1, || 2));
            assert_eq!(sum.wait().unwrap(), (1, 2));
        }
        assert_eq!(done.into_inner(), 3 * WORKERS);
        let told = borrowed::broadcast(&registry, Location::caller(), |index| index);
        assert!(told.into_iter().eq(0..WORKERS));
        let steps = end(&registry);
        let most = steps.rounds * limits::LANES_A_LOOK as u64;
        assert!(
            steps.lanes <= most,
            "{} lanes in {} rounds",
            steps.lanes,
            steps.rounds
        );
    }
}
