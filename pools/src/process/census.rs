//! Every process pool that lives in this process: for the question "why is nothing
//! happening?", asked by somebody who doesn't have the pools at hand (a watchdog, a thread
//! that waits for a signal).
//!
//! A pool is entered when it is built, and doesn't live a moment longer for it.
//!
//! Read before this: [`super::dump`].

use crate::process::dump::Dump;
use crate::process::shared::Shared;
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Instant;

static POOLS: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Enters a pool. O(number of pools): those that are no more leave at the next entry.
pub(crate) fn enter(pool: Weak<Shared>) {
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(pool);
}

/// A [dump](crate::process::ProcessPool::dump) of each process pool of this process that
/// has any workers or jobs left, the oldest first: also of those that were dropped and are
/// still at what was submitted. O(n) in workers and jobs, under one pool's lock after the
/// other; so the dumps are of different moments.
///
/// ```
/// use threeply_pools::process::{self, ProcessPool};
///
/// let pool = ProcessPool::new(2)?;
/// // process pool, open: 2 of 2 workers, 0 jobs
/// //   worker 4711: idle for 1.2ms, 0 done
/// //   worker 4712: starting for 1.1ms, 0 done
/// for dump in process::dump_all() {
///     eprintln!("{dump}");
/// }
/// # assert_eq!(process::dump_all().len(), 1);
/// # pool.shutdown(std::time::Duration::MAX);
/// # assert_eq!(process::dump_all().len(), 0);
/// # Ok::<(), process::Error>(())
/// ```
pub fn dump_all() -> Vec<Dump> {
    // Not under the lock of all: dropping the last reference to a pool may take a while.
    let pools: Vec<_> = {
        let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter_map(Weak::upgrade).collect()
    };
    let dump = |pool: &Shared| Dump::of(&pool.lock(), Instant::now());
    let dumps = pools.iter().map(|pool| dump(pool));
    let is_over = |dump: &Dump| dump.workers.is_empty() && dump.jobs.is_empty();
    dumps.filter(|dump| dump.open || !is_over(dump)).collect()
}
