//! What is particular to workers from a fork server; everything else holds for
//! them as for others, and is tested by the same tests.
//!
//! Each test runs in a process of its own (a job of another pool): there is one
//! fork server in a process, and these kill it and count what is left.

use crate::{end, in_a_process_of_its_own, kill, watchdog};
use std::time::{Duration, Instant};
use threeply_pools::process::{JobError, JobHandle, ProcessPool, StartMethod, limits};

fn forked(workers: usize) -> ProcessPool {
    ProcessPool::builder()
        .workers(workers)
        .start_method(StartMethod::ForkServer)
        .build()
        .unwrap()
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

fn heads_its_group(pid: u32) -> bool {
    let its = nix::unistd::Pid::from_raw(pid.cast_signed());
    nix::unistd::getpgid(Some(its)).is_ok_and(|group| group == its)
}

/// The fork server. What it forks is called so, too, for a moment, but is of its group.
fn zygote() -> Option<u32> {
    let (pid, _) = children()
        .into_iter()
        .find(|(pid, name)| name == "threeply-zygote" && heads_its_group(*pid))?;
    Some(pid)
}

/// The spare, if it waits. A worker is called so, too, for a moment, but heads its group.
fn waiting_spare() -> Option<u32> {
    let (pid, _) = children().into_iter().find(|(pid, name)| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
        name == "threeply-spare"
            && !heads_its_group(*pid)
            && threads.is_ok_and(|threads| threads.count() == 2)
    })?;
    Some(pid)
}

/// The spare, once it has been forked and waits.
fn spare() -> u32 {
    crate::until(|| waiting_spare().is_some());
    waiting_spare().unwrap()
}

/// A pool of one worker that has come up, and the spare that was forked after that.
fn with_a_spare() -> (ProcessPool, u32) {
    let pool = forked(1);
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    let spare = spare();
    assert_ne!(pool.worker_pids(), [spare]);
    (pool, spare)
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
        // Workers head groups, too; a spare, just forked or not, is of its server's.
        let mut zygotes = children().into_iter().filter(|(pid, _)| {
            let pids = [first.worker_pids(), second.worker_pids()];
            heads_its_group(*pid) && !pids.iter().flatten().any(|worker| worker == pid)
        });
        assert_eq!(zygotes.next().map(|(pid, _)| pid), Some(server));
        assert_eq!(zygotes.next(), None);
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
        let spare = spare();
        stop(zygote().unwrap());
        kill(spare); // With it there would be one more worker.
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
        drop(pool);
        assert!(matches!(waits.wait(), Err(JobError::ShutDown)));
        crate::until(|| children().is_empty()); // The fork server is ended, too.
        assert!(before.elapsed() < limits::HANDSHAKE, "not its handshake");
    });
}

#[test]
fn it_goes_with_its_parent_however_that_ends() {
    let _dog = watchdog();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pids").to_str().unwrap().to_owned();
    let parent = |path: String| {
        let (pool, spare) = with_a_spare();
        let pids = [zygote().unwrap(), spare, pool.worker_pids()[0]];
        let pids = pids.map(|pid| pid.to_string()).join(" ");
        std::fs::write(format!("{path}.new"), pids).unwrap();
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
fn the_next_worker_is_the_spare_which_was_none_before() {
    in_a_process_of_its_own(|()| {
        let (first, spare) = with_a_spare();
        assert_eq!(first.statistics().workers.len(), 1);
        // 0 to 2, its socket, and its parent's pidfd.
        let open = std::fs::read_dir(format!("/proc/{spare}/fd")).unwrap();
        let mut open: Vec<_> = open.map(|entry| entry.unwrap().file_name()).collect();
        open.sort();
        assert_eq!(open, ["0", "1", "2", "3", "4"]);
        let server = zygote().unwrap().cast_signed();
        let group = nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(spare.cast_signed())));
        assert_eq!(group.map(nix::unistd::Pid::as_raw), Ok(server));

        let second = forked(1);
        assert_eq!(second.worker_pids(), [spare]);
        assert_eq!(
            second.call(|()| std::process::id(), ()).unwrap().unwrap(),
            spare
        );
        let kin = |()| std::env::var("THREEPLY_KIN").unwrap();
        assert_ne!(
            second.call(kin, ()).unwrap().unwrap(),
            first.call(kin, ()).unwrap().unwrap()
        );
        // The first pool's, or the second's, supervisor has it replaced.
        assert_ne!(self::spare(), spare);
        end(second);
        end(first);
        assert_eq!(children(), []);
    });
}

#[test]
fn a_spare_that_nobody_has_used_leaves_no_zombie_and_no_descriptor() {
    in_a_process_of_its_own(|()| {
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = count();
        let (pool, _) = with_a_spare();
        end(pool);
        assert_eq!(children(), []);
        crate::until(|| count() == before);
    });
}

/// Kills it and waits until it is a zombie.
fn kill_all_threads_of(pid: u32) {
    kill(pid);
    crate::until(|| {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        threads.count() == 1 && look_up(pid).unwrap().1 == 'Z'
    });
}

#[test]
fn the_death_of_the_spare_costs_nothing() {
    in_a_process_of_its_own(|()| {
        let (first, spare) = with_a_spare();
        kill_all_threads_of(spare);
        let second = forked(2);
        assert_eq!(second.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        assert_eq!(look_up(spare), None, "reaped by whoever looked for it");
        let statistics = second.shutdown(Duration::from_secs(20));
        drop(second);
        assert_eq!(
            (statistics.workers_started, statistics.workers_died),
            (2, 0)
        );
        // And one that nobody looks for is reaped when somebody looks around.
        let (second, spare) = with_a_spare();
        kill_all_threads_of(spare);
        end(second);
        assert_eq!(look_up(spare), None);
        end(first);
        assert_eq!(children(), []);
    });
}

#[test]
fn a_spare_becomes_what_a_pool_wishes() {
    in_a_process_of_its_own(|()| {
        let (first, spare) = with_a_spare();
        let pool = ProcessPool::builder()
            .workers(1)
            .name("deep")
            .stack_size(64 << 20)
            .memory_limit(512 << 20)
            .start_method(StartMethod::ForkServer)
            .build()
            .unwrap();
        assert_eq!(pool.worker_pids(), [spare]);
        let deep = |()| {
            let room = [1u8; 32 << 20];
            std::hint::black_box(&room).len()
        };
        assert_eq!(pool.call(deep, ()).unwrap().unwrap(), 32 << 20);
        assert_eq!(look_up(spare).unwrap().2, "deep");
        let much = |()| std::hint::black_box(vec![1u8; 1 << 30]).len();
        let error = pool.call(much, ()).unwrap().unwrap_err();
        assert!(error.to_string().contains("limit"), "{error}");
        end(pool);
        end(first);
    });
}

#[test]
fn many_pools_start_at_once() {
    in_a_process_of_its_own(|()| {
        let (first, _) = with_a_spare();
        std::thread::scope(|scope| {
            for round in 0..8u8 {
                scope.spawn(move || {
                    let pool = forked(2);
                    let sum: u64 = pool.map(|n: u64| n, 0..100).map(Result::unwrap).sum();
                    assert_eq!((round, sum), (round, 4950));
                    end(pool);
                });
            }
        });
        end(first);
        assert_eq!(children(), []);
    });
}

#[test]
fn a_start_without_descriptors_fails_and_the_next_with_some_works() {
    in_a_process_of_its_own(|()| {
        let (first, _) = with_a_spare();
        let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = count();
        let mut taken = crate::sandbox::take_all_descriptors();
        for _ in 0..12 {
            taken.truncate(taken.len().saturating_sub(3));
            let built = ProcessPool::builder()
                .workers(1)
                .start_method(StartMethod::ForkServer)
                .build();
            if let Ok(pool) = built {
                assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
                end(pool);
            }
        }
        drop(taken);
        assert_eq!(forked(1).call(|n: u8| n, 1).unwrap().unwrap(), 1);
        assert_eq!(first.call(|n: u8| n, 1).unwrap().unwrap(), 1);
        // A zygote whose answer couldn't be received has been given up, with its spare.
        crate::until(|| count() <= before);
        end(first);
        crate::until(|| children().is_empty());
    });
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
