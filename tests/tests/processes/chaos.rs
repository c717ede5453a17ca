//! Workers are killed at random moments while jobs run: exactly the hit jobs
//! fail, none runs twice, none is lost.
//!
//! Short by default; `THREEPLY_CHAOS=long` runs 100,000 jobs and 500 kills. The
//! moments depend on the machine, the choice of victims on the printed seed.

use crate::{builder, end, until, watch};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::sync::OnceLock;
use threeply_pools::process::{Cause, JobError, WorkerState};

static LEDGER: OnceLock<File> = OnceLock::new();

fn open_ledger(path: String) {
    let file = OpenOptions::new().append(true).open(path).unwrap();
    LEDGER.set(file).unwrap();
}

/// Leaves a mark for each time that it runs.
fn run(number: u32) -> u32 {
    let mut ledger = LEDGER.get().expect("the initializer ran");
    ledger.write_all(&number.to_le_bytes()).unwrap();
    // Long enough that a kill hits jobs, not the pauses between them.
    let result = (0..30_000).fold(number, |n, _| std::hint::black_box(n));
    result.wrapping_mul(7)
}

#[test]
fn kills_cost_the_jobs_that_they_hit_and_nothing_runs_twice() {
    let mut ledger = tempfile::NamedTempFile::new().unwrap();
    let _dog = watch().over(ledger.path()).start();
    let (jobs, kills) = if crate::long() {
        (100_000, 500)
    } else {
        (6_000, 30)
    };
    let mut seed = 0x0dd_ba11_u64;
    println!("seed {seed:#x}");
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };

    let path = ledger.path().to_str().unwrap().to_owned();
    let pool = builder()
        .workers(3)
        .initializer(open_ledger, path.clone())
        .build()
        .unwrap();
    let (mut outcomes, killed) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut killed = 0;
            for kill_number in 1..=kills {
                let moment = kill_number * jobs / (kills + 1);
                let begun = || std::fs::metadata(&path).map_or(0, |file| file.len() as usize / 4);
                while begun() < moment {
                    std::thread::yield_now();
                }
                // Again until it hits: the victim may have gone a moment ago.
                while killed < kill_number {
                    let pids = pool.worker_pids();
                    let Some(&victim) = pids.get(random(pids.len().max(1))) else {
                        std::thread::yield_now();
                        continue;
                    };
                    let victim = Pid::from_raw(victim.cast_signed());
                    if kill_number % 5 == 0 && kill(victim, Signal::SIGSTOP).is_ok() {
                        // Others go on meanwhile, with what it had and didn't begin, if
                        // anything is left. (Not so many yields: each may take as long as
                        // the machine has other things to do.)
                        let before = begun();
                        let others_rest = || {
                            let workers = pool.dump().workers;
                            let mut others = workers
                                .iter()
                                .filter(|it| it.pid.cast_signed() != victim.as_raw());
                            others.all(|it| it.state == WorkerState::Idle)
                        };
                        until(|| begun() >= before + 16 || others_rest());
                    }
                    killed += usize::from(kill(victim, Signal::SIGKILL).is_ok());
                }
            }
            killed
        });
        // Half of them in chunks, half one by one.
        let half = jobs as u32 / 2;
        let chunked = scope.spawn(|| {
            let half = jobs as u32 / 2;
            pool.map(run, 0..half).collect::<Vec<_>>()
        });
        let handles: Vec<_> = (half..jobs as u32)
            .map(|n| pool.submit(run, n).unwrap())
            .collect();
        let single: Vec<_> = handles.into_iter().map(|handle| handle.wait()).collect();
        let mut outcomes = chunked.join().unwrap();
        outcomes.extend(single);
        (outcomes, killer.join().unwrap())
    });
    end(pool);

    let mut marks = Vec::new();
    ledger.read_to_end(&mut marks).unwrap();
    let mut runs = vec![0; jobs];
    for mark in marks.chunks_exact(4) {
        runs[u32::from_le_bytes(mark.try_into().unwrap()) as usize] += 1;
    }
    assert_eq!(outcomes.len(), jobs);
    let mut failed = 0;
    for (number, outcome) in outcomes.drain(..).enumerate() {
        match outcome {
            Ok(value) => {
                assert_eq!(value, (number as u32).wrapping_mul(7));
                assert_eq!(runs[number], 1, "job {number} ran {} times", runs[number]);
            }
            Err(JobError::Died(death)) => {
                assert!(
                    matches!(death.cause, Cause::Signal { signal: 9, .. }),
                    "{death}"
                );
                assert!(runs[number] <= 1, "job {number} ran {} times", runs[number]);
                failed += 1;
            }
            Err(other) => panic!("job {number}: {other}"),
        }
    }
    println!("{killed} kills cost {failed} of {jobs} jobs");
    assert!(failed <= killed, "{killed} kills cost {failed} jobs");
}
