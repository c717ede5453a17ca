//! `JoinableQueue`: work that is done, dropped, or lost with its consumer.

use crate::queues::Dice;
use crate::{kill, succeeds, wait_to_be_killed};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;
use threeply_pools::ipc::{Array, Error, Event, JoinableQueue, Poisoned, Process, Value};
use threeply_tests::watchdog::watchdog;

fn is_lost(outcome: Result<(), Error>, expected: u32) -> bool {
    matches!(outcome, Err(Error::Lost { messages }) if messages == expected)
}

#[test]
fn join_returns_when_all_of_several_consumers_have_said_done() {
    let _dog = watchdog();
    fn work((queue, sum): (JoinableQueue<u64>, Value<u64>)) {
        while let Ok((n, receipt)) = queue.get() {
            sum.update(|sum| *sum += n);
            receipt.task_done();
        }
    }
    let (queue, sum) = (JoinableQueue::new(8).unwrap(), Value::new(0).unwrap());
    queue.join().unwrap();
    let workers: Vec<_> = (0..3)
        .map(|_| Process::spawn(work, (queue.clone(), sum.clone())).unwrap())
        .collect();
    let mut expected = 0;
    for round in 1..=20 {
        for n in 0..100 {
            queue.put(&(n * round)).unwrap();
            expected += n * round;
        }
        if round % 2 == 0 {
            queue.join().unwrap();
        } else {
            threeply_runtime::block_on(queue.join_async()).unwrap();
        }
        assert_eq!(sum.get(), expected, "joined too early");
        assert_eq!((queue.unfinished(), queue.lost()), (0, 0));
    }
    queue.close();
    workers.into_iter().for_each(succeeds);
}

#[test]
fn what_is_taken_is_waited_for_until_its_receipt_says_so() {
    let _dog = watchdog();
    let queue = JoinableQueue::new(2).unwrap();
    queue.put(&1).unwrap();
    queue.put(&2).unwrap();
    assert!(matches!(queue.try_put(&3), Err(Error::WouldBlock)));
    let (one, first) = queue.get().unwrap();
    let (two, second) = queue.try_get().unwrap();
    assert_eq!((one, two, queue.len(), queue.unfinished()), (1, 2, 0, 2));
    assert!(matches!(queue.try_get(), Err(Error::WouldBlock)));
    let soon = Duration::from_millis(5);
    assert!(matches!(queue.get_timeout(soon), Err(Error::TimedOut)));
    assert!(matches!(queue.join_timeout(soon), Err(Error::TimedOut)));
    first.task_done();
    assert!(matches!(queue.join_timeout(soon), Err(Error::TimedOut)));
    let handle = queue.clone();
    std::thread::spawn(move || second.task_done());
    handle.join().unwrap();
}

#[test]
fn a_dropped_receipt_and_a_panic_are_told_until_cleared() {
    let _dog = watchdog();
    let queue = JoinableQueue::new(4).unwrap();
    for n in 0..4 {
        queue.put(&n).unwrap();
    }
    let (_, receipt) = queue.get().unwrap();
    drop(receipt);
    let caught = std::panic::catch_unwind(|| {
        let (_n, _receipt) = queue.get().unwrap();
        panic!("as it was told to");
    });
    assert!(caught.is_err());
    let soon = Duration::from_millis(5);
    let early = queue.join_timeout(soon);
    assert!(matches!(early, Err(Error::TimedOut)), "two still wait");
    for _ in 0..2 {
        queue.get().unwrap().1.task_done();
    }
    let error = queue.join().unwrap_err();
    assert!(
        error.to_string().starts_with("2 of the messages"),
        "{error}"
    );
    assert!(is_lost(queue.join(), 2), "told until it is cleared");
    assert_eq!((queue.clear_lost(), queue.lost()), (2, 0));
    queue.join().unwrap();
}

/// A number that can't be decoded if it is zero.
struct NotZero(u8);

impl Serialize for NotZero {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for NotZero {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u8::deserialize(deserializer)? {
            0 => Err(serde::de::Error::custom("zero")),
            n => Ok(NotZero(n)),
        }
    }
}

#[test]
fn what_cannot_be_decoded_is_lost_and_what_is_closed_can_be_joined() {
    let _dog = watchdog();
    let queue = JoinableQueue::new(2).unwrap();
    queue.put(&NotZero(0)).unwrap();
    queue.put(&NotZero(1)).unwrap();
    queue.close();
    assert!(matches!(queue.put(&NotZero(2)), Err(Error::Closed)));
    assert!(matches!(queue.get(), Err(Error::Decode(_))));
    let (one, receipt) = queue.get().unwrap();
    assert_eq!(one.0, 1);
    receipt.task_done();
    assert!(matches!(queue.get(), Err(Error::Closed)));
    assert!(queue.is_closed());
    assert!(is_lost(queue.join(), 1));
    assert!(JoinableQueue::<u8>::new(0).is_err());
}

/// Takes three, says that one of them is done, and waits for its end.
fn take_three((queue, ready): (JoinableQueue<u32>, Event)) {
    let taken = [(); 3].map(|()| queue.get().unwrap().1);
    let [one, _two, _three] = taken;
    one.task_done();
    wait_to_be_killed(&ready)
}

#[test]
fn what_a_consumer_died_with_is_lost_and_the_rest_is_waited_for() {
    let _dog = watchdog();
    let (queue, ready) = (JoinableQueue::new(8).unwrap(), Event::new().unwrap());
    for n in 0..4 {
        queue.put(&n).unwrap();
    }
    let process = Process::spawn(take_three, (queue.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    let soon = Duration::from_millis(5);
    assert!(matches!(queue.join_timeout(soon), Err(Error::TimedOut)));
    assert_eq!((queue.unfinished(), queue.lost()), (3, 0));
    std::thread::scope(|scope| {
        // The second waits by future.
        let joiners = [
            scope.spawn(|| queue.join()),
            scope.spawn(|| threeply_runtime::block_on(queue.join_async())),
        ];
        let (last, receipt) = queue.get().unwrap();
        assert_eq!(last, 3);
        receipt.task_done();
        kill(&process);
        for joiner in joiners {
            assert!(is_lost(joiner.join().unwrap(), 2));
        }
    });
    assert_eq!(queue.clear_lost(), 2);
    // The next process may get the dead one's seat; nothing is counted twice.
    for n in 0..3 {
        queue.put(&n).unwrap();
    }
    ready.clear();
    let process = Process::spawn(take_three, (queue.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    kill(&process);
    assert!(is_lost(queue.join(), 2));
}

#[test]
fn who_joins_what_nobody_is_left_to_do_is_told() {
    let _dog = watchdog();
    let (queue, ready) = (JoinableQueue::new(8).unwrap(), Event::new().unwrap());
    for n in 0..4 {
        queue.put(&n).unwrap();
    }
    let process = Process::spawn(take_three, (queue.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    kill(&process);
    assert!(matches!(queue.join(), Err(Error::PeersGone)), "one waits");
    assert_eq!((queue.len(), queue.unfinished(), queue.lost()), (1, 1, 2));
    queue.get().unwrap().1.task_done();
    assert!(is_lost(queue.join(), 2));
}

/// Marks its message before it works and after it has said that it is done.
fn mark((queue, marks, begun): (JoinableQueue<u32>, Array<u8>, Event)) {
    let set = |n: u32, mark: u8| {
        // Others are killed with the lock; a byte is whole or not written.
        let mut guard = marks.lock().unwrap_or_else(Poisoned::into_inner);
        guard[n as usize] = mark;
        drop(guard);
        marks.clear_poison();
    };
    while let Ok((n, receipt)) = queue.get() {
        set(n, 1);
        receipt.task_done();
        set(n, 2);
        begun.set();
    }
}

/// Consumers are killed at random moments: `join` accounts for every message, and calls
/// none lost that was certainly done, nor one done that was certainly lost.
#[test]
fn random_kills_lose_exactly_what_was_held() {
    let _dog = watchdog();
    let mut dice = Dice::new();
    let queue = JoinableQueue::with_capacity(16, 4096).unwrap();
    let marks = Array::<u8>::zeroed(1 << 24).unwrap();
    let spawn = || {
        let begun = Event::new().unwrap();
        let arguments = (queue.clone(), marks.clone(), begun.clone());
        (Process::spawn(mark, arguments).unwrap(), begun)
    };
    let (survivor, _) = spawn();
    let (mut put, rounds) = (0u32, 20);
    for _ in 0..rounds {
        let (victim, begun) = spawn();
        let mut more = dice.below(300);
        while more > 0 {
            queue.put(&put).unwrap();
            put += 1;
            if begun.is_set() {
                more -= 1;
            }
        }
        kill(&victim);
    }
    let outcome = queue.join();
    let lost = queue.lost();
    match outcome {
        Ok(()) => assert_eq!(lost, 0),
        Err(Error::Lost { messages }) => assert_eq!(messages, lost),
        Err(error) => panic!("{error}"),
    }
    assert_eq!((queue.unfinished(), queue.len()), (0, 0));
    queue.close();
    succeeds(survivor);
    let marks = marks.lock().unwrap_or_else(Poisoned::into_inner);
    let count = |mark: u8| {
        let put = marks[..put as usize].iter();
        put.filter(|found| **found == mark).count() as u32
    };
    // With a 1 its consumer died before, in, or just after `task_done`.
    let (untouched, between) = (count(0), count(1));
    assert!(untouched <= lost, "{untouched} weren't begun, {lost} lost");
    assert!(
        lost <= untouched + between,
        "{lost} lost, {untouched}, {between}"
    );
    assert!(lost <= rounds, "a consumer holds one at a time");
}
