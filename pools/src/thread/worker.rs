//! What a worker does all day: run, steal, search, sleep.
//!
//! Before this: `seat.rs`, `sharing.rs`. The order of the queues:
//! 1. what only this worker may run (`broadcast`),
//! 2. its own jobs, youngest first (now and then the injector first),
//! 3. forks of others, oldest first: they are parts of what has begun,
//! 4. jobs from outside, then jobs of others, oldest first.

use std::time::Instant;

use crate::limits;
use crate::thread::fork::{self, ForkRef};
use crate::thread::job::JobRef;
use crate::thread::lane::Lane;
use crate::thread::seat::Seat;
use crate::thread::sleep::Interest;
use crate::thread::{context, cpus};
use threeply_runtime::inspect::{JobId, blocked};

enum Found {
    Fork(ForkRef),
    Job(JobRef),
}

/// A worker's thread, from start to end.
pub fn main(seat: Seat) {
    let index = seat.lane.index();
    let config = &seat.registry.config;
    if config.pin {
        cpus::pin_current_thread(index);
    }
    blocked::know_jobs(|| {
        let job = context::with(|seat| seat.map_or(0, |seat| seat.lane.job.get()));
        (job != 0).then_some(JobId(job))
    });
    context::occupy(&seat, || {
        if let Some(hook) = &config.on_start {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(index)));
        }
        // The thread starts as a searcher, counted so by whoever started it.
        let mut found = search(&seat);
        while let Some(first) = found {
            run(first, &seat);
            // If a thread came back from blocking, one steps back between two jobs.
            while !seat.registry.sleep.too_many() {
                if let Some(job) = take_own(&seat) {
                    run_job(job, &seat);
                } else if let Some(found) = take_others(&seat) {
                    run(found, &seat);
                } else {
                    break;
                }
            }
            seat.registry.sleep.begin_search();
            found = search(&seat);
        }
        step_out(&seat);
        if let Some(hook) = &config.on_exit {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(index)));
        }
    });
    let Seat { lane, registry } = seat;
    registry.give_back_worker(lane);
}

fn run(found: Found, seat: &Seat) {
    match found {
        Found::Fork(fork) => fork::run_stolen(fork, seat),
        Found::Job(job) => run_job(job, seat),
    }
}

#[inline]
fn run_job(job: JobRef, seat: &Seat) {
    debug_assert!(seat.lane.forks.holds_nothing());
    seat.ask_for_sharing();
    job.run(seat);
}

fn take(seat: &Seat) -> Option<Found> {
    match take_own(seat) {
        Some(job) => Some(Found::Job(job)),
        None => take_others(seat),
    }
}

/// A job of this lane, or now and then the injector's: cheap while there is plenty.
// Apart from `take`, since moving a job into a `Found` costs 6 ns: its words are
// read two at once before they have left the store buffer one by one.
#[inline]
fn take_own(seat: &Seat) -> Option<JobRef> {
    let lane = &seat.lane;
    if let Some(job) = lane.shared.inbox.take(|_| true) {
        return Some(job);
    }
    if lane.injector_first()
        && let Some(job) = seat.take_injected()
    {
        return Some(job);
    }
    lane.pop_job()
}

fn take_others(seat: &Seat) -> Option<Found> {
    if let Some(fork) = seat.steal_fork() {
        return Some(Found::Fork(fork));
    }
    seat.steal_job().map(Found::Job)
}

/// Searches, sleeps, searches, until there is work (then the thread counts as
/// running) or the thread must end (`None`; it counts nowhere).
fn search(seat: &Seat) -> Option<Found> {
    let sleep = &seat.registry.sleep;
    let lane = &seat.lane;
    let parker = &lane.shared.parker;
    loop {
        if sleep.too_many() && seat.retire(false) {
            if !linger(seat) {
                return None;
            }
            continue;
        }
        if let Some(found) = search_awake(seat) {
            return Some(found);
        }
        seat.unmark();
        sleep.fall_asleep(lane.index(), Interest::Anything, parker);
        if seat.registry.has_work() || !lane.shared.inbox.is_empty() {
            sleep.retract(lane.index());
            continue;
        }
        if seat.registry.end_if_done() {
            sleep.retract(lane.index());
            // After the gate's fence: a job whose pusher didn't see the end.
            if seat.registry.has_work() {
                continue;
            }
            // Counted as a retired thread that leaves.
            if seat.retire(true) && sleep.leave(lane.index()) {
                return None;
            }
            continue;
        }
        match seat.registry.config.idle_exit {
            None => park(lane),
            Some(after) => {
                let woken = parker.park_until(Instant::now() + after);
                sleep.retract(lane.index());
                if !woken && seat.retire(true) && sleep.leave(lane.index()) {
                    return None;
                }
                continue;
            }
        }
        // Woken by `notify`, we are searching already; by anything else, not yet.
        sleep.retract(lane.index());
    }
}

fn search_awake(seat: &Seat) -> Option<Found> {
    let mut patience = Patience::new();
    loop {
        if let Some(found) = take(seat) {
            if seat.registry.sleep.found_work() && seat.registry.has_work() {
                let provide = seat.registry.sleep.notify(crate::thread::sleep::Work::Job);
                seat.registry.provide(provide);
            }
            return Some(found);
        }
        let registry = &seat.registry;
        let guests = registry.guests();
        if guests + registry.sleep.running() != 0 {
            seat.demand_forks();
        }
        // Guests at work and the other workers use every core already; or so many
        // search that this one would only take turns with them.
        let crowded = guests != 0
            && guests + registry.sleep.live() - registry.sleep.idle() > registry.config.threads;
        if crowded
            || registry.sleep.searching() > registry.cores
            || registry.gate.has_ended()
            || !patience.pause()
        {
            return None;
        }
    }
}

/// Sleeps until it is woken. Once on the way, if jobs had piled up here, it gives back the
/// memory that they needed.
fn park(lane: &Lane) {
    let parker = &lane.shared.parker;
    if let Some(due) = lane.spares_due() {
        if parker.park_until(due) {
            return;
        }
        lane.free_spares();
    }
    parker.park();
}

/// Waits without a permit to be needed again; false if the thread is to end.
fn linger(seat: &Seat) -> bool {
    let lane = &seat.lane;
    let sleep = &seat.registry.sleep;
    hand_over_jobs(lane, seat);
    seat.unmark();
    step_out(seat);
    let deadline = Instant::now() + limits::SPARE_LINGER;
    loop {
        let woken = lane.shared.parker.park_until(deadline);
        let ended = seat.registry.gate.has_ended();
        if !woken || ended || Instant::now() >= deadline {
            // If somebody took us out of the retired meanwhile, we are wanted.
            let wanted = !sleep.leave(lane.index());
            if wanted {
                seat.registry.step_in(lane.index());
            }
            return wanted;
        }
        if !sleep.is_retired(lane.index()) {
            seat.registry.step_in(lane.index());
            return true;
        }
    }
}

/// No broadcast reaches this thread any more; it runs those that did.
fn step_out(seat: &Seat) {
    seat.registry.step_out(seat.lane.index());
    while let Some(job) = seat.lane.shared.inbox.take(|_| true) {
        job.run(seat);
    }
}

/// What a retiring thread has queued goes to the others.
fn hand_over_jobs(lane: &Lane, seat: &Seat) {
    while let Some(job) = lane.pop_job() {
        seat.registry.inject(job);
    }
}

/// How long a thread without work looks on before it sleeps.
#[derive(Debug)]
pub struct Patience {
    rounds: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}

impl Patience {
    /// All of it.
    pub fn new() -> Self {
        Self { rounds: 0 }
    }

    /// Pauses for a moment; false if it is time to sleep.
    pub fn pause(&mut self) -> bool {
        self.rounds += 1;
        if self.rounds > limits::SEARCH_ROUNDS {
            return false;
        }
        // At first, too: whoever was woken by the job just done, or brings the next
        // one, may wait for this very core.
        if self.rounds == 1 || self.rounds > limits::SEARCH_YIELD_AFTER {
            std::thread::yield_now();
        } else {
            for _ in 0..limits::SEARCH_PAUSE {
                std::hint::spin_loop();
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use crate::limits;
    use crate::thread::{ThreadPool, context, spawn_detached};

    fn has_spares() -> bool {
        context::with(|seat| seat.expect("on a worker").lane.spares_due().is_some())
    }

    #[test]
    fn an_idle_worker_gives_back_what_a_pile_of_jobs_needed() {
        let pool = ThreadPool::builder().threads(1).build().unwrap();
        let (over, ended) = mpsc::channel::<()>();
        pool.spawn_detached(move || {
            for _ in 0..10 * limits::JOBS_A_DEQUE {
                let over = over.clone();
                spawn_detached(move || drop(over));
            }
        });
        assert!(ended.recv().is_err());
        assert!(pool.install(has_spares), "kept for the next jobs");
        // Between two questions it sleeps.
        let (_never, pause) = mpsc::channel::<()>();
        let given_back = (0..100).any(|_| {
            let _ = pause.recv_timeout(limits::KEEP_SPARE_ROOMS / 10);
            !pool.install(has_spares)
        });
        assert!(given_back);
        let again = pool.spawn(|| 1).wait_timeout(Duration::from_secs(30));
        assert_eq!(again.unwrap().unwrap(), 1);
    }
}
