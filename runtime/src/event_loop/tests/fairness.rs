//! Nobody starves, and what chance decides can be repeated.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use super::watchdog;
use crate::io::{AsyncReadExt, AsyncWriteExt};
use crate::limits::{EVENTS_AT_ONCE, ITEMS_PER_OPERATION, POLL_BUDGET};
use crate::net::UnixStream;
use crate::sync::local::mpsc;
use crate::time::{sleep, timeout};
use crate::{EventLoop, block_on, spawn, yield_now};

#[test]
fn a_task_that_is_always_ready_starves_neither_timers_nor_others() {
    let _watchdog = watchdog();
    block_on(async {
        let stop = Rc::new(Cell::new(false));
        let theirs = stop.clone();
        let busy = spawn(async move {
            while !theirs.get() {
                yield_now().await;
            }
        });
        sleep(Duration::from_millis(1)).await;
        stop.set(true);
        busy.await.unwrap();
    });
}

#[test]
fn a_channel_that_is_never_empty_starves_nobody() {
    let _watchdog = watchdog();
    block_on(async {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let received = Rc::new(Cell::new(0));
        let count = received.clone();
        for number in 0..10_000 {
            sender.send(number).unwrap();
        }
        let reader = spawn(async move {
            while receiver.recv().await.is_some() {
                count.set(count.get() + 1);
            }
        });
        yield_now().await;
        // One poll of the reader, ended by its budget.
        assert_eq!(received.get(), (POLL_BUDGET - 1) * ITEMS_PER_OPERATION + 1);
        drop(sender);
        reader.await.unwrap();
        assert_eq!(received.get(), 10_000);
    });
}

#[test]
fn a_flood_of_wakes_from_another_thread_starves_no_timer() {
    let _watchdog = watchdog();
    let stop = Arc::new(AtomicBool::new(false));
    let elapsed = block_on(async {
        let mut flood = None;
        let stopped = stop.clone();
        let victim = spawn(poll_fn(move |cx| {
            let (waker, stop) = (cx.waker().clone(), stopped.clone());
            flood.get_or_insert_with(|| {
                thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        waker.wake_by_ref();
                    }
                })
            });
            if stopped.load(Ordering::Relaxed) {
                return Poll::Ready(flood.take());
            }
            Poll::Pending
        }));
        let began = Instant::now();
        sleep(Duration::from_millis(5)).await;
        let elapsed = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        // The flood ends at its next look; its last wake may be the decisive one.
        victim.abort();
        let _ = victim.await;
        elapsed
    });
    assert!(elapsed >= Duration::from_millis(5));
}

#[test]
fn sockets_that_are_always_ready_starve_neither_timers_nor_tasks_nor_other_threads() {
    let _watchdog = watchdog();
    // More than one look at epoll tells of, so that sockets wait for their turn too.
    const PAIRS: usize = EVENTS_AT_ONCE / 2 + 20;
    block_on(async {
        let stop = Rc::new(Cell::new(false));
        let mut flood = Vec::new();
        for _ in 0..PAIRS {
            let (mut near, mut far) = UnixStream::pair().unwrap();
            let (ours, theirs) = (stop.clone(), stop.clone());
            let echoed = Rc::new(Cell::new(0_u64));
            let count = echoed.clone();
            // Each end has something to read from the other at any time.
            near.write_all(b"ball").await.unwrap();
            let throw = spawn(async move {
                let mut buf = [0; 1];
                while !ours.get() && near.read(&mut buf).await.is_ok_and(|read| read == 1) {
                    let _ = near.write_all(&buf).await;
                }
            });
            let back = spawn(async move {
                let mut buf = [0; 1];
                while !theirs.get() && far.read(&mut buf).await.is_ok_and(|read| read == 1) {
                    let _ = far.write_all(&buf).await;
                    count.set(count.get() + 1);
                }
            });
            flood.push((echoed, throw, back));
        }
        // A timer, again and again; a task of this loop; a task from another thread.
        for _ in 0..5 {
            sleep(Duration::from_micros(100)).await;
            let local = spawn(async { yield_now().await });
            local.await.unwrap();
            let handle = crate::Handle::current();
            let remote = crate::unblock(move || handle.block_on(|| async { 7 }));
            assert_eq!(remote.await.unwrap().unwrap(), 7);
        }
        // Nor do the sockets starve one another.
        while flood.iter().any(|(echoed, ..)| echoed.get() < 100) {
            sleep(Duration::from_micros(100)).await;
        }
        let counts = || flood.iter().map(|(echoed, ..)| echoed.get());
        let (least, most) = (counts().min().unwrap(), counts().max().unwrap());
        assert!(
            most <= least * 20,
            "one echoed {least} times, another {most}"
        );
        stop.set(true);
        for (_, throw, back) in flood {
            throw.await.unwrap();
            back.await.unwrap();
        }
    });
}

#[test]
fn slow_polls_shrink_the_turn_so_that_timers_are_looked_at() {
    let _watchdog = watchdog();
    block_on(async {
        let stop = Rc::new(Cell::new(false));
        let slow: Vec<_> = (0..200)
            .map(|_| {
                let stop = stop.clone();
                spawn(async move {
                    while !stop.get() {
                        let began = Instant::now();
                        while began.elapsed() < Duration::from_micros(50) {}
                        yield_now().await;
                    }
                })
            })
            .collect();
        sleep(Duration::from_millis(30)).await;
        crate::context::with(|core| {
            assert!(core.turn_budget.get() <= crate::limits::TURN_BUDGET / 4);
        });
        stop.set(true);
        for task in slow {
            task.await.unwrap();
        }
    });
}

#[test]
fn virtual_time_jumps_to_each_deadline_in_order() {
    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    let real = Instant::now();
    event_loop.block_on(async {
        let log = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = [3_600, 60, 86_400]
            .map(|seconds| {
                let log = log.clone();
                spawn(async move {
                    let began = crate::time::now();
                    sleep(Duration::from_secs(seconds)).await;
                    assert_eq!(crate::time::now() - began, Duration::from_secs(seconds));
                    log.borrow_mut().push(seconds);
                })
            })
            .into();
        let in_vain = timeout(Duration::from_secs(10), std::future::pending::<()>());
        assert!(in_vain.await.is_err());
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*log.borrow(), [60, 3_600, 86_400]);
    });
    assert!(real.elapsed() < Duration::from_secs(50));
}

fn order_of(seed: u64) -> Vec<u32> {
    let event_loop = EventLoop::builder().seed(seed).build().unwrap();
    event_loop.block_on(async {
        let log = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|task| {
                let log = log.clone();
                spawn(async move {
                    for _ in 0..3 {
                        log.borrow_mut().push(task);
                        yield_now().await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        log.take()
    })
}

#[test]
fn a_seed_repeats_an_order_and_another_seed_has_another() {
    assert_eq!(order_of(7), order_of(7));
    assert_ne!(order_of(7), order_of(8));
    let mut sorted = order_of(9);
    sorted.sort_unstable();
    let everyone: Vec<u32> = (0..20).flat_map(|task| [task; 3]).collect();
    assert_eq!(sorted, everyone);
}
