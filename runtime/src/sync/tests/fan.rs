//! broadcast, watch and the queues.

use std::rc::Rc;

use super::{Driven, for_both_families, now};
use crate::sync::broadcast::{self, TryRecvError};
use crate::sync::errors::{RecvError, SendError, TrySendError};
use crate::sync::family::Family;
use crate::sync::queue::{Lifo, Priority, Queue, ShutDown, TryGetError};
use crate::sync::watch;

for_both_families! {
    broadcast_gives_every_receiver_every_value
    broadcast_tells_a_slow_receiver_what_it_missed
    broadcast_drops_a_value_once_everybody_has_seen_it
    broadcast_without_receivers_gives_the_value_back
    broadcast_ends_with_the_last_sender
    watch_shows_the_latest_value_and_wakes_for_it
    watch_ends_with_the_last_sender_and_after_the_last_change
    watch_modifies_in_place_and_keeps_snapshots
    watch_closed_waits_for_the_last_receiver
    watch_waits_for_a_condition
    a_queue_is_first_in_first_out_and_bounded
    a_lifo_queue_gives_the_newest_and_a_priority_queue_the_smallest
    a_queue_joins_when_everything_is_done
    a_queue_passes_on_what_a_cancelled_consumer_was_granted
    a_shut_down_queue_is_drained
    a_queue_shut_down_now_drops_the_rest
    a_granted_producer_that_comes_after_the_shutdown_gets_its_item_back
}

fn broadcast_gives_every_receiver_every_value<F: Family>() {
    let (sender, mut a) = broadcast::channel::<F, _>(4);
    let mut b = sender.subscribe();
    assert_eq!(sender.send("x"), Ok(2));
    let mut late = a.resubscribe();
    assert_eq!(sender.send("y"), Ok(3));
    assert_eq!((now(a.recv()), now(a.recv())), (Ok("x"), Ok("y")));
    assert_eq!((now(b.recv()), now(b.recv())), (Ok("x"), Ok("y")));
    assert_eq!(now(late.recv()), Ok("y"));
    let mut waiting = Driven::new(a.recv()).waits();
    let mut gives_up = Driven::new(b.recv()).waits();
    gives_up.cancel();
    drop(gives_up);
    sender.send("z").unwrap();
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.ready(), Ok("z"));
    assert_eq!(now(b.recv()), Ok("z"));
}

fn broadcast_tells_a_slow_receiver_what_it_missed<F: Family>() {
    let (sender, mut slow) = broadcast::channel::<F, _>(2);
    for n in 0..5 {
        sender.send(n).unwrap();
    }
    assert_eq!((slow.len(), sender.len()), (5, 2));
    assert_eq!(now(slow.recv()), Err(broadcast::RecvError::Lagged(3)));
    assert_eq!((now(slow.recv()), now(slow.recv())), (Ok(3), Ok(4)));
    assert_eq!(slow.try_recv(), Err(TryRecvError::Empty));
}

fn broadcast_drops_a_value_once_everybody_has_seen_it<F: Family>() {
    let value = Rc::new(());
    let (sender, mut a) = broadcast::channel::<F, _>(8);
    let b = sender.subscribe();
    for _ in 0..3 {
        sender.send(value.clone()).unwrap();
    }
    drop(a.try_recv().unwrap());
    assert_eq!(Rc::strong_count(&value), 4);
    drop(b);
    assert_eq!(Rc::strong_count(&value), 3);
    drop(now(a.recv()).unwrap());
    assert_eq!(Rc::strong_count(&value), 2);
    drop(a);
    assert_eq!(Rc::strong_count(&value), 1);
    assert!(sender.is_empty());
}

fn broadcast_without_receivers_gives_the_value_back<F: Family>() {
    let (sender, receiver) = broadcast::channel::<F, _>(1);
    drop(receiver);
    assert_eq!(sender.send(5), Err(SendError(5)));
    let mut receiver = sender.subscribe();
    assert_eq!(sender.send(6), Ok(1));
    assert_eq!(receiver.try_recv(), Ok(6));
}

fn broadcast_ends_with_the_last_sender<F: Family>() {
    let (sender, mut receiver) = broadcast::channel::<F, _>(1);
    let second = sender.clone();
    sender.send(1).unwrap();
    drop(sender);
    assert_eq!(now(receiver.recv()), Ok(1));
    let mut waiting = Driven::new(receiver.recv()).waits();
    drop(second);
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.ready(), Err(broadcast::RecvError::Closed));
    drop(waiting);
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    assert!(receiver.is_closed());
}

fn watch_shows_the_latest_value_and_wakes_for_it<F: Family>() {
    let (sender, mut a) = watch::channel::<F, _>(0);
    let mut b = a.clone();
    assert_eq!(a.has_changed(), Ok(false));
    let mut waiting = Driven::new(a.changed()).waits();
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(waiting.wakes(), 1);
    waiting.ready().unwrap();
    drop(waiting);
    assert_eq!(*a.borrow(), 2);
    let _ = Driven::new(a.changed()).waits();
    assert_eq!(b.has_changed(), Ok(true));
    assert_eq!(*b.borrow_and_update(), 2);
    assert_eq!(b.has_changed(), Ok(false));
    b.mark_changed();
    now(b.changed()).unwrap();
    // Cancelled after the change: it is still unseen.
    let mut cancelled = Driven::new(b.changed()).waits();
    sender.send(3).unwrap();
    cancelled.cancel();
    drop(cancelled);
    now(b.changed()).unwrap();
}

fn watch_ends_with_the_last_sender_and_after_the_last_change<F: Family>() {
    let (sender, mut receiver) = watch::channel::<F, _>(0);
    sender.send(1).unwrap();
    let second = sender.clone();
    drop(sender);
    now(receiver.changed()).unwrap();
    let mut waiting = Driven::new(receiver.changed()).waits();
    drop(second);
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.ready(), Err(RecvError));
    drop(waiting);
    assert_eq!(receiver.has_changed(), Err(RecvError));
    assert_eq!(*receiver.borrow(), 1);
}

fn watch_modifies_in_place_and_keeps_snapshots<F: Family>() {
    let (sender, receiver) = watch::channel::<F, _>(vec![1]);
    let snapshot = receiver.borrow();
    sender.send_modify(|list| list.push(2));
    assert!(!sender.send_if_modified(|list| {
        list.push(3);
        false
    }));
    assert_eq!((&*snapshot, &*receiver.borrow()), (&vec![1], &vec![1, 2]));
    assert_eq!(receiver.has_changed(), Ok(true));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        sender.send_modify(|_| std::panic::resume_unwind(Box::new(())));
    }));
    assert!(panicked.is_err());
    assert_eq!(*sender.send_replace(vec![]), [1, 2]);
}

fn watch_closed_waits_for_the_last_receiver<F: Family>() {
    let (sender, receiver) = watch::channel::<F, _>(0);
    let second = sender.subscribe();
    let mut closed = Driven::new(sender.closed()).waits();
    drop(receiver);
    assert!(closed.poll().is_pending());
    drop(second);
    assert_eq!(closed.wakes(), 1);
    closed.ready();
    assert_eq!(sender.send(1), Err(SendError(1)));
    assert_eq!(*sender.borrow(), 0);
    sender.send_replace(2);
    assert_eq!(*sender.subscribe().borrow(), 2);
}

fn watch_waits_for_a_condition<F: Family>() {
    let (sender, mut receiver) = watch::channel::<F, _>(1);
    assert_eq!(*now(receiver.wait_for(|n| *n > 0)).unwrap(), 1);
    let mut waiting = Driven::new(receiver.wait_for(|n| *n > 5)).waits();
    sender.send(3).unwrap();
    assert!(waiting.poll().is_pending());
    sender.send(6).unwrap();
    assert_eq!(*waiting.ready().unwrap(), 6);
}

fn a_queue_is_first_in_first_out_and_bounded<F: Family>() {
    let queue = Queue::<F, _>::new(2);
    now(queue.put(1)).unwrap();
    queue.try_put(2).unwrap();
    assert!(queue.is_full());
    assert_eq!(queue.try_put(3), Err(TrySendError::Full(3)));
    let mut third = Driven::new(queue.put(3)).waits();
    assert_eq!(now(queue.get()), Ok(1));
    assert_eq!(third.wakes(), 1);
    third.ready().unwrap();
    assert_eq!((queue.try_get(), queue.try_get()), (Ok(2), Ok(3)));
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    let mut consumer = Driven::new(queue.get()).waits();
    now(queue.put(4)).unwrap();
    assert_eq!(consumer.wakes(), 1);
    // Promised to the one who waited.
    assert_eq!(queue.try_get(), Err(TryGetError::Empty));
    assert_eq!(consumer.ready(), Ok(4));
}

fn a_lifo_queue_gives_the_newest_and_a_priority_queue_the_smallest<F: Family>() {
    let newest = Queue::<F, _, Lifo<_>>::unbounded();
    let smallest = Queue::<F, _, Priority<_>>::unbounded();
    for n in [5, 1, 4] {
        now(newest.put(n)).unwrap();
        now(smallest.put(n)).unwrap();
    }
    assert_eq!([(); 3].map(|()| newest.try_get().unwrap()), [4, 1, 5]);
    assert_eq!([(); 3].map(|()| smallest.try_get().unwrap()), [1, 4, 5]);

    /// Compares by the first field alone.
    #[derive(Debug)]
    struct Job(u8, &'static str);
    impl PartialEq for Job {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl Eq for Job {}
    impl PartialOrd for Job {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Job {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            self.0.cmp(&other.0)
        }
    }
    let jobs = Queue::<F, _, Priority<_>>::unbounded();
    for job in [Job(2, "a"), Job(1, "b"), Job(2, "c"), Job(1, "d")] {
        now(jobs.put(job)).unwrap();
    }
    let order = [(); 4].map(|()| jobs.try_get().unwrap().1);
    assert_eq!(order, ["b", "d", "a", "c"]);
}

fn a_queue_joins_when_everything_is_done<F: Family>() {
    let queue = Queue::<F, _>::unbounded();
    now(queue.join());
    now(queue.put(1)).unwrap();
    now(queue.put(2)).unwrap();
    let mut join = Driven::new(queue.join()).waits();
    now(queue.get()).unwrap();
    now(queue.get()).unwrap();
    queue.task_done();
    assert!(join.poll().is_pending());
    queue.task_done();
    assert_eq!(join.wakes(), 1);
    join.ready();
    let too_often = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| queue.task_done()));
    assert!(too_often.is_err());
}

fn a_queue_passes_on_what_a_cancelled_consumer_was_granted<F: Family>() {
    let queue = Queue::<F, _>::new(1);
    let mut first = Driven::new(queue.get()).waits();
    let mut second = Driven::new(queue.get()).waits();
    now(queue.put(1)).unwrap();
    first.cancel();
    assert_eq!(second.wakes(), 1);
    second.cancel();
    assert_eq!(queue.try_get(), Ok(1));
}

fn a_shut_down_queue_is_drained<F: Family>() {
    let queue = Queue::<F, _>::new(1);
    now(queue.put(1)).unwrap();
    let mut late = Driven::new(queue.put(2)).waits();
    queue.shutdown();
    assert_eq!(late.ready(), Err(SendError(2)));
    assert_eq!(queue.try_put(3), Err(TrySendError::Closed(3)));
    assert_eq!(now(queue.get()), Ok(1));
    assert_eq!(now(queue.get()), Err(ShutDown));
    assert_eq!(queue.try_get(), Err(TryGetError::ShutDown));

    let queue = Queue::<F, ()>::new(1);
    let mut consumer = Driven::new(queue.get()).waits();
    queue.shutdown();
    assert_eq!(consumer.wakes(), 1);
    assert_eq!(consumer.ready(), Err(ShutDown));
}

fn a_queue_shut_down_now_drops_the_rest<F: Family>() {
    let value = Rc::new(());
    let queue = Queue::<F, _>::unbounded();
    let mut granted = Driven::new(queue.get()).waits();
    for _ in 0..3 {
        now(queue.put(value.clone())).unwrap();
    }
    let mut join = Driven::new(queue.join()).waits();
    assert_eq!(queue.shutdown_now(), 2);
    assert_eq!(Rc::strong_count(&value), 2);
    assert!(granted.ready().is_ok());
    assert!(join.poll().is_pending());
    queue.task_done();
    join.ready();
}

fn a_granted_producer_that_comes_after_the_shutdown_gets_its_item_back<F: Family>() {
    let queue = Queue::<F, _>::new(1);
    now(queue.put(1)).unwrap();
    let mut granted = Driven::new(queue.put(2)).waits();
    now(queue.get()).unwrap();
    queue.shutdown();
    assert_eq!(granted.ready(), Err(SendError(2)));
    assert!(queue.is_empty() && !queue.is_full());
}
