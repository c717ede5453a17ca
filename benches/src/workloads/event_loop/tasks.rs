//! Spawning, joining, yielding; what a task weighs; what a loop costs to start.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::engines::{Engine, on_every_engine};
use crate::sys;
use crate::workload::{Bar, Ctx, Group, Unit, Workload};

/// Spawns tasks by the thousand and joins them in order.
fn spawn_join_batch<E: Engine>(ctx: &Ctx) -> Duration {
    let batches = ctx.iters / 1_000;
    E::run(async move {
        let mut handles = Vec::with_capacity(1_000);
        let mut sum = 0;
        let began = Instant::now();
        for _ in 0..batches {
            handles.extend((0..1_000u64).map(|i| E::spawn(async move { i })));
            for handle in handles.drain(..) {
                sum += E::join(handle).await;
            }
        }
        let elapsed = began.elapsed();
        assert_eq!(sum, batches * 499_500);
        elapsed
    })
}

/// Spawns one task and joins it, again and again.
fn spawn_join_seq<E: Engine>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    E::run(async move {
        let mut sum = 0;
        let began = Instant::now();
        for i in 0..iters {
            sum += E::join(E::spawn(async move { i })).await;
        }
        let elapsed = began.elapsed();
        assert_eq!(sum, iters * (iters - 1) / 2);
        elapsed
    })
}

/// One task yields.
fn yield_1<E: Engine>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    E::run(async move {
        let began = Instant::now();
        for _ in 0..iters {
            E::yield_now().await;
        }
        began.elapsed()
    })
}

/// A thousand tasks yield in turns; the time is for each poll.
fn yield_1000<E: Engine>(ctx: &Ctx) -> Duration {
    let turns = ctx.iters / 1_000;
    E::run(async move {
        let polls = Rc::new(Cell::new(0));
        let began = Instant::now();
        let handles: Vec<_> = (0..1_000)
            .map(|_| {
                let polls = polls.clone();
                E::spawn(async move {
                    for _ in 0..turns {
                        E::yield_now().await;
                        polls.set(polls.get() + 1);
                    }
                })
            })
            .collect();
        for handle in handles {
            E::join(handle).await;
        }
        let elapsed = began.elapsed();
        assert_eq!(polls.get(), turns * 1_000);
        elapsed
    })
}

/// Growth of resident memory for each of many tasks that wait for ever, with
/// their handles.
fn memory_per_task<E: Engine>(ctx: &Ctx) -> f64 {
    let count = ctx.size.pick(50_000, 1_000_000, 1_000_000);
    E::run(async move {
        let polled = Rc::new(Cell::new(0usize));
        let before = sys::resident(std::process::id());
        let mut handles = Vec::new();
        for _ in 0..count {
            let polled = polled.clone();
            handles.push(E::spawn(async move {
                polled.set(polled.get() + 1);
                // Given back, so that the future holds nothing while it waits.
                drop(polled);
                pending::<()>().await
            }));
        }
        // Runs after all of them have been polled once: queues are first come,
        // first served.
        E::join(E::spawn(async {})).await;
        let after = sys::resident(std::process::id());
        assert_eq!((handles.len(), polled.get()), (count, count));
        // Ending a million tasks is not part of the question.
        std::mem::forget(handles);
        (after - before) as f64 / count as f64
    })
}

/// Makes a loop, runs a trivial future, drops it.
fn start_stop<E: Engine>(ctx: &Ctx) -> Duration {
    let mut sum = 0;
    let began = Instant::now();
    for i in 0..ctx.iters {
        sum += E::block_on(async move { i });
    }
    let elapsed = began.elapsed();
    assert_eq!(sum, ctx.iters * (ctx.iters - 1) / 2);
    elapsed
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, unit, what| Workload::new(Group::Loop, name, unit, what);
    vec![
        on_every_engine!(
            row(
                "spawn_join_batch",
                Unit::Ns,
                "spawn 1,000 trivial tasks, join all; per task"
            )
            .grain(1_000)
            .bar(Bar::Times("tokio", 4.0))
            .bar(Bar::AheadOfAll),
            PerOp,
            spawn_join_batch
        ),
        on_every_engine!(
            row(
                "spawn_join_seq",
                Unit::Ns,
                "spawn one task, join it, repeat"
            )
            .bar(Bar::Times("tokio", 6.0))
            .bar(Bar::AheadOfAll),
            PerOp,
            spawn_join_seq
        ),
        on_every_engine!(
            row("yield_1", Unit::Ns, "yield_now with one task")
                .bar(Bar::Times("tokio", 10.0))
                .bar(Bar::AheadOfAll),
            PerOp,
            yield_1
        ),
        on_every_engine!(
            row(
                "yield_1000",
                Unit::Ns,
                "yield_now with 1,000 tasks; per poll"
            )
            .grain(1_000)
            .bar(Bar::Times("tokio", 5.0))
            .bar(Bar::AheadOfAll),
            PerOp,
            yield_1000
        ),
        on_every_engine!(
            row(
                "memory_per_task",
                Unit::B,
                "10^6 waiting tasks and their handles: growth of resident memory for each"
            )
            .bar(Bar::Times("tokio", 2.3))
            .bar(Bar::AheadOfAll),
            Once,
            memory_per_task
        ),
        on_every_engine!(
            row(
                "start_stop",
                Unit::Us,
                "make a loop, run a trivial future, drop it"
            )
            .bar(Bar::NotBehind("smol"))
            .bar(Bar::NotBehind("tokio")),
            PerOp,
            start_stop
        ),
    ]
}
