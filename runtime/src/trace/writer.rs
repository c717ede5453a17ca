//! The recording thread's side: which ring is mine, and what time is it?
//!
//! The first event of a thread in a session finds it a ring, under a lock, at
//! the cost of some microseconds. All further ones are a load, a comparison, the
//! clock, and five stores.
//!
//! Read before: [`super::clock`]. Next: [`super::names`].

use std::cell::Cell;
use std::sync::atomic::Ordering;

use super::clock::Clock;
use super::event::Kind;
use super::gate::STATE;
use super::record::Record;
use super::ring::Ring;
use super::session;
use crate::limits::TRACE_NAMES_CACHED;

/// What a thread knows of its ring. Without a destructor, so that events of
/// destructors of other thread-locals find it.
pub(super) struct Here {
    /// The state that the rest is about; 0 at first.
    state: Cell<u32>,
    /// `None` if there was none to be had.
    ring: Cell<Option<(usize, Ring<'static>)>>,
    /// How many records the ring was given.
    written: Cell<u64>,
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
            written: Cell::new(0),
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
            if let Some((index, _)) = here.ring.take()
                && let Some(board) = session::board()
            {
                board.leave(index);
            }
        });
    }
}

/// Notes an event of this thread.
#[cold]
#[inline(never)]
pub(super) fn record(kind: Kind, line: u32, a: u64, b: u64) {
    let state = STATE.load(Ordering::Relaxed);
    HERE.with(|here| {
        if here.state.get() != state && !here.begin(state) {
            return;
        }
        match here.ring.get() {
            Some((_, ring)) => {
                let record = Record {
                    ticks: Clock::of_state(state).ticks(),
                    kind,
                    line,
                    a,
                    b,
                };
                let number = here.written.get();
                ring.push(number, record.to_words(number));
                here.written.set(number + 1);
            }
            None => homeless(),
        }
    });
}

#[cold]
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
        self.names.iter().for_each(|name| name.set(0));
        let Some((board, _turn)) = session::board_in_turn() else {
            return false;
        };
        match self.ring.get() {
            Some((index, _)) => board.admit(index, state),
            // Whoever can't give a ring back gets none.
            None if self.gone.get() || LEAVE.try_with(|_| ()).is_err() => {}
            None => {
                let thread = std::thread::current();
                let tid = nix::unistd::gettid().as_raw().unsigned_abs();
                let name = thread.name().unwrap_or("thread");
                let claimed = board.claim(state, tid, name);
                self.written
                    .set(claimed.map_or(0, |(_, ring)| ring.written()));
                self.ring.set(claimed);
            }
        }
        true
    }
}
