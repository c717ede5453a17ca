//! `Semaphore`, `Barrier`, `Value`: what becomes of them when a process dies.

use crate::{kill, succeeds, wait_to_be_killed};
use std::time::Duration;
use threeply_pools::ipc::{Barrier, Error, Event, Process, Semaphore, Value};
use threeply_tests::watchdog::watchdog;

#[test]
fn no_more_than_the_permits_are_inside() {
    let _dog = watchdog();
    fn work((places, inside, most): (Semaphore, Value<i64>, Value<i64>)) {
        for _ in 0..500 {
            let _place = places.acquire().unwrap();
            let now = inside.update(|n| {
                *n += 1;
                *n
            });
            most.update(|n| *n = now.max(*n));
            inside.update(|n| *n -= 1);
        }
    }
    let places = Semaphore::new(2).unwrap();
    let (inside, most) = (Value::new(0).unwrap(), Value::new(0).unwrap());
    let processes: Vec<_> = (0..4)
        .map(|_| Process::spawn(work, (places.clone(), inside.clone(), most.clone())).unwrap())
        .collect();
    processes.into_iter().for_each(succeeds);
    assert_eq!(inside.get(), 0);
    assert!((1..=2).contains(&most.get()), "{}", most.get());
    assert_eq!(places.available_permits(), 2);
}

fn hold((places, count, ready): (Semaphore, u32, Event)) {
    let _held = places.acquire_many(count).unwrap();
    wait_to_be_killed(&ready)
}

#[test]
fn the_permits_of_the_dead_return() {
    let _dog = watchdog();
    let places = Semaphore::new(3).unwrap();
    let ready = Event::new().unwrap();
    let process = Process::spawn(hold, (places.clone(), 2, ready.clone())).unwrap();
    ready.wait().unwrap();
    assert_eq!(places.available_permits(), 1);
    assert!(matches!(places.try_acquire_many(2), Err(Error::WouldBlock)));
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| places.acquire().unwrap().forget()))
            .collect();
        kill(&process);
        for waiter in waiters {
            waiter.join().unwrap();
        }
    });
    assert_eq!(places.available_permits(), 0, "all were taken for good");
    places.add_permits(1).unwrap();
    assert!(places.try_acquire().is_ok());

    let ready = Event::new().unwrap();
    let process = Process::spawn(hold, (places.clone(), 1, ready.clone())).unwrap();
    ready.wait().unwrap();
    threeply_runtime::block_on(async {
        let soon = Duration::from_millis(20);
        let early = threeply_runtime::time::timeout(soon, places.acquire_async()).await;
        assert!(early.is_err());
        process.kill().unwrap();
        assert_eq!(places.acquire_async().await.unwrap().num_permits(), 1);
    });
    process.join().unwrap();
}

#[test]
fn a_process_killed_at_any_instruction_costs_no_permit_while_others_are_at_the_door() {
    let _dog = watchdog();
    fn hammer((places, ready): (Semaphore, Event)) {
        for count in (1..=3).cycle() {
            drop(places.acquire_many(count).unwrap());
            ready.set();
        }
    }
    let places = Semaphore::new(3).unwrap();
    let start = || {
        let ready = Event::new().unwrap();
        let process = Process::spawn(hammer, (places.clone(), ready.clone())).unwrap();
        ready.wait().unwrap();
        process
    };
    let steady = start();
    for round in 0..40 {
        let victim = start();
        for _ in 0..round * 10 {
            drop(places.acquire().unwrap()); // We are in and out, too.
        }
        kill(&victim);
    }
    kill(&steady);
    drop(places.acquire_many(3).unwrap());
    assert_eq!(places.available_permits(), 3);
}

#[test]
fn who_waits_for_permits_that_nobody_can_give_is_told() {
    let _dog = watchdog();
    let places = Semaphore::new(1).unwrap();
    let ready = Event::new().unwrap();
    let process = Process::spawn(
        |(_places, ready): (Semaphore, Event)| wait_to_be_killed(&ready),
        (places.clone(), ready.clone()),
    )
    .unwrap();
    ready.wait().unwrap();
    let _held = places.acquire().unwrap();
    let soon = Duration::from_millis(5);
    assert!(matches!(places.acquire_timeout(soon), Err(Error::TimedOut)));
    kill(&process);
    assert!(matches!(places.acquire(), Err(Error::PeersGone)));
}

#[test]
fn a_barrier_opens_for_all_again_and_again() {
    let _dog = watchdog();
    fn walk((barrier, steps, leaders): (Barrier, Value<u32>, Value<u32>)) {
        for round in 0..100 {
            assert!(steps.get() >= round * 3);
            steps.update(|n| *n += 1);
            if barrier.wait().unwrap().is_leader() {
                leaders.update(|n| *n += 1);
            }
            assert!(steps.get() >= (round + 1) * 3);
        }
    }
    let barrier = Barrier::new(3).unwrap();
    let (steps, leaders) = (Value::new(0).unwrap(), Value::new(0).unwrap());
    let arguments = || (barrier.clone(), steps.clone(), leaders.clone());
    let others: Vec<_> = (0..2)
        .map(|_| Process::spawn(walk, arguments()).unwrap())
        .collect();
    walk(arguments());
    others.into_iter().for_each(succeeds);
    assert_eq!((steps.get(), leaders.get()), (300, 100));
    assert_eq!((barrier.parties(), barrier.waiters()), (3, 0));
    assert!(!barrier.is_broken());
}

#[test]
fn a_dead_party_breaks_the_barrier_until_it_is_reset() {
    let _dog = watchdog();
    let barrier = Barrier::new(3).unwrap();
    let ready = Event::new().unwrap();
    // One that comes and is killed while it waits, one that never comes.
    let waiting = Process::spawn(|barrier: Barrier| drop(barrier.wait()), barrier.clone()).unwrap();
    let absent = Process::spawn(
        |(_barrier, ready): (Barrier, Event)| wait_to_be_killed(&ready),
        (barrier.clone(), ready.clone()),
    )
    .unwrap();
    ready.wait().unwrap();
    std::thread::scope(|scope| {
        let here = scope.spawn(|| barrier.wait());
        while barrier.waiters() < 2 {
            std::thread::yield_now();
        }
        kill(&waiting);
        assert!(matches!(here.join().unwrap(), Err(Error::Broken)));
    });
    assert!(matches!(barrier.wait(), Err(Error::Broken)));
    barrier.reset();
    assert!(!barrier.is_broken());
    kill(&absent);
    let broken = threeply_runtime::block_on(barrier.wait_async());
    assert!(matches!(broken, Err(Error::Broken)));
}

#[test]
fn time_and_abort_break_a_barrier_for_all() {
    let _dog = watchdog();
    let barrier = Barrier::new(2).unwrap();
    let soon = Duration::from_millis(5);
    assert!(matches!(barrier.wait_timeout(soon), Err(Error::TimedOut)));
    assert!(barrier.is_broken());
    barrier.reset();
    std::thread::scope(|scope| {
        let here = scope.spawn(|| barrier.wait());
        while barrier.waiters() < 1 {
            std::thread::yield_now();
        }
        barrier.abort();
        assert!(matches!(here.join().unwrap(), Err(Error::Broken)));
    });
    barrier.reset();
    threeply_runtime::block_on(async {
        let early = threeply_runtime::time::timeout(soon, barrier.wait_async()).await;
        assert!(early.is_err());
    });
    assert_eq!(barrier.waiters(), 0, "whoever was dropped has not come");
    assert!(Barrier::new(0).is_err());
}

#[test]
fn a_value_is_the_old_or_the_new_one_whenever_its_writer_dies() {
    let _dog = watchdog();
    fn write((value, ready): (Value<[u64; 64]>, Event)) {
        for n in 0u64.. {
            value.set([n; 64]);
            ready.set();
        }
    }
    let value = Value::new([0; 64]).unwrap();
    for _ in 0..20 {
        let ready = Event::new().unwrap();
        let process = Process::spawn(write, (value.clone(), ready.clone())).unwrap();
        ready.wait().unwrap();
        kill(&process);
        let seen = value.get();
        assert!(seen.iter().all(|n| *n == seen[0]), "{seen:?}");
    }
    assert!(value.replace([9; 64])[0] < u64::MAX);
    assert_eq!(value.get(), [9; 64]);
}
