//! Workers in control groups of their own: real ones, since what counts is what the
//! kernel does. Skipped, aloud, where none can be made.

use crate::parents::{numbers_in, write_at_once};
use crate::{builder, end, is_alive, kill, kill_myself, new_pool, until, watchdog};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use threeply_pools::process::{Error, JobError, JobHandle, ProcessPool};

/// For who counts the groups of this process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Directories that pools of this process have made for control groups.
fn groups_of(pid: u32) -> Vec<PathBuf> {
    let prefix = format!("threeply-{pid}-");
    let mut left = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut found = Vec::new();
    while let Some(directory) = left.pop() {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                found.push(entry.path());
            }
            left.push(entry.path());
        }
    }
    found
}

fn groups() -> usize {
    groups_of(std::process::id()).len()
}

/// Starts a process in a session of its own, and without the variable by which others
/// are found. It writes its number.
fn leave_without_a_trace(path: &str) {
    let script = format!(
        "env -i setsid sh -c 'echo $$ > {path}.new; mv {path}.new {path}; exec sleep 600' &"
    );
    let mut shell = Command::new("sh").arg("-c").arg(script).spawn().unwrap();
    shell.wait().unwrap();
    until(|| std::fs::exists(path).unwrap());
}

#[test]
fn nothing_gets_out_of_a_control_group() {
    let (_dog, _alone) = (watchdog(), alone());
    let Some(pool) = grouped() else { return };
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let die = |path: String| {
        leave_without_a_trace(&path);
        kill_myself();
    };
    assert_eq!(groups(), 1);
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
    assert_eq!(groups(), 0, "no directory is left behind");
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
    let (_dog, _alone) = (watchdog(), alone());
    let Some(pool) = grouped() else { return };
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
    assert_eq!(groups(), 0, "no directory is left behind");
}

/// A job that is the parent of a pool with control groups.
fn be_a_parent(path: String) {
    let Some(pool) = grouped() else {
        return write_at_once(&path, "");
    };
    assert_eq!(pool.call(|n: u8| n, 1).unwrap().unwrap(), 1);
    let numbers = [std::process::id(), pool.worker_pids()[0]].map(|pid| pid.to_string());
    write_at_once(&path, &numbers.join(" "));
    loop {
        std::thread::park();
    }
}

#[test]
fn what_a_parent_leaves_that_is_killed_is_removed_by_the_next_pool() {
    let (_dog, _alone) = (watchdog(), alone());
    let outer = new_pool(1);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pids").to_str().unwrap().to_owned();
    let job = outer.submit(be_a_parent, path.clone()).unwrap();
    let [parent, worker] = numbers_in(&path)[..] else {
        job.wait().unwrap();
        return end(outer); // Skipped: it has said so.
    };
    let left = groups_of(parent);
    assert_eq!(left.len(), 1);
    kill(parent);
    assert!(job.wait().unwrap_err().death().is_some());
    end(outer);
    // Where nobody reaps orphans, the zombie keeps its number, but no group.
    until(|| !is_alive(worker));
    until(|| !Path::new(&format!("/proc/{parent}")).exists());
    let next = grouped().expect("as before");
    assert_eq!(groups_of(parent).len(), 0);
    assert_eq!(groups(), 1);
    end(next);
}

/// A group for a process that makes groups in it; removed on drop.
struct Delegated(PathBuf);

impl Delegated {
    fn new() -> Option<Delegated> {
        let name = format!("threeply-test-{}-delegated", std::process::id());
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
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn groups_are_made_within_ones_own() {
    let (_dog, _alone) = (watchdog(), alone());
    let Some(group) = Delegated::new() else {
        eprintln!("skipped: no control group can be made here");
        return;
    };
    // A process of its own goes into the group.
    let inner = |group: String| {
        let me = std::process::id();
        std::fs::write(format!("{group}/cgroup.procs"), me.to_string()).unwrap();
        let Some(pool) = grouped() else { return 0 };
        let made = groups_of(me);
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].parent(), Some(Path::new(&group)));
        let own = |()| std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = pool.call(own, ()).unwrap().unwrap();
        let name = made[0].file_name().unwrap().to_str().unwrap();
        assert!(
            own.lines()
                .any(|line| line.starts_with("0::") && line.ends_with(name))
        );
        pool.worker_pids().into_iter().for_each(kill);
        assert_eq!(pool.submit(|n: u8| n, 1).unwrap().wait().unwrap(), 1);
        end(pool);
        groups_of(me).len()
    };
    let pool = new_pool(1);
    let path = group.0.to_str().unwrap().to_owned();
    assert_eq!(pool.submit(inner, path.clone()).unwrap().wait().unwrap(), 0);
    end(pool);
    drop(group);
    assert!(!Path::new(&path).exists(), "something is left in it");
}
