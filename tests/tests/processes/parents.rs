//! What becomes of workers when their parent ends, in whatever way, and of whatever
//! their jobs have started.

use crate::{end, is_alive, kill, kill_myself, new_pool, until, watchdog};
use nix::sys::signal::{Signal, kill as send};
use nix::unistd::Pid;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use threeply_pools::process::{Cause, JobError, JobHandle};

/// A job that is the parent of a pool whose workers are busy; writes their numbers to a
/// file.
fn be_a_parent(path: String) {
    let pool = new_pool(2);
    let spin = |_: ()| loop {
        std::hint::spin_loop()
    };
    let busy: Vec<JobHandle<()>> = (0..2).map(|_| pool.submit(spin, ()).unwrap()).collect();
    until(|| {
        pool.statistics()
            .workers
            .iter()
            .all(|worker| worker.running.is_some())
    });
    let pids: Vec<String> = pool.worker_pids().iter().map(u32::to_string).collect();
    write_at_once(&path, &pids.join(" "));
    busy.into_iter().for_each(|job| drop(job.wait()));
}

pub(crate) fn write_at_once(path: &str, text: &str) {
    std::fs::write(format!("{path}.new"), text).unwrap();
    std::fs::rename(format!("{path}.new"), path).unwrap();
}

pub(crate) fn numbers_in(path: &str) -> Vec<u32> {
    until(|| std::fs::exists(path).unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    text.split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// How long workers outlive a parent that ends by this signal.
fn outlived(signal: Signal) -> Duration {
    let pool = new_pool(1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pids").to_str().unwrap().to_owned();
    let job = pool.submit(be_a_parent, path.clone()).unwrap();
    let workers = numbers_in(&path);
    assert_eq!(workers.len(), 2);
    let [parent] = pool.worker_pids()[..] else {
        panic!("one worker");
    };
    send(Pid::from_raw(parent.cast_signed()), signal).unwrap();
    let since = Instant::now();
    until(|| workers.iter().all(|&pid| !is_alive(pid)));
    let took = since.elapsed();
    match job.wait() {
        Err(JobError::Died(death)) => {
            assert!(matches!(death.cause, Cause::Signal { signal: s, .. } if s == signal as i32));
        }
        other => panic!("{other:?}"),
    }
    end(pool);
    took
}

#[test]
fn workers_are_gone_soon_after_their_parent_is_killed_or_interrupted() {
    let _dog = watchdog();
    // SIGINT as Ctrl-C sends it: to the parent, since workers have groups of their own.
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM] {
        // A machine that is busy with other things has some tries.
        let best = (0..10)
            .map(|_| outlived(signal))
            .find(|took| took.as_millis() < 200);
        assert!(best.is_some(), "{signal} took more than 200 ms, ten times");
    }
}

/// A daemon: in a session and a group of its own, adopted by init.
fn leave_a_daemon(path: String) {
    let script =
        format!("setsid sh -c 'echo $$ > {path}.new; mv {path}.new {path}; exec sleep 600' &");
    let mut shell: Child = Command::new("sh").arg("-c").arg(script).spawn().unwrap();
    shell.wait().unwrap();
    until(|| std::fs::exists(&path).unwrap());
}

#[test]
fn a_kill_takes_daemons_that_have_left_the_group() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    // Killed for its time limit.
    let stay = |path: String| {
        leave_a_daemon(path);
        loop {
            std::thread::park();
        }
    };
    // Time enough to leave one, which a busy machine may not have.
    let mut limit = Duration::from_secs(1);
    while !std::fs::exists(path("a")).unwrap() {
        let strict = pool.options().limit(limit);
        let job: JobHandle<()> = strict.submit(stay, path("a")).unwrap();
        assert!(matches!(job.wait(), Err(JobError::TimedOut { .. })));
        limit *= 2;
    }
    assert!(
        !is_alive(numbers_in(&path("a"))[0]),
        "gone before the error is told"
    );
    // Killed by its own hand.
    let die = |path: String| {
        leave_a_daemon(path);
        kill_myself();
    };
    assert!(
        pool.submit(die, path("b"))
            .unwrap()
            .wait()
            .unwrap_err()
            .death()
            .is_some()
    );
    assert!(!is_alive(numbers_in(&path("b"))[0]));
    // A worker that is told to go leaves it alone: it was meant to stay, perhaps.
    pool.submit(leave_a_daemon, path("c"))
        .unwrap()
        .wait()
        .unwrap();
    end(pool);
    let daemon = numbers_in(&path("c"))[0];
    assert!(is_alive(daemon));
    kill(daemon);
}

#[test]
fn a_replaced_executable_does_no_harm() {
    let _dog = watchdog();
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let output = Command::new(&copy)
        .args(["--exact", "--ignored", "--nocapture", "parents::replaced"])
        .env("REPLACED", &copy)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
#[ignore = "the child of a_replaced_executable_does_no_harm"]
fn replaced() {
    let _dog = watchdog();
    let own = std::env::var_os("REPLACED").expect("started by the other test");
    let pool = new_pool(1);
    std::fs::remove_file(&own).unwrap();
    std::fs::write(&own, "not even a program").unwrap();
    for pid in pool.worker_pids() {
        kill(pid);
    }
    assert_eq!(pool.submit(|n: u8| n, 7).unwrap().wait().unwrap(), 7);
    end(pool);
}

#[test]
fn a_kill_takes_daemons_of_a_pool_in_the_worker() {
    let _dog = watchdog();
    let pool = new_pool(1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pid").to_str().unwrap().to_owned();
    let nested = |path: String| {
        let pool = new_pool(1);
        pool.call(leave_a_daemon, path).unwrap().unwrap();
        loop {
            std::thread::park();
        }
    };
    let job: JobHandle<()> = pool.submit(nested, path.clone()).unwrap();
    let daemon = numbers_in(&path)[0];
    assert!(is_alive(daemon));
    assert!(job.kill());
    assert!(job.wait().unwrap_err().is_cancelled());
    assert!(!is_alive(daemon), "gone before the error is told");
    end(pool);
}
