//! One tiny job at a time: back to back, 2 ms apart, with both sides asleep, and
//! awaited on the loop.

use std::thread;
use std::time::{Duration, Instant};

use threeply_pools::process::ProcessPool;

use super::helpers::{ECHO, Helper};
use crate::stats::median;
use crate::sys;
use crate::workload::{Bar, Ctx, Group, Pin, Unit, Workload};

/// The job of all rows of this file.
pub(super) fn add_one(x: u64) -> u64 {
    x + 1
}

/// Ours; `spinning` as it is by default.
pub(super) fn ours(workers: usize) -> ProcessPool {
    ProcessPool::new(workers).expect("a process pool")
}

/// Starts something with a worker on the second core, where the row asks for it,
/// and leaves this process on the first: a child inherits the mask.
fn placed<T>(pin: Pin, start: impl FnOnce() -> T) -> T {
    if pin == Pin::Apart {
        sys::pin(1);
    }
    let started = start();
    if pin == Pin::Apart {
        sys::pin(0);
    }
    started
}

/// Ours with one worker that has run a job already, spinning off.
fn ours_asleep(pin: Pin) -> ProcessPool {
    placed(pin, || {
        let pool = ProcessPool::builder().workers(1).spinning(false).build();
        let pool = pool.expect("a process pool");
        assert_eq!(
            pool.call(add_one, 0)
                .expect("there is room")
                .expect("the job runs"),
            1
        );
        pool
    })
}

/// Back to back.
fn tight(ctx: &Ctx, mut run: impl FnMut(u64) -> u64) -> Duration {
    assert_eq!(run(0), 1);
    let began = Instant::now();
    for i in 0..ctx.iters {
        assert_eq!(run(i), i + 1);
    }
    began.elapsed()
}

fn submit_tight(ctx: &Ctx) -> Duration {
    let pool = ours(ctx.workers);
    tight(ctx, |i| {
        pool.submit(add_one, i)
            .expect("there is room")
            .wait()
            .expect("the job runs")
    })
}

fn call_tight(ctx: &Ctx) -> Duration {
    let pool = ours(ctx.workers);
    tight(ctx, |i| {
        pool.call(add_one, i)
            .expect("there is room")
            .expect("the job runs")
    })
}

fn procspawn_tight(ctx: &Ctx) -> Duration {
    let pool = procspawn::Pool::new(ctx.workers).expect("a procspawn pool");
    let elapsed = tight(ctx, |i| {
        pool.spawn(i, add_one).join().expect("the job runs")
    });
    pool.shutdown();
    elapsed
}

/// 2 ms apart; the median of one round trip.
fn sparse(ctx: &Ctx, mut run: impl FnMut(u64) -> u64) -> f64 {
    let times: Vec<f64> = (0..ctx.size.pick(10, 100, 500))
        .map(|i| {
            thread::sleep(Duration::from_millis(2));
            let began = Instant::now();
            assert_eq!(run(i), i + 1);
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    median(&times)
}

fn submit_sparse(ctx: &Ctx) -> f64 {
    let pool = ours(ctx.workers);
    sparse(ctx, |i| {
        pool.submit(add_one, i)
            .expect("there is room")
            .wait()
            .expect("the job runs")
    })
}

/// The same without spinning: the CPU column shows what spinning costs.
fn submit_sparse_asleep(ctx: &Ctx) -> f64 {
    let pool = ProcessPool::builder()
        .workers(ctx.workers)
        .spinning(false)
        .build();
    let pool = pool.expect("a process pool");
    sparse(ctx, |i| {
        pool.submit(add_one, i)
            .expect("there is room")
            .wait()
            .expect("the job runs")
    })
}

fn procspawn_sparse(ctx: &Ctx) -> f64 {
    let pool = procspawn::Pool::new(ctx.workers).expect("a procspawn pool");
    let figure = sparse(ctx, |i| {
        pool.spawn(i, add_one).join().expect("the job runs")
    });
    pool.shutdown();
    figure
}

fn submit_asleep(ctx: &Ctx) -> Duration {
    let pool = ours_asleep(ctx.pin);
    tight(ctx, |i| {
        pool.submit(add_one, i)
            .expect("there is room")
            .wait()
            .expect("the job runs")
    })
}

fn procspawn_asleep(ctx: &Ctx) -> Duration {
    let pool = placed(ctx.pin, || {
        let pool = procspawn::Pool::new(1).expect("a procspawn pool");
        assert_eq!(pool.spawn(0, add_one).join().expect("the job runs"), 1);
        pool
    });
    let elapsed = tight(ctx, |i| {
        pool.spawn(i, add_one).join().expect("the job runs")
    });
    pool.shutdown();
    elapsed
}

/// The supervisor is a task of the loop that awaits.
fn submit_async(ctx: &Ctx) -> Duration {
    let (pin, iters) = (ctx.pin, ctx.iters);
    threeply_runtime::block_on(async move {
        let pool = placed(pin, || {
            let asleep = ProcessPool::builder().workers(1).spinning(false);
            asleep.build_on_loop().expect("a process pool")
        });
        awaited(&pool, 1).await;
        awaited(&pool, iters).await
    })
}

/// The same with the supervisor on a thread of its own, which has to wake the loop.
fn submit_async_thread(ctx: &Ctx) -> Duration {
    let pool = ours_asleep(ctx.pin);
    let iters = ctx.iters;
    threeply_runtime::block_on(async move { awaited(&pool, iters).await })
}

async fn awaited(pool: &ProcessPool, iters: u64) -> Duration {
    let began = Instant::now();
    for i in 0..iters {
        let handle = pool.submit(add_one, i).expect("there is room");
        assert_eq!(handle.await.expect("the job runs"), i + 1);
    }
    began.elapsed()
}

/// 64 bytes there and back over two pipes, both processes asleep while they wait.
fn pipe_pingpong(ctx: &Ctx) -> Duration {
    let helper = placed(ctx.pin, || Helper::start(ECHO));
    tight(ctx, |i| there_and_back(&helper, i))
}

/// The same at the gaps of `sparse`: what it costs to wake two processes that sleep
/// where they like, on processors that sleep, too.
fn pipe_sparse(ctx: &Ctx) -> f64 {
    let helper = Helper::start(ECHO);
    assert_eq!(there_and_back(&helper, 0), 1); // It has started.
    sparse(ctx, |i| there_and_back(&helper, i))
}

fn there_and_back(helper: &Helper, i: u64) -> u64 {
    let mut message = [0u8; 64];
    message[..8].copy_from_slice(&(i + 1).to_ne_bytes());
    helper.write(&message);
    assert_eq!(helper.read(&mut message), 64);
    u64::from_ne_bytes(message[..8].try_into().expect("eight bytes"))
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, what| Workload::new(Group::Processes, name, Unit::Us, what);
    let pinned = |name, what, pin| row(name, what).pin(pin).bar(Bar::OfLimit(1.25));
    let asleep = |name, pin| {
        pinned(
            name,
            "submit, wait, back to back, nobody spins, one worker",
            pin,
        )
        .per_op("threeply", submit_asleep)
        .per_op("procspawn", procspawn_asleep)
        .per_op("limit", pipe_pingpong)
    };
    let on_loop = |name, pin| {
        pinned(
            name,
            "submit, awaited on our loop, back to back, nobody spins, one worker",
            pin,
        )
        .per_op("threeply", submit_async)
        .per_op("threeply-own-thread", submit_async_thread)
        .per_op("limit", pipe_pingpong)
        .without("procspawn", "its handles can't be awaited")
    };
    vec![
        row("submit_tight", "tiny job, submit and wait, back to back")
            .workers(2)
            .bar(Bar::TimesPython(40.0))
            .bar(Bar::Times("procspawn", 10.0))
            .per_op("threeply", submit_tight)
            .per_op("procspawn", procspawn_tight)
            .python("python-ppe", "pool.py", &["ppe", "tight"])
            .python("python-mp", "pool.py", &["mp", "tight"]),
        row(
            "call_tight",
            "tiny job by call (the peers: as in submit_tight), back to back",
        )
        .workers(2)
        .bar(Bar::TimesPython(40.0))
        .bar(Bar::Times("procspawn", 10.0))
        .per_op("threeply", call_tight)
        .per_op("procspawn", procspawn_tight)
        .python("python-ppe", "pool.py", &["ppe", "tight"])
        .python("python-mp", "pool.py", &["mp", "tight"]),
        row(
            "submit_sparse",
            "tiny job, submit and wait, 2 ms apart (limit: 64 bytes over two pipes)",
        )
        .workers(2)
        .takes(1.5)
        .bar(Bar::TimesPython(15.0))
        .bar(Bar::Times("procspawn", 5.0))
        .once("threeply", submit_sparse)
        .once("threeply-asleep", submit_sparse_asleep)
        .once("procspawn", procspawn_sparse)
        .once("limit", pipe_sparse)
        .python("python-ppe", "pool.py", &["ppe", "sparse"])
        .python("python-mp", "pool.py", &["mp", "sparse"]),
        asleep("submit_asleep_same", Pin::Same),
        asleep("submit_asleep_apart", Pin::Apart),
        on_loop("submit_async_same", Pin::Same),
        on_loop("submit_async_apart", Pin::Apart),
    ]
}
