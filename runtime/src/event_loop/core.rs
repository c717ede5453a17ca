//! What a loop consists of, and what tasks and futures can ask of it.
//!
//! *Read after* [`crate::task`]; *next* [`super::turn`], the loop itself.
//!
//! Everything here belongs to one thread. Fields are borrowed for a moment at a
//! time, and never while foreign code (a future, a destructor, a foreign waker)
//! runs: such code comes back here by any door.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::RawFd;
use std::panic::Location;
use std::rc::Rc;
use std::task::Waker;
use std::time::Duration;

use super::builder::Options;
use super::handle::{Call, Handle};
use super::sleeper::Sleeper;
use super::stats::Counters;
use crate::error::Error;
use crate::inspect::round::Inspector;
use crate::reactor::{Direction, Reactor};
use crate::remote::bitmap::PAGE_TASKS;
use crate::remote::table::{self, LoopRemote};
use crate::task::blocks::Blocks;
use crate::task::cell::{Birth, Extra, TaskRef, TypedTask};
use crate::task::erased;
use crate::task::id::{TaskIds, WakeId};
use crate::task::join::JoinHandle;
use crate::task::slab::{MAILBOX, SchedulerCell};
use crate::task::waker::wake_id;
use crate::time::Timers;
use crate::time::clock::Clock;
use crate::trace::{self, Kind};

/// Where a loop is in its life: Open → (Draining →) Closing → Closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Tasks are welcome.
    Open,
    /// `shutdown` waits for the last task to end.
    Draining,
    /// The loop is being dropped; tasks that destructors spawn are dropped too.
    Closing,
    /// Nothing can be spawned any more.
    Closed,
}

/// No task is current. (Its place is the mailbox's, where no task ever is.)
pub(super) const NOBODY: WakeId = WakeId(0);

/// A loop, as code that runs on it sees it. Reached by [`crate::context::with`].
pub struct Core {
    // What a wake and a poll touch.
    pub(super) scheduler: SchedulerCell,
    /// The task that runs, or NOBODY.
    pub(super) current: Cell<WakeId>,
    /// Operations that the running task may still finish in this poll.
    budget: Cell<u32>,
    /// What a poll begins with: nothing, while a dump is made.
    pub(crate) poll_budget: Cell<u32>,
    pub(super) counters: Counters,
    pub(super) options: Options,
    /// Whether each poll is told to whoever looks on.
    pub(super) publishes: bool,
    /// The state of the generator of [`random`](Core::random).
    random: Cell<u64>,

    // What a spawn touches.
    /// Whether a task of this loop has ever had task-locals, so that one may inherit them.
    pub(crate) knows_locals: Cell<bool>,
    blocks: Blocks,
    ids: TaskIds,
    /// Places for which the remote side has room.
    remote_room: Cell<usize>,
    pub(super) phase: Cell<Phase>,
    /// Whom the end of a task interests while Draining.
    pub(super) draining: Cell<Option<Waker>>,

    // What the turn looks at besides.
    loop_id: u16,
    pub(super) remote: &'static LoopRemote,
    pub(super) epoch: u64,
    pub(super) mail: RefCell<VecDeque<Call>>,
    timers: OnceCell<Rc<Timers>>,
    reactor: OnceCell<Rc<Reactor>>,
    pub(super) sleeper: RefCell<Sleeper>,
    /// Wakers of timers that fire; kept for its memory.
    pub(super) fired: Cell<Vec<Waker>>,
    pub(crate) turn_budget: Cell<u32>,
    /// Whether other threads have woken tasks since the loop last went to sleep.
    pub(super) collected: Cell<bool>,
    /// Whether polls are timed, published or traced: as of the beginning of the turn.
    pub(super) watched: Cell<bool>,
    /// Whether there is more to a poll than the poll: it is watched, chance rules, or
    /// tasks are many. As of the beginning of the turn, or of a trace.
    pub(super) careful: Cell<bool>,
    /// Whether its scheduler tells of wakes: as `watched`.
    is_traced: Cell<bool>,
    /// The main future's number while it was told that it is polled, else 0.
    pub(super) main_polled: Cell<u64>,
    forks: u32,
    inspector: Inspector,
}

impl Core {
    pub(super) fn new(options: Options) -> Result<Rc<Core>, Error> {
        let remote = table::acquire()?;
        let publishes = options.publish || options.watchdog.is_some() || options.dump_on.is_some();
        Ok(Rc::new(Core {
            scheduler: SchedulerCell::new(remote.id()),
            current: Cell::new(NOBODY),
            budget: Cell::new(options.poll_budget),
            poll_budget: Cell::new(options.poll_budget),
            counters: Counters::default(),
            publishes,
            random: Cell::new(options.seed.unwrap_or(u64::from(remote.id()))),
            knows_locals: Cell::new(false),
            blocks: Blocks::new(),
            ids: TaskIds::default(),
            remote_room: Cell::new(PAGE_TASKS),
            phase: Cell::new(Phase::Open),
            draining: Cell::default(),
            loop_id: remote.id(),
            remote,
            epoch: remote.open(),
            mail: RefCell::default(),
            timers: OnceCell::new(),
            reactor: OnceCell::new(),
            sleeper: RefCell::default(),
            fired: Cell::default(),
            turn_budget: Cell::new(options.turn_budget),
            collected: Cell::new(false),
            watched: Cell::new(options.time_polls || publishes),
            careful: Cell::new(false),
            is_traced: Cell::new(false),
            main_polled: Cell::new(0),
            forks: super::fork::count(),
            inspector: Inspector::default(),
            options,
        }))
    }

    // ---- for time, I/O and synchronization ----

    /// The loop's clock and timers.
    #[inline]
    pub fn timers(&self) -> &Rc<Timers> {
        self.timers.get_or_init(|| {
            Timers::new(if self.options.virtual_time {
                Clock::virtual_time()
            } else {
                Clock::real()
            })
        })
    }

    pub(super) fn timers_if_used(&self) -> Option<&Rc<Timers>> {
        self.timers.get()
    }

    /// Nanoseconds since the loop's clock was first used, by that clock.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.timers().now_ns()
    }

    /// The loop's table of watched descriptors.
    #[inline]
    pub fn reactor(&self) -> &Rc<Reactor> {
        self.reactor.get_or_init(Reactor::new)
    }

    pub(super) fn reactor_if_used(&self) -> Option<&Rc<Reactor>> {
        self.reactor.get()
    }

    /// Takes one operation from the running task's budget for this poll; `false`
    /// if none is left, and the task should make way for others.
    #[inline]
    pub fn spend_budget(&self) -> bool {
        match self.budget.get().checked_sub(1) {
            Some(left) => {
                self.budget.set(left);
                true
            }
            None => false,
        }
    }

    /// Whether the running task has any budget left for this poll.
    #[inline]
    pub(crate) fn has_budget(&self) -> bool {
        self.budget.get() != 0
    }

    pub(super) fn refill_budget(&self) {
        self.budget.set(self.poll_budget.get());
    }

    /// A number that looks random: from the loop's seed, the same in every run
    /// with that seed, so that whatever draws from here can be replayed.
    pub fn random(&self) -> u64 {
        // SplitMix64: a counter, scrambled. Small, and good enough to schedule by.
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A handle of this loop for other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(self.remote, self.epoch)
    }

    // ---- tasks ----

    #[inline]
    pub(crate) fn loop_id(&self) -> u16 {
        self.loop_id
    }

    /// The task that runs.
    pub(crate) fn current_task(&self) -> Option<TaskRef> {
        let current = self.current.get().slot();
        self.scheduler.borrow().get(current).cloned()
    }

    // ---- for the dump; none of the closures runs foreign code ----

    #[inline]
    pub(crate) fn inspector(&self) -> &Inspector {
        &self.inspector
    }

    /// The word in the waker of the task that runs, or 0.
    #[inline]
    pub(crate) fn current_word(&self) -> usize {
        self.current.get().0 as usize
    }

    pub(crate) fn each_task(&self, mut f: impl FnMut(&TaskRef, bool)) {
        let scheduler = self.scheduler.borrow();
        scheduler
            .tasks()
            .for_each(|(_, task, is_queued)| f(task, is_queued));
    }

    pub(crate) fn each_timer(&self, mut f: impl FnMut(Duration, &Waker)) {
        if let Some(timers) = self.timers_if_used() {
            let now = timers.now_ns();
            for (deadline, waker) in timers.driver().borrow().iter() {
                f(Duration::from_nanos(deadline.saturating_sub(now)), waker);
            }
        }
    }

    pub(crate) fn each_descriptor(&self, f: impl FnMut(RawFd, Direction, &Waker)) {
        if let Some(reactor) = self.reactor_if_used() {
            reactor.each_waiter(f);
        }
    }

    #[inline]
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// A wake on the loop's own thread.
    #[inline(always)]
    pub(crate) fn wake_local(&self, id: WakeId) {
        self.scheduler.wake(id);
    }

    #[inline]
    pub(crate) fn spawn<F>(
        &self,
        future: F,
        extra: Option<Box<Extra>>,
        site: &'static Location<'static>,
    ) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
    {
        JoinHandle::new(self.add(future, extra, site, true))
    }

    /// A new task, which is ready.
    #[inline]
    pub(super) fn add<F>(
        &self,
        future: F,
        mut extra: Option<Box<Extra>>,
        site: &'static Location<'static>,
        joinable: bool,
    ) -> TypedTask<F::Output>
    where
        F: Future + 'static,
    {
        assert!(
            self.phase.get() != Phase::Closed,
            "a task was spawned on an event loop that has ended: destructors that run then must \
             not spawn, or the loop must be kept running until they have run"
        );
        let task = self.scheduler.add(|wake_id, scheduler| {
            let parent = || scheduler.get(self.current.get().slot());
            if self.knows_locals.get()
                && let Some(locals) = parent().and_then(TaskRef::locals)
            {
                extra.get_or_insert_default().locals = Some(locals);
            }
            if wake_id.slot() as usize >= self.remote_room.get() {
                self.add_remote_room();
            }
            let birth = Birth {
                id: self.ids.next(),
                wake_id,
                site,
                joinable,
                extra,
            };
            erased::make(&self.blocks, birth, future)
        });
        if trace::is_on() {
            tell_of_spawn(task.task());
        }
        task
    }

    /// Learns whether a trace is being recorded: once a turn, so that polls needn't
    /// ask.
    #[inline]
    pub(crate) fn look_at_the_trace(&self) {
        if trace::is_on() || self.is_traced.get() {
            self.look_closer_at_the_trace();
        }
    }

    #[cold]
    #[inline(never)]
    fn look_closer_at_the_trace(&self) {
        let is_on = trace::is_on();
        self.is_traced.set(is_on);
        self.scheduler.borrow_mut().traced = is_on;
        self.watched
            .set(self.options.time_polls || self.publishes || is_on);
        self.careful.set(self.careful.get() || self.watched.get());
        trace::let_time_pass();
    }

    #[cold]
    fn add_remote_room(&self) {
        let room = self.remote_room.get() * 2;
        self.remote.grow(room);
        self.remote_room.set(room);
    }

    /// Makes sure that the next turn doesn't sleep, and looks at the dumps.
    pub(crate) fn notice_self(&self) {
        self.remote.wake(MAILBOX);
    }

    /// Has this task, which is parked, polled before all others.
    pub(crate) fn wake_in_front(&self, task: WakeId) {
        let mut scheduler = self.scheduler.borrow_mut();
        scheduler.wake(task);
        let last = scheduler.queue.len() - 1;
        scheduler.queue.bring_to_front(last);
    }

    /// Whether this very task is in this place.
    pub(crate) fn place_holds(&self, place: u32, task: &TaskRef) -> bool {
        let scheduler = self.scheduler.borrow();
        scheduler
            .get(place)
            .is_some_and(|there| there.is_same(task))
    }

    pub(crate) fn loop_name(&self) -> Option<Cow<'static, str>> {
        self.options.name.clone()
    }

    /// Takes the task in this place, which has ended, from the slab and tells its joiner.
    #[inline(never)]
    pub(crate) fn end(&self, place: u32) {
        if let Some(gone) = self.scheduler.remove(place) {
            gone.settle(|joiner| self.wake_from_here(joiner));
        }
        if self.phase.get() == Phase::Draining {
            self.tell_shutdown();
        }
    }

    /// As [`wake_id`], by code that knows on which loop's thread it is.
    #[inline(always)]
    fn wake_from_here(&self, id: WakeId) {
        if id.loop_id() == self.loop_id {
            self.wake_local(id);
        } else {
            wake_id(id);
        }
    }

    #[cold]
    fn tell_shutdown(&self) {
        if let Some(waker) = self.draining.take() {
            waker.wake();
        }
    }

    /// Panics if this process is a fork of the one that made the loop.
    pub(super) fn refuse_fork(&self) {
        if self.is_forked() {
            panic!("{}", Error::Forked);
        }
    }

    pub(super) fn is_forked(&self) -> bool {
        self.forks != super::fork::count()
    }
}

#[cold]
fn tell_of_spawn(task: &TaskRef) {
    let (id, site) = (task.id().get(), trace::names::site(task.site()));
    trace::emit(Kind::Spawn, line!(), id, site);
    if let Some(name) = task.name() {
        trace::names::name_task(id, &name);
    }
}
