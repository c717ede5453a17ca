//! The zygote's life: wait for an order, fork a spare, answer.
//!
//! Read after [`super::message`]. This process has one thread, and so a fork of it
//! is an ordinary process in which anything may be called.
#![allow(unsafe_code)] // clone, and descriptors by number

use super::message::{self, Spare};
use crate::process::text::Text;
use crate::process::worker::begin;
use crate::process::worker::end::exit;
use crate::process::worker::hook::{Marker, fd};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use threeply_runtime::sys::{pidfd, scm};

/// Lives as the zygote; returns never.
pub fn zygote(marker: Marker) -> ! {
    match fork_spares(marker) {
        // The pool's process has ended, or is about to end this one.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ) => {}
        Err(error) => {
            eprintln!("threeply fork server: {error}");
            leave(exit::SETUP);
        }
        Ok(()) => {}
    }
    leave(exit::DONE)
}

/// Forks spares until the pool's process has no more use for them.
fn fork_spares(marker: Marker) -> io::Result<()> {
    // SAFETY: the pool placed it for us, and nobody else knows of it.
    let socket = unsafe { OwnedFd::from_raw_fd(fd::SOCKET) };
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
        if !message::hear(&socket)? {
            return Ok(());
        }
        let forked = scm::pair().and_then(|(socket, its_own)| match fork()? {
            None => become_spare(its_own, parent.as_raw_fd(), marker),
            Some((pid, pidfd)) => Ok(Spare { pid, pidfd, socket }),
        });
        message::answer(&socket, &forked)?;
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

/// In the child: takes up its socket, closes all but that, the first three and the
/// parent's pidfd, and waits to be made a worker.
fn become_spare(its_own: OwnedFd, parent: RawFd, marker: Marker) -> ! {
    let _ = nix::sys::prctl::set_name(c"threeply-spare");
    // First the socket, over the zygote's own: the parent's pidfd lies beyond that.
    let placed = place(its_own.into_raw_fd(), fd::SOCKET)
        .and_then(|()| place(parent, fd::PARENT))
        .and_then(|()| close_from(fd::PARENT + 1));
    if let Err(error) = placed {
        eprintln!("threeply spare: cannot place its descriptors: {error}");
        leave(exit::SETUP);
    }
    begin::spare(marker)
}

/// Gives a descriptor this number, in place of what the zygote had there.
fn place(fd: RawFd, number: RawFd) -> io::Result<()> {
    if fd == number {
        return Ok(());
    }
    // SAFETY: integers; nobody in this process uses what had that number.
    check(unsafe { libc::dup3(fd, number, libc::O_CLOEXEC) }.into())
}

fn close_from(first: RawFd) -> io::Result<()> {
    // SAFETY: integers; what they refer to was the zygote's, and nobody in this
    // process uses it.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, RawFd::MAX, 0) })
}

fn check(result: libc::c_long) -> io::Result<()> {
    match result {
        ..0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn leave(code: i32) -> ! {
    // SAFETY: ends the process without running what a real main registered.
    unsafe { libc::_exit(code) }
}
