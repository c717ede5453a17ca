//! The supervisor: everything but the hot path.
//!
//! It waits at one point for all that may happen: its bell (replies that nobody
//! else reads, and requests of other threads), the end of a worker's process, and
//! the next deadline. It is woken for exceptions, not for every job.
//!
//! Read before this: [`super::pump`] and [`super::death`].

use crate::process::limits;
use crate::process::link::Link;
use crate::process::pool::Shared;
use crate::process::state::{Delivery, Phase, Stage, Verdict};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Hosts the supervisor on a thread of its own.
///
/// # Errors
/// If no thread can be started.
pub fn on_a_thread(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    thread::Builder::new()
        .name("threeply-supervisor".to_owned())
        .spawn(move || supervise(&shared))
}

fn supervise(shared: &Shared) {
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    loop {
        let Some(deadline) = shared.look_around(Instant::now()) else {
            return;
        };
        let links = shared.links();
        let mut waited = vec![PollFd::new(
            shared.supervisor_bell.as_fd(),
            PollFlags::POLLIN,
        )];
        for link in &links {
            waited.push(PollFd::new(link.pidfd(), PollFlags::POLLIN));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = left.saturating_add(Duration::from_micros(999));
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        if nix::poll::poll(&mut waited, timeout).is_err() {
            continue;
        }
        if waited[0].any() == Some(true) {
            let _ = shared.supervisor_bell.drain();
        }
        // Asked for anew: the bell may have been rung by a worker that was started
        // while we slept.
        for link in &shared.links() {
            shared.pump_if_free(link);
        }
        for (link, waited) in links.iter().zip(&waited[1..]) {
            if waited.any() == Some(true) {
                shared.worker_may_have_ended(link);
            }
        }
    }
}

impl Shared {
    /// The links of all workers that there are.
    pub fn links(&self) -> Vec<Arc<Link>> {
        let state = self.lock();
        state
            .workers
            .iter()
            .flatten()
            .map(|worker| Arc::clone(&worker.link))
            .collect()
    }

    /// Does what is due, and says when it wants to be called again at the latest;
    /// `None` once the pool is closed and all workers are gone.
    pub fn look_around(&self, now: Instant) -> Option<Instant> {
        self.replace_missing();
        let mut deliveries = Vec::new();
        let mut state = self.lock();
        let out_of_patience = state.deadline.is_some_and(|deadline| now >= deadline);
        let finished = state.phase == Phase::Draining && state.outstanding == 0;
        if state.phase == Phase::Draining && (finished || out_of_patience) {
            state.phase = Phase::Closed;
            state.fail_queue(|| crate::process::JobError::ShutDown, &mut deliveries);
            for worker in state.workers.iter_mut().flatten() {
                if worker.sent.is_empty() {
                    worker.dismiss(now);
                } else {
                    worker.link.kill();
                }
            }
        }
        if state.phase == Phase::Closed && state.workers.iter().all(Option::is_none) {
            drop(state);
            Delivery::deliver_all(&mut deliveries);
            self.tell_of_change();
            return None;
        }
        let mut next = now + Duration::from_secs(3600);
        if let (Phase::Draining, Some(deadline)) = (state.phase, state.deadline) {
            next = next.min(deadline);
        }
        if let Some(at) = state.retry_at
            && state.workers.iter().any(Option::is_none)
            && state.broken.is_none()
        {
            next = next.min(at.max(now + Duration::from_millis(1)));
        }
        let mut late = Vec::new();
        for worker in state.workers.iter_mut().flatten() {
            match worker.stage {
                Stage::Starting { deadline } if now >= deadline => {
                    worker.complaint = Some(format!(
                        "a worker wasn't ready {:?} after its start",
                        limits::HANDSHAKE
                    ));
                    worker.link.kill();
                }
                Stage::Leaving { deadline } if now >= deadline => worker.link.kill(),
                Stage::Starting { deadline } | Stage::Leaving { deadline } => {
                    next = next.min(deadline);
                }
                Stage::Ready => {}
            }
            if worker.verdict.is_some() {
                if worker.link.has_replies() {
                    next = next.min(now + limits::TICK);
                } else {
                    worker.link.kill();
                }
            } else if let Some(sent) = worker.sent.front()
                && let Some(limit) = sent.job.limit
            {
                let deadline = worker.front_since + limit;
                if now < deadline {
                    next = next.min(deadline);
                } else if worker.link.has_replies() {
                    // Perhaps it is done; whoever reads replies will know.
                    next = next.min(now + limits::TICK);
                } else {
                    let seq = sent.first + u64::from(sent.settled);
                    late.push((
                        Arc::clone(&worker.link),
                        Verdict {
                            seq,
                            limit: Some(limit),
                        },
                    ));
                }
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
            next = next.min(now + limits::TICK);
            nudged = state.rebalance(now);
        }
        state.ticking = state.wants_ticks();
        let rung = state.refill_idle();
        drop(state);
        if let Some(link) = nudged {
            link.nudge_caller();
        }
        for link in rung {
            link.ring_if_asleep();
        }
        Delivery::deliver_all(&mut deliveries);
        Some(next)
    }

    /// Asks for the supervisor's bell on behalf of a job whose caller can't read the
    /// reply itself after all.
    pub fn watch(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        if let Some(seq) = state.wake_from(link) {
            link.words().wake_supervisor.ask(seq);
        }
        drop(state);
        if link.has_replies() {
            self.ring_supervisor();
        }
    }
}
