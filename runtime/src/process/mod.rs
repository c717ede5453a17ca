//! Child processes whose pipes and end are awaited.
//!
//! [`Command`] says what to run, [`Child`] is it running. Beneath lies
//! [`sys::spawn`](crate::sys::spawn), which says how a child starts; its end is
//! awaited through a pidfd. Read [`child`] next, then [`reaper`], which is why a
//! child that nobody waits for leaves no zombie.

pub mod child;
pub mod reaper;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::process::ExitStatus;

pub use child::{Child, ChildStderr, ChildStdin, ChildStdout, Output};

use crate::sys::pipe;
use crate::sys::spawn::{Exec, SpawnError, Stage};

/// Where a child's standard input, output or error comes from or goes to.
#[derive(Debug)]
pub struct Stdio(Kind);

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
}

impl Stdio {
    /// The same as ours.
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio(Kind::Inherit)
    }

    /// Nowhere.
    #[must_use]
    pub fn null() -> Stdio {
        Stdio(Kind::Null)
    }

    /// A pipe whose other end is in the [`Child`].
    #[must_use]
    pub fn piped() -> Stdio {
        Stdio(Kind::Piped)
    }
}

/// A file, a pipe's end, a socket: as the child is to have it. It should block.
impl<T: Into<OwnedFd>> From<T> for Stdio {
    fn from(fd: T) -> Stdio {
        Stdio(Kind::Fd(fd.into()))
    }
}

/// A program to run: `std::process::Command`, awaited.
///
/// The child gets its three standard descriptors and no others, every signal at
/// its default (those that we ignore stay ignored, except `SIGPIPE`), and our
/// environment unless told otherwise.
///
/// ```
/// # use threeply_runtime::{block_on, process::Command};
/// let output = block_on(Command::new("echo").arg("hello").output())?;
/// assert!(output.status.success());
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Command {
    exec: Exec,
    stdio: [Option<Stdio>; 3],
    kill_on_drop: bool,
}

impl Command {
    /// A program by path, or by a name that is looked up in `PATH`.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        let mut exec = Exec::new(program);
        exec.keep_ignored_signals();
        Command {
            exec,
            stdio: [None, None, None],
            kill_on_drop: false,
        }
    }

    /// Adds an argument.
    pub fn arg(&mut self, arg: impl AsRef<OsStr>) -> &mut Command {
        self.exec.arg(arg);
        self
    }

    /// Adds several arguments.
    pub fn args<S: AsRef<OsStr>>(&mut self, args: impl IntoIterator<Item = S>) -> &mut Command {
        self.exec.args(args);
        self
    }

    /// Sets a variable of the child's environment.
    pub fn env(&mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Command {
        self.exec.env(key, value);
        self
    }

    /// Keeps a variable of ours from the child.
    pub fn env_remove(&mut self, key: impl AsRef<OsStr>) -> &mut Command {
        self.exec.env_remove(key);
        self
    }

    /// Keeps all our variables, and those set so far, from the child.
    pub fn env_clear(&mut self) -> &mut Command {
        self.exec.env_clear();
        self
    }

    /// The child's working directory.
    pub fn current_dir(&mut self, path: impl AsRef<Path>) -> &mut Command {
        self.exec.directory(path.as_ref());
        self
    }

    /// The child's process group; zero makes one of its own.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.exec.process_group(group);
        self
    }

    /// The child's standard input; ours unless told otherwise.
    pub fn stdin(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.stdio[0] = Some(stdio.into());
        self
    }

    /// The child's standard output; ours unless told otherwise.
    pub fn stdout(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.stdio[1] = Some(stdio.into());
        self
    }

    /// The child's standard error; ours unless told otherwise.
    pub fn stderr(&mut self, stdio: impl Into<Stdio>) -> &mut Command {
        self.stdio[2] = Some(stdio.into());
        self
    }

    /// Whether dropping the [`Child`] kills it (`SIGKILL`). Otherwise it runs on;
    /// either way it leaves no zombie.
    pub fn kill_on_drop(&mut self, kill: bool) -> &mut Command {
        self.kill_on_drop = kill;
        self
    }

    /// The lower floor, for what isn't offered here: limits, a session, `argv[0]`.
    pub fn exec(&mut self) -> &mut Exec {
        &mut self.exec
    }

    /// Starts it.
    ///
    /// Blocks the loop for the time of a `clone` and an `exec`, about 1 ms. May be
    /// called again for another child, unless a descriptor was given away by
    /// [`Stdio::from`]: that one is copied.
    ///
    /// # Errors
    /// A [`SpawnError`], which converts into an [`io::Error`]: `NotFound`, …
    pub fn spawn(&mut self) -> Result<Child, SpawnError> {
        self.start([Kind::Inherit, Kind::Inherit, Kind::Inherit])
    }

    /// Starts it and waits for its end.
    ///
    /// # Cancel safety
    /// Safe: the child runs on, or is killed if
    /// [`kill_on_drop`](Command::kill_on_drop) says so.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn)'s and [`Child::wait`]'s.
    pub async fn status(&mut self) -> io::Result<ExitStatus> {
        self.spawn()?.wait().await
    }

    /// Starts it without input (unless given one), and collects what it writes
    /// until its end. Unbounded: not for children that aren't trusted.
    ///
    /// # Cancel safety
    /// As [`status`](Command::status); what was collected is lost.
    ///
    /// # Errors
    /// As [`spawn`](Command::spawn)'s and [`Child::wait`]'s.
    pub async fn output(&mut self) -> io::Result<Output> {
        let child = self.start([Kind::Null, Kind::Piped, Kind::Piped])?;
        child.wait_with_output().await
    }

    fn start(&mut self, defaults: [Kind; 3]) -> Result<Child, SpawnError> {
        let failed = |exec: &Exec, source| SpawnError {
            program: exec.program().to_owned(),
            stage: Stage::Prepare,
            source,
        };
        let mut ends = Vec::with_capacity(3);
        for (number, default) in defaults.iter().enumerate() {
            let kind = self.stdio[number]
                .as_ref()
                .map_or(default, |stdio| &stdio.0);
            let pair = open(kind, number).map_err(|error| failed(&self.exec, error))?;
            ends.push(pair);
        }
        let theirs: Vec<(BorrowedFd<'_>, RawFd)> = ends
            .iter()
            .zip(0..)
            .filter_map(|((theirs, _), number)| Some((theirs.as_ref()?.as_fd(), number)))
            .collect();
        let spawned = self.exec.spawn(&theirs)?;
        let mut ours = ends.into_iter().map(|(_, ours)| ours);
        let mut next = || ours.next().flatten();
        Ok(Child::new(
            spawned,
            [next(), next(), next()],
            self.kill_on_drop,
        ))
    }
}

/// The child's end of standard descriptor `number`, and ours if it is a pipe. An
/// inherited one that we don't have either is left closed.
fn open(kind: &Kind, number: usize) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    match kind {
        Kind::Null => {
            let null = File::options().read(true).write(true).open("/dev/null")?;
            Ok((Some(null.into()), None))
        }
        Kind::Fd(fd) => Ok((Some(fd.try_clone()?), None)),
        Kind::Inherit => {
            let copy = match number {
                0 => io::stdin().as_fd().try_clone_to_owned(),
                1 => io::stdout().as_fd().try_clone_to_owned(),
                _ => io::stderr().as_fd().try_clone_to_owned(),
            };
            match copy {
                Err(error) if error.raw_os_error() == Some(libc::EBADF) => Ok((None, None)),
                result => Ok((Some(result?), None)),
            }
        }
        // Only our end may be nonblocking: programs expect theirs to block.
        Kind::Piped => {
            let (reader, writer) = pipe::pipe()?;
            let (theirs, ours) = if number == 0 {
                (reader, writer)
            } else {
                (writer, reader)
            };
            pipe::set_nonblocking(&ours, true)?;
            Ok((Some(theirs), Some(ours)))
        }
    }
}
