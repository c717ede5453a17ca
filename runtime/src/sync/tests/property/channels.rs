//! Mpsc of both kinds, queue and broadcast against their models.

use std::collections::VecDeque;
use std::future::poll_fn;

use super::super::{Driven, for_both_families};
use super::{Line, Waits, check, take};
use crate::sync::errors::{TryRecvError, TrySendError};
use crate::sync::family::Family;
use crate::sync::queue::{Lifo, Queue, TryGetError};
use crate::sync::{broadcast, mpsc};

for_both_families! {
    mpsc_property
    unbounded_property
    queue_property
    broadcast_property
}

fn mpsc_property<F: Family>() {
    check(300, |dice| {
        let capacity = 1 + dice.roll(3);
        let (sender, mut receiver) = mpsc::channel::<F, _>(capacity);
        let (mut slots, mut items) = (Line::new(capacity), VecDeque::new());
        let (mut sends, mut reserved) = (Waits::new(), Vec::new());
        let mut value = 0;
        for _ in 0..80 {
            match dice.roll(16) {
                0..4 => {
                    let id = sends.new_id();
                    value += 1;
                    let got = sends.start(id, Driven::new(sender.send(value + 1000 * id)));
                    let expected = slots.ask(id, 1);
                    assert_eq!(got.map(|sent| sent.is_ok()), expected);
                    if expected == Some(true) {
                        items.push_back(value + 1000 * id);
                    }
                }
                4..6 => {
                    value += 1;
                    let expected = match slots.try_ask(1) {
                        Some(true) => {
                            items.push_back(value);
                            Ok(())
                        }
                        Some(false) => Err(TrySendError::Closed(value)),
                        None => Err(TrySendError::Full(value)),
                    };
                    assert_eq!(sender.try_send(value), expected);
                }
                6 => {
                    let permit = sender.try_reserve().ok();
                    assert_eq!(permit.is_some(), slots.try_ask(1) == Some(true));
                    reserved.extend(permit);
                }
                7 => {
                    if let Some(permit) = take(&mut reserved, dice) {
                        value += 1;
                        permit.send(value);
                        items.push_back(value);
                    }
                }
                8 => {
                    if take(&mut reserved, dice).is_some() {
                        slots.give(1);
                    }
                }
                9..11 => {
                    if let Some((id, got)) = sends.poll_one(dice) {
                        let sent = got.map(|sent| sent.map_err(|unsent| unsent.0));
                        let expected = slots.poll(id);
                        assert_eq!(sent.as_ref().map(Result::is_ok), expected);
                        match sent {
                            // The value of a send is only known to itself.
                            Some(Ok(())) => items.push_back(0),
                            Some(Err(unsent)) => assert_eq!(unsent / 1000, id),
                            None => {}
                        }
                    }
                }
                11 => {
                    if let Some(id) = sends.cancel_one(dice) {
                        slots.cancel(id);
                    }
                }
                12..15 => {
                    let in_hand = !slots.granted.is_empty() || !reserved.is_empty();
                    match (items.pop_front(), receiver.try_recv()) {
                        (Some(expected), Ok(got)) => {
                            assert!(expected == 0 || expected == got);
                            slots.give(1);
                        }
                        (None, Err(TryRecvError::Closed)) => assert!(slots.closed && !in_hand),
                        (None, Err(TryRecvError::Empty)) => assert!(!slots.closed || in_hand),
                        wrong => panic!("expected and received: {wrong:?}"),
                    }
                }
                _ if dice.roll(20) == 0 => {
                    receiver.close();
                    slots.close();
                }
                _ => {
                    // The receiver waits if it must, and is woken for the next.
                    let mut recv = Driven::new(poll_fn(|cx| receiver.poll_recv(cx)));
                    if items.is_empty() && !slots.closed {
                        let recv = recv.waits();
                        if slots.try_ask(1) == Some(true) {
                            sender.try_send(7).unwrap();
                            items.push_back(7);
                            assert_eq!(recv.wakes(), 1);
                        }
                    } else if items.pop_front().is_some() {
                        assert!(recv.ready().is_some());
                        slots.give(1);
                    }
                }
            }
            sends.check_wakes(&slots);
            assert_eq!(sender.capacity(), slots.free);
            assert_eq!(receiver.len(), items.len());
        }
    });
}

/// Nothing is lost or told twice, whatever the batches and however often the receiver
/// gives up waiting.
fn unbounded_property<F: Family>() {
    check(300, |dice| {
        let (sender, mut receiver) = mpsc::unbounded_channel::<F, u32>();
        let (mut senders, mut items, mut closed) = (vec![sender], VecDeque::new(), false);
        let mut value = 0;
        for _ in 0..80 {
            match dice.roll(16) {
                0..6 if !senders.is_empty() => {
                    value += 1;
                    let sent = senders[dice.roll(senders.len())].send(value);
                    assert_eq!(
                        sent.map_err(|unsent| unsent.0),
                        if closed { Err(value) } else { Ok(()) }
                    );
                    items.extend((!closed).then_some(value));
                }
                6 => senders.extend(senders.first().cloned()),
                7 if dice.roll(3) == 0 => drop(take(&mut senders, dice)),
                8..12 => {
                    let expected = items.pop_front().ok_or(match closed || senders.is_empty() {
                        true => TryRecvError::Closed,
                        false => TryRecvError::Empty,
                    });
                    assert_eq!(receiver.try_recv(), expected);
                }
                12 if dice.roll(20) == 0 => {
                    receiver.close();
                    closed = true;
                }
                _ => {
                    let mut recv = Driven::new(receiver.recv());
                    if !items.is_empty() || closed || senders.is_empty() {
                        assert_eq!(recv.ready(), items.pop_front());
                        continue;
                    }
                    let mut recv = recv.waits();
                    match dice.roll(3) {
                        0 => {
                            value += 1;
                            senders[0].send(value).unwrap();
                            assert_eq!((recv.wakes(), recv.ready()), (1, Some(value)));
                        }
                        1 if senders.len() == 1 => {
                            senders.clear();
                            assert_eq!((recv.wakes(), recv.ready()), (1, None));
                        }
                        _ => recv.cancel(),
                    }
                }
            }
            assert_eq!(receiver.len(), items.len());
        }
    });
}

fn queue_property<F: Family>() {
    check(300, |dice| {
        let maxsize = 1 + dice.roll(3);
        let queue = Queue::<F, u32, Lifo<u32>>::new(maxsize);
        let (mut slots, mut ready) = (Line::new(maxsize), Line::new(0));
        let (mut puts, mut gets) = (Waits::new(), Waits::new());
        let (mut content, mut shut_down) = (Vec::new(), false);
        for _ in 0..80 {
            match dice.roll(13) {
                0..3 => {
                    let id = puts.new_id();
                    let got = puts.start(id, Driven::new(queue.put(id)));
                    let expected = slots.ask(id, 1);
                    assert_eq!(got.map(|put| put.is_ok()), expected);
                    if expected == Some(true) {
                        content.push(id);
                        ready.give(1);
                    }
                }
                3..6 => {
                    let id = gets.new_id();
                    let got = gets.start(id, Driven::new(queue.get()));
                    if shut_down && ready.free == 0 {
                        assert!(matches!(got, Some(Err(_))));
                    } else if ready.ask(id, 1).is_some() {
                        assert_eq!(got, Some(Ok(content.pop().unwrap())));
                        slots.give(1);
                    } else {
                        assert_eq!(got, None);
                    }
                }
                6..8 => {
                    if let Some((id, got)) = puts.poll_one(dice) {
                        match slots.poll(id) {
                            Some(true) if shut_down => {
                                slots.give(1);
                                assert!(matches!(got, Some(Err(_))));
                            }
                            Some(true) => {
                                assert_eq!(got, Some(Ok(())));
                                content.push(id);
                                ready.give(1);
                            }
                            Some(false) => assert!(matches!(got, Some(Err(_)))),
                            None => assert_eq!(got, None),
                        }
                    }
                }
                8..10 => {
                    if let Some((id, got)) = gets.poll_one(dice) {
                        match ready.poll(id) {
                            Some(true) => {
                                assert_eq!(got, Some(Ok(content.pop().unwrap())));
                                slots.give(1);
                            }
                            Some(false) => assert!(matches!(got, Some(Err(_)))),
                            None => assert_eq!(got, None),
                        }
                    }
                }
                10 => {
                    if let Some(id) = puts.cancel_one(dice) {
                        slots.cancel(id);
                    }
                    if let Some(id) = gets.cancel_one(dice) {
                        ready.cancel(id);
                    }
                }
                11 => match queue.try_get() {
                    Ok(item) => {
                        assert_eq!(ready.try_ask(1), Some(true));
                        assert_eq!(content.pop(), Some(item));
                        slots.give(1);
                    }
                    Err(error) => {
                        assert_eq!(error == TryGetError::ShutDown, shut_down);
                        assert_eq!(ready.try_ask(1), None);
                    }
                },
                _ if dice.roll(10) == 0 => {
                    queue.shutdown();
                    shut_down = true;
                    slots.close();
                    ready.let_all_go();
                }
                _ => {}
            }
            puts.check_wakes(&slots);
            gets.check_wakes(&ready);
            assert_eq!(queue.len(), content.len());
        }
    });
}

fn broadcast_property<F: Family>() {
    check(300, |dice| {
        let capacity = 1 + dice.roll(4);
        let (sender, first) = broadcast::channel::<F, usize>(capacity);
        // The model: everything ever sent, and how far each receiver has seen.
        let (mut log, mut receivers) = (Vec::new(), vec![(first, 0)]);
        for _ in 0..80 {
            match dice.roll(10) {
                0..4 => {
                    let sent = sender.send(log.len());
                    if receivers.is_empty() {
                        assert!(sent.is_err());
                    } else {
                        assert_eq!(sent, Ok(receivers.len()));
                        log.push(log.len());
                    }
                }
                4 => receivers.push((sender.subscribe(), log.len())),
                5 => drop(take(&mut receivers, dice)),
                _ if receivers.is_empty() => {}
                _ => {
                    let index = dice.roll(receivers.len());
                    let (receiver, next) = &mut receivers[index];
                    let oldest = log.len().saturating_sub(capacity);
                    match receiver.try_recv() {
                        Ok(value) => {
                            assert_eq!(Some(&value), log.get(*next));
                            *next += 1;
                        }
                        Err(broadcast::TryRecvError::Lagged(missed)) => {
                            assert_eq!(missed as usize, oldest - *next);
                            *next = oldest;
                        }
                        Err(error) => {
                            assert_eq!(error, broadcast::TryRecvError::Empty);
                            assert_eq!(*next, log.len());
                        }
                    }
                }
            }
            let unseen = receivers.iter().map(|(_, next)| log.len() - next).max();
            assert_eq!(sender.len(), unseen.unwrap_or(0).min(capacity));
        }
    });
}
