//! Panics in every place where the loop runs foreign code.

use std::cell::Cell;
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Wake, Waker};

use crate::task::set_unhandled_panic_hook;
use crate::{EventLoop, block_on, spawn, yield_now};

/// What the hook was told by tests of this process, as text.
fn heard() -> &'static Mutex<Vec<String>> {
    static HEARD: OnceLock<Mutex<Vec<String>>> = OnceLock::new();
    HEARD.get_or_init(|| {
        set_unhandled_panic_hook(|unhandled| heard().lock().unwrap().push(unhandled.to_string()));
        Mutex::default()
    })
}

fn has_heard(text: &str) -> bool {
    heard()
        .lock()
        .unwrap()
        .iter()
        .any(|line| line.contains(text))
}

struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

#[test]
fn a_panic_that_nobody_joins_is_told_to_the_hook() {
    heard();
    block_on(async {
        drop(spawn(async { panic!("detached before") }));
        yield_now().await;
        assert!(has_heard("detached before") && has_heard("nobody joined"));
        let late = spawn(async { panic!("detached after") });
        yield_now().await;
        assert!(!has_heard("detached after"));
        drop(late);
        assert!(has_heard("detached after"));
        let joined = spawn(async { panic!("heard by its joiner") });
        joined.await.unwrap_err();
        assert!(!has_heard("heard by its joiner"));
    });
}

#[test]
fn a_panic_in_the_drop_of_a_future_reaches_the_joiner() {
    block_on(async {
        let bomb = Bomb("future");
        let aborted = spawn(async move {
            let _bomb = bomb;
            pending::<()>().await;
        });
        yield_now().await;
        aborted.abort();
        let error = aborted.await.unwrap_err();
        assert!(error.is_panic() && error.reason() == "future");
        // Beside a panic of the poll, it is reported to nobody, and does no harm.
        let bomb = Bomb("second");
        let twice = spawn(async move {
            let _bomb = bomb;
            yield_now().await;
        });
        assert_eq!(twice.await.unwrap_err().reason(), "second");
    });
}

#[test]
fn a_panic_in_the_drop_of_an_output_stops_nothing() {
    heard();
    block_on(async {
        drop(spawn(async { Bomb("output detached") }));
        let kept = spawn(async { Bomb("output of a handle") });
        yield_now().await;
        assert!(has_heard("output detached"));
        drop(kept);
        assert!(has_heard("output of a handle"));
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn a_panic_in_a_waker_stops_nothing() {
    heard();
    struct Grenade;
    impl Wake for Grenade {
        fn wake(self: Arc<Self>) {
            panic!("a waker's");
        }
    }
    block_on(async {
        let mut task = spawn(async { 3 });
        let waker = Waker::from(Arc::new(Grenade));
        let polled = std::pin::Pin::new(&mut task);
        assert!(polled.poll(&mut Context::from_waker(&waker)).is_pending());
        yield_now().await;
        assert!(has_heard("a waker's"));
        assert_eq!(task.await.unwrap(), 3);
    });
    use std::future::Future;
}

#[test]
fn a_panic_of_the_main_future_leaves_the_loop_usable_and_drops_tasks_later() {
    let event_loop = EventLoop::new().unwrap();
    let done = Rc::new(Cell::new(false));
    let theirs = done.clone();
    let task = event_loop.spawn(async move {
        yield_now().await;
        theirs.set(true);
    });
    let main = AssertUnwindSafe(|| event_loop.block_on(async { panic!("main") }));
    let panic = catch_unwind(main).unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "main");
    assert!(!done.get());
    event_loop.block_on(task).unwrap();
    assert!(done.get());
}

#[test]
fn the_end_of_a_loop_survives_destructors_that_panic() {
    heard();
    let dropped = Rc::new(());
    {
        let event_loop = EventLoop::new().unwrap();
        for _ in 0..3 {
            let (held, bomb) = (dropped.clone(), Bomb("at the end"));
            drop(event_loop.spawn(async move {
                let _held = held;
                let _bomb = bomb;
                pending::<()>().await;
            }));
        }
        event_loop.block_on(yield_now());
    }
    assert_eq!(Rc::strong_count(&dropped), 1);
    let times = |line: &&String| line.contains("at the end");
    assert_eq!(heard().lock().unwrap().iter().filter(times).count(), 3);
}

#[test]
fn a_panic_of_a_remote_task_reaches_its_waiter_or_the_hook() {
    heard();
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let mut waited = handle.spawn(|| async { panic!("remote") });
    let in_make = handle.spawn(|| {
        if true {
            panic!("constructor");
        }
        async {}
    });
    drop(handle.spawn(|| async { panic!("remote detached") }));
    event_loop.block_on(async {
        let error = (&mut waited).await.unwrap_err();
        assert!(error.is_panic() && error.reason() == "remote");
        assert_eq!(in_make.await.unwrap_err().reason(), "constructor");
        yield_now().await;
        yield_now().await;
    });
    assert!(has_heard("remote detached"));
}
