//! Handing work over from outside: small, sparse, in bursts; and idling.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread::{self, JoinHandle};
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
struct Handoff {
    /// The turns that were begun, and those that the other thread has answered.
    words: Arc<(AtomicU32, AtomicU32)>,
    turn: u32,
    other: JoinHandle<()>,
}

impl Handoff {
    fn start(turns: u32, pin: Pin) -> Handoff {
        let words = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
        let theirs = words.clone();
        let other = thread::spawn(move || {
            if pin == Pin::Apart {
                sys::pin(1);
            }
            for turn in 0..turns {
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
        let turn = 0;
        Handoff { words, turn, other }
    }

    fn there_and_back(&mut self) {
        let turn = self.turn;
        self.words.0.store(turn + 1, SeqCst);
        sys::futex_wake(&self.words.0);
        while self.words.1.load(SeqCst) == turn {
            sys::futex_wait(&self.words.1, turn);
        }
        self.turn = turn + 1;
    }

    fn end(self) {
        self.other.join().expect("it ends");
    }
}

fn futex_handoff(ctx: &Ctx) -> Duration {
    let mut handoff = Handoff::start(ctx.iters as u32, ctx.pin);
    let began = Instant::now();
    for _ in 0..ctx.iters {
        handoff.there_and_back();
    }
    let elapsed = began.elapsed();
    handoff.end();
    elapsed
}

/// Does it `count` times with such gaps; the median of one time, in µs.
fn spaced(gap: Duration, count: u32, mut once: impl FnMut(u32)) -> f64 {
    let times: Vec<f64> = (0..count)
        .map(|i| {
            thread::sleep(gap);
            let began = Instant::now();
            once(i);
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    median(&times)
}

const SPARSE: Duration = Duration::from_millis(2);

fn sparse_count(ctx: &Ctx) -> u32 {
    ctx.size.pick(10, 100, 500)
}

/// Spawns a job and waits for it.
fn spawn_and_wait_sparse<P: Pool>(ctx: &Ctx) -> f64 {
    let pool = P::new(ctx.workers);
    spaced(SPARSE, sparse_count(ctx), |i| {
        assert_eq!(pool.spawn_and_wait(move || black_box(i)), i);
    })
}

fn futex_handoff_sparse(ctx: &Ctx) -> f64 {
    let count = sparse_count(ctx);
    let mut handoff = Handoff::start(count, ctx.pin);
    let time = spaced(SPARSE, count, |_| handoff.there_and_back());
    handoff.end();
    time
}

/// 20 µs where a round takes about 2 ns.
fn burst_job() {
    black_box(compute(10_000));
}

/// Jobs in a burst.
const BURST: u64 = 64;

const BETWEEN_BURSTS: Duration = Duration::from_millis(5);

fn burst_count(ctx: &Ctx) -> u32 {
    ctx.size.pick(5, 50, 250)
}

/// 64 jobs of 20 µs.
fn bursts<P: Pool>(ctx: &Ctx) -> f64 {
    let pool = P::new(ctx.workers);
    let done = AtomicU64::new(0);
    let count = burst_count(ctx);
    let time = spaced(BETWEEN_BURSTS, count, |_| {
        pool.scope(BURST as usize, |_| {
            burst_job();
            done.fetch_add(1, SeqCst);
        });
    });
    assert_eq!(done.into_inner(), BURST * u64::from(count));
    time
}

/// Half of the jobs each by the caller and one other thread, which sleeps in between.
fn bursts_split(ctx: &Ctx) -> f64 {
    let half = || (0..BURST / 2).for_each(|_| burst_job());
    let count = burst_count(ctx);
    let (begun, done) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            for burst in 0..count {
                while begun.load(SeqCst) == burst {
                    thread::park();
                }
                half();
                done.store(burst + 1, SeqCst);
            }
        });
        spaced(BETWEEN_BURSTS, count, |burst| {
            begun.store(burst + 1, SeqCst);
            other.thread().unpark();
            half();
            while done.load(SeqCst) == burst {
                std::hint::spin_loop();
            }
        })
    })
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
                "spawn a job, then wait for it, 2 ms apart (limit: futex hand-off)"
            )
            .takes(1.3)
            .bar(Bar::Times("rayon", 2.0)),
            Once,
            spawn_and_wait_sparse
        )
        .once("limit", futex_handoff_sparse)
        .without("chili", "has no spawn"),
        on_every_pool!(
            row(
                "bursts",
                Unit::Us,
                "64 jobs of 20 µs every 5 ms, until all are done (limit: two std threads)"
            )
            .takes(1.5)
            .bar(Bar::Times("rayon", 1.4)),
            Once,
            bursts
        )
        .once("limit", bursts_split)
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
