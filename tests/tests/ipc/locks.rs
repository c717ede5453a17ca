//! `Mutex`, `Array`, `Condvar`, `Event`: held, waited for, and died over.

use crate::{kill, succeeds, wait_to_be_killed};
use std::time::Duration;
use threeply_pools::ipc::{Array, Condvar, Error, Event, Mutex, Process, TryLockError};
use threeply_tests::watchdog::watchdog;

#[test]
fn increments_of_several_processes_are_all_there() {
    let _dog = watchdog();
    fn add((counter, times): (Mutex<[u64; 2]>, u64)) {
        for _ in 0..times {
            let mut both = counter.lock().unwrap();
            assert_eq!(both[0], both[1]);
            both[0] += 1;
            both[1] += 1;
        }
    }
    let counter = Mutex::new([0, 0]).unwrap();
    let processes: Vec<_> = (0..3)
        .map(|_| Process::spawn(add, (counter.clone(), 20_000)).unwrap())
        .collect();
    add((counter.clone(), 20_000));
    processes.into_iter().for_each(succeeds);
    assert_eq!(*counter.lock().unwrap(), [80_000, 80_000]);
}

fn hold((mutex, ready): (Mutex<u32>, Event)) {
    let mut guard = mutex.lock().unwrap();
    *guard = 13;
    wait_to_be_killed(&ready)
}

#[test]
fn a_dead_owner_is_told_to_those_who_wait_and_to_those_who_come() {
    let _dog = watchdog();
    let (mutex, ready) = (Mutex::new(0).unwrap(), Event::new().unwrap());
    let process = Process::spawn(hold, (mutex.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    assert!(matches!(mutex.try_lock(), Err(TryLockError::WouldBlock)));
    let soon = Duration::from_millis(5);
    assert!(matches!(
        mutex.lock_timeout(soon),
        Err(TryLockError::TimedOut)
    ));
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    mutex
                        .lock()
                        .map(|guard| *guard)
                        .map_err(|dead| **dead.get_ref())
                })
            })
            .collect();
        kill(&process);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(13), "told, with what it wrote");
        }
    });
    assert!(mutex.is_poisoned());
    let mut guard = mutex.lock().unwrap_err().into_inner();
    *guard = 0;
    drop(guard);
    mutex.clear_poison();
    assert_eq!(*mutex.lock().unwrap(), 0);
}

#[test]
fn a_lock_whose_owner_died_unwatched_is_found_by_try_lock() {
    let _dog = watchdog();
    let (mutex, ready) = (Mutex::new(0).unwrap(), Event::new().unwrap());
    let process = Process::spawn(hold, (mutex.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    kill(&process);
    assert!(matches!(mutex.try_lock(), Err(TryLockError::Poisoned(_))));
}

#[test]
fn a_panic_with_the_lock_poisons_it() {
    let _dog = watchdog();
    fn panic((mutex, _): (Mutex<u32>, ())) {
        let _guard = mutex.lock().unwrap();
        panic!("as it was told to");
    }
    let mutex = Mutex::new(0).unwrap();
    let process = Process::spawn(panic, (mutex.clone(), ())).unwrap();
    process.join().unwrap();
    assert!(mutex.is_poisoned());
    assert!(mutex.lock().is_err());
}

#[test]
fn a_lock_can_be_awaited_and_the_wait_dropped() {
    let _dog = watchdog();
    let (mutex, ready) = (Mutex::new(0).unwrap(), Event::new().unwrap());
    let process = Process::spawn(hold, (mutex.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    let value = threeply_runtime::block_on(async {
        let soon = Duration::from_millis(20);
        let early = threeply_runtime::time::timeout(soon, mutex.lock_async()).await;
        assert!(early.is_err(), "it is held");
        process.kill().unwrap();
        let guard = mutex.lock_async().await.unwrap_err().into_inner();
        *guard
    });
    assert_eq!(value, 13);
    process.join().unwrap();
}

#[test]
fn an_array_is_shared_and_checked() {
    let _dog = watchdog();
    fn fill(array: Array<u64>) {
        for i in 0..array.len() {
            array.set(i, i as u64 * 10).unwrap();
        }
    }
    let array = Array::zeroed(1_000).unwrap();
    succeeds(Process::spawn(fill, array.clone()).unwrap());
    assert_eq!(array.get(999).unwrap(), 9_990);
    let beyond = std::panic::catch_unwind(|| array.get(1_000));
    assert!(beyond.is_err());
    assert!(!array.is_poisoned());
    assert!(Array::<u64>::new(&[]).unwrap().is_empty());
}

#[test]
fn an_event_reaches_everybody_and_can_be_taken_back() {
    let _dog = watchdog();
    fn wait((go, done): (Event, Event)) {
        go.wait().unwrap();
        done.set();
    }
    let go = Event::new().unwrap();
    let soon = Duration::from_millis(5);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let done = Event::new().unwrap();
            let process = Process::spawn(wait, (go.clone(), done.clone())).unwrap();
            assert!(matches!(done.wait_timeout(soon), Err(Error::TimedOut)));
            (process, done)
        })
        .collect();
    assert!(!go.set());
    assert!(go.set(), "it was set already");
    for (process, done) in waiting {
        threeply_runtime::block_on(done.wait_async()).unwrap();
        succeeds(process);
    }
    assert!(go.is_set());
    go.clear();
    assert!(!go.is_set());
}

#[test]
fn who_waits_for_nobody_is_told() {
    let _dog = watchdog();
    fn hold((_go, ready): (Event, Event)) {
        wait_to_be_killed(&ready)
    }
    let (go, ready) = (Event::new().unwrap(), Event::new().unwrap());
    let process = Process::spawn(hold, (go.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| go.wait());
        kill(&process);
        assert!(matches!(waiting.join().unwrap(), Err(Error::PeersGone)));
    });
    let gone = threeply_runtime::block_on(go.wait_async());
    assert!(matches!(gone, Err(Error::PeersGone)));
    // A child that has just been started counts, though it isn't there yet.
    let process = Process::spawn(|go: Event| assert!(!go.set()), go.clone()).unwrap();
    go.wait().unwrap();
    succeeds(process);
}

#[test]
fn a_condvar_hands_a_value_to_and_fro() {
    let _dog = watchdog();
    fn play((ball, moved, mine): (Mutex<u32>, Condvar, u32)) {
        let mut guard = ball.lock().unwrap();
        while *guard < 200 {
            guard = moved
                .wait_while(guard, |ball| *ball < 200 && *ball % 2 != mine)
                .unwrap();
            *guard += 1;
            moved.notify_one();
        }
    }
    let (ball, moved) = (Mutex::new(0).unwrap(), Condvar::new().unwrap());
    let process = Process::spawn(play, (ball.clone(), moved.clone(), 1)).unwrap();
    play((ball.clone(), moved.clone(), 0));
    succeeds(process);
    assert!(*ball.lock().unwrap() >= 200);
}

#[test]
fn a_condvar_tells_of_time_and_of_being_alone() {
    let _dog = watchdog();
    fn hold((_moved, ready): (Condvar, Event)) {
        wait_to_be_killed(&ready)
    }
    let (value, moved) = (Mutex::new(0u8).unwrap(), Condvar::new().unwrap());
    let ready = Event::new().unwrap();
    let process = Process::spawn(hold, (moved.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    let soon = Duration::from_millis(5);
    let outcome = moved.wait_timeout(value.lock().unwrap(), soon);
    assert!(matches!(outcome, Err(Error::TimedOut)));
    kill(&process);
    let outcome = moved.wait_while(value.lock().unwrap(), |value| *value == 0);
    assert!(matches!(outcome, Err(Error::PeersGone)));
    let alone = async { moved.wait_async(value.lock().unwrap()).await.map(drop) };
    let outcome = threeply_runtime::block_on(alone);
    assert!(matches!(outcome, Err(Error::PeersGone)));
    assert!(value.try_lock().is_ok(), "it isn't locked after an error");
}
