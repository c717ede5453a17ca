//! Blocking calls off the loop: files, name lookup, anything that would stop it.
//!
//! [`unblock`] hands a closure to a thread of a small pool and gives back a
//! future of its result: what `asyncio.to_thread` and `spawn_blocking` are
//! elsewhere. The loop runs on meanwhile.
//!
//! ```text
//!   unblock(f) ──push──▶ queue ──▶ thread: run f ──▶ result ──wake──▶ Unblock
//!                          │          │
//!              thread started if      └─ leaves after IDLE without work
//!              more jobs than idlers
//! ```
//!
//! The pool is for calls that *wait*. It has far more threads than processors,
//! and does nothing to share processors fairly: computing belongs on the
//! work-stealing pool, one floor above this crate (which is why that pool can't
//! be used here).
//!
//! One mutex guards the queue and one each job; a blocking call costs
//! microseconds at least, so there is nothing for a lock-free queue to win.
//!
//! Life of a job (`State`):
//! ```text
//!   Queued ──start──▶ Running ──finish──▶ Done ──poll/wait──▶ Taken
//!      └────cancel─────────────────────────▲
//! ```

use std::any::Any;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::panic::{self, AssertUnwindSafe};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use crate::inspect::{self, JobId, WaitsFor, blocked};
use crate::limits::{BLOCKING_IDLE, BLOCKING_THREADS};
use crate::trace::{Kind, emit};

/// Runs `f` on a thread of the process-wide [`BlockingPool`] and returns a
/// future of what it returns.
///
/// It is queued at once, not at the first poll. Up to
/// [`BLOCKING_THREADS`] run at the same time; further ones wait their
/// turn, first come, first served.
///
/// # Cancel safety
/// **Dropping the future abandons the call**: it still runs, to its end, on its
/// thread, and its result is dropped there. A thread inside a system call can't
/// be stopped. [`Unblock::cancel`] takes back a call that has not begun. Threads
/// that still run when `main` returns end with the process.
///
/// # Panics
/// A panic of `f` is the future's [`UnblockError::Panicked`], and the thread
/// lives on.
///
/// ```
/// # use threeply_runtime::{block_on, unblock};
/// let name = block_on(unblock(|| std::fs::read_to_string("/proc/self/comm")));
/// assert!(!name.unwrap().unwrap().is_empty());
/// ```
pub fn unblock<T, F>(f: F) -> Unblock<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    static POOL: OnceLock<BlockingPool> = OnceLock::new();
    POOL.get_or_init(|| BlockingPool::new(BLOCKING_THREADS, BLOCKING_IDLE))
        .run(f)
}

/// Why a blocking call has no result.
pub enum UnblockError {
    /// It panicked; this is the payload, for `std::panic::resume_unwind`.
    Panicked(Box<dyn Any + Send>),
    /// It was cancelled before it began.
    Cancelled,
    /// No thread could be started, and none was there to wait for.
    NoThread(io::Error),
}

impl fmt::Debug for UnblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for UnblockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnblockError::Panicked(payload) => {
                let text = payload
                    .downcast_ref::<&str>()
                    .copied()
                    .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                    .unwrap_or("(a payload that is no text)");
                write!(f, "the blocking call panicked: {text}")
            }
            UnblockError::Cancelled => f.write_str("the blocking call was cancelled unstarted"),
            UnblockError::NoThread(error) => write!(
                f,
                "no thread could be started for a blocking call ({error}); raise the limit on \
                 processes (`ulimit -u`, or the container's pids limit) or start fewer threads"
            ),
        }
    }
}

impl std::error::Error for UnblockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            UnblockError::NoThread(error) => Some(error),
            UnblockError::Panicked(_) | UnblockError::Cancelled => None,
        }
    }
}

impl From<UnblockError> for io::Error {
    fn from(error: UnblockError) -> io::Error {
        match error {
            UnblockError::NoThread(error) => error,
            // A payload isn't Sync and an io::Error must be; its text will do.
            other => io::Error::other(other.to_string()),
        }
    }
}

/// The result of a blocking call, in time: a future, on any executor.
///
/// Dropping it abandons the call; see [`unblock`].
#[must_use = "the call runs on if this is dropped, but nobody learns its result"]
pub struct Unblock<T> {
    job: Arc<Job<T>>,
}

impl<T> Unblock<T> {
    /// Takes the call back if it hasn't begun, and says whether it did so; the
    /// future is then [`UnblockError::Cancelled`].
    pub fn cancel(&self) -> bool {
        let mut guts = self.job.lock();
        if !matches!(guts.state, State::Queued(_)) {
            return false;
        }
        // The closure is dropped below, outside the lock: it may run any code.
        let closure = mem::replace(&mut guts.state, State::Done(Err(UnblockError::Cancelled)));
        let waker = guts.waker.take();
        drop(guts);
        drop(closure);
        self.job.announce(waker);
        true
    }

    /// Whether the result is there.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.job.lock().state, State::Done(_) | State::Taken)
    }

    /// Waits for the result, **blocking the thread**: not on a loop's thread,
    /// where one awaits.
    ///
    /// # Errors
    /// As the future's.
    ///
    /// # Panics
    /// On the thread of a loop that runs: `await` it there.
    #[track_caller]
    pub fn wait(self) -> Result<T, UnblockError> {
        crate::context::forbid_blocking("`Unblock::wait`", "`.await`");
        let mut blocking = None;
        let mut guts = self.job.lock();
        loop {
            if let Some(result) = guts.take() {
                return result;
            }
            blocking.get_or_insert_with(|| blocked::until(vec![self.is_waited_for()]));
            guts = self
                .job
                .done
                .wait(guts)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Unblock<T> {
    fn is_waited_for(&self) -> WaitsFor {
        WaitsFor::Job {
            job: JobId(Arc::as_ptr(&self.job).addr()),
            what: Cow::Borrowed("a call on a blocking thread"),
            site: None,
            state: Cow::Borrowed(""),
        }
    }
}

impl<T> Future for Unblock<T> {
    type Output = Result<T, UnblockError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut guts = self.job.lock();
        if let Some(result) = guts.take() {
            return Poll::Ready(result);
        }
        let changed = guts
            .waker
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()));
        if changed {
            guts.waker = Some(cx.waker().clone());
        }
        inspect::note(|| self.is_waited_for());
        Poll::Pending
    }
}

impl<T> fmt::Debug for Unblock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unblock")
            .field("finished", &self.is_finished())
            .finish()
    }
}

type Call<T> = Box<dyn FnOnce() -> T + Send>;

/// See the picture at the head of this file.
enum State<T> {
    Queued(Call<T>),
    Running,
    Done(Result<T, UnblockError>),
    Taken,
}

struct Guts<T> {
    state: State<T>,
    waker: Option<Waker>,
}

impl<T> Guts<T> {
    fn take(&mut self) -> Option<Result<T, UnblockError>> {
        match mem::replace(&mut self.state, State::Taken) {
            State::Done(result) => Some(result),
            State::Taken => panic!("an Unblock was polled after it gave its result"),
            unfinished => {
                self.state = unfinished;
                None
            }
        }
    }
}

struct Job<T> {
    guts: Mutex<Guts<T>>,
    done: Condvar,
}

impl<T> Job<T> {
    fn lock(&self) -> MutexGuard<'_, Guts<T>> {
        // No foreign code runs under the lock, so there is nothing half-done.
        self.guts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, result: Result<T, UnblockError>) {
        let mut guts = self.lock();
        guts.state = State::Done(result);
        let waker = guts.waker.take();
        drop(guts);
        self.announce(waker);
    }

    fn announce(&self, waker: Option<Waker>) {
        self.done.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// A job, as the pool sees it.
trait Run: Send + Sync {
    /// Runs it unless it was cancelled.
    fn run(&self);
    /// Fails it: it can't be run.
    fn fail(&self, error: io::Error);
}

impl<T: Send> Run for Job<T> {
    fn run(&self) {
        let mut guts = self.lock();
        if !matches!(guts.state, State::Queued(_)) {
            return; // Cancelled.
        }
        let State::Queued(call) = mem::replace(&mut guts.state, State::Running) else {
            unreachable!("looked at a line above, under the same lock");
        };
        drop(guts);
        let result = panic::catch_unwind(AssertUnwindSafe(call));
        self.finish(result.map_err(UnblockError::Panicked));
    }

    fn fail(&self, error: io::Error) {
        self.finish(Err(UnblockError::NoThread(error)));
    }
}

/// What a trace knows a job by.
fn address(job: &Arc<dyn Run>) -> u64 {
    Arc::as_ptr(job).addr() as u64
}

/// A bounded pool of threads for calls that block.
///
/// [`unblock`] uses one for the whole process; make another to bound some calls
/// on their own, say those to one slow disk. Cheap to clone; threads start when
/// needed and leave when idle, so a pool that is dropped needs no shutdown: its
/// threads finish what is queued, then go.
#[derive(Clone)]
pub struct BlockingPool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    limit: usize,
    idle_exit: Duration,
}

/// Invariant: a job waits in `jobs` only while at least as many threads are on
/// their way to the queue (idle or just started) as there are jobs, or `limit`
/// threads exist.
#[derive(Default)]
struct Queue {
    jobs: VecDeque<Arc<dyn Run>>,
    threads: usize,
    idle: usize,
    started: u64,
}

impl BlockingPool {
    /// A pool of at most `limit` threads (at least one), each of which leaves
    /// after `idle_exit` without work. No thread starts yet.
    #[must_use]
    pub fn new(limit: usize, idle_exit: Duration) -> BlockingPool {
        BlockingPool {
            shared: Arc::new(Shared {
                queue: Mutex::default(),
                work: Condvar::new(),
                limit: limit.max(1),
                idle_exit,
            }),
        }
    }

    /// As [`unblock`], on this pool.
    pub fn run<T, F>(&self, f: F) -> Unblock<T>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let job = Arc::new(Job {
            guts: Mutex::new(Guts {
                state: State::Queued(Box::new(f)),
                waker: None,
            }),
            done: Condvar::new(),
        });
        self.shared.push(job.clone());
        Unblock { job }
    }

    /// How many threads exist now.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.shared.lock().threads
    }

    /// How many calls wait for a thread now.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.shared.lock().jobs.len()
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = self.shared.lock();
        f.debug_struct("BlockingPool")
            .field("limit", &self.shared.limit)
            .field("threads", &queue.threads)
            .field("idle", &queue.idle)
            .field("queued", &queue.jobs.len())
            .finish()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(self: &Arc<Self>, job: Arc<dyn Run>) {
        emit(Kind::BlockingPush, line!(), address(&job), 0);
        let mut queue = self.lock();
        queue.jobs.push_back(job);
        if queue.jobs.len() <= queue.idle {
            drop(queue);
            self.work.notify_one();
        } else if queue.threads < self.limit {
            self.start_thread(queue);
        }
    }

    fn start_thread(self: &Arc<Self>, mut queue: MutexGuard<'_, Queue>) {
        queue.threads += 1;
        queue.started += 1;
        let name = format!("unblock-{}", queue.started);
        drop(queue);
        let shared = self.clone();
        let started = thread::Builder::new()
            .name(name)
            .spawn(move || shared.work());
        if let Err(error) = started {
            let mut queue = self.lock();
            queue.threads -= 1;
            // With a thread left, the jobs only wait longer. With none, nobody
            // would ever run them: they must hear of it.
            if queue.threads == 0 {
                let stranded = mem::take(&mut queue.jobs);
                drop(queue);
                for job in stranded {
                    job.fail(io::Error::new(error.kind(), error.to_string()));
                }
            }
        }
    }

    /// The life of one thread.
    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                // The call's own panic is caught closer; this is for a result
                // or a waker that panics, which must not cost us the thread.
                let _ = panic::catch_unwind(AssertUnwindSafe(move || {
                    let address = address(&job);
                    emit(Kind::BlockingRun, line!(), address, 0);
                    blocked::during(JobId(address as usize), || job.run());
                    emit(Kind::BlockingRunEnd, line!(), address, 0);
                    drop(job);
                }));
                queue = self.lock();
                continue;
            }
            queue.idle += 1;
            let (woken, timeout) = self
                .work
                .wait_timeout(queue, self.idle_exit)
                .unwrap_or_else(PoisonError::into_inner);
            queue = woken;
            queue.idle -= 1;
            if timeout.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn results_and_panics_come_back() {
        let pool = BlockingPool::new(2, LONG);
        assert_eq!(pool.run(|| 7).wait().unwrap(), 7);
        let error = pool.run(|| panic!("on purpose")).wait().unwrap_err();
        assert!(error.to_string().contains("on purpose"), "{error}");
        assert_eq!(pool.run(|| 8).wait().unwrap(), 8);
    }

    #[test]
    fn no_more_than_the_limit_run_at_once() {
        let pool = BlockingPool::new(2, LONG);
        let (release, gate) = mpsc::channel::<()>();
        let gate = Arc::new(Mutex::new(gate));
        let calls: Vec<_> = (0..6)
            .map(|number| {
                let gate = gate.clone();
                pool.run(move || {
                    gate.lock().unwrap().recv().unwrap();
                    number
                })
            })
            .collect();
        assert_eq!(pool.threads(), 2);
        assert!(pool.queued() >= 4);
        for _ in 0..6 {
            release.send(()).unwrap();
        }
        let numbers: Vec<_> = calls.into_iter().map(|call| call.wait().unwrap()).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
        assert_eq!(pool.threads(), 2);
    }

    #[test]
    fn only_a_call_that_has_not_begun_is_cancelled() {
        let pool = BlockingPool::new(1, LONG);
        let (release, gate) = mpsc::channel::<()>();
        let (running, is_running) = mpsc::channel();
        let first = pool.run(move || {
            running.send(()).unwrap();
            gate.recv().unwrap();
        });
        is_running.recv().unwrap();
        let second = pool.run(|| ());
        assert!(!first.cancel());
        assert!(second.cancel());
        assert!(!second.cancel());
        assert!(matches!(second.wait(), Err(UnblockError::Cancelled)));
        release.send(()).unwrap();
        first.wait().unwrap();
    }

    #[test]
    fn an_abandoned_call_still_runs() {
        let pool = BlockingPool::new(1, LONG);
        let (done, is_done) = mpsc::channel();
        drop(pool.run(move || done.send("ran").unwrap()));
        assert_eq!(is_done.recv().unwrap(), "ran");
    }

    #[test]
    fn an_idle_thread_leaves_and_a_later_call_starts_another() {
        let pool = BlockingPool::new(1, Duration::from_millis(1));
        pool.run(|| ()).wait().unwrap();
        while pool.threads() > 0 {
            thread::yield_now();
        }
        pool.run(|| ()).wait().unwrap();
    }

    #[test]
    fn a_result_that_panics_when_dropped_costs_no_thread() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                if !thread::panicking() {
                    panic!("dropped");
                }
            }
        }
        let pool = BlockingPool::new(1, LONG);
        // It ends after its handle is gone, so that the thread drops the result.
        let (go, may_go) = mpsc::channel();
        let abandoned = pool.run(move || {
            may_go.recv().unwrap();
            Bomb
        });
        drop(abandoned);
        go.send(()).unwrap();
        assert_eq!(pool.run(|| 1).wait().unwrap(), 1);
        assert_eq!(pool.threads(), 1);
    }

    #[test]
    fn the_result_wakes_the_task_that_waits() {
        struct Flag(mpsc::Sender<()>);
        impl std::task::Wake for Flag {
            fn wake(self: Arc<Self>) {
                self.0.send(()).unwrap();
            }
        }
        let pool = BlockingPool::new(1, LONG);
        let (release, gate) = mpsc::channel::<()>();
        let mut call = pool.run(move || gate.recv().unwrap());
        let (wake, is_woken) = mpsc::channel();
        let waker = Waker::from(Arc::new(Flag(wake)));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut call).poll(&mut cx).is_pending());
        release.send(()).unwrap();
        is_woken.recv().unwrap();
        assert!(Pin::new(&mut call).poll(&mut cx).is_ready());
    }
}
