//! The shared family of `runtime/src/sync/`: its wait queue, permits, channels
//! and the blocking bridge, between threads.
//!
//! All primitives are states behind one lock, so a race can only be in what
//! happens *between* two locked sections: a turn granted to a waiter that goes
//! away, a waker that was replaced, a look and a wake in two sections, a park
//! against an unpark. Each model stages one of these.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};

use threeply_runtime::switch::{Weakening, weaken};
use threeply_runtime::sync::pair::{Pair, SharedLeave};
use threeply_runtime::sync::shared::{Mutex, Notify, Semaphore, mpsc, oneshot};

use crate::explore::explore;

/// Remembers a wake; of std, so that it adds no schedule.
#[derive(Default)]
pub(crate) struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

impl Woken {
    pub(crate) fn new() -> (Arc<Woken>, Waker) {
        let woken = Arc::new(Woken::default());
        (woken.clone(), Waker::from(woken))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }
}

pub(crate) fn poll<T>(future: Pin<&mut impl Future<Output = T>>, waker: &Waker) -> Poll<T> {
    future.poll(&mut Context::from_waker(waker))
}

/// Nothing of a lock's turn is lost when the waiter that it is handed to goes
/// away at that moment.
fn hand_over_against_cancel_model() {
    let mutex = Arc::new(Mutex::new(()));
    let guard = mutex.clone().try_lock_owned().unwrap();
    let ((_, first_waker), (second, second_waker)) = (Woken::new(), Woken::new());
    let mut first_lock = Box::pin(mutex.lock());
    let mut second_lock = pin!(mutex.lock());
    assert!(poll(first_lock.as_mut(), &first_waker).is_pending());
    assert!(poll(second_lock.as_mut(), &second_waker).is_pending());
    let holder = loom::thread::spawn(move || drop(guard));
    // While it is handed the lock, or before.
    drop(first_lock);
    holder.join().unwrap();
    assert!(second.is_set(), "the turn was lost with a cancelled waiter");
    assert!(poll(second_lock, &second_waker).is_ready());
}

#[test]
fn hand_over_against_cancel() {
    explore(3, hand_over_against_cancel_model);
}

#[test]
#[should_panic(expected = "the turn was lost with a cancelled waiter")]
fn hand_over_against_cancel_broken() {
    weaken(Weakening::WaiterKeepsTurn, || {
        explore(3, hand_over_against_cancel_model)
    });
}

/// Three threads take a lock by waiting for it; one at a time has it.
fn lock_excludes_model() {
    let mutex = Arc::new(Mutex::new(0));
    let (holders, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = {
        let (mutex, holders, most) = (mutex.clone(), holders.clone(), most.clone());
        move || {
            let mut guard = mutex.blocking_lock();
            most.fetch_max(holders.fetch_add(1, Relaxed) + 1, Relaxed);
            loom::thread::yield_now();
            *guard += 1;
            holders.fetch_sub(1, Relaxed);
        }
    };
    let threads = [
        loom::thread::spawn(work.clone()),
        loom::thread::spawn(work.clone()),
    ];
    work();
    for thread in threads {
        thread.join().unwrap();
    }
    let most = most.load(Relaxed);
    assert!(most == 1, "two threads held the lock at once");
    assert_eq!(*mutex.try_lock().unwrap(), 3);
}

#[test]
fn lock_excludes() {
    explore(2, lock_excludes_model);
}

#[test]
#[should_panic(expected = "two threads held the lock at once")]
fn lock_excludes_broken() {
    weaken(Weakening::GrantIsNotCounted, || {
        explore(2, lock_excludes_model)
    });
}

/// A waiter polled with another waker (its task moved) while its turn comes.
fn permit_against_new_waker_model() {
    let semaphore = Arc::new(Semaphore::new(0));
    let ((_, old_waker), (new, new_waker)) = (Woken::new(), Woken::new());
    let mut acquire = pin!(semaphore.acquire());
    assert!(poll(acquire.as_mut(), &old_waker).is_pending());
    let giver = {
        let semaphore = semaphore.clone();
        loom::thread::spawn(move || semaphore.add_permits(1))
    };
    let ready = poll(acquire.as_mut(), &new_waker).is_ready();
    giver.join().unwrap();
    assert!(ready || new.is_set(), "the latest waker was not woken");
    assert!(ready || poll(acquire.as_mut(), &new_waker).is_ready());
}

#[test]
fn permit_against_new_waker() {
    explore(3, permit_against_new_waker_model);
}

#[test]
#[should_panic(expected = "the latest waker was not woken")]
fn permit_against_new_waker_broken() {
    weaken(Weakening::WaiterKeepsWaker, || {
        explore(3, permit_against_new_waker_model)
    });
}

/// A notification given to a waiter that goes away is kept for the next.
fn notify_against_cancel_model() {
    let notify = Arc::new(Notify::new());
    let (_, waker) = Woken::new();
    let mut gone = Box::pin(notify.notified());
    assert!(poll(gone.as_mut(), &waker).is_pending());
    let notifier = {
        let notify = notify.clone();
        loom::thread::spawn(move || notify.notify_one())
    };
    drop(gone);
    notifier.join().unwrap();
    let mut next = notify.notified();
    assert!(next.enable(), "a notification was lost");
}

#[test]
fn notify_against_cancel() {
    explore(3, notify_against_cancel_model);
}

#[test]
#[should_panic(expected = "a notification was lost")]
fn notify_against_cancel_broken() {
    weaken(Weakening::WaiterKeepsTurn, || {
        explore(3, notify_against_cancel_model)
    });
}

/// Two senders, the second of which ends the channel, against a receiver that
/// goes to wait.
fn send_against_recv_model() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let senders = [(1, sender.clone()), (2, sender)].map(|(item, sender)| {
        loom::thread::spawn(move || sender.send(item).expect("the receiver is alive"))
    });
    let (woken, waker) = Woken::new();
    let mut got = Vec::new();
    loop {
        match receiver.poll_recv(&mut Context::from_waker(&waker)) {
            Poll::Ready(Some(item)) => got.push(item),
            Poll::Ready(None) => break,
            Poll::Pending => {
                for sender in senders {
                    sender.join().unwrap();
                }
                assert!(woken.is_set(), "the receiver was not woken");
                while let Ok(item) = receiver.try_recv() {
                    got.push(item);
                }
                break;
            }
        }
    }
    got.sort_unstable();
    assert_eq!(got, [1, 2]);
}

#[test]
fn send_against_recv() {
    explore(3, send_against_recv_model);
}

#[test]
#[should_panic(expected = "the receiver was not woken")]
fn send_against_recv_broken() {
    weaken(Weakening::LastSenderPeeks, || {
        explore(3, send_against_recv_model)
    });
}

/// As above with one item and a sender that stays, or else its end would wake
/// the receiver in place of the item.
fn send_against_recv_while_open_model() {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let stays = sender.clone();
    let thread = loom::thread::spawn(move || sender.send(1).expect("the receiver is alive"));
    let (woken, waker) = Woken::new();
    let polled = receiver.poll_recv(&mut Context::from_waker(&waker));
    thread.join().unwrap();
    assert!(
        polled.is_ready() || woken.is_set(),
        "the receiver was not woken"
    );
    assert!(polled.is_ready() || receiver.try_recv() == Ok(1));
    drop(stays);
}

#[test]
fn send_against_recv_while_open() {
    explore(3, send_against_recv_while_open_model);
}

#[test]
#[should_panic(expected = "the receiver was not woken")]
fn send_against_recv_while_open_broken() {
    weaken(Weakening::SenderPeeks, || {
        explore(3, send_against_recv_while_open_model)
    });
}

/// A slot of a full channel freed while the first who waits for it gives up.
fn slot_against_cancel_model() {
    let (sender, mut receiver) = mpsc::channel(1);
    sender.try_send(0).unwrap();
    let ((_, first_waker), (second, second_waker)) = (Woken::new(), Woken::new());
    let mut first = Box::pin(sender.send(1));
    let mut then = pin!(sender.send(2));
    assert!(poll(first.as_mut(), &first_waker).is_pending());
    assert!(poll(then.as_mut(), &second_waker).is_pending());
    let taker = loom::thread::spawn(move || {
        assert_eq!(receiver.try_recv(), Ok(0));
        receiver
    });
    drop(first);
    let mut receiver = taker.join().unwrap();
    assert!(second.is_set(), "a slot was lost with a cancelled sender");
    assert_eq!(poll(then, &second_waker), Poll::Ready(Ok(())));
    assert_eq!(receiver.try_recv(), Ok(2));
}

#[test]
fn slot_against_cancel() {
    explore(3, slot_against_cancel_model);
}

#[test]
#[should_panic(expected = "a slot was lost with a cancelled sender")]
fn slot_against_cancel_broken() {
    weaken(Weakening::WaiterKeepsTurn, || {
        explore(3, slot_against_cancel_model)
    });
}

/// One value sent while the receiver looks: it has it or is woken.
fn oneshot_against_poll_model() {
    let (sender, receiver) = oneshot::channel();
    let thread = loom::thread::spawn(move || sender.send(7).expect("the receiver is alive"));
    let (woken, waker) = Woken::new();
    let mut receiver = pin!(receiver);
    let first = poll(receiver.as_mut(), &waker);
    thread.join().unwrap();
    assert!(first.is_ready() || woken.is_set(), "the value came unseen");
    assert!(first == Poll::Ready(Ok(7)) || poll(receiver, &waker) == Poll::Ready(Ok(7)));
}

#[test]
fn oneshot_against_poll() {
    explore(3, oneshot_against_poll_model);
}

#[test]
#[should_panic(expected = "the value came unseen")]
fn oneshot_against_poll_broken() {
    weaken(Weakening::SenderPeeks, || {
        explore(3, oneshot_against_poll_model)
    });
}

/// What each end has said, told by whoever is left.
#[derive(Default)]
struct Said {
    by_one: loom::sync::atomic::AtomicBool,
    by_other: loom::sync::atomic::AtomicBool,
    /// Of std, so that it adds no schedule.
    heard: Arc<AtomicUsize>,
}

impl Drop for Said {
    fn drop(&mut self) {
        let both = self.by_one.load(Relaxed) && self.by_other.load(Relaxed);
        assert!(both, "the last words of an end were lost");
        self.heard.fetch_add(1, Relaxed);
    }
}

/// Both ends of a oneshot leave; the last one takes down what they share.
fn end_against_end_model() {
    let said = Said::default();
    let heard = said.heard.clone();
    let (one, other) = Pair::<SharedLeave, _>::new(|| said);
    let thread = loom::thread::spawn(move || {
        one.by_one.store(true, Relaxed);
        drop(one);
    });
    other.by_other.store(true, Relaxed);
    drop(other);
    thread.join().unwrap();
    assert_eq!(heard.load(Relaxed), 1, "taken down by both, or by none");
}

#[test]
fn end_against_end() {
    explore(3, end_against_end_model);
}

#[test]
#[should_panic(expected = "the last words of an end were lost")]
fn end_against_end_broken() {
    weaken(Weakening::PairLeavesRelaxed, || {
        explore(3, end_against_end_model)
    });
}

/// A thread that blocks for a value against the thread that sends it.
fn sleep_against_wake_model() {
    let (sender, receiver) = oneshot::channel();
    let thread = loom::thread::spawn(move || sender.send(7).expect("the receiver is alive"));
    assert_eq!(receiver.blocking_recv(), Ok(7));
    thread.join().unwrap();
}

#[test]
fn sleep_against_wake() {
    explore(3, sleep_against_wake_model);
}

#[test]
#[should_panic(expected = "a thread slept through its wake")]
fn sleep_against_wake_broken() {
    weaken(Weakening::SleeperLooksEarly, || {
        explore(3, sleep_against_wake_model)
    });
}
