//! `cargo bench -p threeply-benches`: the micro-costs, for people who know criterion.
//!
//! These are the workloads of `cargo versus` that run operation by operation in
//! one process, not a second set. Criterion runs all engines in this process, one
//! after the other, so what one leaves behind (heap, threads, branch history) is
//! there for the next: the figures that we publish come from `versus`, which
//! starts a process for every run.
//!
//! A filter picks rows: `cargo bench -p threeply-benches -- spawn_join`.

use std::time::Duration;

use criterion::Criterion;
use threeply_benches::workload::{Ctx, Pin, Run, Size};
use threeply_benches::workloads;

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    for workload in workloads::all() {
        // Rows with two parties need a process and a place of their own.
        let alone = workload.pin == Pin::Free && workload.workers == 1;
        let mut group = criterion.benchmark_group(workload.name.as_str());
        for entry in &workload.entries {
            let Run::PerOp(per_op) = entry.run else {
                continue;
            };
            if !alone {
                continue;
            }
            let name = format!("{} {}", entry.engine, entry.variant);
            group.bench_function(name.trim_end(), |bencher| {
                bencher.iter_custom(|iters| {
                    let whole = iters.div_ceil(workload.grain) * workload.grain;
                    let ctx = Ctx {
                        iters: whole,
                        workers: workload.workers,
                        pin: workload.pin,
                        size: Size::Quick,
                    };
                    per_op(&ctx).mul_f64(iters as f64 / whole as f64)
                });
            });
        }
        group.finish();
    }
    criterion.final_summary();
}
