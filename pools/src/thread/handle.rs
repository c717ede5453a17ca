//! [`JobHandle`]: a spawned job as its spawner sees it.

use std::borrow::Cow;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use threeply_runtime::inspect::{self, WaitsFor, blocked};

use crate::error::JobError;
use crate::limits;
use crate::spin::Spin;
use crate::switch::atomic::{AtomicU32, Ordering};
use crate::thread::completion::Outcome;
use crate::thread::job::SpawnedRef;
use crate::thread::parker::ThreadWaker;
use crate::thread::{blocking, context};

/// A job that was spawned, and the one right to its result.
///
/// Await it on any executor, [`wait`](Self::wait) for it on any thread, or drop
/// it: the job then runs on, detached. As `concurrent.futures.Future`, except
/// that there is one owner, and [`cancel`](Self::cancel) can't break what runs.
#[derive(Debug)]
#[must_use = "dropping the handle detaches the job; `let _ = …` says that you mean it"]
pub struct JobHandle<T> {
    job: SpawnedRef<T>,
    taken: bool,
    /// Where it was spawned, for dumps of who waits for it.
    site: &'static Location<'static>,
    /// The pool, by its registry's address.
    pool: usize,
}

impl<T> JobHandle<T> {
    pub(crate) fn new(job: SpawnedRef<T>, site: &'static Location<'static>, pool: usize) -> Self {
        Self {
            job,
            taken: false,
            site,
            pool,
        }
    }

    /// Has the job ended, one way or another? O(1).
    pub fn is_finished(&self) -> bool {
        self.job.completion().is_complete()
    }

    /// Ends the job before it starts, and drops its closure on this thread: true
    /// if that worked, and the result is [`JobError::Cancelled`] then. A job that
    /// runs can't be stopped from outside.
    pub fn cancel(&self) -> bool {
        self.job.cancel(JobError::Cancelled)
    }

    pub(crate) fn close(&self) -> bool {
        self.job.cancel(JobError::Closed)
    }

    /// The result if the job has ended, else `None`; never waits.
    pub fn try_take(&mut self) -> Option<Result<T, JobError>> {
        let result = self.job.completion().try_take();
        self.taken |= result.is_some();
        result
    }

    /// Waits for the job to end.
    ///
    /// On a worker of a pool, a job that hasn't started is run right here, and
    /// while one that runs elsewhere is waited for, the pool lends this thread's
    /// permit to a spare thread: jobs that wait for jobs don't deadlock. On any
    /// other thread this runs nothing, as the caller may hold a lock or a borrow
    /// of a thread-local; it looks for the end for some microseconds, where that has
    /// paid lately, and then sleeps.
    ///
    /// # Errors
    /// [`JobError`], if the job has no result.
    ///
    /// # Panics
    /// If the result was taken before; and on the thread of an event loop, which
    /// must not block: await the handle there.
    pub fn wait(mut self) -> Result<T, JobError> {
        assert!(!self.taken, "the job's result was taken before");
        if !self.is_finished() && self.on_worker_of_its_pool() {
            self.job.run_here();
        }
        self.wait_until(None).expect("waits until there is one")
    }

    /// [`wait`](Self::wait), but never runs the job here.
    pub(crate) fn wait_elsewhere(mut self) -> Result<T, JobError> {
        self.wait_until(None).expect("waits until there is one")
    }

    fn on_worker_of_its_pool(&self) -> bool {
        context::with(|seat| {
            seat.is_some_and(|seat| {
                seat.lane.is_worker && Arc::as_ptr(&seat.registry).addr() == self.pool
            })
        })
    }

    /// [`wait`](Self::wait) for at most `limit`; `None` if the job hasn't ended by
    /// then, and the handle stays good. Never runs the job here, since that could
    /// take longer.
    ///
    /// # Panics
    /// As `wait`.
    pub fn wait_timeout(&mut self, limit: Duration) -> Option<Result<T, JobError>> {
        match Instant::now().checked_add(limit) {
            Some(deadline) => self.wait_until(Some(deadline)),
            None => self.wait_until(None),
        }
    }

    /// Calls `callback` once when the job has ended, on the thread that ends it,
    /// or at once on this one if it has. It must not block, and its panics go
    /// nowhere.
    pub fn on_done(&self, callback: impl FnOnce(Outcome) + Send + 'static) {
        self.job.completion().on_done(Box::new(callback));
    }

    /// For dumps of who waits for it.
    pub(crate) fn is_waited_for(&self) -> WaitsFor {
        let claimed = self.job.completion().is_claimed();
        WaitsFor::Job {
            job: self.job.id(),
            what: Cow::Borrowed("a job of a thread pool"),
            site: Some(self.site),
            state: Cow::Borrowed(if claimed { "runs" } else { "queued" }),
        }
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Option<Result<T, JobError>> {
        assert!(!self.taken, "the job's result was taken before");
        if let Some(result) = self.try_take() {
            return Some(result);
        }
        refuse_on_event_loop();
        let result = WAITING.with(|waiting| {
            let mut cx = Context::from_waker(&waiting.waker);
            if deadline.is_none() && context::with(|seat| seat.is_none()) {
                waiting.look(|| self.is_finished(), || self.job.completion().ended_on());
            }
            let mut told = None;
            blocking::blocking(|| {
                loop {
                    if let Poll::Ready(result) = self.job.completion().poll_take(&mut cx) {
                        return result;
                    }
                    let parker = &waiting.thread.parker;
                    match deadline {
                        None => {
                            told.get_or_insert_with(|| blocked::until(vec![self.is_waited_for()]));
                            parker.park();
                        }
                        Some(deadline) => {
                            if !parker.park_until(deadline) && Instant::now() >= deadline {
                                self.job.completion().forget_waker();
                                return self.job.completion().try_take();
                            }
                        }
                    }
                }
            })
        });
        self.taken |= result.is_some();
        result
    }
}

/// What a thread needs to wait for handles.
struct Waiting {
    /// Its bed, and the same as a waker.
    thread: Arc<ThreadWaker>,
    waker: Waker,
    /// Whether looking before going to bed has paid lately.
    spin: Spin,
    /// The processor of the last job that ended while this thread looked.
    there: AtomicU32,
}

thread_local! {
    static WAITING: Waiting = {
        let thread = Arc::new(ThreadWaker::default());
        Waiting {
            waker: Waker::from(thread.clone()),
            thread,
            spin: Spin::default(),
            there: AtomicU32::new(u32::MAX),
        }
    };
}

impl Waiting {
    /// Looks for the end of a job before sleeping on it, for no longer than sleep and
    /// wake-up would cost, and ever more rarely where that is in vain.
    ///
    /// Only for threads outside of all pools: a worker's processor is for other jobs.
    fn look(&self, is_finished: impl FnMut() -> bool, ended_on: impl FnOnce() -> u32) {
        let limit = limits::LOOK_BEFORE_SLEEP;
        if self.spin.look(limit, None, &self.there, is_finished) {
            self.there.store(ended_on(), Ordering::Relaxed);
        }
    }
}

/// A blocking wait on an event loop's thread would stop all its tasks.
///
/// # Panics
/// On such a thread, with advice.
pub(crate) fn refuse_on_event_loop() {
    assert!(
        threeply_runtime::context::try_with(|_| ()).is_none(),
        "a blocking wait on an event loop's thread would stop all its tasks: await the handle, or \
         wrap the call in `unblock`"
    );
}

/// Ready when the job has ended. Cancel-safe: dropping the handle detaches the
/// job and frees the waker.
///
/// # Panics
/// If polled after it was ready.
impl<T> Future for JobHandle<T> {
    type Output = Result<T, JobError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        assert!(
            !self.taken,
            "a JobHandle was polled after its result was taken"
        );
        match self.job.completion().poll_take(cx) {
            Poll::Pending => {
                inspect::note(|| self.is_waited_for());
                Poll::Pending
            }
            Poll::Ready(result) => {
                self.taken = true;
                Poll::Ready(result.expect("the result is taken once"))
            }
        }
    }
}

impl<T> Unpin for JobHandle<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::thread::ThreadPool;

    #[test]
    fn a_thread_outside_knows_on_which_processor_its_job_has_ended() {
        let pool = ThreadPool::builder().threads(1).build().unwrap();
        let other = |waiting: &Waiting| waiting.there.load(Ordering::Relaxed);
        // Looking may be in vain on a busy machine, but not each time.
        let seen = (0..100_000).any(|_| {
            pool.spawn(|| ()).wait().unwrap();
            WAITING.with(other) != u32::MAX
        });
        assert!(seen);
    }

    #[test]
    fn a_worker_that_waits_does_not_look() {
        let pool = ThreadPool::builder().threads(2).build().unwrap();
        let other = ThreadPool::builder().threads(1).build().unwrap();
        let there = pool.install(|| {
            for _ in 0..1000 {
                other.spawn(|| ()).wait().unwrap();
            }
            WAITING.with(|waiting| waiting.there.load(Ordering::Relaxed))
        });
        assert_eq!(there, u32::MAX);
    }
}
