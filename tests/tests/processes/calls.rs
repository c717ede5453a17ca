//! Jobs: arguments, results, panics, waiting, cancelling, the full queue.
#![allow(unsafe_code)] // sets a variable of the environment

use crate::{builder, end, gate, hold, kill_myself, new_pool, until, watchdog};
use std::time::Duration;
use threeply_pools::process::{Error, JobError, ProcessPool};

#[test]
fn a_job_runs_in_another_process_and_returns_its_result() {
    let _dog = watchdog();
    let pool = new_pool(2);
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
    let pool = new_pool(2);
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
    let pool = new_pool(1);
    let bad = pool
        .submit(|n: u32| -> u32 { panic!("no {n}") }, 7)
        .unwrap();
    let good = pool.submit(|n: u32| n, 8).unwrap();
    let Err(JobError::Panicked(report)) = bad.wait() else {
        panic!("not a panic");
    };
    assert_eq!(report.message, "no 7");
    assert!(report.location.unwrap().contains("calls.rs"));
    let asked_for = std::env::var("RUST_BACKTRACE").is_ok_and(|value| value != "0");
    assert_eq!(report.backtrace.is_some(), asked_for);
    assert_eq!(good.wait().unwrap(), 8);
    end(pool);
}

#[test]
fn large_arguments_and_results_cross() {
    let _dog = watchdog();
    let pool = new_pool(2);
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
fn errors_of_the_pool_say_what_to_do() {
    assert!(matches!(ProcessPool::new(0), Err(Error::NoWorkers)));
}

#[test]
fn a_handle_is_a_future_for_any_executor() {
    let _dog = watchdog();
    let pool = new_pool(1);
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
    let pool = new_pool(1);
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
    let pool = new_pool(1);
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
    let pool = builder().workers(1).queue_jobs(1).build().unwrap();
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
    let pool = new_pool(1);
    let outcome = pool.submit(|_: ()| Trap, ()).unwrap().wait();
    assert!(matches!(outcome, Err(JobError::Undecodable { .. })));
    assert_eq!(pool.submit(|n: u8| n, 4).unwrap().wait().unwrap(), 4);
    end(pool);
}

#[test]
fn a_job_whose_handle_nobody_asks_holds_nothing_up() {
    let _dog = watchdog();
    let pool = new_pool(1);
    assert_eq!(pool.call(|n: u8| n, 0).unwrap().unwrap(), 0);
    // Its reply rings nobody until somebody needs the worker, or an answer.
    let _unasked = pool.submit(|n: u8| n, 1).unwrap();
    assert_eq!(pool.submit(|n: u8| n, 2).unwrap().wait().unwrap(), 2);
    drop(pool.submit(|n: u8| n, 3).unwrap());
    let polled = pool.submit(|n: u8| n, 4).unwrap();
    while !polled.is_finished() {
        std::thread::yield_now();
    }
    assert_eq!(polled.wait().unwrap(), 4);
    let taken = pool.submit(|n: u8| n, 5).unwrap();
    let value = loop {
        if let Some(value) = taken.try_take() {
            break value;
        }
        std::thread::yield_now();
    };
    assert_eq!(value.unwrap(), 5);
    let (done, is_done) = std::sync::mpsc::channel();
    let told = pool.submit(|n: u8| n, 6).unwrap();
    told.on_done(move || done.send(()).unwrap());
    is_done.recv().unwrap();
    let _unasked = pool.submit(|n: u8| n, 7).unwrap();
    end(pool); // Waits for that one.
}

#[test]
fn a_callback_that_blocks_holds_up_neither_jobs_nor_the_news_of_a_death() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let (gate, path) = gate();
    let told = pool.submit(hold, path).unwrap();
    let (enter, entered) = std::sync::mpsc::channel();
    let (leave, left) = std::sync::mpsc::channel::<()>();
    told.on_done(move || {
        enter.send(()).unwrap();
        let _ = left.recv();
    });
    drop(gate);
    entered.recv().unwrap();
    assert!(told.is_finished());
    let dying = pool.submit(|()| kill_myself(), ()).unwrap();
    assert!(matches!(dying.wait(), Err(JobError::Died(_))));
    let awaited = pool.submit(|n: u8| n, 1).unwrap();
    until(|| awaited.is_finished());
    drop(leave);
    end(pool);
}

#[test]
fn a_callback_may_end_the_pool_and_wait_for_that() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let (gate, path) = gate();
    let told = pool.submit(hold, path).unwrap();
    let (done, is_done) = std::sync::mpsc::channel();
    told.on_done(move || {
        end(pool);
        done.send(()).unwrap();
    });
    drop(gate);
    is_done.recv().unwrap();
}

#[test]
fn a_result_needn_t_wait_for_one_behind_it_that_is_waited_for() {
    let _dog = watchdog();
    let pool = new_pool(1);
    for n in 0..100 {
        pool.call(|n: u8| n, n).unwrap().unwrap(); // So brief that jobs are sent ahead.
    }
    let (first_gate, first_path) = gate();
    let (second_gate, second_path) = gate();
    let first = pool.submit(hold, first_path).unwrap();
    let second = pool.submit(hold, second_path).unwrap();
    assert!(!first.is_finished());
    let (tell, task) = std::sync::mpsc::channel();
    let waits = std::thread::spawn(move || {
        tell.send(nix::unistd::gettid()).unwrap();
        second.wait().unwrap();
    });
    let status = format!("/proc/self/task/{}/stat", task.recv().unwrap());
    until(|| std::fs::read_to_string(&status).unwrap().contains(") S "));
    drop(first_gate);
    until(|| first.is_finished());
    drop(second_gate);
    waits.join().unwrap();
    end(pool);
}

#[test]
fn a_cancelled_job_never_runs() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let ledger = tempfile::NamedTempFile::new().unwrap();
    let path = ledger.path().to_str().unwrap().to_owned();
    fn note((path, number): (String, u32)) {
        use std::io::Write;
        let mut ledger = std::fs::OpenOptions::new().append(true).open(path).unwrap();
        ledger.write_all(&number.to_ne_bytes()).unwrap();
    }
    let mut cancelled = Vec::new();
    let jobs: Vec<_> = (0..2000u32)
        .map(|number| pool.submit(note, (path.clone(), number)).unwrap())
        .collect();
    // From the end, so as to meet the workers.
    for (number, job) in (0u32..2000).zip(&jobs).rev() {
        if job.cancel() {
            cancelled.push(number);
        }
    }
    for (number, job) in (0u32..).zip(jobs) {
        let outcome = job.wait();
        let is_cancelled = matches!(outcome, Err(JobError::Cancelled));
        assert_eq!(is_cancelled, cancelled.contains(&number), "{number}");
    }
    end(pool);
    let ran = std::fs::read(ledger.path()).unwrap();
    for number in ran.chunks_exact(4) {
        let number = u32::from_ne_bytes(number.try_into().unwrap());
        assert!(
            !cancelled.contains(&number),
            "{number} was cancelled, and ran"
        );
    }
}

#[test]
fn what_was_sent_ahead_behind_a_long_job_goes_to_a_worker_that_is_free() {
    let _dog = watchdog();
    let pool = new_pool(2);
    pool.map(|n: u32| n, 0..400) // So brief that jobs are sent ahead.
        .for_each(|outcome| assert!(outcome.is_ok()));
    let (first_gate, first_path) = gate();
    let (second_gate, second_path) = gate();
    let first = pool.submit(hold, first_path).unwrap();
    let second = pool.submit(hold, second_path).unwrap();
    let behind: Vec<_> = (0..20u32)
        .map(|n| pool.submit(|n: u32| n, n).unwrap())
        .collect();
    drop(first_gate);
    for (n, job) in (0..).zip(behind) {
        assert_eq!(
            job.wait().unwrap(),
            n,
            "while the second long one still runs"
        );
    }
    drop(second_gate);
    first.wait().unwrap();
    second.wait().unwrap();
    end(pool);
}

#[test]
fn callbacks_are_called_in_their_order_and_one_that_panics_stops_none() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let (gate, path) = gate();
    let job = pool.submit(hold, path).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    for n in 0..10 {
        let tell = tell.clone();
        job.on_done(move || {
            tell.send(n).unwrap();
            assert_ne!(n, 3, "(expected)");
        });
    }
    drop((gate, tell));
    assert!(told.into_iter().eq(0..10));
    job.wait().unwrap();
    end(pool);
}

#[test]
fn a_panic_tells_its_backtrace_if_that_is_asked_for() {
    let _dog = watchdog();
    let pool = new_pool(1);
    #[inline(never)]
    fn where_it_happens(n: u32) -> u32 {
        assert!(n > 7, "no {n}");
        n
    }
    // In a process of its own, whose environment its workers get.
    let inner = |asked: String| {
        // SAFETY: no other thread of this worker looks at the environment.
        unsafe { std::env::set_var("RUST_BACKTRACE", asked) };
        let pool = new_pool(1);
        let error = pool.call(where_it_happens, 7).unwrap().unwrap_err();
        // One that was raised without the hook has neither place nor backtrace, though
        // there was another panic before.
        let quiet = |()| {
            let _ = std::panic::catch_unwind(|| panic!("caught"));
            std::panic::resume_unwind(Box::new("resumed"))
        };
        let resumed = pool.call::<(), ()>(quiet, ()).unwrap().unwrap_err();
        end(pool);
        let JobError::Panicked(resumed) = resumed else {
            panic!("{resumed}");
        };
        assert_eq!(resumed.message, "resumed");
        assert_eq!((resumed.location, resumed.backtrace), (None, None));
        match error {
            JobError::Panicked(report) => report.backtrace,
            other => panic!("{other}"),
        }
    };
    let backtrace = |asked: &str| pool.call(inner, asked.to_owned()).unwrap().unwrap();
    let short = backtrace("1").expect("asked for");
    let at = short.find("where_it_happens").expect("it is in there");
    assert!(at < 1_000, "near the beginning: {short}");
    let full = backtrace("full").expect("asked for");
    assert!(full.contains("where_it_happens"), "{full}");
    assert_eq!(backtrace("0"), None);
    end(pool);
}

#[test]
fn a_panic_whose_payload_panics_when_it_is_dropped_concerns_its_job_alone() {
    let _dog = watchdog();
    struct Trap;
    impl Drop for Trap {
        fn drop(&mut self) {
            panic!("(expected) trapped");
        }
    }
    let pool = new_pool(1);
    let trap = |()| std::panic::panic_any(Trap);
    let error = pool.call::<(), ()>(trap, ()).unwrap().unwrap_err();
    assert!(error.is_panic(), "{error}");
    let pid = pool.call(|()| std::process::id(), ()).unwrap().unwrap();
    assert_eq!(pool.worker_pids(), [pid]);
    assert_eq!(pool.statistics().workers_died, 0);
    end(pool);
}
