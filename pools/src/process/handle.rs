//! [`JobHandle`]: waiting for one job, in any way.
//!
//! The fast way is **direct dispatch**: a blocking `wait` takes the right to read
//! the replies of the worker that has the job, and reads the answer itself, with
//! no thread in between. It looks for the reply for a few microseconds if jobs
//! have been that short lately, then sleeps on the worker's bell and on its death
//! at once. A job that isn't with a worker yet, or with one whose replies somebody
//! else reads, is waited for at its [`Cell`].
//!
//! Read before this: [`super::pump`] and [`super::cell`].

use threeply_runtime::inspect::{self, JobId, WaitsFor, blocked};

use crate::process::cell::{Cell, News, Outcome};
use crate::process::error::JobError;
use crate::process::limits;
use crate::process::link::Link;
use crate::process::shared::Shared;
use crate::process::state::{Placed, Reason, State, Verdict};
use crate::process::terms::JobLabel;
use crate::switch::MutexGuard;
use serde::de::DeserializeOwned;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use threeply_runtime::context::forbid_blocking;

/// A submitted job. A `Future` of its result that may be awaited on any executor,
/// and a handle to wait for it without one.
///
/// Dropping it detaches: the job runs, its result is thrown away.
#[must_use = "the result is lost if nobody waits; `drop` it to say so"]
pub struct JobHandle<R> {
    cell: Arc<Cell>,
    /// For dumps of who waits for it.
    label: JobLabel,
    pool: Arc<Shared>,
    placed: Option<Placed>,
    awake: bool,
    /// Nobody has asked to be told of the reply yet: it is our turn to read it, or to
    /// see to it that the supervisor does.
    quiet: AtomicBool,
    result: PhantomData<fn() -> R>,
}

impl<R> JobHandle<R> {
    pub(crate) fn new(
        cell: Arc<Cell>,
        label: JobLabel,
        pool: &Arc<Shared>,
        placed: Option<Placed>,
        awake: bool,
    ) -> JobHandle<R> {
        JobHandle {
            cell,
            label,
            pool: Arc::clone(pool),
            quiet: AtomicBool::new(placed.is_some()),
            placed,
            awake,
            result: PhantomData,
        }
    }

    /// Sees to it that the reply is noticed without our looking for it.
    fn watch(&self) {
        // Relaxed: decides who asks, orders nothing.
        if let Some(Placed { link, stays, .. }) = &self.placed
            && !self.cell.is_done()
            && self.quiet.swap(false, Ordering::Relaxed)
        {
            if stays.is_some() {
                self.pool.part_from(link);
            }
            self.pool.watch(link);
        }
    }

    /// Whether the job is done, one way or the other.
    pub fn is_finished(&self) -> bool {
        self.watch();
        self.cell.is_done()
    }

    /// Calls `callback` when the job is done: here and now if it is already, else
    /// on a thread that the pool keeps for callbacks ([`super::callbacks`]). Several
    /// that were given before it was done are called in that order. One that blocks holds up other
    /// callbacks of the pool, and nothing else.
    pub fn on_done(&self, callback: impl FnOnce() + Send + 'static) {
        if self.is_finished() {
            return callback();
        }
        let pool = Arc::downgrade(&self.pool); // Which has the job, which has this.
        self.when_done(move || match pool.upgrade() {
            Some(pool) => pool.callbacks.call(Box::new(callback)),
            None => callback(),
        });
    }

    /// As `on_done`, for callbacks of our own, which neither block nor panic: they are
    /// called by whoever notices.
    pub(crate) fn when_done(&self, callback: impl FnOnce() + Send + 'static) {
        self.cell.when_done(callback);
        self.watch();
    }

    /// Cancels the job unless it has begun. `false` if it has, or is done.
    ///
    /// A cancelled job never runs, and its handle gives [`JobError::Cancelled`].
    pub fn cancel(&self) -> bool {
        self.stop(false)
    }

    /// Cancels the job; if it has begun, kills the worker that runs it (another one
    /// takes its place, no other job is affected). `false` if it is known to be
    /// done; a job that is just ending may still give its result.
    pub fn kill(&self) -> bool {
        self.stop(true)
    }

    /// For a dump of the loop whose task awaits it.
    fn is_waited_for(&self) -> WaitsFor {
        let target = Arc::as_ptr(&self.cell).cast();
        let place = self.pool.lock().place(target, Instant::now());
        WaitsFor::Job {
            job: JobId(target.addr()),
            what: format!("a job of a process pool, {}", self.label).into(),
            site: None, // It stands in the label.
            state: place.to_string().into(),
        }
    }

    fn stop(&self, kill: bool) -> bool {
        let mut state = self.pool.lock();
        let Some((link, seq)) = state.find(Arc::as_ptr(&self.cell).cast()) else {
            // Queued, or done. A cancelled job is dropped when its turn comes.
            let paused = state.waiting_for_retry() > 0;
            let news = self.withdraw(&state);
            drop(state);
            if paused {
                self.pool.ring_supervisor(); // Its turn needn't be waited for.
            }
            return news.map(News::tell).is_some();
        };
        state.recall(&link);
        let begun = state.is_with(&link, seq);
        if begun && kill {
            if let Some(worker) = state.worker(&link) {
                worker.verdict = Some(Verdict {
                    seq,
                    reason: Reason::Cancelled,
                });
            }
            // With replies unread, it may be done already; the supervisor decides.
            if !link.has_replies() {
                link.kill();
            }
        }
        // Before it could be sent to the next worker.
        let news = if begun { None } else { self.withdraw(&state) };
        let links = state.refill_all();
        drop(state);
        let cancelled = news.map(News::tell).is_some();
        for other in links {
            other.ring_if_asleep();
        }
        link.nudge_caller();
        self.pool.ring_supervisor();
        cancelled || (begun && kill)
    }

    /// Cancels the job unless it is with a worker or its outcome is on its way. Under the
    /// pool's lock, so that neither changes meanwhile.
    fn withdraw(&self, _: &MutexGuard<'_, State>) -> Option<News<'_>> {
        if self.cell.is_decided() {
            return None;
        }
        self.cell.withdraw()
    }

    /// Waits in the fastest way that there is; `false` if the deadline has passed.
    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        if self.cell.is_done() {
            return true;
        }
        if let Some(Placed { link, seq, stays }) = &self.placed {
            self.pool.stay_beside(link, *stays);
            if let Some(mut reader) = link.reader.take() {
                // Superfluous rings harm nobody, so this needs no lock.
                link.words().wake_supervisor.silence();
                let words = link.words();
                let mut spin = self.awake && self.pool.options.spinning;
                loop {
                    self.pool.pump(link, &mut reader);
                    let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
                    if self.cell.is_done() || late {
                        break;
                    }
                    let Some(first) = self.first_reply(link, *seq) else {
                        break;
                    };
                    if spin {
                        spin = false;
                        if link.spin.look(
                            limits::SPIN,
                            Some(&words.caller_at),
                            &words.worker_at,
                            || link.has_replies(),
                        ) {
                            continue;
                        }
                    }
                    link.words().wake_caller.ask(first);
                    if !link.has_replies() {
                        let sleep = || link.sleep_for_reply(deadline, self.pool.is_guarded());
                        self.told(deadline, sleep);
                    }
                }
                self.pool.leave(link, reader);
                if self.cell.is_done() {
                    return true;
                }
            } else {
                self.watch();
            }
        }
        self.told(deadline, || self.cell.sleep(deadline))
    }

    /// Runs `sleep`, while dumps tell what this thread waits for, unless its time is
    /// limited.
    fn told<T>(&self, deadline: Option<Instant>, sleep: impl FnOnce() -> T) -> T {
        match deadline {
            None => blocked::while_telling(|| self.is_waited_for(), sleep),
            Some(_) => sleep(),
        }
    }

    /// From which reply on to read while we wait for reply `seq`: the first that is
    /// still to come, since nobody else reads those that others wait for. `None` if ours
    /// won't come.
    fn first_reply(&self, link: &Arc<Link>, seq: u64) -> Option<u64> {
        if link.has_ended() || link.sent_garbage() {
            return None;
        }
        let mut state = self.pool.lock();
        let is_to_come = state.is_with(link, seq);
        let worker = state.worker(link).filter(|_| is_to_come)?;
        Some(worker.front()?.next())
    }
}

impl<R: DeserializeOwned> JobHandle<R> {
    /// Blocks the thread until the job is done.
    ///
    /// # Errors
    /// Why there is no result; see [`JobError`].
    ///
    /// # Panics
    /// If the result was taken before by [`try_take`](JobHandle::try_take) or by
    /// polling; on the thread of an event loop, which it would block: await the
    /// handle there.
    pub fn wait(self) -> Result<R, JobError> {
        forbid_blocking("`JobHandle::wait`", "`.await` on the handle");
        self.wait_until(None);
        decode(self.cell.take().expect("done"))
    }

    /// Blocks the thread until the job is done, at most for `timeout`; then the
    /// handle comes back. The job isn't affected by the time-out.
    ///
    /// # Errors
    /// The handle, if the time is over.
    ///
    /// # Panics
    /// As [`wait`](JobHandle::wait).
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<R, JobError>, JobHandle<R>> {
        forbid_blocking("`JobHandle::wait_timeout`", "`timeout` around the handle");
        if self.wait_until(Instant::now().checked_add(timeout)) {
            Ok(decode(self.cell.take().expect("done")))
        } else {
            Err(self)
        }
    }

    /// The result, if the job is done. Never waits.
    ///
    /// # Panics
    /// If the result was taken before.
    pub fn try_take(&self) -> Option<Result<R, JobError>> {
        self.watch();
        self.cell.take().map(decode)
    }
}

/// From an outcome to the typed result. A `Deserialize` that panics concerns this
/// job alone.
pub(crate) fn decode<R: DeserializeOwned>(outcome: Outcome) -> Result<R, JobError> {
    let reply = outcome.map_err(|error| *error)?;
    match std::panic::catch_unwind(AssertUnwindSafe(|| reply.decode::<R>())) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(JobError::Undecodable {
            reason: error.to_string(),
        }),
        Err(_) => Err(JobError::Undecodable {
            reason: "its Deserialize implementation panicked".to_owned(),
        }),
    }
}

impl<R: DeserializeOwned> Future for JobHandle<R> {
    type Output = Result<R, JobError>;

    /// # Panics
    /// If it is polled again after it was ready.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A worker that shares our processor has answered by now: then nobody need be asked
        // to wake us.
        if self
            .placed
            .as_ref()
            .is_some_and(|placed| placed.link.has_replies())
        {
            self.watch();
        }
        let mut outcome = self.cell.poll(context.waker());
        if outcome.is_none() && self.quiet.load(Ordering::Relaxed) {
            self.watch(); // Which may have read the reply.
            outcome = self.cell.take();
        }
        match outcome {
            Some(outcome) => Poll::Ready(decode(outcome)),
            None => {
                inspect::note(|| self.is_waited_for());
                Poll::Pending
            }
        }
    }
}

impl<R> Drop for JobHandle<R> {
    fn drop(&mut self) {
        self.watch();
    }
}

impl<R> fmt::Debug for JobHandle<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("finished", &self.is_finished())
            .finish_non_exhaustive()
    }
}
