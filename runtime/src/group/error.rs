//! What went wrong in a task group: all of it.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use crate::{JoinError, TaskId, task};

/// Why a [`task_group`](super::task_group) has no output: every failure, in the
/// order in which they came, or the reason of who cancelled it.
///
/// The first failure is its [`source`](Error::source). (asyncio and trio call it
/// an `ExceptionGroup`.)
#[derive(Debug)]
pub struct GroupError<E> {
    errors: Vec<ChildError<E>>,
    reason: Option<Cow<'static, str>>,
}

/// One failure in a group.
#[derive(Debug)]
pub enum ChildError<E> {
    /// A child, or the body, returned this error.
    Failed {
        /// The child; `None` for the body.
        task: Option<TaskId>,
        /// Its name, if it was given one.
        name: Option<Cow<'static, str>>,
        /// What it returned.
        error: E,
    },
    /// A child panicked; the payload can be taken out.
    Panicked(JoinError),
}

impl<E> ChildError<E> {
    pub(super) fn of_body(error: E) -> Self {
        ChildError::Failed {
            task: None,
            name: None,
            error,
        }
    }

    pub(super) fn of_current_task(error: E) -> Self {
        ChildError::Failed {
            task: task::id(),
            name: task::name(),
            error,
        }
    }

    /// The error that was returned, if it was no panic.
    pub fn error(&self) -> Option<&E> {
        match self {
            ChildError::Failed { error, .. } => Some(error),
            ChildError::Panicked(_) => None,
        }
    }
}

impl<E> GroupError<E> {
    pub(super) fn new(errors: Vec<ChildError<E>>, reason: Option<Cow<'static, str>>) -> Self {
        GroupError { errors, reason }
    }

    /// The failures, in the order of their coming. Empty if the group was only
    /// cancelled.
    pub fn errors(&self) -> &[ChildError<E>] {
        &self.errors
    }

    /// The failures, taken out.
    pub fn into_errors(self) -> Vec<ChildError<E>> {
        self.errors
    }

    /// The reason given to [`cancel_with`](super::TaskGroup::cancel_with), if the
    /// group was cancelled by hand.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }
}

impl<E: fmt::Display> fmt::Display for ChildError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChildError::Failed { task, name, error } => {
                match task {
                    Some(task) => write!(f, "task {task}")?,
                    None => f.write_str("the body")?,
                }
                if let Some(name) = name {
                    write!(f, " '{name}'")?;
                }
                write!(f, " failed: {error}")
            }
            ChildError::Panicked(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Display> fmt::Display for GroupError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.errors[..], &self.reason) {
            ([], Some(reason)) => write!(f, "the task group was cancelled: {reason}"),
            ([], None) => f.write_str("the task group was cancelled"),
            ([one], _) => write!(f, "in a task group, {one}"),
            (all, _) => {
                write!(f, "{} failures in a task group", all.len())?;
                for (index, one) in all.iter().enumerate() {
                    write!(f, "{} {one}", if index == 0 { ":" } else { ";" })?;
                }
                Ok(())
            }
        }
    }
}

impl<E: Error + 'static> Error for ChildError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            ChildError::Failed { error, .. } => Some(error),
            ChildError::Panicked(error) => Some(error),
        }
    }
}

impl<E: Error + 'static> Error for GroupError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.errors.first().map(|error| error as _)
    }
}
