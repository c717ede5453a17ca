//! What a panic said, where, and how it came there.
//!
//! The payload that `catch_unwind` returns has only the message. The panic hook
//! sees the place too, so a worker sets one of its own: for the thread that runs
//! jobs it takes notes instead of printing (the report goes to whoever waits for
//! the job); on any other thread the usual hook prints as usual.

use crate::process::limits::TEXT_MAX;
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
    (trace.status() == BacktraceStatus::Captured).then(|| shortened(&trace.to_string()))
}

fn shortened(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_MAX)].to_owned()
}
