//! What reaches a worker, what it leaves behind, and when it goes.
#![allow(unsafe_code)] // ignores signals

use crate::{builder, end, kill, new_pool, until, watchdog};
use std::time::Duration;

#[test]
fn workers_have_default_signals_their_own_group_and_no_foreign_descriptors() {
    let _dog = watchdog();
    let _foreign = std::fs::File::open("/dev/null").unwrap();
    let pool = new_pool(1);
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
    // 0 to 2, three bells, the socket for descriptors, the parent's pidfd, and the
    // directory itself.
    assert!(descriptors <= 9, "{descriptors}");
    assert!(own_group);
    end(pool);
}

#[test]
fn descriptors_are_as_before_once_a_pool_has_gone() {
    // In a process of its own, since other tests open descriptors meanwhile.
    let _dog = watchdog();
    let pool = new_pool(1);
    let inner = |_: ()| {
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = count();
        let pool = new_pool(2);
        for pid in pool.worker_pids() {
            kill(pid);
        }
        let sum: u64 = pool.map(|n: u64| n, 0..100).map(Result::unwrap).sum();
        end(pool);
        // Its threads close theirs as they end. (The watchdog tells of a leak.)
        until(|| count() == before);
        sum
    };
    assert_eq!(pool.submit(inner, ()).unwrap().wait().unwrap(), 4950);
    end(pool);
}

#[test]
fn workers_go_when_their_parent_is_killed() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pids").to_str().unwrap().to_owned();
    // The worker is itself the parent of a pool whose workers are busy.
    let parent = |path: String| {
        let pool = new_pool(2);
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

#[test]
fn no_foreign_descriptor_reaches_a_worker_while_other_threads_open_some() {
    let _dog = watchdog();
    let pool = new_pool(1);
    // In a process of its own: these descriptors would reach others' children, too.
    let storm = |_: ()| {
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let null = std::fs::File::open("/dev/null").unwrap();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        // Without close-on-exec, as a careless C library would.
                        let open: Vec<_> =
                            (0..20).map(|_| nix::unistd::dup(&null).unwrap()).collect();
                        drop(open);
                    }
                });
            }
            let pool = builder().workers(1).jobs_per_worker(1).build().unwrap();
            let look = |_: u32| {
                let names = std::fs::read_dir("/proc/self/fd").unwrap();
                let target = |entry: std::io::Result<std::fs::DirEntry>| {
                    std::fs::read_link(entry.unwrap().path()).ok()
                };
                names
                    .filter_map(target)
                    .filter(|to| to == "/dev/null")
                    .count()
            };
            let most = pool.map(look, 0..20).chunk(1).map(Result::unwrap).max();
            end(pool);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            most.unwrap()
        })
    };
    // Its own stdin is one.
    assert_eq!(pool.submit(storm, ()).unwrap().wait().unwrap(), 1);
    end(pool);
}

#[test]
fn a_pool_that_has_nothing_to_do_sleeps() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let inner = |_: ()| {
        let pool = new_pool(2);
        pool.map(|n: u32| n, 0..100)
            .for_each(|outcome| assert!(outcome.is_ok()));
        // Every thread of this process but this one, and of its workers.
        let switches = || {
            let mut pids = pool.worker_pids();
            pids.push(std::process::id());
            let mut sum = 0u64;
            for pid in pids {
                for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
                    let path = thread.unwrap().path().join("status");
                    // It may have ended since it was listed.
                    let status = std::fs::read_to_string(path).unwrap_or_default();
                    if status.starts_with("Name:\tthreeply-worker\n") && pid == std::process::id() {
                        continue;
                    }
                    let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
                    sum += lines
                        .map(|line| line.split('\t').nth(1).unwrap().parse::<u64>().unwrap())
                        .sum::<u64>();
                }
            }
            sum
        };
        // Some windows: what goes on for a moment after the jobs (on a busy machine, a
        // worker that comes up) is over by the last.
        let mut before = switches();
        let mut seen = (0..50).map(|_| {
            std::thread::sleep(Duration::from_millis(60));
            let now = switches();
            now.abs_diff(std::mem::replace(&mut before, now))
        });
        // None is enough, and is the usual.
        seen.find(|&seen| seen == 0).ok_or(())
    };
    let quiet = pool.submit(inner, ()).unwrap().wait().unwrap();
    assert_eq!(quiet, Ok(0), "it wakes up again and again");
    end(pool);
}

#[test]
fn a_parent_that_blocks_and_ignores_signals_gives_neither_to_its_workers() {
    let _dog = watchdog();
    let pool = new_pool(1);
    // In a process of its own, whose signals are its own.
    let inner = |()| {
        use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
        let mut blocked = SigSet::empty();
        for number in [Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGCHLD] {
            blocked.add(number);
        }
        blocked.thread_block().unwrap();
        for number in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2] {
            // SAFETY: ignores a signal.
            unsafe { signal(number, SigHandler::SigIgn) }.unwrap();
        }
        let pool = new_pool(1);
        let look = |()| {
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let of = |name: &str| {
                let line = status.lines().find(|line| line.starts_with(name)).unwrap();
                u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
            };
            (of("SigBlk"), of("SigIgn"), std::process::id())
        };
        // SIGPIPE alone is ignored, as in every Rust program.
        let (blocked, ignored, first) = pool.call(look, ()).unwrap().unwrap();
        assert_eq!((blocked, ignored), (0, 1 << 12), "started by this thread");
        kill(first);
        let (blocked, ignored, second) = pool.call(look, ()).unwrap().unwrap();
        assert_eq!(
            (blocked, ignored),
            (0, 1 << 12),
            "started by another thread"
        );
        assert_ne!(first, second);
        end(pool);
    };
    pool.call(inner, ()).unwrap().unwrap();
    end(pool);
}

/// Bytes of shared memory that this process has in use.
fn shared_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssShmem:"));
    let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

#[test]
fn the_room_of_large_arguments_and_results_is_used_again() {
    let _dog = watchdog();
    let pool = new_pool(1);
    // In a process of its own, whose memory nobody else uses.
    let inner = |()| {
        let pool = new_pool(1);
        let (megabyte, rounds) = (1 << 20, 64);
        let large = |len: usize| "x".repeat(len);
        let swallow = |text: String| text.len();
        let round = || {
            pool.call(swallow, large(megabyte)).unwrap().unwrap();
            pool.call(large, megabyte).unwrap().unwrap();
        };
        round(); // What is kept.
        let before = shared_memory();
        for _ in 0..rounds {
            round();
        }
        let more = shared_memory().saturating_sub(before);
        end(pool);
        more / megabyte as u64
    };
    let more = pool.call(inner, ()).unwrap().unwrap();
    assert!(more < 16, "{more} MiB more after 64 rounds");
    end(pool);
}
