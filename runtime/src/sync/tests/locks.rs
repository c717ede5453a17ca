//! Semaphore and mutex.

use super::{Driven, for_both_families, hook_waker, now};
use crate::sync::family::Family;
use crate::sync::mutex::Mutex;
use crate::sync::semaphore::{AcquireError, Semaphore, TryAcquireError};

for_both_families! {
    permits_are_given_first_come_first_served
    a_newcomer_never_overtakes_a_waiter
    a_cancelled_waiter_lets_those_behind_it_pass
    a_granted_and_cancelled_turn_is_passed_on
    close_fails_waiters_and_newcomers_but_not_the_granted
    permits_can_be_split_merged_and_forgotten
    a_mutex_hands_over_in_order
    a_mutex_unlocks_when_its_holder_panics
    a_waker_that_enters_the_same_semaphore_is_harmless
    a_waker_dropped_by_the_semaphore_may_enter_it
    every_waiter_is_woken_even_if_one_wakes_with_a_panic
}

fn permits_are_given_first_come_first_served<F: Family>() {
    let semaphore = Semaphore::<F>::new(1);
    let held = now(semaphore.acquire()).unwrap();
    let mut first = Driven::new(semaphore.acquire()).waits();
    let mut second = Driven::new(semaphore.acquire()).waits();
    assert_eq!(semaphore.waiters(), 2);
    drop(held);
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    assert!(second.poll().is_pending());
    drop(first.ready());
    assert_eq!(second.wakes(), 1);
    drop(second.ready());
    assert_eq!(semaphore.available_permits(), 1);
}

fn a_newcomer_never_overtakes_a_waiter<F: Family>() {
    let semaphore = Semaphore::<F>::new(2);
    let held = semaphore.try_acquire().unwrap();
    let mut two = Driven::new(semaphore.acquire_many(2)).waits();
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::NoPermits
    );
    let mut late = Driven::new(semaphore.acquire()).waits();
    drop(held);
    assert_eq!((two.wakes(), late.wakes()), (1, 0));
    drop(two.ready());
    assert!(late.ready().is_ok());
}

fn a_cancelled_waiter_lets_those_behind_it_pass<F: Family>() {
    let semaphore = Semaphore::<F>::new(1);
    let mut greedy = Driven::new(semaphore.acquire_many(5)).waits();
    let mut modest = Driven::new(semaphore.acquire()).waits();
    greedy.cancel();
    assert_eq!(modest.wakes(), 1);
    assert!(modest.ready().is_ok());
}

fn a_granted_and_cancelled_turn_is_passed_on<F: Family>() {
    let semaphore = Semaphore::<F>::new(1);
    let held = semaphore.try_acquire().unwrap();
    let mut first = Driven::new(semaphore.acquire()).waits();
    let mut second = Driven::new(semaphore.acquire()).waits();
    drop(held);
    assert_eq!(first.wakes(), 1);
    first.cancel();
    assert_eq!(second.wakes(), 1);
    assert!(second.ready().is_ok());
}

fn close_fails_waiters_and_newcomers_but_not_the_granted<F: Family>() {
    let semaphore = Semaphore::<F>::new(1);
    let held = semaphore.try_acquire().unwrap();
    let mut granted = Driven::new(semaphore.acquire()).waits();
    let mut waiting = Driven::new(semaphore.acquire()).waits();
    drop(held);
    semaphore.close();
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.ready().unwrap_err(), AcquireError);
    assert_eq!(now(semaphore.acquire()).unwrap_err(), AcquireError);
    assert_eq!(
        semaphore.try_acquire().unwrap_err(),
        TryAcquireError::Closed
    );
    assert!(granted.ready().is_ok());
}

fn permits_can_be_split_merged_and_forgotten<F: Family>() {
    let semaphore = Semaphore::<F>::new(5);
    let mut all = now(semaphore.acquire_many(5)).unwrap();
    let two = all.split(2).unwrap();
    assert!(all.split(4).is_none());
    assert_eq!((all.num_permits(), two.num_permits()), (3, 2));
    all.merge(two);
    let one = all.split(1).unwrap();
    one.forget();
    drop(all);
    assert_eq!(semaphore.available_permits(), 4);
    semaphore.add_permits(1);
    assert_eq!(semaphore.forget_permits(9), 5);
    assert_eq!(semaphore.available_permits(), 0);
}

fn a_mutex_hands_over_in_order<F: Family>() {
    let mutex = Mutex::<F, _>::new(Vec::new());
    let mut held = now(mutex.lock());
    held.push(0);
    let mut first = Driven::new(async { mutex.lock().await.push(1) }).waits();
    let mut second = Driven::new(async { mutex.lock().await.push(2) }).waits();
    drop(held);
    // Handed over already: neither can a newcomer have it, nor the second.
    assert!(mutex.is_locked() && mutex.try_lock().is_err());
    assert!(second.poll().is_pending());
    first.ready();
    second.ready();
    drop((first, second));
    assert_eq!(mutex.into_inner(), [0, 1, 2]);
}

fn a_mutex_unlocks_when_its_holder_panics<F: Family>() {
    let mutex = Mutex::<F, _>::new(1);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut guard = mutex.try_lock().unwrap();
        *guard = 2;
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(result.is_err());
    assert_eq!(*mutex.try_lock().unwrap(), 2);
}

/// Runs a closure when it is woken, and another when it is dropped.
struct Hook<W: Fn(), D: Fn()>(W, D);

impl<W: Fn(), D: Fn()> Drop for Hook<W, D> {
    fn drop(&mut self) {
        (self.1)();
    }
}

impl<W: Fn(), D: Fn()> hook_waker::Woken for Hook<W, D> {
    fn woken(&self) {
        (self.0)();
    }
}

fn poll_with<T>(
    future: &mut (impl std::future::Future<Output = T> + Unpin),
    waker: &std::task::Waker,
) -> std::task::Poll<T> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(waker))
}

fn a_waker_that_enters_the_same_semaphore_is_harmless<F: Family>() {
    let semaphore = std::rc::Rc::new(Semaphore::<F>::new(1));
    let held = semaphore.try_acquire().unwrap();
    let seen = std::rc::Rc::new(std::cell::Cell::new(usize::MAX));
    let waker = hook_waker::waker(std::rc::Rc::new(Hook(
        {
            let (semaphore, seen) = (semaphore.clone(), seen.clone());
            move || seen.set(semaphore.waiters())
        },
        || (),
    )));
    let mut waiting = Box::pin(semaphore.acquire());
    assert!(poll_with(&mut waiting, &waker).is_pending());
    drop(held);
    assert_eq!(seen.get(), 0);
    assert!(poll_with(&mut waiting, &waker).is_ready());
}

fn a_waker_dropped_by_the_semaphore_may_enter_it<F: Family>() {
    let semaphore = std::rc::Rc::new(Semaphore::<F>::new(0));
    let entered = std::rc::Rc::new(std::cell::Cell::new(0));
    let waker = || {
        let (semaphore, entered) = (semaphore.clone(), entered.clone());
        hook_waker::waker(std::rc::Rc::new(Hook(
            || (),
            move || {
                semaphore.waiters();
                entered.set(entered.get() + 1);
            },
        )))
    };
    let mut waiting = Box::pin(semaphore.acquire());
    assert!(poll_with(&mut waiting, &waker()).is_pending());
    // Replaced by another one, then given up with it.
    assert!(poll_with(&mut waiting, &waker()).is_pending());
    assert_eq!(entered.get(), 1);
    drop(waiting);
    assert_eq!(entered.get(), 2);
}

fn every_waiter_is_woken_even_if_one_wakes_with_a_panic<F: Family>() {
    let semaphore = std::rc::Rc::new(Semaphore::<F>::new(0));
    let waker = hook_waker::waker(std::rc::Rc::new(Hook(
        || std::panic::resume_unwind(Box::new(())),
        || (),
    )));
    let mut before = Driven::new(semaphore.acquire()).waits();
    let mut bad = Box::pin(semaphore.acquire());
    assert!(poll_with(&mut bad, &waker).is_pending());
    let mut behind = Driven::new(semaphore.acquire()).waits();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        semaphore.add_permits(3);
    }));
    assert!(result.is_err());
    assert_eq!((before.wakes(), behind.wakes()), (1, 1));
    assert!(before.ready().is_ok() && behind.ready().is_ok());
}
