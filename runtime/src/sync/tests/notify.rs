//! Notify.

use super::{Driven, for_both_families, now};
use crate::sync::family::Family;
use crate::sync::notify::Notify;

for_both_families! {
    one_notification_is_kept_and_only_one
    notify_one_wakes_in_order
    a_cancelled_notification_goes_to_the_next_or_is_kept
    notify_waiters_wakes_all_and_keeps_nothing
    notify_waiters_counts_from_the_making_of_the_future
    enable_takes_a_place_without_a_poll
}

fn one_notification_is_kept_and_only_one<F: Family>() {
    let notify = Notify::<F>::new();
    notify.notify_one();
    notify.notify_one();
    now(notify.notified());
    let _ = Driven::new(notify.notified()).waits();
}

fn notify_one_wakes_in_order<F: Family>() {
    let notify = Notify::<F>::new();
    let mut first = Driven::new(notify.notified()).waits();
    let second = Driven::new(notify.notified()).waits();
    notify.notify_one();
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    first.ready();
}

fn a_cancelled_notification_goes_to_the_next_or_is_kept<F: Family>() {
    let notify = Notify::<F>::new();
    let mut first = Driven::new(notify.notified()).waits();
    let mut second = Driven::new(notify.notified()).waits();
    notify.notify_one();
    first.cancel();
    assert_eq!(second.wakes(), 1);
    second.cancel();
    now(notify.notified());
}

fn notify_waiters_wakes_all_and_keeps_nothing<F: Family>() {
    let notify = Notify::<F>::new();
    let mut all: Vec<_> = (0..5)
        .map(|_| Driven::new(notify.notified()).waits())
        .collect();
    notify.notify_waiters();
    // Let go empty-handed: cancelling one passes nothing on.
    all.pop().unwrap().cancel();
    for waiter in &mut all {
        assert_eq!(waiter.wakes(), 1);
        waiter.ready();
    }
    assert_eq!(notify.waiters(), 0);
    let _ = Driven::new(notify.notified()).waits();
}

fn notify_waiters_counts_from_the_making_of_the_future<F: Family>() {
    let notify = Notify::<F>::new();
    let made_before = notify.notified();
    notify.notify_waiters();
    now(made_before);
    let _ = Driven::new(notify.notified()).waits();
}

fn enable_takes_a_place_without_a_poll<F: Family>() {
    let notify = Notify::<F>::new();
    let mut first = notify.notified();
    assert!(!first.enable());
    let mut second = Driven::new(notify.notified()).waits();
    notify.notify_one();
    assert!(first.enable());
    now(first);
    assert!(second.poll().is_pending());
}
