//! The pool's end of the fork server: start it, ask it, notice its death.
//!
//! Read after [`super::message`]. The invariants that are cited stand in [`super`].
#![allow(unsafe_code)] // waits for a process group

use super::message::{self, Answer};
use crate::process::error::Error;
use crate::process::limits;
use crate::process::worker::hook::{MARKER, Marker, fd};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::Pid;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Instant;
use threeply_runtime::sys::scm;
use threeply_runtime::sys::spawn::{Exec, Spawned};

/// The fork servers of this process by place of start: before `main`, and in it.
static SERVERS: [Mutex<Weak<ForkServer>>; 2] = [Mutex::new(Weak::new()), Mutex::new(Weak::new())];

/// A fork server, shared by all pools of this process that use one. Its zygote is
/// started when it is first needed, and ended with the last of the pools.
#[derive(Debug)]
pub struct ForkServer {
    in_main: bool,
    zygote: Mutex<Option<Arc<Zygote>>>,
}

/// The zygote's process, seen from the pool's.
#[derive(Debug)]
pub struct Zygote {
    pid: Pid,
    pidfd: OwnedFd,
    socket: OwnedFd,
}

impl AsFd for Zygote {
    /// Its pidfd: readable once it has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl ForkServer {
    /// The fork server of this process whose workers begin in `main`, or before it.
    pub fn get(in_main: bool) -> Arc<ForkServer> {
        let mut shared = lock(&SERVERS[usize::from(in_main)]);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(ForkServer {
            in_main,
            zygote: Mutex::new(None),
        });
        *shared = Arc::downgrade(&server);
        server
    }

    /// Forks a worker that gets exactly these descriptors, in a process group of its
    /// own. **Blocks** for some hundred microseconds, and a millisecond more if the
    /// zygote must be started. One that doesn't answer is given up, and ended, when
    /// [`HANDSHAKE`](limits::HANDSHAKE) is over, or once `given_up` says that nobody wants
    /// the worker any more.
    ///
    /// # Errors
    /// [`Error::Start`] or [`Error::Resources`] if the zygote can't be started,
    /// [`Error::ForkServer`] if it can't fork, or died while it was asked. Nothing of
    /// what was asked for may be used again then (invariant 2 of [`super`]).
    pub fn fork(
        &self,
        nonce: u64,
        fds: &[(BorrowedFd<'_>, RawFd)],
        name: &str,
        given_up: &dyn Fn() -> bool,
    ) -> Result<Spawned, Error> {
        let mut place = lock(&self.zygote);
        // One that has died since is known by its pidfd: nothing was asked of it yet.
        if let Some(zygote) = place.take_if(|zygote| zygote.has_ended()) {
            zygote.end();
        }
        if given_up() {
            // While somebody else was asking.
            let source = io::ErrorKind::TimedOut.into();
            return Err(Error::ForkServer { source });
        }
        let zygote = match &*place {
            Some(zygote) => Arc::clone(zygote),
            None => Arc::clone(place.insert(Arc::new(Zygote::start(self.in_main)?))),
        };
        match zygote.ask(nonce, fds, name, given_up) {
            Ok(Answer::Forked { pid, pidfd }) => {
                let worker = Pid::from_raw(pid.cast_signed());
                // It waits for its first request, which it gets after this (invariant
                // 1). It may have died already; then nothing is left to be moved.
                let _ = nix::unistd::setpgid(worker, worker);
                Ok(Spawned { pid, pidfd })
            }
            Ok(Answer::Refused(source)) => Err(Error::ForkServer { source }),
            Err(source) => {
                *place = None;
                zygote.end();
                Err(Error::ForkServer { source })
            }
        }
    }

    /// Buries the zygote if it has ended; the next worker gets a new one. Returns the one
    /// that there is, for whoever watches over it. `None` while somebody asks it for a
    /// worker, who notices by himself, and for whom a watcher mustn't wait.
    pub fn look_at_zygote(&self) -> Option<Option<Arc<Zygote>>> {
        let mut place = match self.zygote.try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        if let Some(zygote) = place.take_if(|zygote| zygote.has_ended()) {
            zygote.end();
        }
        Some(place.clone())
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        if let Some(zygote) = lock(&self.zygote).take() {
            zygote.end();
        }
    }
}

impl Zygote {
    fn start(in_main: bool) -> Result<Zygote, Error> {
        let need = |what| move |source: io::Error| Error::Resources { what, source };
        let (socket, its_own) = scm::pair().map_err(need("no sockets for the fork server"))?;
        let null = File::open("/dev/null").map_err(need("/dev/null can't be opened"))?;
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let marker = Marker {
            parent: std::process::id(),
            nonce: 0,
            in_main,
            forks: true,
        };
        let Spawned { pid, pidfd } = Exec::new("/proc/self/exe")
            .arg0("threeply-fork-server")
            .env(MARKER, marker.to_value())
            .process_group(0)
            .spawn(&[
                (null.as_fd(), 0),
                (stdout.as_fd(), 1),
                (stderr.as_fd(), 2),
                (its_own.as_fd(), fd::FORK_SERVER),
            ])
            .map_err(Error::Start)?;
        Ok(Zygote {
            pid: Pid::from_raw(pid.cast_signed()),
            pidfd,
            socket,
        })
    }

    fn ask(
        &self,
        nonce: u64,
        fds: &[(BorrowedFd<'_>, RawFd)],
        name: &str,
        given_up: &dyn Fn() -> bool,
    ) -> io::Result<Answer> {
        message::ask(&self.socket, nonce, fds, name)?;
        // Its death counts as well as the end of its socket, which others may hold.
        let deadline = Instant::now() + limits::HANDSHAKE;
        loop {
            match message::listen(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            if self.has_ended() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let mut waited =
                [&self.socket, &self.pidfd].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
            let slice = PollTimeout::try_from(left.min(limits::ZYGOTE_SILENCE));
            let spoke = nix::poll::poll(&mut waited, slice.unwrap_or(PollTimeout::ZERO));
            // An answer that has come in time counts.
            if spoke == Ok(0) && (left.is_zero() || given_up()) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }

    /// Whether it has ended, and waits to be reaped.
    pub fn has_ended(&self) -> bool {
        let mut waited = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        nix::poll::poll(&mut waited, PollTimeout::ZERO).is_ok() && waited[0].any() == Some(true)
    }

    /// Kills and reaps it, and whatever it forked and we weren't told of: all that is
    /// left in its process group (invariant 1 of [`super`]). Called once.
    fn end(&self) {
        // Until it is reaped, its number is nobody else's, and so is its group's.
        let _ = nix::sys::signal::killpg(self.pid, nix::sys::signal::Signal::SIGKILL);
        loop {
            // SAFETY: waits for children of ours in that group, and wants no status.
            let waited =
                unsafe { libc::waitpid(-self.pid.as_raw(), std::ptr::null_mut(), libc::__WALL) };
            // ECHILD: none is left.
            if waited < 0 && Errno::last() != Errno::EINTR {
                return;
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
