//! Jobs that misbehave in every way at once, in a process that runs out of descriptors
//! now and then and whose workers' stdout is a full disk: each job ends as its number
//! says, each runs exactly once, and nothing is left behind.
//!
//! Short by default; `THREEPLY_CHAOS=long` runs 100,000 jobs.

use crate::attack::ALL;
use crate::{builder, end, kill_myself, new_pool, until, watch};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use threeply_pools::process::{Cause, JobError, Output};

static LEDGER: OnceLock<String> = OnceLock::new();

fn name_ledger(path: String) {
    LEDGER.set(path).unwrap();
}

/// Leaves a mark for each time that it runs, then does what its number says.
fn run(number: u32) -> Vec<u32> {
    // Opened anew: the job before may have closed everything.
    let path = LEDGER.get().expect("the initializer ran");
    let mut ledger = File::options().append(true).open(path).unwrap();
    ledger.write_all(&number.to_le_bytes()).unwrap();
    drop(ledger); // An owner mustn't see its descriptor closed by others.
    match number % 64 {
        7 => kill_myself(),
        13 => ALL[(number / 64) as usize % ALL.len()].run(),
        19 => {
            for fd in 0..64 {
                let _ = nix::unistd::close(fd);
            }
        }
        23 => std::process::exit(5),
        29 => {
            let full = write!(std::io::stdout(), "x").and_then(|()| std::io::stdout().flush());
            assert!(full.is_err());
            eprintln!("{number}");
        }
        31 => {
            let me = nix::unistd::Pid::this();
            nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGSTOP).unwrap();
            loop {
                std::thread::park();
            }
        }
        37 => return vec![number; 25_000],
        41 => panic!("{number}"),
        _ => {}
    }
    vec![number]
}

/// Whether this is how the job with this number must end.
fn is_right(number: u32, outcome: &Result<Vec<u32>, JobError>) -> bool {
    let cause = |outcome: &Result<_, JobError>| match outcome {
        Err(JobError::Died(death)) => Some(death.cause.clone()),
        _ => None,
    };
    match number % 64 {
        7 => matches!(cause(outcome), Some(Cause::Signal { signal: 9, .. })),
        13 => cause(outcome) == Some(Cause::Garbage),
        23 => cause(outcome) == Some(Cause::Exited(5)),
        31 => matches!(outcome, Err(JobError::TimedOut { .. })),
        37 => outcome
            .as_ref()
            .is_ok_and(|value| *value == [number; 25_000]),
        41 => {
            matches!(outcome, Err(JobError::Panicked(report)) if report.message == number.to_string())
        }
        _ => outcome.as_ref().is_ok_and(|value| *value == [number]),
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Ends the thread that lets descriptors run out, if the test fails, too.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Lets descriptors run out again and again, each time for a moment.
fn run_out_of_descriptors(stop: &AtomicBool) {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    while !stop.load(Ordering::Relaxed) {
        // Lower than what is open: nothing can be opened.
        setrlimit(Resource::RLIMIT_NOFILE, 10, hard).unwrap();
        std::thread::sleep(Duration::from_millis(3));
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        std::thread::sleep(Duration::from_millis(40));
    }
}

fn mayhem((path, jobs): (String, u32)) {
    let _dog = watch().over(&path).start();
    // What is opened once for the whole process is opened before. A thread of that pool
    // closes what it had when it ends, which may be after the pool's end.
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let alone = threads();
    end(new_pool(1));
    until(|| threads() == alone);
    let before = descriptors();
    let said: Arc<Mutex<HashMap<String, u32>>> = Arc::default();
    let hears = Arc::clone(&said);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let pool = builder()
        .workers(3)
        .initializer(name_ledger, path.clone())
        .stdout(Output::file(full))
        .stderr(Output::lines(move |line| {
            let name = line.job.and_then(|job| job.name()).unwrap_or("nobody");
            if line.text == name {
                *hears.lock().unwrap().entry(name.to_owned()).or_default() += 1;
            }
        }))
        .build()
        .unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = Stop(&stop);
        scope.spawn(|| run_out_of_descriptors(&stop));
        let submit = |number: u32| {
            let options = match number % 64 {
                31 => pool.options().limit(Duration::from_millis(50)),
                // Alone in its worker, which can't go on after it.
                19 => pool.options().limit(Duration::from_secs(30)),
                29 => pool.options().name(number.to_string()),
                _ => pool.options(),
            };
            options.submit(run, number).unwrap()
        };
        let handles: Vec<_> = (0..jobs).map(submit).collect();
        for (number, handle) in (0..).zip(handles) {
            let outcome = handle.wait();
            assert!(is_right(number, &outcome), "job {number}: {outcome:?}");
        }
    });
    end(pool);
    let marks = std::fs::read(&path).unwrap();
    let mut runs = vec![0; jobs as usize];
    for mark in marks.chunks_exact(4) {
        runs[u32::from_le_bytes(mark.try_into().unwrap()) as usize] += 1;
    }
    let is_wrong = |(number, times): (u32, u32)| match number % 64 {
        // On a busy machine its time may be over before it comes to leaving a mark.
        31 => times > 1,
        _ => times != 1,
    };
    let wrong = (0..).zip(runs).find(|&run| is_wrong(run));
    assert_eq!(wrong, None, "a job that didn't run exactly once");
    let said = said.lock().unwrap();
    let talkers = (0..jobs).filter(|number| number % 64 == 29);
    assert!(
        talkers
            .clone()
            .all(|n| said.get(&n.to_string()) == Some(&1))
    );
    assert_eq!(said.len(), talkers.count());
    until(|| descriptors() == before); // Threads that close theirs end soon.
}

#[test]
fn every_job_ends_as_it_must_and_runs_once_whatever_the_others_do() {
    let jobs = if crate::long() { 100_000 } else { 1_000 };
    let ledger = tempfile::NamedTempFile::new().unwrap();
    // What hangs there is told from there first.
    let watch = watch().over(ledger.path());
    let _dog = watch.patience(Duration::from_secs(120)).start();
    let path = ledger.path().to_str().unwrap().to_owned();
    // In a process of its own, whose descriptors may run out.
    let pool = new_pool(1);
    if let Err(error) = pool.submit(mayhem, (path, jobs)).unwrap().wait() {
        panic!("{error}");
    }
    end(pool);
}
