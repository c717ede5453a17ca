//! Cancel scopes: cancellation and a deadline around a piece of code, in the
//! hands of whoever has the scope.
//!
//! *Read after* [`mod@crate::time::timeout`], the plain case; *next*
//! [`crate::time::enclosing`], which tells whose deadline it was. The idea and the
//! name are trio's.
//!
//! A [`timeout`](crate::time::timeout()) is fixed when it is made and only the
//! clock can end it. A scope can be cancelled by hand, with a reason, and its
//! deadline can be moved while the code in it runs; its error names the scope.
//! Scopes and timeouts nest in any order, and each reports its own end.
//!
//! ```text
//!           cancel_with(reason)             ┌─ 1 reason set → Err(Cancelled)
//!   scope ◄──────────────────── any code    │  2 poll the code → Ok(output)
//!     ▲    set_deadline(moment)             │  3 reason set meanwhile → Err
//!     └── run(code): each poll ─────────────┴─ 4 deadline passed, and none
//!                                                around it before → Err
//! ```
//!
//! Scopes belong to one loop and cost no atomics; across threads, that is what a
//! [`CancellationToken`](super::CancellationToken) is for.

#![allow(unsafe_code)] // To pin the code in place; one block.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use super::places::Places;
use super::{Cancelled, Cause, ScopeLabel};
use crate::time::Sleep;
use crate::time::enclosing::Enclosing;

/// A handle of a cancel scope; clones are the same scope.
///
/// ```
/// use std::time::Duration;
/// use threeply_runtime::{block_on, spawn, time::sleep};
/// use threeply_runtime::cancel::CancelScope;
///
/// block_on(async {
///     let scope = CancelScope::new("download");
///     scope.set_timeout(Duration::from_secs(30));
///     let button = scope.clone();
///     drop(spawn(async move { button.cancel_with("the user gave up") }));
///     let error = scope.run(sleep(Duration::from_secs(10))).await.unwrap_err();
///     assert_eq!(error.reason(), "the user gave up");
///     assert_eq!(error.scope_name(), Some("download"));
/// });
/// ```
#[derive(Clone)]
pub struct CancelScope {
    state: Rc<State>,
}

struct State {
    label: ScopeLabel,
    reason: RefCell<Option<Cow<'static, str>>>,
    deadline: Cell<Option<Instant>>,
    /// Who runs under the scope.
    runs: RefCell<Places<Waker>>,
}

impl CancelScope {
    /// A scope without a deadline; `name` is for its errors.
    #[track_caller]
    pub fn new(name: &'static str) -> Self {
        CancelScope {
            state: Rc::new(State {
                label: ScopeLabel {
                    name,
                    made_at: Location::caller(),
                },
                reason: RefCell::default(),
                deadline: Cell::default(),
                runs: RefCell::default(),
            }),
        }
    }

    /// Runs a future inside the scope: until it finishes, or the scope is
    /// cancelled or its deadline passes, which drops the future.
    ///
    /// In a scope that was cancelled before, nothing is polled. In one whose
    /// deadline has passed, the future has until the loop's next turn. A future
    /// that finishes in the poll in which the deadline passes has finished.
    ///
    /// **Cancel safety.** That of the future; with `&mut future` it can go on.
    ///
    /// # Panics
    /// If there is a deadline to wait for and no loop.
    pub fn run<F: IntoFuture>(&self, future: F) -> Scoped<F::IntoFuture> {
        Scoped {
            future: future.into_future(),
            guard: Run {
                state: self.state.clone(),
                place: None,
            },
            armed: None,
        }
    }

    /// Cancels what runs in the scope and what ever will.
    pub fn cancel(&self) {
        self.cancel_with("requested");
    }

    /// [`cancel`](Self::cancel) with a reason for the error. The first one stays.
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) {
        self.state
            .reason
            .borrow_mut()
            .get_or_insert_with(|| reason.into());
        self.wake_runs();
    }

    /// Whether the scope was cancelled by hand.
    pub fn is_cancelled(&self) -> bool {
        self.state.reason.borrow().is_some()
    }

    /// Moves the deadline, earlier or later; counts also for what runs already.
    pub fn set_deadline(&self, deadline: Instant) {
        self.replace_deadline(Some(deadline));
    }

    /// Moves the deadline to a duration from now, by the loop's clock.
    pub fn set_timeout(&self, timeout: Duration) {
        // Too far for an `Instant` is no deadline.
        let deadline = crate::time::now().checked_add(timeout);
        self.replace_deadline(deadline);
    }

    /// Takes the deadline away.
    pub fn clear_deadline(&self) {
        self.replace_deadline(None);
    }

    /// The deadline, if there is one.
    pub fn deadline(&self) -> Option<Instant> {
        self.state.deadline.get()
    }

    fn replace_deadline(&self, deadline: Option<Instant>) {
        if self.state.deadline.replace(deadline) != deadline {
            self.wake_runs();
        }
    }

    fn wake_runs(&self) {
        // Taken out first: a waker may run any code, also such as comes back.
        let runs = self.state.runs.borrow_mut().take();
        runs.for_each(Waker::wake);
    }
}

/// The future of [`CancelScope::run`].
#[must_use = "futures do nothing unless awaited"]
pub struct Scoped<F> {
    /// Pinned with us.
    future: F,
    guard: Run,
    armed: Option<ArmedFor>,
}

/// The timer for a deadline that may have been moved since.
struct ArmedFor {
    deadline: Instant,
    /// The same in nanoseconds of the loop's clock.
    due: u64,
    sleep: Sleep,
}

impl ArmedFor {
    fn new(deadline: Instant) -> Self {
        let timers = crate::time::current("`CancelScope::run`");
        let due = timers.ns_at(deadline);
        let sleep = Sleep::bound(timers, due);
        ArmedFor {
            deadline,
            due,
            sleep,
        }
    }
}

/// The place of a run in its scope, given up when dropped.
struct Run {
    state: Rc<State>,
    place: Option<usize>,
}

impl Run {
    /// Has the scope wake this task when something changes.
    fn register(&mut self, cx: &Context<'_>) {
        let known = self.place.is_some_and(|place| {
            let runs = self.state.runs.borrow();
            runs.get(place).is_some_and(|run| run.will_wake(cx.waker()))
        });
        if known {
            return;
        }
        let waker = cx.waker().clone();
        self.leave();
        self.place = Some(self.state.runs.borrow_mut().insert(waker));
    }

    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            let waker = self.state.runs.borrow_mut().remove(place);
            drop(waker);
        }
    }

    fn reason(&self) -> Option<Cancelled> {
        let reason = self.state.reason.borrow();
        let reason = reason.as_ref()?.clone();
        Some(Cancelled::new(Cause::Requested(reason)).of(self.state.label))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<F: Future> Future for Scoped<F> {
    type Output = Result<F::Output, Cancelled>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: `future` is the one pinned field. It isn't moved out of `this`,
        // and `Scoped` has no `Drop` and is `Unpin` only if the future is.
        let this = unsafe { self.get_unchecked_mut() };
        if let Some(cancelled) = this.guard.reason() {
            return Poll::Ready(Err(cancelled)); // Step 1.
        }
        let deadline = this.guard.state.deadline.get();
        if this.armed.as_ref().map(|armed| armed.deadline) != deadline {
            this.armed = deadline.map(ArmedFor::new);
        }
        let due = this.armed.as_ref().map_or(u64::MAX, |armed| armed.due);
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut this.future) };
        let inside = Enclosing::enter(due);
        if let Poll::Ready(output) = future.poll(cx) {
            return Poll::Ready(Ok(output)); // Step 2.
        }
        let outside = inside.leave();
        if let Some(cancelled) = this.guard.reason() {
            return Poll::Ready(Err(cancelled)); // Step 3.
        }
        this.guard.register(cx);
        if this.guard.state.deadline.get() != deadline {
            cx.waker().wake_by_ref(); // The code has moved its own deadline.
            return Poll::Pending;
        }
        let Some(armed) = &mut this.armed else {
            return Poll::Pending;
        };
        ready!(Pin::new(&mut armed.sleep).poll(cx));
        let label = this.guard.state.label;
        let report = outside.report(due, cx); // Step 4.
        report.map(|()| Err(Cancelled::new(Cause::Deadline).of(label)))
    }
}

impl fmt::Debug for CancelScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CancelScope")
            .field("name", &self.state.label.name)
            .field("reason", &self.state.reason.borrow())
            .field("deadline", &self.deadline())
            .finish()
    }
}

impl<F> fmt::Debug for Scoped<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scoped({})", self.guard.state.label)
    }
}
