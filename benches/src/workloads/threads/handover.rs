//! Handing work over from outside: small, sparse, in bursts; and idling.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::engines::{Pool, on_every_pool};
use super::forks::compute;
use crate::stats::median;
use crate::sys;
use crate::workload::{Bar, Ctx, Group, Pin, Unit, Workload};

/// `run` (rayon: `in_place_scope`) of a small closure.
fn run_small<P: Pool>(ctx: &Ctx) -> Duration {
    let pool = P::new(ctx.workers);
    let mut sum = 0;
    let began = Instant::now();
    for i in 0..ctx.iters {
        sum += pool.run(|| black_box(i));
    }
    let elapsed = began.elapsed();
    assert_eq!(sum, ctx.iters * (ctx.iters - 1) / 2);
    elapsed
}

/// Makes the pool on the second core and leaves the caller on the first: threads
/// inherit the mask of who starts them.
fn pinned<P: Pool>(ctx: &Ctx) -> P {
    if ctx.pin == Pin::Apart {
        sys::pin(1);
    }
    let pool = P::new(if ctx.pin == Pin::Free { ctx.workers } else { 1 });
    // All of its threads run before the mask changes.
    pool.install(|| ());
    if ctx.pin == Pin::Apart {
        sys::pin(0);
    }
    pool
}

fn install<P: Pool>(ctx: &Ctx) -> Duration {
    let pool = pinned::<P>(ctx);
    let mut sum = 0;
    let began = Instant::now();
    for i in 0..ctx.iters {
        sum += pool.install(|| black_box(i));
    }
    let elapsed = began.elapsed();
    assert_eq!(sum, ctx.iters * (ctx.iters - 1) / 2);
    elapsed
}

/// The bare hand-over: two threads in turns, each asleep on a futex meanwhile.
fn futex_handoff(ctx: &Ctx) -> Duration {
    let iters = ctx.iters as u32;
    let words = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let theirs = words.clone();
    let pin = ctx.pin;
    let other = thread::spawn(move || {
        if pin == Pin::Apart {
            sys::pin(1);
        }
        for turn in 0..iters {
            while theirs.0.load(SeqCst) == turn {
                sys::futex_wait(&theirs.0, turn);
            }
            theirs.1.store(turn + 1, SeqCst);
            sys::futex_wake(&theirs.1);
        }
    });
    if pin == Pin::Apart {
        sys::pin(0);
    }
    let began = Instant::now();
    for turn in 0..iters {
        words.0.store(turn + 1, SeqCst);
        sys::futex_wake(&words.0);
        while words.1.load(SeqCst) == turn {
            sys::futex_wait(&words.1, turn);
        }
    }
    let elapsed = began.elapsed();
    other.join().expect("it ends");
    elapsed
}

/// Spawns a job and waits for it, 2 ms apart; the median of one wait.
fn spawn_and_wait_sparse<P: Pool>(ctx: &Ctx) -> f64 {
    let pool = P::new(ctx.workers);
    let times: Vec<f64> = (0..ctx.size.pick(10, 100, 500))
        .map(|i| {
            thread::sleep(Duration::from_millis(2));
            let began = Instant::now();
            assert_eq!(pool.spawn_and_wait(move || black_box(i)), i);
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    median(&times)
}

/// 64 jobs of 20 µs, every 5 ms; the median of the time until all are done.
fn bursts<P: Pool>(ctx: &Ctx) -> f64 {
    let pool = P::new(ctx.workers);
    let done = AtomicU64::new(0);
    let count = ctx.size.pick(5, 50, 250);
    let times: Vec<f64> = (0..count)
        .map(|_| {
            thread::sleep(Duration::from_millis(5));
            let began = Instant::now();
            pool.scope(64, |_| {
                // 20 µs where a round takes about 2 ns.
                black_box(compute(10_000));
                done.fetch_add(1, SeqCst);
            });
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    assert_eq!(done.into_inner(), 64 * count);
    median(&times)
}

/// CPU time of a pool in two seconds without work, after it had some.
fn idle_cpu<P: Pool>(ctx: &Ctx) -> f64 {
    let (before, after) = idle::<P, _>(ctx, sys::own_cpu);
    (after - before).as_secs_f64() * 1e3
}

/// Context switches of the same; one of them is the measuring thread's.
fn idle_switches<P: Pool>(ctx: &Ctx) -> f64 {
    let (before, after) = idle::<P, _>(ctx, sys::own_switches);
    (after - before) as f64
}

/// What `read` says before and after two seconds without work.
fn idle<P: Pool, T>(ctx: &Ctx, read: impl Fn() -> T) -> (T, T) {
    let pool = P::new(ctx.workers);
    let done = AtomicU64::new(0);
    pool.scope(10_000, |_| {
        done.fetch_add(1, SeqCst);
    });
    assert_eq!(done.into_inner(), 10_000);
    pool.install(|| ());
    thread::sleep(Duration::from_millis(100));
    let before = read();
    thread::sleep(ctx.size.pick(
        Duration::from_millis(300),
        Duration::from_secs(2),
        Duration::from_secs(2),
    ));
    (before, read())
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, unit, what| Workload::new(Group::Threads, name, unit, what).workers(2);
    let installs = |name, pin| {
        let row = row(
            name,
            Unit::Us,
            "install from outside, back to back; one worker",
        )
        .pin(pin);
        on_every_pool!(row, PerOp, install).per_op("limit", futex_handoff)
    };
    let judged = |row: Workload| row.bar(Bar::OfLimit(1.25)).bar(Bar::Times("rayon", 1.5));
    vec![
        on_every_pool!(
            row(
                "run_small",
                Unit::Ns,
                "run of a small closure from outside (rayon: in_place_scope)"
            )
            .bar(Bar::Of("rayon", 1.2)),
            PerOp,
            run_small
        )
        .without("chili", "its scope is made, not run"),
        judged(installs("install_same", Pin::Same)),
        judged(installs("install_apart", Pin::Apart)),
        installs("install", Pin::Free),
        on_every_pool!(
            row(
                "spawn_and_wait_sparse",
                Unit::Us,
                "spawn a job, then wait for it, 2 ms apart"
            )
            .takes(1.3)
            .bar(Bar::Times("rayon", 2.0)),
            Once,
            spawn_and_wait_sparse
        )
        .without("chili", "has no spawn"),
        on_every_pool!(
            row(
                "bursts",
                Unit::Us,
                "64 jobs of 20 µs every 5 ms, until all are done"
            )
            .takes(1.5)
            .bar(Bar::Times("rayon", 1.4)),
            Once,
            bursts
        )
        .without("chili", "has no spawn"),
        on_every_pool!(
            row(
                "idle_cpu",
                Unit::Ms,
                "CPU time of an idle pool over 2 s, after work"
            )
            .takes(2.2)
            .bar(Bar::Figure(1.0)),
            Once,
            idle_cpu
        ),
        on_every_pool!(
            row(
                "idle_switches",
                Unit::Count,
                "context switches of an idle pool over 2 s, after work"
            )
            .takes(2.2)
            .bar(Bar::Figure(10.0)),
            Once,
            idle_switches
        ),
    ]
}
