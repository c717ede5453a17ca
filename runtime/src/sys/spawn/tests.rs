//! Starts: what reaches the child, what does not, and how failure is told.

//! Started programs end as expected, inherit what they should and nothing else.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::*;
use crate::sys::{pidfd, pipe};

/// Runs `script` in a shell whose standard output we read to its end.
fn shell(script: &str) -> (String, ExitStatus) {
    output(Exec::new("sh").arg("-c").arg(script), &[])
}

/// Starts `exec` with a pipe as its descriptor 1 beside `fds`.
fn output(exec: &mut Exec, fds: &[(BorrowedFd<'_>, RawFd)]) -> (String, ExitStatus) {
    let (reader, writer) = pipe::pipe().unwrap();
    let mut all = fds.to_vec();
    all.push((writer.as_fd(), 1));
    let child = exec.spawn(&all).unwrap();
    drop(writer);
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    (text, pidfd::wait_exit(&child.pidfd).unwrap())
}

/// A program that runs until its standard input ends.
fn waiter(input: &impl AsFd, exec: &mut Exec) -> Spawned {
    let null = File::options().write(true).open("/dev/null").unwrap();
    exec.spawn(&[(input.as_fd(), 0), (null.as_fd(), 1)])
        .unwrap()
}

#[test]
fn output_and_exit_code_come_back() {
    let (text, status) = shell("echo hello; exit 7");
    assert_eq!(text, "hello\n");
    assert_eq!(status.code(), Some(7));
}

#[test]
fn a_killed_child_reports_its_signal() {
    let (reader, writer) = pipe::pipe().unwrap();
    let child = waiter(&reader, &mut Exec::new("cat"));
    drop(reader);
    assert_eq!(pidfd::try_wait_exit(&child.pidfd).unwrap(), None);
    pidfd::send_signal(&child.pidfd, libc::SIGKILL).unwrap();
    let status = pidfd::wait_exit(&child.pidfd).unwrap();
    assert_eq!(status.signal(), Some(libc::SIGKILL));
    drop(writer);
    // Reaped: the pidfd still names it, and says so.
    let error = pidfd::send_signal(&child.pidfd, 0).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    let error = pidfd::wait_exit(&child.pidfd).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
}

#[test]
fn a_child_that_closed_its_input_ends_when_ours_is_dropped() {
    // If a copy of the write end leaked into the child, it would never end.
    let (reader, writer) = pipe::pipe().unwrap();
    let child = waiter(&reader, &mut Exec::new("cat"));
    drop((reader, writer));
    assert_eq!(pidfd::wait_exit(&child.pidfd).unwrap().code(), Some(0));
}

#[test]
fn crossing_descriptors_do_not_overwrite_each_other() {
    let (read_a, write_a) = pipe::pipe().unwrap();
    let (read_b, write_b) = pipe::pipe().unwrap();
    File::from(write_a).write_all(b"a").unwrap();
    File::from(write_b).write_all(b"b").unwrap();
    let (a, b) = (read_a.as_raw_fd(), read_b.as_raw_fd());
    // Each becomes the number that is the other's here.
    let fds = [(read_a.as_fd(), b), (read_b.as_fd(), a)];
    let mut exec = Exec::new("sh");
    exec.arg("-c")
        .arg(format!("cat /proc/self/fd/{a} /proc/self/fd/{b}"));
    let (text, status) = output(&mut exec, &fds);
    assert!(status.success());
    assert_eq!(text, "ba");
}

#[test]
fn nothing_else_is_inherited() {
    // Opened without O_CLOEXEC, as a careless C library would.
    let careless = File::open("/dev/null").unwrap();
    nix::fcntl::fcntl(
        &careless,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    let (text, _) = shell("for fd in /proc/self/fd/*; do echo ${fd##*/}; done");
    // The shell itself may open the directory while it lists it.
    let inherited: Vec<&str> = text.lines().filter(|fd| *fd != "1").collect();
    assert!(inherited.len() <= 1, "{text}");
}

#[test]
fn signals_start_unblocked_and_at_their_defaults() {
    let test = std::thread::spawn(|| {
        use nix::sys::signal::{SigSet, Signal};
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGTERM);
        blocked.thread_block().unwrap();
        let mut exec = Exec::new("cat");
        output(exec.arg("/proc/self/status"), &[]).0
    });
    let status = test.join().unwrap();
    let lines: Vec<&str> = status
        .lines()
        .filter(|line| ["SigBlk:", "SigIgn:", "SigCgt:"].contains(&&line[..line.len().min(7)]))
        .collect();
    // Rust ignores SIGPIPE in this process, so "Ign" proves the reset.
    assert_eq!(lines.len(), 3);
    for line in lines {
        assert!(line.ends_with("0000000000000000"), "{line}");
    }
}

#[test]
fn a_missing_program_says_so_and_leaves_nothing_behind() {
    let error = Exec::new("no-such-program-anywhere")
        .spawn(&[])
        .unwrap_err();
    assert_eq!(error.stage, Stage::Exec);
    assert_eq!(error.source.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("no-such-program-anywhere"));
    let error = Exec::new("/etc/passwd").spawn(&[]).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::PermissionDenied);
    let error = Exec::new("true")
        .directory("/no/such/directory")
        .spawn(&[])
        .unwrap_err();
    assert_eq!(error.stage, Stage::Directory);
    let error = Exec::new("true").arg("a\0b").spawn(&[]).unwrap_err();
    assert_eq!(error.stage, Stage::Prepare);
}

#[test]
fn environment_directory_group_and_limits_reach_the_child() {
    let mut exec = Exec::new("sh");
    exec.args(["-c", "echo $ONE:$HOME:$(pwd):$(ulimit -n):$0"])
        .arg("zero")
        .env("ONE", "1")
        .env_remove("HOME")
        .directory("/")
        .process_group(0)
        .limit(Limit::OpenFiles, 64, 64);
    let (text, status) = output(&mut exec, &[]);
    assert!(status.success());
    assert_eq!(text, "1::/:64:zero\n");
}

#[test]
fn a_cleared_environment_is_empty() {
    let mut exec = Exec::new("/usr/bin/env");
    exec.env_clear().env("ONLY", "this");
    assert_eq!(output(&mut exec, &[]).0, "ONLY=this\n");
}

#[test]
fn its_own_process_group_is_its_pid() {
    let (reader, writer) = pipe::pipe().unwrap();
    let child = waiter(&reader, Exec::new("cat").process_group(0));
    let pid = nix::unistd::Pid::from_raw(child.pid.cast_signed());
    assert_eq!(nix::unistd::getpgid(Some(pid)).unwrap(), pid);
    drop((reader, writer));
    assert_eq!(pidfd::wait_exit(&child.pidfd).unwrap().code(), Some(0));
}

#[test]
fn many_threads_start_children_at_once() {
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                for _ in 0..5 {
                    let (text, _) = shell(&format!("echo {number}"));
                    assert_eq!(text, format!("{number}\n"));
                }
            });
        }
    });
}
