//! How a worker ends: by itself, with which exit code; and with its parent.
//!
//! Read before this: [`super::begin`], whose main thread becomes the guardian.
#![allow(unsafe_code)] // asks for the parent, kills the group, exits

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Exit codes of a worker that ends by itself.
pub mod exit {
    /// Told to.
    pub const DONE: i32 = 0;
    /// It couldn't set itself up.
    pub const SETUP: i32 = 121;
    /// A job took a descriptor away that the worker needs (it closed all of them,
    /// for instance).
    pub const DESCRIPTORS: i32 = 122;
    /// What the parent sent makes no sense: memory was overwritten.
    pub const PROTOCOL: i32 = 123;
}

/// Why a worker can't go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The parent is done with it.
    Told,
    /// A bell can't be rung or heard.
    Deaf,
    /// The shared memory contradicts itself.
    Broken,
}

impl Gone {
    /// What it exits with.
    pub(super) fn exit_code(self) -> i32 {
        match self {
            Gone::Told => exit::DONE,
            Gone::Deaf => exit::DESCRIPTORS,
            Gone::Broken => exit::PROTOCOL,
        }
    }
}

/// Waits for the parent's end; then ends this process and its children.
///
/// Bound to the parent as a process, not to the thread of it that started us (as
/// PR_SET_PDEATHSIG would be).
pub(crate) fn guard(pid: u32, parent: Option<OwnedFd>) -> ! {
    loop {
        let waiting = parent.as_ref().is_some_and(|parent| {
            use nix::poll::{PollFd, PollFlags, PollTimeout};
            let mut waited = [PollFd::new(parent.as_fd(), PollFlags::POLLIN)];
            let _ = nix::poll::poll(&mut waited, PollTimeout::NONE);
            // A job that closes all descriptors closes this one, too.
            waited[0].revents() != Some(PollFlags::POLLNVAL)
        });
        // SAFETY: getppid can't fail. Another parent means that ours is gone.
        if unsafe { libc::getppid() }.unsigned_abs() != pid {
            // SAFETY: a process group of our own (the pool starts us in one), so
            // this reaches us and our children only.
            unsafe { libc::kill(0, libc::SIGKILL) };
        }
        if !waiting {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

pub(super) fn complain(what: &str, error: &io::Error) -> ! {
    let _ = writeln!(io::stderr(), "threeply worker: {what}: {error}");
    leave(exit::SETUP)
}

pub(crate) fn leave(code: i32) -> ! {
    let _ = io::stdout().flush();
    // SAFETY: ends the process without running what a real main registered.
    unsafe { libc::_exit(code) }
}
