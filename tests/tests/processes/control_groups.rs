//! Workers in control groups of their own: real ones, since what counts is what the
//! kernel does. Skipped, aloud, where none can be made.
//!
//! Each test is a process of its own, in a group of its own: so groups can be counted,
//! and what a test that fails leaves behind is in nobody's way.

use crate::parents::{numbers_in, write_at_once};
use crate::{
    builder, end, in_a_process_of_its_own_with, is_alive, kill, kill_myself, new_pool, until,
    watchdog,
};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use threeply_pools::process::{Error, JobError, JobHandle, ProcessPool};

/// A group for a test, at the root of version 2. What is in it dies with it.
struct Delegated(PathBuf);

impl Delegated {
    fn new() -> Option<Delegated> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("threeply-test-{}-{number}", std::process::id());
        let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let mut version_2 = mounts
            .into_iter()
            .filter(|path| path.join("cgroup.controllers").exists());
        let path = version_2.next()?.join(name);
        std::fs::create_dir(&path).ok()?;
        Some(Delegated(path))
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        let _ = std::fs::write(self.0.join("cgroup.kill"), "1");
        // Those that a test that failed has left, and their empty ones.
        for group in groups_in(&self.0) {
            until(|| std::fs::remove_dir(&group).is_ok());
        }
        until(|| std::fs::remove_dir(&self.0).is_ok());
    }
}

/// Runs a test in a process of its own that is in a group of its own.
fn in_a_control_group(test: fn(PathBuf)) {
    let _dog = watchdog();
    let Some(group) = Delegated::new() else {
        eprintln!("skipped: no control group can be made here");
        return;
    };
    in_a_process_of_its_own_with(group.0.clone(), test);
}

/// Brings this process into a group, and makes a pool of one worker, which gets a group
/// within it; if all of that can be had here.
fn grouped_within(group: &Path) -> Option<ProcessPool> {
    let me = std::process::id().to_string();
    if let Err(error) = std::fs::write(group.join("cgroup.procs"), me) {
        eprintln!("skipped: no control group can be entered here ({error})");
        return None;
    }
    grouped()
}

/// A pool of one worker in a group of its own, if that can be had here.
fn grouped() -> Option<ProcessPool> {
    match builder().workers(1).control_groups(true).build() {
        Ok(pool) => Some(pool),
        Err(error @ Error::Resources { .. }) => {
            let text = error.to_string();
            assert!(text.contains("control_groups(true)"), "{text}");
            eprintln!("skipped: no control group can be made here ({text})");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The groups within a group.
fn groups_in(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).unwrap().flatten();
    let groups = entries.filter(|entry| entry.file_type().unwrap().is_dir());
    groups.map(|group| group.path()).collect()
}

/// Starts a process in the background, by `by`, that writes its number and becomes `what`.
fn leave(path: &str, by: &str, what: &str) {
    let script = format!("{by} sh -c 'echo $$ > {path}.new; mv {path}.new {path}; exec {what}' &");
    let mut shell = Command::new("sh").arg("-c").arg(script).spawn().unwrap();
    shell.wait().unwrap();
    until(|| std::fs::exists(path).unwrap());
}

/// [`leave`]s one in a session of its own, without the variable by which others are found.
fn leave_without_a_trace(path: &str) {
    leave(path, "env -i setsid", "sleep 600");
}

#[test]
fn nothing_gets_out_of_a_control_group() {
    in_a_control_group(nothing_gets_out);
}

fn nothing_gets_out(group: PathBuf) {
    let Some(pool) = grouped_within(&group) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let die = |path: String| {
        leave_without_a_trace(&path);
        kill_myself();
    };
    assert_eq!(groups_in(&group).len(), 1);
    let died = pool.submit(die, path("a")).unwrap().wait().unwrap_err();
    assert!(died.death().is_some());
    assert!(
        !is_alive(numbers_in(&path("a"))[0]),
        "gone before it is told"
    );
    // The next worker is told to go: then what it has started stays.
    let leave = |path: String| leave_without_a_trace(&path);
    pool.call(leave, path("b")).unwrap().unwrap();
    end(pool);
    let daemon = numbers_in(&path("b"))[0];
    assert!(is_alive(daemon));
    kill(daemon);
    assert!(groups_in(&group).is_empty(), "no directory is left behind");
}

/// Whether a process with this word among its arguments is alive.
fn is_anyone_called(word: &str) -> bool {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.any(|pid| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut arguments = arguments.split(|byte| *byte == 0);
        arguments.any(|argument| argument == word.as_bytes()) && is_alive(pid)
    })
}

#[test]
fn who_always_begins_anew_elsewhere_is_caught_too() {
    in_a_control_group(who_always_begins_anew_is_caught);
}

fn who_always_begins_anew_is_caught(group: PathBuf) {
    let Some(pool) = grouped_within(&group) else {
        return;
    };
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("wander");
    let begun = directory.path().join("begun");
    // Each starts the next, in a session of its own and without a trace, and ends: whoever
    // goes through a list of processes comes too late.
    let text = format!(
        "echo >> {}\nenv -i setsid sh {} &\n",
        begun.display(),
        script.display()
    );
    std::fs::write(&script, text).unwrap();
    let wander = |script: String| -> () {
        let mut shell = Command::new("sh").arg(script).spawn().unwrap();
        shell.wait().unwrap();
        loop {
            std::thread::park();
        }
    };
    let name = script.to_str().unwrap();
    for how in ["killed", "over its limit"] {
        let _ = std::fs::remove_file(&begun);
        // A limit may be over before it has wandered, on a busy machine.
        let mut limit = Duration::from_millis(200);
        let wandered = || std::fs::metadata(&begun).map_or(0, |file| file.len());
        while wandered() < 20 {
            let strict = pool.options().limit(limit);
            if how == "killed" {
                let job: JobHandle<()> = pool.submit(wander, name.to_owned()).unwrap();
                until(|| wandered() >= 20);
                pool.worker_pids().into_iter().for_each(kill);
                assert!(job.wait().unwrap_err().death().is_some());
            } else {
                let job: JobHandle<()> = strict.submit(wander, name.to_owned()).unwrap();
                assert!(matches!(job.wait(), Err(JobError::TimedOut { .. })));
            }
            assert!(!is_anyone_called(name), "{how}: gone before it is told");
            limit *= 2;
        }
    }
    end(pool);
    assert!(groups_in(&group).is_empty(), "no directory is left behind");
}

/// A job that is the parent of a pool with control groups.
fn be_a_parent(path: String) {
    let pool = grouped().expect("as before");
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    let numbers = [std::process::id(), pool.worker_pids()[0]].map(|pid| pid.to_string());
    write_at_once(&path, &numbers.join(" "));
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_parent_leaves_that_is_killed_is_removed_by_the_next_pool() {
    in_a_control_group(what_a_parent_leaves_is_removed);
}

fn what_a_parent_leaves_is_removed(group: PathBuf) {
    let Some(first) = grouped_within(&group) else {
        return;
    };
    end(first);
    let outer = new_pool(1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pids").to_str().unwrap().to_owned();
    let job = outer.submit(be_a_parent, path.clone()).unwrap();
    let [parent, worker] = numbers_in(&path)[..] else {
        panic!("not two numbers");
    };
    let left = groups_in(&group);
    assert_eq!(left.len(), 1);
    kill(parent);
    assert!(job.wait().unwrap_err().death().is_some());
    end(outer);
    // Where nobody reaps orphans, the zombie keeps its number, but no group.
    until(|| !is_alive(worker));
    until(|| !Path::new(&format!("/proc/{parent}")).exists());
    assert_eq!(groups_in(&group), left);
    let next = grouped().expect("as before");
    let [its_own] = &groups_in(&group)[..] else {
        panic!("{:?}", groups_in(&group));
    };
    assert_ne!(*its_own, left[0]);
    end(next);
}

#[test]
fn groups_are_made_within_ones_own() {
    in_a_control_group(groups_are_made_within);
}

fn groups_are_made_within(group: PathBuf) {
    let Some(pool) = grouped_within(&group) else {
        return;
    };
    let made = groups_in(&group);
    assert_eq!(made.len(), 1);
    let own = |()| std::fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = pool.call(own, ()).unwrap().unwrap();
    let name = made[0].file_name().unwrap().to_str().unwrap();
    assert!(
        own.lines()
            .any(|line| line.starts_with("0::") && line.ends_with(name))
    );
    pool.worker_pids().into_iter().for_each(kill);
    assert_eq!(pool.submit(|n: u8| n, 1).unwrap().wait().unwrap(), 1);
    assert_ne!(groups_in(&group), made, "one for each worker");
    end(pool);
    assert!(groups_in(&group).is_empty(), "no directory is left behind");
}

#[test]
fn a_group_is_removed_though_one_in_it_takes_long_to_end() {
    in_a_control_group(one_takes_long_to_end);
}

fn one_takes_long_to_end(group: PathBuf) {
    // The kernel needs a while to take so much memory back. Who is about to end belongs to
    // a group until then, but can't be moved to another.
    const MUCH: u64 = 256 << 20;
    let directory = tempfile::tempdir().unwrap();
    let leave_a_large_one = |path: String| {
        leave(
            &path,
            "",
            &format!("dd if=/dev/zero of=/dev/null bs={MUCH}"),
        );
    };
    // A single one may end just before or after the pool looks.
    for round in 0..8 {
        let Some(pool) = grouped_within(&group) else {
            return;
        };
        let path = directory.path().join(round.to_string());
        let path = path.to_str().unwrap().to_owned();
        pool.call(leave_a_large_one, path.clone()).unwrap().unwrap();
        let large = numbers_in(&path)[0];
        until(|| resident(large) >= MUCH);
        kill(large);
        end(pool);
        assert!(groups_in(&group).is_empty(), "no directory is left behind");
    }
}

/// The memory that a process has touched, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.map_or("0", |line| line.trim().trim_end_matches(" kB"));
    kilobytes.parse::<u64>().unwrap() << 10
}
