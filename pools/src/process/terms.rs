//! What a job is called, what it may cost, and what is to be done when it dies.
//!
//! Most jobs come without terms of their own: a job then holds none, and nothing
//! of this costs it anything.
//!
//! Read after this: [`super::job`]; who enforces them: [`super::supervisor`]
//! (limits), [`super::state::recall`] (retries).

use crate::process::limits;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// What a job may cost; see [`JobOptions`](crate::process::JobOptions) for what
/// each means.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// How long it may run.
    pub limit: Option<Duration>,
    /// How much processor time its worker may use for it.
    pub cpu_limit: Option<Duration>,
    /// What is done when its worker dies.
    pub retry: Retry,
    /// What it is called.
    pub name: Option<Arc<str>>,
}

impl Terms {
    /// To be kept with a job; `None` if they say nothing.
    pub fn shared(self) -> Option<Arc<Terms>> {
        let says_nothing = self.limit.is_none()
            && self.cpu_limit.is_none()
            && self.retry.times == 0
            && self.name.is_none();
        (!says_nothing).then(|| Arc::new(self))
    }
}

/// Whether a job whose worker **died** is run again, how often, and after what
/// pause. Never by default.
///
/// A job that is run again isn't run at most once any more: what it did before
/// its worker died may be done twice. Panics, errors, time-outs and cancelling are
/// answers, not deaths; they are never tried again.
///
/// ```
/// use std::time::Duration;
/// use threeply_pools::process::{ProcessPool, Retry};
///
/// let pool = ProcessPool::new(2)?;
/// let job = pool
///     .options()
///     .retry(Retry::times(3).backoff(Duration::from_millis(10)))
///     .submit(|n: u32| n + 1, 1)?;
/// assert_eq!(job.wait()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retry {
    pub(crate) times: u32,
    pub(crate) backoff: Duration,
}

impl Retry {
    /// At most so many times after the first; at once, unless there is a
    /// [`backoff`](Retry::backoff).
    pub fn times(times: u32) -> Retry {
        Retry {
            times,
            backoff: Duration::ZERO,
        }
    }

    /// The pause before the first retry. It doubles before each further one, up to
    /// a minute.
    pub fn backoff(self, pause: Duration) -> Retry {
        Retry {
            backoff: pause,
            ..self
        }
    }

    /// The pause after `attempts` attempts; `None` if there are to be no more.
    pub(crate) fn pause_after(&self, attempts: u32) -> Option<Duration> {
        if attempts > self.times {
            return None;
        }
        let doubled = 1u32.checked_shl(attempts - 1).unwrap_or(u32::MAX);
        let pause = self.backoff.saturating_mul(doubled);
        Some(pause.min(limits::BACKOFF_MAX.max(self.backoff)))
    }
}

/// What a job is called in errors and statistics: where it was submitted, and its
/// name if it was given one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLabel {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) site: &'static Location<'static>,
}

impl JobLabel {
    /// The name that it was given by [`JobOptions::name`](crate::process::JobOptions::name).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where it was submitted.
    pub fn site(&self) -> &'static Location<'static> {
        self.site
    }
}

impl fmt::Display for JobLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "`{name}` ({})", self.site),
            None => write!(f, "submitted at {}", self.site),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let retry = Retry::times(3).backoff(Duration::from_millis(10));
        let pauses: Vec<_> = (1..=4).map(|n| retry.pause_after(n)).collect();
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(pauses, [ms(10), ms(20), ms(40), None]);
        assert_eq!(Retry::default().pause_after(1), None, "off by default");
        let long = Retry::times(u32::MAX).backoff(Duration::from_secs(1));
        assert_eq!(long.pause_after(100), Some(limits::BACKOFF_MAX));
    }

    #[test]
    fn terms_that_say_nothing_cost_nothing() {
        assert!(Terms::default().shared().is_none());
        let named = Terms {
            name: Some(Arc::from("x")),
            ..Terms::default()
        };
        assert!(named.shared().is_some());
    }
}
