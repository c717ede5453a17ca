//! The pool's end of the fork server: start it, take its spares, notice its death.
//!
//! Read after [`super::message`]. The invariants that are cited stand in [`super`].
#![allow(unsafe_code)] // waits for a process group

use super::message::{self, Answer, Spare};
use crate::process::error::Error;
use crate::process::limits;
use crate::process::worker::hook::{MARKER, Marker, fd};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::Pid;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::time::Instant;
use threeply_runtime::sys::spawn::{Exec, Spawned};
use threeply_runtime::sys::{pidfd, scm};

/// The fork servers of this process by place of start: before `main`, and in it.
static SERVERS: [Mutex<Weak<ForkServer>>; 2] = [Mutex::new(Weak::new()), Mutex::new(Weak::new())];

/// A fork server, shared by all pools of this process that use one. Its zygote is
/// started when it is first needed, and ended with the last of the pools.
///
/// ```text
///              order                    take: waits for the answer
///   (none) ─────────────▶ ordered ────────────────────────────────▶ (none), and a worker
///              refill                   refused, or dead: ordered anew
/// ```
#[derive(Debug)]
pub struct ForkServer {
    in_main: bool,
    place: Mutex<Option<Place>>,
}

/// The zygote that there is.
#[derive(Debug)]
struct Place {
    zygote: Arc<Zygote>,
    /// Whether a spare was ordered whose answer nobody has read. The answer waits in the
    /// socket, and the spare, if there is one, at its own.
    ordered: bool,
    /// Whether a spare has been used since the last was ordered in advance. So an order
    /// that is refused isn't repeated for ever.
    used: bool,
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
            place: Mutex::new(None),
        });
        *shared = Arc::downgrade(&server);
        server
    }

    /// A child of this process, in a process group of its own, that waits at the other end
    /// of the socket to be made a worker: the spare, or one that is forked now. **Blocks**
    /// for some hundred microseconds in that case, and a millisecond more if the
    /// zygote must be started. One that doesn't answer is given up, and ended, when
    /// [`HANDSHAKE`](limits::HANDSHAKE) is over, or once `given_up` says that nobody wants
    /// the worker any more.
    ///
    /// # Errors
    /// [`Error::Start`] or [`Error::Resources`] if the zygote can't be started,
    /// [`Error::ForkServer`] if it can't fork, or died while it was asked.
    pub fn fork(&self, given_up: &dyn Fn() -> bool) -> Result<(Spawned, OwnedFd), Error> {
        let refused = |source| Error::ForkServer { source };
        let mut place = lock(&self.place);
        // One that has died since is known by its pidfd: nothing was asked of it yet.
        look(&mut place);
        if given_up() {
            // While somebody else was asking.
            return Err(refused(io::ErrorKind::TimedOut.into()));
        }
        let kept = match &mut *place {
            Some(kept) => kept,
            None => place.insert(Place {
                zygote: Arc::new(Zygote::start(self.in_main)?),
                ordered: false,
                used: false,
            }),
        };
        match kept.take(given_up) {
            Ok(Ok(Spare { pid, pidfd, socket })) => {
                let worker = Pid::from_raw(pid.cast_signed());
                // It waits for its request, which it gets after this (invariant 1). It may
                // have died already; then nothing is left to be moved.
                let _ = nix::unistd::setpgid(worker, worker);
                Ok((Spawned { pid, pidfd }, socket))
            }
            Ok(Err(no)) => Err(refused(no)),
            Err(source) => {
                let zygote = Arc::clone(&kept.zygote);
                *place = None;
                zygote.end();
                Err(refused(source))
            }
        }
    }

    /// Orders the next spare, if the last was used. To be called when a start is over, so
    /// that the fork doesn't compete with it for processors.
    pub fn refill(&self) {
        // Whoever has the lock makes a worker, and calls this afterwards.
        if let Ok(mut place) = self.place.try_lock()
            && let Some(kept) = &mut *place
            && kept.used
            && !kept.ordered
        {
            // An error says that the zygote is dead, which will be noticed.
            kept.ordered = message::order(&kept.zygote.socket).is_ok();
            kept.used = false;
        }
    }

    /// Buries the zygote if it has ended, and a spare that has; the next worker gets others.
    /// Returns the zygote that there is, for whoever watches over it. `None` while somebody
    /// asks it for a worker, who notices by himself, and for whom a watcher mustn't wait.
    pub fn look_at_zygote(&self) -> Option<Option<Arc<Zygote>>> {
        let mut place = match self.place.try_lock() {
            Ok(place) => place,
            Err(TryLockError::Poisoned(broken)) => broken.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        look(&mut place);
        Some(place.as_ref().map(|kept| Arc::clone(&kept.zygote)))
    }
}

/// Buries what has ended of the zygote and its spares.
fn look(place: &mut Option<Place>) {
    while let Some(kept) = place {
        match kept.zygote.dead_in_its_group() {
            None => return,
            Some(pid) if pid != kept.zygote.pid => {
                // A spare. Whoever reads of it will find that it has ended.
                let _ = nix::sys::wait::waitpid(pid, None);
            }
            Some(_) => {
                kept.zygote.end();
                *place = None;
            }
        }
    }
}

impl Drop for ForkServer {
    fn drop(&mut self) {
        if let Some(kept) = lock(&self.place).take() {
            kept.zygote.end();
        }
    }
}

impl Place {
    /// The spare, or one that is forked now; inside, why none could be forked.
    ///
    /// # Errors
    /// If the zygote is of no more use.
    fn take(&mut self, given_up: &dyn Fn() -> bool) -> io::Result<io::Result<Spare>> {
        self.used = true;
        loop {
            let in_advance = self.ordered;
            if !in_advance {
                message::order(&self.zygote.socket)?;
                self.ordered = true;
            }
            let answer = self.zygote.answer(given_up)?;
            self.ordered = false;
            match answer {
                Answer::Forked(spare) if in_advance && has_ended(&spare.pidfd) => {
                    let _ = pidfd::try_wait_exit(&spare.pidfd); // Unless that was done.
                }
                Answer::Refused(_) if in_advance => {}
                Answer::Forked(spare) => return Ok(Ok(spare)),
                Answer::Refused(error) => return Ok(Err(error)),
            }
        }
    }
}

fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut waited = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    nix::poll::poll(&mut waited, PollTimeout::ZERO).is_ok() && waited[0].any() == Some(true)
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
                (its_own.as_fd(), fd::SOCKET),
            ])
            .map_err(Error::Start)?;
        Ok(Zygote {
            pid: Pid::from_raw(pid.cast_signed()),
            pidfd,
            socket,
        })
    }

    /// Waits for the next answer.
    fn answer(&self, given_up: &dyn Fn() -> bool) -> io::Result<Answer> {
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
        has_ended(&self.pidfd)
    }

    /// A process of its group that has ended and waits to be reaped: the zygote itself,
    /// if it has.
    fn dead_in_its_group(&self) -> Option<Pid> {
        use nix::sys::wait::{Id, WaitPidFlag, waitid};
        if self.has_ended() {
            return Some(self.pid);
        }
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(Id::PGid(self.pid), flags).ok()?.pid()
    }

    /// Kills and reaps it, and whatever it forked and no pool has made a worker: all that
    /// is left in its process group (invariant 1 of [`super`]). Called once.
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
