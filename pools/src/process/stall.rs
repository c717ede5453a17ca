//! The watchdog of a pool: all workers have been at the same jobs for too long, while
//! others wait.
//!
//! What a worker runs and since when is known anyway, so the supervisor only has to look,
//! a few times within the limit, as long as there are jobs. Whoever hands one in sees to
//! it that such a look is planned ([`State::plan_watch`]). A pool without a limit does
//! nothing of this.
//!
//! Read before this: [`super::look`], which looks, and [`super::dump`].

use crate::limits::WATCHDOG_LOOKS;
use crate::process::dump::Dump;
use crate::process::shared::Shared;
use crate::process::state::{Stage, State, Worker};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// All workers of a pool have been at the same job for too long, while others wait. Told
/// to [`Builder::on_stall`](crate::process::Builder::on_stall) once a stall.
///
/// Its text names each worker's job and where it was submitted, and says what to do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stall {
    /// For how long no worker has ended a job, at least.
    pub lasts: Duration,
    /// What the pool is doing.
    pub pool: Dump,
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "all workers of a pool have been busy with the same jobs for {:.1?} while others \
             wait\n{}\nif these hang, give such jobs a `limit`; if they only take that long, \
             give the pool more workers, or its watchdog more patience",
            self.lasts, self.pool
        )
    }
}

/// What is called at a stall.
#[derive(Clone)]
pub(crate) struct OnStall(pub(crate) Arc<dyn Fn(&Stall) + Send + Sync>);

impl fmt::Debug for OnStall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnStall")
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Looks {
    /// Since when jobs have waited at each look.
    waiting_since: Option<Instant>,
    /// The present stall was told.
    told: bool,
}

impl Looks {
    /// Whether jobs waited at the last look, so that whether they still do counts.
    pub fn saw_a_wait(&self) -> bool {
        self.waiting_since.is_some()
    }
}

/// When to look again.
fn next_look(now: Instant, limit: Duration) -> Option<Instant> {
    now.checked_add(limit / WATCHDOG_LOOKS)
}

impl State {
    /// A job has been handed in: the supervisor is to look at the latest when a watchdog
    /// with this limit would.
    pub fn plan_watch(&mut self, limit: Duration) {
        if let Some(at) = next_look(Instant::now(), limit) {
            self.look_by(at);
        }
    }

    /// Looks whether the pool is stuck; says when to look again, and what is to be told.
    pub fn watch_stall(
        &mut self,
        now: Instant,
        limit: Duration,
    ) -> (Option<Instant>, Option<Stall>) {
        if self.outstanding == 0 {
            self.stall = Looks::default();
            return (None, None);
        }
        let next = next_look(now, limit);
        let waits = !self.queue.is_empty() || self.workers.iter().flatten().any(has_ahead);
        if !waits {
            self.stall = Looks::default();
            return (next, None);
        }
        let waiting_since = *self.stall.waiting_since.get_or_insert(now);
        let mut lasts = now.saturating_duration_since(waiting_since);
        for worker in &self.workers {
            let same = worker.as_ref().and_then(|worker| at_the_same(worker, now));
            lasts = lasts.min(same.unwrap_or_default());
        }
        if lasts < limit {
            self.stall.told = false;
            return (next, None);
        }
        let told = std::mem::replace(&mut self.stall.told, true);
        let stall = (!told).then(|| Stall {
            lasts,
            pool: Dump::of(self, now),
        });
        (next, stall)
    }
}

/// Whether jobs wait in its ring behind the one that it runs.
fn has_ahead(worker: &Worker) -> bool {
    worker
        .sent
        .iter()
        .map(|sent| sent.end() - sent.next())
        .sum::<u64>()
        > 1
}

/// For how long it has run the job that it runs; `None` if it runs none, or has just
/// answered.
fn at_the_same(worker: &Worker, now: Instant) -> Option<Duration> {
    let runs = worker.stage == Stage::Ready && !worker.sent.is_empty();
    let runs = runs && !worker.link.has_replies();
    runs.then(|| now.saturating_duration_since(worker.front_since))
}

impl Shared {
    /// Tells whoever wants to know, on the thread for callbacks.
    pub fn tell_of_stall(&self, stall: Stall) {
        let hook = self.options.on_stall.clone();
        self.callbacks.call(Box::new(move || match hook {
            Some(OnStall(hook)) => hook(&stall),
            None => eprintln!("{stall}"),
        }));
    }
}
