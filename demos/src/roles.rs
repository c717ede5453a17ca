//! How a demo starts itself again to play another part.
//!
//! Two parts need a process of their own: the local web server, so that its
//! CPU time is never counted as a client's, and each measured engine, so that
//! its CPU time and peak memory are its own. Both are this same binary, started
//! with [`MARK`] as its first argument, so nothing has to be installed.
//!
//! A part ends when its stdin does. The other end of that pipe is held by the
//! demo that started it, so a demo that dies in any way, even by SIGKILL,
//! leaves no process behind.

use std::env;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::process::{Command, ExitCode, Stdio};
use std::thread;

use crate::{Error, compare, local_server, output};

/// The first argument of a binary that is to play a part.
pub const MARK: &str = "--play-the-part-of";

/// Plays the part that the command line asks for, if it asks for one.
pub fn play_if_asked() -> Option<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    if arguments.next()? != OsStr::new(MARK) {
        return None;
    }
    let part = arguments.next().unwrap_or_default();
    let detail = arguments.next().unwrap_or_default();
    let played = match (part.to_str(), detail.to_str()) {
        (Some(local_server::PART), Some(detail)) => local_server::play(detail),
        (Some(compare::measured::PART), Some(detail)) => compare::measured::play(detail),
        (Some(compare::units::ECHO_PART), _) => compare::units::play_echo(),
        _ => Err(Error::Usage(format!("{MARK} is for the demo's own use"))),
    };
    Some(match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            output::complain(format_args!("{}: {e}", part.to_string_lossy()));
            ExitCode::from(e.exit_code())
        }
    })
}

/// A command that starts this binary again in the part `part`.
///
/// `/proc/self/exe` and not the file's name: the file may have been replaced
/// (by a rebuild, say) while this process runs.
pub fn command(part: &str, detail: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command
        .args([MARK, part, detail])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Ends this process as soon as stdin does, whatever else it is doing.
///
/// # Errors
/// When no thread can be started for it.
pub fn end_with_stdin() -> Result<(), Error> {
    thread::Builder::new()
        .name("lifeline".into())
        .spawn(|| {
            let mut nothing = [0; 64];
            while matches!(io::stdin().read(&mut nothing), Ok(1..)) {}
            std::process::exit(0);
        })
        .map_err(Error::io("start the thread that watches stdin"))?;
    Ok(())
}
