//! Why a task has no output: it panicked, or it was cancelled.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, PoisonError};

use super::TaskId;

/// A task ended without an output.
///
/// It says which task it was (number, name, where it was spawned) and why it
/// ended, and keeps the payload of a panic for `std::panic::resume_unwind`.
pub struct JoinError(Box<Inner>);

struct Inner {
    who: Who,
    why: Why,
}

/// Which task.
#[derive(Clone)]
pub(crate) struct Who {
    pub(crate) id: TaskId,
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) site: &'static Location<'static>,
}

enum Why {
    Panic {
        message: String,
        /// In a mutex, because errors should be `Sync` and a payload isn't; it
        /// is only taken by value, so nobody ever waits for it.
        payload: Mutex<Box<dyn Any + Send>>,
    },
    Cancelled(Cow<'static, str>),
}

impl JoinError {
    pub(crate) fn panic(who: Who, payload: Box<dyn Any + Send>) -> JoinError {
        JoinError(Box::new(Inner {
            who,
            why: Why::Panic {
                message: message(&*payload),
                payload: Mutex::new(payload),
            },
        }))
    }

    pub(crate) fn cancelled(who: Who, reason: Cow<'static, str>) -> JoinError {
        JoinError(Box::new(Inner {
            who,
            why: Why::Cancelled(reason),
        }))
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self.0.why, Why::Panic { .. })
    }

    /// Whether the task was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self.0.why, Why::Cancelled(_))
    }

    /// The panic's payload, for `std::panic::resume_unwind`.
    ///
    /// # Errors
    /// Gives the error back if the task didn't panic.
    pub fn into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.0.why {
            Why::Panic { payload, .. } => {
                Ok(payload.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            Why::Cancelled(_) => Err(self),
        }
    }

    /// What the panic said, or why the task was cancelled.
    #[must_use]
    pub fn reason(&self) -> &str {
        match &self.0.why {
            Why::Panic { message, .. } => message,
            Why::Cancelled(reason) => reason,
        }
    }

    /// The number of the task.
    #[must_use]
    pub fn task_id(&self) -> TaskId {
        self.0.who.id
    }

    /// The name of the task, if it was given one.
    #[must_use]
    pub fn task_name(&self) -> Option<&str> {
        self.0.who.name.as_deref()
    }

    /// Where the task was spawned.
    #[must_use]
    pub fn spawn_site(&self) -> &'static Location<'static> {
        self.0.who.site
    }
}

/// The text of a panic, as the standard library prints it.
pub(crate) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(a payload that is no text)")
        .to_owned()
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.id)?;
        if let Some(name) = &self.name {
            write!(f, " '{name}'")?;
        }
        write!(f, " (spawned at {})", self.site)
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.is_panic() {
            "panicked"
        } else {
            "was cancelled"
        };
        write!(f, "{} {verb}: {}", self.0.who, self.reason())
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl std::error::Error for JoinError {}
