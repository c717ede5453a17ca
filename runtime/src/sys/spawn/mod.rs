//! Starting a program: what to run, with which descriptors, and how it can fail.
//!
//! ```text
//!   Exec  ──spawn()──▶ start.rs            child.rs                 pidfd.rs
//!  (what to run)       allocate everything  the few calls between    wait, signal,
//!                      block signals        clone and exec           reap
//!                      clone(VM|VFORK|PIDFD)
//! ```
//!
//! Read [`start`] next, then [`child`].
//!
//! The child gets exactly the descriptors that [`Exec::spawn`] is told to place:
//! nothing leaks by accident, so the end of a pipe is seen when it comes. It
//! starts with every signal unblocked and, unless told otherwise, at its default
//! disposition.
//!
//! Rejected:
//! - `fork`: it copies the page tables, 94 ms for a parent of 4 GiB against 1 ms
//!   for a start that borrows the parent's memory until `exec`.
//! - `posix_spawn`: as fast, but it has no pidfd (in the C libraries in use), no
//!   `close_range`, no working directory in older ones, no resource limits, and
//!   it can't say *which* step failed.
//! - `PR_SET_PDEATHSIG`: tied to the *thread* that started the child, so that a
//!   child would die when one thread of a healthy parent ends. Children that
//!   must not outlive us watch a pipe or a pidfd of ours instead.

pub mod child;
pub mod start;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// A program to start: the analogue of `std::process::Command`, one floor lower.
///
/// It can be started any number of times, from any thread.
#[derive(Clone, Debug)]
pub struct Exec {
    program: OsString,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    env_cleared: bool,
    env: BTreeMap<OsString, Option<OsString>>,
    directory: Option<PathBuf>,
    pub(crate) group: Option<i32>,
    pub(crate) session: bool,
    pub(crate) keep_ignored: bool,
    pub(crate) limits: Vec<(Limit, u64, u64)>,
}

/// A started child.
///
/// Somebody must wait for it ([`pidfd::wait_exit`](super::pidfd::wait_exit)),
/// else it stays behind as a zombie: dropping this value doesn't.
#[derive(Debug)]
#[must_use = "a child that nobody waits for stays behind as a zombie"]
pub struct Spawned {
    /// Its number, valid until it has been waited for.
    pub pid: u32,
    /// Its descriptor: readable once it has ended; closed on `exec`.
    pub pidfd: OwnedFd,
}

/// A resource that [`Exec::limit`] can bound, in the unit of `setrlimit(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Bytes of address space (`RLIMIT_AS`).
    AddressSpace,
    /// Bytes of a core dump (`RLIMIT_CORE`); zero for none.
    CoreDump,
    /// Seconds of CPU time (`RLIMIT_CPU`).
    CpuSeconds,
    /// Bytes of a file that is written (`RLIMIT_FSIZE`).
    FileSize,
    /// Open descriptors (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Bytes of the main thread's stack (`RLIMIT_STACK`).
    Stack,
}

/// The step at which a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Turning the request into what the kernel takes (a NUL byte in an
    /// argument, a descriptor named twice), or allocating the child's stack.
    Prepare,
    /// `clone`: no memory, too many processes, or no descriptor free for the pidfd.
    Clone,
    /// `setsid`.
    Session,
    /// `setpgid`.
    ProcessGroup,
    /// `setrlimit`.
    Limits,
    /// `chdir`.
    Directory,
    /// `dup`, `dup2` or `close_range`.
    Descriptors,
    /// `rt_sigprocmask`.
    SignalMask,
    /// `execve`: no such program, or it may not be run.
    Exec,
}

/// Why a program could not be started. Converts into an [`io::Error`] of the
/// same kind.
#[derive(Debug)]
pub struct SpawnError {
    /// The program as it was named.
    pub program: OsString,
    /// How far it came.
    pub stage: Stage,
    /// The kernel's reason.
    pub source: io::Error,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.stage {
            Stage::Prepare => "preparing the call",
            Stage::Clone => "clone",
            Stage::Session => "setsid",
            Stage::ProcessGroup => "setpgid",
            Stage::Limits => "setrlimit",
            Stage::Directory => "changing to its working directory",
            Stage::Descriptors => "placing its descriptors (needs Linux 5.11 or later)",
            Stage::SignalMask => "resetting the signal mask",
            Stage::Exec => "exec",
        };
        let program = self.program.to_string_lossy();
        write!(f, "cannot start `{program}`: {step}: {}", self.source)
    }
}

impl std::error::Error for SpawnError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl From<SpawnError> for io::Error {
    fn from(error: SpawnError) -> io::Error {
        io::Error::new(error.source.kind(), error)
    }
}

impl Exec {
    /// A program by path, or by a name without a slash that is looked up in the
    /// `PATH` that the child will have. `/proc/self/exe` is this very program,
    /// even if its file has been replaced meanwhile.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Exec {
        Exec {
            program: program.as_ref().to_owned(),
            arg0: None,
            args: Vec::new(),
            env_cleared: false,
            env: BTreeMap::new(),
            directory: None,
            group: None,
            session: false,
            keep_ignored: false,
            limits: Vec::new(),
        }
    }

    /// What the child sees as its own name, instead of the program's.
    pub fn arg0(&mut self, name: impl AsRef<OsStr>) -> &mut Exec {
        self.arg0 = Some(name.as_ref().to_owned());
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Exec {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds several arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Exec {
        for arg in args {
            self.arg(arg);
        }
        self
    }

    /// Sets a variable of the environment, which is otherwise ours as it is at
    /// the moment of the start.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Exec {
        let value = Some(value.as_ref().to_owned());
        self.env.insert(key.as_ref().to_owned(), value);
        self
    }

    /// Keeps a variable of ours from the child.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Exec {
        self.env.insert(key.as_ref().to_owned(), None);
        self
    }

    /// Keeps all our variables, and those set so far, from the child.
    pub fn env_clear(&mut self) -> &mut Exec {
        self.env_cleared = true;
        self.env.clear();
        self
    }

    /// The child's working directory, instead of ours. A program named by a
    /// relative path is looked for from there.
    pub fn directory(&mut self, path: impl Into<PathBuf>) -> &mut Exec {
        self.directory = Some(path.into());
        self
    }

    /// Puts the child into process group `group`; zero makes one of its own, so
    /// that Ctrl-C on the terminal doesn't reach it and a signal to the group
    /// reaches its children too.
    pub fn process_group(&mut self, group: i32) -> &mut Exec {
        self.group = Some(group);
        self
    }

    /// Gives the child a session of its own, without a terminal (and with it a
    /// process group of its own).
    pub fn new_session(&mut self) -> &mut Exec {
        self.session = true;
        self
    }

    /// Lets signals that we ignore be ignored by the child too, except `SIGPIPE`,
    /// which Rust programs ignore without having been asked: what `nohup` relies
    /// on. Otherwise every signal is at its default.
    pub fn keep_ignored_signals(&mut self) -> &mut Exec {
        self.keep_ignored = true;
        self
    }

    /// Bounds a resource of the child: soft and hard limit; `u64::MAX` is none.
    pub fn limit(&mut self, limit: Limit, soft: u64, hard: u64) -> &mut Exec {
        self.limits.push((limit, soft, hard));
        self
    }

    /// The program as it was named.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Starts the program with exactly the descriptors of `fds`: each pair is a
    /// descriptor of ours and the number that the child will know it by. The
    /// same descriptor may be placed several times, and pairs may cross (3 as 4
    /// and 4 as 3). Every other descriptor, 0 to 2 included, is closed in the
    /// child.
    ///
    /// **Blocks the thread** until the child runs the program or has failed to:
    /// about 1 ms, however much memory this process has. Descriptors of ours
    /// aren't touched, nor are our signals, except that this thread takes none
    /// meanwhile.
    ///
    /// # Errors
    /// A [`SpawnError`] that names the step and the kernel's reason; no child
    /// and no zombie is left behind then.
    pub fn spawn(&self, fds: &[(BorrowedFd<'_>, RawFd)]) -> Result<Spawned, SpawnError> {
        start::start(self, fds).map_err(|(stage, source)| SpawnError {
            program: self.program.clone(),
            stage,
            source,
        })
    }

    /// Argument vector, environment and the paths to try, as C strings.
    fn strings(&self) -> io::Result<Strings> {
        let environment = self.environment();
        let name = self.arg0.as_ref().unwrap_or(&self.program);
        let argv = std::iter::once(name).chain(&self.args);
        let path = environment.get(OsStr::new("PATH"));
        Ok(Strings {
            candidates: self.candidates(path)?,
            argv: argv.map(|arg| c_string(arg)).collect::<io::Result<_>>()?,
            envp: environment
                .iter()
                .map(|(key, value)| {
                    let mut pair = key.clone();
                    pair.push("=");
                    pair.push(value);
                    c_string(&pair)
                })
                .collect::<io::Result<_>>()?,
            directory: match &self.directory {
                Some(path) => Some(c_string(path.as_os_str())?),
                None => None,
            },
        })
    }

    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let mut all = BTreeMap::new();
        if !self.env_cleared {
            all.extend(std::env::vars_os());
        }
        for (key, change) in &self.env {
            match change {
                Some(value) => all.insert(key.clone(), value.clone()),
                None => all.remove(key),
            };
        }
        all
    }

    /// `execvp` would search the path in the child; we do it before, so that the
    /// child only walks a list.
    fn candidates(&self, path: Option<&OsString>) -> io::Result<Vec<CString>> {
        let name = self.program.as_bytes();
        if name.is_empty() {
            return Err(io::Error::from_raw_os_error(libc::ENOENT));
        }
        if name.contains(&b'/') {
            return Ok(vec![c_string(&self.program)?]);
        }
        let path = path.map_or(&b"/bin:/usr/bin"[..], |path| path.as_bytes());
        path.split(|&byte| byte == b':')
            .map(|directory| {
                let mut full = directory.to_vec();
                if !full.is_empty() {
                    full.push(b'/');
                }
                full.extend_from_slice(name);
                c_string(&OsString::from_vec(full))
            })
            .collect()
    }
}

struct Strings {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    envp: Vec<CString>,
    directory: Option<CString>,
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| {
        let text = text.to_string_lossy().replace('\0', "\\0");
        let message = format!("`{text}` has a NUL byte in it, which no program can be given");
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}
