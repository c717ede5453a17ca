//! The child's side: one workload, one engine, one process, one figure.
//!
//! A child warms up while it finds how many operations make a run of the wanted
//! length, then does one measured run and prints one line of JSON. That the next
//! engine starts in a fresh process keeps one engine's heap, threads and branch
//! history out of another's figure.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::sys;
use crate::workload::{Ctx, Pin, Run, Size, Workload};

/// What a child tells the runner.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The figure, in the row's unit.
    pub value: f64,
    /// CPU seconds of the measured part, for each operation, of the process and
    /// of all below it; `None` when they could not be told apart.
    pub cpu_s: Option<f64>,
}

/// Runs one engine's version and returns its figure.
///
/// # Panics
///
/// When a workload finds a wrong result, or is a script (those run elsewhere).
pub fn run(workload: &Workload, run: Run, size: Size) -> Sample {
    // Asked before anything is pinned: see `sys::cpus`.
    let _ = sys::cpus();
    if workload.pin == Pin::Same {
        sys::pin(0);
    }
    let mut ctx = Ctx {
        iters: workload.grain,
        workers: workload.workers,
        pin: workload.pin,
        size,
    };
    match run {
        Run::Once(once) => {
            let before = sys::tree_cpu();
            let value = once(&ctx);
            let cpu = sys::tree_cpu().saturating_sub(before);
            Sample {
                value,
                cpu_s: Some(cpu.as_secs_f64()),
            }
        }
        Run::PerOp(per_op) => {
            ctx.iters = calibrate(&ctx, workload.grain, per_op);
            let before = sys::tree_cpu();
            let elapsed = per_op(&ctx);
            let cpu = sys::tree_cpu().saturating_sub(before);
            Sample {
                value: workload.unit.per_op(elapsed, ctx.iters),
                cpu_s: Some(cpu.as_secs_f64() / ctx.iters as f64),
            }
        }
        Run::Python { .. } => panic!("a script is run by the runner itself"),
    }
}

/// Doubles the number of operations until a run lasts a quarter of the target,
/// then scales up. What runs until then is the warm-up, the same for everybody.
fn calibrate(ctx: &Ctx, grain: u64, per_op: fn(&Ctx) -> Duration) -> u64 {
    let target = ctx.size.target();
    let mut ctx = *ctx;
    let began = Instant::now();
    loop {
        let elapsed = per_op(&ctx);
        if elapsed * 4 >= target || began.elapsed() > target * 8 {
            let scale = target.as_secs_f64() / elapsed.as_secs_f64().max(1e-9);
            let iters = (ctx.iters as f64 * scale.clamp(0.5, 1e9)) as u64;
            return (iters / grain).max(1) * grain;
        }
        ctx.iters *= 2;
    }
}

/// Runs exactly `iters` operations, or a [`Run::Once`]'s work so many times, for
/// counting instructions from outside.
pub fn run_exactly(workload: &Workload, run: Run, iters: u64) {
    let ctx = Ctx {
        iters,
        workers: workload.workers,
        pin: workload.pin,
        size: Size::Smoke,
    };
    match run {
        Run::PerOp(per_op) => {
            per_op(&ctx);
        }
        Run::Once(once) => {
            once(&ctx);
        }
        Run::Python { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Group, Unit};

    #[test]
    fn calibration_keeps_to_the_grain_and_to_the_target() {
        let workload = Workload::new(Group::Loop, "x", Unit::Us, "sleeps").grain(10);
        // Pretends that an operation takes a microsecond.
        let run = Run::PerOp(|ctx| Duration::from_micros(ctx.iters));
        let sample = super::run(&workload, run, Size::Quick);
        assert!((sample.value - 1.0).abs() < 1e-6, "{}", sample.value);
        let ctx = Ctx {
            iters: 10,
            workers: 1,
            pin: Pin::Free,
            size: Size::Quick,
        };
        let iters = calibrate(&ctx, 10, |ctx| Duration::from_micros(ctx.iters));
        assert_eq!(iters % 10, 0);
        assert!((50_000..=70_000).contains(&iters), "{iters}");
    }
}
