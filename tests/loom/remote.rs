//! The remote side of a loop (`runtime/src/remote/`): wakes and calls from other
//! threads against a loop that falls asleep, ends, and begins again.
//!
//! The loop's part is played by [`Sleeper`], in the steps of the real one
//! (`event_loop/turn.rs`), except that it never really sleeps: where the real
//! one would sleep on, a model asserts that the bell was rung.
//!
//! "The drop of the last waker against the end of the loop" has no race to model
//! in a runtime whose wakers own nothing; what is left of it is their last use,
//! and that is `bell_against_end_of_loop`.

use std::sync::Arc;

use loom::thread;
use threeply_runtime::remote::Remote;
use threeply_runtime::switch::atomic::{AtomicUsize, Ordering::Relaxed};
use threeply_runtime::switch::{Doorbell, Weakening, weaken};
use threeply_runtime::task::slab::MAILBOX;

use crate::explore::explore;

const TASKS: usize = 128;

/// The loop's side of the protocol.
struct Sleeper {
    remote: Arc<Remote<usize>>,
    bell: Doorbell,
    asleep: bool,
    /// Tasks collected so far.
    woken: Vec<u32>,
}

impl Sleeper {
    fn new(remote: &Arc<Remote<usize>>) -> Sleeper {
        let bell = remote.with_bell(|bell, _| Ok(bell.clone()));
        Sleeper {
            remote: remote.clone(),
            bell: bell.expect("a model's bell can be made"),
            asleep: false,
            woken: Vec::new(),
        }
    }

    /// Steps 3 and 5 of a turn in which no task is ready.
    fn turn(&mut self) {
        assert!(!self.asleep);
        if self.remote.is_notified() || !self.remote.begin_sleep() {
            self.collect();
        } else {
            self.asleep = true;
        }
    }

    fn collect(&mut self) {
        let woken = &mut self.woken;
        self.remote.collect(TASKS, |task| woken.push(task));
    }

    /// When the other threads have done all they did: a loop that fell asleep
    /// must have been rung for if there is anything; then it collects.
    fn finish(&mut self, expected: usize) {
        if self.asleep {
            assert!(
                self.woken.len() >= expected || self.bell.is_rung(),
                "the loop sleeps over a wake"
            );
            self.remote.end_sleep();
            self.asleep = false;
        }
        if self.remote.is_notified() {
            self.collect();
        }
    }

    fn has_woken(&self, task: u32) -> bool {
        self.woken.contains(&task)
    }
}

fn remote() -> Arc<Remote<usize>> {
    let remote = Arc::new(Remote::new(1));
    remote.grow(TASKS);
    remote.open();
    remote
}

fn wake_against_park_model() {
    let remote = remote();
    let mut sleeper = Sleeper::new(&remote);
    let data = Arc::new(AtomicUsize::new(0));
    let theirs = data.clone();
    let waker = thread::spawn(move || {
        theirs.store(1, Relaxed);
        remote.wake(5);
    });
    sleeper.turn();
    if sleeper.has_woken(5) {
        assert_eq!(data.load(Relaxed), 1, "a wake came before its cause");
    }
    waker.join().unwrap();
    sleeper.finish(1);
    assert!(sleeper.has_woken(5), "a wake was lost");
}

#[test]
fn wake_against_park() {
    explore(4, wake_against_park_model);
}

#[test]
#[should_panic(expected = "the loop sleeps over a wake")]
fn wake_against_park_broken() {
    weaken(Weakening::RemoteSleepsBlindly, || {
        explore(4, wake_against_park_model)
    });
}

fn two_wakes_against_park_model() {
    let remote = remote();
    let mut sleeper = Sleeper::new(&remote);
    let wakers = [5, 7].map(|task| {
        let remote = remote.clone();
        thread::spawn(move || remote.wake(task))
    });
    sleeper.turn();
    if !sleeper.asleep {
        sleeper.turn();
    }
    for waker in wakers {
        waker.join().unwrap();
    }
    sleeper.finish(2);
    for task in [5, 7] {
        assert!(sleeper.has_woken(task), "a wake was lost");
    }
}

#[test]
fn two_wakes_against_park() {
    explore(3, two_wakes_against_park_model);
}

#[test]
#[should_panic(expected = "the loop sleeps over a wake")]
fn two_wakes_against_park_broken() {
    weaken(Weakening::RemoteCollectsFirst, || {
        explore(3, two_wakes_against_park_model)
    });
}

/// Place 5 has a new owner, while a waker of the former one is still used. The
/// owner is polled when its place is collected; its work is done once such a
/// poll has seen what its own waker wrote.
fn wake_against_reuse_of_the_place_model() {
    let remote = remote();
    let mut sleeper = Sleeper::new(&remote);
    let data = Arc::new(AtomicUsize::new(0));
    let late = {
        let remote = remote.clone();
        thread::spawn(move || remote.wake(5))
    };
    let own = {
        let (remote, data) = (remote.clone(), data.clone());
        thread::spawn(move || {
            data.store(1, Relaxed);
            remote.wake(5);
        })
    };
    let mut done = false;
    let mut poll_if_woken = |sleeper: &mut Sleeper| {
        if std::mem::take(&mut sleeper.woken).contains(&5) {
            done |= data.load(Relaxed) == 1;
        }
    };
    sleeper.turn();
    poll_if_woken(&mut sleeper);
    if !sleeper.asleep {
        sleeper.turn();
        poll_if_woken(&mut sleeper);
    }
    // Not joined, which would publish what they wrote: found out by their bits.
    for _ in 0..2 {
        if sleeper.asleep && sleeper.bell.is_rung() {
            sleeper.remote.end_sleep();
            sleeper.asleep = false;
        }
        if !sleeper.asleep && sleeper.remote.is_notified() {
            sleeper.collect();
            poll_if_woken(&mut sleeper);
        }
    }
    late.join().unwrap();
    own.join().unwrap();
    let noticed = sleeper.remote.is_notified();
    assert!(done || noticed, "the new owner's wake was spent on the old");
}

#[test]
fn wake_against_reuse_of_the_place() {
    explore(3, wake_against_reuse_of_the_place_model);
}

#[test]
#[should_panic(expected = "the new owner's wake was spent on the old")]
fn wake_against_reuse_of_the_place_broken() {
    weaken(Weakening::RemoteWakesRelaxed, || {
        explore(3, wake_against_reuse_of_the_place_model)
    });
}

/// A waker of a loop that ends is used while its id passes to the next loop,
/// whose own task, a neighbour in the bitmap, is woken too.
fn wake_against_shutdown_model() {
    let remote = remote();
    let late = {
        let remote = remote.clone();
        thread::spawn(move || remote.wake(5))
    };
    assert!(remote.close().is_empty());
    remote.open();
    let mut sleeper = Sleeper::new(&remote);
    let own = {
        let remote = remote.clone();
        thread::spawn(move || remote.wake(6))
    };
    sleeper.turn();
    late.join().unwrap();
    own.join().unwrap();
    sleeper.finish(2);
    assert!(sleeper.has_woken(6), "the next loop has lost a wake");
}

#[test]
fn wake_against_shutdown() {
    explore(3, wake_against_shutdown_model);
}

#[test]
#[should_panic(expected = "the loop sleeps over a wake")]
fn wake_against_shutdown_broken() {
    weaken(Weakening::RemoteOpensAwake, || {
        explore(3, wake_against_shutdown_model)
    });
}

/// A waker finds the loop asleep, the loop wakes for another reason and ends.
/// The bell is a descriptor: rung after it was closed, it would be somebody
/// else's.
fn bell_against_end_of_loop_model() {
    let remote = remote();
    let sleeper = Sleeper::new(&remote);
    assert!(remote.begin_sleep());
    let late = {
        let remote = remote.clone();
        thread::spawn(move || remote.wake(5))
    };
    remote.end_sleep();
    assert!(remote.close().is_empty());
    let rung = sleeper.bell.is_rung();
    late.join().unwrap();
    let rung_later = sleeper.bell.is_rung() && !rung;
    assert!(!rung_later, "a bell was rung after its end");
}

#[test]
fn bell_against_end_of_loop() {
    explore(4, bell_against_end_of_loop_model);
}

#[test]
#[should_panic(expected = "a bell was rung after its end")]
fn bell_against_end_of_loop_broken() {
    weaken(Weakening::RemoteRingsUnlocked, || {
        explore(4, bell_against_end_of_loop_model)
    });
}

fn spawn_against_shutdown_model() {
    let remote = Arc::new(Remote::new(1));
    let epoch = remote.open();
    let mut sleeper = Sleeper::new(&remote);
    let poster = {
        let remote = remote.clone();
        thread::spawn(move || remote.post(epoch, 7).is_ok())
    };
    sleeper.turn();
    let mut calls = Vec::new();
    if sleeper.has_woken(MAILBOX) {
        remote.take_calls(&mut calls);
        assert_eq!(calls, [7], "the mailbox was announced before its call");
    }
    calls.extend(remote.close());
    let accepted = poster.join().unwrap();
    assert_eq!(
        calls.len(),
        usize::from(accepted),
        "a call was left with a loop that had ended"
    );
}

#[test]
fn spawn_against_shutdown() {
    explore(4, spawn_against_shutdown_model);
}

#[test]
#[should_panic(expected = "a call was left with a loop that had ended")]
fn spawn_against_shutdown_broken() {
    weaken(Weakening::RemotePostsToClosed, || {
        explore(4, spawn_against_shutdown_model)
    });
}
