//! The recording thread's side: which ring is mine, and what time is it?
//!
//! The first event of a thread in a session finds it a ring, under a lock, at
//! the cost of some microseconds. All further ones are some 40 instructions: a load, a
//! comparison, the clock, and six stores. The clock is most of it: so events with nothing
//! between them but our own code share one look.
//!
//! ```text
//!  the end of a poll, of a sleep; a timer fires       look, and keep it: the moment begins
//!  a descriptor is ready                              the moment's time, or look and keep it
//!  a task is woken                                    the moment's time, or look
//!  a task that is being polled wakes itself           the next event's time
//!  a poll begins                                      the moment's time, or look; it is over
//!  all else                                           look
//! ```
//! Between polls, whoever runs what isn't ours or takes long ends the moment, by
//! [`let_time_pass`].
//!
//! Read before: [`super::clock`]. Next: [`super::names`].

use std::cell::Cell;
use std::sync::atomic::Ordering;

use super::clock::Clock;
use super::gate::STATE;
use super::record::{WITH_THE_NEXT, words};
use super::ring::Ring;
use super::session;
use crate::limits::TRACE_NAMES_CACHED;

/// What a thread knows of its ring. Without a destructor, so that events of
/// destructors of other thread-locals find it.
pub(super) struct Here {
    /// The state that the rest is about; 0 at first.
    state: Cell<u32>,
    /// `None` if there was none to be had.
    ring: Cell<Option<Ring<'static>>>,
    /// Which of the board's it is.
    index: Cell<usize>,
    /// How many records the ring was given.
    written: Cell<u64>,
    /// The time that [`record_at_once`] takes, while it is still now; 0 if it isn't known.
    moment: Cell<u64>,
    /// The task that the thread's loop polls, as its wake names it; 0 if it polls none.
    polled: Cell<u64>,
    /// The thread has ended its Rust life: no ring any more.
    gone: Cell<bool>,
    /// Keys of names that were noted in this session, by their low bits.
    names: [Cell<u64>; TRACE_NAMES_CACHED],
}

thread_local! {
    static HERE: Here = const {
        Here {
            state: Cell::new(0),
            ring: Cell::new(None),
            index: Cell::new(0),
            written: Cell::new(0),
            moment: Cell::new(0),
            polled: Cell::new(0),
            gone: Cell::new(false),
            names: [const { Cell::new(0) }; TRACE_NAMES_CACHED],
        }
    };
    static LEAVE: Leave = const { Leave };
}

/// Gives the ring back when the thread ends.
struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        HERE.with(|here| {
            here.gone.set(true);
            if here.ring.take().is_some()
                && let Some(board) = session::board()
            {
                board.leave(here.index.get());
            }
        });
    }
}

/// Notes an event of this thread.
#[cold]
#[inline(never)]
pub(super) fn record(label: u32, a: u64, b: u64) {
    HERE.with(|here| here.note(label, a, b, Stamp::Now));
}

/// Notes an event, and keeps its time for [`record_at_once`].
#[cold]
#[inline(never)]
pub(super) fn record_moment(label: u32, a: u64, b: u64) {
    HERE.with(|here| here.note(label, a, b, Stamp::Kept));
}

/// Notes an event at the time that was kept, or keeps the time now.
#[cold]
#[inline(never)]
pub(super) fn record_at_once(label: u32, a: u64, b: u64) {
    HERE.with(|here| here.note(label, a, b, Stamp::AtOnce));
}

/// Notes that a poll begins, at the time that was kept: from here on, time passes.
#[cold]
#[inline(never)]
pub(super) fn record_poll(label: u32, task: u64, place: u64) {
    HERE.with(|here| {
        here.note(label, task, place, Stamp::Moment);
        here.moment.set(0);
        here.polled.set(place);
    });
}

/// Notes that a poll is over, and keeps the time.
#[cold]
#[inline(never)]
pub(super) fn record_poll_end(label: u32, task: u64, ended: u64) {
    HERE.with(|here| {
        here.polled.set(0);
        here.note(label, task, ended, Stamp::Kept);
    });
}

/// Notes that a task was woken: one that wakes itself can't be polled before its poll
/// is over, so whoever looks at the clock next tells this time too.
#[cold]
#[inline(never)]
pub(super) fn record_wake(label: u32, place: u64, in_vain: u64) {
    HERE.with(|here| {
        let stamp = match here.polled.get() == place {
            true => Stamp::Next,
            false => Stamp::Moment,
        };
        here.note(label, place, in_vain, stamp);
    });
}

/// See [`let_time_pass`](super::gate::let_time_pass).
#[cold]
#[inline(never)]
pub(super) fn let_time_pass() {
    HERE.with(Here::let_time_pass);
}

/// Where an event's time comes from.
#[derive(Clone, Copy)]
enum Stamp {
    /// The clock.
    Now,
    /// The clock, and it is kept.
    Kept,
    /// What was kept; the clock if nothing was.
    Moment,
    /// As `Moment`, and it is kept.
    AtOnce,
    /// The next record of this thread that has a time: see [`WITH_THE_NEXT`].
    Next,
}

#[cold]
#[inline(never)]
fn homeless() {
    if let Some(board) = session::board() {
        board.count_homeless(1);
    }
}

/// Whether this thread has noted the name with this key in this session; if not,
/// the caller notes it now.
pub(super) fn knows_name(key: u64) -> bool {
    let state = STATE.load(Ordering::Relaxed);
    HERE.with(|here| {
        if here.state.get() != state && !here.begin(state) {
            return true; // Nothing is recorded.
        }
        let place = (key ^ key >> 8) as usize % TRACE_NAMES_CACHED;
        here.names[place].replace(key) == key
    })
}

impl Here {
    #[inline(always)]
    fn note(&self, label: u32, a: u64, b: u64, stamp: Stamp) {
        let state = STATE.load(Ordering::Relaxed);
        if self.state.get() != state {
            return self.note_first(state, label, a, b);
        }
        let Some(ring) = self.ring.get() else {
            return homeless();
        };
        let known = match stamp {
            Stamp::Now | Stamp::Kept => 0,
            Stamp::Moment | Stamp::AtOnce => self.moment.get(),
            Stamp::Next => return self.put(ring, WITH_THE_NEXT, label, (a, b), stamp),
        };
        let ticks = match Clock::of_state(state) {
            _ if known != 0 => known,
            Clock::Counter => Clock::Counter.ticks(),
            // Apart: a call in here would have each event save registers.
            Clock::Monotonic => return self.note_slowly(label, (a, b), stamp),
        };
        self.put(ring, ticks, label, (a, b), stamp);
    }

    /// As `note`, where the kernel has to be asked for the time.
    #[cold]
    #[inline(never)]
    fn note_slowly(&self, label: u32, numbers: (u64, u64), stamp: Stamp) {
        if let Some(ring) = self.ring.get() {
            let ticks = Clock::Monotonic.ticks();
            self.put(ring, ticks, label, numbers, stamp);
        }
    }

    #[inline(always)]
    fn put(&self, ring: Ring<'static>, ticks: u64, label: u32, (a, b): (u64, u64), stamp: Stamp) {
        let number = self.written.get();
        ring.push(number, words(number, ticks, label, a, b));
        self.written.set(number + 1);
        if matches!(stamp, Stamp::Kept | Stamp::AtOnce) {
            self.moment.set(ticks);
        }
    }

    fn let_time_pass(&self) {
        self.moment.set(0);
        self.polled.set(0);
    }

    #[cold]
    #[inline(never)]
    fn note_first(&self, state: u32, label: u32, a: u64, b: u64) {
        if self.begin(state) {
            self.note(label, a, b, Stamp::Now);
        }
    }

    /// The first event in a session: gets a ring for it, or takes the one there
    /// is along. `false` if nothing is recorded (any more).
    #[cold]
    #[inline(never)]
    fn begin(&self, state: u32) -> bool {
        if state == 0 {
            return false;
        }
        // Set first: what follows may come here again, by an allocator of the
        // user's that has something to tell.
        self.state.set(state);
        self.let_time_pass();
        self.names.iter().for_each(|name| name.set(0));
        let Some((board, _turn)) = session::board_in_turn() else {
            return false;
        };
        match self.ring.get() {
            Some(_) => board.admit(self.index.get(), state),
            // Whoever can't give a ring back gets none.
            None if self.gone.get() || LEAVE.try_with(|_| ()).is_err() => {}
            None => {
                let thread = std::thread::current();
                let tid = nix::unistd::gettid().as_raw().unsigned_abs();
                let name = thread.name().unwrap_or("thread");
                let claimed = board.claim(state, tid, name);
                if let Some((index, ring)) = claimed {
                    self.index.set(index);
                    self.written.set(ring.written());
                    self.ring.set(Some(ring));
                }
            }
        }
        true
    }
}
