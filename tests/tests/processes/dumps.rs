//! What a pool tells when it is asked why nothing is happening.

use crate::{end, gate, hold, in_a_process_of_its_own, kill_myself, new_pool, until, watchdog};
use std::sync::Arc;
use std::time::Duration;
use threeply_pools::process::{Error, JobPlace, ProcessPool, Retry, WorkerState};
use threeply_runtime::inspect;

#[test]
fn a_dump_names_what_each_worker_does_and_where_each_job_is() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let (file, path) = gate();
    let held = pool.options().name("hold").submit(hold, path).unwrap();
    let site = line!() - 1;
    // A limited job isn't sent along with another, so these stay in the queue.
    let limited = pool.options().name("limited");
    let limited = limited.limit(Duration::from_secs(60));
    let queued = [1, 2, 3].map(|n| limited.submit(|n: u32| n, n).unwrap());
    let runs = |place| matches!(place, JobPlace::Running { .. });
    until(|| runs(pool.dump().jobs[0].place) && pool.dump().workers[0].since.is_some());
    until(|| matches!(pool.dump().workers[0].state, WorkerState::Busy { .. }));

    let dump = pool.dump();
    let pid = pool.worker_pids()[0];
    assert!(dump.open);
    assert_eq!((dump.size, dump.workers.len(), dump.jobs.len()), (1, 1, 4));
    assert_eq!((dump.workers[0].pid, dump.workers[0].ahead), (pid, 0));
    let WorkerState::Busy { job, number } = &dump.workers[0].state else {
        panic!("{dump}");
    };
    assert_eq!((job.name(), *number), (Some("hold"), 0));
    let first = &dump.jobs[0];
    assert_eq!(first.label.site().file(), file!());
    assert_eq!(first.label.site().line(), site);
    assert_eq!((first.attempt, first.elements), (1, 1));
    for job in &dump.jobs[1..] {
        assert_eq!(job.label.name(), Some("limited"));
        assert_eq!(job.place, JobPlace::Queued);
    }
    let text = dump.to_string();
    let expected = [
        "process pool, open: 1 of 1 workers, 4 jobs".to_owned(),
        format!("worker {pid}: busy with job 0, `hold` ({}", file!()),
        format!("runs in worker {pid} as 0 for "),
        "queued, 3 times".to_owned(),
    ];
    for expected in expected {
        assert!(text.contains(&expected), "no {expected:?} in {text}");
    }
    assert_eq!(text.lines().count(), 4, "{text}");

    drop(file);
    held.wait().unwrap();
    for (n, job) in (1..).zip(queued) {
        assert_eq!(job.wait().unwrap(), n);
    }
    until(|| pool.dump().workers[0].state == WorkerState::Idle);
    let dump = pool.dump();
    assert!(dump.jobs.is_empty(), "{dump}");
    assert_eq!(dump.workers[0].done, 4);
    end(pool);
}

#[test]
fn what_was_sent_along_and_not_begun_is_told_apart_from_what_runs() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let mut done = 0;
    let (file, held, behind) = loop {
        // So that jobs are known to be short, and one is sent ahead.
        for n in 0..100u32 {
            assert_eq!(pool.call(|n: u32| n, n).unwrap().unwrap(), n);
        }
        done += 100;
        let (file, path) = gate();
        let held = pool.submit(hold, path).unwrap();
        let behind = pool.submit(|n: u32| n, 1).unwrap();
        if !matches!(pool.dump().jobs[1].place, JobPlace::Queued) {
            break (file, held, behind);
        }
        // On a machine this busy they seemed long.
        drop(file);
        held.wait().unwrap();
        behind.wait().unwrap();
        done += 2;
    };
    let is_sent = || match pool.dump().jobs[..] {
        [ref one, ref two] => {
            matches!(one.place, JobPlace::Running { number, .. } if number == done)
                && matches!(two.place, JobPlace::Sent { number, .. } if number == done + 1)
        }
        ref other => panic!("{other:?}"),
    };
    until(is_sent);
    let dump = pool.dump();
    assert_eq!(dump.workers[0].ahead, 1, "{dump}");
    drop(file);
    held.wait().unwrap();
    assert_eq!(behind.wait().unwrap(), 1);
    end(pool);
}

#[test]
fn a_job_that_waits_for_its_next_run_says_so() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let hour = Duration::from_secs(3600);
    let job = pool
        .options()
        .retry(Retry::times(1).backoff(hour))
        .submit(|_: ()| kill_myself(), ())
        .unwrap();
    let waits = |place| matches!(place, JobPlace::Retrying(left) if left <= hour);
    until(|| waits(pool.dump().jobs[0].place));
    let dump = pool.dump();
    assert_eq!(dump.jobs[0].attempt, 2);
    assert!(dump.to_string().ends_with(", attempt 2"), "{dump}");
    assert!(job.cancel());
    until(|| pool.dump().jobs.is_empty());
    end(pool);
}

#[test]
fn a_dump_of_the_loop_names_the_job_that_a_task_awaits() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let (file, path) = gate();
    let job = pool.options().name("hold").submit(hold, path).unwrap();
    threeply_runtime::block_on(async {
        let task = threeply_runtime::spawn(job);
        loop {
            let dump = inspect::dump().await;
            let info = dump.task(task.id()).expect("it waits");
            let waits: Vec<_> = info.waits_for.iter().map(ToString::to_string).collect();
            let [wait] = &waits[..] else {
                threeply_runtime::yield_now().await; // Not polled yet.
                continue;
            };
            assert!(
                wait.starts_with(&format!("a job of a process pool, `hold` ({}", file!())),
                "{wait}"
            );
            if wait.contains("runs in worker") {
                break;
            }
        }
        drop(file);
        task.await.unwrap().unwrap();
    });
    end(pool);
}

#[test]
fn a_thread_that_blocks_on_a_pool_is_in_a_loops_dump_with_what_it_waits_for() {
    type Blocks = Box<dyn FnOnce() + Send>;
    let _dog = watchdog();
    let pool = Arc::new(
        ProcessPool::builder()
            .workers(1)
            .queue_jobs(1)
            .build()
            .unwrap(),
    );
    let (file, path) = gate();
    let held = pool.options().name("held").submit(hold, path).unwrap();
    until(|| matches!(pool.dump().workers[0].state, WorkerState::Busy { .. }));
    // With a limit of its own it isn't sent along with the first: it fills the queue.
    let limited = pool.options().limit(Duration::from_secs(60));
    let queued = limited.submit(|n: u32| n, 1).unwrap();
    let (submits, maps) = (pool.clone(), pool.clone());
    let blocks: [(&str, &str, Blocks); 3] = [
        (
            "waits",
            "a job of a process pool, `held` (",
            Box::new(move || held.wait().unwrap()),
        ),
        (
            "submits",
            "room in the queue of a process pool",
            Box::new(move || assert_eq!(submits.call(|n: u32| n, 2).unwrap().unwrap(), 2)),
        ),
        (
            "maps",
            "room in the queue of a process pool",
            Box::new(move || assert_eq!(maps.map(|n: u32| n, [3]).count(), 1)),
        ),
    ];
    let mut threads = Vec::new();
    for (name, expected, block) in blocks {
        let thread = std::thread::Builder::new().name(name.to_owned());
        threads.push(thread.spawn(block).unwrap());
        let expected = format!("thread '{name}', blocks and waits for {expected}");
        until(|| {
            let dump = threeply_runtime::block_on(async { inspect::dump().await });
            let told = dump.blocked.iter().map(ToString::to_string);
            told.into_iter().any(|text| text.starts_with(&expected))
        });
    }
    drop(file);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(queued.wait().unwrap(), 1);
    let dump = threeply_runtime::block_on(async { inspect::dump().await });
    let is_ours = |name: &Option<String>| {
        let ours = ["waits", "submits", "maps"];
        name.as_deref().is_some_and(|name| ours.contains(&name))
    };
    assert!(!dump.blocked.iter().any(|it| is_ours(&it.thread)), "{dump}");
    end(Arc::into_inner(pool).expect("the threads have ended"));
}

#[test]
fn a_thread_that_blocks_for_one_of_many_results_says_so() {
    let _dog = watchdog();
    for (name, what) in [
        ("maps", "a result of a process pool's `map`"),
        ("completes", "the next of several jobs of a process pool"),
    ] {
        let pool = new_pool(1);
        let (file, path) = gate();
        let block = move || {
            if name == "maps" {
                assert_eq!(pool.map(hold, [path]).count(), 1);
            } else {
                let jobs = [pool.submit(hold, path).unwrap()];
                assert_eq!(threeply_pools::process::as_completed(jobs).count(), 1);
            }
            end(pool);
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        let thread = thread.spawn(block).unwrap();
        let expected = format!("thread '{name}', blocks and waits for {what}");
        until(|| {
            let dump = threeply_runtime::block_on(async { inspect::dump().await });
            dump.blocked.iter().any(|it| it.to_string() == expected)
        });
        drop(file);
        thread.join().unwrap();
    }
}

#[test]
fn a_pool_whose_workers_are_all_stuck_while_jobs_wait_is_reported_once_a_stall() {
    let _dog = watchdog();
    let limit = Duration::from_millis(20);
    let (tell, stalls) = std::sync::mpsc::channel();
    let pool = ProcessPool::builder().workers(2).watchdog(limit);
    let pool = pool.on_stall(move |stall| tell.send(stall.clone()).unwrap());
    let pool = pool.build().unwrap();
    // Jobs with a limit aren't sent along with others: the third stays in the queue.
    let limited = pool.options().limit(Duration::from_secs(3600));
    for _ in 0..2 {
        let gates = [gate(), gate()];
        let (files, paths): (Vec<_>, Vec<_>) = gates.into_iter().unzip();
        let stuck: Vec<_> = (paths.into_iter())
            .map(|path| limited.submit(hold, path).unwrap())
            .collect();
        let line = line!() - 2;
        let waits = limited.submit(|n: u32| n, 1).unwrap();
        let stall = stalls.recv().unwrap();
        assert!(stall.lasts >= limit);
        let text = stall.to_string();
        let site = format!("submitted at {}:{line}:", file!());
        // In the lines of the workers, and in those of the jobs.
        assert_eq!(text.matches(&site).count(), 4, "{text}");
        assert!(text.contains("busy with job"), "{text}");
        assert!(text.contains("`limit`"), "{text}");
        drop(files);
        stuck.into_iter().for_each(|job| job.wait().unwrap());
        assert_eq!(waits.wait().unwrap(), 1);
        until(|| pool.dump().jobs.is_empty());
    }
    end(pool);
    // The hook is gone with the pool, and with it the sender.
    assert_eq!(stalls.iter().count(), 0, "once each");
}

#[test]
fn workers_behind_which_nothing_waits_are_no_stall() {
    let _dog = watchdog();
    let limit = Duration::from_millis(20);
    let (tell, stalls) = std::sync::mpsc::channel();
    let pool = ProcessPool::builder().workers(1).watchdog(limit);
    let pool = pool.on_stall(move |stall| drop(tell.send(stall.to_string())));
    let pool = pool.build().unwrap();
    let (file, path) = gate();
    let alone = pool.submit(hold, path).unwrap();
    // Several looks go by, with nothing behind it.
    std::thread::sleep(limit * 4);
    drop(file);
    alone.wait().unwrap();
    end(pool);
    assert_eq!(stalls.iter().next(), None);
}

#[test]
fn a_watchdog_without_patience_is_refused() {
    let error = ProcessPool::builder().watchdog(Duration::ZERO).build();
    let error = error.expect_err("a limit of nothing");
    assert!(matches!(error, Error::NoPatience), "{error}");
}

#[test]
fn who_has_no_pool_at_hand_finds_those_that_have_anything_left() {
    in_a_process_of_its_own(|()| {
        let dumps = || {
            let dumps = threeply_pools::process::dump_all().into_iter();
            dumps.map(|dump| (dump.open, dump.size, dump.jobs.len()))
        };
        let all = || dumps().collect::<Vec<_>>();
        assert_eq!(all(), []);
        let (first, second) = (new_pool(1), new_pool(2));
        let (file, path) = gate();
        let held = second.submit(hold, path).unwrap();
        assert_eq!(all(), [(true, 1, 0), (true, 2, 1)]);
        drop(second);
        assert_eq!(all(), [(true, 1, 0), (false, 2, 1)], "it still has a job");
        end(first);
        assert_eq!(all(), [(false, 2, 1)]);
        drop(file);
        held.wait().unwrap();
        until(|| all().is_empty());
    });
}
