//! Wakers and handles used when and where young runtimes break.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Poll, Waker};
use std::thread;

use super::watchdog;
use crate::{EventLoop, JoinHandle, block_on, spawn, stats, yield_now};

/// The waker of the task that awaits this.
async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

#[test]
fn a_waker_may_outlive_its_task_its_loop_and_its_thread() {
    static KEPT: OnceLock<Waker> = OnceLock::new();
    let other = thread::spawn(|| {
        let waker = block_on(async {
            let waker = spawn(own_waker()).await.unwrap();
            waker.wake_by_ref(); // After the task.
            waker
        });
        waker.wake_by_ref(); // After the loop.
        KEPT.set(waker).unwrap();
    });
    other.join().unwrap();
    KEPT.get().unwrap().wake_by_ref(); // After the thread.
    let copy = KEPT.get().unwrap().clone();
    assert!(copy.will_wake(KEPT.get().unwrap()));
    // Also on a loop that has got the same id, and with a task in the place.
    for _ in 0..10 {
        block_on(async {
            let task = spawn(yield_now());
            copy.wake_by_ref();
            task.await.unwrap();
        });
    }
}

#[test]
fn a_wake_that_comes_late_does_not_poll_the_next_owner_of_the_place() {
    block_on(async {
        let old = spawn(own_waker()).await.unwrap();
        let polls = Rc::new(Cell::new(0));
        let counter = polls.clone();
        let next = spawn(async move {
            poll_fn(|_| {
                counter.set(counter.get() + 1);
                Poll::<()>::Pending
            })
            .await;
        });
        yield_now().await;
        assert_eq!(polls.get(), 1);
        let before = stats().unwrap().wakes_spurious;
        old.wake();
        yield_now().await;
        assert_eq!(polls.get(), 1);
        assert_eq!(stats().unwrap().wakes_spurious, before + 1);
        next.abort();
    });
}

#[test]
fn a_task_woken_while_it_is_polled_is_polled_again() {
    let _watchdog = watchdog();
    block_on(async {
        // From inside, twice: polled once more, not twice.
        let mut polls = 0;
        let inside = spawn(poll_fn(move |cx| {
            polls += 1;
            cx.waker().wake_by_ref();
            cx.waker().wake_by_ref();
            if polls == 3 {
                return Poll::Ready(polls);
            }
            Poll::Pending
        }));
        assert_eq!(inside.await.unwrap(), 3);
        // From outside, while the poll has not returned.
        let mut woken = false;
        let outside = spawn(poll_fn(move |cx| {
            if woken {
                return Poll::Ready(());
            }
            woken = true;
            let waker = cx.waker().clone();
            thread::spawn(move || waker.wake()).join().unwrap();
            Poll::Pending
        }));
        outside.await.unwrap();
    });
}

#[test]
fn a_task_that_ends_in_the_poll_that_woke_it_leaves_a_sound_queue() {
    block_on(async {
        for _ in 0..100 {
            let ending = spawn(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(())
            }));
            ending.await.unwrap();
            // The place is a ghost now; others must not get it, nor its wake.
            let ran = spawn(async { yield_now().await });
            ran.await.unwrap();
        }
        assert_eq!(stats().unwrap().tasks_alive, 1);
    });
}

#[test]
fn a_task_may_abort_itself_and_ends_at_its_next_wait() {
    block_on(async {
        let handle: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
        let own = handle.clone();
        let reached = Rc::new(Cell::new(0));
        let steps = reached.clone();
        let task = spawn(async move {
            own.borrow().as_ref().unwrap().abort_with("by itself");
            steps.set(1);
            yield_now().await;
            steps.set(2);
        });
        *handle.borrow_mut() = Some(task);
        yield_now().await;
        let task = handle.borrow_mut().take().unwrap();
        assert_eq!(task.await.unwrap_err().reason(), "by itself");
        assert_eq!(reached.get(), 1);
    });
}

#[test]
fn a_task_that_is_ready_in_the_poll_that_aborts_it_has_its_output() {
    block_on(async {
        let handle: Rc<RefCell<Option<JoinHandle<u8>>>> = Rc::default();
        let own = handle.clone();
        let task = spawn(async move {
            own.borrow().as_ref().unwrap().abort();
            7
        });
        *handle.borrow_mut() = Some(task);
        yield_now().await;
        let task = handle.borrow_mut().take().unwrap();
        assert_eq!(task.await.unwrap(), 7);
    });
}

#[test]
fn a_destructor_may_abort_wake_and_spawn() {
    struct Busy {
        victim: Option<JoinHandle<()>>,
        waker: Waker,
        spawned: Rc<Cell<bool>>,
    }
    impl Drop for Busy {
        fn drop(&mut self) {
            self.victim.take().unwrap().abort_with("by a destructor");
            self.waker.wake_by_ref();
            let spawned = self.spawned.clone();
            drop(spawn(async move { spawned.set(true) }));
        }
    }
    block_on(async {
        let victim_ended = Rc::new(());
        let held = victim_ended.clone();
        let victim = spawn(async move {
            let _held = held;
            pending::<()>().await;
        });
        let spawned = Rc::new(Cell::new(false));
        let busy = Busy {
            victim: Some(victim),
            waker: own_waker().await,
            spawned: spawned.clone(),
        };
        let task = spawn(async move {
            let _busy = busy;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        yield_now().await;
        assert!(spawned.get());
        assert_eq!(Rc::strong_count(&victim_ended), 1);
    });
}

#[test]
fn a_join_handle_may_be_polled_by_two_tasks_in_turn() {
    block_on(async {
        let gate = Rc::new(Cell::new(false));
        let theirs = gate.clone();
        let task = spawn(async move {
            while !theirs.get() {
                yield_now().await;
            }
            5
        });
        let task = Rc::new(RefCell::new(task));
        let poll = |task: Rc<RefCell<JoinHandle<i32>>>| {
            poll_fn(move |cx| Pin::new(&mut *task.borrow_mut()).poll(cx))
        };
        let first = spawn(poll(task.clone()));
        yield_now().await;
        let second = spawn(poll(task.clone()));
        yield_now().await;
        gate.set(true);
        // The last that polled is the one that is woken.
        assert_eq!(second.await.unwrap().unwrap(), 5);
        assert!(!first.is_finished());
        first.abort();
    });
}

#[test]
fn a_handle_may_outlive_its_loop() {
    let event_loop = EventLoop::new().unwrap();
    let done = event_loop.spawn(async { String::from("kept") });
    let mut left = event_loop.spawn(pending::<()>());
    let untaken = event_loop.spawn(async { vec![1, 2, 3] });
    event_loop.block_on(yield_now());
    drop(event_loop);
    left.abort();
    let error = left.try_take().unwrap().unwrap_err();
    assert!(error.reason().contains("the event loop was dropped"));
    assert_eq!(block_on(done).unwrap(), "kept");
    drop(untaken);
}

#[test]
fn block_on_works_in_the_destructor_of_a_thread_local() {
    struct Last(std::sync::mpsc::Sender<i32>);
    impl Drop for Last {
        fn drop(&mut self) {
            let answer = block_on(async { spawn(async { 42 }).await.unwrap() });
            self.0.send(answer).unwrap();
        }
    }
    thread_local!(static LAST: RefCell<Option<Last>> = const { RefCell::new(None) });
    let (send, receive) = std::sync::mpsc::channel();
    let other = thread::spawn(move || {
        LAST.with(|last| *last.borrow_mut() = Some(Last(send)));
        block_on(async {});
    });
    other.join().unwrap();
    assert_eq!(receive.recv().unwrap(), 42);
}

#[test]
fn a_foreign_executor_can_poll_what_a_loop_runs() {
    let _watchdog = watchdog();
    let (send, receive) = std::sync::mpsc::channel();
    let (stop, stopped) = crate::sync::shared::oneshot::channel::<()>();
    let ours = thread::spawn(move || {
        block_on(async {
            send.send(crate::Handle::current()).unwrap();
            let _ = stopped.await;
        });
    });
    let handle = receive.recv().unwrap();
    let task = handle.spawn(|| async {
        yield_now().await;
        9
    });
    // Any executor: here, the smallest one that there is.
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: std::sync::Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(std::sync::Arc::new(Unpark(thread::current())));
    let mut task = std::pin::pin!(task);
    let output = loop {
        let mut cx = std::task::Context::from_waker(&waker);
        match task.as_mut().poll(&mut cx) {
            Poll::Ready(output) => break output.unwrap(),
            Poll::Pending => thread::park(),
        }
    };
    assert_eq!(output, 9);
    stop.send(()).unwrap();
    ours.join().unwrap();
}
