//! What one unit of concurrency costs: a process, a thread, a task.
//!
//! * **Start**: from asking the engine for one until its first, empty job is
//!   done, so that a unit that is "started" but not yet there can't look cheap.
//! * **Memory**: the growth of anonymous memory, divided, for threads and tasks;
//!   a worker's private pages for processes. Many at once, all idle.
//! * **Switch**: two of a kind that take turns on one core, by what they have
//!   for it: processes hand a byte over a pipe, threads unpark each other, tasks
//!   yield. The system calls that this takes are part of the figure.
//! * **Shared memory**: what [`crate::shapes::memory`] finds when they count.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, Thread};
use std::time::Instant;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use threeply_pools::process::ProcessPool;
use threeply_pools::thread::ThreadPool;
use threeply_runtime as runtime;

use super::{stats, usage};
use crate::engine::Engine;
use crate::shapes::memory;
use crate::{Error, limits, roles};

/// The costs of one process, thread or task. `None` is what can't be measured.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Unit {
    /// Nanoseconds from asking for one until its first, empty job is done.
    pub start_ns: Option<f64>,
    /// Bytes of private memory of an idle one.
    pub memory_bytes: Option<f64>,
    /// Nanoseconds to hand over from one to another on the same core.
    pub switch_ns: Option<f64>,
    /// Whether what one writes to a variable the others see.
    pub shares_memory: Option<bool>,
}

/// Measures the unit of an engine.
///
/// # Errors
/// When the engine can't be started.
pub fn measure(engine: Engine) -> Result<Unit, Error> {
    // Memory first, while the heap is small and untouched: later, what is
    // measured would fit into what was freed.
    let (memory_bytes, start_ns, switch_ns) = match engine {
        Engine::Processes => (process_memory()?, process_start()?, process_switch()?),
        Engine::Threads => (thread_memory()?, thread_start()?, thread_switch()?),
        Engine::Loop => (task_memory()?, task_start()?, task_switch()?),
        Engine::Sequential | Engine::Limit => (None, None, None),
    };
    let shares_memory = memory::shares_memory(engine, limits::UNIT_INCREMENTS)?;
    Ok(Unit {
        start_ns,
        memory_bytes,
        switch_ns,
        shares_memory,
    })
}

/// The median of timed rounds, in nanoseconds.
fn median_ns(
    rounds: u32,
    mut round: impl FnMut() -> Result<f64, Error>,
) -> Result<Option<f64>, Error> {
    let samples = (0..rounds)
        .map(|_| round())
        .collect::<Result<Vec<f64>, Error>>()?;
    Ok(stats::median(samples))
}

fn nothing(_: ()) {}

fn process_start() -> Result<Option<f64>, Error> {
    median_ns(limits::UNIT_ROUNDS, || {
        let started = Instant::now();
        let pool = ProcessPool::new(1)?;
        pool.submit(nothing, ())?.wait()?;
        Ok(started.elapsed().as_nanos() as f64)
    })
}

fn process_memory() -> Result<Option<f64>, Error> {
    let units = limits::UNIT_PROCESSES;
    let pool = ProcessPool::new(units)?;
    let jobs = (0..units)
        .map(|_| pool.submit(nothing, ()))
        .collect::<Result<Vec<_>, _>>()?;
    jobs.into_iter().try_for_each(|job| job.wait())?;
    let workers = usage::descendants(std::process::id()).unwrap_or_default();
    let each = workers
        .iter()
        .filter_map(|pid| usage::private_memory_of(*pid))
        .map(|bytes| bytes as f64);
    Ok(stats::median(each))
}

/// The name of the part that sends every byte back; see [`crate::roles`].
pub const ECHO_PART: &str = "echo";

/// Plays the part: sends every byte back until stdin ends.
///
/// # Errors
/// When the pipe breaks.
pub fn play_echo() -> Result<(), Error> {
    echo(std::io::stdin(), std::io::stdout()).map_err(Error::io("send bytes back"))
}

fn echo(mut from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut byte = [0];
    while from.read(&mut byte)? > 0 {
        to.write_all(&byte)?;
        to.flush()?;
    }
    Ok(())
}

/// Nanoseconds for one of the two hand-overs of a byte's way there and back.
fn hand_over(to: &mut impl Write, from: &mut impl Read) -> Result<Option<f64>, Error> {
    let turns = limits::UNIT_SWITCHES;
    median_ns(limits::UNIT_ROUNDS, || {
        let started = Instant::now();
        let mut byte = [7];
        for _ in 0..turns {
            to.write_all(&byte)
                .and_then(|()| from.read_exact(&mut byte))
                .map_err(Error::io("hand a byte over"))?;
        }
        Ok(started.elapsed().as_nanos() as f64 / f64::from(2 * turns))
    })
}

fn process_switch() -> Result<Option<f64>, Error> {
    let mut child = Ended(
        roles::command(ECHO_PART, "")
            .spawn()
            .map_err(Error::io("start a process that echoes"))?,
    );
    let (Some(mut to), Some(mut from)) = (child.0.stdin.take(), child.0.stdout.take()) else {
        return Ok(None);
    };
    on_one_core(|core| {
        let pid = Pid::from_raw(child.0.id() as i32);
        if sched_setaffinity(pid, core).is_err() {
            return Ok(None);
        }
        hand_over(&mut to, &mut from)
    })
}

/// A child that is ended and waited for when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `work` with this thread kept on one core; threads that it starts stay
/// there too. `None` where that isn't allowed.
fn on_one_core(
    work: impl FnOnce(&CpuSet) -> Result<Option<f64>, Error>,
) -> Result<Option<f64>, Error> {
    let this = Pid::from_raw(0);
    let Ok(all) = sched_getaffinity(this) else {
        return Ok(None);
    };
    let Some(core) = (0..CpuSet::count()).find(|core| all.is_set(*core).unwrap_or(false)) else {
        return Ok(None);
    };
    let mut one = CpuSet::new();
    if one.set(core).is_err() || sched_setaffinity(this, &one).is_err() {
        return Ok(None);
    }
    let measured = work(&one);
    let _ = sched_setaffinity(this, &all);
    measured
}

fn thread_start() -> Result<Option<f64>, Error> {
    median_ns(limits::UNIT_ROUNDS, || {
        let started = Instant::now();
        let pool = ThreadPool::new(1)?;
        pool.spawn(|| ()).wait()?;
        Ok(started.elapsed().as_nanos() as f64)
    })
}

fn thread_memory() -> Result<Option<f64>, Error> {
    let units = limits::UNIT_THREADS;
    let before = usage::anonymous_memory();
    let pool = ThreadPool::new(units)?;
    pool.broadcast(|_| ());
    let after = usage::anonymous_memory();
    Ok(after
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before) as f64 / units as f64))
}

fn thread_switch() -> Result<Option<f64>, Error> {
    let turns = limits::UNIT_SWITCHES;
    on_one_core(|_| {
        // Whose turn it is: even ours, odd the other thread's. Relaxed: what a
        // thread sees after `park` is what the other wrote before `unpark`.
        let turn = AtomicU32::new(0);
        let last = 2 * turns * limits::UNIT_ROUNDS;
        let pass = |mine: u32, other: &Thread| {
            while turn.load(Ordering::Relaxed) % 2 != mine {
                thread::park();
            }
            let now = turn.fetch_add(1, Ordering::Relaxed) + 1;
            other.unpark();
            now
        };
        thread::scope(|scope| {
            let ours = thread::current();
            let pass = &pass;
            let other = scope.spawn(move || while pass(1, &ours) < last {});
            let other = other.thread();
            median_ns(limits::UNIT_ROUNDS, || {
                let started = Instant::now();
                for _ in 0..turns {
                    pass(0, other);
                }
                Ok(started.elapsed().as_nanos() as f64 / f64::from(2 * turns))
            })
        })
    })
}

fn task_start() -> Result<Option<f64>, Error> {
    let tasks = limits::UNIT_TASKS;
    runtime::block_on(async {
        let mut samples = Vec::new();
        for _ in 0..limits::UNIT_ROUNDS {
            let started = Instant::now();
            for _ in 0..tasks {
                runtime::spawn(async {}).await?;
            }
            samples.push(started.elapsed().as_nanos() as f64 / tasks as f64);
        }
        Ok(stats::median(samples))
    })
}

fn task_memory() -> Result<Option<f64>, Error> {
    let tasks = limits::UNIT_TASKS;
    runtime::block_on(async {
        let before = usage::anonymous_memory();
        let mut handles = Vec::with_capacity(tasks);
        handles.extend((0..tasks).map(|_| runtime::spawn(std::future::pending::<()>())));
        // They have all had their turn when we have ours again.
        runtime::yield_now().await;
        let after = usage::anonymous_memory();
        handles.iter().for_each(|handle| handle.abort());
        Ok(after
            .zip(before)
            .map(|(after, before)| after.saturating_sub(before) as f64 / tasks as f64))
    })
}

fn task_switch() -> Result<Option<f64>, Error> {
    let turns = limits::UNIT_TASKS;
    runtime::block_on(async {
        let mut samples = Vec::new();
        for _ in 0..limits::UNIT_ROUNDS {
            let started = Instant::now();
            let pair = [(); 2].map(|()| {
                runtime::spawn(async move {
                    for _ in 0..turns {
                        runtime::yield_now().await;
                    }
                })
            });
            for task in pair {
                task.await?;
            }
            samples.push(started.elapsed().as_nanos() as f64 / (2 * turns) as f64);
        }
        Ok(stats::median(samples))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_and_tasks_can_be_measured() {
        for engine in [Engine::Threads, Engine::Loop] {
            let unit = measure(engine).unwrap();
            assert_eq!(unit.shares_memory, Some(true));
            assert!(unit.start_ns.is_some_and(|ns| ns > 0.0));
        }
    }
}
