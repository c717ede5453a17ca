//! Event, barrier, condition variable and watch against their models.

use super::super::{Driven, for_both_families};
use super::{Dice, Line, Waits, check, take};
use crate::sync::barrier::Barrier;
use crate::sync::condvar::Condvar;
use crate::sync::event::Event;
use crate::sync::family::Family;
use crate::sync::mutex::Mutex;
use crate::sync::watch;

for_both_families! {
    event_property
    barrier_property
    condvar_property
    watch_property
}

/// Who comes while the flag is set passes; who waited when it was set passes too,
/// also if it has been cleared since.
fn event_property<F: Family>() {
    check(300, |dice: &mut Dice| {
        let event = Event::<F>::new();
        let (mut line, mut waits, mut set) = (Line::new(0), Waits::new(), false);
        for _ in 0..80 {
            match dice.roll(10) {
                0..4 => {
                    let id = waits.new_id();
                    let got = waits.start(id, Driven::new(event.wait()));
                    assert_eq!(got.is_some(), set);
                    if !set {
                        assert_eq!(line.ask(id, 1), None);
                    }
                }
                4..6 => {
                    if let Some((id, got)) = waits.poll_one(dice) {
                        assert_eq!(got.is_some(), line.poll(id).is_some());
                    }
                }
                6 => {
                    if let Some(id) = waits.cancel_one(dice) {
                        line.cancel(id);
                    }
                }
                7 => {
                    assert_eq!(event.set(), !set);
                    set = true;
                    line.let_all_go();
                }
                _ => {
                    event.clear();
                    set = false;
                }
            }
            waits.check_wakes(&line);
            assert_eq!(event.waiters(), line.waiting.len());
            assert_eq!(event.is_set(), set);
        }
    });
}

/// Only those who wait count; one of each round is its leader.
fn barrier_property<F: Family>() {
    check(300, |dice: &mut Dice| {
        let parties = 1 + dice.roll(5);
        let barrier = Barrier::<F>::new(parties);
        let (mut line, mut waits) = (Line::new(0), Waits::new());
        for _ in 0..80 {
            match dice.roll(8) {
                0..4 => {
                    let id = waits.new_id();
                    let got = waits.start(id, Driven::new(barrier.wait()));
                    if line.waiting.len() + 1 == parties {
                        assert!(got.is_some_and(|result| result.is_leader()));
                        line.let_all_go();
                    } else {
                        assert!(got.is_none());
                        assert_eq!(line.ask(id, 1), None);
                    }
                }
                4..7 => {
                    if let Some((id, got)) = waits.poll_one(dice) {
                        assert_eq!(got.is_some(), line.poll(id).is_some());
                        assert!(got.is_none_or(|result| !result.is_leader()));
                    }
                }
                _ => {
                    if let Some(id) = waits.cancel_one(dice) {
                        line.cancel(id);
                    }
                }
            }
            waits.check_wakes(&line);
            assert_eq!(barrier.waiters(), line.waiting.len());
        }
    });
}

/// A notification is a permit that is lost when nobody waits for it. The mutex is
/// free whenever somebody is woken, so nobody waits for that.
fn condvar_property<F: Family>() {
    check(300, |dice: &mut Dice| {
        let (mutex, condvar) = (Mutex::<F, ()>::new(()), Condvar::<F>::new());
        let (mut line, mut waits) = (Line::new(0), Waits::new());
        for _ in 0..80 {
            match dice.roll(10) {
                0..4 => {
                    let id = waits.new_id();
                    let wait = async { drop(condvar.wait(mutex.lock().await).await) };
                    assert!(waits.start(id, Driven::new(wait)).is_none());
                    assert_eq!(line.ask(id, 1), None);
                }
                4..6 => {
                    if let Some((id, got)) = waits.poll_one(dice) {
                        assert_eq!(got.is_some(), line.poll(id).is_some());
                    }
                }
                6 => {
                    if let Some(id) = waits.cancel_one(dice) {
                        line.cancel(id);
                    }
                }
                7..9 => {
                    condvar.notify_one();
                    line.give(1);
                }
                _ => {
                    condvar.notify_all();
                    line.let_all_go();
                }
            }
            line.free = 0;
            waits.check_wakes(&line);
            assert_eq!(condvar.waiters(), line.waiting.len());
            assert!(!mutex.is_locked());
        }
    });
}

/// Whoever hasn't seen the last version is told of it, once.
fn watch_property<F: Family>() {
    check(300, |dice: &mut Dice| {
        let (sender, first) = watch::channel::<F, usize>(0);
        // The value is its own version. Receivers at rest, with what they have seen.
        let (mut version, mut idle) = (0, vec![(first, 0)]);
        let (mut line, mut waits) = (Line::new(0), Waits::new());
        for _ in 0..80 {
            match dice.roll(10) {
                0..3 => {
                    let anybody = !idle.is_empty() || !waits.waits.is_empty();
                    assert_eq!(sender.send(version + 1).is_ok(), anybody);
                    if anybody {
                        version += 1;
                        line.let_all_go();
                    }
                }
                3 => idle.push((sender.subscribe(), version)),
                4..7 => {
                    let Some((mut receiver, seen)) = take(&mut idle, dice) else {
                        continue;
                    };
                    let id = waits.new_id();
                    let wait = Driven::new(async move {
                        receiver.changed().await.expect("the sender is here");
                        receiver
                    });
                    match waits.start(id, wait) {
                        Some(receiver) => {
                            assert!(seen < version);
                            idle.push((receiver, version));
                        }
                        None => {
                            assert_eq!(seen, version);
                            assert_eq!(line.ask(id, 1), None);
                        }
                    }
                }
                7 => {
                    if let Some((id, got)) = waits.poll_one(dice) {
                        assert_eq!(got.is_some(), line.poll(id).is_some());
                        idle.extend(got.map(|receiver| (receiver, version)));
                    }
                }
                8 => {
                    if let Some(id) = waits.cancel_one(dice) {
                        line.cancel(id);
                    }
                }
                _ => {
                    for (receiver, seen) in &idle {
                        assert_eq!(receiver.has_changed(), Ok(*seen < version));
                        assert_eq!(*receiver.borrow(), version);
                    }
                }
            }
            waits.check_wakes(&line);
            assert_eq!(sender.receiver_count(), idle.len() + waits.waits.len());
        }
    });
}
