//! The registry: what all threads of one pool share.
//!
//! Lanes, injector, sleep, gate. Before this: `lanes.rs`, `sleep.rs`. After it:
//! `worker.rs`, the loop that a worker runs, and `scope.rs`.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::panic::Location;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, JobError};
use crate::limits;
use crate::switch::atomic::{AtomicU8, AtomicUsize, Ordering, fence};
use crate::switch::{Injector, Mutex, Steal, Weakening, weakened};
use crate::thread::activity::published;
use crate::thread::fork::ForkRef;
use crate::thread::handle::JobHandle;
use crate::thread::job::{JobRef, SpawnedRef, detached, spawned_static};
use crate::thread::lane::{Lane, LaneShared, steal_one};
use crate::thread::lanes::Lanes;
use crate::thread::sites::{self, Site};
use crate::thread::sleep::{Provide, Sleep, Work};
use crate::thread::watchdog::{self, OnStall};
use crate::thread::{context, cpus, fork, forked, worker};
use threeply_runtime::trace::{Kind, emit};

/// What the builder decided.
pub struct Config {
    /// Permits: threads that run at the same time.
    pub threads: usize,
    /// Threads beyond that, lent while others block.
    pub max_spares: usize,
    /// The pool's name, and the prefix of its threads' names.
    pub name: String,
    /// A thread's name, by index; else `name-index`.
    pub thread_name: Option<Box<dyn Fn(usize) -> String + Send + Sync>>,
    /// Stack size of the threads, in bytes; std's default if `None`.
    pub stack_size: Option<usize>,
    /// Called on each thread when it starts.
    pub on_start: Option<Box<dyn Fn(usize) + Send + Sync>>,
    /// Called on each thread when it ends.
    pub on_exit: Option<Box<dyn Fn(usize) + Send + Sync>>,
    /// Called with the panic of a job whose handle was dropped.
    pub on_panic: Option<Box<dyn Fn(JobError) + Send + Sync>>,
    /// Ends a thread that was idle for so long; it is started again when needed.
    pub idle_exit: Option<Duration>,
    /// Pins worker `i` to the `i`-th processor this process may use.
    pub pin: bool,
    /// Workers publish what they run.
    pub publish_running: bool,
    /// After how long a stall of all workers is reported.
    pub watchdog: Option<Duration>,
    /// To whom; stderr if `None`.
    pub on_stall: Option<Box<OnStall>>,
}

impl Config {
    /// The name of the thread of lane `index`.
    pub fn name_of(&self, index: usize) -> String {
        match &self.thread_name {
            Some(name) => name(index),
            None => format!("{}-{index}", self.name),
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("threads", &self.threads)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Takes work.
const OPEN: u8 = 0;
/// Runs what there is, takes nothing more from outside.
const DRAINING: u8 = 1;
/// Discards what hasn't begun.
const CANCELLING: u8 = 2;
/// Threads end as soon as they find nothing.
const ENDED: u8 = 3;

/// Whether work may come in: `OPEN → DRAINING → (CANCELLING →) ENDED`, by
/// `Registry::close`, `cancel_queued` and `end_if_done`.
#[derive(Debug)]
pub struct Gate(AtomicU8);

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// Open.
    pub fn new() -> Self {
        Self(AtomicU8::new(OPEN))
    }

    /// Does it take work from outside?
    #[inline]
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OPEN
    }

    fn is_cancelling(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= CANCELLING
    }

    /// Call after a push and the notification's fence: true if threads may be
    /// gone already, so that the pusher must take the job back.
    #[inline]
    pub fn ended_meanwhile(&self) -> bool {
        // The other half of `end`: push, fence, load here; store, fence, look
        // there. One of the two sees the other.
        !weakened(Weakening::SkipGateRecheck) && self.0.load(Ordering::Relaxed) == ENDED
    }

    fn advance(&self, to: u8) {
        self.0.fetch_max(to, Ordering::Relaxed);
    }

    /// Lets threads end; each must look into every queue after this.
    pub fn end(&self) {
        self.advance(ENDED);
        fence(Ordering::SeqCst); // with the fence of the notification after a push
    }

    /// May threads end?
    pub fn has_ended(&self) -> bool {
        self.0.load(Ordering::Relaxed) == ENDED
    }
}

/// What became of a job that was to be queued.
#[derive(Debug, PartialEq, Eq)]
enum Enqueued {
    /// It will be run, or it was discarded.
    Settled,
    /// The pool ended meanwhile: it is queued, but perhaps nobody will look. (The
    /// registry discards it at last.)
    MaybeTooLate,
}

/// What all threads of one pool share.
#[derive(Debug)]
pub struct Registry {
    /// What the builder decided.
    pub config: Config,
    /// Every lane that there is, and which may have something to steal.
    pub lanes: Lanes,
    /// Seats that no thread uses, of guests and of workers that ended.
    #[allow(clippy::vec_box)] // a seat has an address while somebody sits there
    free_guests: Mutex<Vec<Box<Seat>>>,
    free_workers: Mutex<Vec<Lane>>,
    /// Guests at work now.
    guests: AtomicUsize,
    /// The lanes whose threads are at work or may be, for `broadcast`.
    staffed: Mutex<BTreeSet<usize>>,
    /// Jobs from outside, without a scope.
    injector: Injector<JobRef>,
    /// Jobs of scopes that found no lane: rare, and apart from the injector so
    /// that who waits for a scope can look through them.
    strays: Injector<JobRef>,
    /// Who sleeps.
    pub sleep: Sleep,
    /// Whether work may come in.
    pub gate: Gate,
    threads: Mutex<Threads>,
    /// There is one until it is to end.
    watchdog: Mutex<Option<JoinHandle<()>>>,
    cancelled: AtomicUsize,
    /// Threads of this process that can run at the same time.
    pub cores: usize,
    born: forked::Generation,
}

/// A lane, and the registry it belongs to: what a thread has while it works for
/// a pool.
#[derive(Debug)]
pub struct Seat {
    /// The thread's lane.
    pub lane: Lane,
    /// Its pool.
    pub registry: Arc<Registry>,
}

/// The handles of a pool's threads.
#[derive(Debug, Default)]
struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// Handles after the last look for threads that had ended.
    kept: usize,
}

impl Threads {
    /// Adds one, and lets go of those that ended whenever the number has doubled:
    /// O(1) amortized.
    fn add(&mut self, thread: JoinHandle<()>) {
        if self.handles.len() >= 2 * self.kept + limits::ENDED_THREADS {
            self.handles.retain(|thread| !thread.is_finished());
            self.kept = self.handles.len();
        }
        self.handles.push(thread);
    }
}

impl Registry {
    /// A pool without threads yet.
    pub fn new(config: Config) -> Arc<Self> {
        Arc::new(Self {
            lanes: Lanes::new(),
            free_guests: Mutex::new(Vec::new()),
            free_workers: Mutex::new(Vec::new()),
            guests: AtomicUsize::new(0),
            staffed: Mutex::new(BTreeSet::new()),
            injector: Injector::new(),
            strays: Injector::new(),
            sleep: Sleep::new(config.threads, config.max_spares),
            gate: Gate::new(),
            threads: Mutex::new(Threads::default()),
            watchdog: Mutex::new(None),
            cancelled: AtomicUsize::new(0),
            cores: cpus::available(),
            born: forked::generation(),
            config,
        })
    }

    /// Starts as many threads as there are permits.
    ///
    /// # Errors
    /// [`Error::StartThread`]; the threads started so far end again.
    pub fn start(self: &Arc<Self>) -> Result<(), Error> {
        while self.sleep.live() < self.config.threads && self.sleep.take_permit() {
            self.start_thread()?;
        }
        Ok(())
    }

    /// Starts a thread that `Sleep` counts already.
    fn start_thread(self: &Arc<Self>) -> Result<(), Error> {
        let lane = self.free_workers.lock().unwrap().pop();
        let lane = lane.unwrap_or_else(|| self.new_lane(true));
        let index = lane.index();
        let mut builder = std::thread::Builder::new().name(self.config.name_of(index));
        if let Some(bytes) = self.config.stack_size {
            builder = builder.stack_size(bytes);
        }
        let registry = self.clone();
        self.step_in(index);
        match builder.spawn(move || worker::main(Seat { lane, registry })) {
            Ok(thread) => {
                self.threads.lock().unwrap().add(thread);
                Ok(())
            }
            Err(error) => {
                self.step_out(index);
                self.sleep.could_not_start();
                Err(Error::StartThread(error))
            }
        }
    }

    /// Does what a notification asks for.
    #[inline]
    pub fn provide(self: &Arc<Self>, provide: Provide) {
        if provide == Provide::StartThread {
            // Without the thread, work waits until a thread of the pool is free.
            let _ = self.start_thread();
        }
    }

    fn new_lane(&self, is_worker: bool) -> Lane {
        let lane = self.lanes.add(|index| {
            let lane = Lane::new(index, is_worker);
            let shared = lane.shared.clone();
            (lane, shared)
        });
        self.wake_watchdog(); // It doesn't know this one yet.
        lane
    }

    /// Gives a worker's lane back when its thread ends.
    pub fn give_back_worker(&self, lane: Lane) {
        self.free_workers.lock().unwrap().push(lane);
    }

    /// Runs `f` on this thread with a seat in the pool: its own, if it has one
    /// here, else one it borrows. `site` names the work, for [`sites`].
    #[inline]
    pub fn take_part<R>(self: &Arc<Self>, site: Site, f: impl FnOnce(&Seat) -> R) -> R {
        context::with(|seat| match seat {
            Some(seat) if Arc::ptr_eq(&seat.registry, self) => f(seat),
            _ => self.as_guest(site, f),
        })
    }

    fn as_guest<R>(self: &Arc<Self>, site: Site, f: impl FnOnce(&Seat) -> R) -> R {
        struct Leave<'a>(&'a Arc<Registry>, Option<Box<Seat>>);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                let seat = self.1.take().expect("left once");
                seat.unmark();
                let mut free = self.0.free_guests.lock().unwrap();
                self.0
                    .guests
                    .store(self.0.guests.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
                if self.0.gate.is_open() {
                    free.push(seat);
                } else {
                    // Who ends the pool waits for the last guest.
                    drop(free);
                    drop(seat);
                    self.0.sleep.wake_all();
                }
            }
        }
        assert!(!self.born.is_foreign(), "{}", crate::Error::Forked);
        let seat = {
            let mut free = self.free_guests.lock().unwrap();
            self.guests
                .store(self.guests.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            free.pop()
        };
        let seat = seat.unwrap_or_else(|| {
            Box::new(Seat {
                lane: self.new_lane(false),
                registry: self.clone(),
            })
        });
        let leave = Leave(self, Some(seat));
        let seat = leave.1.as_deref().expect("just put there");
        let _root = seat.begin_root(site);
        context::occupy(seat, || f(seat))
    }

    /// Guests at work now.
    pub fn guests(&self) -> usize {
        self.guests.load(Ordering::Relaxed)
    }

    /// Queues a job from outside, or from a thread that keeps its own deque for
    /// something else.
    pub fn inject(self: &Arc<Self>, job: JobRef) {
        emit(Kind::JobInject, line!(), job.address(), job.tag() as u64);
        let work = match job.tag() {
            0 => {
                self.injector.push(job);
                Work::Job
            }
            tag => {
                self.strays.push(job);
                Work::ScopeJob(tag)
            }
        };
        self.provide(self.sleep.notify(work));
    }

    /// Are there jobs of scopes outside all lanes?
    pub fn has_strays(&self) -> bool {
        !self.strays.is_empty()
    }

    fn has_injected(&self) -> bool {
        !self.injector.is_empty() || self.has_strays()
    }

    /// The thread of lane `index` begins or resumes work.
    pub fn step_in(&self, index: usize) {
        self.staffed.lock().unwrap().insert(index);
    }

    /// The thread of lane `index` stops; nothing more comes into its inbox.
    pub fn step_out(&self, index: usize) {
        self.staffed.lock().unwrap().remove(&index);
    }

    /// Puts a job into the inbox of each thread that is at work or may be; `make`
    /// is told the lane's number.
    pub fn post_to_all(&self, mut make: impl FnMut(usize) -> Option<JobRef>) {
        let staffed = self.staffed.lock().unwrap();
        for &index in staffed.iter() {
            if let Some(job) = make(index) {
                emit(Kind::JobPost, line!(), job.address(), index as u64);
                let lane = self.lanes.get(index);
                lane.inbox.push(job);
                lane.parker.unpark();
            }
        }
    }

    /// A new job, of the current thread if that works here, else from outside.
    pub fn spawn<F, T>(self: &Arc<Self>, site: &'static Location<'static>, work: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.config.publish_running {
            return self.submit(site, spawned_static(published(site, work)));
        }
        self.submit(site, spawned_static(work))
    }

    /// A new job that nobody waits for.
    pub fn spawn_detached(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        work: impl FnOnce() + Send + 'static,
    ) {
        if self.config.publish_running {
            self.enqueue(detached(published(site, work)));
            return;
        }
        self.enqueue(detached(work));
    }

    /// Queues a job, and makes the handle that users see.
    pub fn submit<T>(
        self: &Arc<Self>,
        site: &'static Location<'static>,
        (job, handle): (JobRef, SpawnedRef<T>),
    ) -> JobHandle<T> {
        let handle = JobHandle::new(handle, site, Arc::as_ptr(self).addr());
        if self.enqueue(job) == Enqueued::MaybeTooLate {
            handle.close();
        }
        handle
    }

    /// Queues a job of this thread, if it has a seat here, else from outside; a
    /// closed pool discards it.
    #[inline(always)] // see `Seat::push_job`
    fn enqueue(self: &Arc<Self>, job: JobRef) -> Enqueued {
        context::with(|seat| match seat {
            Some(seat) if Arc::ptr_eq(&seat.registry, self) => {
                if self.gate.is_cancelling() {
                    job.discard();
                } else {
                    seat.push_job(job, 0);
                }
                Enqueued::Settled
            }
            _ => {
                if !self.gate.is_open() || self.born.is_foreign() {
                    job.discard();
                    return Enqueued::Settled;
                }
                self.inject(job);
                if self.gate.ended_meanwhile() {
                    return Enqueued::MaybeTooLate;
                }
                Enqueued::Settled
            }
        })
    }

    /// May work come in from this thread?
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn check_open(self: &Arc<Self>) -> Result<(), Error> {
        if self.born.is_foreign() {
            return Err(Error::Forked);
        }
        let inside =
            context::with(|seat| seat.is_some_and(|seat| Arc::ptr_eq(&seat.registry, self)));
        if self.gate.is_open() || (inside && !self.gate.is_cancelling()) {
            Ok(())
        } else {
            Err(Error::Closed)
        }
    }

    /// Is there work that an idle worker could take?
    pub fn has_work(&self) -> bool {
        self.has_injected() || self.any_marked(LaneShared::has_work)
    }

    /// Is there a job that needs a thread? (A fork's owner runs it itself.)
    pub fn has_jobs(&self) -> bool {
        self.has_injected() || self.any_marked(|lane| !lane.jobs.is_empty())
    }

    fn any_marked(&self, is_one: impl Fn(&LaneShared) -> bool) -> bool {
        let found = self.lanes.visit_marked(0, |lane| {
            if is_one(lane) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        found.is_some()
    }

    /// Tells the pool's hook of a panic that no handle will show.
    pub fn panicked(&self, error: JobError) {
        if let Some(hook) = &self.config.on_panic {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| hook(error)));
        }
    }

    // ---- for those who look: `dump.rs`, `watchdog.rs` ----

    /// Jobs that lie in no lane.
    pub fn injected(&self) -> usize {
        self.injector.len() + self.strays.len()
    }

    /// The lanes whose threads are at work or may be.
    pub fn staffed(&self) -> BTreeSet<usize> {
        self.staffed.lock().unwrap().clone()
    }

    /// Starts the watchdog, if one is wanted.
    ///
    /// # Errors
    /// [`Error::StartThread`].
    pub fn start_watchdog(self: &Arc<Self>) -> Result<(), Error> {
        if let Some(limit) = self.config.watchdog {
            // Under the lock, since it ends if it finds none there.
            let mut dog = self.watchdog.lock().unwrap();
            *dog = Some(watchdog::start(self, limit).map_err(Error::StartThread)?);
        }
        Ok(())
    }

    /// Is the watchdog to go on?
    pub fn is_watched(&self) -> bool {
        self.watchdog.lock().unwrap().is_some()
    }

    /// Has the watchdog look again, if it sleeps.
    fn wake_watchdog(&self) {
        if self.config.watchdog.is_some()
            && let Some(dog) = &*self.watchdog.lock().unwrap()
        {
            dog.thread().unpark();
        }
    }

    /// Ends the watchdog, and waits for that.
    pub fn end_watchdog(&self) {
        let dog = self.watchdog.lock().unwrap().take();
        if let Some(dog) = dog {
            dog.thread().unpark();
            if dog.thread().id() != std::thread::current().id() {
                let _ = dog.join();
            }
        }
    }

    // ---- the end ----

    /// Takes no more work from outside; threads end when all is done.
    pub fn close(self: &Arc<Self>) {
        self.gate.advance(DRAINING);
        // Guests' seats hold the registry; without this it would never be freed.
        let free = std::mem::take(&mut *self.free_guests.lock().unwrap());
        drop(free);
        // If no thread is left, nobody would run what is queued.
        if self.has_jobs() {
            self.provide(self.sleep.notify(Work::Job));
        }
        self.end_if_done();
        self.sleep.wake_all();
    }

    /// Discards every job that hasn't begun, and those to come.
    pub fn cancel_queued(&self) -> usize {
        self.gate.advance(CANCELLING);
        self.sleep.wake_all();
        self.discard_queued();
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Discards what is in the queues, except scopes' jobs, which somebody waits
    /// for.
    fn discard_queued(&self) {
        let mut kept = Vec::new();
        let mut discard = |job: JobRef| {
            if job.tag() == 0 {
                job.discard();
                self.cancelled.fetch_add(1, Ordering::Relaxed);
            } else {
                kept.push(job);
            }
        };
        while let Some(job) = take_from(&self.injector) {
            discard(job);
        }
        for lane in self.lanes.iter() {
            while let Some(job) = steal_one(&lane.jobs) {
                discard(job);
            }
        }
        for job in kept {
            self.strays.push(job);
        }
    }

    /// Lets threads end if nothing is left to do; the last idle worker asks.
    pub fn end_if_done(&self) -> bool {
        if self.gate.is_open() {
            return false;
        }
        if self.gate.has_ended() {
            return true;
        }
        if self.guests() == 0 && self.sleep.all_idle() && !self.has_work() {
            self.gate.end();
            self.sleep.wake_all();
            return true;
        }
        false
    }

    /// Waits for the pool's threads, but the calling one, to end.
    pub fn join_threads(&self, deadline: Option<Instant>) -> usize {
        let me = std::thread::current().id();
        loop {
            let mut threads = self.threads.lock().unwrap();
            threads.handles.retain(|thread| thread.thread().id() != me);
            if deadline.is_none() {
                let ending = std::mem::take(&mut threads.handles);
                drop(threads);
                if ending.is_empty() {
                    return 0;
                }
                for thread in ending {
                    let _ = thread.join();
                }
                continue;
            }
            let (ended, running): (Vec<_>, Vec<_>) =
                threads.handles.drain(..).partition(JoinHandle::is_finished);
            threads.handles = running;
            let left = threads.handles.len();
            drop(threads);
            for thread in ended {
                let _ = thread.join();
            }
            if left == 0 || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return left;
            }
            // std has no join with a deadline; threads end within µs of the last
            // job, so the first sleeps are short.
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.wake_watchdog(); // It finds nothing to watch, and ends.
        self.discard_queued();
    }
}

impl Seat {
    /// The first `Some` that `f` makes of a marked lane other than ours, beginning
    /// where the last success was.
    pub fn find_peer<R>(&self, f: impl FnMut(&LaneShared) -> Option<R>) -> Option<R> {
        self.find_among(usize::MAX, f)
    }

    /// [`find_peer`](Self::find_peer) among the next few marked lanes; the next
    /// look begins behind them.
    pub fn find_nearby<R>(&self, f: impl FnMut(&LaneShared) -> Option<R>) -> Option<R> {
        self.find_among(limits::LANES_A_LOOK, f)
    }

    fn find_among<R>(
        &self,
        limit: usize,
        mut f: impl FnMut(&LaneShared) -> Option<R>,
    ) -> Option<R> {
        let mut looks = 0;
        let start = self.lane.next_victim.get();
        let found = self.registry.lanes.visit_marked(start, |peer| {
            if peer.index == self.lane.index() {
                return ControlFlow::Continue(());
            }
            if looks == limit {
                self.lane.next_victim.set(peer.index);
                return ControlFlow::Break(None);
            }
            looks += 1;
            match f(peer) {
                Some(found) => {
                    self.lane.next_victim.set(peer.index);
                    ControlFlow::Break(Some(found))
                }
                None => ControlFlow::Continue(()),
            }
        });
        self.count_steps(looks);
        found.flatten()
    }

    fn count_steps(&self, lanes: usize) {
        let mut steps = self.lane.search_steps.get();
        steps.rounds += 1;
        steps.lanes += lanes as u64;
        self.lane.search_steps.set(steps);
    }

    /// This lane may have something to steal: call it before the notification.
    #[inline(always)]
    pub fn mark(&self) {
        if !self.lane.marked.get() {
            self.mark_now();
        }
    }

    #[cold]
    #[inline(never)]
    fn mark_now(&self) {
        self.lane.marked.set(true);
        self.registry.lanes.mark(self.lane.index());
    }

    /// This thread stops, or goes to sleep with nothing of its own left.
    pub fn unmark(&self) {
        self.lane.marked.set(false);
        let shared = &self.lane.shared;
        self.registry
            .lanes
            .found_empty(shared.index, || shared.has_work());
    }

    /// Steals a promoted fork, or one that was handed back.
    pub fn steal_fork(&self) -> Option<ForkRef> {
        let thief = self.lane.index();
        self.find_nearby(|peer| peer.steal_fork(thief, true))
    }

    /// Steals a job: injected, or of another lane.
    pub fn steal_job(&self) -> Option<JobRef> {
        if let Some(job) = self.take_injected() {
            return Some(job);
        }
        let job = self.find_nearby(|peer| self.lane.steal_jobs_from(peer))?;
        self.mark_what_came_along();
        Some(job)
    }

    fn mark_what_came_along(&self) {
        if self.lane.has_jobs() {
            self.mark();
        }
    }

    /// Takes a job that came from outside.
    pub fn take_injected(&self) -> Option<JobRef> {
        if let Some(job) = self.lane.steal_injected(&self.registry.injector) {
            self.mark_what_came_along();
            return Some(job);
        }
        self.take_stray()
    }

    /// Takes a job of some scope that is in no lane.
    pub fn take_stray(&self) -> Option<JobRef> {
        if self.registry.has_strays() {
            take_from(&self.registry.strays)
        } else {
            None
        }
    }

    /// Asks lanes for a fork: the next few, and others the next time.
    pub fn demand_forks(&self) {
        let lanes = &self.registry.lanes;
        let count = lanes.count();
        let asked = count.min(limits::LANES_A_LOOK);
        let start = self.lane.next_asked.get();
        for at in start..start + asked {
            if at % count != self.lane.index() {
                lanes.get(at % count).demand_fork();
            }
        }
        self.lane.next_asked.set((start + asked) % count);
        self.count_steps(asked);
    }

    /// Adds a job of this thread.
    // Always, so that the job's words go into the queue as they are made: written to
    // the stack by the word and copied from there by two, each copy would wait for
    // the store buffer.
    #[inline(always)]
    pub fn push_job(&self, job: JobRef, tag: usize) {
        self.lane.push_job(job, tag);
        self.mark();
        let work = if tag == 0 {
            Work::Job
        } else {
            Work::ScopeJob(tag)
        };
        self.registry.provide(self.registry.sleep.notify(work));
    }

    /// Runs `f`, which may block, while the permit can be lent.
    pub fn blocked<R>(&self, f: impl FnOnce() -> R) -> R {
        struct Unblock<'a>(&'a Seat, bool);
        impl Drop for Unblock<'_> {
            fn drop(&mut self) {
                let Unblock(seat, before) = *self;
                seat.lane.shared.activity.set_blocked(before);
                seat.registry.sleep.unblock();
            }
        }
        if !self.lane.is_worker {
            return f();
        }
        let registry = &self.registry;
        let provide = registry.sleep.block(|| registry.has_jobs());
        let _unblock = Unblock(self, self.lane.shared.activity.set_blocked(true));
        registry.provide(provide);
        f()
    }

    // ---- sharing forks: see README-promotion.md ----

    /// At the beginning of a job or a stolen fork: if somebody is hungry, the
    /// first fork is promoted at once.
    #[inline]
    pub fn ask_for_sharing(&self) {
        self.lane.recheck_in.set(0);
        self.lane.set_level(0);
        if self.registry.sleep.anybody_hungry() {
            self.lane.ask_oneself();
        }
    }

    /// At the beginning of a call from outside: as
    /// [`ask_for_sharing`](Self::ask_for_sharing), unless such calls have been too
    /// small to wake somebody for. Then thieves that are awake ask in vain, too: of
    /// a few µs of work they would take half, and each side would wait for the
    /// other's cache lines longer than that.
    fn begin_root(&self, site: Site) -> Root<'_> {
        let sleep = &self.registry.sleep;
        self.lane.recheck_in.set(0);
        self.lane.set_level(0);
        if !sleep.anybody_hungry() {
            self.lane.listen();
            return Root {
                began: None,
                seat: self,
                site,
            };
        }
        let now = Instant::now();
        if sites::is_small(site) {
            self.lane.turn_deaf();
            self.lane.recheck_in.set(limits::RECHECK_EVERY);
            self.lane.root_began.set(Some(now));
        } else {
            self.lane.ask_oneself();
        }
        Root {
            began: Some(now),
            seat: self,
            site,
        }
    }

    /// Promotes a fork for a thief that asks, or for a sleeper.
    #[cold]
    #[inline(never)]
    pub fn offer_fork(&self) {
        self.lane.listen();
        if self.lane.forks.promote() {
            self.mark();
            self.notify_fork(self.lane.index());
        }
    }

    /// Promotes every fork that is recorded, for thieves to come.
    #[inline(never)]
    pub fn offer_all_forks(&self) {
        self.lane.listen();
        let mut any = false;
        while self.lane.forks.promote() {
            any = true;
        }
        if any {
            self.mark();
            self.notify_fork(self.lane.index());
        }
    }

    /// Are the forks of coarse work to be promoted as they are made? If there is
    /// another thread, in the levels that make the largest pieces.
    #[inline]
    pub fn offers_pieces(&self) -> bool {
        self.lane.level() < limits::OFFERED_LEVELS
            && self.lane.recheck_in.get() == 0
            && self.registry.config.threads > usize::from(self.lane.is_worker)
    }

    /// Tells others of a fork that `lane` has promoted.
    pub fn notify_fork(&self, lane: usize) {
        let registry = &self.registry;
        // Guests at work use cores too: beyond as many threads as the pool has,
        // another one only takes turns with these.
        let idle = registry.sleep.idle();
        if idle != 0 && idle <= registry.guests() && !registry.sleep.anybody_searching() {
            return;
        }
        registry.provide(registry.sleep.notify(Work::Fork(lane)));
    }

    /// A root that was taken for small forks on: is it large after all?
    #[cold]
    #[inline(never)]
    pub fn reconsider_sleepers(&self) {
        let left = self.lane.recheck_in.get() - 1;
        self.lane.recheck_in.set(left);
        if left != 0 {
            return;
        }
        let began = self.lane.root_began.get();
        let lasts = began.map_or(limits::WORTH_A_WAKE, |began| began.elapsed());
        if lasts >= limits::WORTH_A_WAKE {
            return self.offer_fork();
        }
        if lasts >= limits::WORTH_A_THEFT {
            self.lane.listen();
        }
        self.lane.recheck_in.set(limits::RECHECK_EVERY);
    }
}

/// An outermost call from outside, while it lasts; its length is noted.
struct Root<'a> {
    began: Option<Instant>,
    seat: &'a Seat,
    site: Site,
}

impl Drop for Root<'_> {
    fn drop(&mut self) {
        self.seat.lane.recheck_in.set(0);
        if let Some(began) = self.began {
            sites::note(self.site, began.elapsed() < limits::WORTH_A_WAKE);
        }
    }
}

fn take_from(queue: &Injector<JobRef>) -> Option<JobRef> {
    loop {
        match queue.steal() {
            Steal::Success(job) => return Some(job),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

/// Runs forks and jobs of others, for tests and workers.
pub fn run_fork(fork: ForkRef, seat: &Seat) {
    fork::run_stolen(fork, seat);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::thread::lane::SearchSteps;
    use crate::thread::{borrowed, scope};

    const WORKERS: usize = 1000;

    fn a_thousand_workers() -> Arc<Registry> {
        let registry = Registry::new(Config {
            threads: WORKERS,
            max_spares: 0,
            name: "crowd".to_owned(),
            thread_name: None,
            stack_size: Some(limits::MIN_STACK_SIZE),
            on_start: None,
            on_exit: None,
            on_panic: None,
            idle_exit: None,
            pin: false,
            publish_running: false,
            watchdog: None,
            on_stall: None,
        });
        registry.start().unwrap();
        registry
    }

    /// Ends the workers, and sums up what they did.
    fn end(registry: &Arc<Registry>) -> SearchSteps {
        registry.close();
        assert_eq!(registry.join_threads(None), 0);
        let ended = registry.free_workers.lock().unwrap();
        assert_eq!(ended.len(), WORKERS);
        let mut sum = SearchSteps::default();
        for steps in ended.iter().map(|lane| lane.search_steps.get()) {
            sum.rounds += steps.rounds;
            sum.lanes += steps.lanes;
        }
        sum
    }

    #[test]
    fn a_thousand_workers_start_and_end_without_looking_at_each_other() {
        let registry = a_thousand_workers();
        let steps = end(&registry);
        assert!(steps.rounds >= 2 * WORKERS as u64);
        assert_eq!(steps.lanes, 0, "nobody has offered anything");
    }

    #[test]
    fn a_round_costs_the_same_among_a_thousand_workers_at_work() {
        let registry = a_thousand_workers();
        let done = AtomicUsize::new(0);
        for _ in 0..3 {
            registry.take_part(Site::of_type::<Registry>(), |seat| {
                scope::run(seat, |scope| {
                    for _ in 0..WORKERS {
                        scope.spawn(|scope| {
                            scope.spawn(|_| {
                                done.fetch_add(1, Ordering::Relaxed);
                            });
                        });
                    }
                });
            });
            let sum = registry.spawn(Location::caller(), || crate::thread::join(|| 1, || 2));
            assert_eq!(sum.wait().unwrap(), (1, 2));
        }
        assert_eq!(done.into_inner(), 3 * WORKERS);
        let told = borrowed::broadcast(&registry, Location::caller(), |index| index);
        assert!(told.into_iter().eq(0..WORKERS));
        let steps = end(&registry);
        let most = steps.rounds * limits::LANES_A_LOOK as u64;
        assert!(
            steps.lanes <= most,
            "{} lanes in {} rounds",
            steps.lanes,
            steps.rounds
        );
    }
}
