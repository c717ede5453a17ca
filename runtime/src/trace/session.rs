//! Recording: on and off, in this process and in its workers.
//!
//! Read before: `names`. Next: `collect`.
//!
//! One process decides (the *recorder*); worker processes *follow*: they look at
//! the state on their board when they begin a job, and record into that board.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use super::Trace;
use super::board::{AtomicWord, Board, Format};
use super::clock::{Clock, Moment, Scale};
use super::collect::{self, Origin};
use super::gate::{BUILT_IN, STATE};
use super::memory;

/// Why nothing can be recorded.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// This build has no tracing in it.
    NotBuiltIn,
    /// Somebody records already.
    AlreadyOn,
    /// This process is a worker of a pool, whose parent decides.
    Follower,
    /// The system has no room for the rings.
    Memory(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotBuiltIn => f.write_str(
                "this program was built without tracing: build it with the Cargo feature `trace` \
                 of `threeply-runtime` (or of `threeply-pools` or `threeply-demos`, which pass it \
                 on)",
            ),
            Error::AlreadyOn => f.write_str(
                "a trace is being recorded already: stop that session first, or take a snapshot \
                 of it",
            ),
            Error::Follower => f.write_str(
                "this process is a worker of a process pool, which records when its parent does: \
                 start the trace there",
            ),
            Error::Memory(source) => write!(
                f,
                "there is no address space for the trace's rings ({} MiB): {source}",
                Format::OWN.bytes() >> 20
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Memory(source) => Some(source),
            _ => None,
        }
    }
}

/// The board of this process: its own, or the one that its parent reads.
static BOARD: OnceLock<Board<'static>> = OnceLock::new();
/// Whether it is its parent's.
static FOLLOWS: OnceLock<()> = OnceLock::new();

struct Shared {
    /// Counts sessions; a state holds its low bits.
    sessions: u32,
    /// A session lives.
    busy: bool,
    /// The boards of worker processes.
    workers: Vec<Arc<Adopted>>,
}

static SHARED: Mutex<Shared> = Mutex::new(Shared {
    sessions: 0,
    busy: false,
    workers: Vec::new(),
});

/// For claims and names, which are rare.
static TURN: Mutex<()> = Mutex::new(());

fn shared() -> MutexGuard<'static, Shared> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn board() -> Option<&'static Board<'static>> {
    BOARD.get()
}

/// The board, and the right to change it.
pub(super) fn board_in_turn() -> Option<(&'static Board<'static>, MutexGuard<'static, ()>)> {
    let board = BOARD.get()?;
    Some((board, TURN.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Begins to record what all engines of this process do, and the workers of its
/// process pools.
///
/// One session at a time. Loops of other threads join at their next turn, worker
/// processes at their next job.
///
/// Each thread keeps its last [`TRACE_EVENTS`](crate::limits::TRACE_EVENTS)
/// events; older ones are overwritten, and [counted](super::Lane::lost).
///
/// # Errors
/// [`Error`] says what to do.
///
/// ```
/// use threeply_runtime::{block_on, spawn, trace};
///
/// let session = match trace::start() {
///     Ok(session) => session,
///     Err(trace::Error::NotBuiltIn) => return, // Built without the feature.
///     Err(error) => panic!("{error}"),
/// };
/// block_on(async { spawn(async { 1 }).await.unwrap() });
/// let trace = session.stop();
/// let polls = trace.events().iter().filter(|event| event.kind == trace::Kind::Poll);
/// assert!(polls.count() >= 3); // The main future twice, the task once.
/// ```
pub fn start() -> Result<Session, Error> {
    if !BUILT_IN {
        return Err(Error::NotBuiltIn);
    }
    if FOLLOWS.get().is_some() {
        return Err(Error::Follower);
    }
    let mut shared = shared();
    if shared.busy {
        return Err(Error::AlreadyOn);
    }
    let board = match BOARD.get() {
        Some(board) => board,
        None => {
            let memory = memory::map(Format::OWN.bytes()).map_err(Error::Memory)?;
            BOARD.get_or_init(|| Board::new(memory, Format::OWN))
        }
    };
    watch_forks();
    shared.busy = true;
    shared.sessions = shared.sessions.wrapping_add(1).max(1) & (u32::MAX >> 2);
    let clock = Clock::best();
    let state = shared.sessions << 2 | clock as u32;
    let began = Moment::now(clock);
    let session = Session {
        state,
        began,
        wall: SystemTime::now(),
        homeless: board.homeless().0,
    };
    STATE.store(state, Ordering::Relaxed);
    for worker in &shared.workers {
        worker.board().set_state(state);
    }
    drop(shared);
    crate::context::try_with(crate::event_loop::Core::look_at_the_trace);
    Ok(session)
}

/// A recording. Dropped, it stops, and what was recorded is lost.
#[derive(Debug)]
#[must_use = "a session that is dropped at once records nothing"]
pub struct Session {
    state: u32,
    began: Moment,
    wall: SystemTime,
    /// Events without a ring before this session.
    homeless: u64,
}

impl Session {
    /// What has been recorded so far; the recording goes on. Takes time in
    /// proportion to the number of events, some 0.2 µs each, on this thread alone.
    #[must_use]
    pub fn snapshot(&self) -> Trace {
        let clock = Clock::of_state(self.state);
        let scale = Scale::new(self.began, Moment::now(clock));
        let workers = shared().workers.clone();
        let mut origins = Vec::new();
        if let Some(board) = board() {
            origins.push(Origin {
                pid: std::process::id(),
                is_worker: false,
                board: *board,
                homeless_before: self.homeless,
            });
        }
        for worker in &workers {
            origins.push(Origin {
                pid: worker.pid,
                is_worker: true,
                board: worker.board(),
                homeless_before: 0,
            });
        }
        collect::collect(&origins, self.state, scale, (self.wall, self.began.ns))
    }

    /// Stops recording and returns what was recorded.
    #[must_use = "the trace is what a recording is for"]
    pub fn stop(self) -> Trace {
        self.end();
        self.snapshot()
    }

    fn end(&self) {
        STATE.store(0, Ordering::Relaxed);
        for worker in &shared().workers {
            worker.board().set_state(0);
        }
        crate::context::try_with(crate::event_loop::Core::look_at_the_trace);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
        let mut shared = shared();
        shared.busy = false;
        shared
            .workers
            .retain(|worker| worker.lives.load(Ordering::Relaxed));
    }
}

// ---- worker processes ----

/// Memory that holds a worker's board: [`Format::WORKER`] words, zero at first.
pub trait Area: Send + Sync {
    /// Its words.
    fn words(&self) -> &[AtomicWord];
}

/// A worker process, as its parent's traces know it.
struct Adopted {
    pid: u32,
    area: Box<dyn Area>,
    /// Cleared when its pool has let go of it; it stays until the session is over.
    lives: AtomicBool,
}

impl Adopted {
    fn board(&self) -> Board<'_> {
        Board::new(self.area.words(), Format::WORKER)
    }
}

/// While this lives, so does the worker, and is part of this process's traces; what
/// it has recorded stays part of the session that goes on.
pub struct Adoption(Arc<Adopted>);

impl fmt::Debug for Adoption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Adoption").field(&self.0.pid).finish()
    }
}

impl Drop for Adoption {
    fn drop(&mut self) {
        let mut shared = shared();
        self.0.lives.store(false, Ordering::Relaxed);
        if !shared.busy {
            shared
                .workers
                .retain(|worker| !Arc::ptr_eq(worker, &self.0));
        }
    }
}

/// Takes a worker process into this process's traces, the one that is being
/// recorded and those to come. `None` if tracing isn't built in.
pub fn adopt(pid: u32, area: impl Area + 'static) -> Option<Adoption> {
    if !BUILT_IN {
        return None;
    }
    let adopted = Arc::new(Adopted {
        pid,
        area: Box::new(area),
        lives: AtomicBool::new(true),
    });
    let mut shared = shared();
    adopted.board().set_state(STATE.load(Ordering::Relaxed));
    shared.workers.push(adopted.clone());
    Some(Adoption(adopted))
}

/// Makes this process, a worker, record into `words` when its parent says so.
pub fn follow(words: &'static [AtomicWord]) {
    if BUILT_IN && BOARD.set(Board::new(words, Format::WORKER)).is_ok() {
        let _ = FOLLOWS.set(());
        watch_forks();
    }
}

/// In a worker: looks whether the parent records, and does as it does. One load
/// and a comparison.
#[inline]
pub fn look_at_the_parent() {
    if BUILT_IN && let Some(board) = BOARD.get() {
        let state = board.state();
        if STATE.load(Ordering::Relaxed) != state {
            STATE.store(state, Ordering::Relaxed);
        }
    }
}

/// Has forks of this process turn tracing off.
fn watch_forks() {
    let _ = crate::event_loop::fork::count();
}
