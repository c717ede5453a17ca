//! Every pool of group `threads`, in the words that the workloads use.
//!
//! To add one that has joins, scopes and spawns: implement [`Pool`], and add the
//! type to `on_every_pool`. chili has joins only and stands in `forks.rs`.

use std::sync::mpsc;

use threeply_pools::thread::{self, ThreadPool};

/// A pool of threads.
pub trait Pool: Send + Sync + Sized + 'static {
    /// As it stands in the output.
    const NAME: &'static str;
    /// A pool of so many workers, with stacks of 64 MiB (unbalanced trees are
    /// walked recursively).
    fn new(workers: usize) -> Self;
    /// Runs `f` on a worker while the caller sleeps.
    fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R;
    /// Runs `f` in the pool's context in the cheapest way that it offers to
    /// somebody from outside; the caller may take part.
    fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R;
    /// Runs both, maybe at once, on the pool of the calling worker.
    fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send)
    -> (A, B);
    /// Starts a job from outside and forgets it.
    fn spawn(&self, job: impl FnOnce() + Send + 'static);
    /// Starts a job from inside a job and forgets it.
    fn spawn_inside(job: impl FnOnce() + Send + 'static);
    /// Starts a job from outside and sleeps until it has ended.
    fn spawn_and_wait<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R;
    /// Starts `count` jobs within a scope and waits for them; called from outside.
    fn scope(&self, count: usize, job: impl Fn(usize) + Send + Sync);
    /// The same, called on a worker.
    fn scope_inside(count: usize, job: impl Fn(usize) + Send + Sync);
}

/// Adds a generic workload to a row, once for each pool.
macro_rules! on_every_pool {
    ($row:expr, $run:ident, $function:ident) => {{
        use $crate::workload::Run::$run;
        use $crate::workloads::threads::engines::*;
        $row.variant(Threeply::NAME, "", $run($function::<Threeply>))
            .variant(Rayon::NAME, "", $run($function::<Rayon>))
    }};
}
pub(crate) use on_every_pool;

/// Ours.
#[derive(Debug)]
pub struct Threeply(ThreadPool);

impl Pool for Threeply {
    const NAME: &'static str = "threeply";

    fn new(workers: usize) -> Self {
        let builder = ThreadPool::builder().threads(workers).stack_size(64 << 20);
        Self(builder.build().expect("a pool of threads"))
    }
    fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.0.install(f)
    }
    fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.0.run(f)
    }
    fn join<A: Send, B: Send>(
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        thread::join(a, b)
    }
    fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.spawn_detached(job);
    }
    fn spawn_inside(job: impl FnOnce() + Send + 'static) {
        thread::spawn_detached(job);
    }
    fn spawn_and_wait<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        self.0.spawn(job).wait().expect("the job ends")
    }
    fn scope(&self, count: usize, job: impl Fn(usize) + Send + Sync) {
        self.0.scope(|scope| {
            for i in 0..count {
                let job = &job;
                scope.spawn(move |_| job(i));
            }
        });
    }
    fn scope_inside(count: usize, job: impl Fn(usize) + Send + Sync) {
        thread::scope(|scope| {
            for i in 0..count {
                let job = &job;
                scope.spawn(move |_| job(i));
            }
        });
    }
}

/// rayon.
#[derive(Debug)]
pub struct Rayon(rayon::ThreadPool);

impl Pool for Rayon {
    const NAME: &'static str = "rayon";

    fn new(workers: usize) -> Self {
        let builder = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .stack_size(64 << 20);
        Self(builder.build().expect("a rayon pool"))
    }
    fn install<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.0.install(f)
    }
    fn run<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        self.0.in_place_scope(|_| f())
    }
    fn join<A: Send, B: Send>(
        a: impl FnOnce() -> A + Send,
        b: impl FnOnce() -> B + Send,
    ) -> (A, B) {
        rayon::join(a, b)
    }
    fn spawn(&self, job: impl FnOnce() + Send + 'static) {
        self.0.spawn(job);
    }
    fn spawn_inside(job: impl FnOnce() + Send + 'static) {
        rayon::spawn(job);
    }
    fn spawn_and_wait<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        // rayon has no handle; a channel of one is what its users take.
        let (sender, receiver) = mpsc::sync_channel(1);
        self.0
            .spawn(move || sender.send(job()).expect("the receiver lives"));
        receiver.recv().expect("the sender sends")
    }
    fn scope(&self, count: usize, job: impl Fn(usize) + Send + Sync) {
        self.0.in_place_scope(|scope| {
            for i in 0..count {
                let job = &job;
                scope.spawn(move |_| job(i));
            }
        });
    }
    fn scope_inside(count: usize, job: impl Fn(usize) + Send + Sync) {
        rayon::scope(|scope| {
            for i in 0..count {
                let job = &job;
                scope.spawn(move |_| job(i));
            }
        });
    }
}
