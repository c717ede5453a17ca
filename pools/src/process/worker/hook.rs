//! How a worker gets to work without a line of set-up in the user's `main`.
//!
//! The pool starts the program's own executable once more, with a marker in the
//! environment. The loader calls every function in the section `.init_array`
//! before `main`; ours looks for the marker, and in a worker it never returns. So
//! pools work in binaries, in tests and in benchmarks alike.
//!
//! The marker is `THREEPLY_WORKER=<parent's pid>:<nonce>:<place>`, the place being
//! `hook` or `main`, with `fork-` before it for a fork server. It is
//! removed before any job runs, since a job may start its own executable; and it
//! counts only if the parent's pid is right, so a copy of it that has gone astray
//! starts no worker. A worker whose parent died before it began has the wrong
//! parent, too; it is known by the socket that the pool gave it, and exits: were it
//! to go on into `main`, the program would run a second time. A program whose `main` must have run first (because other
//! crates set something up before `main`) asks its pool for that and calls
//! [`worker_main`] at the top of `main`.
//!
//! A program in which neither ran could only start copies of itself whose `main`
//! starts copies in turn: the pool checks [`in_place`] before it starts anything.
//!
//! A diverted worker must finish what the start of a Rust `main` would have done:
//! ignore SIGPIPE (a write to a closed socket is an error, not death), handle
//! stack overflow (see [`super::last_words`]), flush stdout before it exits.
//!
//! Rejected: *an argument instead of a variable* (the program's own parsing of
//! arguments may run before us, in other constructors); *a separate worker
//! binary* (it would have to be built, found and kept in step); *fork without
//! exec* (locks held by other threads stay locked for ever in the child).
#![allow(unsafe_code)] // code that runs before main

use crate::ipc::child;
use crate::process::fork_server::zygote;
use crate::process::worker::begin;
use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

/// The variable's name.
pub const MARKER: &str = "THREEPLY_WORKER";

/// Descriptors of a worker, besides 0, 1 and 2.
pub mod fd {
    /// The socket by which a process is made a worker, and by which jobs and results get
    /// descriptors then. Of a fork server: by which spares are ordered.
    pub const SOCKET: i32 = 3;
    /// The pidfd of its parent.
    pub const PARENT: i32 = 4;
    /// Read end of the pipe that the parent rings: the first that it receives.
    pub const BELL: i32 = 5;
    /// The eventfd that wakes a caller who waits for a reply itself.
    pub const CALLER: i32 = 6;
    /// The eventfd that wakes the pool's supervisor.
    pub const SUPERVISOR: i32 = 7;
}

/// What the marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marker {
    /// The process whose worker this is.
    pub parent: u32,
    /// Echoed in the handshake.
    pub nonce: u64,
    /// Whether the worker begins in `main` instead of before it.
    pub in_main: bool,
    /// Whether this process isn't to work but to fork those that do
    /// ([`fork_server`](crate::process::fork_server)).
    pub forks: bool,
}

impl Marker {
    /// The variable's value.
    pub fn to_value(self) -> String {
        let place = match (self.in_main, self.forks) {
            (false, false) => "hook",
            (true, false) => "main",
            (false, true) => "fork-hook",
            (true, true) => "fork-main",
        };
        format!("{}:{}:{place}", self.parent, self.nonce)
    }

    /// Reads the variable's value.
    pub fn from_value(value: &OsStr) -> Option<Marker> {
        let mut parts = value.to_str()?.split(':');
        let (parent, nonce) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (in_main, forks) = match parts.next()? {
            "hook" => (false, false),
            "main" => (true, false),
            "fork-hook" => (false, true),
            "fork-main" => (true, true),
            _ => return None,
        };
        let marker = Marker {
            parent,
            nonce,
            in_main,
            forks,
        };
        parts.next().is_none().then_some(marker)
    }
}

static HOOK_RAN: AtomicBool = AtomicBool::new(false);
static MAIN_ASKED: AtomicBool = AtomicBool::new(false);

/// The loader's list of functions to call before `main`, with ours on it.
#[used]
#[unsafe(link_section = ".init_array")]
static HOOK: extern "C" fn() = before_main;

extern "C" fn before_main() {
    HOOK_RAN.store(true, Ordering::Relaxed);
    divert(false);
    child::divert(false);
}

/// Makes this process a worker if a pool has started it as one; otherwise
/// returns at once.
///
/// Only needed by programs whose pools or processes are built with
/// [`start_in_main`](crate::process::Builder::start_in_main); call it first in
/// `main`. In a worker it never returns.
pub fn worker_main() {
    MAIN_ASKED.store(true, Ordering::Relaxed);
    divert(true);
    child::divert(true);
}

/// Whether a worker that is started now would find its way: before `main` or,
/// if `in_main`, by [`worker_main`].
pub fn in_place(in_main: bool) -> bool {
    // The hook's own static is read so that the linker can't leave it out of a
    // program that makes a pool.
    // SAFETY: a plain read of a static of ours.
    let hook = unsafe { (&raw const HOOK).read_volatile() };
    let linked = hook as usize != 0;
    if in_main {
        MAIN_ASKED.load(Ordering::Relaxed)
    } else {
        linked && HOOK_RAN.load(Ordering::Relaxed)
    }
}

fn divert(in_main: bool) {
    let Some(value) = std::env::var_os(MARKER) else {
        return;
    };
    let marker = Marker::from_value(&value);
    // SAFETY: getppid can't fail and touches no memory.
    let parent = unsafe { libc::getppid() };
    match marker {
        Some(marker) if marker.parent == parent.unsigned_abs() => {
            if marker.in_main == in_main {
                remove_marker();
                if marker.forks {
                    zygote::zygote(marker);
                }
                begin::worker(marker);
            }
        }
        // The parent died before we began. Going on into `main` would run the
        // whole program a second time, with nobody waiting for it.
        Some(_) if has_what_a_pool_gives() => {
            // SAFETY: ends the process, of which nothing has run yet.
            unsafe { libc::_exit(0) }
        }
        // Astray: inherited by somebody who is no worker.
        _ => remove_marker(),
    }
}

/// Whether this process holds what a pool gives its workers, or a fork server: a
/// marker that has gone astray comes without it.
fn has_what_a_pool_gives() -> bool {
    // SAFETY: only borrowed to be asked, and if nothing is open there, that is the
    // answer.
    let socket = unsafe { BorrowedFd::borrow_raw(fd::SOCKET) };
    let kind = nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::SockType);
    kind == Ok(nix::sys::socket::SockType::SeqPacket)
}

fn remove_marker() {
    // SAFETY: before main, or at the top of it, there is no other thread that
    // could read the environment.
    unsafe { std::env::remove_var(MARKER) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_survives_the_environment() {
        let marker = Marker {
            parent: 4711,
            nonce: u64::MAX,
            in_main: true,
            forks: false,
        };
        for (in_main, forks) in [(false, false), (true, false), (false, true), (true, true)] {
            let marker = Marker {
                in_main,
                forks,
                ..marker
            };
            let value = marker.to_value();
            assert_eq!(Marker::from_value(OsStr::new(&value)), Some(marker));
        }
        for wrong in ["", "1", "1:2", "1:2:else", "1:2:hook:3", "x:2:hook"] {
            assert_eq!(Marker::from_value(OsStr::new(wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn the_hook_has_run_in_this_very_test() {
        assert!(in_place(false));
        assert!(!in_place(true), "nobody called worker_main");
    }
}
