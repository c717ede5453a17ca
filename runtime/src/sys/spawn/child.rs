//! The child's half of a start: the calls between `clone` and `exec`.
//!
//! Read [`start`](super::start) first. This code runs in a process that borrows
//! its parent's memory while the parent's other threads run on. So it makes
//! system calls and nothing else: it doesn't allocate, lock, print, unwind, or
//! index anything that could be out of bounds.
#![allow(unsafe_code)] // System calls on raw pointers; nothing else happens here.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::Stage;

/// Everything that the child needs, made by its parent.
///
/// Invariants, kept by `start`:
/// 1. `argv`, `envp` and `candidates` are arrays of C strings that end in null.
/// 2. All of it lives until the child has left the parent's memory.
#[derive(Debug)]
pub struct Plan<'a> {
    /// Paths to try, in order.
    pub(super) candidates: &'a [*const c_char],
    pub(super) argv: *const *const c_char,
    pub(super) envp: *const *const c_char,
    pub(super) directory: Option<&'a CStr>,
    pub(super) session: bool,
    pub(super) group: Option<i32>,
    pub(super) limits: &'a [(u32, u64, u64)],
    pub(super) keep_ignored: bool,
    pub(super) close_first: &'a [(u32, u32)],
    pub(super) placements: &'a [Placement],
    /// The first number above every target.
    pub(super) beyond: RawFd,
    pub(super) close_last: &'a [(u32, u32)],
    /// The step that is being tried, and why it failed, for the parent.
    pub(super) stage: AtomicI32,
    pub(super) errno: AtomicI32,
}

/// One descriptor's way to the number that the child will know it by.
#[derive(Debug)]
pub struct Placement {
    pub(super) source: RawFd,
    pub(super) target: RawFd,
    /// Where the source waits, beyond every target.
    pub(super) copy: AtomicI32,
}

/// The exit status of a child that could not run its program. Nobody sees it:
/// the parent reads the reason from [`Plan`] and reaps the child.
const FAILED: c_int = 127;

/// The highest signal number of Linux, on every architecture that we run on.
const LAST_SIGNAL: c_int = 64;

/// Entered on the child's own stack; only returns if the program can't be run.
pub(super) extern "C" fn run(plan: *mut c_void) -> c_int {
    // SAFETY: `start` passes a pointer to its Plan, which stands (invariant 2);
    // only shared references to it are ever made, here and there.
    let plan = unsafe { &*plan.cast_const().cast::<Plan<'_>>() };
    let Err(errno) = set_up(plan).and_then(|()| execute(plan));
    plan.errno.store(errno, Ordering::Relaxed);
    FAILED
}

/// What never returns, save for its reason.
enum Never {}

fn set_up(plan: &Plan<'_>) -> Result<(), c_int> {
    if plan.session {
        enter(plan, Stage::Session);
        // SAFETY: takes nothing, touches no memory.
        check(unsafe { libc::setsid() })?;
    }
    if let Some(group) = plan.group {
        enter(plan, Stage::ProcessGroup);
        // SAFETY: two integers.
        check(unsafe { libc::setpgid(0, group) })?;
    }
    if let Some(directory) = plan.directory {
        enter(plan, Stage::Directory);
        // SAFETY: a C string that outlives the call.
        check(unsafe { libc::chdir(directory.as_ptr()) })?;
    }
    enter(plan, Stage::Descriptors);
    place_descriptors(plan)?;
    enter(plan, Stage::Limits);
    for (resource, soft, hard) in plan.limits {
        let limit = libc::rlimit {
            rlim_cur: *soft,
            rlim_max: *hard,
        };
        // SAFETY: `limit` is a whole rlimit; the resource is one of libc's.
        check(unsafe { libc::setrlimit(*resource as _, &raw const limit) })?;
    }
    reset_dispositions(plan.keep_ignored);
    enter(plan, Stage::SignalMask);
    unblock_signals()
}

fn place_descriptors(plan: &Plan<'_>) -> Result<(), c_int> {
    for range in plan.close_first {
        close_range(*range, 0)?;
    }
    for placement in plan.placements {
        // SAFETY: integers; a stale source is the kernel's EBADF.
        let copy = unsafe { libc::fcntl(placement.source, libc::F_DUPFD_CLOEXEC, plan.beyond) };
        placement.copy.store(check(copy)?, Ordering::Relaxed);
    }
    for placement in plan.placements {
        let copy = placement.copy.load(Ordering::Relaxed);
        // SAFETY: integers. `copy` lies beyond every target, so the two differ
        // and the new descriptor stays open on exec.
        check(unsafe { libc::dup2(copy, placement.target) })?;
    }
    for range in plan.close_last {
        close_range(*range, libc::CLOSE_RANGE_CLOEXEC)?;
    }
    Ok(())
}

fn close_range((first, last): (u32, u32), flags: libc::c_uint) -> Result<(), c_int> {
    // SAFETY: integers; what they close belongs to this process alone (rule 5).
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == -1 { Err(errno()) } else { Ok(()) }
}

/// Resets every disposition, so that no handler of the parent can run once the
/// mask is lifted. `exec` would do so for handlers, but only later, and never
/// for ignored signals.
fn reset_dispositions(keep_ignored: bool) {
    // A kernel `sigaction` is at most four words on every 64-bit Linux, the
    // handler first; all zeros is the default disposition.
    let default = [0_usize; 4];
    for signal in 1..=LAST_SIGNAL {
        let mut before = [0_usize; 4];
        // SAFETY: both are memory for a kernel sigaction. SIGKILL and SIGSTOP
        // are refused, rightly.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                before.as_mut_ptr(),
                size_of::<u64>(),
            )
        };
        let [handler, ..] = before;
        if keep_ignored && handler == libc::SIG_IGN && signal != libc::SIGPIPE {
            // SAFETY: what the kernel has just given us.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    before.as_ptr(),
                    ptr::null::<usize>(),
                    size_of::<u64>(),
                )
            };
        }
    }
}

fn unblock_signals() -> Result<(), c_int> {
    let none = 0_u64;
    // SAFETY: a pointer to the eight bytes of a kernel mask, and null.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            ptr::null::<u64>(),
            size_of::<u64>(),
        )
    };
    if result == -1 { Err(errno()) } else { Ok(()) }
}

/// Tries each candidate as `execvp` would: one that is missing or may not be run
/// is passed over, and "may not" is the better reason if none is left.
fn execute(plan: &Plan<'_>) -> Result<Never, c_int> {
    enter(plan, Stage::Exec);
    let mut reason = libc::ENOENT;
    for candidate in plan.candidates {
        if candidate.is_null() {
            break;
        }
        // SAFETY: null-terminated arrays of C strings (invariant 1).
        unsafe { libc::execve(*candidate, plan.argv, plan.envp) };
        match errno() {
            libc::EACCES => reason = libc::EACCES,
            libc::ENOENT | libc::ENOTDIR => {}
            other => return Err(other),
        }
    }
    Err(reason)
}

fn enter(plan: &Plan<'_>, stage: Stage) {
    plan.stage.store(stage as i32, Ordering::Relaxed);
}

fn check(result: c_int) -> Result<c_int, c_int> {
    if result == -1 {
        Err(errno())
    } else {
        Ok(result)
    }
}

/// The parent thread's `errno`, whose thread-local storage the child borrows; it
/// is never zero after a failed call.
fn errno() -> c_int {
    // SAFETY: takes nothing, returns the address of this thread's errno.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: always valid for the calling thread, and the parent's stands still.
    unsafe { *errno }
}
