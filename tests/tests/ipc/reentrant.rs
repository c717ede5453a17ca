//! `ReentrantMutex`: taken again by its owner, waited for by all others, and died over.

use crate::{kill, succeeds, wait_to_be_killed};
use std::sync::mpsc;
use std::time::Duration;
use threeply_pools::ipc::{Array, Event, Process, Queue, ReentrantMutex, TryLockError};
use threeply_tests::watchdog::watchdog;

type Lock = ReentrantMutex<[u64; 2]>;

/// Adds one to both numbers, one at a time, with a lock inside the lock.
fn add(lock: &Lock) {
    let outer = lock.lock().unwrap();
    let [first, second] = outer.as_array_of_cells();
    assert_eq!(first.get(), second.get(), "two are inside");
    first.set(first.get() + 1);
    {
        let inner = lock.lock().unwrap();
        let [first, second] = inner.get();
        inner.set([first, second + 1]);
    }
    assert_eq!(first.get(), second.get(), "it was unlocked too early");
}

#[test]
fn threads_and_processes_take_turns() {
    let _dog = watchdog();
    fn add_often((lock, times): (Lock, u64)) {
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| (0..times).for_each(|_| add(&lock)));
            }
        });
    }
    let lock = Lock::new([0, 0]).unwrap();
    let processes: Vec<_> = (0..2)
        .map(|_| Process::spawn(add_often, (lock.clone(), 5_000)).unwrap())
        .collect();
    add_often((lock.clone(), 5_000));
    processes.into_iter().for_each(succeeds);
    assert_eq!(lock.lock().unwrap().get(), [30_000, 30_000]);
}

#[test]
fn another_thread_of_the_owners_process_waits_until_the_last_guard_is_dropped() {
    let _dog = watchdog();
    let lock = ReentrantMutex::new(1u8).unwrap();
    let first = lock.lock().unwrap();
    let second = lock.try_lock().unwrap();
    let third = lock.lock_timeout(Duration::ZERO).unwrap();
    assert!(lock.is_owned_by_current_thread());
    std::thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let other = scope.spawn(|| {
            let (lock, tell) = (&lock, tell);
            assert!(!lock.is_owned_by_current_thread());
            assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
            let soon = Duration::from_millis(5);
            let outcome = lock.lock_timeout(soon).map(drop);
            assert!(matches!(outcome, Err(TryLockError::TimedOut)));
            tell.send(()).unwrap();
            lock.lock().unwrap().get()
        });
        told.recv().unwrap();
        drop(first); // Not in the order of taking.
        third.set(2);
        drop(third);
        assert!(!other.is_finished());
        second.set(3);
        drop(second);
        assert_eq!(other.join().unwrap(), 3);
    });
    assert!(!lock.is_owned_by_current_thread());
    assert!(!lock.is_poisoned());
}

/// Three deep, it says so and waits for its end.
fn hold((lock, ready): (ReentrantMutex<u32>, Event)) {
    let guards = [(); 3].map(|()| lock.lock().unwrap());
    guards[2].set(13);
    wait_to_be_killed(&ready)
}

#[test]
fn an_owner_that_died_deep_inside_is_told_and_its_depth_is_forgotten() {
    let _dog = watchdog();
    let (lock, ready) = (ReentrantMutex::new(0).unwrap(), Event::new().unwrap());
    let process = Process::spawn(hold, (lock.clone(), ready.clone())).unwrap();
    ready.wait().unwrap();
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let told = lock.lock().map(|guard| guard.get());
                    told.map_err(|dead| {
                        let again = lock.lock().unwrap_err();
                        again.get_ref().get() + dead.get_ref().get()
                    })
                })
            })
            .collect();
        kill(&process);
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), Err(26), "told at each lock");
        }
    });
    assert!(lock.is_poisoned());
    let guard = lock.lock().unwrap_err().into_inner();
    lock.clear_poison();
    assert!(lock.lock().is_ok(), "in order again, though still held");
    drop(guard);
}

#[test]
fn a_panic_inside_poisons_it_also_for_its_own_thread() {
    let _dog = watchdog();
    let lock = ReentrantMutex::new(0u8).unwrap();
    let outer = lock.lock().unwrap();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _inner = lock.lock().unwrap();
        panic!("as it was told to");
    }));
    assert!(caught.is_err());
    assert!(lock.lock().is_err(), "the outer one's next call is told");
    drop(outer);
    assert!(lock.is_poisoned());
    lock.clear_poison();
    assert!(lock.lock().is_ok());
}

/// The two handles of the message are one seat: in by one, out by the other, and the
/// first is dropped while the second still holds.
#[test]
fn a_process_with_several_handles_is_one_owner() {
    let _dog = watchdog();
    type Byte = ReentrantMutex<u8>;
    fn hold_by_the_second((first, second, inside, go): (Byte, Byte, Event, Event)) {
        let a = first.lock().unwrap();
        let b = second.lock().unwrap();
        drop(a);
        drop(first);
        inside.set();
        go.wait().unwrap();
        b.set(1);
    }
    let lock = Byte::new(0).unwrap();
    let (inside, go) = (Event::new().unwrap(), Event::new().unwrap());
    let arguments = (lock.clone(), lock.clone(), inside.clone(), go.clone());
    let process = Process::spawn(hold_by_the_second, arguments).unwrap();
    inside.wait().unwrap();
    // Longer than a pulse: long enough to take a dead seat's lock over.
    let pulses = Duration::from_millis(150);
    let outcome = lock.lock_timeout(pulses).map(drop);
    assert!(
        matches!(outcome, Err(TryLockError::TimedOut)),
        "{outcome:?}"
    );
    go.set();
    assert_eq!(lock.lock().unwrap().get(), 1);
    succeeds(process);
}

#[test]
fn the_bare_lock_guards_other_objects() {
    let _dog = watchdog();
    fn move_one((lock, both): (ReentrantMutex<()>, Array<u32>)) {
        for _ in 0..1_000 {
            let _outer = lock.lock().unwrap();
            let _inner = lock.lock().unwrap();
            both.set(0, both.get(0).unwrap() - 1).unwrap();
            both.set(1, both.get(1).unwrap() + 1).unwrap();
        }
    }
    let lock = ReentrantMutex::new(()).unwrap();
    let both = Array::new(&[2_000, 0]).unwrap();
    let process = Process::spawn(move_one, (lock.clone(), both.clone())).unwrap();
    move_one((lock, both.clone()));
    succeeds(process);
    assert_eq!(both.to_vec().unwrap(), [0, 2_000]);
}

/// Processes that lock and unlock, some deep inside, are killed at random moments. Who
/// comes next gets the lock, and both numbers agree unless it is told.
#[test]
fn random_kills_leave_a_lock_that_is_told_of() {
    let _dog = watchdog();
    fn add_for_ever((lock, alive): (Lock, Queue<()>)) {
        for n in 0u64.. {
            add(&lock);
            if n == 20 {
                alive.put(&()).unwrap();
            }
        }
    }
    fn mend(lock: &Lock) -> u64 {
        let (guard, broken) = match lock.lock() {
            Ok(guard) => (guard, false),
            Err(dead) => (dead.into_inner(), true),
        };
        let [first, second] = guard.get();
        let torn = first.wrapping_sub(second);
        assert!(torn == 0 || broken && torn == 1, "{first} and {second}");
        guard.set([first, first]);
        lock.clear_poison();
        first
    }
    let lock = Lock::new([0, 0]).unwrap();
    let alive = Queue::new(8).unwrap();
    let mut before = 0;
    for _ in 0..20 {
        let process = Process::spawn(add_for_ever, (lock.clone(), alive.clone())).unwrap();
        alive.get().unwrap();
        for _ in 0..100 {
            mend(&lock);
        }
        kill(&process);
        let now = mend(&lock);
        assert!(now > before, "what was done is kept");
        before = now;
        add(&lock);
    }
}
