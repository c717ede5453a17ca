//! What processes share and tell each other, across real processes that really die.

mod channels;
mod gates;
mod jobs;
mod joinable;
mod locks;
mod processes;
mod queues;
mod reentrant;

use std::time::Duration;
use threeply_pools::ipc::{Event, Process};

/// Sleeps until killed; `ready` tells the parent that it may do so.
pub(crate) fn wait_to_be_killed(ready: &Event) -> ! {
    ready.set();
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

/// Kills a process of ours and waits for its end.
pub(crate) fn kill(process: &Process) {
    process.kill().unwrap();
    process.join().unwrap();
    assert_eq!(process.exit_code(), Some(-9));
}

/// Stops a process, and waits until it stands still.
pub(crate) fn stop(process: &Process) {
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let pid = nix::unistd::Pid::from_raw(i32::try_from(process.pid()).unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    waitid(Id::Pid(pid), WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT).unwrap();
}

/// Joins a process that must have succeeded.
pub(crate) fn succeeds(process: Process) {
    let status = process.join().unwrap();
    assert!(status.success(), "{}: {status}", process.name());
}

/// How many descriptors this process has.
pub(crate) fn open_descriptors() -> usize {
    // One of them is for reading the directory.
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}
