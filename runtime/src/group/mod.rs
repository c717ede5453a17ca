//! Task groups: tasks that live and die together.
//!
//! A group is a block of code that may start tasks and does not end before the
//! last of them has. If one fails, the others are cancelled, the group waits for
//! them, too, and then reports every failure. No task outlives its group and no
//! error is lost: what trio calls a nursery and asyncio a `TaskGroup`.
//!
//! ```text
//!               body returns Ok          last child ends
//!     Open ───────────────────► Waiting ────────────────► Ok(output)
//!      │ a child fails,            │ a child fails,
//!      │ the body fails or panics, │ `cancel`
//!      │ `cancel`                  │
//!      └───────────► Cancelled ◄───┘
//!                    body dropped, children aborted
//!                       │ last child ends
//!                       ▼
//!                    Err(GroupError): every failure, in the order of its coming
//! ```
//!
//! Reading order: this file, [`child`] (what runs in a group and who hears of its
//! end), [`error`].
//!
//! Rejected: children that borrow from the body (they would have to be polled
//! inside the group's own task, as `future::join_all` does it, and a group that is
//! leaked would let them outlive what they borrow); a group that is an object to
//! be joined by hand, as tokio's `JoinSet` (to forget the join is the mistake that
//! groups are there against).

pub mod child;
pub mod error;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::cancel::places::Places;
use crate::inspect::{self, WaitsFor};
use crate::{JoinHandle, task};
use child::{Child, Value};

pub use child::ChildHandle;
pub use error::{ChildError, GroupError};

/// Runs `body` with a group to start tasks in; ends when all of them have ended.
///
/// Gives what the body returned, if neither it nor a child failed and nobody
/// cancelled the group; else a [`GroupError`] with everything that went wrong. At
/// the first failure the body is dropped where it waits, and the children are
/// aborted; the group still waits for their ends. A panic of the body also waits
/// for them, then goes on.
///
/// Children return `Result<T, E>`, and [`TaskGroup::spawn`] gives a handle to
/// await the `T`. A child may spawn siblings through a clone of the group.
///
/// **Cancel safety.** When the future of the group is dropped (a timeout around
/// it, an abort), the children are aborted; they end, and drop what they hold,
/// soon after, on their loop, but nobody can wait for that. To have it waited
/// for, [`cancel`](TaskGroup::cancel) the group from inside.
///
/// # Panics
/// When a child is spawned outside a loop.
///
/// ```
/// use std::time::Duration;
/// use threeply_runtime::{block_on, group::task_group, time::sleep};
///
/// let sum = block_on(task_group(async |group| {
///     let one = group.spawn(async { Ok(1) });
///     let two = group.spawn(async { sleep(Duration::from_millis(1)).await; Ok(2) });
///     Ok::<_, std::io::Error>(one.await? + two.await?)
/// }));
/// assert_eq!(sum.unwrap(), 3);
///
/// let failed = block_on(task_group(async |group| {
///     group.spawn(async { Err::<(), _>("no route") });
///     group.spawn(async { Ok(sleep(Duration::from_secs(3600)).await) }); // cancelled
///     Ok(())
/// }));
/// assert_eq!(failed.unwrap_err().errors().len(), 1);
/// ```
pub async fn task_group<T, E, B>(body: B) -> Result<T, GroupError<E>>
where
    E: 'static,
    B: AsyncFnOnce(TaskGroup<E>) -> Result<T, E>,
{
    let group = TaskGroup {
        state: Rc::new(State::new()),
    };
    let state = &*group.state;
    // Aborts the children if we are dropped while they run.
    let on_drop = CancelOnDrop(state);

    let output = match run_body(state, body(group.clone())).await {
        Some(Ok(Ok(value))) => Ok(Some(value)),
        Some(Ok(Err(error))) => {
            state.fail(ChildError::of_body(error));
            Ok(None)
        }
        Some(Err(panic)) => {
            state.abort_children("the body of its task group panicked");
            Err(panic)
        }
        None => Ok(None),
    };
    poll_fn(|cx| state.poll_children(cx)).await;
    drop(on_drop);
    match output {
        Err(panic) => resume_unwind(panic),
        // Cancelled by hand, after its work was done: that is no failure.
        Ok(Some(value)) if !state.has_failed() => Ok(value),
        Ok(_) => Err(state.error()),
    }
}

/// Polls the body until it ends; drops it where it waits if the group is
/// cancelled, and then gives `None`.
async fn run_body<T, E>(
    state: &State<E>,
    body: impl Future<Output = Result<T, E>>,
) -> Option<std::thread::Result<Result<T, E>>> {
    let mut body = pin!(body);
    poll_fn(|cx| {
        // Also while the body runs: a server's group must not hoard what is left
        // of its connections.
        let _ = state.poll_children(cx);
        if !state.is_open() {
            return Poll::Ready(None);
        }
        match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx))) {
            Ok(Poll::Ready(result)) => Poll::Ready(Some(Ok(result))),
            Ok(Poll::Pending) if state.is_open() => Poll::Pending,
            Ok(Poll::Pending) => Poll::Ready(None),
            Err(panic) => Poll::Ready(Some(Err(panic))),
        }
    })
    .await
}

/// The group inside [`task_group`]: where to spawn. Clones are the same group.
pub struct TaskGroup<E> {
    state: Rc<State<E>>,
}

impl<E: 'static> TaskGroup<E> {
    /// Starts a child. If it returns `Err` or panics, the group is cancelled.
    ///
    /// The handle gives the child's value; dropping it changes nothing, as the
    /// child belongs to the group. In a group that is cancelled or has ended,
    /// nothing starts: the future is dropped and the handle gives
    /// [`Cancelled`](crate::cancel::Cancelled).
    ///
    /// # Panics
    /// Outside a loop.
    #[track_caller]
    pub fn spawn<T, F>(&self, future: F) -> ChildHandle<T>
    where
        T: 'static,
        F: Future<Output = Result<T, E>> + 'static,
    {
        self.spawn_by(task::Builder::new(), future)
    }

    /// [`spawn`](Self::spawn) with a name for the task, which goes into errors.
    ///
    /// # Panics
    /// Outside a loop.
    #[track_caller]
    pub fn spawn_named<T, F>(&self, name: impl Into<Cow<'static, str>>, future: F) -> ChildHandle<T>
    where
        T: 'static,
        F: Future<Output = Result<T, E>> + 'static,
    {
        self.spawn_by(task::Builder::new().name(name), future)
    }

    #[track_caller]
    fn spawn_by<T, F>(&self, builder: task::Builder, future: F) -> ChildHandle<T>
    where
        T: 'static,
        F: Future<Output = Result<T, E>> + 'static,
    {
        let value = Rc::new(Value::default());
        if !self.state.is_open() {
            value.end();
            return ChildHandle::new(value, None);
        }
        let place = self.state.children.borrow_mut().insert(None);
        self.state.running.set(self.state.running.get() + 1);
        let child = Child::new(future, place, self.state.clone(), value.clone());
        let task = builder.spawn(child);
        let abort = task.abort_handle();
        self.state.children.borrow_mut().replace(place, Some(task));
        ChildHandle::new(value, Some(abort))
    }

    /// Says what a failure means for the others; [`OnFailure::Cancel`] otherwise.
    pub fn on_failure(&self, policy: OnFailure) {
        self.state.on_failure.set(policy);
    }

    /// Cancels the group: the body is dropped where it waits, the children are
    /// aborted, and [`task_group`] ends with an error that gives this reason,
    /// unless the body ends before it waits again; then its output stands.
    pub fn cancel_with(&self, reason: impl Into<Cow<'static, str>>) {
        let reason = reason.into();
        self.state.abort_children(reason.clone());
        self.state.reason.borrow_mut().get_or_insert(reason);
    }

    /// [`cancel_with`](Self::cancel_with) a reason of no interest.
    pub fn cancel(&self) {
        self.cancel_with("its task group was cancelled");
    }

    /// Whether the group takes no more children: it was cancelled or has ended.
    pub fn is_cancelled(&self) -> bool {
        !self.state.is_open()
    }

    /// Children that have not ended.
    pub fn running(&self) -> usize {
        self.state.running.get()
    }
}

impl<E> Clone for TaskGroup<E> {
    fn clone(&self) -> Self {
        TaskGroup {
            state: self.state.clone(),
        }
    }
}

impl<E> fmt::Debug for TaskGroup<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskGroup")
            .field("open", &self.state.is_open())
            .field("running", &self.state.running.get())
            .finish_non_exhaustive()
    }
}

/// What happens to the rest of a group when the body or a child fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// The rest is cancelled.
    #[default]
    Cancel,
    /// The rest runs to its end, so that the error tells of every failure there is.
    GoOn,
}

/// What the group, its handles and its children share. Each field is borrowed
/// for a moment, never while foreign code runs.
struct State<E> {
    open: Cell<bool>,
    on_failure: Cell<OnFailure>,
    errors: RefCell<Vec<ChildError<E>>>,
    reason: RefCell<Option<Cow<'static, str>>>,
    /// Those whose futures live; `None` only while one is being spawned.
    children: RefCell<Places<Option<JoinHandle<()>>>>,
    /// Places of children whose futures are gone.
    gone: RefCell<Vec<usize>>,
    /// Their tasks, until they have ended.
    ending: RefCell<Vec<JoinHandle<()>>>,
    running: Cell<usize>,
    /// The task that awaits the group.
    waiter: RefCell<Option<Waker>>,
}

impl<E> State<E> {
    fn new() -> Self {
        State {
            open: Cell::new(true),
            on_failure: Cell::default(),
            errors: RefCell::default(),
            reason: RefCell::default(),
            children: RefCell::default(),
            gone: RefCell::default(),
            ending: RefCell::default(),
            running: Cell::new(0),
            waiter: RefCell::default(),
        }
    }

    fn is_open(&self) -> bool {
        self.open.get()
    }

    fn has_failed(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    fn error(&self) -> GroupError<E> {
        GroupError::new(self.errors.take(), self.reason.take())
    }

    fn fail(&self, error: ChildError<E>) {
        self.errors.borrow_mut().push(error);
        if self.on_failure.get() == OnFailure::Cancel {
            self.abort_children("another task of its group failed");
        }
    }

    fn abort_children(&self, reason: impl Into<Cow<'static, str>>) {
        if !self.open.replace(false) {
            return;
        }
        let reason = reason.into();
        let aborts: Vec<_> = {
            let children = self.children.borrow();
            let tasks = children.iter().flatten();
            tasks.map(JoinHandle::abort_handle).collect()
        };
        for task in aborts {
            task.abort_with(reason.clone());
        }
        self.wake();
    }

    /// A child's future was dropped: it has finished, panicked or was aborted.
    fn child_gone(&self, place: usize) {
        self.gone.borrow_mut().push(place);
        self.wake();
    }

    fn wake(&self) {
        let waiter = self.waiter.take();
        waiter.into_iter().for_each(Waker::wake);
    }

    /// Tells a dump for whom the group waits.
    #[inline]
    fn tell(&self) {
        let children = self.children.borrow();
        for child in children.iter().flatten() {
            inspect::note(|| WaitsFor::Task(child.id()));
        }
    }

    /// Buries the children that have ended; `Ready` if there are no others.
    fn poll_children(&self, cx: &mut Context<'_>) -> Poll<()> {
        let waiter = self.waiter.replace(Some(cx.waker().clone()));
        drop(waiter);
        let mut ending = self.ending.take();
        for place in self.gone.take() {
            let task = self.children.borrow_mut().remove(place);
            ending.extend(task.flatten());
        }
        ending.retain_mut(|task| match pin!(task).poll(cx) {
            Poll::Pending => true,
            Poll::Ready(result) => {
                self.running.set(self.running.get() - 1);
                // Cancelled is no failure: who cancelled knows.
                if let Err(error) = result
                    && error.is_panic()
                {
                    self.fail(ChildError::Panicked(error));
                }
                false
            }
        });
        self.ending.borrow_mut().append(&mut ending);
        match self.running.get() {
            0 => Poll::Ready(()),
            _ => {
                self.tell();
                Poll::Pending
            }
        }
    }
}

/// Aborts the children of a group whose future is dropped, and closes it.
struct CancelOnDrop<'a, E>(&'a State<E>);

impl<E> Drop for CancelOnDrop<'_, E> {
    fn drop(&mut self) {
        self.0.abort_children("its task group was dropped");
    }
}

#[cfg(test)]
mod tests;
