//! Why is nothing happening? Every task and what it waits for, and who would have
//! to do something.
//!
//! ```
//! use std::rc::Rc;
//! use threeply_runtime::sync::local::Mutex;
//! use threeply_runtime::{block_on, inspect, spawn, yield_now};
//!
//! block_on(async {
//!     let (left, right) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
//!     let philosopher = |first: Rc<Mutex<()>>, second: Rc<Mutex<()>>| async move {
//!         let _first = first.lock().await;
//!         yield_now().await;
//!         let _second = second.lock().await;
//!     };
//!     let one = spawn(philosopher(left.clone(), right.clone()));
//!     let two = spawn(philosopher(right, left));
//!     for _ in 0..3 {
//!         yield_now().await;
//!     }
//!     let why = inspect::why(one.id()).await.unwrap();
//!     println!("{why}");
//!     let deadlock = inspect::Finding::Deadlock(vec![one.id().into(), two.id().into()]);
//!     assert!(why.findings.contains(&deadlock));
//! });
//! ```
//!
//! | who asks | how |
//! |---|---|
//! | a task of the loop | [`dump`], [`why`] |
//! | the owner of a loop that stands still | [`EventLoop::dump`](crate::EventLoop::dump) |
//! | any thread | [`Handle::dump`](crate::Handle::dump); of a loop that doesn't turn, what it [publishes](publish) |
//! | a person at a terminal | `kill -USR1`, if the loop was built [so](crate::Builder::dump_on_signal) |
//! | nobody: it is told | the report of [`shutdown`](crate::EventLoop::shutdown), the [watchdog] |
//!
//! # What it costs
//! Nothing while nobody asks, but for the names of those who took a lock: one store for
//! a mutex; a comparison and a store for a permit or a read lock, and the same when it
//! is given back; a store for an item that is received from a channel. A thread that
//! blocks, until a task or a job ends or for one of [`crate::sync`], is put on a list
//! first. A dump polls every parked task twice more than it would have been polled; see
//! [`round`] for how it is done.
//!
//! # Beyond the loop
//! - A task that waits for a job (a call by [`unblock`](crate::unblock()), a job of a
//!   thread pool) leads to what the job's thread blocks on, if that is another task or
//!   job, or a lock: see [`blocked`]. So a task that awaits a job that waits for the task
//!   by a [`RemoteHandle`](crate::RemoteHandle), or for a lock that the task holds, is
//!   found.
//! - Threads outside of all pools that block are listed too, with what they wait for.
//! - [`why`] follows a wait to the tasks of other loops of the process and asks those
//!   loops too. The dumps are then of different moments, so only what is found twice is
//!   told.
//!
//! # What it can't see
//! - Waits in futures of other crates, unless they end in ours. A task of which
//!   nothing is known waits for "something that the loop doesn't know".
//! - Children of a foreign combinator that polls only those that were woken
//!   (`FuturesUnordered`). Ours are polled.
//! - Who would set an event, send a message, or add permits: that may be anybody. Locks,
//!   permits and a channel's receiver have known hands. Those are the hands that took it;
//!   a guard that was passed on is still told as the first one's.
//! - More than [four](crate::limits::HOLDERS_KNOWN) holders of one semaphore or lock at
//!   a time: then it knows that there are others, and calls nothing that waits for
//!   permits of it stuck.
//! - A lock in the hands of a thread outside of all loops, a job's for instance: it is told
//!   as that, and leads nowhere.
//! - What goes on in another process. A task that awaits a job of a process pool tells
//!   which worker has the job, and since when; there the way ends. A job that waits, by a
//!   channel or lock of shared memory, for the very task that awaits it isn't found.
//!
//! Reading order: [`wait`], [`blocked`], [`round`], [`graph`],
//! [`publish`], [`watchdog`], [`on_signal`].

pub mod blocked;
pub mod graph;
pub mod on_signal;
pub mod publish;
pub mod round;
pub mod wait;
pub mod watchdog;
pub(crate) mod watcher;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use crate::context;
use crate::event_loop::Handle;
use crate::limits::WHY_PATIENCE;
use crate::sync::local::oneshot;
use crate::task::{TaskId, TaskInfo};
use round::Told;

pub use blocked::Blocked;
pub use graph::{Finding, Party, Step, Why};
pub use publish::Running;
pub use wait::{About, Holder, JobId, SyncKind, SyncWait, WaitsFor};

/// All tasks of a loop at one moment, and what they wait for.
///
/// Its text has one line for each task, and then what is wrong, if anything is:
/// see [`Finding`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Dump {
    /// The loop's name, if it was given one.
    pub loop_name: Option<Cow<'static, str>>,
    /// The tasks that hadn't ended, oldest first.
    pub tasks: Vec<TaskInfo>,
    /// The threads of the process that block until something of ours happens.
    pub blocked: Vec<Blocked>,
}

impl Dump {
    /// Adds what another loop says of itself, and finds its tasks in what was told here,
    /// and the other way round.
    fn add(&mut self, other: Dump) {
        self.tasks.extend(other.tasks);
        self.tasks.sort_unstable_by_key(|task| task.id);
        self.blocked = other.blocked; // The newer one.
        let words = self.tasks.iter().map(|task| (task.word as u64, task.id));
        let words: HashMap<u64, TaskId> = words.collect();
        let resolve = |holder: &mut Holder| {
            if let Holder::OtherLoop(_, word) = holder
                && let Some(task) = words.get(word)
            {
                *holder = Holder::Task(*task);
            }
        };
        let of_tasks = self.tasks.iter_mut().flat_map(|task| &mut task.waits_for);
        let of_threads = (self.blocked.iter_mut()).flat_map(|thread| &mut thread.waits_for);
        for what in of_tasks.chain(of_threads) {
            if let WaitsFor::Sync(wait) = what {
                wait.known_mut().for_each(resolve);
            }
        }
    }

    /// A loop that waits lead to and that isn't among `asked`.
    fn leads_to_loop(&self, asked: &[u16]) -> Option<u16> {
        let of_tasks = self.tasks.iter().flat_map(|task| &task.waits_for);
        let of_threads = self.blocked.iter().flat_map(|thread| &thread.waits_for);
        let loops = of_tasks.chain(of_threads).flat_map(|what| match what {
            WaitsFor::Remote { loop_id, .. } => vec![*loop_id],
            WaitsFor::Sync(wait) => wait.loops(),
            _ => Vec::new(),
        });
        let mut new = loops.filter(|id| *id != 0 && !asked.contains(id));
        new.next()
    }

    /// The task with this number. O(log n).
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&TaskInfo> {
        let index = self.tasks.binary_search_by_key(&id, |task| task.id).ok()?;
        Some(&self.tasks[index])
    }
}

impl fmt::Display for Dump {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tasks", self.tasks.len())?;
        if let Some(name) = &self.loop_name {
            write!(f, " on loop '{name}'")?;
        }
        for task in &self.tasks {
            write!(f, "\n  {task}")?;
        }
        for blocked in &self.blocked {
            write!(f, "\n  {blocked}")?;
        }
        for finding in self.findings() {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

/// Why there is no dump from [`Handle::dump`](crate::Handle::dump).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DumpError {
    /// The loop has ended.
    Ended,
    /// The loop didn't turn in time. If it publishes that, this is the task that it
    /// runs, and that blocks it.
    NotTurning(Option<Running>),
}

impl fmt::Display for DumpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpError::Ended => f.write_str("the event loop has ended"),
            DumpError::NotTurning(Some(running)) => {
                write!(f, "the event loop doesn't turn: it is blocked by {running}")
            }
            DumpError::NotTurning(None) => f.write_str(
                "the event loop doesn't turn: either no `block_on` of it runs, or a task blocks \
                 it; `Builder::publish_running` would tell which",
            ),
        }
    }
}

impl std::error::Error for DumpError {}

/// Every task of the loop that runs on this thread, and what each waits for. It is
/// made when the tasks that are ready have made way; the asking task itself waits
/// for it, and says so.
///
/// # Cancel safety
/// Safe: the dump is then made for nothing.
///
/// # Panics
/// Outside of a loop, with advice.
pub fn dump() -> impl Future<Output = Dump> {
    let (sender, receiver) = oneshot::channel();
    context::with_named("`inspect::dump`", |core| {
        let asker = Box::new(move |dump| drop(sender.send(dump)));
        core.ask_for_dump(asker);
    });
    async move {
        let mut receiver = receiver;
        poll_fn(|cx| {
            if round::is_asking() {
                note(|| WaitsFor::other("this dump"));
                return Poll::Pending;
            }
            Pin::new(&mut receiver).poll(cx)
        })
        .await
        .expect("a loop answers all who ask")
    }
}

/// Why a task of the loop that runs on this thread doesn't go on: what it waits
/// for, whom that leads to, and what is wrong there. `None` if it has ended.
///
/// Other loops to which its waits lead are asked too, for at most [`WHY_PATIENCE`] each;
/// [the module](self) tells what it can't see.
///
/// Dropping the future is harmless.
///
/// # Panics
/// Outside of a loop, with advice.
pub async fn why(task: TaskId) -> Option<Why> {
    let (loops, mut why) = look_around(task).await;
    if loops > 1
        && let Some(why) = &mut why
    {
        // Dumps of different moments may show a cycle that never was.
        let again = look_around(task).await.1?.findings;
        why.findings.retain(|finding| again.contains(finding));
    }
    why
}

/// One look at this loop and at those to which it leads; how many these are.
async fn look_around(task: TaskId) -> (usize, Option<Why>) {
    let mut dump = dump().await;
    let mut asked = vec![context::with_named("`inspect::why`", |core| core.loop_id())];
    while let Some(id) = dump.leads_to_loop(&asked) {
        asked.push(id);
        let Some(handle) = Handle::of_loop(id) else {
            continue;
        };
        let other = crate::unblock(move || handle.dump(WHY_PATIENCE)).await;
        if let Ok(Ok(other)) = other {
            dump.add(other);
        }
    }
    (asked.len(), dump.why(task))
}

/// `future`, which is told in dumps to wait for `what` as long as it does. As
/// cancel-safe as `future`, which is dropped with it.
pub async fn told<F: Future>(future: F, what: impl Fn() -> WaitsFor) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            note(&what);
        }
        polled
    })
    .await
}

/// Tells, if a dump is being made, what the future that is being polled waits for.
/// For futures of other crates that end in none of ours: to be called where they
/// are about to give `Pending`. Otherwise it costs a load and a branch.
///
/// ```
/// use std::task::Poll;
/// use threeply_runtime::inspect::{self, WaitsFor};
///
/// let never = std::future::poll_fn(|_| {
///     inspect::note(|| WaitsFor::other("the end of time"));
///     Poll::<()>::Pending
/// });
/// let dump = threeply_runtime::block_on(async {
///     let _task = threeply_runtime::spawn(never);
///     inspect::dump().await
/// });
/// assert!(dump.to_string().contains("waits for the end of time"));
/// ```
#[inline]
pub fn note(what: impl FnOnce() -> WaitsFor) {
    round::note(|| Some(Told::Plain(what())));
}

#[cfg(test)]
mod tests;
