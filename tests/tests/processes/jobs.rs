//! Jobs, errors, deaths, the classic hangs, shutdown, and the event loop.

use crate::{end, kill, kill_myself, watchdog};
use std::sync::atomic::Ordering;
use std::time::Duration;
use threeply_pools::process::{Cause, Error, JobError, ProcessPool};

#[test]
fn a_job_runs_in_another_process_and_returns_its_result() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    let job = pool
        .submit(|n: u64| (n * 2, std::process::id()), 21)
        .unwrap();
    let (value, pid) = job.wait().unwrap();
    assert_eq!(value, 42);
    assert_ne!(pid, std::process::id());
    assert_eq!(
        pool.call(|s: String| s.len(), "four".to_owned())
            .unwrap()
            .unwrap(),
        4
    );
    end(pool);
}

#[test]
fn many_jobs_from_many_threads_all_return() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    std::thread::scope(|scope| {
        for t in 0..4u64 {
            let pool = &pool;
            scope.spawn(move || {
                let jobs: Vec<_> = (0..2_000)
                    .map(|i| pool.submit(|n: u64| n + 1, t * 10_000 + i).unwrap())
                    .collect();
                for (i, job) in jobs.into_iter().enumerate() {
                    assert_eq!(job.wait().unwrap(), t * 10_000 + i as u64 + 1);
                }
            });
        }
    });
    end(pool);
}

#[test]
fn a_panic_reaches_its_own_job_with_message_and_place() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let bad = pool
        .submit(|n: u32| -> u32 { panic!("no {n}") }, 7)
        .unwrap();
    let good = pool.submit(|n: u32| n, 8).unwrap();
    let Err(JobError::Panicked(report)) = bad.wait() else {
        panic!("not a panic");
    };
    assert_eq!(report.message, "no 7");
    assert!(report.location.unwrap().contains("jobs.rs"));
    assert_eq!(good.wait().unwrap(), 8);
    end(pool);
}

#[test]
fn a_death_costs_exactly_the_job_that_ran() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
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
    let pool = ProcessPool::builder()
        .workers(1)
        .stack_size(1 << 20)
        .build()
        .unwrap();
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
fn large_arguments_and_results_cross() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    for len in [0usize, 10_000, 16_370, 100_000, 5_000_000] {
        let data: Vec<u32> = (0..len as u32 / 4).collect();
        let back = pool
            .submit(
                |mut data: Vec<u32>| {
                    data.reverse();
                    data
                },
                data.clone(),
            )
            .unwrap()
            .wait()
            .unwrap();
        assert!(back.iter().rev().eq(data.iter()), "{len}");
    }
    end(pool);
}

#[test]
fn a_job_over_its_limit_is_killed_and_told_so() {
    let _dog = watchdog();
    let pool = ProcessPool::builder()
        .workers(1)
        .job_limit(Duration::from_millis(50))
        .build()
        .unwrap();
    let slow = pool
        .submit(
            |_: ()| loop {
                std::hint::spin_loop()
            },
            (),
        )
        .unwrap();
    let quick = pool.submit(|n: u8| n, 5).unwrap();
    let outcome: Result<(), _> = slow.wait();
    assert!(
        matches!(outcome, Err(JobError::TimedOut { .. })),
        "{outcome:?}"
    );
    assert_eq!(quick.wait().unwrap(), 5);
    end(pool);
}

#[test]
fn errors_of_the_pool_say_what_to_do() {
    assert!(matches!(ProcessPool::new(0), Err(Error::NoWorkers)));
}

#[test]
fn map_keeps_the_order_and_pulls_lazily() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    let mut expected = 0;
    for value in pool.map(|n: u64| n * 3, 0..50_000) {
        assert_eq!(value.unwrap(), expected);
        expected += 3;
    }
    assert_eq!(expected, 150_000);
    let pulled = std::cell::Cell::new(0u64);
    let endless = std::iter::repeat_with(|| pulled.replace(pulled.get() + 1));
    let first: Vec<_> = pool
        .map(|n: u64| n, endless)
        .window(10)
        .chunk(3)
        .take(25)
        .collect();
    assert!(first.into_iter().map(Result::unwrap).eq(0..25));
    assert!(pulled.get() <= 35, "{} pulled", pulled.get());
    let mut seen = vec![false; 1000];
    for (index, value) in pool.map_unordered(|n: usize| n, 0..1000) {
        assert_eq!(value.unwrap(), index);
        assert!(!std::mem::replace(&mut seen[index], true), "twice");
    }
    assert!(seen.into_iter().all(|seen| seen));
    let sums = pool.starmap(|a: i32, b: i32| a + b, [(1, 2), (3, 4)]);
    assert_eq!(sums.map(Result::unwrap).collect::<Vec<_>>(), [3, 7]);
    end(pool);
}

#[test]
fn a_death_in_a_chunk_costs_one_element_and_the_rest_runs_once() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    let inputs = (0..300u32).map(|i| (path.clone(), i));
    let run = |(path, i): (String, u32)| {
        // Fails if the file exists: each runs at most once.
        std::fs::File::create_new(format!("{path}/{i}")).unwrap();
        if i % 50 == 25 {
            kill_myself();
        }
        i
    };
    for (i, outcome) in pool.map(run, inputs).chunk(40).enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, i as u32),
            Err(JobError::Died(_)) => assert_eq!(i % 50, 25),
            Err(other) => panic!("{i}: {other}"),
        }
    }
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 300);
    end(pool);
}

#[test]
fn as_completed_gives_the_quick_ones_first() {
    let _dog = watchdog();
    let pool = ProcessPool::new(2).unwrap();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let path = gate.path().to_str().unwrap().to_owned();
    let wait_for_removal = |path: String| {
        while !path.is_empty() && std::fs::exists(&path).unwrap() {
            std::thread::yield_now();
        }
    };
    let jobs =
        [path, String::new(), String::new()].map(|p| pool.submit(wait_for_removal, p).unwrap());
    let mut order = Vec::new();
    let mut gate = Some(gate);
    for (index, outcome) in threeply_pools::process::as_completed(jobs) {
        outcome.unwrap();
        order.push(index);
        if order.len() == 2 {
            drop(gate.take());
        }
    }
    assert_eq!(order, [1, 2, 0]);
    end(pool);
}

#[test]
fn a_handle_is_a_future_for_any_executor() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = std::sync::Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    let mut job = std::pin::pin!(pool.submit(|n: u8| n, 9).unwrap());
    let value = loop {
        match job.as_mut().poll(&mut context) {
            std::task::Poll::Ready(value) => break value,
            std::task::Poll::Pending => std::thread::park(),
        }
    };
    assert_eq!(value.unwrap(), 9);
    end(pool);
}

#[test]
fn a_job_that_has_not_begun_can_be_cancelled_and_one_that_has_can_be_killed() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let started = directory
        .path()
        .join("started")
        .to_str()
        .unwrap()
        .to_owned();
    let endless = pool
        .submit(
            |path: String| {
                std::fs::write(path, "").unwrap();
                loop {
                    std::thread::park();
                }
            },
            started.clone(),
        )
        .unwrap();
    let _: &threeply_pools::process::JobHandle<()> = &endless;
    let waiting = pool.submit(|n: u8| n, 1).unwrap();
    let after = pool.submit(|n: u8| n, 2).unwrap();
    while !std::fs::exists(&started).unwrap() {
        std::thread::yield_now();
    }
    assert!(!endless.cancel(), "it has begun");
    assert!(waiting.cancel());
    assert!(waiting.wait().unwrap_err().is_cancelled());
    assert!(endless.kill());
    assert!(endless.wait().unwrap_err().is_cancelled());
    assert_eq!(after.wait().unwrap(), 2);
    end(pool);
}

#[test]
fn wait_timeout_returns_the_handle_and_the_job_goes_on() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let path = gate.path().to_str().unwrap().to_owned();
    let job = pool
        .submit(
            |path: String| {
                while std::fs::exists(&path).unwrap() {
                    std::thread::yield_now()
                }
            },
            path,
        )
        .unwrap();
    let job = job
        .wait_timeout(Duration::from_millis(20))
        .expect_err("not done");
    drop(gate);
    job.wait().unwrap();
    end(pool);
}

#[test]
fn a_full_queue_refuses_or_waits() {
    let _dog = watchdog();
    let pool = ProcessPool::builder()
        .workers(1)
        .queue_jobs(1)
        .build()
        .unwrap();
    let gate = tempfile::NamedTempFile::new().unwrap();
    let path = gate.path().to_str().unwrap().to_owned();
    let hold = |path: String| {
        while std::fs::exists(&path).unwrap() {
            std::thread::yield_now()
        }
    };
    let jobs = [
        pool.submit(hold, path.clone()).unwrap(),
        pool.try_submit(hold, path.clone()).unwrap(),
    ];
    assert!(matches!(
        pool.try_submit(hold, path.clone()),
        Err(Error::Full)
    ));
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| pool.submit(hold, path.clone()).unwrap());
        drop(gate);
        blocked.join().unwrap().wait().unwrap();
    });
    jobs.into_iter().for_each(|job| job.wait().unwrap());
    end(pool);
}

// The classic hangs.

#[test]
fn a_worker_killed_while_it_is_idle_is_replaced() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
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
    let pool = ProcessPool::new(1).unwrap();
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
    let pool = ProcessPool::new(1).unwrap();
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
    let pool = ProcessPool::new(1).unwrap();
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
    let pool = ProcessPool::new(1).unwrap();
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
fn workers_have_default_signals_their_own_group_and_no_foreign_descriptors() {
    let _dog = watchdog();
    let _foreign = std::fs::File::open("/dev/null").unwrap();
    let pool = ProcessPool::new(1).unwrap();
    let look = |_: ()| {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().to_owned()
        };
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
        let own_group = nix::unistd::getpgrp() == nix::unistd::Pid::this();
        (field("SigBlk"), field("SigIgn"), descriptors, own_group)
    };
    let (blocked, ignored, descriptors, own_group) = pool.submit(look, ()).unwrap().wait().unwrap();
    assert_eq!(u64::from_str_radix(&blocked, 16), Ok(0));
    assert_eq!(
        u64::from_str_radix(&ignored, 16),
        Ok(1 << 12),
        "SIGPIPE, as in every Rust program"
    );
    // 0 to 2, three bells, the parent's pidfd, and the directory itself.
    assert!(descriptors <= 8, "{descriptors}");
    assert!(own_group);
    end(pool);
}

#[test]
fn a_job_may_start_its_own_executable() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
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
fn a_result_whose_decoding_panics_concerns_its_job_alone() {
    let _dog = watchdog();
    #[derive(serde::Serialize)]
    struct Trap;
    impl<'de> serde::Deserialize<'de> for Trap {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Trap, D::Error> {
            panic!("trapped")
        }
    }
    let pool = ProcessPool::new(1).unwrap();
    let outcome = pool.submit(|_: ()| Trap, ()).unwrap().wait();
    assert!(matches!(outcome, Err(JobError::Undecodable { .. })));
    assert_eq!(pool.submit(|n: u8| n, 4).unwrap().wait().unwrap(), 4);
    end(pool);
}

#[test]
fn an_initializer_that_fails_is_told_to_every_job_and_nothing_hangs() {
    let _dog = watchdog();
    fn fails(reason: String) {
        panic!("{reason}")
    }
    let pool = ProcessPool::builder()
        .workers(2)
        .initializer(fails, "no data".to_owned())
        .build()
        .unwrap();
    match pool.submit(|n: u8| n, 1) {
        Ok(job) => match job.wait() {
            Err(JobError::WorkerStart(failure)) => assert!(failure.to_string().contains("no data")),
            other => panic!("{other:?}"),
        },
        Err(Error::Broken(failure)) => assert!(failure.to_string().contains("no data")),
        Err(other) => panic!("{other}"),
    }
    end(pool);
}

#[test]
fn an_initializer_runs_before_any_job() {
    let _dog = watchdog();
    static STATE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    fn initialize(value: u32) {
        STATE.store(value, Ordering::Relaxed);
    }
    let pool = ProcessPool::builder()
        .workers(2)
        .initializer(initialize, 7)
        .build()
        .unwrap();
    for value in pool.map(|_: u32| STATE.load(Ordering::Relaxed), 0..100) {
        assert_eq!(value.unwrap(), 7);
    }
    end(pool);
}

#[test]
fn recycled_workers_lose_no_job() {
    let _dog = watchdog();
    let pool = ProcessPool::builder()
        .workers(2)
        .jobs_per_worker(10)
        .build()
        .unwrap();
    let mut pids = std::collections::HashSet::new();
    for (i, outcome) in pool
        .map(|n: u32| (n, std::process::id()), 0..300)
        .chunk(1)
        .enumerate()
    {
        let (value, pid) = outcome.unwrap();
        assert_eq!(value, i as u32);
        pids.insert(pid);
    }
    assert!(pids.len() >= 15, "{} workers", pids.len());
    end(pool);
}

#[test]
fn submitting_during_shutdown_is_refused_or_served_never_lost() {
    let _dog = watchdog();
    for _ in 0..5 {
        let pool = std::sync::Arc::new(std::sync::Mutex::new(Some(ProcessPool::new(2).unwrap())));
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                let pool = std::sync::Arc::clone(&pool);
                std::thread::spawn(move || {
                    let mut served = 0;
                    loop {
                        let job = match &*pool.lock().unwrap() {
                            Some(pool) => pool.submit(|n: u32| n, 1),
                            None => return served,
                        };
                        match job {
                            Ok(job) => match job.wait() {
                                Ok(_) => served += 1,
                                Err(JobError::ShutDown) => return served,
                                Err(other) => panic!("{other}"),
                            },
                            Err(Error::ShutDown) => return served,
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        while pool
            .lock()
            .unwrap()
            .as_ref()
            .unwrap()
            .call(|n: u8| n, 1)
            .is_err()
        {}
        let taken = pool.lock().unwrap().take().unwrap();
        end(taken);
        for submitter in submitters {
            submitter.join().unwrap();
        }
    }
}

#[test]
fn shutdown_gives_up_jobs_that_outlast_its_patience() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let endless: threeply_pools::process::JobHandle<()> = pool
        .submit(
            |_: ()| loop {
                std::thread::park()
            },
            (),
        )
        .unwrap();
    let queued = pool.submit(|n: u8| n, 1).unwrap();
    let report = pool.shutdown(Duration::from_millis(50));
    assert_eq!(report.abandoned, 2);
    assert!(matches!(endless.wait(), Err(JobError::ShutDown)));
    assert!(matches!(queued.wait(), Err(JobError::ShutDown)));
}

#[test]
fn a_pool_may_be_dropped_in_a_callback_and_its_jobs_still_run() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let job = pool.submit(|n: u8| n, 1).unwrap();
    let last = pool.submit(|n: u8| n, 2).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    job.on_done(move || {
        drop(pool);
        done.send(()).unwrap();
    });
    is_done.recv().unwrap();
    assert_eq!(last.wait().unwrap(), 2);
}

#[test]
fn descriptors_are_as_before_once_a_pool_has_gone() {
    // In a process of its own, since other tests open descriptors meanwhile.
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let inner = |_: ()| {
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = count();
        let pool = ProcessPool::new(2).unwrap();
        for pid in pool.worker_pids() {
            kill(pid);
        }
        let sum: u64 = pool.map(|n: u64| n, 0..100).map(Result::unwrap).sum();
        pool.shutdown(Duration::from_secs(10));
        (sum, before, count())
    };
    let (sum, before, after) = pool.submit(inner, ()).unwrap().wait().unwrap();
    assert_eq!(sum, 4950);
    assert_eq!(before, after, "a leak");
    end(pool);
}

#[test]
fn workers_go_when_their_parent_is_killed() {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pids").to_str().unwrap().to_owned();
    // The worker is itself the parent of a pool whose workers are busy.
    let parent = |path: String| {
        let pool = ProcessPool::new(2).unwrap();
        let busy: Vec<_> = (0..2)
            .map(|_| {
                pool.submit(
                    |_: ()| loop {
                        std::hint::spin_loop()
                    },
                    (),
                )
                .unwrap()
            })
            .collect();
        let _: &Vec<threeply_pools::process::JobHandle<()>> = &busy;
        let pids: Vec<String> = pool.worker_pids().iter().map(u32::to_string).collect();
        std::fs::write(format!("{path}.new"), pids.join(" ")).unwrap();
        std::fs::rename(format!("{path}.new"), path).unwrap();
        loop {
            std::thread::park();
        }
    };
    let job: threeply_pools::process::JobHandle<()> = pool.submit(parent, path.clone()).unwrap();
    let pids = loop {
        match std::fs::read_to_string(&path) {
            Ok(pids) => break pids,
            Err(_) => std::thread::yield_now(),
        }
    };
    assert!(job.kill());
    assert!(job.wait().is_err());
    for pid in pids.split(' ') {
        // The watchdog limits this.
        let stat = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        while !stat().is_empty() && !stat().contains(") Z ") {
            std::thread::yield_now();
        }
    }
    end(pool);
}

// On the event loop.

#[test]
fn jobs_are_awaited_on_the_loop_that_hosts_the_supervisor() {
    let _dog = watchdog();
    threeply_runtime::block_on(async {
        let pool = ProcessPool::builder().workers(2).build_on_loop().unwrap();
        let jobs: Vec<_> = (0..500u32)
            .map(|n| pool.submit(|n: u32| n + 1, n).unwrap())
            .collect();
        for (n, job) in (1..).zip(jobs) {
            assert_eq!(job.await.unwrap(), n);
        }
        let died = pool.submit(|_: ()| std::process::abort(), ()).unwrap();
        let _: &threeply_pools::process::JobHandle<()> = &died;
        assert!(died.await.unwrap_err().death().is_some());
        assert_eq!(
            pool.submit_async(|n: u8| n, 4)
                .await
                .unwrap()
                .await
                .unwrap(),
            4
        );
        let report = pool.shutdown_async(Duration::from_secs(20)).await;
        assert_eq!((report.completed, report.failed), (501, 1));
    });
}

#[test]
fn a_pool_ends_with_the_loop_that_hosts_it() {
    let _dog = watchdog();
    let (pool, job) = threeply_runtime::block_on(async {
        let pool = ProcessPool::builder().workers(1).build_on_loop().unwrap();
        let job = pool
            .submit(
                |_: ()| loop {
                    std::thread::park()
                },
                (),
            )
            .unwrap();
        threeply_runtime::yield_now().await;
        (pool, job)
    });
    let outcome: Result<(), _> = job.wait();
    assert!(matches!(outcome, Err(JobError::ShutDown)), "{outcome:?}");
    assert!(matches!(pool.submit(|n: u8| n, 1), Err(Error::ShutDown)));
    assert!(pool.worker_pids().is_empty());
}
