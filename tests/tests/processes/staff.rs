//! How many workers there are: resizing, idle exit, recycling, several pools, pools in
//! workers.

use crate::{builder, end, gate, hold, is_alive, new_pool, until, watchdog};
use std::collections::HashSet;
use std::time::Duration;
use threeply_pools::process::{Error, WorkerDump, WorkerStage, WorkerState, WorkerStatistics};

#[test]
fn a_pool_grows_and_shrinks_while_it_works_and_loses_no_job() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let sum = std::thread::scope(|scope| {
        let pool = &pool;
        let jobs = scope.spawn(move || {
            let values = pool.map(|n: u64| n, 0..20_000).chunk(7);
            values.map(Result::unwrap).sum::<u64>()
        });
        for size in [3, 1, 4, 2].into_iter().cycle().take(12) {
            pool.resize(size).unwrap();
            assert_eq!(pool.workers(), size);
            until(|| pool.worker_pids().len() == size);
        }
        jobs.join().unwrap()
    });
    assert_eq!(sum, (0..20_000).sum::<u64>());
    assert_eq!(pool.statistics().workers_died, 0);
    assert!(matches!(pool.resize(0), Err(Error::NoWorkers)));
    end(pool);
}

#[test]
fn a_worker_that_is_one_too_many_finishes_what_it_has_begun() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let (file, path) = gate();
    let jobs = [path.clone(), path].map(|path| pool.submit(hold, path).unwrap());
    let quick: Vec<_> = (0..20u32)
        .map(|n| pool.submit(|n: u32| n, n).unwrap())
        .collect();
    until(|| {
        pool.statistics()
            .workers
            .iter()
            .all(|worker| worker.running.is_some())
    });
    pool.resize(1).unwrap();
    drop(file);
    jobs.into_iter().for_each(|job| job.wait().unwrap());
    for (n, job) in (0..).zip(quick) {
        assert_eq!(job.wait().unwrap(), n);
    }
    until(|| pool.worker_pids().len() == 1);
    assert_eq!(pool.statistics().workers_died, 0);
    end(pool);
}

#[test]
fn idle_workers_go_and_come_back_when_they_are_needed() {
    let _dog = watchdog();
    let pool = builder()
        .workers(2)
        .idle_exit(Duration::from_millis(20))
        .build()
        .unwrap();
    for _ in 0..3 {
        let jobs: Vec<_> = (0..10u32)
            .map(|n| pool.submit(|n: u32| n, n).unwrap())
            .collect();
        let pids = pool.worker_pids();
        for (n, job) in (0..).zip(jobs) {
            assert_eq!(job.wait().unwrap(), n);
        }
        until(|| pool.worker_pids().is_empty());
        assert!(pids.into_iter().all(|pid| !is_alive(pid)));
    }
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1, "called, too");
    assert_eq!(pool.statistics().workers_died, 0);
    end(pool);
}

#[test]
fn a_worker_that_has_grown_too_large_is_replaced() {
    let _dog = watchdog();
    let pool = builder()
        .workers(1)
        .recycle_above(64 << 20)
        .build()
        .unwrap();
    let leak = |bytes: usize| {
        std::mem::forget(std::hint::black_box(vec![1u8; bytes]));
        std::process::id()
    };
    let run = |bytes| pool.submit(leak, bytes).unwrap().wait().unwrap();
    let small = run(1 << 10);
    assert_eq!(run(1 << 20), small, "it may stay");
    assert_eq!(run(128 << 20), small);
    let after = run(1);
    assert_ne!(after, small);
    let pids: HashSet<_> = pool.map(leak, [100 << 20; 4]).map(Result::unwrap).collect();
    // What was sent to one ahead, it still runs.
    assert!(pids.len() > 1, "{pids:?}");
    assert_eq!(pool.statistics().workers_died, 0);
    end(pool);
}

#[test]
fn pools_live_side_by_side_and_in_workers() {
    let _dog = watchdog();
    let (a, b) = (new_pool(1), new_pool(1));
    fn nested(depth: u32) -> Vec<u32> {
        let mut pids = match depth {
            0 => Vec::new(),
            _ => {
                let pool = new_pool(1);
                let pids = pool.submit(nested, depth - 1).unwrap().wait().unwrap();
                end(pool);
                pids
            }
        };
        pids.push(std::process::id());
        pids
    }
    let jobs = [a.submit(nested, 2).unwrap(), b.submit(nested, 2).unwrap()];
    let pids: Vec<u32> = jobs
        .into_iter()
        .flat_map(|job| job.wait().unwrap())
        .collect();
    let distinct: HashSet<_> = pids.iter().collect();
    assert_eq!((pids.len(), distinct.len()), (6, 6));
    end(a);
    end(b);
}

#[test]
fn a_worker_that_does_not_exit_when_it_is_told_to_is_killed() {
    let _dog = watchdog();
    let pool = new_pool(2);
    pool.map(|n: u32| n, 0..10)
        .for_each(|outcome| assert!(outcome.is_ok()));
    let stopped = pool.worker_pids()[0];
    let pid = nix::unistd::Pid::from_raw(stopped.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    end(pool);
    assert!(!is_alive(stopped));
}

#[test]
fn a_worker_that_was_one_too_many_stays_if_the_pool_grows_again_in_time() {
    let _dog = watchdog();
    let pool = new_pool(2);
    let (file, path) = gate();
    let (ledger, list) = gate();
    let begin = |(list, path): (String, String)| {
        use std::io::Write;
        let list = std::fs::File::options().append(true).open(list);
        list.unwrap().write_all(b"x").unwrap();
        hold(path);
    };
    let jobs = [(); 2].map(|()| pool.submit(begin, (list.clone(), path.clone())).unwrap());
    until(|| ledger.as_file().metadata().unwrap().len() == 2);
    let pids: HashSet<_> = pool.worker_pids().into_iter().collect();
    pool.resize(1).unwrap();
    pool.resize(2).unwrap();
    drop(file);
    jobs.into_iter().for_each(|job| job.wait().unwrap());
    for _ in 0..3 {
        pool.resize(2).unwrap(); // Has the supervisor look.
        pool.call(|n: u8| n, 1).unwrap().unwrap();
    }
    assert_eq!(pool.worker_pids().into_iter().collect::<HashSet<_>>(), pids);
    assert_eq!(pool.statistics().workers_started, 2);
    end(pool);
}

#[test]
fn an_idle_worker_s_patience_begins_when_its_last_job_ends() {
    let _dog = watchdog();
    let patience = Duration::from_millis(300);
    let pool = builder().workers(1).idle_exit(patience).build().unwrap();
    let nap = |ms: u64| {
        std::thread::sleep(Duration::from_millis(ms));
        std::process::id()
    };
    // A machine that is busy with other things has some tries.
    let stays = || {
        let begun = std::time::Instant::now();
        let pid = pool.call(nap, 350).unwrap().unwrap(); // Longer than that.
        pool.resize(1).unwrap(); // Has the supervisor look.
        std::thread::sleep(Duration::from_millis(50));
        let same = pool.call(nap, 0).unwrap().unwrap() == pid;
        (begun.elapsed() < Duration::from_millis(350) + patience).then_some(same)
    };
    let seen = std::iter::repeat_with(stays).flatten().next();
    assert_eq!(seen, Some(true));
    end(pool);
}

#[test]
fn a_pool_that_shrinks_while_workers_are_being_started_ends_with_as_many_as_it_should() {
    let _dog = watchdog();
    let pool = new_pool(1);
    for round in 0..60u64 {
        pool.resize(4).unwrap();
        // At another moment of their start each time.
        std::thread::sleep(Duration::from_micros(round * 40));
        pool.resize(1).unwrap();
        let settled = |workers: &[WorkerStatistics]| {
            workers.len() == 1 && workers[0].stage == WorkerStage::Ready
        };
        until(|| settled(&pool.statistics().workers));
    }
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    // One that comes up when there are enough is there for a moment, on its way out.
    let stays = |worker: &WorkerDump| {
        let goes = [WorkerState::Leaving, WorkerState::Dying];
        !goes.contains(&worker.state)
    };
    for _ in 0..20 {
        assert_eq!(pool.dump().workers.iter().filter(|it| stays(it)).count(), 1);
        until(|| pool.worker_pids().len() == 1);
    }
    assert_eq!(pool.statistics().workers_died, 0);
    end(pool);
}
