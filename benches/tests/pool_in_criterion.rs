//! A process pool in a program whose `main` is criterion's: its workers are this very
//! program once more, and must find their way before criterion sees any argument.

use criterion::{Criterion, criterion_group, criterion_main};
use threeply_pools::process::{ProcessPool, StartMethod};

fn calls(criterion: &mut Criterion) {
    for method in [StartMethod::Exec, StartMethod::ForkServer] {
        let pool = ProcessPool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .expect("a process pool");
        criterion.bench_function(&format!("call, {method:?}"), |bencher| {
            bencher.iter(|| {
                let answer = pool.call(|n: u64| n + 1, 41).expect("there is room");
                assert_eq!(answer.expect("the job runs"), 42);
            });
        });
        let report = pool.shutdown(std::time::Duration::MAX);
        assert!(report.completed > 0, "criterion ran nothing");
        assert_eq!(report.workers_started, 2, "{report:?}");
    }
}

criterion_group!(benches, calls);

// `cargo test` passes no `--bench`, so each runs once, unmeasured.
criterion_main!(benches);
