//! Waits of the shared family that are given up at the moment they are served: what
//! they were promised goes to the next in line.
//!
//! `sync.rs` beside this file has the same for the lock, the notification and the slot
//! of a channel. Each model has its own primitive, since each answers in its own way a
//! ticket that comes back.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use threeply_runtime::switch::{Weakening, weaken};
use threeply_runtime::sync::shared::{Condvar, Mutex, OnceCell, Queue, RwLock, oneshot};

use crate::explore::explore;
use crate::sync::{Woken, poll};

/// A writer gives up while the last reader makes way for it: the readers behind it
/// must get in.
fn writer_against_cancel_model() {
    let lock = Arc::new(RwLock::new(()));
    let ((_, writer_waker), (reader, reader_waker)) = (Woken::new(), Woken::new());
    let first = lock.clone();
    let mut first_read = pin!(first.read_owned());
    let Poll::Ready(guard) = poll(first_read.as_mut(), &reader_waker) else {
        panic!("a free lock makes a reader wait");
    };
    let mut write = Box::pin(lock.write());
    let mut read = pin!(lock.read());
    assert!(poll(write.as_mut(), &writer_waker).is_pending());
    assert!(poll(read.as_mut(), &reader_waker).is_pending());
    let holder = loom::thread::spawn(move || drop(guard));
    drop(write);
    holder.join().unwrap();
    assert!(reader.is_set(), "a writer that is gone keeps readers out");
    assert!(poll(read, &reader_waker).is_ready());
}

#[test]
fn writer_against_cancel() {
    explore(3, writer_against_cancel_model);
}

#[test]
#[should_panic(expected = "a writer that is gone keeps readers out")]
fn writer_against_cancel_broken() {
    weaken(Weakening::WaiterKeepsTurn, || {
        explore(3, writer_against_cancel_model)
    });
}

/// An initializer is dropped while the next in line gives up: the one behind it must
/// get its try.
fn initializer_against_cancel_model() {
    let cell = Arc::new(OnceCell::<u32>::new());
    let ((_, waker), (last, last_waker)) = (Woken::new(), Woken::new());
    let mut first = Box::pin({
        let cell = cell.clone();
        async move {
            cell.get_or_init(pending).await;
        }
    });
    let mut second = Box::pin(cell.get_or_init(|| async { 2 }));
    let mut third = pin!(cell.get_or_init(|| async { 3 }));
    assert!(poll(first.as_mut(), &waker).is_pending());
    assert!(poll(second.as_mut(), &waker).is_pending());
    assert!(poll(third.as_mut(), &last_waker).is_pending());
    let initializer = loom::thread::spawn(move || drop(first));
    drop(second);
    initializer.join().unwrap();
    assert!(last.is_set(), "nobody makes the value any more");
    assert_eq!(poll(third, &last_waker), Poll::Ready(&3));
}

#[test]
fn initializer_against_cancel() {
    explore(3, initializer_against_cancel_model);
}

#[test]
#[should_panic(expected = "nobody makes the value any more")]
fn initializer_against_cancel_broken() {
    weaken(Weakening::WaiterKeepsTurn, || {
        explore(3, initializer_against_cancel_model)
    });
}

/// A condition's notification meets a waiter that gives up.
fn condition_against_cancel_model() {
    let state = Arc::new((Mutex::new(()), Condvar::new()));
    let (mutex, condvar) = &*state;
    let ((_, first_waker), (second, second_waker)) = (Woken::new(), Woken::new());
    let wait = async || drop(condvar.wait(mutex.lock().await).await);
    let mut gone = Box::pin(wait());
    let mut next = pin!(wait());
    assert!(poll(gone.as_mut(), &first_waker).is_pending());
    assert!(poll(next.as_mut(), &second_waker).is_pending());
    let notifier = {
        let state = state.clone();
        loom::thread::spawn(move || state.1.notify_one())
    };
    drop(gone);
    notifier.join().unwrap();
    assert!(
        second.is_set(),
        "a notification went with a cancelled waiter"
    );
    assert!(poll(next, &second_waker).is_ready());
}

#[test]
fn condition_against_cancel() {
    explore(3, condition_against_cancel_model);
}

#[test]
#[should_panic(expected = "a notification went with a cancelled waiter")]
fn condition_against_cancel_broken() {
    weaken(Weakening::WaiterKeepsTurn, || {
        explore(3, condition_against_cancel_model)
    });
}

/// An item is put into a queue while the first who waits for one gives up.
fn item_against_cancel_model() {
    let queue = Arc::new(Queue::unbounded());
    let ((_, first_waker), (second, second_waker)) = (Woken::new(), Woken::new());
    let mut gone = Box::pin(queue.get());
    let mut next = pin!(queue.get());
    assert!(poll(gone.as_mut(), &first_waker).is_pending());
    assert!(poll(next.as_mut(), &second_waker).is_pending());
    let producer = {
        let queue = queue.clone();
        loom::thread::spawn(move || assert!(queue.try_put(7).is_ok()))
    };
    drop(gone);
    producer.join().unwrap();
    assert!(second.is_set(), "an item waits, and so does who wants it");
    assert_eq!(poll(next, &second_waker), Poll::Ready(Ok(7)));
}

#[test]
fn item_against_cancel() {
    explore(3, item_against_cancel_model);
}

#[test]
#[should_panic(expected = "an item waits, and so does who wants it")]
fn item_against_cancel_broken() {
    weaken(Weakening::WaiterKeepsTurn, || {
        explore(3, item_against_cancel_model)
    });
}

/// The receiver of a oneshot is dropped while its sender goes to wait for that.
fn receiver_leaves_against_closed_model() {
    let (mut sender, receiver) = oneshot::channel::<()>();
    let (woken, waker) = Woken::new();
    let leaving = loom::thread::spawn(move || drop(receiver));
    let mut closed = pin!(poll_fn(|cx: &mut Context<'_>| sender.poll_closed(cx)));
    let at_once = poll(closed.as_mut(), &waker).is_ready();
    leaving.join().unwrap();
    assert!(at_once || woken.is_set(), "the sender waits for nobody");
    assert!(poll(closed, &waker).is_ready());
}

#[test]
fn receiver_leaves_against_closed() {
    explore(3, receiver_leaves_against_closed_model);
}

#[test]
#[should_panic(expected = "the sender waits for nobody")]
fn receiver_leaves_against_closed_broken() {
    weaken(Weakening::ReceiverPeeks, || {
        explore(3, receiver_leaves_against_closed_model)
    });
}
