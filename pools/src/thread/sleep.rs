//! Who sleeps, who is woken, and how many threads may run: the sleep protocol.
//!
//! Its argument (nobody sleeps on work, nobody is woken in vain) stands in
//! `README-sleep.md` beside this file; read `parker.rs` and `sleepers.rs` before. Nothing here
//! knows what a job is: pushing and looking belong to the caller, in the order
//! that each method states.

use std::sync::Arc;

use crate::switch::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use crate::switch::{Mutex, Weakening, fence_unless, weakened};
use crate::thread::parker::Parker;
use crate::thread::sleepers::Sleepers;

/// What a sleeper would get up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Anything: an idle worker.
    Anything,
    /// A job of the scope with this tag, at whose end it waits.
    Scope(usize),
    /// A fork of the lane with this index, which runs the fork that it joins.
    ForksOf(usize),
}

/// What was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A job: somebody must run it, even if nobody ever joins it.
    Job,
    /// A job of the scope with this tag.
    ScopeJob(usize),
    /// A fork promoted by the lane with this index: its owner runs it in the
    /// worst case, so it is worth a wake-up but never a new thread.
    Fork(usize),
}

/// Four counts of 16 bits in one word, so that whoever pushes needs one load.
///
/// | field | who is counted |
/// |---|---|
/// | idle | asleep for [`Interest::Anything`] |
/// | searching | awake without work, about to look into every queue |
/// | picky | asleep for something particular |
/// | deficit | permits to run that no thread uses: its thread blocks or has ended |
#[derive(Debug, Clone, Copy)]
struct Counts(u64);

const IDLE: u64 = 1;
const SEARCHING: u64 = 1 << 16;
const PICKY: u64 = 1 << 32;
const DEFICIT: u64 = 1 << 48;

impl Counts {
    fn idle(self) -> u64 {
        self.0 & 0xffff
    }
    fn searching(self) -> u64 {
        (self.0 >> 16) & 0xffff
    }
    fn picky(self) -> u64 {
        (self.0 >> 32) & 0xffff
    }
    fn deficit(self) -> u64 {
        self.0 >> 48
    }
}

/// A sleeper that is looked for.
#[derive(Debug)]
struct Sleeper {
    lane: usize,
    interest: Interest,
    parker: Arc<Parker>,
}

/// Guarded by `Sleep::inner`.
#[derive(Debug, Default)]
struct Inner {
    /// Those that anything may wake; the youngest first.
    idle: Sleepers,
    /// Those that wait for something particular; the youngest last.
    picky: Vec<Sleeper>,
    /// Threads that hold no permit and linger, to be used again.
    retired: Vec<Sleeper>,
    /// Threads that exist and don't linger.
    live: usize,
    /// Threads that may be started beyond those that exist.
    startable: usize,
}

/// How to provide for work that nobody is awake for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Provide {
    /// Nothing to do: somebody was woken, or nobody need be.
    Done,
    /// Start a thread, counted already as live and searching.
    StartThread,
}

/// The sleepers of one pool, and its permits.
///
/// A worker's states; transitions carry the methods that make them:
/// ```text
///             found_work                 notify (by a waker), retract
///   RUNNING <------------ SEARCHING <--------------------- IDLE
///      | \---------------->   |  \-------- fall_asleep ----->
///      |     begin_search     |
///      | block                \-- retire --> RETIRED -- notify --> SEARCHING
///      v                                        \---- leave ----> gone
///   BLOCKED -- unblock --> RUNNING
/// ```
/// Invariants:
/// - **S1** A thread counts as idle (picky) exactly while it is in `idle`
///   (`picky`); both change under the lock.
/// - **S2** Who leaves SEARCHING looks into every queue afterwards: before it
///   parks or ends, or (the last one) after it found work.
/// - **S3** Running and searching threads, plus `deficit`, less `excess`, are the
///   permits: a constant.
#[derive(Debug)]
pub struct Sleep {
    counts: AtomicU64,
    permits: u64,
    /// Threads that came back from blocking to find their permit lent.
    excess: AtomicUsize,
    inner: Mutex<Inner>,
}

impl Sleep {
    /// For `threads` permits, none of them used yet, and at most `spares` threads
    /// beyond that.
    pub fn new(threads: usize, spares: usize) -> Self {
        Self {
            counts: AtomicU64::new(DEFICIT * threads as u64),
            permits: threads as u64,
            excess: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                startable: threads + spares,
                ..Inner::default()
            }),
        }
    }

    fn load(&self) -> Counts {
        // Relaxed: whoever needs more has a fence before this.
        Counts(self.counts.load(Ordering::Relaxed))
    }

    /// Is anybody asleep or searching who would take any work?
    #[inline]
    pub fn anybody_hungry(&self) -> bool {
        self.load().0 & (0xffff_ffff) != 0
    }

    /// Idle sleepers.
    #[inline]
    pub fn idle(&self) -> usize {
        self.load().idle() as usize
    }

    /// Threads that search.
    #[inline]
    pub fn searching(&self) -> usize {
        self.load().searching() as usize
    }

    /// Threads of the pool that run something, by S3; a hint.
    #[inline]
    pub fn running(&self) -> usize {
        let counts = self.load();
        let with_permit = self.permits + self.excess.load(Ordering::Relaxed) as u64;
        let not_running = counts.deficit() + counts.idle() + counts.searching();
        with_permit.saturating_sub(not_running) as usize
    }

    /// Is anybody on the way to look into every queue?
    #[inline]
    pub fn anybody_searching(&self) -> bool {
        self.load().searching() != 0
    }

    /// Threads that exist and don't linger.
    pub fn live(&self) -> usize {
        self.inner.lock().unwrap().live
    }

    // ---- the searcher's side ----

    /// RUNNING → SEARCHING. From here on who pushes may rely on this thread.
    pub fn begin_search(&self) {
        self.counts.fetch_add(SEARCHING, Ordering::Relaxed);
    }

    /// SEARCHING → RUNNING, with work. True if this was the last searcher: the
    /// caller must then look into every queue, and [`notify`](Self::notify) if
    /// there is more, because somebody may have pushed and relied on it (S2).
    #[must_use]
    pub fn found_work(&self) -> bool {
        let before = Counts(self.counts.fetch_sub(SEARCHING, Ordering::Relaxed));
        if before.searching() != 1 || weakened(Weakening::SkipChain) {
            return false;
        }
        // Pairs with the fence of `notify`: either that load sees that nobody
        // searches any more, or our look sees what was pushed.
        fence(Ordering::SeqCst);
        true
    }

    /// SEARCHING → IDLE, or into a particular wait. The caller must then look
    /// once more, and either [`retract`](Self::retract) or park (S2).
    pub fn fall_asleep(&self, lane: usize, interest: Interest, parker: &Arc<Parker>) {
        let mut inner = self.inner.lock().unwrap();
        if interest == Interest::Anything {
            inner.idle.push(lane, parker.clone());
            self.counts
                .fetch_add(IDLE.wrapping_sub(SEARCHING), Ordering::Relaxed);
        } else {
            inner.picky.push(Sleeper {
                lane,
                interest,
                parker: parker.clone(),
            });
            self.counts.fetch_add(PICKY, Ordering::Relaxed);
        }
        drop(inner);
        // Pairs with the fence of `notify`: either that load counts us, or the
        // look that follows sees what was pushed.
        fence(Ordering::SeqCst);
    }

    /// Out of the sleepers again, unless somebody was faster and woke us; an idle
    /// worker is SEARCHING afterwards in both cases.
    pub fn retract(&self, lane: usize) {
        let mut inner = self.inner.lock().unwrap();
        if inner.idle.remove(lane).is_some() {
            self.count_idle_as_woken();
        } else if let Some(at) = inner.picky.iter().rposition(|s| s.lane == lane) {
            inner.picky.remove(at);
            self.counts.fetch_sub(PICKY, Ordering::Relaxed);
        }
    }

    /// Woken counts as searching from now on, not from when it runs: the next
    /// pushes needn't wake a second one (a burst wakes one thread, which wakes the
    /// next if there is more).
    fn count_idle_as_woken(&self) {
        self.counts
            .fetch_add(SEARCHING.wrapping_sub(IDLE), Ordering::Relaxed);
    }

    // ---- the pusher's side ----

    /// Call after a push: wakes somebody, if nobody is about to look anyway.
    #[inline]
    pub fn notify(&self, work: Work) -> Provide {
        // Pairs with the fences of `fall_asleep`, `found_work` and `block`.
        fence_unless(Weakening::SkipPushFence);
        let counts = self.load();
        // Nobody asleep and no permit unused; or somebody searches, and no
        // waiter asleep may be waiting for exactly this.
        if counts.0 & !(0xffff * SEARCHING) == 0 || (counts.searching() != 0 && counts.picky() == 0)
        {
            return Provide::Done;
        }
        self.notify_somebody(work)
    }

    #[cold]
    #[inline(never)]
    fn notify_somebody(&self, work: Work) -> Provide {
        let mut inner = self.inner.lock().unwrap();
        let counts = self.load();
        let wanted = match work {
            Work::Job => None,
            Work::ScopeJob(tag) => Some(Interest::Scope(tag)),
            Work::Fork(lane) => Some(Interest::ForksOf(lane)),
        };
        let at = inner
            .picky
            .iter()
            .rposition(|sleeper| Some(sleeper.interest) == wanted);
        let woken = if let Some(at) = at {
            self.counts.fetch_sub(PICKY, Ordering::Relaxed);
            Some(inner.picky.remove(at).parker)
        } else if counts.searching() == 0 {
            inner.idle.pop().inspect(|_| self.count_idle_as_woken())
        } else {
            None
        };
        if let Some(parker) = woken {
            drop(inner);
            parker.unpark();
            return Provide::Done;
        }
        if matches!(work, Work::Fork(_)) || counts.searching() != 0 || counts.deficit() == 0 {
            return Provide::Done;
        }
        // A permit is unused: lend it, to a thread that lingers or to a new one.
        if let Some(thread) = inner.retired.pop() {
            inner.live += 1;
            self.counts
                .fetch_add(SEARCHING.wrapping_sub(DEFICIT), Ordering::Relaxed);
            drop(inner);
            thread.parker.unpark();
        } else if inner.startable > 0 {
            inner.startable -= 1;
            inner.live += 1;
            self.counts
                .fetch_add(SEARCHING.wrapping_sub(DEFICIT), Ordering::Relaxed);
            return Provide::StartThread;
        }
        Provide::Done
    }

    /// Takes a permit for a new thread that starts as a searcher; false if all
    /// are used or no thread may be added.
    #[must_use]
    pub fn take_permit(&self) -> bool {
        let mut inner = self.inner.lock().unwrap();
        if inner.startable == 0 || self.load().deficit() == 0 {
            return false;
        }
        inner.startable -= 1;
        inner.live += 1;
        self.counts
            .fetch_add(SEARCHING.wrapping_sub(DEFICIT), Ordering::Relaxed);
        true
    }

    /// The thread of [`Provide::StartThread`] could not be started.
    pub fn could_not_start(&self) {
        let mut inner = self.inner.lock().unwrap();
        inner.startable += 1;
        inner.live -= 1;
        self.counts
            .fetch_add(DEFICIT.wrapping_sub(SEARCHING), Ordering::Relaxed);
    }

    /// Who sleeps, and for what: the lanes' numbers. For dumps.
    pub fn asleep(&self) -> Vec<(usize, Interest)> {
        let inner = self.inner.lock().unwrap();
        let picky = inner.picky.iter();
        let picky = picky.map(|sleeper| (sleeper.lane, sleeper.interest));
        let idle = inner.idle.lanes();
        picky
            .chain(idle.map(|lane| (lane, Interest::Anything)))
            .collect()
    }

    /// The lanes whose threads have retired and linger. For dumps.
    pub fn spares(&self) -> Vec<usize> {
        let inner = self.inner.lock().unwrap();
        inner.retired.iter().map(|spare| spare.lane).collect()
    }

    // ---- permits ----

    /// RUNNING → BLOCKED: gives the permit up, and lends it at once if `look` finds
    /// a job that may need it.
    pub fn block(&self, look: impl FnOnce() -> bool) -> Provide {
        let inner = self.inner.lock().unwrap();
        self.counts.fetch_add(DEFICIT, Ordering::Relaxed);
        drop(inner);
        // Pairs with the fence of `notify`: either that load sees the permit, or
        // the look that follows sees what was pushed.
        fence(Ordering::SeqCst);
        if !weakened(Weakening::SkipLendRecheck) && look() {
            return self.notify(Work::Job);
        }
        Provide::Done
    }

    /// BLOCKED → RUNNING: takes the permit back, or one too many if it is lent.
    pub fn unblock(&self) {
        let inner = self.inner.lock().unwrap();
        if self.load().deficit() > 0 {
            self.counts.fetch_sub(DEFICIT, Ordering::Relaxed);
        } else {
            self.excess.fetch_add(1, Ordering::Relaxed);
        }
        drop(inner);
    }

    /// Are there more threads than permits, so that one should
    /// [`retire`](Self::retire)?
    #[inline]
    pub fn too_many(&self) -> bool {
        self.excess.load(Ordering::Relaxed) != 0
    }

    /// SEARCHING → RETIRED, if there are too many threads or `give_up` asks to
    /// give the permit back; `None` if neither. Who pushed a moment ago may have relied
    /// on this searcher, or have chosen it, so if `look` finds a job somebody is woken
    /// for it (S2): perhaps this very thread, whom [`leave`](Self::leave) tells so.
    #[must_use]
    pub fn retire(
        &self,
        lane: usize,
        parker: &Arc<Parker>,
        give_up: bool,
        look: impl FnOnce() -> bool,
    ) -> Option<Provide> {
        let mut inner = self.inner.lock().unwrap();
        if self.excess.load(Ordering::Relaxed) > 0 {
            self.excess.fetch_sub(1, Ordering::Relaxed);
            self.counts.fetch_sub(SEARCHING, Ordering::Relaxed);
        } else if give_up {
            self.counts
                .fetch_add(DEFICIT.wrapping_sub(SEARCHING), Ordering::Relaxed);
        } else {
            return None;
        }
        inner.live -= 1;
        inner.retired.push(Sleeper {
            lane,
            interest: Interest::Anything,
            parker: parker.clone(),
        });
        drop(inner);
        // As in `fall_asleep`.
        fence(Ordering::SeqCst);
        if !weakened(Weakening::SkipRetireRecheck) && look() {
            return Some(self.notify(Work::Job));
        }
        Some(Provide::Done)
    }

    /// Does the thread of this lane linger without a permit?
    pub fn is_retired(&self, lane: usize) -> bool {
        let inner = self.inner.lock().unwrap();
        inner.retired.iter().any(|thread| thread.lane == lane)
    }

    /// RETIRED → gone; false if somebody has just asked for the thread again.
    pub fn leave(&self, lane: usize) -> bool {
        let mut inner = self.inner.lock().unwrap();
        match inner.retired.iter().rposition(|s| s.lane == lane) {
            Some(at) => {
                inner.retired.remove(at);
                inner.startable += 1;
                true
            }
            None => false,
        }
    }

    // ---- the end ----

    /// Are all live threads idle? Then nobody can make new work but outsiders.
    pub fn all_idle(&self) -> bool {
        let inner = self.inner.lock().unwrap();
        let idle = self.load().idle() as usize;
        idle == inner.live
    }

    /// Wakes everybody, so that they look at what has changed.
    pub fn wake_all(&self) {
        let mut inner = self.inner.lock().unwrap();
        while let Some(parker) = inner.idle.pop() {
            self.count_idle_as_woken();
            parker.unpark();
        }
        for sleeper in inner.picky.drain(..) {
            self.counts.fetch_sub(PICKY, Ordering::Relaxed);
            sleeper.parker.unpark();
        }
        for thread in &inner.retired {
            thread.parker.unpark();
        }
    }
}
