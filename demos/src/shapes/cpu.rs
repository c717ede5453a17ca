//! The article's first program: four sums of the numbers below `n`.
//!
//! One function does the work on every engine, so that only the engine differs.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use threeply_pools::process::ProcessPool;
use threeply_pools::thread::ThreadPool;
use threeply_runtime as runtime;

use crate::engine::Engine;
use crate::output::Output;
use crate::{Error, cli, limits};

/// Sums numbers on processes, threads, the event loop or one after the other.
#[derive(Debug, Parser)]
#[command(name = "cpu_bound", version)]
pub struct Arguments {
    /// Who does the sums
    #[arg(long, default_value = "processes")]
    engine: Engine,
    /// How many sums
    #[arg(long, default_value = "4", value_parser = cli::tasks, allow_negative_numbers = true)]
    tasks: u32,
    /// What each sum goes up to
    #[arg(long, default_value = "10000000", value_parser = cli::n, allow_negative_numbers = true)]
    n: u64,
}

/// `cpu_bound`'s main.
///
/// # Errors
/// When the engine fails or the output can't be written.
pub fn main(arguments: Arguments) -> Result<(), Error> {
    let Arguments { engine, tasks, n } = arguments;
    let mut out = Output::new();
    if engine == Engine::Loop {
        return on_loop_main(tasks, n, &mut out);
    }
    let started = Instant::now();
    let finished = |n| out.line(format_args!("Finished task with {n}"));
    match engine {
        Engine::Sequential | Engine::Limit => sequential(tasks, n, finished)?,
        Engine::Threads => on_threads(&threads(tasks)?, tasks, n, finished)?,
        Engine::Processes => on_processes(&processes(tasks)?, tasks, n, finished)?,
        Engine::Loop => unreachable!("it has a main of its own"),
    }
    took(engine, started, &mut out)
}

fn took(engine: Engine, started: Instant, out: &mut Output) -> Result<(), Error> {
    let name = engine.article_name();
    out.line(format_args!(
        "{name} took {:.2} seconds.",
        started.elapsed().as_secs_f64()
    ))
}

/// The sums on the event loop, where they don't belong, with a heartbeat beside
/// them that shows why; then the same with `unblock`.
fn on_loop_main(tasks: u32, n: u64, out: &mut Output) -> Result<(), Error> {
    let period = limits::HEARTBEAT;
    runtime::block_on(async {
        let started = Instant::now();
        let late = Heartbeat::start();
        on_loop(tasks, n, |n| {
            out.line(format_args!("Finished task with {n}"))
        })
        .await?;
        let late = late.stop().await;
        took(Engine::Loop, started, out)?;
        out.line(format_args!(
            "A heartbeat of {period:?} on the same loop came {late:.2?} late: sums leave nobody else a turn."
        ))?;
        out.line("")?;
        out.line("The same with each sum handed to `unblock`:")?;
        let started = Instant::now();
        let late = Heartbeat::start();
        on_loop_unblocked(tasks, n, |n| {
            out.line(format_args!("Finished task with {n}"))
        })
        .await?;
        let late = late.stop().await;
        took(Engine::Loop, started, out)?;
        out.line(format_args!(
            "The heartbeat came {late:.2?} late: the loop only waited for answers."
        ))
    })
}

/// The sum `0 + 1 + … + (n - 1)`, by adding.
///
/// `black_box` keeps the loop a loop: without it the compiler knows Gauss's
/// formula and the program would measure nothing. Never inlined, so that every
/// engine runs the same instructions.
#[inline(never)]
pub fn sum(n: u64) -> u64 {
    let _span = runtime::trace::span("sum");
    let mut total = 0;
    for i in 0..n {
        total += black_box(i);
    }
    total
}

/// Compares an engine's sum with Gauss's.
///
/// # Errors
/// [`Error::WrongSum`]: a result that is wrong must never be timed.
pub fn check(n: u64, got: u64) -> Result<(), Error> {
    let product = u128::from(n) * u128::from(n.saturating_sub(1));
    if u128::from(got) == product / 2 {
        Ok(())
    } else {
        Err(Error::WrongSum { n, got })
    }
}

/// One sum after the other on the calling thread.
///
/// # Errors
/// Those of `finished`, which is called after each sum.
pub fn sequential(
    tasks: u32,
    n: u64,
    mut finished: impl FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    for _ in 0..tasks {
        check(n, sum(n))?;
        finished(n)?;
    }
    Ok(())
}

/// As many workers as can run at once, and no more than there is work for.
fn workers(tasks: u32) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    cores.min(tasks as usize).max(1)
}

/// A thread pool for `tasks` sums.
///
/// # Errors
/// When its threads can't be started.
pub fn threads(tasks: u32) -> Result<ThreadPool, Error> {
    // Pinned, since the kernel tends to wake two sleepers on one processor, and to
    // notice only milliseconds later that the other is idle: half of this workload.
    Ok(ThreadPool::builder()
        .threads(workers(tasks))
        .pin(true)
        .build()?)
}

/// A process pool for `tasks` sums.
///
/// # Errors
/// When its processes can't be started.
pub fn processes(tasks: u32) -> Result<ProcessPool, Error> {
    Ok(ProcessPool::new(workers(tasks))?)
}

/// The sums as jobs of a thread pool.
///
/// # Errors
/// Those of `finished`; a wrong sum.
pub fn on_threads(
    pool: &ThreadPool,
    tasks: u32,
    n: u64,
    mut finished: impl FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let jobs: Vec<_> = (0..tasks).map(|_| pool.spawn(move || sum(n))).collect();
    for job in jobs {
        check(n, job.wait()?)?;
        finished(n)?;
    }
    Ok(())
}

/// The sums as jobs of a process pool: the function and `n` go over a pipe, the
/// sum comes back.
///
/// # Errors
/// Those of the pool and of `finished`; a wrong sum.
pub fn on_processes(
    pool: &ProcessPool,
    tasks: u32,
    n: u64,
    mut finished: impl FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let jobs = (0..tasks)
        .map(|_| pool.submit(sum, n))
        .collect::<Result<Vec<_>, _>>()?;
    for job in jobs {
        check(n, job.wait()?)?;
        finished(n)?;
    }
    Ok(())
}

/// The sums as tasks of the current event loop: one after the other, and
/// nothing else meanwhile.
///
/// # Errors
/// Those of `finished`; a wrong sum.
pub async fn on_loop(
    tasks: u32,
    n: u64,
    mut finished: impl FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let tasks: Vec<_> = (0..tasks)
        .map(|_| runtime::spawn(async move { sum(n) }))
        .collect();
    for task in tasks {
        check(n, task.await?)?;
        finished(n)?;
    }
    Ok(())
}

/// The sums on the loop's blocking pool: the loop is free, and waits.
///
/// # Errors
/// Those of `finished`; a wrong sum.
pub async fn on_loop_unblocked(
    tasks: u32,
    n: u64,
    mut finished: impl FnMut(u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let jobs: Vec<_> = (0..tasks)
        .map(|_| runtime::unblock(move || sum(n)))
        .collect();
    for job in jobs {
        check(
            n,
            job.await.map_err(|e| {
                Error::io("sum on the blocking pool")(std::io::Error::other(e.to_string()))
            })?,
        )?;
        finished(n)?;
    }
    Ok(())
}

/// A task that wants a turn every [`limits::HEARTBEAT`] and remembers how late
/// it got it at worst.
struct Heartbeat {
    worst: Rc<Cell<Duration>>,
    task: runtime::JoinHandle<()>,
}

impl Heartbeat {
    fn start() -> Heartbeat {
        let worst = Rc::new(Cell::new(Duration::ZERO));
        let seen = worst.clone();
        let task = runtime::spawn(async move {
            let mut due = Instant::now() + limits::HEARTBEAT;
            loop {
                runtime::time::sleep_until(due).await;
                seen.set(seen.get().max(due.elapsed()));
                due = Instant::now() + limits::HEARTBEAT;
            }
        });
        Heartbeat { worst, task }
    }

    /// Waits for the beat that is due by now, then stops.
    async fn stop(self) -> Duration {
        runtime::time::sleep(limits::HEARTBEAT).await;
        self.task.abort();
        let _ = self.task.await;
        self.worst.get()
    }
}

/// What two cores can give: two plain threads, each with half of the sums.
///
/// They are started and waiting at a barrier before the clock of a warm run
/// starts; a cold run counts their start. Returns the time taken.
///
/// # Errors
/// [`Error::WrongSum`].
pub fn limit(tasks: u32, n: u64, cold: bool) -> Result<Duration, Error> {
    let half = tasks / 2;
    let ready = Barrier::new(3);
    let mut started = Instant::now();
    let all = thread::scope(|scope| {
        let workers = [half, tasks - half].map(|share| {
            let ready = &ready;
            scope.spawn(move || {
                ready.wait();
                (0..share).try_for_each(|_| check(n, sum(n)))
            })
        });
        if !cold {
            // The threads exist; give both the time to reach the barrier.
            thread::sleep(Duration::from_millis(1));
            started = Instant::now();
        }
        ready.wait();
        workers.map(|worker| worker.join().expect("a sum does not panic"))
    });
    let taken = started.elapsed();
    all.into_iter().collect::<Result<(), Error>>()?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_the_sum() {
        for n in [0, 1, 2, 10, 1_000] {
            check(n, sum(n)).unwrap();
        }
        assert!(check(10, 46).is_err());
        let most = u128::from(crate::limits::MAX_N);
        let gauss =
            u64::try_from(most * (most - 1) / 2).expect("MAX_N is chosen so that its sum fits");
        check(crate::limits::MAX_N, gauss).unwrap();
        assert!(
            u64::try_from((most + 1) * most / 2).is_err(),
            "MAX_N could be larger"
        );
    }

    #[test]
    fn every_task_is_reported() {
        let mut seen = 0;
        sequential(3, 10, |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, 3);
        limit(5, 1_000, false).unwrap();
        let mut on_each = 0;
        let mut count = |_| {
            on_each += 1;
            Ok(())
        };
        on_threads(&threads(3).unwrap(), 3, 1_000, &mut count).unwrap();
        on_processes(&processes(3).unwrap(), 3, 1_000, &mut count).unwrap();
        runtime::block_on(async {
            on_loop(3, 1_000, &mut count).await.unwrap();
            on_loop_unblocked(3, 1_000, &mut count).await.unwrap();
        });
        assert_eq!(on_each, 12);
    }
}
