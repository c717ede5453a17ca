//! The supervisor: everything but the hot path, as async code on the event loop.
//!
//! It waits at one point for all that may happen: its bell (replies that nobody
//! else reads, and requests of other threads), the end of a worker's process, and
//! the next deadline. It is woken for exceptions, not for every job.
//!
//! It is one future, hosted in one of two places: on a thread with a loop of its
//! own ([`Host`]), for programs that block, or as a task of the loop that
//! the caller runs anyway ([`on_this_loop`]), where replies reach awaiting tasks
//! without any other thread.
//!
//! Read before this: [`super::pump`] and [`super::death`]. Read after it:
//! [`super::look`], what it does each time.

use crate::process::error::Error;
use crate::process::fork_server::client;
use crate::process::limits;
use crate::process::link::Link;
use crate::process::shared::Shared;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Instant;
use threeply_runtime::io::Async;
use threeply_runtime::time::{Sleep, sleep, sleep_until};
use threeply_runtime::{Error as LoopError, EventLoop};

/// What dumps and traces call it.
const NAME: &str = "process pool's supervisor";

/// A thread of its own for the supervisor, which makes its loop and waits for the pool. One
/// that is dropped ends.
#[derive(Debug)]
pub struct Host {
    thread: JoinHandle<()>,
    ready: mpsc::Receiver<Result<(), LoopError>>,
    pool: mpsc::Sender<Arc<Shared>>,
}

impl Host {
    /// Starts the thread.
    ///
    /// # Errors
    /// If none can be had.
    pub fn new() -> io::Result<Host> {
        let (is_ready, ready) = mpsc::channel();
        let (pool, comes) = mpsc::channel();
        let thread = thread::Builder::new().name("threeply-supervisor".to_owned());
        let thread = thread.spawn(move || {
            let prepared = || {
                let event_loop = EventLoop::builder().name(NAME).build()?;
                // Descriptors may run out before it first sleeps.
                event_loop.prepare()?;
                Ok::<_, LoopError>(event_loop)
            };
            match prepared() {
                Ok(event_loop) => {
                    let _ = is_ready.send(Ok(()));
                    if let Ok(shared) = comes.recv() {
                        event_loop.block_on(supervise(shared));
                    }
                }
                Err(error) => {
                    let _ = is_ready.send(Err(error));
                }
            }
        })?;
        Ok(Host {
            thread,
            ready,
            pool,
        })
    }

    /// Has it look after this pool.
    ///
    /// # Errors
    /// If its loop couldn't be made.
    pub fn supervise(self, shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
        match self.ready.recv() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(io::Error::other(error)),
            Err(gone) => return Err(io::Error::other(gone)),
        }
        let sent = self.pool.send(Arc::clone(shared));
        sent.map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(self.thread)
    }
}

/// Makes what the event loop that runs on this thread needs to sleep.
///
/// # Errors
/// [`Error::NoLoop`], [`Error::Resources`]
pub fn prepare_this_loop() -> Result<(), Error> {
    let what = "the event loop of this thread can't be made ready to sleep";
    threeply_runtime::context::prepare().map_err(|error| match error {
        LoopError::NoLoop => Error::NoLoop(error),
        other => Error::Resources {
            what,
            source: io::Error::other(other),
        },
    })
}

/// Hosts the supervisor on the event loop that runs on this thread.
///
/// # Errors
/// If none does.
pub fn on_this_loop(shared: &Arc<Shared>) -> Result<(), LoopError> {
    threeply_runtime::context::check()?;
    let supervisor = threeply_runtime::task::Builder::new().name(NAME);
    drop(supervisor.spawn(supervise(Arc::clone(shared))));
    Ok(())
}

/// A loop that ends takes its tasks with it: then nobody looks after the pool any
/// more, and it is closed at once.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.end_at_once();
    }
}

/// The bell, as a descriptor to be awaited.
struct Bell(Arc<Shared>);

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.supervisor_bell.as_fd()
    }
}

/// A worker's process, as a descriptor to be awaited.
struct Process(Arc<Link>);

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.pidfd()
    }
}

/// The fork server's process, as a descriptor to be awaited.
struct Zygote(Arc<client::Zygote>);

impl AsFd for Zygote {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Supervises until the pool is closed and all its workers are gone.
async fn supervise(shared: Arc<Shared>) {
    let shared = Guard(shared);
    let shared = &shared.0;
    let Ok(bell) = Async::new(Bell(Arc::clone(shared))) else {
        return;
    };
    shared.oom.note();
    let mut watched = Watched {
        bell,
        processes: Vec::new(),
        zygote: None,
    };
    while let Some(planned) = shared.look_around(Instant::now()) {
        let (links, staff) = shared.links_and_changes();
        let all = watched.update(links);
        let zygote = shared.watch_zygote(&mut watched.zygote);
        let deadline = match zygote && shared.outputs.are_read() {
            true => planned,
            false => planned.min(Instant::now() + limits::START_RETRY),
        };
        let deadline = match shared.refill_fork_server() {
            true => deadline,
            false => deadline.min(Instant::now() + limits::TICK),
        };
        let is_calm = || all && shared.lock().is_calm(planned, staff);
        watched.read_replies(shared, deadline, is_calm).await;
        // Asked for anew: the bell may have been rung by a worker that was started
        // while we slept.
        for link in &shared.links() {
            shared.pump_if_free(link);
            if link.has_ended() {
                shared.worker_may_have_ended(link);
            }
        }
    }
    // If it came to its end before it came to this.
    shared.watch_zygote(&mut watched.zygote);
    shared.refill_fork_server();
}

/// All that the supervisor waits for, but time.
struct Watched {
    bell: Async<Bell>,
    processes: Vec<Async<Process>>,
    zygote: Option<Async<Zygote>>,
}

impl Watched {
    /// Watches these workers from now on. Returns whether all of them can be watched.
    fn update(&mut self, links: Vec<Arc<Link>>) -> bool {
        let wanted = links.len();
        self.processes.retain(|process| {
            let link = &process.get_ref().0;
            links.iter().any(|other| Arc::ptr_eq(other, link))
        });
        for link in links {
            let is_watched = |process: &Async<Process>| Arc::ptr_eq(&process.get_ref().0, &link);
            if !self.processes.iter().any(is_watched)
                && let Ok(process) = Async::new(Process(link))
            {
                self.processes.push(process);
            }
        }
        self.processes.len() == wanted
    }

    /// Reads replies whenever the bell rings, until there may be anything else to do.
    ///
    /// This is on the way of every job that a task awaits, and looking around is much
    /// more than reading a reply: half a microsecond for a pool of one worker, with the
    /// timers that each look makes anew. Nothing is missed: whoever changes what a look
    /// would find does so under the pool's lock and rings after that, so after each ring
    /// we see what was changed before it (`tests/loom/process/due.rs`).
    async fn read_replies(&self, shared: &Shared, deadline: Instant, is_calm: impl Fn() -> bool) {
        let mut timer = pin!(sleep_until(deadline));
        loop {
            if self.something_happens(timer.as_mut()).await != Woken::ByTheBell {
                return;
            }
            let mut ended = false;
            for process in &self.processes {
                let link = &process.get_ref().0;
                shared.pump_if_free(link);
                ended |= link.has_ended();
            }
            if ended || !is_calm() {
                return;
            }
        }
    }

    /// The single wait point: the bell, the end of a process, or the deadline.
    async fn something_happens(&self, mut timer: Pin<&mut Sleep>) -> Woken {
        let mut retry = pin!(None);
        poll_fn(|context| {
            // All are asked each time, so that each knows whom to wake.
            let mut heard = Heard::default();
            for process in &self.processes {
                heard.note(has_ended(process, context));
            }
            if let Some(zygote) = &self.zygote {
                heard.note(zygote_has_ended(zygote, context));
            }
            let otherwise = heard.something;
            heard.note(is_rung(&self.bell, context));
            let late = timer.as_mut().poll(context).is_ready();
            if heard.failed && retry.is_none() {
                retry.set(Some(sleep(limits::START_RETRY)));
            }
            let retries = retry.as_mut().as_pin_mut();
            let retries = heard.failed && retries.is_some_and(|r| r.poll(context).is_ready());
            if late || retries || otherwise {
                Poll::Ready(Woken::Otherwise)
            } else if heard.something {
                Poll::Ready(Woken::ByTheBell)
            } else {
                Poll::Pending
            }
        })
        .await
    }
}

/// What has ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    /// The bell, and nothing else.
    ByTheBell,
    /// The end of a process, the deadline, or a descriptor that can't be watched now.
    Otherwise,
}

/// What those who were asked said.
#[derive(Default)]
struct Heard {
    something: bool,
    /// One of them can't be watched now, so it is asked again after a while: at once, the
    /// supervisor would do nothing else.
    failed: bool,
}

impl Heard {
    fn note(&mut self, said: Poll<io::Result<()>>) {
        match said {
            Poll::Ready(Ok(())) => self.something = true,
            Poll::Ready(Err(_)) => self.failed = true,
            Poll::Pending => {}
        }
    }
}

/// The bell isn't read: each ring is an edge, which is all that we wait for, and a read
/// would wake us once more (the counter can be written to again, says the kernel). So
/// nobody empties it but a ringer who finds it full.
fn is_rung(bell: &Async<Bell>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    let mut rung = false;
    let waits = bell.poll_read_with(context, |_| {
        rung = true;
        Err(io::ErrorKind::WouldBlock.into())
    });
    if rung { Poll::Ready(Ok(())) } else { waits }
}

fn has_ended(process: &Async<Process>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    process.poll_read_with(context, |process| {
        if process.0.look_at_process() {
            Ok(())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    })
}

fn zygote_has_ended(zygote: &Async<Zygote>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
    zygote.poll_read_with(context, |zygote| match zygote.0.has_ended() {
        true => Ok(()),
        false => Err(io::ErrorKind::WouldBlock.into()),
    })
}

impl Shared {
    /// Buries the fork server's process if it has ended, and sees to it that the one
    /// that there is now is awaited. `false` if that can't be told now, because somebody
    /// is asking it for a worker.
    fn watch_zygote(&self, watched: &mut Option<Async<Zygote>>) -> bool {
        let Some(server) = &self.options.fork_server else {
            return true;
        };
        let Some(zygote) = server.look_at_zygote() else {
            *watched = None;
            return false;
        };
        let same = match (&*watched, &zygote) {
            (Some(watched), Some(zygote)) => Arc::ptr_eq(&watched.get_ref().0, zygote),
            (watched, zygote) => watched.is_none() && zygote.is_none(),
        };
        if !same {
            *watched = zygote.and_then(|zygote| Async::new(Zygote(zygote)).ok());
        }
        true
    }

    /// Has the fork server fork the next spare, off the way of the start that has used the
    /// last. `false` if it is too early for that: a worker of ours still comes up.
    fn refill_fork_server(&self) -> bool {
        let Some(server) = &self.options.fork_server else {
            return true;
        };
        let comes_up = self.lock().has_starting();
        if !comes_up {
            server.refill();
        }
        !comes_up
    }

    /// The links of all workers that there are.
    pub fn links(&self) -> Vec<Arc<Link>> {
        self.links_and_changes().0
    }

    /// The links of all workers that there are, and how often that has changed by then.
    fn links_and_changes(&self) -> (Vec<Arc<Link>>, u64) {
        let state = self.lock();
        let workers = state.workers.iter().flatten();
        let links = workers.map(|worker| Arc::clone(&worker.link)).collect();
        (links, state.changes_of_staff())
    }

    /// Asks for the supervisor's bell on behalf of a job whose caller doesn't read the
    /// reply itself; takes the reply if it is there.
    pub fn watch(&self, link: &Arc<Link>) {
        let ask = || {
            let mut state = self.lock();
            if let Some(seq) = state.wake_from(link) {
                link.words().wake_supervisor.ask(seq);
            }
        };
        // It may be there already. If somebody else reads, they look once more.
        if let Some(mut reader) = link.reader.watch(ask, || link.has_replies()) {
            self.pump(link, &mut reader);
            self.leave(link, reader);
        }
    }
}
