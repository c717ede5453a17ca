//! Beginnings and ends of loops.

// One test forks, to be refused.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use super::watchdog;
use crate::time::sleep;
use crate::{EventLoop, block_on, spawn, yield_now};

#[test]
fn thousands_of_loops_live_at_once_and_one_after_another() {
    let _watchdog = watchdog();
    let loops: Vec<_> = (0..3_000).map(|_| EventLoop::new().unwrap()).collect();
    for (index, event_loop) in loops.iter().enumerate() {
        let output = event_loop.block_on(async move { spawn(async move { index }).await });
        assert_eq!(output.unwrap(), index);
    }
    drop(loops);
    for _ in 0..10_000 {
        block_on(async {});
    }
}

#[test]
fn loops_that_sleep_leak_no_descriptor() {
    let _watchdog = watchdog();
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let sleep = || block_on(sleep(Duration::from_micros(50)));
    sleep();
    let before = count();
    for _ in 0..200 {
        sleep();
    }
    // Other tests of this process open and close some meanwhile.
    assert!(count() < before + 150, "descriptors leak");
}

#[test]
fn the_end_of_a_loop_drops_tasks_in_the_order_of_their_birth() {
    let log: Rc<RefCell<Vec<u32>>> = Rc::default();
    struct Logged(Rc<RefCell<Vec<u32>>>, u32);
    impl Drop for Logged {
        fn drop(&mut self) {
            self.0.borrow_mut().push(self.1);
        }
    }
    let event_loop = EventLoop::new().unwrap();
    let spawn_logged = |number| {
        let logged = Logged(log.clone(), number);
        event_loop.spawn(async move {
            let _logged = logged;
            pending::<()>().await;
        })
    };
    let tasks: Vec<_> = (0..4).map(spawn_logged).collect();
    event_loop.block_on(async {
        yield_now().await;
        tasks[1].abort();
        yield_now().await;
    });
    // Its place is used again, its turn isn't.
    drop(spawn_logged(4));
    drop(event_loop);
    assert_eq!(*log.borrow(), [1, 0, 2, 3, 4]);
}

#[test]
fn destructors_at_the_end_of_a_loop_may_spawn_and_what_they_spawn_is_dropped_too() {
    struct Respawn(Rc<Cell<u32>>);
    impl Drop for Respawn {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
            if self.0.get() < 5 {
                let again = Respawn(self.0.clone());
                drop(spawn(async move {
                    let _again = again;
                    pending::<()>().await;
                }));
            }
        }
    }
    let count = Rc::new(Cell::new(0));
    let first = Respawn(count.clone());
    block_on(async move {
        drop(spawn(async move {
            let _first = first;
            pending::<()>().await;
        }));
        yield_now().await;
    });
    assert_eq!(count.get(), 5);
    assert_eq!(Rc::strong_count(&count), 1);
}

#[test]
fn a_loop_may_end_inside_a_task_of_another() {
    let order = Rc::new(RefCell::new(Vec::new()));
    struct Wakes(Rc<RefCell<Vec<&'static str>>>);
    impl Drop for Wakes {
        fn drop(&mut self) {
            self.0.borrow_mut().push("inner task");
            // The inner loop is the current one here.
            assert_eq!(crate::task::name(), None);
        }
    }
    let inner = EventLoop::new().unwrap();
    let wakes = Wakes(order.clone());
    drop(inner.spawn(async move {
        let _wakes = wakes;
        pending::<()>().await;
    }));
    block_on(async {
        drop(inner);
        assert_eq!(crate::task::name().as_deref(), Some("main"));
        order.borrow_mut().push("outer goes on");
        yield_now().await;
    });
    assert_eq!(*order.borrow(), ["inner task", "outer goes on"]);
}

#[test]
fn a_million_tasks_half_of_them_aborted() {
    let _watchdog = watchdog();
    block_on(async {
        const TASKS: usize = 1_000_000;
        let tasks: Vec<_> = (0..TASKS)
            .map(|index| spawn(async move { index }))
            .collect();
        for task in tasks.iter().step_by(2) {
            task.abort();
        }
        let mut cancelled = 0;
        for (index, task) in tasks.into_iter().enumerate() {
            match task.await {
                Ok(output) => assert_eq!(output, index),
                Err(error) => {
                    assert!(error.is_cancelled() && index % 2 == 0);
                    cancelled += 1;
                }
            }
        }
        assert_eq!(cancelled, TASKS / 2);
    });
}

#[test]
fn a_loop_knows_that_the_process_is_a_fork() {
    let event_loop = EventLoop::new().unwrap();
    event_loop.block_on(async {});
    // SAFETY: the child calls two functions that only read memory, and `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            let code = if event_loop.core.is_forked() { 0 } else { 1 };
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(code) }
        }
        child => {
            assert!(child > 0, "fork failed");
            let mut status = 0;
            // SAFETY: waits for that very child.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(waited, child);
            assert_eq!(status, 0, "the child took the loop for its own");
        }
    }
    assert!(!event_loop.core.is_forked());
}

#[test]
fn shutdown_refuses_what_other_threads_still_send() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let early = handle.spawn(|| async { 1 });
    assert!(event_loop.shutdown(Duration::from_secs(5)).is_clean());
    assert!(early.wait().unwrap_err().is_cancelled());
    let late = handle.spawn(|| async { 1 }).wait().unwrap_err();
    assert!(late.reason().contains("the event loop has ended"), "{late}");
}

#[test]
fn time_busy_and_idle_are_told_apart() {
    let event_loop = EventLoop::builder().time_polls(true).build().unwrap();
    event_loop.block_on(sleep(Duration::from_millis(2)));
    let stats = event_loop.stats();
    assert!(stats.parks >= 1 && stats.idle >= Duration::from_millis(1));
    assert!(stats.longest_poll.is_some());
    assert_eq!(stats.tasks_alive, 0);
}
