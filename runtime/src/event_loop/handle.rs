//! A loop's door for other threads.
//!
//! *Read after* [`crate::remote`]; *next* [`super::remote_handle`].

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::time::Duration;

use super::core::Core;
use super::remote_handle::{Delivery, RemoteHandle};
use crate::context;
use crate::error::Error;
use crate::inspect::publish::Running;
use crate::inspect::{Dump, DumpError};
use crate::remote::table::{self, LoopRemote};
use crate::task::cell::Extra;
use crate::task::id::{TaskId, WakeId};
use crate::task::join_error::{JoinError, Who};

/// Something to be done on the loop's thread.
pub(crate) struct Call(Box<dyn FnOnce(&Core) + Send>);

impl Call {
    pub(crate) fn new(call: impl FnOnce(&Core) + Send + 'static) -> Call {
        Call(Box::new(call))
    }

    pub(super) fn make(self, core: &Core) {
        (self.0)(core);
    }
}

/// Reaches a loop from any thread.
///
/// It doesn't keep the loop alive: once that has ended, what is spawned through
/// a handle is cancelled at once.
#[derive(Clone, Copy)]
pub struct Handle {
    remote: &'static LoopRemote,
    /// Remote sides are used again; this tells which loop is meant.
    epoch: u64,
}

/// A task, named by a number that can cross threads. Its wake id finds the place
/// and its number proves that it is still the same task.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(super) handle: Handle,
    wake_id: WakeId,
    pub(super) id: TaskId,
}

impl Handle {
    pub(super) fn new(remote: &'static LoopRemote, epoch: u64) -> Handle {
        Handle { remote, epoch }
    }

    /// A handle of the loop that runs on this thread.
    ///
    /// # Panics
    /// Outside of a loop, with advice.
    #[must_use]
    #[track_caller]
    pub fn current() -> Handle {
        context::with_named("`Handle::current`", Core::handle)
    }

    /// A handle of the loop that runs on this thread.
    ///
    /// # Errors
    /// [`Error::NoLoop`].
    pub fn try_current() -> Result<Handle, Error> {
        context::try_with(Core::handle).ok_or(Error::NoLoop)
    }

    /// A handle of the loop that has this number now, if one has.
    pub(crate) fn of_loop(id: u16) -> Option<Handle> {
        let remote = table::find(id)?;
        let epoch = remote.epoch()?;
        Some(Handle { remote, epoch })
    }

    /// The loop's number among those that there are.
    pub(super) fn loop_id(&self) -> u16 {
        self.remote.id()
    }

    /// Whether the loop has ended.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        !self.remote.is_open(self.epoch)
    }

    /// Starts a task on the loop, from any thread: `make` crosses over and makes
    /// the future there, so the future itself need not be `Send`.
    ///
    /// Returns at once. If the loop has ended, or ends before the task, the
    /// handle gives a cancelled [`JoinError`]. A panic of `make` counts as one of
    /// the task.
    #[track_caller]
    pub fn spawn<F, M>(&self, make: M) -> RemoteHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.spawn_named(None, Location::caller(), make)
    }

    fn spawn_named<F, M>(
        &self,
        name: Option<Cow<'static, str>>,
        site: &'static Location<'static>,
        make: M,
    ) -> RemoteHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let delivery = Delivery::new();
        let remote_handle = RemoteHandle::new(delivery.clone(), name.clone(), site);
        let sender = Sender {
            delivery,
            site,
            name,
        };
        let handle = *self;
        let call = Call::new(move |core| {
            if sender.delivery.is_aborted() {
                return; // `sender` says so when it is dropped.
            }
            let extra = sender.name.clone().map(Extra::named);
            let delivery = sender.delivery.clone();
            let task = core.spawn(deliver(make, sender), extra, site);
            let target = Target {
                handle,
                wake_id: task.task().wake_id(),
                id: task.id(),
            };
            if let Some(reason) = delivery.started(target) {
                task.abort_with(reason);
            }
            drop(task);
        });
        // A refused call is dropped, and its `sender` tells the handle.
        drop(self.remote.post(self.epoch, call));
        remote_handle
    }

    /// Every task of the loop and what it waits for. The loop makes the dump between
    /// two polls; this thread waits for it for at most `timeout`.
    ///
    /// # Errors
    /// [`DumpError`]: the loop doesn't turn, and then this tells which task it runs, if
    /// it [publishes](crate::Builder::publish_running) that; or it has ended.
    ///
    /// # Panics
    /// On the thread of a loop that runs, with advice.
    #[track_caller]
    pub fn dump(&self, timeout: Duration) -> Result<Dump, DumpError> {
        context::forbid_blocking("`Handle::dump`", "`inspect::dump().await`");
        let (sender, receiver) = mpsc::channel();
        let call = Call::new(move |core| {
            core.ask_for_dump(Box::new(move |dump| drop(sender.send(dump))));
        });
        if self.remote.post(self.epoch, call).is_err() {
            return Err(DumpError::Ended);
        }
        receiver.recv_timeout(timeout).map_err(|error| match error {
            mpsc::RecvTimeoutError::Disconnected => DumpError::Ended,
            mpsc::RecvTimeoutError::Timeout => DumpError::NotTurning(self.running()),
        })
    }

    /// The task that the loop runs at this moment, if it
    /// [publishes](crate::Builder::publish_running) that. Doesn't wait.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        match self.is_ended() {
            true => None,
            false => self.remote.published().read(),
        }
    }

    /// Runs a future on the loop and blocks this thread until it is ready: the
    /// way from threads into a loop that runs elsewhere.
    ///
    /// # Errors
    /// If the future panicked, or its loop ended before it did.
    ///
    /// # Panics
    /// On the thread of a loop that runs, with advice.
    #[track_caller]
    pub fn block_on<F, M>(&self, make: M) -> Result<F::Output, JoinError>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        context::forbid_blocking("`Handle::block_on`", "`handle.spawn(…).await`");
        self.spawn(make).wait()
    }
}

impl Target {
    /// Aborts the task, if it hasn't ended by the time that the loop hears of it.
    pub(super) fn abort(self, reason: Cow<'static, str>) {
        let call = Call::new(move |core| {
            let task = core.scheduler.borrow().get(self.wake_id.slot()).cloned();
            if let Some(task) = task
                && task.id() == self.id
                && task.mark_aborted(reason)
            {
                core.wake_local(self.wake_id);
            }
        });
        drop(self.handle.remote.post(self.handle.epoch, call));
    }
}

/// What the loop has of a remote handle. Dropped without a result, it reports
/// that there will be none.
struct Sender<T> {
    delivery: Arc<Delivery<T>>,
    site: &'static Location<'static>,
    name: Option<Cow<'static, str>>,
}

impl<T> Sender<T> {
    fn who(&self) -> Who {
        // Of a task that never was, only the site and the name are known.
        let task = context::try_with(|core| core.current_task()).flatten();
        task.map(|task| task.who()).unwrap_or_else(|| Who {
            id: TaskId::NEVER,
            name: self.name.clone(),
            site: self.site,
        })
    }

    fn send(&self, result: Result<T, Box<dyn Any + Send>>) {
        let result = result.map_err(|payload| JoinError::panic(self.who(), payload));
        self.delivery.complete(result);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.delivery.is_complete() {
            return;
        }
        let error = if std::thread::panicking() {
            let text = "a destructor of the task's future panicked";
            JoinError::panic(self.who(), Box::new(text))
        } else {
            let task = context::try_with(|core| core.current_task()).flatten();
            let reason = task.and_then(|task| task.abort_reason());
            let reason = reason.or_else(|| self.delivery.abort_reason());
            let reason = reason.unwrap_or_else(|| "the event loop has ended".into());
            JoinError::cancelled(self.who(), reason)
        };
        self.delivery.complete(Err(error));
    }
}

/// The task behind a remote handle.
async fn deliver<T, F, M>(make: M, sender: Sender<T>)
where
    M: FnOnce() -> F,
    F: Future<Output = T>,
{
    let result = match catch_unwind(AssertUnwindSafe(make)) {
        Err(panic) => Err(panic),
        Ok(future) => {
            let mut future = pin!(future);
            poll_fn(|cx| {
                let poll = || future.as_mut().poll(cx);
                match catch_unwind(AssertUnwindSafe(poll)) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
                    Err(panic) => Poll::Ready(Err(panic)),
                }
            })
            .await
        }
    };
    sender.send(result);
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.is_ended() { ", ended" } else { "" };
        write!(f, "Handle(loop {}.{}{state})", self.remote.id(), self.epoch)
    }
}
