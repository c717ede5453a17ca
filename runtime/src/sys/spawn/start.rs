//! The parent's half of a start: allocate, block signals, clone, learn the outcome.
//!
//! Read after [`super`]; [`child`] is the other half.
//!
//! `CLONE_VM | CLONE_VFORK` lends the child our memory and stops this thread
//! until the child has left that memory, by `exec` or exit. The rest of the
//! process runs on. The rules that make this sound:
//!
//! 1. All memory that the child reads or writes was allocated before `clone` and
//!    lives on this thread's frames, which stand still meanwhile.
//! 2. The child runs on a stack of its own (`ChildStack`), with a guard page.
//! 3. The child only makes system calls: no allocation, no lock, no panic. Other
//!    threads may hold any lock at the moment of the clone.
//! 4. No signal handler may run in the child, where it would run on our memory:
//!    all signals, the C library's internal ones included, are blocked before
//!    `clone`; the child resets every disposition before it unblocks.
//! 5. Dispositions and the descriptor table are the child's own copies (neither
//!    `CLONE_SIGHAND` nor `CLONE_FILES` is set), so nothing it does shows here.
//! 6. What the child writes for us, step and errno, is atomic, and read only
//!    after `clone` has returned.
#![allow(unsafe_code)] // clone, mmap, and the raw signal mask: nothing safe offers them.

use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use super::child::{self, Placement, Plan};
use super::{Exec, Limit, Spawned, Stage};
use crate::limits::SPAWN_STACK_BYTES;
use crate::sys::pidfd;
use crate::trace::{Kind, emit};

/// Starts `exec`, or tells the step that failed and why.
pub(super) fn start(
    exec: &Exec,
    fds: &[(BorrowedFd<'_>, RawFd)],
) -> Result<Spawned, (Stage, io::Error)> {
    emit(Kind::ProcessStart, line!(), 0, 0);
    let started = start_untold(exec, fds);
    let pid = started.as_ref().map_or(0, |started| started.pid);
    emit(Kind::ProcessStartEnd, line!(), u64::from(pid), 0);
    started
}

fn start_untold(
    exec: &Exec,
    fds: &[(BorrowedFd<'_>, RawFd)],
) -> Result<Spawned, (Stage, io::Error)> {
    let prepare = |error| (Stage::Prepare, error);
    let strings = exec.strings().map_err(prepare)?;
    let layout = Layout::new(fds).map_err(prepare)?;
    let stack = ChildStack::new().map_err(prepare)?;
    let candidates = pointers(&strings.candidates);
    let argv = pointers(&strings.argv);
    let envp = pointers(&strings.envp);
    let limits: Vec<_> = exec
        .limits
        .iter()
        .map(|&(limit, soft, hard)| (resource(limit), soft, hard))
        .collect();
    let plan = Plan {
        candidates: &candidates,
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        directory: strings.directory.as_deref(),
        session: exec.session,
        group: exec.group,
        limits: &limits,
        keep_ignored: exec.keep_ignored,
        close_first: &layout.close_first,
        placements: &layout.placements,
        beyond: layout.beyond,
        close_last: &layout.close_last,
        stage: AtomicI32::new(Stage::Clone as i32),
        errno: AtomicI32::new(0),
    };

    let spawned = clone(&plan, &stack).map_err(|error| (Stage::Clone, error))?;
    match plan.errno.load(Ordering::Relaxed) {
        0 => Ok(spawned),
        errno => {
            // It has said why and is gone; leave no zombie.
            let _ = pidfd::wait_exit(&spawned.pidfd);
            let stage = stage(plan.stage.load(Ordering::Relaxed));
            Err((stage, io::Error::from_raw_os_error(errno)))
        }
    }
}

/// Clones and returns once the child has left our memory.
fn clone(plan: &Plan<'_>, stack: &ChildStack) -> io::Result<Spawned> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    let blocked = BlockedSignals::new()?;
    // SAFETY: rules 1 to 6 of this file: `plan` and `stack` outlive the child's
    // use of them because this thread stands still until the child has left;
    // `child::run` keeps to system calls; signals are blocked. The third pointer
    // is where CLONE_PIDFD wants its descriptor; the last two are unused.
    let pid = unsafe {
        libc::clone(
            child::run,
            stack.top(),
            flags,
            ptr::from_ref(plan).cast_mut().cast::<c_void>(),
            ptr::from_mut(&mut pidfd),
            ptr::null_mut::<c_void>(),
            ptr::null_mut::<c_int>(),
        )
    };
    let result = match pid {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(pid.unsigned_abs()),
    };
    drop(blocked);
    let pid = result?;
    // SAFETY: clone succeeded, so the kernel has stored a new descriptor here.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Spawned { pid, pidfd })
}

/// Which descriptors the child closes, where the rest go.
///
/// The child's table starts as a copy of ours. First everything that is no
/// source goes (so that the next step can't fail for want of a free number),
/// then each source is copied beyond every target (so that no placement
/// overwrites a source that is still to be placed), then copied down to its
/// target; last, everything that is no target is marked to close on `exec`.
struct Layout {
    close_first: Vec<(u32, u32)>,
    placements: Vec<Placement>,
    beyond: RawFd,
    close_last: Vec<(u32, u32)>,
}

impl Layout {
    fn new(fds: &[(BorrowedFd<'_>, RawFd)]) -> io::Result<Layout> {
        let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidInput, message);
        let mut sources: Vec<u32> = Vec::with_capacity(fds.len());
        let mut targets: Vec<u32> = Vec::with_capacity(fds.len());
        for (source, target) in fds {
            let Ok(target) = u32::try_from(*target) else {
                return Err(invalid(format!("{target} is no descriptor number")));
            };
            sources.push(source.as_raw_fd().unsigned_abs());
            targets.push(target);
        }
        sources.sort_unstable();
        sources.dedup();
        targets.sort_unstable();
        if let Some(pair) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
            let message = format!("two descriptors are to become number {}", pair[0]);
            return Err(invalid(message));
        }
        let beyond = targets.last().map_or(0, |last| last.saturating_add(1));
        Ok(Layout {
            close_first: gaps(&sources),
            placements: fds
                .iter()
                .map(|(source, target)| Placement {
                    source: source.as_raw_fd(),
                    target: *target,
                    copy: AtomicI32::new(-1),
                })
                .collect(),
            beyond: RawFd::try_from(beyond)
                .map_err(|_| invalid(format!("{beyond} is no descriptor number")))?,
            close_last: gaps(&targets),
        })
    }
}

/// The inclusive ranges of numbers that `sorted` leaves out.
fn gaps(sorted: &[u32]) -> Vec<(u32, u32)> {
    let mut gaps = Vec::with_capacity(sorted.len() + 1);
    let mut next = 0;
    for &fd in sorted {
        if fd > next {
            gaps.push((next, fd - 1));
        }
        next = fd.saturating_add(1);
    }
    gaps.push((next, u32::MAX));
    gaps
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings
        .iter()
        .map(|string| string.as_ptr())
        .chain(std::iter::once(ptr::null()))
        .collect()
}

fn resource(limit: Limit) -> u32 {
    #[allow(clippy::useless_conversion)] // The type differs between C libraries.
    u32::try_from(match limit {
        Limit::AddressSpace => libc::RLIMIT_AS,
        Limit::CoreDump => libc::RLIMIT_CORE,
        Limit::CpuSeconds => libc::RLIMIT_CPU,
        Limit::FileSize => libc::RLIMIT_FSIZE,
        Limit::OpenFiles => libc::RLIMIT_NOFILE,
        Limit::Stack => libc::RLIMIT_STACK,
    })
    .expect("a resource's number is small")
}

fn stage(number: i32) -> Stage {
    [
        Stage::Session,
        Stage::ProcessGroup,
        Stage::Limits,
        Stage::Directory,
        Stage::Descriptors,
        Stage::SignalMask,
        Stage::Exec,
    ]
    .into_iter()
    .find(|stage| *stage as i32 == number)
    .unwrap_or(Stage::Clone)
}

/// The child's stack: pages that are touched only as far as they are used, above
/// a page that may not be touched at all.
struct ChildStack {
    base: *mut c_void,
    length: usize,
}

impl ChildStack {
    fn new() -> io::Result<ChildStack> {
        let guard = page_size();
        let length = SPAWN_STACK_BYTES.next_multiple_of(guard) + guard;
        // SAFETY: a fresh mapping, placed by the kernel, overlaps nothing.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = ChildStack { base, length };
        // SAFETY: the first page of the mapping above, in which nothing lives.
        if unsafe { libc::mprotect(base, guard, libc::PROT_NONE) } == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(stack)
    }

    /// Stacks grow downwards: one past the mapping, page-aligned.
    fn top(&self) -> *mut c_void {
        self.base.wrapping_byte_add(self.length)
    }
}

impl Drop for ChildStack {
    fn drop(&mut self) {
        // SAFETY: our own mapping, whole; the child that ran on it has left it.
        unsafe { libc::munmap(self.base, self.length) };
    }
}

fn page_size() -> usize {
    // SAFETY: sysconf reads a constant.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// All of this thread's signals, blocked until dropped.
///
/// By the raw call: the C library's own leaves out two internal signals, one of
/// which makes every thread change its user id (rule 4).
struct BlockedSignals {
    before: u64,
}

impl BlockedSignals {
    fn new() -> io::Result<BlockedSignals> {
        let mut before = 0_u64;
        set_mask(&u64::MAX, Some(&mut before))?;
        Ok(BlockedSignals { before })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // The same call succeeded a moment ago, and this mask is the kernel's.
        let _ = set_mask(&self.before, None);
    }
}

fn set_mask(mask: &u64, before: Option<&mut u64>) -> io::Result<()> {
    let before = before.map_or(ptr::null_mut(), ptr::from_mut);
    // SAFETY: both are null or point to the eight bytes of a kernel signal mask.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            ptr::from_ref(mask),
            before,
            size_of::<u64>(),
        )
    };
    if result == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_is_left_out() {
        assert_eq!(gaps(&[]), [(0, u32::MAX)]);
        assert_eq!(gaps(&[0, 1, 2]), [(3, u32::MAX)]);
        assert_eq!(gaps(&[1, 5]), [(0, 0), (2, 4), (6, u32::MAX)]);
    }

    #[test]
    fn one_number_for_two_descriptors_is_refused() {
        let (a, b) = crate::sys::pipe::pipe().unwrap();
        let fds = [
            (std::os::fd::AsFd::as_fd(&a), 3),
            (std::os::fd::AsFd::as_fd(&b), 3),
        ];
        let error = Layout::new(&fds).err().unwrap();
        assert!(error.to_string().contains("number 3"), "{error}");
    }
}
