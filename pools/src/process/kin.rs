//! Everything that descends from a worker, found and ended.
//!
//! A worker is the head of a process group, and what its jobs start is in that
//! group: one `kill` ends it. A process that has left the group (a daemon in a
//! session of its own, an interactive shell) is found by its **environment**. Every
//! worker is started with a variable that holds a number nobody else has:
//!
//! ```text
//!   THREEPLY_KIN=<nonce of a worker>[,<nonce of a worker of a pool in it>…]
//! ```
//!
//! Children inherit it, and the kernel shows the environment that a process was
//! started with in `/proc/<pid>/environ`. So after a death or a kill every process
//! whose environment names the worker is ended, until a look finds none. The look
//! opens a file for each process of the machine, and happens only then: a worker that
//! exits because it was told to leaves the daemons of its jobs alone, apart from those
//! in its group.
//!
//! What escapes: a process that has left the group *and* was started with another
//! environment; one that has left the group of a worker from a fork server without an
//! `exec` (the kernel shows the fork server's environment for it); one of another user;
//! all that left the group where `/proc` isn't mounted.
//!
//! Rejected: *PR_SET_CHILD_SUBREAPER in the worker* (every orphan becomes the
//! worker's child and stays a zombie until somebody reaps it, and the worker can't
//! tell them from children that the job is going to wait for; and when the worker
//! itself is dead they go to init all the same); *a subreaper in the parent* (a
//! property of the whole program, which a library has no business to change); *the
//! parent's number in `/proc/<pid>/stat`* (orphans have lost it); *a control group
//! for each worker*, always (needs a delegated hierarchy, which few programs have; those
//! that have one may ask for it: [`super::control_group`]).

use std::fs::{self, File};
use std::io::Read;
use std::thread;
use std::time::Duration;
use threeply_runtime::sys::pidfd;

/// The variable's name.
pub const KIN: &str = "THREEPLY_KIN";

/// After so many looks that all found something, it is given up: something starts
/// processes faster than they can be ended.
const LOOKS_MAX: u32 = 16;

/// A process in the middle of an `exec` shows no environment. It is looked at so often
/// until it does, with this pause: a moment, unless the machine is busy with other things.
const EXEC_LOOKS: u32 = 200;
const EXEC_PAUSE: Duration = Duration::from_millis(1);

/// After so many looks in a row one that seems to have been started without any was.
const EMPTY_LOOKS: u32 = 3;

/// The kernel takes no longer environment: it is read at once, since what a second call
/// reads may be another's, after an `exec`. Mostly never touched.
const ENVIRONMENT_MAX: usize = 6 << 20;

/// The variable's value for a worker that this process starts.
pub fn value_for(nonce: u64) -> String {
    match std::env::var(KIN) {
        Ok(ours) => format!("{ours},{nonce:016x}"),
        Err(_) => format!("{nonce:016x}"),
    }
}

/// Ends every process that descends from the worker with this nonce.
pub fn end(nonce: u64) {
    let mark = format!("{nonce:016x}").into_bytes();
    let mut looks = 0;
    while look(&mark) && looks < LOOKS_MAX {
        looks += 1;
    }
}

/// Ends all that are there now; whether there were any.
fn look(mark: &[u8]) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    let me = std::process::id();
    let mut room = vec![0; ENVIRONMENT_MAX];
    let mut any = false;
    for entry in processes.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // First a look that is cheap; then one that can't be about another process
        // that has got the same number since.
        if pid == me || !is_kin(pid, mark, &mut room) {
            continue;
        }
        let Ok(process) = pidfd::open(pid) else {
            continue;
        };
        if is_kin(pid, mark, &mut room) {
            any |= pidfd::send_signal(&process, libc::SIGKILL).is_ok();
            wait_a_moment(&process);
        }
    }
    any
}

fn is_kin(pid: u32, mark: &[u8], room: &mut [u8]) -> bool {
    let mut empty = 0;
    for _ in 0..EXEC_LOOKS {
        // Refused for other users' processes, and for threads of the kernel.
        let file = File::open(format!("/proc/{pid}/environ"));
        let Ok(len) = file.and_then(|mut file| file.read(room)) else {
            return false;
        };
        if len > 0 {
            return names(&room[..len], mark);
        }
        match Shown::of(pid) {
            Shown::Ends => return false,
            Shown::Empty if empty == EMPTY_LOOKS => return false,
            Shown::Empty => empty += 1,
            Shown::Other => empty = 0,
        }
        thread::sleep(EXEC_PAUSE);
    }
    false
}

fn names(environment: &[u8], mark: &[u8]) -> bool {
    let mut variables = environment.split(|&byte| byte == 0);
    variables.any(|variable| {
        let value = variable.strip_prefix(KIN.as_bytes());
        let value = value.and_then(|value| value.strip_prefix(b"="));
        value.is_some_and(|value| value.split(|&byte| byte == b',').any(|one| one == mark))
    })
}

/// What can be said of a process that has just shown no environment.
enum Shown {
    /// It is at its end, or gone.
    Ends,
    /// It was started without any, or is at that point of an `exec` where the kernel has
    /// noted where the environment begins and not yet where it ends.
    Empty,
    /// It has one, or none yet: it was, or is, between its old memory and its new one.
    Other,
}

impl Shown {
    fn of(pid: u32) -> Shown {
        const EXITING: u64 = 0x4;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let Some((_, fields)) = stat.rsplit_once(") ") else {
            return Shown::Ends;
        };
        // The first of these is the third of all; see proc_pid_stat(5).
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).and_then(|field| field.parse().ok());
        match [9, 50, 51].map(|number| field(number).unwrap_or(0)) {
            [flags, ..] if flags & EXITING != 0 => Shown::Ends,
            [_, start, end] if end != 0 && start == end => Shown::Empty,
            _ => Shown::Other,
        }
    }
}

/// Until a process that was killed is gone (at once, unless it is in the middle of
/// something that can't be interrupted), so that the next look doesn't find it.
fn wait_a_moment(process: &std::os::fd::OwnedFd) {
    use nix::poll::{PollFd, PollFlags, PollTimeout};
    use std::os::fd::AsFd;
    let mut waited = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let _ = nix::poll::poll(&mut waited, PollTimeout::from(100u8));
}

#[cfg(test)]
mod tests {
    use super::*;
    use threeply_runtime::sys::spawn::Exec;

    #[test]
    fn processes_with_the_mark_are_ended_and_no_others() {
        let start = |value: &str| {
            let mut exec = Exec::new("sleep");
            exec.arg("600").env(KIN, value).new_session();
            exec.spawn(&[]).unwrap()
        };
        let nonce = 0xfeed_0000_0000_0000 | u64::from(std::process::id());
        let marked = start(&format!("00000000000000aa,{nonce:016x}"));
        let other = start(&format!("{:016x}", nonce ^ 1));
        end(nonce);
        let status = pidfd::wait_exit(&marked.pidfd).unwrap();
        use std::os::unix::process::ExitStatusExt;
        assert_eq!(status.signal(), Some(libc::SIGKILL));
        assert!(pidfd::try_wait_exit(&other.pidfd).unwrap().is_none());
        pidfd::send_signal(&other.pidfd, libc::SIGKILL).unwrap();
        pidfd::wait_exit(&other.pidfd).unwrap();
    }

    #[test]
    fn a_process_is_known_in_the_middle_of_an_exec_too() {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("again");
        fs::write(&script, format!("exec sh {}\n", script.display())).unwrap();
        let mut exec = Exec::new("sh");
        let path = script.to_str().unwrap();
        exec.arg(path).env(KIN, "aa,bb").new_session();
        let again = exec.spawn(&[]).unwrap();
        let mut room = vec![0; ENVIRONMENT_MAX];
        let unknown = (0..2_000)
            .filter(|_| !is_kin(again.pid, b"bb", &mut room))
            .count();
        let foreign = is_kin(again.pid, b"b", &mut room);
        pidfd::send_signal(&again.pidfd, libc::SIGKILL).unwrap();
        pidfd::wait_exit(&again.pidfd).unwrap();
        assert_eq!((unknown, foreign), (0, false));
    }

    #[test]
    fn a_process_without_an_environment_is_nobodys_kin() {
        let mut command = std::process::Command::new("sleep");
        let mut child = command.arg("600").env_clear().spawn().unwrap();
        assert!(!is_kin(child.id(), b"", &mut [0; 64]));
        child.kill().unwrap();
        assert!(!is_kin(child.id(), b"", &mut [0; 64]), "it ends");
        child.wait().unwrap();
        assert!(!is_kin(child.id(), b"", &mut [0; 64]), "it is gone");
    }
}
