//! All timers of one loop: a slab of them, the wheel of those that are far, and
//! the window of those that are near.
//!
//! *Read after* [`super`] (what a program sees of time); *next* [`super::wheel`].
//! There is no clock in here and no I/O. The loop's turn asks
//! [`next_deadline`](TimerDriver::next_deadline) how long it may sleep, tells
//! [`expire`](TimerDriver::expire) what time it is, and wakes what it gets.
//!
//! ```text
//!                 ┌──────────────────────── slab ────────────────────────┐
//!   TimerKey ───► │ deadline · waker · generation · state                │
//!                 └──────────────────────────────────────────────────────┘
//!     far: the wheel's slots        near: the open window (65.5 µs)
//!     [entry entry entry]   open    run  [entry entry entry]   sorted once
//!     [entry]              ──────►  late {entry}               a heap
//! ```
//!
//! An entry is in one of three homes. `insert` puts it into its wheel slot; when
//! the slot's time comes, the slot becomes the *run*, sorted by exact deadline;
//! a timer made for the window that is already open (a sleep of a few µs) goes
//! to the heap *late*. The run and `late` are merged as they fire, so timers
//! fire in the order of their deadlines to the nanosecond, and those of equal
//! deadline in the order in which they were made.
//!
//! Cancelling is lazy: the timer leaves the slab and its entry stays behind,
//! dead, found out later by its generation. The common case, in which the entry
//! is still the last of its slot, takes it out at once; and when dead entries
//! outnumber the living, all homes are swept. So both are O(1), amortized.
//!
//! A waker belongs to whoever gave it and may run any code when dropped, also
//! code that comes back here: no method drops one; they hand them back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Waker;

use super::wheel::{Entry, KEPT_CAPACITY, Place, Wheel};
use crate::task::waker::id_of;
use crate::trace::{Kind, emit, is_on};

/// Dead entries that are tolerated beyond the number of living ones before all
/// slots are swept.
pub const TOLERATED_DEAD: usize = 64;

/// A timer in a [`TimerDriver`], owned by whoever inserted it: also one that has
/// fired stays in the slab until [`cancel`](TimerDriver::cancel) takes its key
/// back. So a key never names somebody else's timer.
#[derive(Debug)]
#[must_use = "a timer lives until its key is given to `TimerDriver::cancel`"]
pub struct TimerKey(u32);

/// The life of a slab place.
///
/// ```text
///           1 insert                3 expire
///   Free ─────────────► Slot(place) ────────► Fired
///    ▲  └─────────────► Window ──────────────►  │
///    │      2 insert      │  4 expire           │
///    └────────────────────┴─────────────────────┘
///                     5 cancel
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    /// Inserted into the wheel there; by now it may have moved on.
    Slot(Place),
    /// Inserted into the open window.
    Window,
    Fired,
}

struct Timer {
    deadline: u64,
    waker: Option<Waker>,
    generation: u32,
    state: State,
}

/// An entry of the heap: earliest first, then in order of insertion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Late {
    deadline: u64,
    sequence: u64,
    timer: u32,
    generation: u32,
}

impl Late {
    fn entry(self) -> Entry {
        Entry {
            deadline: self.deadline,
            timer: self.timer,
            generation: self.generation,
        }
    }
}

/// The timers of a loop. See the [module](self) for how it works.
///
/// Times are nanoseconds since any fixed moment; `u64::MAX` is 584 years.
pub struct TimerDriver {
    timers: Vec<Timer>,
    free: Vec<u32>,
    /// Timers that wait, that is, neither cancelled nor fired.
    waiting: usize,
    /// Entries in the three homes, dead ones included.
    entries: usize,
    wheel: Wheel,
    run: Vec<Entry>,
    /// How much of `run` has fired already.
    run_fired: usize,
    late: BinaryHeap<Reverse<Late>>,
    sequence: u64,
    /// Not later than the earliest deadline; what `next_deadline` answers if
    /// `earliest_known`.
    earliest: u64,
    earliest_known: bool,
}

#[inline]
fn is_alive(timers: &[Timer], entry: &Entry) -> bool {
    timers[entry.timer as usize].generation == entry.generation
}

impl TimerDriver {
    /// A driver without timers. Allocates nothing.
    pub const fn new() -> Self {
        TimerDriver {
            timers: Vec::new(),
            free: Vec::new(),
            waiting: 0,
            entries: 0,
            wheel: Wheel::new(),
            run: Vec::new(),
            run_fired: 0,
            late: BinaryHeap::new(),
            sequence: 0,
            earliest: u64::MAX,
            earliest_known: true,
        }
    }

    /// Timers that wait: neither fired nor cancelled.
    #[inline]
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Every timer that waits, in no order: its deadline and whom it wakes. For
    /// dumps; O(n).
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Waker)> {
        let waits = |timer: &&Timer| !matches!(timer.state, State::Free | State::Fired);
        let timers = self.timers.iter().filter(waits);
        timers.filter_map(|timer| Some((timer.deadline, timer.waker.as_ref()?)))
    }

    /// Whether no timer waits; the loop then needn't read the clock.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Adds a timer that fires at the first [`expire`](Self::expire) with
    /// `now_ns >= deadline_ns`, the past included. O(1); O(log n) if the deadline
    /// lies in the window of 65.5 µs that is open.
    ///
    /// # Panics
    /// If 2^32 timers exist.
    #[inline]
    pub fn insert(&mut self, deadline_ns: u64, waker: Waker) -> TimerKey {
        let index = match self.free.pop() {
            Some(index) => index,
            None => self.add_place(),
        };
        let waiter = id_of(&waker).map_or(0, |id| id.0);
        emit(Kind::TimerSet, line!(), waiter, deadline_ns);
        let timer = &mut self.timers[index as usize];
        let entry = Entry {
            deadline: deadline_ns,
            timer: index,
            generation: timer.generation,
        };
        timer.deadline = deadline_ns;
        timer.waker = Some(waker);
        timer.state = if deadline_ns > self.wheel.window_end() {
            State::Slot(self.wheel.insert(entry)) // transition 1
        } else {
            self.sequence += 1;
            self.late.push(Reverse(Late {
                deadline: deadline_ns,
                sequence: self.sequence,
                timer: index,
                generation: entry.generation,
            }));
            State::Window // transition 2
        };
        self.waiting += 1;
        self.entries += 1;
        self.earliest = self.earliest.min(deadline_ns);
        TimerKey(index)
    }

    #[cold]
    fn add_place(&mut self) -> u32 {
        let index = u32::try_from(self.timers.len()).expect("at most 2^32 timers on one loop");
        self.timers.push(Timer {
            deadline: 0,
            waker: None,
            generation: 0,
            state: State::Free,
        });
        index
    }

    /// Takes a timer away, fired or not, and gives back its waker if it still
    /// had one: drop it when the driver is no longer borrowed. O(1), amortized.
    #[inline]
    pub fn cancel(&mut self, key: TimerKey) -> Option<Waker> {
        let index = key.0;
        let timer = &mut self.timers[index as usize];
        let (generation, state) = (timer.generation, timer.state);
        debug_assert_ne!(state, State::Free);
        let waker = timer.waker.take();
        // Transition 5. The new generation makes an entry left behind dead.
        timer.generation = generation.wrapping_add(1);
        timer.state = State::Free;
        let deadline = timer.deadline;
        self.free.push(index);
        if state != State::Fired {
            if is_on() {
                let waiter = waker.as_ref().and_then(id_of).map_or(0, |id| id.0);
                emit(Kind::TimerCancelled, line!(), waiter, deadline);
            }
            self.waiting -= 1;
            if deadline <= self.earliest {
                self.earliest_known = false;
            }
            let removed = match state {
                State::Slot(place) => self.wheel.remove_last(place, index, generation),
                _ => false,
            };
            if removed {
                self.entries -= 1;
            } else if self.entries > 2 * self.waiting + TOLERATED_DEAD {
                self.sweep();
            }
        }
        waker
    }

    /// Whether the timer has fired.
    #[inline]
    pub fn has_fired(&self, key: &TimerKey) -> bool {
        self.timers[key.0 as usize].state == State::Fired
    }

    /// Whether the timer waits and would wake the same task as `waker`.
    #[inline]
    pub fn will_wake(&self, key: &TimerKey, waker: &Waker) -> bool {
        let set = &self.timers[key.0 as usize].waker;
        set.as_ref().is_some_and(|set| set.will_wake(waker))
    }

    /// Changes whom a waiting timer wakes and gives back the waker that it is no
    /// longer going to use: the old one, or `waker` itself if the timer has
    /// fired. Drop it when the driver is no longer borrowed.
    #[inline]
    pub fn set_waker(&mut self, key: &TimerKey, waker: Waker) -> Option<Waker> {
        let timer = &mut self.timers[key.0 as usize];
        if timer.state == State::Fired {
            return Some(waker);
        }
        timer.waker.replace(waker)
    }

    /// When [`expire`](Self::expire) should be called next, or `None` if no timer
    /// waits. Never later than the earliest deadline. It is earlier only if the
    /// earliest of more than 32 timers of a slot was cancelled; `expire` then
    /// fires nothing, once for that slot.
    ///
    /// O(1), amortized.
    #[inline]
    pub fn next_deadline(&mut self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        if !self.earliest_known {
            self.find_earliest();
        }
        Some(self.earliest)
    }

    fn find_earliest(&mut self) {
        let timers = &self.timers;
        while let Some(entry) = self.run.get(self.run_fired)
            && !is_alive(timers, entry)
        {
            self.run_fired += 1;
            self.entries -= 1;
        }
        while let Some(Reverse(late)) = self.late.peek()
            && !is_alive(timers, &late.entry())
        {
            self.late.pop();
            self.entries -= 1;
        }
        let run = self.run.get(self.run_fired).map(|entry| entry.deadline);
        let late = self.late.peek().map(|late| late.0.deadline);
        self.earliest = match (run, late) {
            (Some(run), Some(late)) => run.min(late),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => {
                let entries = &mut self.entries;
                let earliest = self.wheel.earliest(|entry| {
                    let alive = is_alive(timers, entry);
                    *entries -= usize::from(!alive);
                    alive
                });
                earliest.unwrap_or(u64::MAX)
            }
        };
        self.earliest_known = true;
    }

    /// Fires every timer whose deadline is not after `now_ns`: appends their
    /// wakers to `wakers`, in order of their deadlines and, where these are
    /// equal, of their insertion. Returns how many fired.
    ///
    /// `now_ns` should not decrease from call to call; if it does, nothing fires
    /// early. O(1) for each timer, amortized, plus sorting the window it was in.
    #[inline]
    pub fn expire(&mut self, now_ns: u64, wakers: &mut Vec<Waker>) -> usize {
        if self.waiting == 0 {
            if self.entries > 0 {
                self.sweep();
            }
            self.reset_run();
            self.wheel.skip_to(now_ns);
            return 0;
        }
        if now_ns < self.earliest {
            return 0;
        }
        self.expire_due(now_ns, wakers)
    }

    fn expire_due(&mut self, now: u64, wakers: &mut Vec<Waker>) -> usize {
        let waiting = self.waiting;
        loop {
            if !self.fire_window(now, wakers) {
                break; // The rest of the window is after `now`.
            }
            self.reset_run();
            let timers = &self.timers;
            // Without dead entries a cascade needn't touch the timers.
            let all_alive = self.entries == self.waiting;
            let alive = |entry: &Entry| all_alive || is_alive(timers, entry);
            let Some(dead) = self.wheel.open(now, &mut self.run, alive) else {
                self.wheel.skip_to(now);
                break;
            };
            self.entries -= dead;
            // Stable, so that equal deadlines stay in order of insertion.
            self.run.sort_by_key(|entry| entry.deadline);
        }
        self.find_earliest();
        waiting - self.waiting
    }

    /// Fires what is due in the open window. Returns whether that was all of it.
    fn fire_window(&mut self, now: u64, wakers: &mut Vec<Waker>) -> bool {
        loop {
            let run = self.run.get(self.run_fired).copied();
            let late = self.late.peek().map(|late| late.0.entry());
            // At equal deadlines the run is older: it was in the wheel before
            // the window opened, `late` came after.
            let (entry, is_late) = match (run, late) {
                (None, None) => return true,
                (Some(run), Some(late)) if late.deadline < run.deadline => (late, true),
                (Some(run), _) => (run, false),
                (None, Some(late)) => (late, true),
            };
            if entry.deadline > now {
                return false;
            }
            if is_late {
                self.late.pop();
            } else {
                self.run_fired += 1;
            }
            self.entries -= 1;
            let timer = &mut self.timers[entry.timer as usize];
            if timer.generation == entry.generation {
                timer.state = State::Fired; // transitions 3 and 4
                self.waiting -= 1;
                wakers.extend(timer.waker.take());
            }
        }
    }

    fn reset_run(&mut self) {
        self.run.clear();
        self.run_fired = 0;
        if self.run.capacity() > KEPT_CAPACITY {
            self.run = Vec::new();
        }
    }

    /// Drops every dead entry.
    #[cold]
    fn sweep(&mut self) {
        let timers = &self.timers;
        self.run.drain(..self.run_fired);
        self.run_fired = 0;
        self.run.retain(|entry| is_alive(timers, entry));
        self.late
            .retain(|Reverse(late)| is_alive(timers, &late.entry()));
        self.wheel.sweep(|entry| is_alive(timers, entry));
        self.entries = self.waiting;
    }
}

impl Default for TimerDriver {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
