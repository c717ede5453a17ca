//! Semaphore, limiter, readers-writer lock and notify against their models.

use super::super::{Driven, for_both_families};
use super::{Dice, Line, Waits, check, take};
use crate::sync::family::Family;
use crate::sync::limiter::Limiter;
use crate::sync::notify::Notify;
use crate::sync::rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use crate::sync::semaphore::{Semaphore, TryAcquireError};

for_both_families! {
    semaphore_property
    limiter_property
    rwlock_property
    notify_property
}

fn semaphore_property<F: Family>() {
    check(300, |dice| {
        let permits = dice.roll(4);
        let semaphore = Semaphore::<F>::new(permits);
        let (mut line, mut waits, mut held) = (Line::new(permits), Waits::new(), Vec::new());
        for _ in 0..80 {
            match dice.roll(20) {
                0..6 => {
                    let (id, n) = (waits.new_id(), 1 + dice.roll(3));
                    let got = waits.start(id, Driven::new(semaphore.acquire_many(n)));
                    assert_eq!(got.as_ref().map(Result::is_ok), line.ask(id, n));
                    held.extend(got.and_then(Result::ok));
                }
                6..8 => {
                    let n = dice.roll(3);
                    let got = semaphore.try_acquire_many(n);
                    let expected = match line.try_ask(n) {
                        Some(true) => Ok(n),
                        Some(false) => Err(TryAcquireError::Closed),
                        None => Err(TryAcquireError::NoPermits),
                    };
                    assert_eq!(
                        got.as_ref().map(|p| p.num_permits()).map_err(|e| *e),
                        expected
                    );
                    held.extend(got.ok());
                }
                8..13 => {
                    if let Some((id, got)) = waits.poll_one(dice) {
                        assert_eq!(got.as_ref().map(Result::is_ok), line.poll(id));
                        held.extend(got.and_then(Result::ok));
                    }
                }
                13..15 => {
                    if let Some(id) = waits.cancel_one(dice) {
                        line.cancel(id);
                    }
                }
                15..19 => {
                    if let Some(permit) = take(&mut held, dice) {
                        line.give(permit.num_permits());
                    }
                }
                _ if dice.roll(30) == 0 => {
                    semaphore.close();
                    line.close();
                }
                _ => {
                    semaphore.add_permits(1);
                    line.give(1);
                }
            }
            waits.check_wakes(&line);
            assert_eq!(semaphore.available_permits(), line.free);
            assert_eq!(semaphore.waiters(), line.waiting.len());
        }
    });
}

/// A semaphore whose number may fall below what is lent out: what comes back then
/// pays that debt first.
fn limiter_property<F: Family>() {
    check(300, |dice| {
        let mut total = dice.roll(4);
        let limiter = Limiter::<F>::new(total);
        let (mut line, mut waits, mut held) = (Line::new(total), Waits::new(), Vec::new());
        let mut debt = 0;
        let give = |line: &mut Line, debt: &mut usize, n: usize| {
            let paid = n.min(*debt);
            *debt -= paid;
            line.give(n - paid);
        };
        for _ in 0..80 {
            match dice.roll(20) {
                0..6 => {
                    let id = waits.new_id();
                    let got = waits.start(id, Driven::new(limiter.acquire()));
                    assert_eq!(got.is_some(), line.ask(id, 1).is_some());
                    held.extend(got);
                }
                6..8 => {
                    let got = limiter.try_acquire();
                    assert_eq!(got.is_some(), line.try_ask(1).is_some());
                    held.extend(got);
                }
                8..13 => {
                    if let Some((id, got)) = waits.poll_one(dice) {
                        assert_eq!(got.is_some(), line.poll(id).is_some());
                        held.extend(got);
                    }
                }
                13..15 => {
                    if let Some(id) = waits.cancel_one(dice) {
                        let in_hand = line.granted.remove(&id).unwrap_or(0);
                        line.cancel(id);
                        give(&mut line, &mut debt, in_hand);
                    }
                }
                15..18 => {
                    if take(&mut held, dice).is_some() {
                        give(&mut line, &mut debt, 1);
                    }
                }
                _ => {
                    let new = dice.roll(5);
                    limiter.set_total_tokens(new);
                    if new >= total {
                        give(&mut line, &mut debt, new - total);
                    } else {
                        let free = line.free.min(total - new);
                        line.free -= free;
                        debt += total - new - free;
                    }
                    total = new;
                }
            }
            waits.check_wakes(&line);
            assert_eq!(limiter.available_tokens(), line.free);
            assert_eq!(limiter.waiters(), line.waiting.len());
            assert_eq!(limiter.borrowed_tokens(), held.len() + line.granted.len());
        }
    });
}

/// A guard of either kind.
enum Guard<'a, F: Family> {
    Read(RwLockReadGuard<'a, F, u32>),
    Write(RwLockWriteGuard<'a, F, u32>),
}

fn rwlock_property<F: Family>() {
    const ALL: usize = crate::limits::MAX_READERS;
    check(300, |dice| {
        let lock = RwLock::<F, _>::new(0_u32);
        let (mut line, mut waits) = (Line::new(ALL), Waits::new());
        let mut held: Vec<Guard<'_, F>> = Vec::new();
        let mut written = 0;
        for _ in 0..60 {
            let got = match dice.roll(12) {
                0..3 => {
                    let id = waits.new_id();
                    let read = Driven::new(async { Guard::Read(lock.read().await) });
                    let got = waits.start(id, read);
                    assert_eq!(got.is_some(), line.ask(id, 1) == Some(true));
                    got
                }
                3..5 => {
                    let id = waits.new_id();
                    let write = Driven::new(async { Guard::Write(lock.write().await) });
                    let got = waits.start(id, write);
                    assert_eq!(got.is_some(), line.ask(id, ALL) == Some(true));
                    got
                }
                5..8 => waits.poll_one(dice).and_then(|(id, got)| {
                    assert_eq!(got.is_some(), line.poll(id) == Some(true));
                    got
                }),
                8 => {
                    if let Some(id) = waits.cancel_one(dice) {
                        line.cancel(id);
                    }
                    None
                }
                _ => {
                    match take(&mut held, dice) {
                        Some(Guard::Read(_)) => line.give(1),
                        Some(Guard::Write(mut guard)) => {
                            *guard += 1;
                            written += 1;
                            // Half of them go on as readers.
                            if dice.roll(2) == 0 {
                                held.push(Guard::Read(guard.downgrade()));
                                line.give(ALL - 1);
                            } else {
                                drop(guard);
                                line.give(ALL);
                            }
                        }
                        None => {}
                    }
                    None
                }
            };
            held.extend(got);
            waits.check_wakes(&line);
            let writers = held.iter().filter(|g| matches!(g, Guard::Write(_))).count();
            assert!(writers == 0 || held.len() == 1, "a writer isn't alone");
            for guard in &held {
                match guard {
                    Guard::Read(guard) => assert_eq!(**guard, written),
                    Guard::Write(guard) => assert_eq!(**guard, written),
                }
            }
        }
    });
}

/// A notification is a permit of which at most one is stored.
fn notify_property<F: Family>() {
    check(300, |dice: &mut Dice| {
        let notify = Notify::<F>::new();
        let (mut line, mut waits) = (Line::new(0), Waits::new());
        for _ in 0..80 {
            match dice.roll(10) {
                0..3 => {
                    let id = waits.new_id();
                    let got = waits.start(id, Driven::new(notify.notified()));
                    assert_eq!(got.is_some(), line.ask(id, 1).is_some());
                }
                3..5 => {
                    if let Some((id, got)) = waits.poll_one(dice) {
                        assert_eq!(got.is_some(), line.poll(id).is_some());
                    }
                }
                5..7 => {
                    if let Some(id) = waits.cancel_one(dice) {
                        line.cancel(id);
                        line.free = line.free.min(1);
                    }
                }
                7..9 => {
                    notify.notify_one();
                    line.give(1);
                    line.free = line.free.min(1);
                }
                _ => {
                    notify.notify_waiters();
                    line.let_all_go();
                }
            }
            waits.check_wakes(&line);
        }
    });
}
