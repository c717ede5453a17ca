//! A death costs one job, and the classic hangs.

use crate::{builder, end, kill, kill_myself, new_pool, watchdog};
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
        let child = std::process::Command::new("sleep")
            .arg("600")
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
