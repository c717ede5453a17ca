//! Many tiny jobs at once: one a message, and chunked.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::roundtrips::{add_one, ours};
use crate::workload::{Bar, Ctx, Group, Unit, Workload};

/// Submits all, then waits for all.
fn map_1(ctx: &Ctx) -> Duration {
    let pool = ours(ctx.workers);
    assert_eq!(
        pool.call(add_one, 0)
            .expect("there is room")
            .expect("the job runs"),
        1
    );
    let began = Instant::now();
    let handles: Vec<_> = (0..ctx.iters)
        .map(|i| pool.submit(add_one, i).expect("there is room"))
        .collect();
    let sum: u64 = handles
        .into_iter()
        .map(|handle| handle.wait().expect("the job runs"))
        .sum();
    let elapsed = began.elapsed();
    assert_eq!(sum, ctx.iters * (ctx.iters + 1) / 2);
    elapsed
}

/// With at most a thousand outstanding: each holds descriptors of the parent, and
/// at 20,000 it panics.
fn map_1_procspawn(ctx: &Ctx) -> Duration {
    let pool = procspawn::Pool::new(ctx.workers).expect("a procspawn pool");
    assert_eq!(pool.spawn(0, add_one).join().expect("the job runs"), 1);
    let mut outstanding = VecDeque::new();
    let mut sum = 0;
    let began = Instant::now();
    for i in 0..ctx.iters {
        outstanding.push_back(pool.spawn(i, add_one));
        if outstanding.len() == 1_000 {
            sum += outstanding
                .pop_front()
                .expect("there are many")
                .join()
                .expect("the job runs");
        }
    }
    for handle in outstanding {
        sum += handle.join().expect("the job runs");
    }
    let elapsed = began.elapsed();
    assert_eq!(sum, ctx.iters * (ctx.iters + 1) / 2);
    pool.shutdown();
    elapsed
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, what| {
        Workload::new(Group::Processes, name, Unit::JobsPerS, what)
            .workers(2)
            .takes(2.0)
    };
    vec![
        row(
            "map_1",
            "10^6 tiny jobs, one a message as the user sees it (peers: fewer)",
        )
        .bar(Bar::Figure(1e6))
        .bar(Bar::TimesPython(20.0))
        .variant("threeply", "", crate::workload::Run::Once(map_1_million))
        .per_op("procspawn", map_1_procspawn)
        .python("python-ppe", "pool.py", &["ppe", "map_1"])
        .python("python-mp", "pool.py", &["mp", "map_1"]),
        row(
            "map_auto",
            "10^6 tiny jobs by map, chunking automatic (Python: chunks of 100)",
        )
        .bar(Bar::Times("python-mp-chunk100", 1.5))
        .once("threeply", map_auto)
        .python("python-mp-chunk100", "pool.py", &["mp", "map_chunked"])
        .without("procspawn", "has no chunks"),
    ]
}

/// Ours does the million.
fn map_1_million(ctx: &Ctx) -> f64 {
    let ctx = Ctx {
        iters: ctx.size.pick(10_000, 1_000_000, 1_000_000),
        ..*ctx
    };
    Unit::JobsPerS.per_op(map_1(&ctx), ctx.iters)
}

/// By `map`, which finds the size of its chunks itself.
fn map_auto(ctx: &Ctx) -> f64 {
    let jobs = ctx.size.pick(10_000, 1_000_000, 1_000_000);
    let pool = ours(ctx.workers);
    let began = Instant::now();
    let results = pool.map(add_one, 0..jobs);
    let sum: u64 = results.map(|result| result.expect("the job runs")).sum();
    let elapsed = began.elapsed();
    assert_eq!(sum, jobs * (jobs + 1) / 2);
    Unit::JobsPerS.per_op(elapsed, jobs)
}
