//! Whether anything is recorded: the one load and branch that an event costs
//! while it isn't, and the one place that knows whether tracing is built in.
//!
//! Read before: [`super`]. Next: [`super::event`].
//!
//! Code of ours that has something to tell calls [`emit`]. Without the Cargo
//! feature `trace` that is an empty function. With it, it looks at one word:
//! ```text
//!    31            2 1   0
//!   ┌───────────────┬─────┐   mode 0: nothing is recorded (the whole word is 0)
//!   │ session       │mode │        1: times by CLOCK_MONOTONIC
//!   └───────────────┴─────┘        2: times by the processor's counter
//! ```
//! One word, so that a thread sees by one comparison that it has a ring for
//! this very session, and by which clock to stamp.

use std::sync::atomic::{AtomicU32, Ordering};

use super::event::Kind;
use super::record::label;
use super::writer;
use crate::switch::IN_MODEL;

/// Whether this build can record: it was built with the feature `trace` (and
/// isn't one for the model checker, which would see every event as a step).
pub const BUILT_IN: bool = cfg!(feature = "trace") && !IN_MODEL;

/// See the head of this file.
///
/// Relaxed everywhere: it carries no data. What a thread needs to know when it
/// first sees a new session, it fetches under a lock.
pub(super) static STATE: AtomicU32 = AtomicU32::new(0);

/// Whether events are being recorded, in this process, now.
#[inline(always)]
#[must_use]
pub fn is_on() -> bool {
    BUILT_IN && STATE.load(Ordering::Relaxed) != 0
}

/// Records an event of this thread, if anything is recorded. `line` is for
/// `line!()`: with the file that `kind` [knows](Kind::about), it names the source
/// of the event. What `a` and `b` mean is the kind's to say.
#[inline(always)]
pub fn emit(kind: Kind, line: u32, a: u64, b: u64) {
    if is_on() {
        writer::record(label(kind, line), a, b);
    }
}

/// As [`emit`], and the time is kept for what comes [at once](emit_at_once).
#[inline(always)]
pub(crate) fn emit_moment(kind: Kind, line: u32, a: u64, b: u64) {
    if is_on() {
        writer::record_moment(label(kind, line), a, b);
    }
}

/// As [`emit`], for what comes while the time that was kept is still now, which saves a
/// look at the clock. If none was kept, or [no longer](super::let_time_pass), it looks.
#[inline(always)]
pub(crate) fn emit_at_once(kind: Kind, line: u32, a: u64, b: u64) {
    if is_on() {
        writer::record_at_once(label(kind, line), a, b);
    }
}

/// As [`emit`], that a poll begins: at once, and then time passes.
#[inline(always)]
pub(crate) fn emit_poll(kind: Kind, line: u32, task: u64, place: u64) {
    if is_on() {
        writer::record_poll(label(kind, line), task, place);
    }
}

/// As [`emit_moment`], that a poll is over.
#[inline(always)]
pub(crate) fn emit_poll_end(kind: Kind, line: u32, task: u64, ended: u64) {
    if is_on() {
        writer::record_poll_end(label(kind, line), task, ended);
    }
}

/// As [`emit_at_once`], that a task was woken on its loop's thread.
#[inline(always)]
pub(crate) fn emit_wake(kind: Kind, line: u32, place: u64, in_vain: u64) {
    if is_on() {
        writer::record_wake(label(kind, line), place, in_vain);
    }
}

/// The time that was kept is no longer now: other code runs, or the loop sleeps.
#[inline(always)]
pub(crate) fn let_time_pass() {
    if is_on() {
        writer::let_time_pass();
    }
}

/// For the child of a fork.
pub(crate) fn turn_off() {
    STATE.store(0, Ordering::Relaxed);
}
