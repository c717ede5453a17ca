//! oneshot and mpsc.

use std::rc::Rc;

use super::{Driven, for_both_families, now};
use crate::sync::errors::{RecvError, SendError, TryRecvError, TrySendError};
use crate::sync::family::Family;
use crate::sync::{mpsc, oneshot};

for_both_families! {
    oneshot_delivers_before_and_after_the_first_poll
    oneshot_tells_each_side_that_the_other_is_gone
    oneshot_close_keeps_what_was_sent
    oneshot_drops_a_value_nobody_took
    mpsc_is_first_in_first_out_and_ends
    mpsc_full_makes_senders_wait_in_order
    mpsc_a_cancelled_sender_passes_its_slot_on
    mpsc_close_drains_what_was_promised
    mpsc_a_dropped_receiver_drops_the_items_and_fails_senders
    mpsc_a_send_granted_before_the_receiver_went_gets_its_value_back
    mpsc_cancelling_recv_loses_nothing
    mpsc_recv_many_takes_what_is_there
    mpsc_closed_wakes_when_the_receiver_goes
    mpsc_capacity_counts_slots
    mpsc_a_stream_of_items
}

fn oneshot_delivers_before_and_after_the_first_poll<F: Family>() {
    let (sender, receiver) = oneshot::channel::<F, _>();
    sender.send(1).unwrap();
    assert_eq!(now(receiver), Ok(1));

    let (sender, receiver) = oneshot::channel::<F, _>();
    let mut receiver = Driven::new(receiver).waits();
    sender.send(2).unwrap();
    assert_eq!(receiver.wakes(), 1);
    assert_eq!(receiver.ready(), Ok(2));
    assert_eq!(receiver.ready(), Err(RecvError));
}

fn oneshot_tells_each_side_that_the_other_is_gone<F: Family>() {
    let (sender, receiver) = oneshot::channel::<F, ()>();
    let mut receiver = Driven::new(receiver).waits();
    drop(sender);
    assert_eq!(receiver.wakes(), 1);
    assert_eq!(receiver.ready(), Err(RecvError));

    let (mut sender, receiver) = oneshot::channel::<F, _>();
    let mut closed = Driven::new(sender.closed()).waits();
    drop(receiver);
    assert_eq!(closed.wakes(), 1);
    closed.ready();
    drop(closed);
    assert!(sender.is_closed());
    assert_eq!(sender.send(7), Err(7));
}

fn oneshot_close_keeps_what_was_sent<F: Family>() {
    let (sender, mut receiver) = oneshot::channel::<F, _>();
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    sender.send(1).unwrap();
    receiver.close();
    assert_eq!(receiver.try_recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));

    let (sender, mut receiver) = oneshot::channel::<F, _>();
    receiver.close();
    assert_eq!(sender.send(1), Err(1));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
}

fn oneshot_drops_a_value_nobody_took<F: Family>() {
    let value = Rc::new(());
    let (sender, receiver) = oneshot::channel::<F, _>();
    sender.send(value.clone()).unwrap();
    drop(receiver);
    assert_eq!(Rc::strong_count(&value), 1);
}

fn mpsc_is_first_in_first_out_and_ends<F: Family>() {
    let (bounded, mut receiver) = mpsc::channel::<F, _>(3);
    let second = bounded.clone();
    now(bounded.send(1)).unwrap();
    now(second.send(2)).unwrap();
    drop(bounded);
    assert_eq!(now(receiver.recv()), Some(1));
    assert_eq!(now(receiver.recv()), Some(2));
    let mut waiting = Driven::new(receiver.recv()).waits();
    drop(second);
    assert_eq!(waiting.wakes(), 1);
    assert_eq!(waiting.ready(), None);

    let (sender, mut receiver) = mpsc::unbounded_channel::<F, _>();
    for n in 0..5 {
        sender.send(n).unwrap();
    }
    assert_eq!(now(receiver.recv()), Some(0));
    sender.send(5).unwrap();
    assert_eq!(receiver.len(), 5);
    drop(sender);
    for n in 1..6 {
        assert_eq!(receiver.try_recv(), Ok(n));
    }
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
}

fn mpsc_full_makes_senders_wait_in_order<F: Family>() {
    let (sender, mut receiver) = mpsc::channel::<F, _>(1);
    now(sender.send(0)).unwrap();
    let mut first = Driven::new(sender.send(1)).waits();
    let mut second = Driven::new(sender.send(2)).waits();
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(now(receiver.recv()), Some(0));
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    // The free slot is the first one's.
    assert_eq!(sender.try_send(3), Err(TrySendError::Full(3)));
    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    first.ready().unwrap();
    assert_eq!(now(receiver.recv()), Some(1));
    second.ready().unwrap();
    assert_eq!(now(receiver.recv()), Some(2));
}

fn mpsc_a_cancelled_sender_passes_its_slot_on<F: Family>() {
    let (sender, mut receiver) = mpsc::channel::<F, _>(1);
    now(sender.send(0)).unwrap();
    let mut first = Driven::new(sender.send(1)).waits();
    let mut second = Driven::new(sender.send(2)).waits();
    assert_eq!(now(receiver.recv()), Some(0));
    first.cancel();
    assert_eq!(second.wakes(), 1);
    second.ready().unwrap();
    assert_eq!(now(receiver.recv()), Some(2));
    drop(now(sender.reserve()).unwrap());
    assert_eq!(sender.capacity(), 1);
}

fn mpsc_close_drains_what_was_promised<F: Family>() {
    let (sender, mut receiver) = mpsc::channel::<F, _>(2);
    now(sender.send(1)).unwrap();
    let permit = now(sender.reserve()).unwrap();
    let mut waiting = Driven::new(sender.send(9)).waits();
    receiver.close();
    assert_eq!(waiting.ready(), Err(SendError(9)));
    assert_eq!(sender.try_send(9), Err(TrySendError::Closed(9)));
    assert_eq!(now(receiver.recv()), Some(1));
    let mut last = Driven::new(receiver.recv()).waits();
    permit.send(2);
    assert_eq!(last.wakes(), 1);
    assert_eq!(last.ready(), Some(2));
    drop(last);
    assert_eq!(now(receiver.recv()), None);

    // A promise that is broken ends the channel too.
    let (sender, mut receiver) = mpsc::channel::<F, ()>(1);
    let permit = now(sender.reserve()).unwrap();
    receiver.close();
    let mut last = Driven::new(receiver.recv()).waits();
    drop(permit);
    assert_eq!(last.wakes(), 1);
    assert_eq!(last.ready(), None);
}

fn mpsc_a_dropped_receiver_drops_the_items_and_fails_senders<F: Family>() {
    let value = Rc::new(());
    let (sender, receiver) = mpsc::channel::<F, _>(2);
    now(sender.send(value.clone())).unwrap();
    let permit = now(sender.reserve()).unwrap();
    let mut waiting = Driven::new(sender.send(value.clone())).waits();
    drop(receiver);
    assert_eq!(waiting.wakes(), 1);
    assert!(waiting.ready().is_err());
    permit.send(value.clone());
    assert!(sender.is_closed());
    assert_eq!(Rc::strong_count(&value), 1);

    let (sender, mut receiver) = mpsc::unbounded_channel::<F, _>();
    for _ in 0..3 {
        sender.send(value.clone()).unwrap();
    }
    drop(now(receiver.recv()));
    sender.send(value.clone()).unwrap();
    drop(receiver);
    assert_eq!(sender.send(value.clone()), Err(SendError(value.clone())));
    assert_eq!(Rc::strong_count(&value), 1);
}

fn mpsc_a_send_granted_before_the_receiver_went_gets_its_value_back<F: Family>() {
    let (sender, mut receiver) = mpsc::channel::<F, _>(1);
    now(sender.send(1)).unwrap();
    let mut granted = Driven::new(sender.send(2)).waits();
    assert_eq!(now(receiver.recv()), Some(1));
    drop(receiver);
    assert_eq!(granted.ready(), Err(SendError(2)));
}

fn mpsc_cancelling_recv_loses_nothing<F: Family>() {
    let (sender, mut receiver) = mpsc::channel::<F, _>(1);
    let mut waiting = Driven::new(receiver.recv()).waits();
    now(sender.send(1)).unwrap();
    waiting.cancel();
    drop(waiting);
    assert_eq!(now(receiver.recv()), Some(1));
}

fn mpsc_recv_many_takes_what_is_there<F: Family>() {
    let (sender, mut receiver) = mpsc::channel::<F, _>(10);
    for n in 0..5 {
        sender.try_send(n).unwrap();
    }
    let mut buffer = Vec::new();
    assert_eq!(now(receiver.recv_many(&mut buffer, 3)), 3);
    assert_eq!(now(receiver.recv_many(&mut buffer, 30)), 2);
    assert_eq!(now(receiver.recv_many(&mut buffer, 0)), 0);
    assert_eq!(buffer, [0, 1, 2, 3, 4]);
    drop(sender);
    assert_eq!(now(receiver.recv_many(&mut buffer, 3)), 0);
}

fn mpsc_closed_wakes_when_the_receiver_goes<F: Family>() {
    let (sender, receiver) = mpsc::unbounded_channel::<F, ()>();
    let mut a = Driven::new(sender.closed()).waits();
    let mut gave_up = Driven::new(sender.closed()).waits();
    gave_up.cancel();
    assert!(a.poll().is_pending());
    drop(receiver);
    assert_eq!(a.wakes(), 1);
    a.ready();
    now(sender.closed());
}

fn mpsc_capacity_counts_slots<F: Family>() {
    let (sender, mut receiver) = mpsc::channel::<F, _>(3);
    assert_eq!((sender.capacity(), sender.max_capacity()), (3, 3));
    sender.try_send(()).unwrap();
    let permit = sender.try_reserve().unwrap();
    assert_eq!((sender.capacity(), receiver.len()), (1, 1));
    drop(permit);
    receiver.try_recv().unwrap();
    assert_eq!(sender.capacity(), 3);
    assert!(sender.same_channel(&sender.clone()));
}

fn mpsc_a_stream_of_items<F: Family>() {
    use futures_core::Stream;
    let (sender, mut receiver) = mpsc::unbounded_channel::<F, _>();
    sender.send(1).unwrap();
    drop(sender);
    let mut next = || {
        now(std::future::poll_fn(|cx| {
            std::pin::Pin::new(&mut receiver).poll_next(cx)
        }))
    };
    assert_eq!((next(), next()), (Some(1), None));
}
