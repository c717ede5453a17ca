//! A million empty jobs, spawned from inside, from outside, and within a scope.
//!
//! A job only counts itself; the one that finds that it is the last wakes who
//! waits. The counter is the same for everybody and costs more than some engines'
//! whole spawn, which flatters nobody: ratios come out nearer to one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::both;
use super::engines::{Pool, on_every_pool};
use crate::workload::{Bar, Ctx, Unit, Workload};

struct Countdown {
    left: AtomicU64,
    waiter: Thread,
}

impl Countdown {
    fn new(count: u64) -> Arc<Countdown> {
        Arc::new(Countdown {
            left: AtomicU64::new(count),
            waiter: thread::current(),
        })
    }

    fn done(&self) {
        if self.left.fetch_sub(1, SeqCst) == 1 {
            self.waiter.unpark();
        }
    }

    fn wait(&self) {
        while self.left.load(SeqCst) > 0 {
            thread::park();
        }
    }
}

fn spawn_inside<P: Pool>(ctx: &Ctx) -> Duration {
    let pool = P::new(ctx.workers);
    let iters = ctx.iters;
    let countdown = Countdown::new(iters);
    let jobs = countdown.clone();
    let began = Instant::now();
    pool.spawn(move || {
        for _ in 0..iters {
            let job = jobs.clone();
            P::spawn_inside(move || job.done());
        }
    });
    countdown.wait();
    began.elapsed()
}

fn spawn_outside<P: Pool>(ctx: &Ctx) -> Duration {
    let pool = P::new(ctx.workers);
    let countdown = Countdown::new(ctx.iters);
    let began = Instant::now();
    for _ in 0..ctx.iters {
        let job = countdown.clone();
        pool.spawn(move || job.done());
    }
    countdown.wait();
    began.elapsed()
}

fn scope_spawn<P: Pool>(ctx: &Ctx) -> Duration {
    let pool = P::new(ctx.workers);
    let count = AtomicU64::new(0);
    let iters = ctx.iters as usize;
    let began = Instant::now();
    pool.install(|| {
        P::scope_inside(iters, |_| {
            count.fetch_add(1, SeqCst);
        });
    });
    let elapsed = began.elapsed();
    assert_eq!(count.into_inner(), ctx.iters);
    elapsed
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let million = |row: Workload| row.grain(1_000_000);
    let mut all = both(
        "spawn_inside",
        Unit::Ns,
        "10^6 empty jobs spawned by a job; per job",
        |row, _| {
            let row = million(row).bar(Bar::Times("rayon", 2.0));
            on_every_pool!(row, PerOp, spawn_inside).without("chili", "has no spawn")
        },
    );
    all.extend(both(
        "spawn_outside",
        Unit::Ns,
        "10^6 empty jobs spawned from outside; per job",
        |row, _| {
            let row = million(row).bar(Bar::Times("rayon", 1.5));
            on_every_pool!(row, PerOp, spawn_outside).without("chili", "has no spawn")
        },
    ));
    all.extend(both(
        "scope_spawn",
        Unit::Ns,
        "10^6 empty jobs spawned within a scope on a worker; per job",
        |row, _| {
            let row = million(row).bar(Bar::Times("rayon", 1.5));
            on_every_pool!(row, PerOp, scope_spawn).without("chili", "has no spawn")
        },
    ));
    all
}
