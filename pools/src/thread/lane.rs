//! A lane: one thread's place in a pool, for as long as it works there.
//!
//! Workers hold a lane for life; a thread that calls `join`, `scope`, `run` or a
//! parallel iterator from outside takes part through a lane it borrows for the
//! call. [`Lane`] is the owner's half; [`LaneShared`] is what others see of it.
//! Read `registry.rs` next, which holds all lanes of a pool.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::limits;
use crate::switch::atomic::{AtomicU8, AtomicUsize, Ordering};
use crate::switch::{Mutex, Owner, Thief};
use crate::thread::activity::Activity;
use crate::thread::fork::ForkRef;
use crate::thread::fork_stack::ForkStack;
use crate::thread::job::JobRef;
use crate::thread::parker::Parker;
use crate::thread::pile::{Pile, PileThief, steal_by};
use threeply_runtime::trace::{Kind, emit};

/// A cache line (two, as the prefetcher fetches pairs) of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);

/// What every thread of the pool may touch of a lane.
#[derive(Debug)]
pub struct LaneShared {
    /// Its number in the pool.
    pub index: usize,
    /// Does a thief ask for a fork?
    demand: Padded<Demand>,
    /// The promoted forks.
    pub forks: Thief<ForkRef>,
    /// The jobs pushed here.
    pub jobs: PileThief<JobRef>,
    /// The tag of the youngest scope job pushed here: where to look for jobs of
    /// a scope. A hint: a wrong one costs a steal.
    pub tag_hint: AtomicUsize,
    /// Where the lane's thread sleeps.
    pub parker: Arc<Parker>,
    /// Forks of this lane that a thief took but may not run (see
    /// `leapfrog::hand_back`). Their owner or an idle worker takes them.
    pub returned: Mailbox<ForkRef>,
    /// Jobs that only this lane's thread may run (`broadcast`).
    pub inbox: Mailbox<JobRef>,
    /// What the thread is at, for dumps.
    pub activity: Activity,
}

impl LaneShared {
    /// Is there anything here that an idle worker could take?
    pub fn has_work(&self) -> bool {
        !self.forks.is_empty() || !self.jobs.is_empty() || !self.returned.is_empty()
    }

    /// Takes the oldest fork that is offered here, for lane `thief`; or, if wanted,
    /// one that was handed back.
    pub fn steal_fork(&self, thief: usize, or_returned: bool) -> Option<ForkRef> {
        let mut fork = steal_by(|| self.forks.steal());
        if fork.is_none() && or_returned {
            fork = self.returned.take(|_| true);
        }
        if let Some(fork) = fork {
            let lanes = (thief as u64) << 32 | self.index as u64;
            emit(Kind::ForkSteal, line!(), fork.address(), lanes);
        }
        fork
    }

    /// Takes the oldest job here, for lane `thief`.
    pub fn steal_job(&self, thief: usize) -> Option<JobRef> {
        let job = self.jobs.steal()?;
        self.tell_of_steal(&job, thief);
        Some(job)
    }

    fn tell_of_steal(&self, job: &JobRef, thief: usize) {
        let lanes = (thief as u64) << 32 | self.index as u64;
        emit(Kind::JobSteal, line!(), job.address(), lanes);
    }

    /// Asks the owner for a fork.
    pub fn demand_fork(&self) {
        self.demand.0.ask();
    }
}

/// Nobody asks.
const QUIET: u8 = 0;
/// A thief asks.
const ASKED: u8 = 1;
/// The owner is at something too small to share, and answers nobody.
const DEAF: u8 = 2;

/// Whether a thief asks the owner of a lane for a fork.
///
/// ```text
///             ask (a thief)            promotes
///   QUIET ------------------> ASKED ------------> QUIET
///     \--- turn_deaf (the owner) ---> DEAF -- listen, or the next root --> QUIET
/// ```
/// Relaxed throughout, for it is a hint and carries no data: a question that is
/// overwritten is asked again in the thief's next round.
#[derive(Debug)]
struct Demand(AtomicU8);

impl Demand {
    fn ask(&self) {
        if self.0.load(Ordering::Relaxed) == QUIET {
            self.0.store(ASKED, Ordering::Relaxed);
        }
    }
}

impl Default for Demand {
    fn default() -> Self {
        Self(AtomicU8::new(QUIET))
    }
}

/// A small queue under a lock, whose emptiness can be seen without it.
#[derive(Debug)]
pub struct Mailbox<T> {
    len: AtomicUsize,
    queue: Mutex<VecDeque<T>>,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self {
            len: AtomicUsize::new(0),
            queue: Mutex::new(VecDeque::new()),
        }
    }
}

impl<T> Mailbox<T> {
    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        // Relaxed: a look before sleeping comes after the fence of `Sleep`, and
        // `push` before the one of the notification.
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Adds at the end.
    pub fn push(&self, value: T) {
        let mut queue = self.queue.lock().unwrap();
        queue.push_back(value);
        self.len.store(queue.len(), Ordering::Relaxed);
    }

    /// Is there one that `wanted` accepts?
    pub fn contains(&self, wanted: impl Fn(&T) -> bool) -> bool {
        !self.is_empty() && self.queue.lock().unwrap().iter().any(wanted)
    }

    /// Takes the first that `wanted` accepts.
    pub fn take(&self, wanted: impl Fn(&T) -> bool) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut queue = self.queue.lock().unwrap();
        let at = queue.iter().position(wanted)?;
        let value = queue.remove(at);
        self.len.store(queue.len(), Ordering::Relaxed);
        value
    }
}

/// What searching has cost a lane's threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct SearchSteps {
    /// Looks round the pool, for forks, for jobs or to ask for forks.
    pub rounds: u64,
    /// Lanes that these touched.
    pub lanes: u64,
}

/// The owner's half of a lane: only its thread touches it.
#[derive(Debug)]
pub struct Lane {
    /// What others see.
    pub shared: Arc<LaneShared>,
    /// The forks.
    pub forks: ForkStack<ForkRef>,
    jobs: Pile<JobRef>,
    tag_hint: Cell<usize>,
    /// The address of the job with a handle that the thread is at, the innermost, or 0:
    /// for dumps of what such a job blocks on.
    pub job: Cell<usize>,
    /// Has the lane been marked since it was last found empty? (See `lanes.rs`.)
    pub marked: Cell<bool>,
    /// Recorded joins around the current code, in first or second half, since its
    /// job, stolen fork or outermost call began. A hint: a panic leaves it too high
    /// until the join around it ends.
    level: Cell<u32>,
    /// With so many forks unpromoted `join` records none; by `level`.
    enough: Cell<u32>,
    /// Where the next round of stealing begins.
    pub next_victim: Cell<usize>,
    /// Where the next round of asking for forks begins.
    pub next_asked: Cell<usize>,
    /// What tests bound.
    pub search_steps: Cell<SearchSteps>,
    /// Is this a worker's lane (else a guest's)?
    pub is_worker: bool,
    /// How many sleepers' wake-ups were put off because the root is taken for
    /// small; counts down to the next look at the clock. 0: nothing is put off.
    pub recheck_in: Cell<u32>,
    /// From how many that last counted down.
    pub recheck_step: Cell<u32>,
    /// When the root began, if wake-ups are put off.
    pub root_began: Cell<Option<Instant>>,
    /// Jobs run since the injector last went first.
    pub ticks: Cell<u32>,
}

impl Lane {
    /// A new lane of number `index`.
    pub fn new(index: usize, is_worker: bool) -> Self {
        let forks = Owner::new_lifo();
        let (jobs, others_jobs) = Pile::new(limits::JOBS_A_DEQUE, limits::JOBS_A_ROOM);
        let shared = Arc::new(LaneShared {
            index,
            demand: Padded::default(),
            forks: forks.stealer(),
            jobs: others_jobs,
            tag_hint: AtomicUsize::new(0),
            parker: Arc::new(Parker::new()),
            returned: Mailbox::default(),
            inbox: Mailbox::default(),
            activity: Activity::default(),
        });
        Self {
            shared,
            forks: ForkStack::new(forks),
            jobs,
            tag_hint: Cell::new(0),
            job: Cell::new(0),
            marked: Cell::new(false),
            level: Cell::new(0),
            enough: Cell::new(limits::UNPROMOTED_FORKS as u32),
            next_victim: Cell::new(index + 1),
            next_asked: Cell::new(index + 1),
            search_steps: Cell::default(),
            is_worker,
            recheck_in: Cell::new(0),
            recheck_step: Cell::new(0),
            root_began: Cell::new(None),
            ticks: Cell::new(0),
        }
    }

    /// Its number in the pool.
    pub fn index(&self) -> usize {
        self.shared.index
    }

    /// Does a thief ask for a fork?
    #[inline(always)]
    pub fn is_demanded(&self) -> bool {
        self.shared.demand.0.0.load(Ordering::Relaxed) == ASKED
    }

    /// Answers, or has answered, whoever asked; and hears who asks next.
    #[inline]
    pub fn listen(&self) {
        self.shared.demand.0.0.store(QUIET, Ordering::Relaxed);
    }

    /// Asks for a fork of this lane on behalf of somebody who is hungry.
    #[inline]
    pub fn ask_oneself(&self) {
        self.shared.demand.0.0.store(ASKED, Ordering::Relaxed);
    }

    /// Lets thieves ask in vain, until it listens again.
    #[inline]
    pub fn turn_deaf(&self) {
        self.shared.demand.0.0.store(DEAF, Ordering::Relaxed);
    }

    /// May `join` go on without recording its fork?
    #[inline(always)]
    pub fn takes_no_fork(&self) -> bool {
        self.forks.unpromoted() >= self.enough.get() && !self.is_demanded()
    }

    /// Recorded joins around the current code.
    #[inline]
    pub fn level(&self) -> u32 {
        self.level.get()
    }

    /// Enters or leaves a recorded join, or begins anew at level 0.
    #[inline]
    pub fn set_level(&self, level: u32) {
        self.level.set(level);
        self.enough.set(if level < limits::RECORDED_LEVELS {
            limits::UNPROMOTED_FORKS as u32
        } else {
            1
        });
    }

    /// Adds a job, tagged with its scope or 0.
    #[inline(always)] // see `Seat::push_job`
    pub fn push_job(&self, job: JobRef, tag: usize) {
        emit(Kind::JobPush, line!(), job.address(), self.index() as u64);
        if tag != 0 && self.tag_hint.get() != tag {
            self.tag_hint.set(tag);
            self.shared.tag_hint.store(tag, Ordering::Relaxed);
        }
        self.jobs.push(job);
    }

    /// Takes the youngest job.
    #[inline]
    pub fn pop_job(&self) -> Option<JobRef> {
        self.jobs.pop()
    }

    /// Are there jobs in it?
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// A mark of what lies in the deque of jobs now.
    pub fn job_mark(&self) -> isize {
        self.jobs.height()
    }

    /// Takes the youngest job that was pushed after `mark`.
    ///
    /// Thieves take the oldest, so while anything younger than the mark is left,
    /// the youngest is younger than the mark.
    pub fn pop_job_above(&self, mark: isize) -> Option<JobRef> {
        if self.jobs.height().wrapping_sub(mark) <= 0 {
            return None;
        }
        self.pop_job()
    }

    /// When the memory of jobs that had piled up here should be given back, if there is
    /// any.
    pub fn spares_due(&self) -> Option<Instant> {
        self.jobs.spares_due()
    }

    /// Gives that memory back.
    pub fn free_spares(&self) {
        self.jobs.free_spares();
    }

    /// Steals a batch from another lane's jobs into this one, and one to run.
    pub fn steal_jobs_from(&self, victim: &LaneShared) -> Option<JobRef> {
        let job = victim.jobs.steal_batch_and_pop(&self.jobs)?;
        victim.tell_of_steal(&job, self.index());
        Some(job)
    }

    /// Takes one from the injector, and a batch into this lane.
    pub fn steal_injected(&self, injector: &crate::switch::Injector<JobRef>) -> Option<JobRef> {
        let job = self.jobs.take_batch_of(injector)?;
        emit(Kind::JobTake, line!(), job.address(), self.index() as u64);
        Some(job)
    }

    /// Shall the injector go before the lane's own jobs this time?
    pub fn injector_first(&self) -> bool {
        let ticks = self.ticks.get().wrapping_add(1);
        self.ticks.set(ticks);
        ticks.is_multiple_of(limits::INJECTOR_EVERY)
    }
}
