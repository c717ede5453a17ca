//! Tests of the primitives without a loop: futures are polled by hand, wakes
//! are counted. Each test is generic and runs for both families.

mod channels;
mod fan;
mod hook_waker;
mod locks;
mod loops;
mod meeting;
mod notify;
mod property;
mod threads;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Runs a test function generic over the family for both of them.
macro_rules! for_both_families {
    ($($name:ident)*) => {
        mod local {
            $(#[test] fn $name() { super::$name::<crate::sync::family::Local>() })*
        }
        mod shared {
            $(#[test] fn $name() { super::$name::<crate::sync::family::Shared>() })*
        }
    };
}
use for_both_families;

/// Counts how often it was woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future driven by hand.
struct Driven<'a, T> {
    future: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
    count: Arc<Count>,
}

impl<'a, T> Driven<'a, T> {
    fn new(future: impl Future<Output = T> + 'a) -> Self {
        Driven {
            future: Some(Box::pin(future)),
            count: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<T> {
        let waker = Waker::from(self.count.clone());
        let future = self.future.as_mut().expect("polled after it was cancelled");
        future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Polls, and expects it to wait.
    fn waits(mut self) -> Self {
        assert!(self.poll().is_pending());
        self
    }

    #[track_caller]
    fn ready(&mut self) -> T {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("the future waits, but should be ready"),
        }
    }

    fn wakes(&self) -> usize {
        self.count.0.load(Ordering::SeqCst)
    }

    fn cancel(&mut self) {
        self.future = None;
    }
}

/// Polls once and expects a result.
#[track_caller]
fn now<T>(future: impl Future<Output = T>) -> T {
    Driven::new(future).ready()
}

/// Waits for exactly one poll.
async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Ends the process if a test that could hang does, so that nobody waits for it.
fn watchdog() -> impl Drop {
    struct Watchdog(Option<std::sync::mpsc::Sender<()>>);
    impl Drop for Watchdog {
        fn drop(&mut self) {
            self.0 = None;
        }
    }
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let limit = std::time::Duration::from_secs(60);
        if receiver.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{test} hangs");
            std::process::abort();
        }
    });
    Watchdog(Some(sender))
}
