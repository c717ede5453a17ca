//! Event, condition variable, barrier, once cell, readers-writer lock, limiter.

use std::convert::Infallible;
use std::future::{pending, ready};

use super::{Driven, for_both_families, now};
use crate::sync::barrier::Barrier;
use crate::sync::condvar::Condvar;
use crate::sync::event::Event;
use crate::sync::family::Family;
use crate::sync::limiter::{AlreadyBorrowed, Limiter};
use crate::sync::mutex::Mutex;
use crate::sync::once_cell::{OnceCell, SetError};
use crate::sync::rwlock::RwLock;

for_both_families! {
    an_event_lets_everybody_pass_while_it_is_set
    an_event_cleared_at_once_still_wakes_those_who_waited
    a_condvar_gives_the_lock_up_and_gets_it_back
    a_condvar_passes_on_what_a_cancelled_waiter_was_notified_of
    a_condvar_waits_while_a_condition_holds
    a_barrier_opens_for_the_last_and_closes_again
    a_cancelled_wait_does_not_count_at_a_barrier
    a_once_cell_is_initialized_once
    a_once_cell_lets_the_next_try_when_an_initializer_is_dropped_or_fails
    readers_share_and_writers_exclude
    a_waiting_writer_holds_back_new_readers
    a_cancelled_writer_lets_the_readers_behind_it_in
    downgrading_lets_readers_in_but_no_writer
    a_limiter_can_be_narrowed_and_widened_while_in_use
    a_narrowed_limiter_takes_a_cancelled_turn_as_payment
    a_borrower_has_at_most_one_token
}

fn an_event_lets_everybody_pass_while_it_is_set<F: Family>() {
    let event = Event::<F>::new();
    let mut waiters: Vec<_> = (0..3).map(|_| Driven::new(event.wait()).waits()).collect();
    waiters[1].cancel();
    assert_eq!(event.waiters(), 2);
    assert!(event.set() && !event.set());
    waiters[0].ready();
    waiters[2].ready();
    now(event.wait());
    event.clear();
    let _ = Driven::new(event.wait()).waits();
}

fn an_event_cleared_at_once_still_wakes_those_who_waited<F: Family>() {
    let event = Event::<F>::new();
    let mut waiter = Driven::new(event.wait()).waits();
    event.set();
    event.clear();
    assert_eq!(waiter.wakes(), 1);
    waiter.ready();
}

fn a_condvar_gives_the_lock_up_and_gets_it_back<F: Family>() {
    let (mutex, condvar) = (Mutex::<F, _>::new(0), Condvar::<F>::new());
    let guard = now(mutex.lock());
    let mut waiter = Driven::new(condvar.wait(guard)).waits();
    let mut guard = mutex.try_lock().expect("unlocked while it waits");
    *guard = 5;
    condvar.notify_one();
    assert_eq!(waiter.wakes(), 1);
    assert!(waiter.poll().is_pending(), "the lock isn't free yet");
    drop(guard);
    assert_eq!(*waiter.ready(), 5);
    assert!(mutex.try_lock().is_ok());
}

fn a_condvar_passes_on_what_a_cancelled_waiter_was_notified_of<F: Family>() {
    let (mutex, condvar) = (Mutex::<F, _>::new(()), Condvar::<F>::new());
    let mut first = Driven::new(condvar.wait(now(mutex.lock()))).waits();
    let mut second = Driven::new(condvar.wait(now(mutex.lock()))).waits();
    let mut third = Driven::new(condvar.wait(now(mutex.lock()))).waits();
    condvar.notify_one();
    // Cancelled before it ran.
    first.cancel();
    assert_eq!(second.wakes(), 1);
    // Cancelled while it waits for the lock.
    let held = now(mutex.lock());
    assert!(second.poll().is_pending());
    second.cancel();
    drop(held);
    assert_eq!(third.wakes(), 1);
    drop(third.ready());
    // Nothing is stored when nobody is left.
    condvar.notify_all();
    let _ = Driven::new(condvar.wait(now(mutex.lock()))).waits();
}

fn a_condvar_waits_while_a_condition_holds<F: Family>() {
    let (mutex, condvar) = (Mutex::<F, _>::new(2), Condvar::<F>::new());
    let mut waiter = Driven::new(async {
        *condvar
            .wait_while(mutex.lock().await, |left| *left > 0)
            .await
    })
    .waits();
    *mutex.try_lock().unwrap() = 1;
    condvar.notify_all();
    assert!(waiter.poll().is_pending());
    *mutex.try_lock().unwrap() = 0;
    assert!(waiter.poll().is_pending(), "changed, but not notified");
    condvar.notify_all();
    assert_eq!(waiter.ready(), 0);
}

fn a_barrier_opens_for_the_last_and_closes_again<F: Family>() {
    let barrier = Barrier::<F>::new(3);
    for _round in 0..2 {
        let mut a = Driven::new(barrier.wait()).waits();
        let mut b = Driven::new(barrier.wait()).waits();
        assert!(now(barrier.wait()).is_leader());
        assert!(!a.ready().is_leader() && !b.ready().is_leader());
    }
    assert!(now(Barrier::<F>::new(0).wait()).is_leader());
}

fn a_cancelled_wait_does_not_count_at_a_barrier<F: Family>() {
    let barrier = Barrier::<F>::new(2);
    Driven::new(barrier.wait()).waits().cancel();
    let mut a = Driven::new(barrier.wait()).waits();
    assert!(now(barrier.wait()).is_leader());
    a.ready();
}

fn a_once_cell_is_initialized_once<F: Family>() {
    let cell = OnceCell::<F, _>::new();
    let mut first = Driven::new(cell.get_or_init(|| async {
        super::yield_once().await;
        1
    }))
    .waits();
    let mut second = Driven::new(cell.get_or_init(|| ready(2))).waits();
    let mut third = Driven::new(cell.get_or_init(|| ready(3))).waits();
    assert_eq!(cell.set(9), Err(SetError::Initializing(9)));
    assert_eq!(first.ready(), &1);
    // Everybody who waited is let go at once.
    assert_eq!((second.wakes(), third.wakes()), (1, 1));
    assert_eq!((third.ready(), second.ready()), (&1, &1));
    assert_eq!(cell.set(9), Err(SetError::AlreadyInitialized(9)));
    drop((first, second, third));
    assert_eq!(cell.into_inner(), Some(1));
}

fn a_once_cell_lets_the_next_try_when_an_initializer_is_dropped_or_fails<F: Family>() {
    let cell = OnceCell::<F, u8>::new();
    let mut dropped = Driven::new(cell.get_or_init(pending)).waits();
    let mut fails = Driven::new(cell.get_or_try_init(|| ready(Err("no")))).waits();
    let mut succeeds = Driven::new(cell.get_or_try_init(|| ready(Ok::<_, Infallible>(3)))).waits();
    dropped.cancel();
    assert_eq!(fails.wakes(), 1);
    assert_eq!(fails.ready(), Err("no"));
    assert_eq!(succeeds.wakes(), 1);
    assert_eq!(succeeds.ready(), Ok(&3));
    assert_eq!(OnceCell::<F, _>::new_with(4).get(), Some(&4));
}

fn readers_share_and_writers_exclude<F: Family>() {
    let lock = RwLock::<F, _>::new(1);
    let one = now(lock.read());
    let two = now(lock.read());
    assert_eq!((*one, *two), (1, 1));
    assert!(lock.try_write().is_err());
    drop((one, two));
    let mut writer = now(lock.write());
    *writer += 1;
    assert!(lock.try_read().is_err());
    drop(writer);
    assert_eq!(lock.into_inner(), 2);
}

fn a_waiting_writer_holds_back_new_readers<F: Family>() {
    let lock = RwLock::<F, _>::new(());
    let reader = now(lock.read());
    let mut writer = Driven::new(lock.write()).waits();
    assert!(lock.try_read().is_err());
    let mut late = Driven::new(lock.read()).waits();
    drop(reader);
    assert_eq!((writer.wakes(), late.wakes()), (1, 0));
    drop(writer.ready());
    drop(late.ready());
}

fn a_cancelled_writer_lets_the_readers_behind_it_in<F: Family>() {
    let lock = RwLock::<F, _>::new(());
    let _reader = now(lock.read());
    let mut writer = Driven::new(lock.write()).waits();
    let mut late = Driven::new(lock.read()).waits();
    writer.cancel();
    assert_eq!(late.wakes(), 1);
    drop(late.ready());
}

fn downgrading_lets_readers_in_but_no_writer<F: Family>() {
    let lock = RwLock::<F, _>::new(0);
    let mut writer = now(lock.write());
    *writer = 7;
    let mut reader = Driven::new(lock.read()).waits();
    let mut next_writer = Driven::new(lock.write()).waits();
    let downgraded = writer.downgrade();
    assert_eq!((reader.wakes(), next_writer.wakes()), (1, 0));
    assert_eq!((*downgraded, *reader.ready()), (7, 7));
    drop(downgraded);
    drop(next_writer.ready());
}

fn a_limiter_can_be_narrowed_and_widened_while_in_use<F: Family>() {
    let limiter = Limiter::<F>::new(2);
    let (a, b) = (now(limiter.acquire()), now(limiter.acquire()));
    let mut waiting = Driven::new(limiter.acquire()).waits();
    limiter.set_total_tokens(1);
    assert_eq!((limiter.borrowed_tokens(), limiter.total_tokens()), (2, 1));
    drop(a);
    assert!(waiting.poll().is_pending(), "it paid the debt");
    limiter.set_total_tokens(2);
    assert_eq!(waiting.wakes(), 1);
    drop(b);
    drop(waiting.ready());
    assert_eq!(
        (limiter.available_tokens(), limiter.borrowed_tokens()),
        (2, 0)
    );
    assert!(limiter.try_acquire().is_some());
}

fn a_narrowed_limiter_takes_a_cancelled_turn_as_payment<F: Family>() {
    let limiter = Limiter::<F>::new(1);
    let held = now(limiter.acquire());
    let mut granted = Driven::new(limiter.acquire()).waits();
    let mut behind = Driven::new(limiter.acquire()).waits();
    drop(held);
    limiter.set_total_tokens(0);
    granted.cancel();
    assert!(behind.poll().is_pending());
    assert_eq!(limiter.borrowed_tokens(), 0);
    limiter.set_total_tokens(1);
    drop(behind.ready());
}

fn a_borrower_has_at_most_one_token<F: Family>() {
    let limiter = Limiter::<F>::new(1);
    let first = now(limiter.acquire_on_behalf_of(7)).unwrap();
    assert_eq!(
        now(limiter.acquire_on_behalf_of(7)).unwrap_err(),
        AlreadyBorrowed(7)
    );
    let mut other = Driven::new(limiter.acquire_on_behalf_of(8)).waits();
    other.cancel();
    let mut again = Driven::new(limiter.acquire_on_behalf_of(8)).waits();
    drop(first);
    assert!(again.ready().is_ok());
    drop(again);
    assert!(now(limiter.acquire_on_behalf_of(7)).is_ok());
}
