//! A function of this program, run in a process of its own.
//!
//! ```text
//!   parent                                       child (this executable again)
//!   encode arguments, handles aside
//!   file without a name: what to call   ──3──▶   read it
//!   descriptors of the handles       ──4, 5…──▶  decode arguments, take the handles
//!   tickets: now the child's                     run the function, exit
//!   pidfd ◀──────────── readable when it ends ── by exit, panic or signal
//! ```
//!
//! It is started as a worker of the pool is: by `exec` of `/proc/self/exe`, so
//! nothing of this process's state is there but the arguments. Its standard input
//! is empty, output and errors are ours, and it has a process group of its own, so
//! that Ctrl-C reaches it only through its parent's end.
//!
//! Read before this: [`super::travel`]. Read after it: [`super::child`].
//!
//! Rejected: *`fork` without `exec`* (locks of other threads stay locked in the
//! child); *joining in `drop`* (a hang where nobody looks for one).
#![allow(unsafe_code)] // names the trampoline, an unsafe function, by its address

use super::child::{self, CALL_FD, Call, MARK, Mark};
use super::error::Error;
use super::limits::{FIRST_FD, MESSAGE_MAX};
use super::message;
use crate::process::limits::STACK;
use crate::process::text::Text;
use crate::process::worker::hook;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use threeply_runtime::io::Async;
use threeply_runtime::process::reaper;
use threeply_runtime::sys::pidfd;
use threeply_runtime::sys::spawn::Exec;

use super::kernel::Deadline;

/// A process that runs one function of this program, as `multiprocessing.Process`
/// and `std::thread::spawn` do in their worlds.
///
/// The function must be part of this executable, and capture nothing: what it needs
/// are its arguments, encoded by serde, handles of [this module](super) among them.
///
/// ```
/// use threeply_pools::ipc::{Process, Queue};
///
/// fn work((queue, n): (Queue<u64>, u64)) {
///     queue.put(&(n * n)).unwrap();
/// }
///
/// let queue = Queue::new(10)?;
/// let process = Process::spawn(work, (queue.clone(), 12))?;
/// assert_eq!(queue.get()?, 144);
/// assert!(process.join()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// When the function returns, the process exits with code 0; when it panics, with
/// 101, after the message on stderr. `std::process::exit` gives any other code.
///
/// # Ends
/// A process ends with its parent, however that ends, unless it was built with
/// [`outlives_parent`](Builder::outlives_parent). So join those whose work you want
/// done before `main` returns. Dropping the handle lets it go on, unobserved, and
/// leaves no zombie; a [`daemon`](Builder::daemon) is killed then.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    /// There until it is dropped.
    pidfd: Option<OwnedFd>,
    daemon: bool,
    status: Mutex<Option<ExitStatus>>,
}

/// How a [`Process`] is to be.
#[derive(Debug, Clone)]
#[must_use = "it does nothing until `spawn`"]
pub struct Builder {
    name: Option<String>,
    daemon: bool,
    outlives: bool,
    in_main: bool,
    stack: usize,
}

/// Why a process wasn't started.
#[derive(Debug)]
#[non_exhaustive]
pub enum SpawnError {
    /// The function isn't part of this program's own executable.
    NotInExecutable,
    /// The hook that makes a re-executed copy of this program run the function is
    /// missing.
    HookMissing,
    /// The arguments can't be encoded.
    Arguments(Error),
    /// The system has no memory or descriptor for the call.
    Resources(io::Error),
    /// The system didn't start it.
    Start(threeply_runtime::sys::spawn::SpawnError),
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SpawnError::NotInExecutable => f.write_str(
                "the function isn't in this program's own executable (it comes from a shared \
                 library, perhaps), so another process can't find it: wrap the call in a function \
                 of your program",
            ),
            SpawnError::HookMissing => f.write_str(
                "a process can't be started: the function that diverts it before `main` did not \
                 run in this program (was its `.init_array` dropped by the linker?); call \
                 `process::worker_main()` at the top of `main` and build with `start_in_main(true)`",
            ),
            SpawnError::Arguments(_) => f.write_str("the arguments can't be given to a process"),
            SpawnError::Resources(_) => f.write_str(
                "no memory or descriptor for a call; drop what isn't needed, or raise the limits \
                 (ulimit -n)",
            ),
            SpawnError::Start(_) => f.write_str("the system didn't start a process"),
        }
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SpawnError::Arguments(error) => Some(error),
            SpawnError::Resources(error) => Some(error),
            SpawnError::Start(error) => Some(error),
            _ => None,
        }
    }
}

impl Builder {
    /// Its name: of the process, as `ps` shows it, and of the thread that runs the
    /// function. "threeply-process" otherwise.
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Whether dropping the handle kills it. No, otherwise.
    pub fn daemon(mut self, daemon: bool) -> Builder {
        self.daemon = daemon;
        self
    }

    /// Whether it goes on when its parent ends. No, otherwise.
    pub fn outlives_parent(mut self, outlives: bool) -> Builder {
        self.outlives = outlives;
        self
    }

    /// Bytes of stack for the function; 8 MiB otherwise, of which only what is used
    /// costs memory.
    pub fn stack_size(mut self, bytes: usize) -> Builder {
        self.stack = bytes;
        self
    }

    /// Whether it begins in `main`, at a call of
    /// [`worker_main`](crate::process::worker_main), instead of before it.
    pub fn start_in_main(mut self, in_main: bool) -> Builder {
        self.in_main = in_main;
        self
    }

    /// Starts it. **Blocks** for about a millisecond.
    ///
    /// # Errors
    /// [`SpawnError`]; no process is left then.
    pub fn spawn<A: Serialize + DeserializeOwned>(
        self,
        function: fn(A),
        arguments: A,
    ) -> Result<Process, SpawnError> {
        if !hook::in_place(self.in_main) {
            return Err(SpawnError::HookMissing);
        }
        let text = Text::of_this_program();
        let trampoline = text.offset_of(child::run::<A> as child::Trampoline as usize);
        let function = text.offset_of(function as usize);
        let (Some(trampoline), Some(function)) = (trampoline, function) else {
            return Err(SpawnError::NotInExecutable);
        };
        let mut bytes = Vec::new();
        let mut baggage = message::encode(&arguments, &mut bytes).map_err(SpawnError::Arguments)?;
        if bytes.len() > MESSAGE_MAX {
            let (len, max) = (bytes.len(), MESSAGE_MAX);
            return Err(SpawnError::Arguments(Error::TooLarge { len, max }));
        }
        let name = self.name.unwrap_or_else(|| "threeply-process".to_owned());
        let call = Call {
            fingerprint: text.fingerprint(),
            trampoline,
            function,
            fds: baggage.len() as u32,
            // A thread's name ends at a NUL.
            name: name.replace('\0', " "),
            stack: self.stack as u64,
        };
        let file = call_file(&call, &bytes).map_err(SpawnError::Resources)?;
        let null = File::open("/dev/null").map_err(SpawnError::Resources)?;
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let mut fds = vec![
            (null.as_fd(), 0),
            (stdout.as_fd(), 1),
            (stderr.as_fd(), 2),
            (file.as_fd(), CALL_FD),
        ];
        let own = baggage.fds().iter().map(AsFd::as_fd);
        fds.extend(own.zip(FIRST_FD..));
        let mark = Mark {
            parent: std::process::id(),
            in_main: self.in_main,
            outlives: self.outlives,
        };
        let spawned = Exec::new("/proc/self/exe")
            .arg0(call.name.as_str())
            .env(MARK, mark.to_value())
            .process_group(0)
            .spawn(&fds)
            .map_err(SpawnError::Start)?;
        baggage.hand_to(spawned.pid);
        Ok(Process {
            name,
            pid: spawned.pid,
            pidfd: Some(spawned.pidfd),
            daemon: self.daemon,
            status: Mutex::new(None),
        })
    }
}

/// Call and arguments in a file without a name, sealed so that it is known for what it is.
fn call_file(call: &Call, arguments: &[u8]) -> io::Result<File> {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::memfd::{MFdFlags, memfd_create};
    let bytes = postcard::to_stdvec(call).map_err(io::Error::other)?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"threeply-call", flags)?);
    file.write_all(&bytes)?;
    file.write_all(arguments)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK))?;
    Ok(file)
}

impl Process {
    /// Starts `function` with `arguments` in a process of its own.
    /// **Blocks** for about a millisecond.
    ///
    /// # Errors
    /// [`SpawnError`]; no process is left then.
    pub fn spawn<A: Serialize + DeserializeOwned>(
        function: fn(A),
        arguments: A,
    ) -> Result<Process, SpawnError> {
        Process::builder().spawn(function, arguments)
    }

    /// With options.
    pub fn builder() -> Builder {
        Builder {
            name: None,
            daemon: false,
            outlives: false,
            in_main: false,
            stack: STACK,
        }
    }

    /// Its number, which is its own at least until it has been joined.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name that it was built with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Waits for its end. May be called by several threads, and again.
    ///
    /// # Errors
    /// `ECHILD` if somebody else has waited for it (a `wait` for any child in this
    /// process, or the kernel because `SIGCHLD` is ignored): how it ended can't be
    /// known then.
    pub fn join(&self) -> io::Result<ExitStatus> {
        let status = self.join_by(Deadline::NEVER)?;
        Ok(status.expect("it waits without end"))
    }

    /// Waits for its end, but no longer than `timeout`; `None` if it still runs.
    ///
    /// # Errors
    /// As [`join`](Process::join).
    pub fn join_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.join_by(Deadline::after(timeout))
    }

    fn join_by(&self, deadline: Deadline) -> io::Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.exit_status()? {
                return Ok(Some(status));
            }
            let timeout = match deadline.remaining() {
                None => PollTimeout::NONE,
                Some(left) if left.is_zero() => return Ok(None),
                Some(left) => PollTimeout::try_from(left + Duration::from_micros(999))
                    .unwrap_or(PollTimeout::MAX),
            };
            let mut ended = [PollFd::new(self.pidfd().as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut ended, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How it ended; `None` while it runs. Never waits.
    ///
    /// # Errors
    /// As [`join`](Process::join).
    pub fn exit_status(&self) -> io::Result<Option<ExitStatus>> {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.is_none() {
            *status = pidfd::try_wait_exit(self.pidfd())?;
        }
        Ok(*status)
    }

    /// How it ended, as Python numbers it: its exit code, or the signal that killed
    /// it, negated; `None` while it runs, or if that can't be known.
    pub fn exit_code(&self) -> Option<i32> {
        let status = self.exit_status().ok()??;
        status.code().or(status.signal().map(|signal| -signal))
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        matches!(self.exit_status(), Ok(None))
    }

    /// Its end, awaited on the event loop of this thread.
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Errors
    /// As [`join`](Process::join); or it can't be watched.
    ///
    /// # Panics
    /// Outside an event loop.
    pub async fn exited(&self) -> io::Result<ExitStatus> {
        let mut watched = None;
        loop {
            if let Some(status) = self.exit_status()? {
                return Ok(status);
            }
            if watched.is_none() {
                watched = Some(Async::shared(self.pidfd().try_clone()?));
            }
            if let Some(pidfd) = &watched {
                pidfd.readable().await?;
            }
        }
    }

    /// Kills it (`SIGKILL`), and what it has started in its process group; one that
    /// has ended is left in peace. [`join`](Process::join) tells when it is dead.
    ///
    /// # Errors
    /// The kernel's.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Asks it to end (`SIGTERM`), which ends it at once unless it handles that.
    ///
    /// # Errors
    /// The kernel's.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Sends it a signal by number; one that has ended gets none. `SIGKILL` and
    /// `SIGTERM` go to its process group.
    ///
    /// # Errors
    /// `EINVAL` for an unknown number.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        // Held so that nobody reaps it meanwhile, which would free its number.
        let status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if status.is_some() {
            return Ok(());
        }
        if (signal == libc::SIGKILL || signal == libc::SIGTERM)
            && let Ok(signal) = nix::sys::signal::Signal::try_from(signal)
        {
            let group = nix::unistd::Pid::from_raw(self.pid as i32);
            match nix::sys::signal::killpg(group, signal) {
                Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        match pidfd::send_signal(self.pidfd(), signal) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            result => result,
        }
    }

    fn pidfd(&self) -> &OwnedFd {
        self.pidfd.as_ref().expect("there until it is dropped")
    }
}

impl AsFd for Process {
    /// Its sentinel: readable once it has ended. For `poll` on several.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd().as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_alive() {
            return;
        }
        if self.daemon {
            let _ = self.kill();
        }
        // Somebody must ask for its status when it ends, else it stays a zombie.
        if let Some(pidfd) = self.pidfd.take() {
            reaper::adopt(pidfd);
        }
    }
}
