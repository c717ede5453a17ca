//! Panics that no joiner will ever see.
//!
//! A panic in a task reaches whoever joins it, and nobody else: not the loop,
//! not its other tasks. If nobody joins (the handle was dropped), or if it comes
//! from a place that nobody awaits, such as a destructor that the loop runs or a
//! foreign waker, it is reported through a hook of the process. The default hook
//! prints one line on stderr. (That a panic happened, with a backtrace if
//! wanted, the standard library's own panic hook has told by then.)

use std::fmt;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use super::join_error::{JoinError, message};

/// What an unhandled panic's hook is told.
#[non_exhaustive]
pub enum Unhandled<'a> {
    /// A task panicked, and its handle was dropped unjoined.
    Task(&'a JoinError),
    /// Foreign code that the loop ran for no particular joiner panicked: a
    /// destructor of a future, of an output or of a task-local, or a waker.
    Cleanup(&'a str),
}

impl fmt::Display for Unhandled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unhandled::Task(error) => write!(f, "{error}, and nobody joined it"),
            Unhandled::Cleanup(message) => {
                write!(
                    f,
                    "a destructor or waker run by the loop panicked: {message}"
                )
            }
        }
    }
}

type Hook = Arc<dyn Fn(&Unhandled<'_>) + Send + Sync>;

static HOOK: Mutex<Option<Hook>> = Mutex::new(None);

/// Sets what is called with each panic that no joiner will see, on every loop of
/// the process. It runs on the loop's thread and should be brief; if it panics
/// itself, that is ignored.
pub fn set_unhandled_panic_hook(hook: impl Fn(&Unhandled<'_>) + Send + Sync + 'static) {
    let hook: Hook = Arc::new(hook);
    let former = HOOK
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(hook);
    drop(former); // Outside of the lock.
}

/// Goes back to the default hook: one line on stderr.
pub fn reset_unhandled_panic_hook() {
    let former = HOOK.lock().unwrap_or_else(PoisonError::into_inner).take();
    drop(former);
}

#[cold]
fn call(unhandled: &Unhandled<'_>) {
    let hook = HOOK.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let called = catch_unwind(AssertUnwindSafe(|| match hook {
        Some(hook) => hook(unhandled),
        // A closed stderr is no reason to panic.
        None => drop(writeln!(io::stderr(), "threeply: {unhandled}")),
    }));
    // What a payload's destructor does is beyond all care: leak it.
    if let Err(payload) = called {
        std::mem::forget(payload);
    }
}

/// Reports a task's panic.
pub(crate) fn report(error: &JoinError) {
    call(&Unhandled::Task(error));
}

/// Runs foreign code; a panic of it is reported and goes no further.
#[inline]
pub(crate) fn contain<R>(f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => Some(result),
        Err(payload) => {
            call(&Unhandled::Cleanup(&message(&*payload)));
            // Its destructor might panic too; that is once more than we count.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
            None
        }
    }
}
