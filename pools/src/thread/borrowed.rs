//! `install` and `broadcast`: jobs that borrow, because their caller waits.
//!
//! Before this: `job.rs`, `handle.rs`.
#![allow(unsafe_code)] // Jobs outlive the compiler's idea of their borrows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::error::JobError;
use crate::thread::activity;
use crate::thread::context;
use crate::thread::dump::Work;
use crate::thread::handle::{JobHandle, refuse_on_event_loop};
use crate::thread::job::spawned;
use crate::thread::registry::Registry;
use std::panic::Location;

/// The current thread's lane, if it is a worker of this pool.
fn current_worker(registry: &Arc<Registry>) -> Option<usize> {
    context::with(|seat| {
        seat.filter(|seat| seat.lane.is_worker && Arc::ptr_eq(&seat.registry, registry))
            .map(|seat| seat.lane.index())
    })
}

/// See [`ThreadPool::install`](crate::thread::ThreadPool::install).
pub fn install<F, R>(registry: &Arc<Registry>, site: &'static Location<'static>, f: F) -> R
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    if current_worker(registry).is_some() {
        return f();
    }
    refuse_on_event_loop();
    let publish = registry.config.publish_running;
    let f = || {
        if publish {
            activity::during(Work::Job { site }, f)
        } else {
            f()
        }
    };
    // SAFETY: the handle is waited for right here, and nothing between can panic:
    // what `f` borrows outlives the job.
    let job = unsafe { spawned(f) };
    resume(registry.submit(site, job).wait_elsewhere())
}

/// See [`ThreadPool::broadcast`](crate::thread::ThreadPool::broadcast).
pub fn broadcast<F, R>(registry: &Arc<Registry>, site: &'static Location<'static>, f: F) -> Vec<R>
where
    F: Fn(usize) -> R + Sync,
    R: Send,
{
    refuse_on_event_loop();
    if let Err(error) = registry.check_open() {
        panic!("{error}");
    }
    let _ = registry.start();
    let me = current_worker(registry);
    let mut handles = Vec::new();
    let f = &f;
    let pool = Arc::as_ptr(registry).addr();
    let publish = registry.config.publish_running;
    registry.post_to_all(|index| {
        if Some(index) == me {
            return None;
        }
        let f = move || {
            if publish {
                activity::during(Work::Job { site }, || f(index))
            } else {
                f(index)
            }
        };
        // SAFETY: waited for below, and nothing between can panic.
        let (job, handle) = unsafe { spawned(f) };
        handles.push((index, JobHandle::new(handle, site, pool)));
        Some(job)
    });
    let mine = me.map(|index| {
        let result = catch_unwind(AssertUnwindSafe(|| f(index)));
        (index, result.map_err(JobError::panicked))
    });
    let mut results: Vec<_> = handles
        .into_iter()
        .map(|(index, handle)| (index, handle.wait_elsewhere()))
        .chain(mine)
        .collect();
    results.sort_by_key(|(index, _)| *index);
    results
        .into_iter()
        .map(|(_, result)| resume(result))
        .collect()
}

/// The value, or the job's panic as ours.
pub(crate) fn resume<T>(result: Result<T, JobError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => match error.into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("{error}"),
        },
    }
}
