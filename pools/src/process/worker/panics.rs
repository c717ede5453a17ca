//! What a panic said, where, and how it came there.
//!
//! The payload that `catch_unwind` returns has only the message. The panic hook
//! sees the place too, so a worker sets one of its own: for the thread that runs
//! jobs it takes notes instead of printing (the report goes to whoever waits for
//! the job); on any other thread the usual hook prints as usual.

use crate::process::limits::{BACKTRACE_MAX, TEXT_MAX};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;

/// A panic in a worker, as its parent gets to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanicReport {
    /// The message, if it was text.
    pub message: String,
    /// `file:line:column`, if known.
    pub location: Option<String>,
    /// The worker's backtrace as text, if `RUST_BACKTRACE` asks for it.
    pub backtrace: Option<String>,
}

thread_local! {
    /// `Some` on the thread that runs jobs.
    static NOTES: RefCell<Option<Vec<PanicReport>>> = const { RefCell::new(None) };
}

/// Takes notes of panics on this thread from now on.
pub fn take_notes_on_this_thread() {
    NOTES.set(Some(Vec::new()));
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let noted = NOTES.with(|notes| match notes.try_borrow_mut().as_deref_mut() {
            Ok(Some(notes)) => {
                notes.push(PanicReport {
                    message: shortened(message_of(info.payload())),
                    location: info.location().map(ToString::to_string),
                    backtrace: backtrace(),
                });
                true
            }
            _ => false,
        });
        if !noted {
            usual(info);
        }
    }));
}

/// The report on the panic that was just caught with this payload.
pub fn report(payload: &(dyn Any + Send)) -> PanicReport {
    let noted = NOTES.with_borrow_mut(|notes| {
        let notes = notes.as_mut()?;
        let last = notes.pop();
        notes.clear(); // panics that the job caught itself
        last
    });
    let message = shortened(message_of(payload));
    match noted {
        // `resume_unwind` calls no hook, so the last note may be another panic's.
        Some(noted) if noted.message == message => noted,
        _ => PanicReport {
            message,
            location: None,
            backtrace: None,
        },
    }
}

fn message_of(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a panic whose payload isn't text)"
    }
}

fn backtrace() -> Option<String> {
    let trace = Backtrace::capture();
    if trace.status() != BacktraceStatus::Captured {
        return None;
    }
    let trace = trace.to_string();
    let full = std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value == "full");
    let relevant = if full {
        &trace
    } else {
        from_the_panic_on(&trace)
    };
    Some(cut(relevant, BACKTRACE_MAX))
}

/// Without the frames of the panic's own machinery, which std marks in this way, too.
/// They come first, and would use up the room.
fn from_the_panic_on(trace: &str) -> &str {
    let Some(mark) = trace.find("__rust_end_short_backtrace") else {
        return trace;
    };
    let mut at = mark + trace[mark..].find('\n').map_or(0, |end| end + 1);
    // The place of that frame, if it has one, stands on a line of its own.
    while trace[at..].trim_start().starts_with("at ") {
        let Some(end) = trace[at..].find('\n') else {
            return trace;
        };
        at += end + 1;
    }
    &trace[at..]
}

fn shortened(text: &str) -> String {
    cut(text, TEXT_MAX)
}

fn cut(text: &str, len: usize) -> String {
    text[..text.floor_char_boundary(len)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backtrace_begins_where_the_panic_was() {
        let trace = "   0: hook\n   1: std::sys::backtrace::__rust_end_short_backtrace\n\
                     \x20            at /std/backtrace.rs:182:18\n   2: panic_fmt\n   3: job\n";
        assert_eq!(from_the_panic_on(trace), "   2: panic_fmt\n   3: job\n");
        let placeless = "   1: __rust_end_short_backtrace\n   2: panic_fmt\n";
        assert_eq!(from_the_panic_on(placeless), "   2: panic_fmt\n");
        assert_eq!(from_the_panic_on("   0: job\n"), "   0: job\n");
    }
}
