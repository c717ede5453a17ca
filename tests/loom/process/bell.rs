//! Telling before looking, on both sides: `pools/src/process/bell.rs`.

use std::sync::Arc;

use threeply_pools::process::bell::{Asleep, Wake};
use threeply_pools::switch::{Weakening, weaken};
use threeply_runtime::switch::atomic::{AtomicBool, Ordering::Relaxed};

use crate::explore::explore;

#[derive(Default)]
struct Shared {
    published: AtomicBool,
    rung: AtomicBool,
    asleep: Asleep,
    wake: Wake,
}

/// The worker sleeps, the parent publishes a request.
fn a_sleeping_worker_is_rung_model() {
    let shared = Arc::new(Shared::default());
    let parent = shared.clone();
    let parent = loom::thread::spawn(move || {
        parent.published.store(true, Relaxed);
        if parent.asleep.must_ring() {
            parent.rung.store(true, Relaxed);
        }
    });
    shared.asleep.announce();
    let seen = shared.published.load(Relaxed);
    parent.join().unwrap();
    let rung = shared.rung.load(Relaxed);
    assert!(seen || rung, "a worker sleeps over a request");
}

/// The parent asks for a ring from a reply on, the worker publishes that reply.
fn a_reply_that_is_waited_for_rings_model() {
    let shared = Arc::new(Shared::default());
    let worker = shared.clone();
    let worker = loom::thread::spawn(move || {
        worker.published.store(true, Relaxed);
        Wake::published();
        if worker.wake.must_ring(7) {
            worker.rung.store(true, Relaxed);
        }
    });
    shared.wake.ask(7);
    let seen = shared.published.load(Relaxed);
    worker.join().unwrap();
    let rung = shared.rung.load(Relaxed);
    assert!(seen || rung, "a caller sleeps over its reply");
}

#[test]
fn a_sleeping_worker_is_rung() {
    explore(3, a_sleeping_worker_is_rung_model);
}

#[test]
#[should_panic(expected = "a worker sleeps over a request")]
fn a_sleeping_worker_is_rung_broken() {
    weaken(Weakening::BellWithoutFence, || {
        explore(3, a_sleeping_worker_is_rung_model);
    });
}

#[test]
fn a_reply_that_is_waited_for_rings() {
    explore(3, a_reply_that_is_waited_for_rings_model);
}

#[test]
#[should_panic(expected = "a caller sleeps over its reply")]
fn a_reply_that_is_waited_for_rings_broken() {
    weaken(Weakening::BellWithoutFence, || {
        explore(3, a_reply_that_is_waited_for_rings_model);
    });
}
