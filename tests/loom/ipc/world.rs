//! A world without a kernel: where parties of a model sleep, are woken and die.

use loom::sync::{Condvar, Mutex};
use std::sync::Arc;
use threeply_pools::ipc::identity::Identity;
use threeply_pools::ipc::kernel::{Deadline, Party, Slept};
use threeply_pools::ipc::members::{Table, Token};
use threeply_pools::switch::{AtomicU32, Ordering::Relaxed};

/// Seats of a model's table.
pub(crate) const SEATS: usize = 3;

/// What all parties of a model share beside the object.
pub(crate) struct World {
    state: Mutex<State>,
    changed: Condvar,
    tokens: [Token; SEATS],
}

#[derive(Default)]
struct State {
    /// Who sleeps on which word.
    asleep: Vec<(usize, usize)>,
    /// Whose sleep was ended by a pulse.
    pulsed: [bool; SEATS],
    dead: Vec<usize>,
    finished: usize,
    released: bool,
}

/// Pulses without any other event after which nothing new can come of one.
const PULSES: usize = 3;

impl World {
    /// A world with [`SEATS`] living parties.
    pub(crate) fn new() -> Arc<World> {
        let table = Table::<SEATS>::default();
        Arc::new(World {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            tokens: std::array::from_fn(|seat| {
                let who = Identity::from_bits(seat as u64 + 1);
                table.attach(who, |_| true).expect("a free seat")
            }),
        })
    }

    /// One party's view.
    pub(crate) fn party(self: &Arc<World>, seat: usize) -> Member {
        Member {
            world: self.clone(),
            seat,
        }
    }

    /// That party is dead from the beginning.
    pub(crate) fn bury(&self, seat: usize) {
        self.state.lock().unwrap().dead.push(seat);
    }

    /// Whether that party is dead.
    pub(crate) fn is_dead(&self, seat: usize) -> bool {
        self.state.lock().unwrap().dead.contains(&seat)
    }

    /// Waits until each of the `count` parties, which all have threads of their own,
    /// has finished or died. Those who sleep with nobody left to wake them get
    /// pulses if somebody has died; if that doesn't help, or nobody has, they were
    /// forgotten.
    pub(crate) fn settle(&self, count: usize) {
        let mut state = self.state.lock().unwrap();
        for pulse in 0.. {
            while state.finished + state.asleep.len() < count {
                state = self.changed.wait(state).unwrap();
            }
            if state.asleep.is_empty() {
                break;
            }
            assert!(
                pulse < PULSES && !state.dead.is_empty(),
                "a sleeper was forgotten"
            );
            for (_, seat) in std::mem::take(&mut state.asleep) {
                state.pulsed[seat] = true;
            }
            self.changed.notify_all();
        }
        state.released = true;
        drop(state);
        self.changed.notify_all();
    }
}

/// A party of a model.
pub(crate) struct Member {
    world: Arc<World>,
    seat: usize,
}

impl Member {
    /// It has done what it was there for.
    pub(crate) fn finish(&self) {
        self.world.state.lock().unwrap().finished += 1;
        self.world.changed.notify_all();
    }

    /// Dies: goes no further as long as the model is about anything.
    pub(crate) fn die(&self) {
        let mut state = self.world.state.lock().unwrap();
        state.dead.push(self.seat);
        state.finished += 1;
        self.world.changed.notify_all();
        while !state.released {
            state = self.world.changed.wait(state).unwrap();
        }
    }
}

impl Party for Member {
    fn sleep(&self, word: &AtomicU32, expected: u32, _: Deadline) -> Slept {
        let place = std::ptr::from_ref(word) as usize;
        let mut state = self.world.state.lock().unwrap();
        // The kernel looks once more, under the lock that `wake` takes.
        if word.load(Relaxed) != expected {
            return Slept::Woken;
        }
        state.asleep.push((place, self.seat));
        self.world.changed.notify_all();
        while state.asleep.contains(&(place, self.seat)) {
            state = self.world.changed.wait(state).unwrap();
        }
        if std::mem::take(&mut state.pulsed[self.seat]) {
            Slept::Elapsed
        } else {
            Slept::Woken
        }
    }

    fn wake(&self, word: &AtomicU32, count: u32) {
        let place = std::ptr::from_ref(word) as usize;
        let mut state = self.world.state.lock().unwrap();
        for _ in 0..count.min(SEATS as u32) {
            if let Some(one) = state.asleep.iter().position(|(at, _)| *at == place) {
                state.asleep.remove(one);
            }
        }
        self.world.changed.notify_all();
    }

    fn me(&self) -> Token {
        self.world.tokens[self.seat]
    }

    fn is_alive(&self, token: Token) -> bool {
        let state = self.world.state.lock().unwrap();
        !state
            .dead
            .iter()
            .any(|seat| self.world.tokens[*seat] == token)
    }

    fn sweep(&self) -> u32 {
        self.deaths()
    }

    fn deaths(&self) -> u32 {
        self.world.state.lock().unwrap().dead.len() as u32
    }

    fn has_peers(&self) -> bool {
        true
    }
}
