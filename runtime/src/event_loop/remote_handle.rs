//! Waiting on one thread for a task that runs on another.
//!
//! ```text
//!   loop's thread                          anybody's thread
//!   Sender ──▶ Arc<Delivery> ◀── RemoteHandle (poll, or wait)
//! ```
//! The delivery is a mutex and a condition variable: one lock each for a result
//! that has just crossed threads, where a wake alone costs microseconds. Wakers
//! are called, and results dropped, outside of the lock.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::handle::Target;
use crate::context;
use crate::inspect::{self, WaitsFor, blocked};
use crate::switch::{Condvar, Mutex, MutexGuard, Weakening, weakened};
use crate::task::JoinError;
use crate::task::hook::report;

/// Where a result crosses threads.
///
/// ```text
///            complete                take
///   Awaited ───────────▶ Complete ─────────▶ Taken
/// ```
pub struct Delivery<T> {
    state: Mutex<State<T>>,
    completed: Condvar,
}

struct State<T> {
    stage: Stage<T>,
    waker: Option<Waker>,
    /// Nobody will take the result.
    detached: bool,
    /// The task, once there is one.
    target: Option<Target>,
    /// A thread waits and would tell what for, once there is a task.
    would_tell: bool,
    abort: Option<Cow<'static, str>>,
}

enum Stage<T> {
    Awaited,
    Complete(Result<T, JoinError>),
    Taken,
}

impl<T> State<T> {
    fn take(&mut self) -> Option<Result<T, JoinError>> {
        match std::mem::replace(&mut self.stage, Stage::Taken) {
            Stage::Complete(result) => Some(result),
            other => {
                self.stage = other;
                None
            }
        }
    }
}

impl<T> Delivery<T> {
    /// One without a result.
    #[must_use]
    pub fn new() -> Arc<Delivery<T>> {
        Arc::new(Delivery {
            state: Mutex::new(State {
                stage: Stage::Awaited,
                waker: None,
                detached: false,
                target: None,
                would_tell: false,
                abort: None,
            }),
            completed: Condvar::new(),
        })
    }

    #[track_caller] // So that lanes of a model tell who locks.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("no code panics under this lock")
    }

    /// Leaves the result and wakes whoever waits. The first one counts.
    pub fn complete(&self, result: Result<T, JoinError>) {
        let mut state = self.lock();
        if !matches!(state.stage, Stage::Awaited) {
            return;
        }
        if state.detached {
            state.stage = Stage::Taken;
            drop(state);
            return unheard(result);
        }
        state.stage = Stage::Complete(result);
        let waker = state.waker.take();
        drop(state);
        self.completed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        !matches!(self.lock().stage, Stage::Awaited)
    }

    pub(super) fn is_aborted(&self) -> bool {
        self.lock().abort.is_some()
    }

    pub(super) fn abort_reason(&self) -> Option<Cow<'static, str>> {
        self.lock().abort.clone()
    }

    /// The task exists. Returns why it is to be aborted, if it is.
    pub(super) fn started(&self, target: Target) -> Option<Cow<'static, str>> {
        let mut state = self.lock();
        state.target = Some(target);
        if state.would_tell {
            self.completed.notify_all();
        }
        state.abort.clone()
    }

    /// The task, if it has been begun.
    fn target(&self) -> Option<Target> {
        self.lock().target
    }

    /// Takes the result, or leaves the waker.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Result<T, JoinError>> {
        let mut state = self.lock();
        if let Some(result) = state.take() {
            return Poll::Ready(result);
        }
        assert!(
            matches!(state.stage, Stage::Awaited),
            "a RemoteHandle was polled after it had given its task's output"
        );
        if weakened(Weakening::DeliveryLooksTwice) {
            drop(state);
            state = self.lock();
        }
        let former = match &state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            _ => state.waker.replace(cx.waker().clone()),
        };
        drop(state);
        drop(former); // Foreign code, so outside of the lock.
        Poll::Pending
    }

    /// Blocks the thread until the result is there.
    pub fn wait(&self) -> Result<T, JoinError> {
        self.wait_aloud(|_| ())
    }

    /// As [`wait`](Self::wait), and tells that it waits: what `tell` makes of the task,
    /// and once more when there is one, lives as long as the thread sleeps.
    fn wait_aloud<G>(&self, tell: impl Fn(Option<Target>) -> G) -> Result<T, JoinError> {
        let mut state = self.lock();
        if weakened(Weakening::DeliverySleepsLate) && matches!(state.stage, Stage::Awaited) {
            drop(state);
            state = self.lock();
            // It would sleep for ever now, and a model of that can only hang.
            let awaited = matches!(state.stage, Stage::Awaited);
            assert!(awaited, "a thread slept through its result");
        }
        let mut told: Option<(bool, G)> = None;
        loop {
            if let Some(result) = state.take() {
                return result;
            }
            let target = state.target;
            if told.as_ref().map(|(begun, _)| *begun) != Some(target.is_some()) {
                told = Some((target.is_some(), tell(target)));
            }
            state.would_tell = target.is_none();
            let waited = self.completed.wait(state);
            state = waited.expect("no code panics under this lock");
        }
    }

    /// As [`wait`](Self::wait), until `deadline` at most.
    pub(super) fn wait_until(&self, deadline: Instant) -> Option<Result<T, JoinError>> {
        let mut state = self.lock();
        loop {
            if let Some(result) = state.take() {
                return Some(result);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.completed.wait_timeout(state, left);
            state = waited.expect("no code panics under this lock").0;
        }
    }

    /// Nobody will take the result: the end of a handle. A result that is there
    /// is dropped, a panic in it reported.
    pub fn detach(&self) {
        let mut state = self.lock();
        let (waker, result) = (state.waker.take(), state.take());
        if weakened(Weakening::DeliveryDetachesLate) {
            drop(state);
            state = self.lock();
        }
        state.detached = true;
        drop(state);
        drop(waker);
        if let Some(result) = result {
            unheard(result);
        }
    }
}

/// A result that nobody took.
fn unheard<T>(result: Result<T, JoinError>) {
    match result {
        Err(error) if error.is_panic() => report(&error),
        _ => {}
    }
}

/// The future output of a task on a loop of another thread. `Send`.
///
/// It may be awaited anywhere, also on executors of others, or waited for by
/// blocking. **Dropping it detaches** the task, which runs on.
///
/// # Cancel safety
/// Awaiting `&mut handle` is safe: the output stays until it is taken.
///
/// # Panics
/// If polled again after it has given the output.
#[must_use = "dropping the handle detaches the task; say so by `drop`, or await it"]
pub struct RemoteHandle<T> {
    delivery: Arc<Delivery<T>>,
    name: Option<Cow<'static, str>>,
    site: &'static Location<'static>,
}

impl<T> RemoteHandle<T> {
    pub(super) fn new(
        delivery: Arc<Delivery<T>>,
        name: Option<Cow<'static, str>>,
        site: &'static Location<'static>,
    ) -> RemoteHandle<T> {
        RemoteHandle {
            delivery,
            name,
            site,
        }
    }

    /// Blocks this thread until the task has ended.
    ///
    /// # Errors
    /// If the task panicked or was cancelled.
    ///
    /// # Panics
    /// On the thread of a loop that runs, with advice: `await` it there.
    #[track_caller]
    pub fn wait(self) -> Result<T, JoinError> {
        context::forbid_blocking("`RemoteHandle::wait`", "`.await`");
        self.delivery
            .wait_aloud(|target| blocked::until(vec![self.is_waited_for(target)]))
    }

    /// As [`wait`](Self::wait), for at most `timeout`.
    ///
    /// # Errors
    /// Gives the handle back when the time is over; the task goes on.
    ///
    /// # Panics
    /// On the thread of a loop that runs.
    #[track_caller]
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, JoinError>, Self> {
        context::forbid_blocking("`RemoteHandle::wait_timeout`", "`time::timeout`");
        // Beyond what the clock can tell is for ever.
        let Some(deadline) = Instant::now().checked_add(timeout) else {
            return Ok(self.delivery.wait());
        };
        self.delivery.wait_until(deadline).ok_or(self)
    }

    fn is_waited_for(&self, target: Option<Target>) -> WaitsFor {
        WaitsFor::Remote {
            task: target.map(|target| target.id),
            loop_id: target.map_or(0, |target| target.handle.loop_id()),
            name: self.name.clone(),
            site: self.site,
        }
    }

    /// As [`JoinHandle::abort`](crate::JoinHandle::abort): the loop hears of it
    /// soon.
    pub fn abort(&self) {
        self.abort_with("aborted");
    }

    /// As [`abort`](Self::abort), with a reason for the joiner. The first reason
    /// counts.
    pub fn abort_with(&self, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        let mut state = self.delivery.lock();
        if state.abort.is_some() || !matches!(state.stage, Stage::Awaited) {
            return;
        }
        state.abort = Some(reason.clone());
        let target = state.target;
        drop(state);
        // Without a target, `started` finds the reason.
        if let Some(target) = target {
            target.abort(reason);
        }
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.delivery.is_complete()
    }
}

impl<T> Future for RemoteHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = self.delivery.poll(cx);
        if polled.is_pending() {
            inspect::note(|| self.is_waited_for(self.delivery.target()));
        }
        polled
    }
}

impl<T> Drop for RemoteHandle<T> {
    fn drop(&mut self) {
        self.delivery.detach();
    }
}

impl<T> fmt::Debug for RemoteHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteHandle(")?;
        if let Some(name) = &self.name {
            write!(f, "'{name}', ")?;
        }
        write!(f, "spawned at {})", self.site)
    }
}
