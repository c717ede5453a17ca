//! `map`, `as_completed` and their like.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use threeply_pools::thread::{
    MapOptions, Outcome, ThreadPool, as_completed, first_error, wait_all, wait_any,
};

use crate::watchdog;

#[test]
fn map_keeps_the_order_and_each_items_panic_apart() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    for chunk in [0, 1, 7] {
        let options = MapOptions {
            chunk,
            ..MapOptions::default()
        };
        let results: Vec<_> = pool
            .map_with(0..1000, options, |n| {
                assert!(n != 500, "on purpose");
                n * 2
            })
            .collect();
        assert_eq!(results.len(), 1000);
        for (n, result) in results.into_iter().enumerate() {
            match result {
                Ok(value) => assert_eq!(value, n * 2),
                Err(error) => assert!(n == 500 && error.is_panic()),
            }
        }
    }
}

#[test]
fn map_takes_no_more_input_than_may_be_in_flight() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = taken.clone();
    let options = MapOptions {
        chunk: 2,
        in_flight: 3,
    };
    let endless = (0_u64..).inspect(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let mut results = pool.map_with(endless, options, |n| n);
    assert_eq!(taken.load(Ordering::Relaxed), 0, "lazy");
    assert_eq!(results.next().unwrap().unwrap(), 0);
    assert!(taken.load(Ordering::Relaxed) <= 8);
    drop(results);
    assert!(pool.shutdown(Duration::from_secs(30)).is_clean());
}

#[test]
fn as_completed_yields_in_the_order_of_ends() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let slow = pool.spawn(move || {
        let _ = gate.recv();
        1
    });
    let fast = pool.spawn(|| 2);
    let mut jobs = as_completed([slow, fast]);
    let (place, result) = jobs.next().unwrap();
    assert_eq!((place, result.unwrap()), (1, 2));
    assert!(jobs.next_timeout(Duration::from_millis(1)).is_none());
    drop(go);
    let (place, result) = jobs.next().unwrap();
    assert_eq!((place, result.unwrap()), (0, 1));
    assert!(jobs.next().is_none());
}

#[test]
fn wait_any_gives_the_first_and_the_rest() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let (go, gate) = mpsc::channel::<()>();
    let slow = pool.spawn(move || {
        let _ = gate.recv();
        1
    });
    let (place, result, rest) = wait_any([slow, pool.spawn(|| 2)]).unwrap();
    assert_eq!((place, result.unwrap(), rest.len()), (1, 2, 1));
    drop(go);
    let rest = wait_all(rest.into_iter().map(|(_, handle)| handle));
    assert!(matches!(rest[..], [Ok(1)]));
}

#[test]
fn first_error_cancels_the_rest() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let (go, gate) = mpsc::channel::<()>();
    let block = pool.spawn(move || {
        let _ = gate.recv();
        panic!("first")
    });
    let mut jobs = vec![block];
    for _ in 0..10 {
        let ran = ran.clone();
        jobs.push(pool.spawn(move || {
            ran.fetch_add(1, Ordering::Relaxed);
        }));
    }
    let waiter = std::thread::spawn(move || first_error(jobs));
    drop(go);
    let error = waiter.join().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the job panicked: first");
    let values = first_error((0..5).map(|n| pool.spawn(move || n))).unwrap();
    assert_eq!(values, [0, 1, 2, 3, 4]);
}

#[test]
fn callbacks_run_once_with_the_outcome() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (send, receive) = mpsc::channel();
    for (work, outcome) in [(false, Outcome::Finished), (true, Outcome::Panicked)] {
        let job = pool.spawn(move || assert!(!work, "on purpose"));
        let to = send.clone();
        job.on_done(move |outcome| to.send(outcome).unwrap());
        assert_eq!(receive.recv().unwrap(), outcome);
        let _ = job.wait();
    }
    let job = pool.spawn(|| ());
    let to = send.clone();
    job.on_done(move |outcome| to.send(outcome).unwrap());
    drop(job);
    assert_eq!(receive.recv().unwrap(), Outcome::Finished, "detached");
}

#[test]
fn a_detached_job_runs_and_its_panic_reaches_the_hook() {
    let _watchdog = watchdog();
    let (send, receive) = mpsc::channel();
    let hook = std::sync::Mutex::new(send.clone());
    let pool = ThreadPool::builder()
        .threads(1)
        .on_panic(move |error| hook.lock().unwrap().send(error.to_string()).unwrap())
        .build()
        .unwrap();
    pool.spawn_detached(|| panic!("on purpose"));
    assert_eq!(receive.recv().unwrap(), "the job panicked: on purpose");
    pool.spawn_detached(move || send.send("ran".to_owned()).unwrap());
    assert_eq!(receive.recv().unwrap(), "ran");
}
