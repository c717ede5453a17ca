//! What other threads see of a loop: its remote side.
//!
//! Everything else of a loop belongs to its thread and needs no synchronization.
//! This part is shared, and it outlives the loop: it is found by the loop's id
//! through a table (`table.rs`), used again for a later loop, and never freed, so
//! that a waker may be kept for ever.
//!
//! ```text
//!   other threads                                  the loop's thread
//!   wake(task) ──▶ bitmap ──▶ state ──▶ (bell) ──▶ collect ──▶ run queue
//!   post(call) ──▶ mailbox, then wake(MAILBOX)
//! ```
//! `README.md` beside this file gives the protocol in steps and the argument that
//! no wake is lost; read it first, then [`bitmap`], this file, and `table.rs`.
//!
//! The state of the loop, as others see it:
//! ```text
//!               1 begin_sleep
//!      AWAKE ──────────────────▶ SLEEPING
//!       ▲ │ ◀──────────────────── │
//!       │ │     2 end_sleep       │
//!       │ └──▶ NOTIFIED ◀─────────┘
//!       │   3 notify │        3 notify, which also rings the bell
//!       └────────────┘
//!          4 collect
//! ```
//! NOTIFIED means: bits are set that nobody has collected. So the loop finds out
//! by one load a turn, falls asleep only from AWAKE, and is rung for only by the
//! one thread that found it SLEEPING.

pub mod bitmap;
pub mod table;

use std::io;
use std::mem;

use crate::inspect::publish::Published;
use crate::switch::atomic::{AtomicU32, Ordering};
use crate::switch::{Doorbell, Mutex, MutexGuard, Weakening, weakened};
use crate::task::slab::MAILBOX;
use bitmap::Bitmap;

const AWAKE: u32 = 0;
const SLEEPING: u32 = 1;
const NOTIFIED: u32 = 2;

/// The remote side of a loop, for calls of type `J`.
pub struct Remote<J> {
    id: u16,
    state: AtomicU32,
    woken: Bitmap,
    mailbox: Mutex<Mailbox<J>>,
    /// Made when the loop sleeps for the first time and closed with the loop.
    /// Behind a lock, so that nobody writes to a descriptor that has been closed
    /// and has become somebody else's; only who found the loop SLEEPING takes it,
    /// on the way to a system call that costs a hundred times as much.
    bell: Mutex<Option<Doorbell>>,
    /// The task that runs, if the loop publishes that.
    published: Published,
}

struct Mailbox<J> {
    /// Which of the loops that have had this remote side. Handles know theirs.
    epoch: u64,
    open: bool,
    calls: Vec<J>,
}

#[track_caller] // So that lanes of a model tell who locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No foreign code runs under these locks, so they can't be poisoned.
    mutex.lock().expect("no code panics under this lock")
}

impl<J> Remote<J> {
    /// The remote side of the loops with `id`; closed until [`open`](Self::open).
    #[must_use]
    pub fn new(id: u16) -> Remote<J> {
        let woken = Bitmap::new();
        woken.grow(1); // The mailbox is always there.
        Remote {
            id,
            state: AtomicU32::new(AWAKE),
            woken,
            mailbox: Mutex::new(Mailbox {
                epoch: 0,
                open: false,
                calls: Vec::new(),
            }),
            bell: Mutex::new(None),
            published: Published::new(),
        }
    }

    /// The loop id.
    #[inline]
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }

    /// What the loop runs, if it publishes that.
    #[must_use]
    pub fn published(&self) -> &Published {
        &self.published
    }

    // ---- called on any thread ----

    /// Wakes the task in place `task`, in vain if there is none. Costs one atomic
    /// operation if its neighbour was woken just before, three otherwise, and a
    /// system call only if the loop sleeps.
    #[inline]
    pub fn wake(&self, task: u32) {
        if self.woken.set(task) {
            self.notify();
        }
    }

    /// Transition 3.
    #[inline]
    fn notify(&self) {
        // Release, partner: the Acquire of `collect`, which so sees the bits that
        // were set before. Acquire, partner: the Release of `begin_sleep`: the
        // bell that it stored before is seen by `ring`.
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == SLEEPING {
            self.ring();
        }
    }

    #[cold]
    fn ring(&self) {
        if weakened(Weakening::RemoteRingsUnlocked) {
            let bell = lock(&self.bell).take();
            let _ = bell.as_ref().map(Doorbell::notify);
            *lock(&self.bell) = bell;
            return;
        }
        if let Some(bell) = &*lock(&self.bell) {
            // Can fail only for a broken descriptor, which nothing here can mend.
            let _ = bell.notify();
        }
    }

    /// Leaves `call` to be made on the loop's thread.
    ///
    /// # Errors
    /// Gives the call back if loop number `epoch` has ended.
    pub fn post(&self, epoch: u64, call: J) -> Result<(), J> {
        let mut mailbox = lock(&self.mailbox);
        let closed = mailbox.epoch != epoch || !mailbox.open;
        if closed && !weakened(Weakening::RemotePostsToClosed) {
            return Err(call);
        }
        mailbox.calls.push(call);
        drop(mailbox);
        self.wake(MAILBOX);
        Ok(())
    }

    /// Whether loop number `epoch` still takes calls.
    pub fn is_open(&self, epoch: u64) -> bool {
        let mailbox = lock(&self.mailbox);
        mailbox.epoch == epoch && mailbox.open
    }

    /// The number of the loop that takes calls now, if one does.
    pub fn epoch(&self) -> Option<u64> {
        let mailbox = lock(&self.mailbox);
        mailbox.open.then_some(mailbox.epoch)
    }

    // ---- called by the loop's thread only ----

    /// Begins the service for a new loop, and returns its number. The state is left
    /// as it is: if it is NOTIFIED, there are bits that only a collection clears,
    /// and until then their neighbours' wakes rely on that notice.
    pub fn open(&self) -> u64 {
        if weakened(Weakening::RemoteOpensAwake) {
            self.state.store(AWAKE, Ordering::Release);
        }
        let mut mailbox = lock(&self.mailbox);
        mailbox.epoch += 1;
        mailbox.open = true;
        mailbox.epoch
    }

    /// Ends the service: later calls are refused, and those that weren't made are
    /// returned, to be dropped.
    #[must_use]
    pub fn close(&self) -> Vec<J> {
        let mut mailbox = lock(&self.mailbox);
        mailbox.open = false;
        let calls = mem::take(&mut mailbox.calls);
        drop(mailbox);
        drop(lock(&self.bell).take());
        calls
    }

    /// Takes the calls that others have left.
    pub fn take_calls(&self, calls: &mut Vec<J>) {
        calls.append(&mut lock(&self.mailbox).calls);
    }

    /// Makes room for `tasks` tasks; before any of their wakers are given out.
    pub fn grow(&self, tasks: usize) {
        self.woken.grow(tasks);
    }

    /// Runs `f` with the bell, which is made if there is none yet; the flag says
    /// whether it is new.
    ///
    /// # Errors
    /// What making it, or `f`, gives.
    pub fn with_bell<R>(&self, f: impl FnOnce(&Doorbell, bool) -> io::Result<R>) -> io::Result<R> {
        let mut bell = lock(&self.bell);
        let new = bell.is_none();
        if new {
            *bell = Some(Doorbell::new()?);
        }
        f(bell.as_ref().expect("made above"), new)
    }

    /// Transition 1. `false` if there is something to collect: don't sleep then.
    /// The bell must have been made before.
    #[inline]
    #[must_use]
    pub fn begin_sleep(&self) -> bool {
        if weakened(Weakening::RemoteSleepsBlindly) {
            self.state.store(SLEEPING, Ordering::Release);
            return true;
        }
        // Release, partner: the Acquire of `notify`.
        self.state
            .compare_exchange(AWAKE, SLEEPING, Ordering::Release, Ordering::Relaxed)
            .is_ok()
    }

    /// Transition 2, in vain if somebody has notified the loop meanwhile.
    #[inline]
    pub fn end_sleep(&self) {
        // Relaxed: what it would need to see, `collect` acquires.
        let _ = self
            .state
            .compare_exchange(SLEEPING, AWAKE, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether there is something to collect. One plain load.
    #[inline]
    #[must_use]
    pub fn is_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) == NOTIFIED
    }

    /// Transition 4: calls `woken` with each of the first `tasks` tasks that
    /// others have woken since the last time.
    pub fn collect(&self, tasks: usize, woken: impl FnMut(u32)) {
        if weakened(Weakening::RemoteCollectsFirst) {
            self.woken.take(tasks, woken);
            self.state.store(AWAKE, Ordering::Relaxed);
            return;
        }
        // Before the bits are taken: a bit that is set after they were is
        // announced after this, and so found by the next `collect`.
        // Acquire, partner: the Release of `notify`.
        self.state.swap(AWAKE, Ordering::Acquire);
        self.woken.take(tasks, woken);
    }
}
