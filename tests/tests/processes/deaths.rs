//! A death costs one job, and the classic hangs.
#![allow(unsafe_code)] // ignores a signal

use crate::{builder, end, gate, hold, kill, kill_myself, new_pool, until, watchdog};
use std::time::{Duration, Instant};
use threeply_pools::process::{Cause, JobError};

#[test]
fn a_death_costs_exactly_the_job_that_ran() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let jobs: Vec<_> = (0..200u32)
        .map(|i| {
            pool.submit(
                |i: u32| {
                    match i {
                        50 => std::process::exit(3),
                        100 => std::process::abort(),
                        150 => kill_myself(),
                        _ => {}
                    }
                    i
                },
                i,
            )
            .unwrap()
        })
        .collect();
    for (i, job) in (0u32..).zip(jobs) {
        match (i, job.wait()) {
            (50, Err(JobError::Died(death))) => assert_eq!(death.cause, Cause::Exited(3)),
            (100, Err(JobError::Died(death))) => {
                assert!(
                    matches!(death.cause, Cause::Signal { signal: 6, .. }),
                    "{death}"
                );
            }
            (150, Err(JobError::Died(death))) => {
                assert!(
                    matches!(death.cause, Cause::Signal { signal: 9, .. }),
                    "{death}"
                );
            }
            (i, Ok(value)) if ![50, 100, 150].contains(&i) => assert_eq!(value, i),
            (i, other) => panic!("{i}: {other:?}"),
        }
    }
    end(pool);
}

#[test]
fn a_death_tells_how_long_the_job_had_run() {
    let _dog = watchdog();
    let pool = new_pool(1);
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    let began = Instant::now();
    let dies = |ms: u64| -> () {
        std::thread::sleep(Duration::from_millis(ms));
        std::process::abort()
    };
    let error = pool.submit(dies, 30).unwrap().wait().unwrap_err();
    let took = began.elapsed();
    let ran_for = error.death().expect("died").ran_for;
    assert!(
        ran_for >= Duration::from_millis(30) && ran_for <= took,
        "{ran_for:?} of {took:?}"
    );
    end(pool);
}

#[test]
fn a_stack_overflow_is_reported_as_such() {
    let _dog = watchdog();
    let pool = builder().workers(1).stack_size(1 << 20).build().unwrap();
    fn deep(n: u64) -> u64 {
        let filler = std::hint::black_box([n; 64]);
        if n == u64::MAX {
            0
        } else {
            deep(n + 1) + filler[(n % 64) as usize]
        }
    }
    let error = pool.submit(deep, 0).unwrap().wait().unwrap_err();
    assert_eq!(error.death().expect("died").cause, Cause::StackOverflow);
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    end(pool);
}

#[test]
fn a_worker_killed_while_it_is_idle_is_replaced() {
    let _dog = watchdog();
    let pool = new_pool(1);
    for _ in 0..3 {
        assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        for pid in pool.worker_pids() {
            kill(pid);
        }
        assert_eq!(
            pool.submit(|n: u8| n, 2).unwrap().wait().unwrap(),
            2,
            "unclaimed, so not lost"
        );
    }
    end(pool);
}

#[test]
fn a_worker_killed_while_it_writes_a_large_result_fails_that_job_alone() {
    let _dog = watchdog();
    let pool = new_pool(1);
    #[derive(serde::Deserialize)]
    struct Deadly;
    impl serde::Serialize for Deadly {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeTuple;
            let mut tuple = to.serialize_tuple(2)?;
            tuple.serialize_element(&vec![1u8; 1 << 20])?;
            kill_myself();
            tuple.end()
        }
    }
    let job = pool.submit(|_: ()| Deadly, ()).unwrap();
    let next = pool.submit(|n: u8| n, 1).unwrap();
    assert!(job.wait().err().unwrap().death().is_some());
    assert_eq!(next.wait().unwrap(), 1);
    end(pool);
}

#[test]
fn a_job_that_closes_all_descriptors_still_answers() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let close_all = |n: u8| {
        for fd in 0..64 {
            // That is what such a job does.
            let _ = nix::unistd::close(fd);
        }
        n
    };
    assert_eq!(pool.submit(close_all, 3).unwrap().wait().unwrap(), 3);
    assert_eq!(pool.submit(|n: u8| n, 4).unwrap().wait().unwrap(), 4);
    end(pool);
}

#[test]
#[allow(clippy::zombie_processes)] // left behind on purpose
fn a_job_that_leaves_a_daemon_behind_does_not_hold_anything_up() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let leave = |_: ()| {
        // Without the variable by which it would be found otherwise.
        let child = std::process::Command::new("sleep")
            .arg("600")
            .env_clear()
            .spawn()
            .unwrap();
        child.id()
    };
    let left = pool.submit(leave, ()).unwrap().wait().unwrap();
    for pid in pool.worker_pids() {
        kill(pid);
    }
    assert_eq!(pool.submit(|n: u8| n, 4).unwrap().wait().unwrap(), 4);
    end(pool);
    // It was in the group of the worker that died.
    let alive = || {
        let stat = std::fs::read_to_string(format!("/proc/{left}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    while alive() {
        std::thread::yield_now();
    }
}

#[test]
fn a_write_to_a_closed_socket_is_an_error_not_death() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let write = |_: ()| {
        use std::io::Write;
        let (a, mut b) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(a);
        b.write_all(b"x").unwrap_err().kind() == std::io::ErrorKind::BrokenPipe
    };
    assert!(pool.submit(write, ()).unwrap().wait().unwrap());
    end(pool);
}

#[test]
fn a_job_may_start_its_own_executable() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let start = |_: ()| {
        let own = std::env::current_exe().unwrap();
        let output = std::process::Command::new(own)
            .arg("--list")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        pool.submit(start, ())
            .unwrap()
            .wait()
            .unwrap()
            .contains("a_job_may_start")
    );
    end(pool);
}

#[test]
fn a_worker_that_dies_while_the_queue_is_full_holds_nobody_up() {
    let _dog = watchdog();
    let pool = builder().workers(1).queue_jobs(2).build().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3u32 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..40u32 {
                    let job = pool.submit(
                        |n: u32| {
                            if n % 7 == 3 {
                                kill_myself();
                            }
                            n
                        },
                        n,
                    );
                    match job.unwrap().wait() {
                        Ok(value) => assert_eq!(value, n),
                        Err(JobError::Died(_)) => assert_eq!(n % 7, 3, "{thread}"),
                        Err(other) => panic!("{other}"),
                    }
                }
            });
        }
    });
    end(pool);
}

#[test]
fn a_worker_that_is_stopped_and_killed_costs_one_job() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let stop = |_: ()| {
        let me = nix::unistd::Pid::this();
        nix::sys::signal::kill(me, nix::sys::signal::Signal::SIGSTOP).unwrap();
        loop {
            std::thread::park(); // It may stop a moment later.
        }
    };
    let strict = pool.options().limit(std::time::Duration::from_millis(30));
    let stopped: threeply_pools::process::JobHandle<()> = strict.submit(stop, ()).unwrap();
    let next = pool.submit(|n: u8| n, 1).unwrap();
    assert!(matches!(stopped.wait(), Err(JobError::TimedOut { .. })));
    assert_eq!(next.wait().unwrap(), 1);
    end(pool);
}

#[test]
fn recycling_while_jobs_wait_and_workers_die_loses_none() {
    let _dog = watchdog();
    let pool = builder().workers(2).jobs_per_worker(3).build().unwrap();
    let jobs: Vec<_> = (0..120u32)
        .map(|n| {
            let run = |n: u32| {
                if n % 20 == 11 {
                    kill_myself();
                }
                n
            };
            pool.submit(run, n).unwrap()
        })
        .collect();
    for (n, job) in (0..).zip(jobs) {
        match job.wait() {
            Ok(value) => assert_eq!(value, n),
            Err(JobError::Died(_)) => assert_eq!(n % 20, 11),
            Err(other) => panic!("{other}"),
        }
    }
    end(pool);
}

#[test]
fn a_job_that_calls_exit_is_a_death_with_that_code_and_what_it_printed_is_kept() {
    let _dog = watchdog();
    let file = tempfile::tempfile().unwrap();
    let output = threeply_pools::process::Output::file(file.try_clone().unwrap());
    let pool = builder().workers(1).stdout(output).build().unwrap();
    let leave = |code: i32| {
        print!("no newline");
        std::process::exit(code)
    };
    for code in [0, 7] {
        let job: threeply_pools::process::JobHandle<()> = pool.submit(leave, code).unwrap();
        let error = job.wait().unwrap_err();
        assert_eq!(error.death().expect("died").cause, Cause::Exited(code));
    }
    end(pool);
    assert_eq!(file.metadata().unwrap().len(), 20);
}

#[test]
fn what_a_dead_worker_had_not_begun_runs_in_the_order_in_which_it_came() {
    let _dog = watchdog();
    let pool = new_pool(1);
    pool.map(|n: u32| n, 0..200) // So brief that jobs are sent ahead.
        .for_each(|outcome| assert!(outcome.is_ok()));
    let ledger = tempfile::NamedTempFile::new().unwrap();
    let path = ledger.path().to_str().unwrap().to_owned();
    let (file, gate) = gate();
    let dies = |gate: String| {
        hold(gate);
        kill_myself();
    };
    let first = pool.submit(dies, gate).unwrap();
    let note = |(path, n): (String, u8)| {
        use std::io::Write;
        let ledger = std::fs::File::options().append(true).open(path);
        ledger.unwrap().write_all(&[n]).unwrap();
    };
    let jobs: Vec<_> = (0..20)
        .map(|n| pool.submit(note, (path.clone(), n)).unwrap())
        .collect();
    drop(file);
    assert!(first.wait().unwrap_err().death().is_some());
    jobs.into_iter().for_each(|job| job.wait().unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), (0..20).collect::<Vec<u8>>());
    end(pool);
}

#[test]
fn what_a_job_printed_without_a_newline_survives_a_kill_once_its_worker_rests() {
    let _dog = watchdog();
    let file = tempfile::tempfile().unwrap();
    let output = threeply_pools::process::Output::file(file.try_clone().unwrap());
    let pool = builder().workers(1).stdout(output).build().unwrap();
    pool.call(|()| print!("no newline"), ()).unwrap().unwrap();
    until(|| file.metadata().unwrap().len() == 10);
    pool.worker_pids().into_iter().for_each(kill);
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    end(pool);
}

#[test]
fn a_death_that_somebody_else_has_reaped_is_noticed_all_the_same() {
    let _dog = watchdog();
    let pool = new_pool(1);
    // In a process of its own, whose dead children the kernel reaps.
    let inner = |()| {
        use nix::sys::signal::{SigHandler, Signal, signal};
        end(new_pool(1)); // A fork server, if that is what this is about, is up by now.
        // SAFETY: ignores a signal.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }.unwrap();
        let pool = new_pool(1);
        for _ in 0..2 {
            let error = pool.call(|()| kill_myself(), ()).unwrap().unwrap_err();
            let death = error.death().expect("died");
            assert_eq!(death.cause, Cause::Unknown, "{death}");
            assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        }
        end(pool);
    };
    pool.call(inner, ()).unwrap().unwrap();
    end(pool);
}
