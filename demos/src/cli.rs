//! The frame around every demo's `main`: arguments in, exit code out.
//!
//! Whatever goes wrong ends as **one line** on stderr that says what is wrong
//! and what to do, and a non-zero exit code; never a panic or a backtrace.

use std::process::ExitCode;
use std::time::Duration;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Args, FromArgMatches, Parser};

use crate::{Error, limits, output, roles, trace};

/// Runs a demo: parses `A` from the command line, calls `main`, reports its error.
///
/// A binary that was started by one of ours to play a part (local server,
/// measured child) plays that part instead; see [`roles`].
pub fn run<A: Parser>(main: fn(A) -> Result<(), Error>) -> ExitCode {
    if let Some(code) = roles::play_if_asked() {
        return code;
    }
    let parsed = match parse::<A>() {
        Ok((arguments, options)) => traced(options, || main(arguments)),
        Err(refusal) => match refusal.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                return match refusal.print() {
                    Ok(()) => ExitCode::SUCCESS,
                    Err(e) => fail::<A>(&Error::Stdout(e)),
                };
            }
            _ => Err(Error::Usage(one_line(&refusal.render().to_string()))),
        },
    };
    match parsed {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => fail::<A>(&e),
    }
}

/// A demo's own arguments, and those that all have.
fn parse<A: Parser>() -> Result<(A, trace::Options), clap::Error> {
    let mut matches = command::<A>().try_get_matches()?;
    let arguments = A::from_arg_matches_mut(&mut matches)?;
    let options = trace::Options::from_arg_matches_mut(&mut matches)?;
    Ok((arguments, options))
}

/// What the command line is checked against and the help is made of.
fn command<A: Parser>() -> clap::Command {
    let own = A::command();
    let (about, long_about) = (own.get_about().cloned(), own.get_long_about().cloned());
    // Adding options of a struct would put that struct's description over the demo's.
    trace::Options::augment_args(own)
        .about(Resettable::from(about))
        .long_about(Resettable::from(long_about))
}

/// Runs `main`, recorded if `options` say so; also if it fails, since then one
/// wants to know why.
fn traced(options: trace::Options, main: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let recording = options.begin()?;
    let ran = main();
    let written = recording.map_or(Ok(()), trace::Recording::end);
    ran.and(written)
}

fn fail<A: Parser>(error: &Error) -> ExitCode {
    let program = A::command().get_name().to_owned();
    match error {
        Error::Usage(_) => {
            output::complain(format_args!("{program}: {error}; see `{program} --help`"))
        }
        _ => output::complain(format_args!("{program}: {error}")),
    }
    ExitCode::from(error.exit_code())
}

/// clap's message without its paragraphs: the complaint, and the allowed values.
fn one_line(message: &str) -> String {
    let mut line = String::new();
    for part in message.lines().map(str::trim) {
        if part.starts_with("Usage:") || part.starts_with("For more information") {
            break;
        }
        if part.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part.strip_prefix("error: ").unwrap_or(part));
    }
    line
}

/// Parses `--tasks`.
pub fn tasks(text: &str) -> Result<u32, String> {
    whole_number(text, 1, limits::MAX_TASKS.into()).map(|n| n as u32)
}

/// Parses `--n`.
pub fn n(text: &str) -> Result<u64, String> {
    whole_number(text, 1, limits::MAX_N)
}

/// Parses `--count`.
pub fn count(text: &str) -> Result<u32, String> {
    whole_number(text, 1, limits::MAX_DOWNLOADS.into()).map(|n| n as u32)
}

/// Parses `crawl`'s `--depth`.
pub fn depth(text: &str) -> Result<u32, String> {
    whole_number(text, 0, 1_000_000).map(|n| n as u32)
}

/// Parses `crawl`'s `--pages`.
pub fn pages(text: &str) -> Result<u64, String> {
    whole_number(text, 1, limits::MAX_PAGES)
}

/// Parses `--at-once` and `--per-host`: connections that are really opened.
pub fn at_once(text: &str) -> Result<u32, String> {
    whole_number(text, 1, limits::MAX_CONCURRENT_CONNECTIONS as u64).map(|n| n as u32)
}

/// Parses `chat`'s `--queue`.
pub fn queue(text: &str) -> Result<usize, String> {
    whole_number(text, 1, 100_000).map(|n| n as usize)
}

/// Parses `chat`'s `--history`.
pub fn history(text: &str) -> Result<usize, String> {
    whole_number(text, 0, 1_000).map(|n| n as usize)
}

/// Parses `pipeline`'s `--messages`.
pub fn messages(text: &str) -> Result<u64, String> {
    whole_number(text, 1, limits::MAX_MESSAGES)
}

/// Parses `pipeline`'s `--consumers`.
pub fn consumers(text: &str) -> Result<u32, String> {
    whole_number(text, 1, limits::MAX_CONSUMERS.into()).map(|n| n as u32)
}

/// Parses `pipeline`'s `--bytes`.
pub fn message_bytes(text: &str) -> Result<u64, String> {
    whole_number(text, 0, limits::MAX_MESSAGE_BYTES)
}

/// Parses `--retries`.
pub fn retries(text: &str) -> Result<u32, String> {
    whole_number(text, 0, 1_000).map(|n| n as u32)
}

/// Parses `--rounds`.
pub fn rounds(text: &str) -> Result<u32, String> {
    whole_number(text, 1, 1_000).map(|n| n as u32)
}

/// Parses `--units`.
pub fn units(text: &str) -> Result<u32, String> {
    whole_number(text, 1, limits::MAX_UNITS.into()).map(|n| n as u32)
}

/// Parses `--increments`.
pub fn increments(text: &str) -> Result<u64, String> {
    whole_number(text, 1, limits::MAX_INCREMENTS)
}

/// Parses a number of seconds, `1.5` and `2` alike.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .filter(|s| *s > 0.0)
        .and_then(|s| Duration::try_from_secs_f64(s).ok())
        .ok_or_else(|| "give a number of seconds above 0".into())
}

/// A whole number within bounds, `10_000_000` and `10000000` alike.
fn whole_number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let digits: String = text.chars().filter(|c| *c != '_').collect();
    match digits.parse::<u64>() {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => Err(format!("give a whole number from {least} to {most}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_bounded_and_say_the_bounds() {
        assert_eq!(n("10_000_000"), Ok(10_000_000));
        assert_eq!(
            tasks("0"),
            Err("give a whole number from 1 to 10000".into())
        );
        for bad in ["", "-1", "x", "1.5", "99999999999999999999999"] {
            assert!(count(bad).is_err(), "{bad:?} was taken for a number");
        }
    }

    #[test]
    fn help_tells_of_the_demo_and_knows_the_options_of_all() {
        let help = command::<crate::shapes::cpu::Arguments>()
            .render_help()
            .to_string();
        assert!(help.starts_with("Sums numbers on"), "{help}");
        assert!(help.contains("--trace <FILE>"), "{help}");
    }

    #[test]
    fn clap_paragraphs_become_one_line() {
        let text = "error: invalid value 'gpu' for '--engine <ENGINE>'\n  [possible values: a, b]\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(text),
            "invalid value 'gpu' for '--engine <ENGINE>' [possible values: a, b]"
        );
    }
}
