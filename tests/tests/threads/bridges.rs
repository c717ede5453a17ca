//! The pool and the event loop, both ways.

use std::panic::{AssertUnwindSafe, catch_unwind};

use threeply_pools::thread::{ThreadPool, as_completed};
use threeply_runtime::EventLoop;

use crate::watchdog;

#[test]
fn a_handle_is_awaited_on_the_loop() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(2).unwrap();
    let event_loop = EventLoop::new().unwrap();
    let sum = event_loop.block_on(async {
        let jobs: Vec<_> = (0..100).map(|n| pool.spawn(move || n)).collect();
        let mut sum = 0;
        for job in jobs {
            sum += job.await.unwrap();
        }
        let mut ended = as_completed((0..10).map(|n| pool.spawn(move || n)));
        while let Some((place, value)) = ended.next_async().await {
            assert_eq!(place, value.unwrap());
            sum += 1;
        }
        sum
    });
    assert_eq!(sum, 4960);
}

#[test]
fn a_blocking_wait_on_the_loop_is_refused_with_advice() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let job = pool.spawn(move || gate.recv());
    let event_loop = EventLoop::new().unwrap();
    let advice = event_loop.block_on(async {
        let wait = catch_unwind(AssertUnwindSafe(|| job.wait()));
        wait.unwrap_err().downcast::<&str>().map(|text| *text)
    });
    assert!(advice.unwrap().contains("await the handle"));
    drop(go);
}

#[test]
fn a_job_spawns_on_the_loop_and_waits_for_it() {
    let _watchdog = watchdog();
    let pool = ThreadPool::new(1).unwrap();
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let value = event_loop.block_on(async {
        let job = pool.spawn(move || {
            let task = handle.spawn(|| async { 21 });
            threeply_pools::thread::blocking(|| task.wait()).unwrap() * 2
        });
        job.await.unwrap()
    });
    assert_eq!(value, 42);
}
