//! Starting a worker, from a parent that has touched a gibibyte: what forks a
//! process by copying its page tables pays for every page.

use std::time::{Duration, Instant};

use threeply_pools::process::{ProcessPool, StartMethod};

use super::helpers::{FIRST_BYTE, Helper};
use super::roundtrips::add_one;
use crate::workload::{Bar, Ctx, Group, Unit, Workload};

/// Touches the memory, then starts and ends `iters` times; only the starts count.
fn with_a_large_parent<T>(ctx: &Ctx, mut start: impl FnMut() -> T) -> Duration {
    let memory = vec![1u8; ctx.size.pick(64 << 20, 1 << 30, 1 << 30)];
    drop(start());
    let mut total = Duration::ZERO;
    for _ in 0..ctx.iters {
        let began = Instant::now();
        let started = start();
        total += began.elapsed();
        drop(started);
    }
    assert_eq!(std::hint::black_box(&memory)[memory.len() / 2], 1);
    total
}

/// A pool that is ended, with all that belongs to it, before the next one begins.
struct Ended(Option<ProcessPool>);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(pool) = self.0.take() {
            pool.shutdown(Duration::MAX);
        }
    }
}

/// A new pool with one worker, until its first job has come back.
fn worker_start(ctx: &Ctx) -> Duration {
    with_a_large_parent(ctx, || {
        let pool = ProcessPool::new(1).expect("a process pool");
        assert_eq!(
            pool.call(add_one, 1)
                .expect("there is room")
                .expect("the job runs"),
            2
        );
        Ended(Some(pool))
    })
}

/// The same from a fork server, which another pool keeps alive.
fn worker_start_forkserver(ctx: &Ctx) -> Duration {
    let forked = || {
        ProcessPool::builder()
            .workers(1)
            .start_method(StartMethod::ForkServer)
            .build()
            .expect("a process pool")
    };
    let keeper = Ended(Some(forked()));
    let total = with_a_large_parent(ctx, || {
        let pool = forked();
        assert_eq!(
            pool.call(add_one, 1)
                .expect("there is room")
                .expect("the job runs"),
            2
        );
        Ended(Some(pool))
    });
    drop(keeper);
    total
}

fn worker_start_procspawn(ctx: &Ctx) -> Duration {
    with_a_large_parent(ctx, || {
        assert_eq!(
            procspawn::spawn(1, add_one).join().expect("the job runs"),
            2
        );
    })
}

/// The same binary by posix_spawn, until its first byte.
fn bare_spawn(ctx: &Ctx) -> Duration {
    with_a_large_parent(ctx, || {
        let helper = Helper::start(FIRST_BYTE);
        assert_eq!(helper.read(&mut [0]), 1);
        helper
    })
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, what| Workload::new(Group::Processes, name, Unit::Us, what).takes(2.0);
    vec![
        row(
            "worker_start",
            "a pool of one worker until its first result, parent with 1 GiB touched (limit: \
             posix_spawn of the same binary until its first byte)",
        )
        .bar(Bar::OfLimit(1.3))
        .per_op("threeply", worker_start)
        .per_op("procspawn", worker_start_procspawn)
        .per_op("limit", bare_spawn)
        .python("python-ppe", "pool.py", &["ppe", "start"])
        .python("python-mp", "pool.py", &["mp", "start"]),
        row(
            "worker_start_forkserver",
            "the same with the worker forked by a kept fork server (limit: posix_spawn of the \
             same binary until its first byte)",
        )
        .bar(Bar::OfLimit(0.4))
        .per_op("threeply", worker_start_forkserver)
        .per_op("limit", bare_spawn)
        .without("procspawn", "has no fork server"),
    ]
}
