//! Workers that sleep where their caller does.
//!
//! Each test runs in a process of its own: workers of a fork server may run where the
//! thread might that started it, which would be another test's.

use crate::{builder, end, in_a_process_of_its_own, until};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::time::{Duration, Instant};
use threeply_pools::process::{JobHandle, ProcessPool};

/// Where a thread may run, as numbers of processors.
fn mask(thread: i32) -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(thread)).unwrap();
    let all = 0..CpuSet::count();
    all.filter(|&n| set.is_set(n).unwrap()).collect()
}

/// A job that tells on which thread it runs, and where it, and a process of its own,
/// might.
fn look(_: ()) -> (i32, Vec<usize>, String) {
    let mut cat = std::process::Command::new("cat");
    let child = cat.arg("/proc/self/status").output().unwrap().stdout;
    let child = String::from_utf8(child).unwrap();
    let allowed = |status: &str| {
        let line = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed:"));
        line.unwrap().to_owned()
    };
    let me = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    assert_eq!(allowed(&me), allowed(&child));
    (nix::unistd::gettid().as_raw(), mask(0), allowed(&child))
}

/// Job after job of a caller that takes its time. Returns the worker's thread.
fn come_seldom(pool: &ProcessPool) -> i32 {
    let jobs = (0..30).map(|_| {
        std::thread::sleep(Duration::from_millis(1)); // What it does between two jobs.
        pool.submit(look, ()).unwrap().wait().unwrap()
    });
    let seen: Vec<_> = jobs.collect();
    for (thread, mask, _) in &seen {
        assert_eq!(*thread, seen[0].0, "there is one worker");
        assert_eq!(*mask, self::mask(0), "a job runs bound");
    }
    seen[0].0
}

/// Takes a millisecond.
fn work() {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1) {}
}

#[test]
fn a_worker_stays_beside_a_lone_caller_while_it_sleeps_and_then_only() {
    in_a_process_of_its_own(|()| {
        if mask(0).len() == 1 {
            eprintln!("skipped: there is one processor only");
            return;
        }
        let pool = builder().workers(1).build().unwrap();
        let mut thread = 0;
        // The caller may itself be moved meanwhile, which the worker follows with the next job.
        until(|| {
            thread = come_seldom(&pool);
            let mut tries = 0..100;
            tries.any(|_| {
                std::thread::sleep(Duration::from_millis(1));
                mask(thread).len() == 1
            })
        });

        // Two jobs at a time: the worker may be wanted anywhere.
        let both = [(); 2].map(|()| pool.submit(look, ()).unwrap());
        for (_, seen, _) in both.map(JobHandle::wait).map(Result::unwrap) {
            assert_eq!(seen, mask(0));
        }
        until(|| mask(thread) == mask(0));

        // The caller works, too, before it waits: the job is to run beside that.
        thread = come_seldom(&pool);
        for _ in 0..30 {
            std::thread::sleep(Duration::from_millis(1));
            let job = pool.submit(look, ()).unwrap();
            work();
            job.wait().unwrap();
        }
        until(|| mask(thread) == mask(0));

        // Nobody waits: likewise.
        thread = come_seldom(&pool);
        drop(pool.submit(look, ()).unwrap());
        pool.submit(look, ()).unwrap().on_done(|| {});
        until(|| mask(thread) == mask(0));
        end(pool);
    });
}

#[test]
fn a_worker_stays_nowhere_it_must_not_be() {
    in_a_process_of_its_own(|()| {
        let allowed = mask(0);
        let [first, .., last] = allowed[..] else {
            eprintln!("skipped: there is one processor only");
            return;
        };
        let bind = |n| {
            let mut set = CpuSet::new();
            set.set(n).unwrap();
            nix::sched::sched_setaffinity(Pid::from_raw(0), &set).unwrap();
        };
        // This thread and what it starts: the worker is bound to one, then we go to the other.
        bind(last);
        let pool = builder().workers(1).build().unwrap();
        pool.call(look, ()).unwrap().unwrap();
        bind(first);
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(1));
            let (thread, seen, _) = pool.call(look, ()).unwrap().unwrap();
            assert_eq!((seen, mask(thread)), (vec![last], vec![last]));
        }
        end(pool);
    });
}
