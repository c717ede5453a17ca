//! Timers: made and dropped, fired by the million, and how late they are.

use std::future::{Future, poll_fn, ready};
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::engines::{Engine, on_every_engine};
use crate::stats::{Random, percentile};
use crate::sys;
use crate::workload::{Bar, Ctx, Group, Unit, Workload};

/// Creates a timer, polls it once, drops it. Yields after every 64, for all
/// engines alike, because tokio's budget would make it wait otherwise.
fn timer_create_cancel<E: Engine>(ctx: &Ctx) -> Duration {
    let blocks = ctx.iters / 64;
    E::run(async move {
        let began = Instant::now();
        for _ in 0..blocks {
            poll_fn(|cx| {
                for i in 0..64 {
                    let sleep = pin!(E::sleep(Duration::from_millis(60_000 + i)));
                    assert!(sleep.poll(cx).is_pending());
                }
                Poll::Ready(())
            })
            .await;
            E::yield_now().await;
        }
        began.elapsed()
    })
}

/// A timeout around a future that is ready at once.
fn timeout_ready<E: Engine>(ctx: &Ctx) -> Duration {
    let iters = ctx.iters;
    E::run(async move {
        let mut sum = 0;
        let began = Instant::now();
        for i in 0..iters {
            sum += E::timeout(Duration::from_secs(60), ready(i))
                .await
                .expect("it is ready");
        }
        let elapsed = began.elapsed();
        assert_eq!(sum, iters * (iters - 1) / 2);
        elapsed
    })
}

/// CPU time of many tasks that each sleep for a random while of up to a second.
fn timer_million<E: Engine>(ctx: &Ctx) -> f64 {
    let count = ctx.size.pick(20_000, 1_000_000, 1_000_000);
    let longest_us = ctx.size.pick(50_000, 1_000_000, 1_000_000);
    E::run(async move {
        let mut random = Random(42);
        let before = sys::own_cpu();
        let handles: Vec<_> = (0..count)
            .map(|_| {
                let duration = Duration::from_micros(1_000 + random.below(longest_us - 1_000));
                E::spawn(async move {
                    let began = Instant::now();
                    E::sleep(duration).await;
                    // Never early.
                    u32::from(began.elapsed() >= duration)
                })
            })
            .collect();
        let mut on_time = 0;
        for handle in handles {
            on_time += E::join(handle).await;
        }
        let cpu = sys::own_cpu() - before;
        // glommio and monoio count from a clock that they read earlier; a few of
        // theirs are early by that much, which isn't judged here.
        assert!(
            on_time > count / 2,
            "only {on_time} of {count} weren't early"
        );
        cpu.as_secs_f64() * 1e3
    })
}

/// How late, in the worst hundredth, a sleep of 100 µs ends on an idle loop:
/// 20,000 samples, or as many as fit into the time.
fn timer_precision<E: Engine>(ctx: &Ctx) -> f64 {
    let samples = ctx.size.pick(200, 3_000, 20_000);
    let most = ctx.size.pick(
        Duration::from_millis(100),
        Duration::from_millis(600),
        Duration::from_secs(6),
    );
    E::run(async move {
        let wanted = Duration::from_micros(100);
        let mut late = Vec::with_capacity(samples);
        let start = Instant::now();
        while late.len() < samples && (late.len() < 50 || start.elapsed() < most) {
            let began = Instant::now();
            E::sleep(wanted).await;
            late.push(began.elapsed().as_secs_f64() * 1e6 - 100.0);
        }
        percentile(&mut late, 0.99).max(0.0)
    })
}

/// The same by a bare timerfd: arm it, read it.
fn timerfd_precision(ctx: &Ctx) -> f64 {
    let samples = ctx.size.pick(200, 3_000, 20_000);
    let timer = sys::timerfd();
    let mut late: Vec<f64> = (0..samples)
        .map(|_| {
            let began = Instant::now();
            sys::timerfd_arm(timer.as_fd(), Duration::from_micros(100));
            sys::read(timer.as_fd(), &mut [0; 8]).expect("a blocking timerfd");
            began.elapsed().as_secs_f64() * 1e6 - 100.0
        })
        .collect();
    percentile(&mut late, 0.99).max(0.0)
}

/// The rows of this file.
pub fn workloads() -> Vec<Workload> {
    let row = |name, unit, what| Workload::new(Group::Loop, name, unit, what);
    vec![
        on_every_engine!(
            row(
                "timer_create_cancel",
                Unit::Ns,
                "create a timer, poll it once, drop it"
            )
            .grain(64)
            .bar(Bar::Times("tokio", 3.5))
            .bar(Bar::AheadOfAll),
            PerOp,
            timer_create_cancel
        ),
        on_every_engine!(
            row("timeout_ready", Unit::Ns, "a timeout around a ready future").bar(Bar::AheadOfAll),
            PerOp,
            timeout_ready
        ),
        on_every_engine!(
            row(
                "timer_million",
                Unit::Ms,
                "10^6 tasks that sleep up to 1 s; CPU time of all"
            )
            .takes(3.5)
            .bar(Bar::Times("tokio", 1.4)),
            Once,
            timer_million
        ),
        on_every_engine!(
            row(
                "timer_precision",
                Unit::Us,
                "sleep of 100 µs on an idle loop, 20,000 times: overshoot, 99th percentile"
            )
            .takes(5.0)
            .bar(Bar::OfLimit(1.3)),
            Once,
            timer_precision
        )
        .once("limit", timerfd_precision),
    ]
}
