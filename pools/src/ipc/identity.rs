//! Which process that is, and whether it lives.
//!
//! A process is known by its number and the time of its start, since numbers are
//! given out again. Whether it lives, a pidfd says: it is readable once the whole
//! process has ended, also while it is a zombie that nobody has reaped yet (to
//! `kill(pid, 0)` such a one still exists), and not before its last thread has.
//!
//! Processes must see each other's numbers: the same pid namespace. In another one
//! a living process would be taken for dead.
//!
//! Read before this: nothing. Read after it: [`super::members`].
//!
//! Rejected: *a descriptor of each member, kept open* (a table of descriptors in
//! every process for every object, and one to pass on at every entrance);
//! *record locks* (dropped when any descriptor of the file is closed, or shared by
//! all who inherited it); *the end of file of a pipe* (depends on who else holds
//! the other end); *the kernel's list of robust futexes* (one list a thread, and
//! it belongs to the C library; it knows locks only, and doesn't see the death of
//! one who was woken and never came to act on it).

use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use threeply_runtime::sys::pidfd;

const PID_BITS: u32 = 22;
const START_BITS: u32 = 20;

/// A process, in 42 bits: its number, and twenty bits of the clock tick at which
/// it started (a number would have to return after a multiple of three hours, to
/// the tick, to be mistaken).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(u64);

impl Identity {
    /// Bits that an identity takes.
    pub const BITS: u32 = PID_BITS + START_BITS;

    /// From what [`Identity::bits`] gave.
    pub const fn from_bits(bits: u64) -> Identity {
        Identity(bits & ((1 << Identity::BITS) - 1))
    }

    /// As a number below two to the [`Identity::BITS`].
    pub fn bits(self) -> u64 {
        self.0
    }

    /// The process's number.
    pub fn pid(self) -> u32 {
        (self.0 & ((1 << PID_BITS) - 1)) as u32
    }

    /// This process. Looked up once (and once more after a `fork`).
    pub fn mine() -> Identity {
        static MINE: AtomicU64 = AtomicU64::new(0);
        let pid = std::process::id();
        let known = Identity(MINE.load(Ordering::Relaxed));
        if known.pid() == pid {
            return known;
        }
        let mine = Identity::of(pid);
        MINE.store(mine.0, Ordering::Relaxed);
        mine
    }

    /// The process that has this number now.
    pub fn of(pid: u32) -> Identity {
        let start = start_of(pid).unwrap_or(0) & ((1 << START_BITS) - 1);
        Identity(u64::from(pid) & ((1 << PID_BITS) - 1) | start << PID_BITS)
    }

    /// Whether this process still runs. In doubt (no descriptor to be had, say)
    /// yes: whoever asks asks again. Costs some microseconds.
    pub fn is_alive(self) -> bool {
        if self == Identity::mine() {
            return true;
        }
        let process = match pidfd::open(self.pid()) {
            Ok(process) => process,
            Err(error) => return error.raw_os_error() != Some(libc::ESRCH),
        };
        let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
        if nix::poll::poll(&mut ended, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
            return false;
        }
        // It lives, and so its number is its own while we look at its start.
        Identity::of(self.pid()) == self
    }
}

/// The clock tick after boot at which a process started: field 22 of its `stat`.
/// `None` without `/proc`, and then it is for everybody.
fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in parentheses, which may hold any.
    let (_, rest) = stat.rsplit_once(") ")?;
    rest.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_lives_until_it_has_ended_reaped_or_not() {
        let mut child = Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let identity = Identity::of(child.id());
        assert_eq!(identity.pid(), child.id());
        assert!(identity.is_alive());
        assert_ne!(identity, Identity::mine());
        child.kill().unwrap();
        let zombie = pidfd::open(child.id()).unwrap();
        let mut ended = [PollFd::new(zombie.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut ended, PollTimeout::NONE).unwrap();
        assert!(!identity.is_alive(), "a zombie");
        child.wait().unwrap();
        assert!(!identity.is_alive());
    }

    #[test]
    fn another_process_with_the_same_number_is_another() {
        let mine = Identity::mine();
        assert!(mine.is_alive());
        let earlier = Identity(mine.0 ^ 1 << PID_BITS);
        assert!(!earlier.is_alive());
    }
}
