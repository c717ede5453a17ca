//! The zygote's life: wait for a request, fork, answer.
//!
//! Read after [`super::message`]. This process has one thread, and so a fork of it
//! is an ordinary process in which anything may be called.
#![allow(unsafe_code)] // clone, and descriptors by number

use super::message::{self, Request};
use crate::process::kin;
use crate::process::text::Text;
use crate::process::worker::hook::{Marker, fd};
use crate::process::worker::serve;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use threeply_runtime::sys::pidfd;

/// Lives as the zygote; returns never.
pub fn zygote(marker: Marker) -> ! {
    if let Err(error) = fork_workers(marker) {
        eprintln!("threeply fork server: {error}");
        leave(serve::exit::SETUP);
    }
    leave(serve::exit::DONE)
}

/// Forks workers until the pool's process has no more use for them.
fn fork_workers(marker: Marker) -> io::Result<()> {
    // SAFETY: the pool placed it for us, and nobody else knows of it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd::FORK_SERVER) };
    let parent = pidfd::open(marker.parent)?;
    let _ = nix::sys::prctl::set_name(c"threeply-zygote");
    // Looked up once here instead of in every worker.
    Text::of_this_program();
    loop {
        let mut waited = [&socket, &parent].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        match nix::poll::poll(&mut waited, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        if waited[1].any() == Some(true) {
            return Ok(()); // The parent has ended.
        }
        let Some(request) = message::hear(&socket)? else {
            return Ok(());
        };
        match fork() {
            Ok(None) => become_worker(request, marker),
            Ok(Some(forked)) => message::answer(&socket, &Ok(forked))?,
            Err(error) => message::answer(&socket, &Err(error))?,
        }
    }
}

/// Forks a child of our parent's. `None` in the child.
fn fork() -> io::Result<Option<(u32, OwnedFd)>> {
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and with no stack of its own, the child is a copy of
    // this process that returns from the same call; there is no other thread whose
    // locks could be held. The third argument is where CLONE_PIDFD stores its
    // descriptor; the order of the last two, unused, differs between architectures.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::c_long::from(flags),
            0,
            &raw mut pidfd,
            0,
            0,
        )
    };
    match u32::try_from(pid) {
        Err(_) => Err(io::Error::last_os_error()),
        Ok(0) => Ok(None),
        // SAFETY: clone has succeeded, so the kernel has stored a new descriptor.
        Ok(pid) => Ok(Some((pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))),
    }
}

/// In the child: takes up its descriptors, closes all others, and lives as a worker.
fn become_worker(request: Request, marker: Marker) -> ! {
    if let Err(error) = place(request.fds) {
        eprintln!("threeply worker: cannot place its descriptors: {error}");
        leave(serve::exit::SETUP);
    }
    if let Ok(name) = std::ffi::CString::new(request.name) {
        let _ = nix::sys::prctl::set_name(&name);
    }
    // SAFETY: there is no other thread that could read the environment.
    unsafe { std::env::set_var(kin::KIN, kin::value_for(request.nonce)) };
    serve::worker(Marker {
        nonce: request.nonce,
        ..marker
    })
}

/// Gives each descriptor its number, and closes every other. First all go beyond
/// every number that is wanted, so that none overwrites one that is still to be
/// placed.
fn place(fds: Vec<(OwnedFd, RawFd)>) -> io::Result<()> {
    let beyond = fds.iter().map(|(_, number)| number + 1).max().unwrap_or(0);
    let mut copies = Vec::with_capacity(fds.len());
    for (source, number) in &fds {
        // SAFETY: integers; the new descriptor is ours.
        let copy = unsafe { libc::fcntl(source.as_raw_fd(), libc::F_DUPFD_CLOEXEC, beyond) };
        copies.push((check(copy)?, *number));
    }
    for (source, _) in fds {
        // It may have a number that is about to be given to another, or that is
        // closed below: either way nobody uses it again.
        let _ = source.into_raw_fd();
    }
    let mut unwanted = 0;
    copies.sort_by_key(|(_, number)| *number);
    for (copy, number) in copies {
        // SAFETY: integers. Whatever had that number was the zygote's.
        check(unsafe { libc::dup2(copy, number) })?;
        close_range(unwanted, number)?;
        unwanted = number + 1;
    }
    close_range(unwanted, RawFd::MAX)
}

fn close_range(first: RawFd, end: RawFd) -> io::Result<()> {
    if first == end {
        return Ok(());
    }
    // SAFETY: integers; what they refer to was the zygote's, and nobody in this
    // process uses it.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
    check(closed as i32).map(drop)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn leave(code: i32) -> ! {
    // SAFETY: ends the process without running what a real main registered.
    unsafe { libc::_exit(code) }
}
