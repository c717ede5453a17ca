//! A task's result on its way to another thread
//! (`runtime/src/event_loop/remote_handle.rs`): completion against a poll, a
//! blocked thread, and the end of the handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;
use threeply_runtime::event_loop::remote_handle::Delivery;
use threeply_runtime::switch::{Weakening, weaken};

use crate::explore::explore;

/// Counts wakes, or drops; of std, so that it adds no schedule.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn join_against_completion_model() {
    let delivery = Delivery::new();
    let theirs = delivery.clone();
    let task = thread::spawn(move || theirs.complete(Ok(7)));
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let cx = Context::from_waker(&waker);
    if let Poll::Ready(result) = delivery.poll(&cx) {
        assert_eq!(result.unwrap(), 7);
        return task.join().unwrap();
    }
    task.join().unwrap();
    assert_eq!(count.0.load(Relaxed), 1, "the joiner was not woken");
    assert!(delivery.poll(&cx).is_ready());
}

#[test]
fn join_against_completion() {
    explore(3, join_against_completion_model);
}

#[test]
#[should_panic(expected = "the joiner was not woken")]
fn join_against_completion_broken() {
    weaken(Weakening::DeliveryLooksTwice, || {
        explore(3, join_against_completion_model)
    });
}

fn block_on_against_completion_model() {
    let delivery = Delivery::new();
    let theirs = delivery.clone();
    let task = thread::spawn(move || theirs.complete(Ok(7)));
    assert_eq!(delivery.wait().unwrap(), 7);
    task.join().unwrap();
}

#[test]
fn block_on_against_completion() {
    explore(3, block_on_against_completion_model);
}

#[test]
#[should_panic(expected = "a thread slept through its result")]
fn block_on_against_completion_broken() {
    weaken(Weakening::DeliverySleepsLate, || {
        explore(3, block_on_against_completion_model)
    });
}

struct Counted(Arc<Count>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Relaxed);
    }
}

fn drop_of_handle_against_completion_model() {
    let dropped = Arc::new(Count::default());
    let (delivery, result) = (Delivery::new(), Counted(dropped.clone()));
    let theirs = delivery.clone();
    // Both keep the delivery: it must not take its last owner to drop the result.
    let task = thread::spawn(move || {
        theirs.complete(Ok(result));
        theirs
    });
    delivery.detach();
    let theirs = task.join().unwrap();
    let times = dropped.0.load(Relaxed);
    assert_eq!(times, 1, "a result stayed behind unheard");
    drop((delivery, theirs));
}

#[test]
fn drop_of_handle_against_completion() {
    explore(3, drop_of_handle_against_completion_model);
}

#[test]
#[should_panic(expected = "a result stayed behind unheard")]
fn drop_of_handle_against_completion_broken() {
    weaken(Weakening::DeliveryDetachesLate, || {
        explore(3, drop_of_handle_against_completion_model)
    });
}
