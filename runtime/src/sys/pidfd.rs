//! A child behind a descriptor: signalled, awaited and reaped without its pid.
//!
//! A pid may be given to somebody else the moment after its process is reaped; a
//! pidfd can't, so a signal through it reaches the child or nobody. It becomes
//! readable when the child ends, which is how the event loop waits for one.
#![allow(unsafe_code)] // Two syscalls that nix doesn't wrap.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::trace::{Kind, emit};

/// Opens a pidfd, closed on `exec`, of a process that exists already.
///
/// Safe from mix-ups only for a child that has not been reaped, since its number
/// can't be given away before that. [`spawn`](super::spawn) needs no such care:
/// the kernel hands its pidfd over in the same call.
///
/// # Errors
/// `ESRCH` if there is no such process, `EMFILE` when descriptors run out.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0) };
    let fd = check(fd)?;
    // SAFETY: the kernel has just opened it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends `signal` (as in `libc::SIGTERM`) to the process behind `pidfd`; zero
/// only checks.
///
/// # Errors
/// `ESRCH` if it has ended and been reaped, `EPERM` if it belongs to somebody
/// else, `EINVAL` for an unknown signal.
pub fn send_signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    // SAFETY: integers and a null `siginfo_t`, which means "as kill(2) would".
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(result).map(drop)
}

/// Waits until the child behind `pidfd` has ended, reaps it, and returns how it
/// ended. **Blocks the thread**; interrupted waits are resumed.
///
/// # Errors
/// `ECHILD` if somebody else has reaped it: another waiter, or the kernel itself
/// because `SIGCHLD` is ignored in this process.
pub fn wait_exit(pidfd: impl AsFd) -> io::Result<ExitStatus> {
    loop {
        match wait(&pidfd, 0) {
            Ok(Some(status)) => return Ok(status),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reaps the child behind `pidfd` if it has ended; `None` while it runs. Never
/// blocks.
///
/// # Errors
/// As [`wait_exit`].
pub fn try_wait_exit(pidfd: impl AsFd) -> io::Result<Option<ExitStatus>> {
    wait(&pidfd, libc::WNOHANG)
}

fn wait(pidfd: &impl AsFd, options: i32) -> io::Result<Option<ExitStatus>> {
    let id = pidfd.as_fd().as_raw_fd().unsigned_abs();
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` is memory for one siginfo_t, which the kernel may fill.
    let result = unsafe {
        libc::waitid(
            libc::P_PIDFD,
            id,
            info.as_mut_ptr(),
            libc::WEXITED | options,
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros is a valid siginfo_t, and the kernel wrote nothing less.
    let info = unsafe { info.assume_init() };
    // SAFETY: waitid fills si_pid, or leaves our zero if nothing has ended.
    let pid = unsafe { info.si_pid() };
    if pid == 0 {
        return Ok(None);
    }
    // SAFETY: after waitid with WEXITED the child fields of the union are valid.
    let code = unsafe { info.si_status() };
    // The word that wait(2) would have given, which is what std decodes.
    let word = match info.si_code {
        libc::CLD_EXITED => (code & 0xff) << 8,
        libc::CLD_DUMPED => code | 0x80,
        _ => code,
    };
    let by_signal = u64::from(info.si_code != libc::CLD_EXITED) << 32;
    let how = u64::from(code.unsigned_abs()) | by_signal;
    emit(
        Kind::ProcessExit,
        line!(),
        u64::from(pid.unsigned_abs()),
        how,
    );
    Ok(Some(ExitStatus::from_raw(word)))
}

fn check(result: libc::c_long) -> io::Result<i32> {
    match i32::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(io::Error::last_os_error()),
    }
}
