//! Spawn, join, abort, wake, and the ways from other threads.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use super::watchdog;
use crate::{EventLoop, Handle, block_on, spawn, stats, task, yield_now};

#[test]
fn block_on_returns_the_output_and_may_borrow() {
    let text = String::from("here");
    assert_eq!(block_on(async { text.len() }), 4);
}

#[test]
fn tasks_run_in_the_order_in_which_they_were_spawned_and_take_turns() {
    let log = Rc::new(RefCell::new(Vec::new()));
    block_on(async {
        let tasks: Vec<_> = (0..3)
            .map(|task| {
                let log = log.clone();
                spawn(async move {
                    for round in 0..2 {
                        log.borrow_mut().push((round, task));
                        yield_now().await;
                    }
                    task
                })
            })
            .collect();
        for (index, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), index);
        }
    });
    let expected = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)];
    assert_eq!(*log.borrow(), expected);
}

#[test]
fn a_panic_reaches_the_joiner_and_nobody_else() {
    block_on(async {
        let bad = spawn(async { panic!("on purpose") });
        let good = spawn(async { 1 });
        let error = bad.await.unwrap_err();
        assert!(error.is_panic() && error.reason() == "on purpose");
        assert!(error.to_string().contains("basics.rs"), "{error}");
        assert_eq!(good.await.unwrap(), 1);
        let payload = error.into_panic().unwrap();
        assert_eq!(*payload.downcast::<&str>().unwrap(), "on purpose");
    });
}

#[test]
fn an_aborted_task_is_dropped_and_its_joiner_told_the_first_reason() {
    let alive = Rc::new(());
    block_on(async {
        let held = alive.clone();
        let task = spawn(async move {
            let _held = held;
            pending::<()>().await;
        });
        yield_now().await;
        task.abort_with("first");
        task.abort_with("second");
        let error = task.await.unwrap_err();
        assert!(error.is_cancelled() && error.reason() == "first");
        assert_eq!(Rc::strong_count(&alive), 1);
    });
}

#[test]
fn other_threads_spawn_wait_and_abort() {
    let _watchdog = watchdog();
    let (send, receive) = std::sync::mpsc::channel::<Handle>();
    let other = thread::spawn(move || {
        let handle = receive.recv().unwrap();
        let four = handle.spawn(|| async {
            let shared = Rc::new(Cell::new(1));
            let theirs = shared.clone();
            spawn(async move { theirs.set(4) }).await.unwrap();
            shared.get()
        });
        assert_eq!(four.wait().unwrap(), 4);
        let stuck = handle.spawn(pending::<()>);
        let stuck = stuck.wait_timeout(Duration::from_millis(1)).unwrap_err();
        stuck.abort_with("enough");
        assert_eq!(stuck.wait().unwrap_err().reason(), "enough");
        let panicked = handle.block_on(|| async { panic!("over there") });
        assert!(panicked.unwrap_err().is_panic());
        handle
    });
    let handle = block_on(async move {
        send.send(Handle::current()).unwrap();
        let done = crate::unblock(move || other.join().unwrap());
        done.await.unwrap()
    });
    assert!(handle.is_ended());
    let late = handle.spawn(|| async { 1 }).wait().unwrap_err();
    assert!(late.is_cancelled(), "{late}");
}

#[test]
fn a_sleeping_loop_is_woken_from_another_thread() {
    let _watchdog = watchdog();
    let event_loop = EventLoop::new().unwrap();
    for _ in 0..3 {
        event_loop.block_on(async {
            let mut asked = None;
            poll_fn(|cx| {
                if let Some(asked) = asked.take() {
                    thread::JoinHandle::join(asked).unwrap();
                    return Poll::Ready(());
                }
                let waker = cx.waker().clone();
                asked = Some(thread::spawn(move || waker.wake()));
                Poll::Pending
            })
            .await;
        });
    }
    assert!(event_loop.stats().wakes_remote >= 3);
}

#[test]
fn nested_block_on_panics_with_advice() {
    let panic = std::panic::catch_unwind(|| block_on(async { block_on(async {}) }));
    let text = panic.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("`.await`"), "{text}");
    // And the thread is as good as new.
    block_on(async {});
}

#[test]
fn tasks_left_by_block_on_stand_still_until_the_next() {
    let event_loop = EventLoop::new().unwrap();
    let (count, other) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let theirs = count.clone();
    drop(event_loop.spawn(async move {
        loop {
            theirs.set(theirs.get() + 1);
            yield_now().await;
        }
    }));
    let theirs = other.clone();
    let joined = event_loop.spawn(async move { theirs.set(1) });
    assert_eq!((count.get(), other.get()), (0, 0));
    event_loop.block_on(async {
        joined.await.unwrap();
    });
    assert_eq!(other.get(), 1);
    let before = count.get();
    event_loop.block_on(yield_now());
    assert!(count.get() > before);
    assert_eq!(Rc::strong_count(&count), 2);
    drop(event_loop);
    assert_eq!(Rc::strong_count(&count), 1);
}

#[test]
fn a_task_knows_its_name_and_its_number_and_the_list_shows_all() {
    block_on(async {
        let named = task::Builder::new().name("worker");
        let named = named.spawn(async { (task::id().unwrap(), task::name().unwrap()) });
        let parked = spawn(pending::<()>());
        let (id, tasks) = (named.id(), task::all());
        assert_eq!(tasks.len(), 3);
        assert_eq!(tasks[0].name.as_deref(), Some("main"));
        assert_eq!(tasks[1].name.as_deref(), Some("worker"));
        assert_eq!(tasks[1].state, task::TaskState::Ready);
        assert_eq!(named.await.unwrap(), (id, "worker".into()));
        assert_eq!(task::all()[1].state, task::TaskState::Parked);
        assert!(task::all()[1].site.file().ends_with("basics.rs"));
        assert_eq!(stats().unwrap().tasks_alive, 2);
        parked.abort();
    });
}

#[test]
fn the_list_of_tasks_says_what_each_waits_for() {
    use crate::task::WaitsFor;
    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    event_loop.block_on(async {
        let hour = Duration::from_secs(3_600);
        let sleeper = spawn(crate::time::sleep(hour));
        let id = sleeper.id();
        let joiner = spawn(async move { sleeper.await.unwrap() });
        let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let ours = Rc::new(crate::io::Async::new(ours).unwrap());
        let source = ours.clone();
        let reader = spawn(async move {
            let mut buf = [0];
            source
                .read_with(|mut stream| std::io::Read::read(&mut stream, &mut buf))
                .await
        });
        yield_now().await;
        let fd = std::os::fd::AsRawFd::as_raw_fd(ours.get_ref());
        let of = |id| {
            let tasks = task::all();
            let task = tasks.into_iter().find(|task| task.id == id);
            task.unwrap().waits_for
        };
        assert_eq!(of(id), [WaitsFor::Timer(hour)]);
        assert_eq!(of(joiner.id()), [WaitsFor::Task(id)]);
        let read = crate::reactor::Direction::Read;
        assert_eq!(of(reader.id()), [WaitsFor::Descriptor(fd, read)]);
    });
    let report = event_loop.shutdown(Duration::from_secs(1));
    let text = report.to_string();
    assert!(text.contains("waits for a timer due in 3599s"), "{text}");
}

#[test]
fn shutdown_waits_and_names_who_did_not_end() {
    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    drop(event_loop.spawn(async {
        yield_now().await;
        yield_now().await;
    }));
    let report = event_loop.shutdown(Duration::from_secs(1));
    assert!(report.is_clean(), "{report}");

    let event_loop = EventLoop::builder().virtual_time(true).build().unwrap();
    let stuck = event_loop.spawn(pending::<()>());
    let report = event_loop.shutdown(Duration::from_secs(3_600));
    assert_eq!(report.cancelled.len(), 1);
    assert_eq!(report.cancelled[0].id, stuck.id());
    assert!(stuck.is_finished());
}
