//! The first program: a sum over `0..n`, four times.
//!
//! On an event loop the sums run one after the other, as the article's asyncio
//! version does: that is the point of the row. tokio and smol hand them to their
//! pools for blocking calls, as their documentation advises.

use std::hint::black_box;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use threeply_pools::process::ProcessPool;
use threeply_pools::thread::ThreadPool;

use crate::workload::{Ctx, Group, Unit, Workload};

/// How many sums.
const TASKS: usize = 4;

/// The sum, kept honest.
fn sum_to(n: u64) -> u64 {
    (0..n).fold(0, |sum, i| black_box(sum + i))
}

fn n(ctx: &Ctx) -> u64 {
    // `grain` tells the two rows apart: the large one has ten times as much.
    let n = ctx.size.pick(100_000, 10_000_000, 10_000_000);
    n * ctx.iters
}

/// Runs the four sums once for warming up and once on the clock; seconds.
fn timed(ctx: &Ctx, mut four: impl FnMut(u64) -> Vec<u64>) -> f64 {
    four(1_000);
    let n = n(ctx);
    let began = Instant::now();
    let sums = four(n);
    let elapsed = began.elapsed();
    assert_eq!(sums, vec![n * (n - 1) / 2; TASKS]);
    elapsed.as_secs_f64()
}

fn sequential(ctx: &Ctx) -> f64 {
    timed(ctx, |n| (0..TASKS).map(|_| sum_to(black_box(n))).collect())
}

/// Two threads that wait for their half.
fn limit(ctx: &Ctx) -> f64 {
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let (ask, asked) = sync_channel::<u64>(1);
            let (answer, answered) = sync_channel::<[u64; 2]>(1);
            std::thread::spawn(move || {
                for n in asked {
                    let _ = answer.send([sum_to(n), sum_to(n)]);
                }
            });
            (ask, answered)
        })
        .collect();
    timed(ctx, |n| {
        for (ask, _) in &threads {
            ask.send(n).expect("the thread listens");
        }
        threads
            .iter()
            .flat_map(|(_, answered)| answered.recv().expect("it answers"))
            .collect()
    })
}

fn processes(ctx: &Ctx) -> f64 {
    let pool = ProcessPool::new(2).expect("a process pool");
    timed(ctx, |n| {
        let jobs: Vec<_> = (0..TASKS)
            .map(|_| pool.submit(sum_to, n).expect("there is room"))
            .collect();
        jobs.into_iter()
            .map(|job| job.wait().expect("the job runs"))
            .collect()
    })
}

fn threads(ctx: &Ctx) -> f64 {
    let pool = ThreadPool::new(2).expect("a pool of threads");
    timed(ctx, |n| {
        let jobs: Vec<_> = (0..TASKS).map(|_| pool.spawn(move || sum_to(n))).collect();
        jobs.into_iter()
            .map(|job| job.wait().expect("the job runs"))
            .collect()
    })
}

fn event_loop(ctx: &Ctx) -> f64 {
    timed(ctx, |n| {
        threeply_runtime::block_on(async move {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| threeply_runtime::spawn(async move { sum_to(n) }))
                .collect();
            let mut sums = Vec::new();
            for task in tasks {
                sums.push(task.await.expect("the task ends"));
            }
            sums
        })
    })
}

fn tokio(ctx: &Ctx) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    timed(ctx, |n| {
        runtime.block_on(async move {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| tokio::task::spawn_blocking(move || sum_to(n)))
                .collect();
            let mut sums = Vec::new();
            for task in tasks {
                sums.push(task.await.expect("the task ends"));
            }
            sums
        })
    })
}

fn smol(ctx: &Ctx) -> f64 {
    timed(ctx, |n| {
        smol::block_on(async move {
            let tasks: Vec<_> = (0..TASKS)
                .map(|_| smol::unblock(move || sum_to(black_box(n))))
                .collect();
            let mut sums = Vec::new();
            for task in tasks {
                sums.push(task.await);
            }
            sums
        })
    })
}

fn rayon(ctx: &Ctx) -> f64 {
    use rayon::prelude::*;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build()
        .expect("a rayon pool");
    timed(ctx, |n| {
        pool.install(|| {
            (0..TASKS)
                .into_par_iter()
                .map(|_| sum_to(black_box(n)))
                .collect()
        })
    })
}

fn procspawn(ctx: &Ctx) -> f64 {
    let pool = procspawn::Pool::new(2).expect("a procspawn pool");
    let seconds = timed(ctx, |n| {
        let jobs: Vec<_> = (0..TASKS).map(|_| pool.spawn(n, sum_to)).collect();
        jobs.into_iter()
            .map(|job| job.join().expect("the job runs"))
            .collect()
    });
    pool.shutdown();
    seconds
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, what, times| {
        Workload::new(Group::Article, name, Unit::S, what)
            .workers(2)
            .grain(times)
            .takes(1.5)
            .once("sequential", sequential)
            .once("limit", limit)
            .once("threeply-processes", processes)
            .once("threeply-threads", threads)
            .once("threeply-loop", event_loop)
            .once("tokio", tokio)
            .once("smol", smol)
            .once("rayon", rayon)
            .once("procspawn", procspawn)
    };
    let python = |row: Workload| {
        row.python(
            "python-multiprocessing",
            "article.py",
            &["multiprocessing", "cpu"],
        )
        .python("python-threading", "article.py", &["threading", "cpu"])
        .python("python-asyncio", "article.py", &["asyncio", "cpu"])
        .python("python-sequential", "article.py", &["sequential", "cpu"])
        .free_threaded("python-threading-ft", "article.py", &["threading", "cpu"])
        .free_threaded("python-sequential-ft", "article.py", &["sequential", "cpu"])
    };
    let large = "ten times the sums of cpu_bound";
    vec![
        python(row(
            "cpu_bound",
            "four sums to 10^7, two at once where the engine can",
            1,
        )),
        row(
            "cpu_bound_large",
            "four sums to 10^8, two at once where the engine can",
            10,
        )
        .without("python-multiprocessing", large)
        .without("python-threading", large)
        .without("python-asyncio", large)
        .without("python-sequential", large),
    ]
}
