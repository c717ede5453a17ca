//! `Queue`: order, exactly once, bounds, and processes killed at any moment.

use crate::{kill, succeeds, wait_to_be_killed};
use std::collections::HashSet;
use std::time::Duration;
use threeply_pools::ipc::{Channel, Error, Event, Mutex, Process, Queue, channel};
use threeply_tests::watchdog::watchdog;

/// Who sent it, and its number.
type Numbered = (u32, u32);
/// With bytes that all are its number.
type Filled = (u32, u32, Vec<u8>);

#[test]
fn messages_of_several_producers_reach_several_consumers_each_once() {
    let _dog = watchdog();
    fn produce((queue, who): (Queue<Numbered>, u32)) {
        for n in 0..2_000 {
            queue.put(&(who, n)).unwrap();
        }
    }
    fn consume((queue, peer): (Queue<Numbered>, Channel<Vec<Numbered>>)) {
        let mut got = Vec::new();
        loop {
            match queue.get() {
                Ok(message) => got.push(message),
                Err(Error::Closed) => break,
                Err(error) => panic!("{error}"),
            }
        }
        peer.send(&got).unwrap();
    }
    let queue = Queue::new(16).unwrap();
    let producers: Vec<_> = (0..3)
        .map(|who| Process::spawn(produce, (queue.clone(), who)).unwrap())
        .collect();
    let consumers: Vec<_> = (0..3)
        .map(|_| {
            let (here, there) = channel().unwrap();
            (
                Process::spawn(consume, (queue.clone(), there)).unwrap(),
                here,
            )
        })
        .collect();
    producers.into_iter().for_each(succeeds);
    queue.close();
    let mut all = HashSet::new();
    for (process, here) in consumers {
        let got = here.recv().unwrap();
        for who in 0..3 {
            let own = got.iter().filter(|message| message.0 == who);
            assert!(own.map(|message| message.1).is_sorted(), "out of order");
        }
        for message in got {
            assert!(all.insert(message), "{message:?} came twice");
        }
        succeeds(process);
    }
    assert_eq!(all.len(), 6_000);
}

#[test]
fn a_queue_is_bounded_in_messages_and_bytes_and_says_so() {
    let _dog = watchdog();
    let queue = Queue::<Vec<u8>>::with_capacity(2, 100).unwrap();
    let soon = Duration::from_millis(5);
    assert!(matches!(queue.try_get(), Err(Error::WouldBlock)));
    assert!(matches!(queue.get_timeout(soon), Err(Error::TimedOut)));
    queue.put(&vec![1]).unwrap();
    queue.put(&vec![2]).unwrap();
    assert!(matches!(queue.try_put(&vec![3]), Err(Error::WouldBlock)));
    assert_eq!(queue.len(), 2);
    assert!(queue.is_full() && queue.capacity() == 2);
    assert_eq!(queue.get().unwrap(), [1]);
    assert!(!queue.is_full());
    assert!(matches!(
        queue.try_put(&vec![3; 95]),
        Err(Error::WouldBlock)
    ));
    assert!(matches!(
        queue.put_timeout(&vec![3; 95], soon),
        Err(Error::TimedOut)
    ));
    assert!(matches!(
        queue.put(&vec![3; 96]),
        Err(Error::TooLarge { len: 97, max: 96 })
    ));
    assert_eq!(queue.get().unwrap(), [2]);
    queue.put(&vec![3; 95]).unwrap();
    queue.close();
    assert!(queue.is_closed());
    assert!(matches!(queue.put(&vec![4]), Err(Error::Closed)));
    assert_eq!(queue.get().unwrap(), [3; 95], "across the seam");
    assert!(matches!(queue.get(), Err(Error::Closed)));
    assert!(Queue::<u8>::new(0).is_err());
}

#[test]
fn a_handle_cannot_be_queued_and_the_error_says_how_to_send_it() {
    let queue = Queue::<Mutex<u8>>::new(1).unwrap();
    let error = queue.put(&Mutex::new(1).unwrap()).unwrap_err();
    assert!(error.to_string().contains("Channel"), "{error}");
    assert!(queue.is_empty());
}

#[test]
fn who_waits_for_nobody_is_told_but_not_before_the_queue_is_empty() {
    let _dog = watchdog();
    fn put_and_wait((queue, ready): (Queue<u32>, Event)) {
        queue.put(&7).unwrap();
        wait_to_be_killed(&ready)
    }
    let (queue, ready) = (Queue::new(1).unwrap(), Event::new().unwrap());
    let process = Process::spawn(put_and_wait, (queue.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    kill(&process);
    assert!(matches!(queue.put(&8), Err(Error::PeersGone)), "it is full");
    assert_eq!(queue.get().unwrap(), 7);
    assert!(matches!(queue.get(), Err(Error::PeersGone)));
    let alone = threeply_runtime::block_on(queue.get_async());
    assert!(matches!(alone, Err(Error::PeersGone)));
}

#[test]
fn a_queue_can_be_awaited_on_both_sides() {
    let _dog = watchdog();
    fn echo((there, back): (Queue<u32>, Queue<u32>)) {
        while let Ok(n) = there.get() {
            back.put(&n).unwrap();
        }
    }
    let (there, back) = (Queue::new(2).unwrap(), Queue::new(2).unwrap());
    let process = Process::spawn(echo, (there.clone(), back.clone())).unwrap();
    threeply_runtime::block_on(async {
        let put = async {
            for n in 0..200 {
                there.put_async(&n).await.unwrap();
            }
        };
        let get = async {
            for n in 0..200 {
                assert_eq!(back.get_async().await.unwrap(), n);
            }
        };
        futures::future::join(put, get).await;
    });
    there.close();
    succeeds(process);
}

/// A generator of numbers that a seed repeats.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Falls otherwise each time, and says how.
    pub(crate) fn new() -> Dice {
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = now.subsec_nanos();
        println!("seed: {seed}");
        Dice(u64::from(seed))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Puts numbered messages of varying length, and says by channel how far it came.
fn produce((queue, peer, who, seed): (Queue<Filled>, Channel<u32, ()>, u32, u64)) {
    let mut dice = Dice(seed);
    for n in 0.. {
        let filler = vec![n as u8; dice.below(300) as usize];
        queue.put(&(who, n, filler)).unwrap();
        if n == 0 {
            peer.send(&n).unwrap();
        }
    }
}

fn consume((queue, taken): (Queue<Filled>, Event)) {
    while let Ok((_, n, filler)) = queue.get() {
        assert!(filler.iter().all(|byte| *byte == n as u8));
        taken.set();
    }
}

/// Producers and consumers are killed at random moments; what arrives here is whole,
/// in order, and nothing arrives twice.
#[test]
fn random_kills_cost_no_more_than_what_the_dead_had_taken() {
    let _dog = watchdog();
    let mut dice = Dice::new();
    let queue = Queue::with_capacity(64, 4096).unwrap();
    let mut last = std::collections::HashMap::new();
    for round in 0..12 {
        let (here, there) = threeply_pools::ipc::duplex::<(), u32>().unwrap();
        let arguments = (queue.clone(), there, round, dice.below(1 << 32));
        let producer = Process::spawn(produce, arguments).unwrap();
        let taken = Event::new().unwrap();
        let consumer = Process::spawn(consume, (queue.clone(), taken.clone())).unwrap();
        here.recv().unwrap();
        taken.wait().unwrap();
        let mut see = |(who, n, filler): Filled| {
            assert!(filler.iter().all(|byte| *byte == n as u8), "a torn message");
            if let Some(before) = last.insert(who, n) {
                assert!(before < n, "{before} before {n} of {who}");
            }
        };
        for _ in 0..dice.below(2_000) {
            see(queue.get().unwrap());
        }
        // Whoever is killed first may hold the door, or be amid a message.
        if dice.below(2) == 0 {
            kill(&consumer);
            see(queue.get().unwrap());
            kill(&producer);
        } else {
            kill(&producer);
            kill(&consumer);
        }
        while let Ok(message) = queue.get() {
            see(message);
        }
        assert!(queue.is_empty());
    }
}
