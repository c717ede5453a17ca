//! A cancellation token cancelled while others wait for it and have children of
//! it: `runtime/src/cancel/token.rs`.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Wake, Waker};

use threeply_runtime::cancel::CancellationToken;
use threeply_runtime::switch::{Weakening, weaken};

use crate::explore::explore;

/// Remembers a wake; of std, so that it adds no schedule.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

fn cancel_against_wait_model() {
    let token = CancellationToken::new();
    let canceller = {
        let token = token.clone();
        loom::thread::spawn(move || token.cancel())
    };
    let woken = Arc::new(Woken(AtomicBool::new(false)));
    let waker = Waker::from(woken.clone());
    let mut wait = pin!(token.cancelled());
    let ready = wait
        .as_mut()
        .poll(&mut Context::from_waker(&waker))
        .is_ready();
    assert!(canceller.join().unwrap(), "who cancels first is told so");
    assert!(ready || woken.0.load(Relaxed), "a waiter was forgotten");
    assert!(wait.poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn cancel_against_wait() {
    explore(3, cancel_against_wait_model);
}

#[test]
#[should_panic(expected = "a waiter was forgotten")]
fn cancel_against_wait_broken() {
    weaken(Weakening::TokenTakesEarly, || {
        explore(3, cancel_against_wait_model)
    });
}

fn cancel_against_child_model() {
    let token = CancellationToken::new();
    let canceller = {
        let token = token.clone();
        loom::thread::spawn(move || token.cancel())
    };
    let child = token.child_token();
    canceller.join().unwrap();
    assert!(child.is_cancelled(), "a child was forgotten");
}

#[test]
fn cancel_against_child() {
    explore(3, cancel_against_child_model);
}

#[test]
#[should_panic(expected = "a child was forgotten")]
fn cancel_against_child_broken() {
    weaken(Weakening::TokenForgetsChild, || {
        explore(3, cancel_against_child_model)
    });
}
