//! What is particular to workers from a fork server; everything else holds for
//! them as for others, and is tested by the same tests.
//!
//! Each test runs in a process of its own (a job of another pool): there is one
//! fork server in a process, and these kill it and count what is left.

use crate::{end, kill, watchdog};
use std::time::{Duration, Instant};
use threeply_pools::process::{JobError, JobHandle, ProcessPool, StartMethod};

fn forked(workers: usize) -> ProcessPool {
    ProcessPool::builder()
        .workers(workers)
        .start_method(StartMethod::ForkServer)
        .build()
        .unwrap()
}

/// Runs `test` as a job.
fn in_a_process_of_its_own(test: fn(())) {
    let _dog = watchdog();
    let pool = ProcessPool::new(1).unwrap();
    let outcome = pool.submit(test, ()).unwrap().wait();
    if let Err(error) = outcome {
        panic!("{error}");
    }
    end(pool);
}

/// Parent, state and name of a process, from its `stat`.
fn look_up(pid: u32) -> Option<(u32, char, String)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = stat.rsplit_once(") ")?;
    let name = start.split_once('(')?.1.to_owned();
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state, name))
}

/// The children of this process, by number and name.
fn children() -> Vec<(u32, String)> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| {
        let (parent, _, name) = look_up(pid)?;
        (parent == std::process::id()).then_some((pid, name))
    })
    .collect()
}

fn zygote() -> Option<u32> {
    let (pid, _) = children()
        .into_iter()
        .find(|(_, name)| name == "threeply-zygote")?;
    Some(pid)
}

#[test]
fn workers_are_children_of_the_pools_process_and_carry_its_name() {
    in_a_process_of_its_own(|()| {
        let pool = ProcessPool::builder()
            .workers(2)
            .name("forked")
            .start_method(StartMethod::ForkServer)
            .build()
            .unwrap();
        for pid in pool.worker_pids() {
            assert_eq!(look_up(pid).unwrap().0, std::process::id());
            // It takes its name a moment after it was forked.
            crate::until(|| look_up(pid).unwrap().2 == "forked");
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            assert_eq!(nix::unistd::getpgid(Some(pid)), Ok(pid));
        }
        end(pool);
    });
}

#[test]
fn pools_share_one_fork_server_which_ends_with_the_last_of_them() {
    in_a_process_of_its_own(|()| {
        let first = forked(1);
        let server = zygote().unwrap();
        let second = forked(1);
        assert_eq!(children().len(), 3, "two workers and one server");
        end(first);
        assert_eq!(zygote(), Some(server));
        assert_eq!(second.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        end(second);
        assert_eq!(children(), []);
    });
}

#[test]
fn the_death_of_the_fork_server_costs_no_job_and_leaves_no_zombie() {
    in_a_process_of_its_own(|()| {
        let pool = forked(2);
        let before = zygote().unwrap();
        let workers = pool.worker_pids();
        kill(before);
        // The supervisor notices and buries it.
        while look_up(before).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        assert_eq!(pool.worker_pids(), workers, "they are not its children");
        // Those that are needed later come from another one.
        for worker in workers {
            kill(worker);
        }
        let sum: u64 = pool.map(|n: u64| n, 0..100).map(Result::unwrap).sum();
        assert_eq!(sum, 4950);
        while pool.worker_pids().len() < 2 {
            std::thread::yield_now();
        }
        assert_ne!(zygote().expect("another one"), before);
        end(pool);
        assert_eq!(children(), []);
    });
}

fn stop(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).unwrap();
    crate::until(|| look_up(pid.as_raw().unsigned_abs()).unwrap().1 == 'T');
}

#[test]
fn a_fork_server_that_stands_still_holds_up_nothing_but_new_workers() {
    in_a_process_of_its_own(|()| {
        let pool = forked(2);
        let stay: fn(()) = |()| loop {
            std::thread::park();
        };
        assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        stop(zygote().unwrap());
        let before = Instant::now();
        let [victim, survivor] = pool.worker_pids()[..] else {
            panic!("two workers");
        };
        kill(victim);
        // The supervisor buries it, asks for another, and isn't answered.
        crate::until(|| pool.worker_pids() == [survivor]);
        // Limits are still watched over, and so are deaths (of the second one here).
        let limited = pool.options().limit(Duration::from_millis(20));
        let outcome = limited.submit(stay, ()).unwrap().wait();
        assert!(
            matches!(outcome, Err(JobError::TimedOut { .. })),
            "{outcome:?}"
        );
        crate::until(|| pool.worker_pids().is_empty());
        // And what can't be run doesn't hold up the end.
        let waits = pool.submit(|n: u8| n, 1).unwrap();
        pool.shutdown(Duration::ZERO);
        assert!(matches!(waits.wait(), Err(JobError::ShutDown)));
        crate::until(|| children().is_empty()); // The fork server is ended, too.
        assert!(
            before.elapsed() < Duration::from_secs(10),
            "not its handshake"
        );
    });
}

#[test]
fn it_goes_with_its_parent_however_that_ends() {
    let _dog = watchdog();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pids").to_str().unwrap().to_owned();
    let parent = |path: String| {
        let pool = forked(1);
        let pids = [zygote().unwrap(), pool.worker_pids()[0]];
        std::fs::write(format!("{path}.new"), format!("{} {}", pids[0], pids[1])).unwrap();
        std::fs::rename(format!("{path}.new"), path).unwrap();
        loop {
            std::thread::park();
        }
    };
    let pool = ProcessPool::new(1).unwrap();
    let job: JobHandle<()> = pool.submit(parent, path.clone()).unwrap();
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
        while look_up(pid.parse().unwrap()).is_some_and(|(_, state, _)| state != 'Z') {
            std::thread::yield_now();
        }
    }
    end(pool);
}

#[test]
fn a_fork_server_works_for_pools_in_workers_of_one() {
    let _dog = watchdog();
    let pool = forked(1);
    let inner = |n: u32| {
        let pool = forked(1);
        let value = pool.call(|n: u32| n + 1, n).unwrap().unwrap();
        pool.shutdown(Duration::from_secs(20));
        value
    };
    assert_eq!(pool.call(inner, 1).unwrap().unwrap(), 2);
    end(pool);
}
