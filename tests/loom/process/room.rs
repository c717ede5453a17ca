//! Tasks that wait for room in the queue: `pools/src/process/state/room.rs`.

use std::sync::Arc;
use std::task::{Wake, Waker};

use threeply_pools::process::state::Room;
use threeply_pools::switch::{Mutex, Weakening, weaken};
use threeply_runtime::switch::atomic::{AtomicBool, Ordering::Relaxed};

use crate::explore::explore;

struct Task(AtomicBool);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

/// The part of a pool's state that matters here, under its lock.
#[derive(Default)]
struct State {
    room: Room,
    free: usize,
}

fn tell(state: &Mutex<State>) {
    let mut state = state.lock().unwrap();
    let free = state.free;
    let called = state.room.call(free);
    drop(state);
    called.into_iter().for_each(Waker::wake);
}

/// Two tasks wait. There is room for one, and the first of them gives up.
fn room_is_passed_on_model() {
    let state = Arc::new(Mutex::new(State::default()));
    let second = Arc::new(Task(AtomicBool::new(false)));
    let place = {
        let mut state = state.lock().unwrap();
        let place = state.room.wait(None, Waker::noop());
        state.room.wait(None, &Waker::from(second.clone()));
        place
    };
    let pool = state.clone();
    let makes_room = loom::thread::spawn(move || {
        pool.lock().unwrap().free += 1;
        tell(&pool);
    });
    let pool = state.clone();
    let gives_up = loom::thread::spawn(move || {
        let called = pool.lock().unwrap().room.give_up(place);
        if called {
            tell(&pool);
        }
    });
    makes_room.join().unwrap();
    gives_up.join().unwrap();
    assert!(second.0.load(Relaxed), "there is room, and nobody was told");
}

#[test]
fn room_is_passed_on() {
    explore(2, room_is_passed_on_model);
}

#[test]
#[should_panic(expected = "there is room, and nobody was told")]
fn room_is_passed_on_broken() {
    weaken(Weakening::GiveUpUntold, || {
        explore(2, room_is_passed_on_model);
    });
}
