//! How many threads a pool has, where they run, and when small work leaves them asleep.

use std::path::Path;
use std::process::{Command, Output};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};
use threeply_pools::thread::prelude::*;
use threeply_pools::thread::{self, ThreadPool, WorkerDump, WorkerState};

use crate::watchdog;

/// The processors that this thread may use.
fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let is_set = |cpu: &usize| set.is_set(*cpu).unwrap();
    (0..CpuSet::count()).filter(is_set).collect()
}

/// What the test of this file with that name does as a process of its own.
fn command(program: &str, test: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("THREEPLY_THREADS");
    if program == "unshare" {
        command.args(["--map-root-user", "--mount", "sh", "-c"]);
        command.arg(r#"mount --bind "$FAKE" /sys/fs/cgroup || exit 77; exec "$0" "$@""#);
        command.arg(std::env::current_exe().unwrap());
    }
    let name = format!("fits::{test}");
    command.args(["--ignored", "--nocapture", "--exact", &name]);
    command
}

/// The numbers that it says, or why it failed.
fn said(output: &Output) -> Vec<usize> {
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{error}");
    let line = text.lines().find_map(|line| line.split_once("threads:"));
    let (_, numbers) = line.unwrap_or_else(|| panic!("{text}{error}"));
    let numbers = numbers.split_whitespace();
    numbers.map(|number| number.parse().unwrap()).collect()
}

fn this_program(test: &str) -> Command {
    command(std::env::current_exe().unwrap().to_str().unwrap(), test)
}

#[test]
#[ignore = "run by the others of this file, in a process of its own"]
fn tells_the_default() {
    let own = ThreadPool::builder().build().unwrap().num_threads();
    let global = thread::current_num_threads();
    println!("threads: {own} {global}");
}

#[test]
#[ignore = "run by the others of this file, in a process of its own"]
fn tells_what_was_built_for_all() {
    let named = |name| ThreadPool::builder().threads(3).name(name);
    ThreadPool::build_global(named("all")).unwrap();
    let again = ThreadPool::build_global(named("none")).unwrap_err();
    assert!(again.to_string().contains("exists already"), "{again}");
    let name = thread::spawn(|| std::thread::current().name().map(str::to_owned));
    let name = name.wait().unwrap().unwrap();
    assert!(name.starts_with("all-"), "{name}");
    println!("threads: {}", thread::current_num_threads());
}

#[test]
fn by_default_there_are_as_many_threads_as_processors_may_be_used() {
    let _watchdog = watchdog();
    let all = std::thread::available_parallelism().unwrap().get();
    let output = this_program("tells_the_default").output().unwrap();
    assert_eq!(said(&output), [all, all]);
    // A process inherits the affinity of the thread that starts it.
    let output = std::thread::spawn(|| {
        let mut one = CpuSet::new();
        one.set(allowed()[0]).unwrap();
        sched_setaffinity(Pid::from_raw(0), &one).unwrap();
        this_program("tells_the_default").output().unwrap()
    });
    assert_eq!(said(&output.join().unwrap()), [1, 1]);
}

/// Files as version 1 and 2 of control groups have them, for the groups this process is
/// in: one processor's time.
fn fake_control_groups(root: &Path) {
    for line in std::fs::read_to_string("/proc/self/cgroup")
        .unwrap()
        .lines()
    {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next().unwrap(), fields.next().unwrap());
        let directory = root.join(controllers).join(group.trim_start_matches('/'));
        std::fs::create_dir_all(&directory).unwrap();
        let files = [
            ("cgroup.procs", ""),
            ("cgroup.controllers", "cpu"),
            ("cpu.max", "100000 100000"),
            ("cpu.cfs_quota_us", "100000"),
            ("cpu.cfs_period_us", "100000"),
        ];
        for (name, content) in files {
            std::fs::write(directory.join(name), content).unwrap();
        }
    }
}

#[test]
fn a_control_groups_quota_is_honoured() {
    let _watchdog = watchdog();
    let fake = tempfile::tempdir().unwrap();
    fake_control_groups(fake.path());
    let mut command = command("unshare", "tells_the_default");
    match command.env("FAKE", fake.path()).output() {
        Ok(output) if output.status.success() => assert_eq!(said(&output), [1, 1]),
        refused => eprintln!("skipped: no mount namespace to be had here ({refused:?})"),
    }
}

#[test]
fn the_environment_and_the_builder_say_how_many_threads_all_share() {
    let _watchdog = watchdog();
    let mut three = this_program("tells_the_default");
    let output = three.env("THREEPLY_THREADS", "3").output().unwrap();
    assert_eq!(said(&output), [3, 3]);
    let mut wrong = this_program("tells_the_default");
    let output = wrong.env("THREEPLY_THREADS", "many").output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("set it to a number of threads"), "{error}");
    // What the program says goes before what the environment says.
    let mut built = this_program("tells_what_was_built_for_all");
    let output = built.env("THREEPLY_THREADS", "2").output().unwrap();
    assert_eq!(said(&output), [3]);
}

#[test]
fn pinned_workers_have_a_processor_each() {
    let _watchdog = watchdog();
    let all = allowed();
    let pool = ThreadPool::builder()
        .threads(all.len() + 1)
        .pin(true)
        .build()
        .unwrap();
    let mut pinned = pool.broadcast(|index| (index, allowed()));
    pinned.sort();
    let expected = |index: usize| (index, vec![all[index % all.len()]]);
    let expected: Vec<_> = (0..=all.len()).map(expected).collect();
    assert_eq!(pinned, expected);
    assert_eq!(allowed(), all, "the caller's is left alone");
}

/// What the system says of a thread of this process.
fn status(tid: &Pid, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/self/task/{tid}/status")).unwrap();
    let line = |line: &str| Some(line.strip_prefix(field)?.trim().to_owned());
    status.lines().find_map(line).unwrap()
}

/// How often it has gone to sleep by itself, once it sleeps.
fn sleeps(tid: &Pid) -> u64 {
    while !status(tid, "State:").starts_with('S') {
        std::thread::yield_now();
    }
    status(tid, "voluntary_ctxt_switches:").parse().unwrap()
}

#[test]
fn small_work_from_outside_wakes_nobody() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let workers = pool.broadcast(|_| gettid());
    let is_parked = |worker: &WorkerDump| worker.state == WorkerState::Parked;
    let all_sleep = || {
        while !pool.dump().workers.iter().all(is_parked) {
            std::thread::yield_now();
        }
        workers.iter().map(sleeps).sum::<u64>()
    };
    let small = || {
        let joined = pool.join(|| 1, || 2);
        let scoped = pool.scope(|s| {
            let _ = s;
            3
        });
        let numbers = [4, 5, 6];
        let sum: i32 = pool.run(|| numbers.par_iter().sum());
        joined.0 + joined.1 + scoped + sum
    };
    // Whether work is small is known of a place once it has been there.
    for _ in 0..20 {
        assert_eq!(small(), 21);
    }
    let before = all_sleep();
    for _ in 0..1000 {
        assert_eq!(small(), 21);
    }
    let woken = all_sleep() - before;
    // Not none: a call during which the system takes the processor away isn't short.
    assert!(woken < 100, "3,000 small calls woke workers {woken} times");
}
