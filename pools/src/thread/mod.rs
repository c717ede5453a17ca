//! A work-stealing pool: `spawn`, `join`, `scope`, parallel iterators.
//!
//! [`ThreadPool`] is the door; the free functions here use the pool that the
//! current thread works for, else the global one. `README.md` beside this file
//! tells how it works and in which order to read it.

pub mod activity;
pub mod attic;
pub mod blocking;
pub mod borrowed;
pub mod closing;
pub mod completion;
pub mod config;
pub mod context;
pub mod cpus;
pub mod deque_model;
pub mod dump;
pub mod fork;
pub mod fork_stack;
pub mod forked;
pub mod gate;
pub mod guests;
pub mod handle;
pub mod iter;
pub mod job;
pub mod lane;
pub mod lanes;
pub mod latch;
pub mod leapfrog;
pub mod many;
pub mod outstanding;
pub mod parker;
pub mod pile;
pub mod pool;
pub mod registry;
pub mod scope;
pub mod seat;
pub mod sharing;
pub mod sites;
pub mod sleep;
pub mod sleepers;
pub mod sort;
pub mod staff;
pub mod watchdog;
pub mod worker;

pub use blocking::blocking;
pub use completion::Outcome;
pub use dump::{Dump, Work, WorkerDump, WorkerState};
pub use handle::JobHandle;
pub use many::{AsCompleted, Map, MapOptions, as_completed, first_error, wait_all, wait_any};
pub use pool::{Builder, ShutdownReport, ThreadPool};
pub use scope::Scope;
pub use watchdog::Stall;

use std::panic::Location;

/// Parallel iterators' traits: `use threeply_pools::thread::prelude::*;`
pub mod prelude {
    pub use super::iter::collections::ParallelBridge;
    pub use super::iter::slice::{ParallelSlice, ParallelSliceMut};
    pub use super::iter::{
        FromParallelIterator, IndexedParallelIterator, IntoParallelIterator,
        IntoParallelRefIterator, IntoParallelRefMutIterator, ParallelExtend, ParallelIterator,
    };
}

/// [`ThreadPool::spawn`] on the current pool.
#[track_caller]
pub fn spawn<F, T>(work: F) -> JobHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let site = Location::caller();
    context::with(|seat| match seat {
        Some(seat) => seat.registry.spawn(site, work),
        None => ThreadPool::global().registry().spawn(site, work),
    })
}

/// [`ThreadPool::spawn_detached`] on the current pool.
#[track_caller]
pub fn spawn_detached(work: impl FnOnce() + Send + 'static) {
    let site = Location::caller();
    context::with(|seat| match seat {
        Some(seat) => seat.registry.spawn_detached(site, work),
        None => ThreadPool::global().registry().spawn_detached(site, work),
    });
}

/// [`ThreadPool::join`] on the current pool.
#[inline(always)]
pub fn join<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    context::with(|seat| match seat {
        Some(seat) => fork::join(seat, |_| a(), |_| b()),
        None => join_outside(a, b),
    })
}

/// [`join`] on a thread of no pool. Apart, since it brings a pool's start and a guest's
/// seat with it: within `join` they would have each fork save all registers, and leave it
/// to chance what else the compiler puts into its callers.
#[cold]
#[inline(never)]
fn join_outside<A, B, RA, RB>(a: A, b: B) -> (RA, RB)
where
    A: FnOnce() -> RA + Send,
    B: FnOnce() -> RB + Send,
    RA: Send,
    RB: Send,
{
    ThreadPool::global().join(a, b)
}

/// [`ThreadPool::scope`] on the current pool.
pub fn scope<'scope, F, R>(body: F) -> R
where
    F: FnOnce(&Scope<'scope>) -> R,
{
    context::with(|seat| match seat {
        Some(seat) => scope::run(seat, body),
        None => ThreadPool::global().scope(body),
    })
}

/// [`ThreadPool::broadcast`] on the current pool.
#[track_caller]
pub fn broadcast<F, R>(f: F) -> Vec<R>
where
    F: Fn(usize) -> R + Sync,
    R: Send,
{
    let site = Location::caller();
    context::with(|seat| match seat {
        Some(seat) => borrowed::broadcast(&seat.registry, site, f),
        None => borrowed::broadcast(ThreadPool::global().registry(), site, f),
    })
}

/// Threads of the current pool.
pub fn current_num_threads() -> usize {
    context::with(|seat| match seat {
        Some(seat) => seat.registry.config.threads,
        None => ThreadPool::global().num_threads(),
    })
}

/// The current thread's number, if it is a worker of some pool.
pub fn current_thread_index() -> Option<usize> {
    context::with(|seat| {
        seat.filter(|seat| seat.lane.is_worker)
            .map(|seat| seat.lane.index())
    })
}
