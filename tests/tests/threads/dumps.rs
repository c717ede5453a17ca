//! What a pool tells when it is asked why nothing is happening, and what it tells by
//! itself.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use threeply_pools::Error;
use threeply_pools::thread::{self, ThreadPool, Work, WorkerState, blocking};
use threeply_runtime::inspect::{self, Finding, Party, WaitsFor};
use threeply_runtime::sync::shared::Mutex;
use threeply_runtime::{EventLoop, RemoteHandle};

use crate::watchdog;

/// Long enough for a test to hang, and be ended.
const NEVER: Duration = Duration::from_secs(3600);

fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        std::thread::yield_now();
    }
}

/// A job that waits until its sender is dropped, and what it does first.
fn gate() -> (mpsc::Sender<()>, impl FnOnce() + Send) {
    let (open, wait) = mpsc::channel::<()>();
    let wait = move || assert!(wait.recv().is_err());
    (open, wait)
}

fn states(pool: &ThreadPool) -> Vec<WorkerState> {
    let workers = pool.dump().workers;
    workers.iter().map(|worker| worker.state).collect()
}

#[test]
fn a_dump_tells_who_runs_what_and_how_much_is_queued() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder().threads(2).name("dumped");
    let pool = pool.publish_running(true).build().unwrap();
    until(|| states(&pool) == [WorkerState::Parked; 2]);
    let idle = pool.dump();
    assert!(idle.open && idle.workers.iter().all(|worker| worker.work.is_none()));

    let (open, wait) = gate();
    let held = pool.spawn(wait);
    let line = line!() - 1;
    let (open_detached, wait) = gate();
    pool.spawn_detached(wait);
    until(|| states(&pool) == [WorkerState::Running; 2]);
    let more: Vec<_> = (0..3).map(|n| pool.spawn(move || n)).collect();
    let dump = pool.dump();
    assert_eq!((dump.threads, dump.guests), (2, 0));
    assert_eq!((dump.injected, dump.queued), (3, 3));
    let mut lines: Vec<_> = (dump.workers.iter())
        .map(|worker| match worker.work {
            Some((Work::Job { site }, _)) if site.file() == file!() => site.line(),
            ref other => panic!("{other:?}"),
        })
        .collect();
    lines.sort_unstable();
    assert_eq!(lines, [line, line + 3]);
    let text = dump.to_string();
    for expected in [
        "thread pool 'dumped', open: 2 threads, 0 guests, 3 jobs queued".to_owned(),
        "dumped-0: running, a job spawned at ".to_owned(),
        format!("{}:{line}:", file!()),
    ] {
        assert!(text.contains(&expected), "no {expected:?} in {text}");
    }

    drop((open, open_detached));
    held.wait().unwrap();
    for (n, job) in (0..).zip(more) {
        assert_eq!(job.wait().unwrap(), n);
    }
    until(|| states(&pool) == [WorkerState::Parked; 2]);
    assert!(pool.shutdown(NEVER).is_clean());
    assert!(!pool.dump().open);
}

#[test]
fn a_dump_tells_who_sleeps_inside_of_its_work_and_who_has_lent_its_permit() {
    let _watchdog = watchdog();
    let pool = ThreadPool::builder().threads(2).publish_running(true);
    let pool = pool.build().unwrap();
    // One waits for the end of a scope whose job the other one runs.
    let (open, wait) = gate();
    let (began, has_begun) = mpsc::channel();
    let scope = pool.spawn(move || {
        thread::scope(|scope| {
            scope.spawn(move |_| {
                began.send(thread::current_thread_index()).unwrap();
                wait();
            });
            // Not before somebody else has it, or this thread would run it itself.
            until_begun(&has_begun);
        });
    });
    until(|| {
        let states = states(&pool);
        states.contains(&WorkerState::AwaitsScope) && states.contains(&WorkerState::Running)
    });
    let dump = pool.dump();
    assert!(dump.workers.iter().all(|worker| worker.work.is_some()));
    drop(open);
    scope.wait().unwrap();

    let (open, wait) = gate();
    let job = pool.spawn(move || blocking(wait));
    until(|| states(&pool).contains(&WorkerState::Blocking));
    drop(open);
    job.wait().unwrap();
    until(|| !states(&pool).contains(&WorkerState::Blocking));
    assert!(pool.shutdown(NEVER).is_clean());
}

fn until_begun(has_begun: &mpsc::Receiver<Option<usize>>) {
    let other = has_begun.recv().unwrap();
    assert!(other.is_some() && other != thread::current_thread_index());
}

#[test]
fn a_pool_that_publishes_nothing_still_tells_who_sleeps() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    until(|| states(&pool) == [WorkerState::Parked]);
    let (open, wait) = gate();
    let job = pool.spawn(wait);
    until(|| states(&pool) == [WorkerState::Awake]);
    assert_eq!(pool.dump().workers[0].work, None);
    drop(open);
    job.wait().unwrap();
}

#[test]
fn a_dump_of_the_loop_names_the_job_that_a_task_awaits() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (open, wait) = gate();
    let held = pool.spawn(wait);
    let job = pool.spawn(|| 7);
    let line = line!() - 1;
    threeply_runtime::block_on(async {
        let holds = threeply_runtime::spawn(held);
        let waits = threeply_runtime::spawn(job);
        let expected = format!("a job of a thread pool, spawned at {}:{line}:", file!());
        loop {
            threeply_runtime::yield_now().await;
            let dump = inspect::dump().await;
            let told = |id| {
                let waits_for = &dump.task(id).expect("it waits").waits_for;
                waits_for.first().map(ToString::to_string)
            };
            let (Some(one), Some(two)) = (told(holds.id()), told(waits.id())) else {
                continue; // Not polled yet.
            };
            assert!(
                two.starts_with(&expected) && two.ends_with(": queued"),
                "{two}"
            );
            if one.ends_with(": runs") {
                break;
            }
        }
        drop(open);
        holds.await.unwrap().unwrap();
        assert_eq!(waits.await.unwrap().unwrap(), 7);
    });
}

#[test]
fn a_job_that_waits_for_the_task_that_awaits_it_is_found_also_through_another_job() {
    let _watchdog = watchdog();
    for through_another in [false, true] {
        let pool = Arc::new(ThreadPool::new(2).unwrap());
        let event_loop = EventLoop::new().unwrap();
        let (send, receive) = mpsc::channel::<RemoteHandle<()>>();
        let inner = pool.clone();
        let job = pool.spawn(move || {
            let waits = move || drop(receive.recv().unwrap().wait());
            match through_another {
                // Not `wait`, which would run it here.
                true => drop(thread::as_completed([inner.spawn(waits)]).next()),
                false => waits(),
            }
        });
        let task = event_loop.handle().spawn(async move || drop(job.await));
        assert!(send.send(task).is_ok());
        event_loop.block_on(async {
            let own = threeply_runtime::task::current().unwrap().id;
            let (id, why) = loop {
                threeply_runtime::yield_now().await;
                let dump = inspect::dump().await;
                let other = dump.tasks.iter().find(|task| task.id != own);
                if let Some(id) = other.map(|task| task.id)
                    && let Some(why) = inspect::why(id).await
                    && !why.findings.is_empty()
                {
                    break (id, why);
                }
            };
            let [Finding::Deadlock(parties)] = &why.findings[..] else {
                panic!("{why}")
            };
            assert_eq!(parties.len(), if through_another { 3 } else { 2 }, "{why}");
            assert_eq!(parties[0], Party::Task(id));
            let text = why.to_string();
            for expected in [
                "waits for a job of a thread pool, spawned at".to_owned(),
                "blocks and waits for remote task".to_owned(),
                format!("deadlock: task {id}"),
            ] {
                assert!(text.contains(&expected), "no {expected:?} in {text}");
            }
        });
        // The loop ends with its tasks, and so does what the job waits for.
        drop(event_loop);
        assert!(pool.shutdown(NEVER).is_clean());
    }
}

#[test]
fn a_job_that_blocks_on_a_lock_of_the_task_that_awaits_it_is_found() {
    let _watchdog = watchdog();
    let pool = Arc::new(ThreadPool::new(1).unwrap());
    threeply_runtime::block_on(async {
        let its_pool = pool.clone();
        let task = threeply_runtime::spawn(async move {
            let mutex = Arc::new(Mutex::new(()));
            let _guard = mutex.lock().await;
            let theirs = mutex.clone();
            its_pool.spawn(move || drop(theirs.blocking_lock())).await
        });
        let why = loop {
            threeply_runtime::yield_now().await;
            let why = inspect::why(task.id()).await.expect("it waits");
            if !why.findings.is_empty() {
                break why;
            }
        };
        let [Finding::Deadlock(parties)] = &why.findings[..] else {
            panic!("{why}")
        };
        assert_eq!(parties[0], Party::Task(task.id()));
        assert!(matches!(parties[1..], [Party::Job(_)]), "{why}");
        let text = why.to_string();
        for expected in [
            "waits for a job of a thread pool, spawned at",
            "blocks and waits for a mutex (",
        ] {
            assert!(text.contains(expected), "no {expected:?} in {text}");
        }
        task.abort();
        drop(task.await);
    });
    assert!(pool.shutdown(NEVER).is_clean());
}

#[test]
fn a_task_that_awaits_the_first_of_several_jobs_names_them_all() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (open, wait) = gate();
    let jobs = [pool.spawn(wait), pool.spawn(|| ()), pool.spawn(|| ())];
    threeply_runtime::block_on(async {
        let task = threeply_runtime::spawn(async move {
            let mut ended = thread::as_completed(jobs);
            while ended.next_async().await.is_some() {}
        });
        threeply_runtime::yield_now().await;
        let dump = inspect::dump().await;
        let waits_for = &dump.task(task.id()).expect("it waits").waits_for;
        assert_eq!(waits_for.len(), 3, "{dump}");
        let is_job = |what: &WaitsFor| matches!(what, WaitsFor::Job { .. });
        assert!(waits_for.iter().all(is_job), "{dump}");
        drop(open);
        task.await.unwrap();
    });
}

#[test]
fn a_pool_whose_workers_are_all_stuck_while_jobs_wait_is_reported_once_a_stall() {
    let _watchdog = watchdog();
    let limit = Duration::from_millis(20);
    let (tell, stalls) = mpsc::channel();
    let pool = ThreadPool::builder()
        .threads(2)
        .watchdog(limit)
        .on_stall(move |stall| tell.send(stall.clone()).unwrap());
    let pool = pool.build().unwrap();
    for _ in 0..2 {
        let (open, wait) = gate();
        let (open_other, wait_other) = gate();
        let stuck = [pool.spawn(wait), pool.spawn(wait_other)];
        let line = line!() - 1;
        until(|| states(&pool) == [WorkerState::Running; 2]);
        let queued = pool.spawn(|| 1);
        let stall = stalls.recv().unwrap();
        assert!(stall.lasts >= limit);
        assert_eq!(stall.pool.queued, 1);
        let at = format!("a job spawned at {}:{line}:", file!());
        let text = stall.to_string();
        assert_eq!(text.matches(&at).count(), 2, "{text}");
        assert!(text.contains("blocking(||"), "{text}");
        drop((open, open_other));
        stuck.into_iter().for_each(|job| job.wait().unwrap());
        assert_eq!(queued.wait().unwrap(), 1);
        until(|| states(&pool) == [WorkerState::Parked; 2]);
    }
    assert!(pool.shutdown(NEVER).is_clean());
    // The hook is gone with the pool, and with it the sender.
    drop(pool);
    assert_eq!(stalls.iter().count(), 0, "once each");
}

#[test]
fn workers_that_lend_their_permits_or_have_nothing_queued_are_no_stall() {
    let _watchdog = watchdog();
    let limit = Duration::from_millis(20);
    let (tell, stalls) = mpsc::channel();
    let pool = ThreadPool::builder()
        .threads(1)
        .watchdog(limit)
        .on_stall(move |stall| drop(tell.send(stall.to_string())));
    let pool = pool.build().unwrap();
    let (open, wait) = gate();
    let alone = pool.spawn(wait);
    // Several looks go by, with nothing queued.
    std::thread::sleep(limit * 4);
    drop(open);
    alone.wait().unwrap();
    let (open, wait) = gate();
    let blocks = pool.spawn(move || blocking(wait));
    until(|| states(&pool).contains(&WorkerState::Blocking));
    for n in 0..10 {
        assert_eq!(pool.spawn(move || n).wait().unwrap(), n);
        std::thread::sleep(limit / 2);
    }
    drop(open);
    blocks.wait().unwrap();
    assert!(pool.shutdown(NEVER).is_clean());
    drop(pool);
    assert_eq!(stalls.iter().next(), None);
}

#[test]
fn the_watchdog_sleeps_while_the_pool_does_and_ends_with_it() {
    let _watchdog = watchdog();
    let name = "dog"; // The kernel keeps 15 bytes of a thread's name.
    let build = || {
        let pool = ThreadPool::builder().threads(1).name(name);
        pool.watchdog(Duration::from_millis(1)).build().unwrap()
    };
    let dog = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        threads
            .flatten()
            .map(|thread| thread.path())
            .find(|thread| {
                let comm = std::fs::read_to_string(thread.join("comm"));
                comm.is_ok_and(|comm| comm.trim_end() == format!("{name}-watchdog"))
            })
    };
    let wakes = || {
        let status = std::fs::read_to_string(dog()?.join("status")).ok()?;
        let line = status
            .lines()
            .find(|line| line.starts_with("voluntary_ctxt_switches"))?;
        line.split_whitespace().last()?.parse::<u64>().ok()
    };
    let pool = build();
    pool.spawn(|| ()).wait().unwrap();
    until(|| states(&pool) == [WorkerState::Parked]);
    // It dozes off at the next look; then its count stands still.
    let mut before = wakes();
    until(|| {
        std::thread::sleep(Duration::from_millis(20));
        std::mem::replace(&mut before, wakes()) == before
    });
    // And it is woken by the next job.
    let (open, wait) = gate();
    let job = pool.spawn(wait);
    until(|| wakes() > before);
    drop(open);
    job.wait().unwrap();
    assert!(pool.shutdown(NEVER).is_clean());
    assert_eq!(dog(), None, "shut down");
    drop(build());
    until(|| dog().is_none());
}

#[test]
fn a_watchdog_without_patience_is_refused() {
    let error = ThreadPool::builder().watchdog(Duration::ZERO).build();
    let error = error.expect_err("a limit of nothing");
    assert!(matches!(error, Error::Config(_)), "{error}");
}
