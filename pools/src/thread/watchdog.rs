//! A thread that notices when all workers of a pool are stuck while jobs wait.
//!
//! It looks a few times within the limit, and sleeps for good while nothing runs:
//! before that it leaves its name with each lane (`Activity::call`), whose thread
//! wakes it when it begins something. Look and name are under the lane's lock, so
//! either the look sees what runs, or who begins it sees the name. A new lane has no
//! name in it, so whoever makes one wakes the watchdog.
//!
//! Before this: `activity.rs`, `parker.rs`. It sleeps in a parker, whose token keeps a
//! wake-up between look and sleep; its thread's own would also answer to what a hook
//! unparks.

use std::fmt;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::limits::WATCHDOG_LOOKS;
use crate::thread::dump::{self, Dump};
use crate::thread::lanes::Lanes;
use crate::thread::parker::Parker;
use crate::thread::registry::Registry;

/// All workers of a pool have been at the same thing for too long, while jobs are
/// queued. Told to [`Builder::on_stall`](crate::thread::Builder::on_stall) once a stall.
///
/// Its text names each worker's job and where it was spawned, and says what to do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Stall {
    /// For how long no worker has begun or ended anything, at least.
    pub lasts: Duration,
    /// What the pool is doing.
    pub pool: Dump,
}

/// What is called at a stall.
pub type OnStall = dyn Fn(&Stall) + Send + Sync;

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "all workers of a pool have been busy with the same work for {:.1?} while jobs are \
             queued\n{}\nwhat waits inside of a job, for a lock, a channel or a socket, belongs \
             into `blocking(|| …)`, so that the pool lends its permit to another thread; if all \
             of them do that already, raise `max_spares`",
            self.lasts, self.pool
        )
    }
}

/// A watchdog that runs.
#[derive(Debug)]
pub struct Watchdog {
    thread: JoinHandle<()>,
    parker: Arc<Parker>,
}

impl Watchdog {
    /// Has it look again, if it sleeps.
    pub fn wake(&self) {
        self.parker.unpark();
    }

    /// Waits for its end, for which the caller has called it off; not on its own
    /// thread, where a hook may end the pool.
    pub fn join(self) {
        self.wake();
        if self.thread.thread().id() != thread::current().id() {
            let _ = self.thread.join();
        }
    }
}

/// Starts the watchdog of a pool.
pub fn start(registry: &Arc<Registry>, limit: Duration) -> std::io::Result<Watchdog> {
    let pool = Arc::downgrade(registry);
    let parker = Arc::new(Parker::new());
    let bed = parker.clone();
    let thread = thread::Builder::new()
        .name(format!("{}-watchdog", registry.config.name))
        .spawn(move || watch(&pool, limit, &bed))?;
    Ok(Watchdog { thread, parker })
}

fn watch(pool: &Weak<Registry>, limit: Duration, parker: &Arc<Parker>) {
    let mut looks = Looks::default();
    while let Some(registry) = pool.upgrade()
        && registry.is_watched()
    {
        if nothing_runs(&registry.lanes, parker) {
            drop(registry); // Or the pool would live as long as we.
            parker.park();
            continue;
        }
        if let Some(stall) = looks.look(&registry, limit) {
            match &registry.config.on_stall {
                Some(hook) => {
                    let hook = std::panic::AssertUnwindSafe(|| hook(&stall));
                    let _ = std::panic::catch_unwind(hook);
                }
                None => eprintln!("{stall}"),
            }
        }
        drop(registry);
        match Instant::now().checked_add(limit / WATCHDOG_LOOKS) {
            Some(next_look) => drop(parker.park_until(next_look)),
            None => parker.park(),
        }
    }
}

/// Whether nothing runs in any lane; then whoever begins something unparks `me`.
pub fn nothing_runs(lanes: &Lanes, me: &Arc<Parker>) -> bool {
    lanes.iter().all(|lane| lane.activity.call(me.clone()))
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Looks {
    /// Since when there have been jobs in the queues at each look.
    queued_since: Option<Instant>,
    /// The present stall was told.
    told: bool,
}

impl Looks {
    fn look(&mut self, registry: &Registry, limit: Duration) -> Option<Stall> {
        let now = Instant::now();
        if !registry.has_jobs() {
            *self = Looks::default();
            return None;
        }
        let queued_since = *self.queued_since.get_or_insert(now);
        let staffed = registry.staffed();
        let mut lasts = now.saturating_duration_since(queued_since);
        for &index in &staffed {
            let since = registry.lanes.get(index).activity.unchanged_since();
            let same = since.map(|since| now.saturating_duration_since(since));
            lasts = lasts.min(same.unwrap_or_default());
        }
        if lasts < limit || staffed.is_empty() {
            self.told = false;
            return None;
        }
        let pool = dump::of(registry);
        (!std::mem::replace(&mut self.told, true)).then_some(Stall { lasts, pool })
    }
}
