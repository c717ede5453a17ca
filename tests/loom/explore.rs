//! The one way in which a model is explored: bounded by preemptions, counted.
//!
//! Loom's other bounds (time, number of permutations) end a run early and call
//! it passed; they are never used here. A bound on preemptions is different: it
//! explores *every* schedule with at most that many forced switches, and most
//! known bugs need two.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use threeply_runtime::switch::recorded;

use crate::lanes;

/// Explores `model` with at most `preemptions` forced switches per schedule and
/// prints how many interleavings that were.
///
/// The line `interleavings: N` is what `cargo loom` shows beside the model; for
/// a twin it says how many were run until loom caught it. The interleaving that fails
/// is printed as [`lanes`].
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let count = Count(Arc::new(AtomicU64::new(0)));
    let counter = count.0.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_duration = None;
    builder.max_permutations = None;
    builder.check(move || {
        // A std atomic, invisible to loom: loom runs all threads of a model on
        // one OS thread, so this adds no schedule.
        counter.fetch_add(1, Relaxed);
        recorded::begin();
        model();
    });
}

/// Prints the count also when the model panics, and then how it came to that.
struct Count(Arc<AtomicU64>);

impl Drop for Count {
    fn drop(&mut self) {
        println!("interleavings: {}", self.0.load(Relaxed));
        if std::thread::panicking() {
            print!("{}", lanes::page(&recorded::steps()));
        }
    }
}
