//! What the supervisor does each time it looks around: everything that time, not a
//! message, makes due.
//!
//! 1. A pool that is draining and has nothing left, or whose patience is over, closes.
//! 2. Jobs whose pause before another try is over are queued.
//! 3. Workers are started where some are missing, sent away where some are too many.
//! 4. Workers that were slow to start or to exit, and jobs over a limit, are killed.
//! 5. What waits behind a long job goes to a worker that is free.
//! 6. That all workers are stuck while jobs wait is told, if the pool has a watchdog.
//!
//! Read before this: [`super::supervisor`].

use crate::process::cpu;
use crate::process::error::JobError;
use crate::process::limits;
use crate::process::shared::Shared;
use crate::process::state::{Delivery, Phase, Reason, Stage, State, Verdict, Worker};
use std::sync::Arc;
use std::time::Instant;

/// The next time to look around: the earliest of several.
struct Next(Instant);

impl Next {
    fn at(&mut self, at: impl Into<Option<Instant>>) {
        if let Some(at) = at.into() {
            self.0 = self.0.min(at);
        }
    }
}

impl Shared {
    /// Does what is due, and says when it wants to be called again at the latest;
    /// `None` once the pool is closed and all workers are gone.
    pub fn look_around(&self, now: Instant) -> Option<Instant> {
        let mut next = Next(now + limits::FAR);
        let mut state = self.lock();
        state.wake_later(now);
        drop(state);
        self.replace_missing();
        let mut deliveries = Vec::new();
        let mut state = self.lock();
        next.at(state.close_if_done(now, &mut deliveries));
        if state.phase == Phase::Closed && state.has_no_workers() {
            drop(state);
            Delivery::deliver_all(&mut deliveries);
            self.outputs.close();
            self.tell_of_change();
            return None;
        }
        next.at(state.thin_out(now));
        let mut late = Vec::new();
        for worker in state.workers.iter_mut().flatten() {
            end_if_slow(worker, now, &mut next);
            if let Some(reason) = over_its_limit(worker, now, &mut next) {
                let seq = worker.front().map_or(0, |sent| sent.next());
                late.push((Arc::clone(&worker.link), Verdict { seq, reason }));
            }
        }
        for (link, verdict) in late {
            // First nothing else can begin, then the one that is late is killed.
            state.recall(&link);
            if let Some(worker) = state.worker(&link) {
                worker.verdict = Some(verdict);
            }
            link.kill();
        }
        let mut nudged = None;
        if state.wants_ticks() {
            next.at(now + limits::TICK);
            nudged = state.rebalance(now);
        }
        state.ticking = state.wants_ticks();
        let rung = state.refill_idle();
        let mut stall = None;
        if let Some(limit) = self.options.watchdog {
            let (look, seen) = state.watch_stall(now, limit);
            next.at(look);
            stall = seen;
        }
        if state.phase == Phase::Draining && state.outstanding == 0 {
            next.at(now); // What was left had been cancelled.
        }
        next.at(state.will_look(next.0, now));
        drop(state);
        if let Some(link) = nudged {
            link.nudge_caller();
        }
        for link in rung {
            link.ring_if_asleep();
        }
        Delivery::deliver_all(&mut deliveries);
        if let Some(stall) = stall {
            self.tell_of_stall(stall);
        }
        Some(next.0)
    }
}

impl State {
    /// Draining → Closed, if nothing is left or patience is over; else when it will be.
    pub fn close_if_done(&mut self, now: Instant, out: &mut Vec<Delivery>) -> Option<Instant> {
        if self.phase != Phase::Draining {
            return None;
        }
        let out_of_patience = self.deadline.is_some_and(|deadline| now >= deadline);
        if self.outstanding > 0 && !out_of_patience {
            return self.deadline;
        }
        self.phase = Phase::Closed;
        self.fail_queue(|| JobError::ShutDown, out);
        for worker in self.workers.iter_mut().flatten() {
            if worker.sent.is_empty() {
                worker.dismiss(now);
            } else {
                worker.link.kill();
            }
        }
        None
    }
}

/// Kills a worker that takes too long to start or to exit, or that is to be killed
/// and has said nothing since that was decided.
fn end_if_slow(worker: &mut Worker, now: Instant, next: &mut Next) {
    match worker.stage {
        Stage::Starting { deadline } if now >= deadline => {
            worker.complaint = Some(format!(
                "a worker wasn't ready {:?} after its start",
                limits::HANDSHAKE
            ));
            worker.link.kill();
        }
        Stage::Leaving { deadline } if now >= deadline => worker.link.kill(),
        Stage::Starting { deadline } | Stage::Leaving { deadline } => next.at(deadline),
        Stage::Ready => {}
    }
    if worker.verdict.is_some() {
        if worker.link.has_replies() {
            next.at(now + limits::TICK);
        } else {
            worker.link.kill();
        }
    }
}

/// Whether the job that a worker runs has exceeded a limit, and which. If it seems
/// to have, but there are replies to be read, it is perhaps done: whoever reads them
/// will know.
fn over_its_limit(worker: &Worker, now: Instant, next: &mut Next) -> Option<Reason> {
    if worker.verdict.is_some() || worker.stage != Stage::Ready {
        return None;
    }
    let job = &worker.front()?.job;
    let mut reason = None;
    if let Some(limit) = job.limit()
        && let Some(deadline) = worker.front_since.checked_add(limit)
    {
        if now < deadline {
            next.at(deadline);
        } else {
            reason = Some(Reason::Limit(limit));
        }
    }
    if let Some(limit) = job.cpu_limit()
        && let (Some(base), Some(now_used)) = (worker.cpu_base, cpu::used_by(worker.link.pid))
    {
        let left = limit.saturating_sub(now_used.saturating_sub(base));
        if left.is_zero() {
            reason = Some(Reason::CpuLimit(limit));
        } else {
            // At the soonest, with all processors at work for it; then anew.
            let soonest = left / processors();
            next.at(now.checked_add(soonest.max(limits::TICK)));
        }
    }
    if reason.is_some() && worker.link.has_replies() {
        next.at(now + limits::TICK);
        return None;
    }
    reason
}

fn processors() -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(processors).unwrap_or(u32::MAX)
}
