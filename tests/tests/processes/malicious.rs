//! Workers that send garbage: their jobs fail, with that cause, and nobody else's.

use crate::attack::{ALL, Attack, UNREAD, claim_everything, fill_the_bell};
use crate::{end, kill_myself, new_pool, until, watchdog};
use threeply_pools::process::{Cause, JobError, JobHandle};

fn attack(attack: Attack) {
    attack.run()
}

fn note(path: String) {
    // Fails if the file exists: each runs at most once.
    std::fs::File::create_new(path).unwrap();
}

#[test]
fn garbage_costs_the_job_of_whoever_sends_it() {
    let _dog = watchdog();
    let directory = tempfile::tempdir().unwrap();
    let pool = new_pool(1);
    // So that jobs are known to be short, and are sent ahead.
    pool.map(|n: u32| n, 0..200)
        .for_each(|outcome| assert!(outcome.is_ok()));
    for (n, kind) in ALL.into_iter().enumerate() {
        let bad = pool.submit(attack, kind).unwrap();
        let behind: Vec<JobHandle<()>> = (0..5)
            .map(|job| {
                let path = directory.path().join(format!("{n}-{job}"));
                pool.submit(note, path.to_str().unwrap().to_owned())
                    .unwrap()
            })
            .collect();
        match bad.wait() {
            Err(JobError::Died(death)) => assert_eq!(death.cause, Cause::Garbage, "{kind:?}"),
            other => panic!("{kind:?}: {other:?}"),
        }
        for job in behind {
            job.wait().unwrap();
        }
    }
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        ALL.len() * 5
    );
    end(pool);
}

#[test]
fn a_caller_that_reads_replies_itself_meets_garbage_unharmed() {
    let _dog = watchdog();
    let pool = new_pool(1);
    for kind in ALL {
        let outcome = pool.call(attack, kind).unwrap();
        let error = outcome.unwrap_err();
        assert_eq!(
            error.death().expect("died").cause,
            Cause::Garbage,
            "{kind:?}"
        );
    }
    end(pool);
}

#[test]
fn claims_that_are_forged_fail_jobs_but_run_none_twice() {
    let _dog = watchdog();
    let directory = tempfile::tempdir().unwrap();
    let pool = new_pool(1);
    pool.map(|n: u32| n, 0..200)
        .for_each(|outcome| assert!(outcome.is_ok()));
    let bad = pool
        .submit(
            |_: ()| {
                claim_everything();
                kill_myself();
            },
            (),
        )
        .unwrap();
    let behind: Vec<_> = (0..5)
        .map(|job| {
            let path = directory.path().join(job.to_string());
            pool.submit(note, path.to_str().unwrap().to_owned())
                .unwrap()
        })
        .collect();
    assert!(bad.wait().unwrap_err().death().is_some());
    for job in behind {
        match job.wait() {
            Ok(()) | Err(JobError::Died(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(pool.call(|n: u8| n, 7).unwrap().unwrap(), 7);
    end(pool);
}

#[test]
fn a_supervisor_whose_bell_was_filled_up_is_still_rung() {
    let _dog = watchdog();
    let pool = new_pool(2);
    for _ in 0..3 {
        // Awaited, so that the supervisor is the one who reads the replies.
        pollster::block_on(pool.submit(|()| fill_the_bell(), ()).unwrap()).unwrap();
        for n in 0..20u8 {
            let back = pollster::block_on(pool.submit(|n: u8| n, n).unwrap());
            assert_eq!(back.unwrap(), n);
        }
    }
    end(pool);
}

#[test]
fn what_was_answered_before_the_garbage_is_still_read() {
    let _dog = watchdog();
    let outer = new_pool(1);
    // In a process of its own, which its worker stops, so that nobody reads.
    let inner = |()| {
        let run = |n: u32| {
            use nix::sys::signal::{Signal, kill};
            let parent = nix::unistd::getppid();
            match n {
                0 => {
                    kill(parent, Signal::SIGSTOP).unwrap();
                    let status = format!("/proc/{parent}/stat");
                    until(|| std::fs::read_to_string(&status).unwrap().contains(") T "));
                }
                5 => {
                    // By a process that goes on: this one can't, once it is mad.
                    let script = format!("sleep 0.1; kill -CONT {parent}");
                    let wakes = std::process::Command::new("sh")
                        .args(["-c", &script])
                        .spawn();
                    std::mem::forget(wakes.unwrap());
                    Attack::Counter(UNREAD).run()
                }
                _ => {}
            }
            n
        };
        let pool = new_pool(1);
        let outcomes: Vec<_> = pool.map(run, 0..8).chunk(8).collect();
        for (n, outcome) in (0..).zip(outcomes) {
            match outcome {
                Err(JobError::Died(death)) if n == 5 => assert_eq!(death.cause, Cause::Garbage),
                outcome => assert_eq!(outcome.unwrap(), n),
            }
        }
        end(pool);
    };
    outer.call(inner, ()).unwrap().unwrap();
    end(outer);
}
