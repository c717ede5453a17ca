//! Who sees whose memory: one counter, four units, on each engine.
//!
//! The article lists it as pro and con: processes share nothing (safe, but
//! results must be sent), threads share everything (handy, but they race), tasks
//! of one loop share everything and take turns only where they await.

use std::cell::Cell;
use std::hint;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser;
use threeply_pools::process::ProcessPool;
use threeply_pools::thread::ThreadPool;
use threeply_runtime as runtime;

use crate::engine::Engine;
use crate::output::Output;
use crate::{Error, cli, limits};

/// Counts on each engine and shows whose increments the others see.
#[derive(Debug, Parser)]
#[command(name = "memory_model", version)]
pub struct Arguments {
    /// Processes, threads and tasks that count
    #[arg(long, default_value = "4", value_parser = cli::units, allow_negative_numbers = true)]
    units: u32,
    /// Increments by each
    #[arg(long, default_value = "100000", value_parser = cli::increments, allow_negative_numbers = true)]
    increments: u64,
}

/// What the counters said.
#[derive(Debug, Clone, Copy)]
pub struct Findings {
    /// How many increments were made on each engine.
    pub expected: u64,
    /// The parent's counter after processes have counted.
    pub processes: u64,
    /// What the processes themselves counted, summed.
    pub processes_own: u64,
    /// Threads, load and store apart: the race.
    pub threads_racing: u64,
    /// Threads with a lock.
    pub threads_locked: u64,
    /// Tasks, no lock, no await within an increment.
    pub tasks: u64,
    /// Tasks that await between reading and writing.
    pub tasks_awaiting: u64,
}

/// `memory_model`'s main.
///
/// # Errors
/// When an engine can't be started or the output can't be written.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let Arguments { units, increments } = arguments;
    let found = measure(units, increments)?;
    let expected = found.expected;
    let mut out = Output::new();
    out.line(format_args!(
        "{units} x {increments} increments of one counter: {expected} if none is lost."
    ))?;
    out.line("")?;
    out.line(format_args!(
        "Processes: the parent's counter is {}. Each process counted in a memory of its own ({} in all) \
         and had to send its result.",
        found.processes, found.processes_own
    ))?;
    let lost = expected - found.threads_racing;
    if lost > 0 {
        out.line(format_args!(
            "Threads, reading and writing apart: {}. {lost} updates were lost: a race condition.",
            found.threads_racing
        ))?;
    } else {
        out.line(format_args!(
            "Threads, reading and writing apart: {}. None was lost in {} tries; on a single core a race is rare, \
             and still a race.",
            found.threads_racing,
            limits::RACE_TRIES
        ))?;
    }
    out.line(format_args!(
        "Threads with a Mutex: {}. {}",
        found.threads_locked,
        verdict(found.threads_locked, expected)
    ))?;
    out.line(format_args!(
        "Tasks on one event loop, no lock: {}. {} Nobody runs between two awaits.",
        found.tasks,
        verdict(found.tasks, expected)
    ))?;
    out.line(format_args!(
        "Tasks that await between reading and writing: {}. {} updates were lost: without a second thread, too.",
        found.tasks_awaiting,
        expected - found.tasks_awaiting
    ))
}

fn verdict(got: u64, expected: u64) -> &'static str {
    if got == expected {
        "Exact."
    } else {
        "Wrong: please report it."
    }
}

/// Whether units of an engine saw each other's increments: `None` for an engine
/// that has no units.
///
/// # Errors
/// When the engine can't be started.
pub fn shares_memory(engine: Engine, increments: u64) -> Result<Option<bool>, Error> {
    let counted = match engine {
        Engine::Processes => on_processes(2, increments)?.0,
        Engine::Threads => on_threads_locked(2, increments)?,
        Engine::Loop => on_tasks(2, increments, false)?,
        Engine::Sequential | Engine::Limit => return Ok(None),
    };
    Ok(Some(counted > 0))
}

/// Counts on every engine.
///
/// # Errors
/// When an engine can't be started.
pub fn measure(units: u32, increments: u64) -> Result<Findings, Error> {
    let (processes, processes_own) = on_processes(units, increments)?;
    let mut threads_racing = 0;
    // A race need not show itself at once.
    for _ in 0..limits::RACE_TRIES {
        threads_racing = on_threads_racing(units, increments)?;
        if threads_racing < u64::from(units) * increments {
            break;
        }
    }
    Ok(Findings {
        expected: u64::from(units) * increments,
        processes,
        processes_own,
        threads_racing,
        threads_locked: on_threads_locked(units, increments)?,
        tasks: on_tasks(units, increments, false)?,
        tasks_awaiting: on_tasks(units, increments, true)?,
    })
}

/// The counter that processes are asked to count with: each has its own.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// Runs in a worker process: counts, returns what its counter gained.
fn count_here(increments: u64) -> u64 {
    let before = COUNTER.load(Ordering::Relaxed);
    for _ in 0..increments {
        COUNTER.fetch_add(1, Ordering::Relaxed);
    }
    COUNTER.load(Ordering::Relaxed) - before
}

fn on_processes(units: u32, increments: u64) -> Result<(u64, u64), Error> {
    let before = COUNTER.load(Ordering::Relaxed);
    let pool = ProcessPool::new(units as usize)?;
    let jobs = (0..units)
        .map(|_| pool.submit(count_here, increments))
        .collect::<Result<Vec<_>, _>>()?;
    let mut own = 0;
    for job in jobs {
        own += job.wait()?;
    }
    Ok((COUNTER.load(Ordering::Relaxed) - before, own))
}

/// Runs `count` on `units` threads that start together.
fn on_threads(units: u32, count: impl Fn() + Send + Sync + 'static) -> Result<(), Error> {
    let pool = ThreadPool::new(units as usize)?;
    let count = Arc::new(count);
    let arrived = Arc::new(AtomicUsize::new(0));
    let jobs: Vec<_> = (0..units)
        .map(|_| {
            let (count, arrived) = (count.clone(), arrived.clone());
            pool.spawn(move || {
                // Spin rather than sleep until all are here: the wake-up of a
                // sleeper takes longer than all of the counting.
                arrived.fetch_add(1, Ordering::Relaxed);
                while arrived.load(Ordering::Relaxed) < units as usize {
                    std::thread::yield_now();
                }
                count();
            })
        })
        .collect();
    jobs.into_iter()
        .try_for_each(|job| job.wait().map_err(Error::from))
}

fn on_threads_racing(units: u32, increments: u64) -> Result<u64, Error> {
    let counter = Arc::new(AtomicU64::new(0));
    let shared = counter.clone();
    on_threads(units, move || {
        for _ in 0..increments {
            let read = shared.load(Ordering::Relaxed);
            hint::black_box(read);
            shared.store(read + 1, Ordering::Relaxed);
        }
    })?;
    Ok(counter.load(Ordering::Relaxed))
}

fn on_threads_locked(units: u32, increments: u64) -> Result<u64, Error> {
    let counter = Arc::new(Mutex::new(0));
    let shared = counter.clone();
    on_threads(units, move || {
        for _ in 0..increments {
            *shared.lock().expect("counting does not panic") += 1;
        }
    })?;
    let counted = *counter.lock().expect("counting does not panic");
    Ok(counted)
}

fn on_tasks(units: u32, increments: u64, awaits_within: bool) -> Result<u64, Error> {
    let counter = Rc::new(Cell::new(0));
    let shared = counter.clone();
    runtime::block_on(async move {
        let tasks: Vec<_> = (0..units)
            .map(|_| {
                let counter = shared.clone();
                runtime::spawn(async move {
                    for _ in 0..increments {
                        let read: u64 = counter.get();
                        if awaits_within {
                            runtime::yield_now().await;
                        }
                        counter.set(read + 1);
                        if !awaits_within {
                            runtime::yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await?;
        }
        Ok::<(), Error>(())
    })?;
    Ok(counter.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_engine_shares_what_it_says() {
        let found = measure(3, 2_000).unwrap();
        assert_eq!(found.processes, 0);
        assert_eq!(found.processes_own, found.expected);
        assert!(found.threads_racing <= found.expected);
        assert_eq!(found.threads_locked, found.expected);
        assert_eq!(found.tasks, found.expected);
        assert_eq!(
            found.tasks_awaiting,
            found.expected / 3,
            "they read in step and overwrite each other"
        );
    }
}
