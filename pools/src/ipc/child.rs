//! The life of a [`Process`](super::Process), in the process itself.
//!
//! ```text
//!   exec ─▶ hook: is there a mark for us? ─no─▶ the program's own main
//!             │ yes
//!             ├─ main thread: waits for the parent's end (or for ever)
//!             └─ a thread of the process's name: decode ─▶ call ─▶ exit
//! ```
//!
//! It gets there as a worker of the pool does ([`crate::process::worker::hook`]), by
//! a mark in the environment that is removed before the function runs. What to call,
//! with which arguments, is in a file without a name, descriptor [`CALL_FD`]; the
//! descriptors that handles among the arguments need follow it.
//!
//! Read before this: [`super::process`].
#![allow(unsafe_code)] // runs before main, takes over descriptors by number, calls by address

use super::error::Error;
use super::limits::FIRST_FD;
use super::message;
use crate::process::text::Text;
use crate::process::worker::end::{guard, leave};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::panic::AssertUnwindSafe;
use threeply_runtime::sys::pidfd;

/// The mark's name.
pub const MARK: &str = "THREEPLY_PROCESS";

/// The descriptor of the file that says what to call.
pub const CALL_FD: i32 = 3;

/// Exit codes of a process that doesn't come to an end of its own.
pub mod exit {
    /// The function panicked: what a Rust program exits with then.
    pub const PANICKED: i32 = 101;
    /// The arguments couldn't be decoded; the function didn't run.
    pub const ARGUMENTS: i32 = 120;
    /// The process couldn't set itself up.
    pub const SETUP: i32 = 121;
}

/// What the mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Whose process this is.
    pub parent: u32,
    /// Whether it begins in `main` instead of before it.
    pub in_main: bool,
    /// Whether it goes on when its parent ends.
    pub outlives: bool,
}

impl Mark {
    /// The variable's value.
    pub fn to_value(self) -> String {
        let place = if self.in_main { "main" } else { "hook" };
        let end = if self.outlives { "outlives" } else { "bound" };
        format!("{}:{place}:{end}", self.parent)
    }

    /// Reads the variable's value.
    pub fn from_value(value: &OsStr) -> Option<Mark> {
        let mut parts = value.to_str()?.split(':');
        let mark = Mark {
            parent: parts.next()?.parse().ok()?,
            in_main: match parts.next()? {
                "main" => true,
                "hook" => false,
                _ => return None,
            },
            outlives: match parts.next()? {
                "outlives" => true,
                "bound" => false,
                _ => return None,
            },
        };
        parts.next().is_none().then_some(mark)
    }
}

/// What to call; the encoded arguments follow it in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The code's [`Text::fingerprint`], which must be the same.
    pub fingerprint: u64,
    /// Where the function that knows the argument's type is.
    pub trampoline: u64,
    /// Where the function itself is.
    pub function: u64,
    /// How many descriptors came along.
    pub fds: u32,
    /// The thread's name.
    pub name: String,
    /// The thread's stack.
    pub stack: u64,
}

/// The type of every trampoline.
pub type Trampoline = unsafe fn(usize, &[u8], Vec<OwnedFd>) -> Result<(), Error>;

/// Calls the `fn(A)` at address `function`.
///
/// # Safety
/// There is a function of that type at that address.
pub(super) unsafe fn run<A: DeserializeOwned>(
    function: usize,
    arguments: &[u8],
    fds: Vec<OwnedFd>,
) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let function = unsafe { std::mem::transmute::<usize, fn(A)>(function) };
    function(message::decode::<A>(arguments, fds)?);
    Ok(())
}

/// Makes this process what it was started for, if it was; otherwise returns.
pub(crate) fn divert(in_main: bool) {
    let Some(value) = std::env::var_os(MARK) else {
        return;
    };
    let parent = nix::unistd::getppid().as_raw().unsigned_abs();
    match Mark::from_value(&value) {
        Some(mark) if mark.parent == parent || has_a_call() => {
            if mark.in_main == in_main {
                remove_mark();
                live(mark);
            }
        }
        // Astray: inherited by somebody who is no process of ours.
        _ => remove_mark(),
    }
}

/// Whether there is the file that says what to call: a mark that has gone astray
/// comes without one. Only such files have seals.
fn has_a_call() -> bool {
    // SAFETY: asks about a descriptor number, valid or not.
    unsafe { libc::fcntl(CALL_FD, libc::F_GET_SEALS) >= 0 }
}

fn remove_mark() {
    // SAFETY: before main, or at the top of it, there is no other thread that
    // could read the environment.
    unsafe { std::env::remove_var(MARK) };
}

fn live(mark: Mark) -> ! {
    // What std does before main: a write to a closed socket is an error.
    // SAFETY: no other thread exists yet.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let parent = pidfd::open(mark.parent).ok();
    let is_orphan = nix::unistd::getppid().as_raw().unsigned_abs() != mark.parent;
    if is_orphan && !mark.outlives {
        leave(exit::SETUP); // The parent died meanwhile.
    }
    let begun = take_call().and_then(begin);
    if let Err(error) = begun {
        complain(&format!("cannot set itself up: {error}"), exit::SETUP);
    }
    if mark.outlives {
        loop {
            std::thread::park();
        }
    }
    guard(mark.parent, parent)
}

fn complain(what: &str, code: i32) -> ! {
    let _ = writeln!(io::stderr(), "threeply process: {what}");
    leave(code)
}

/// What a process was started with: the call, its arguments, their descriptors.
type Taken = (Call, Vec<u8>, Vec<OwnedFd>);

/// Reads what to call and takes the descriptors over.
fn take_call() -> io::Result<Taken> {
    // SAFETY: our parent placed it for us, and nobody else knows of it.
    let file = unsafe { File::from_raw_fd(CALL_FD) };
    let mut bytes = vec![0; file.metadata()?.len() as usize];
    // Not `read`: the position is shared with whoever else has the file.
    file.read_exact_at(&mut bytes, 0)?;
    let (call, arguments) = postcard::take_from_bytes::<Call>(&bytes).map_err(io::Error::other)?;
    let arguments = arguments.to_vec();
    let mut fds = Vec::with_capacity(call.fds as usize);
    for number in FIRST_FD..FIRST_FD + call.fds as i32 {
        // SAFETY: likewise placed for us.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        // They were placed to survive our exec, but the function's children must
        // not inherit them.
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        fds.push(fd);
    }
    Ok((call, arguments, fds))
}

fn begin((call, arguments, fds): Taken) -> io::Result<()> {
    let text = Text::of_this_program();
    let (trampoline, function) = (
        text.address_of(call.trampoline),
        text.address_of(call.function),
    );
    let (Some(trampoline), Some(function)) = (trampoline, function) else {
        return Err(io::Error::other("the function isn't in this executable"));
    };
    if call.fingerprint != text.fingerprint() {
        return Err(io::Error::other("it runs another version of the program"));
    }
    // SAFETY: the same executable made the offset of a function of this type.
    let trampoline = unsafe { std::mem::transmute::<usize, Trampoline>(trampoline) };
    std::thread::Builder::new()
        .name(call.name)
        .stack_size(usize::try_from(call.stack).unwrap_or(usize::MAX))
        .spawn(move || {
            // SAFETY: both offsets were made together (`process::start`).
            let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| unsafe {
                trampoline(function, &arguments, fds)
            }));
            match outcome {
                Ok(Ok(())) => leave(0),
                Ok(Err(error)) => complain(&error.to_string(), exit::ARGUMENTS),
                // The usual hook has printed message and place to stderr.
                Err(_payload) => leave(exit::PANICKED),
            }
        })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_the_environment() {
        let mark = Mark {
            parent: 4711,
            in_main: false,
            outlives: true,
        };
        assert_eq!(Mark::from_value(OsStr::new(&mark.to_value())), Some(mark));
        for wrong in [
            "",
            "1",
            "1:hook",
            "1:else:bound",
            "1:hook:bound:3",
            "x:hook:bound",
        ] {
            assert_eq!(Mark::from_value(OsStr::new(wrong)), None, "{wrong}");
        }
    }
}
