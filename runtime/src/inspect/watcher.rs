//! A thread that watches a loop from outside, and ends with it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The thread; it ends when this is dropped.
pub(crate) struct Watcher {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
    wake: Option<Box<dyn Fn()>>,
}

/// How a watcher hears that it is to end.
#[derive(Default)]
pub(crate) struct Stop {
    stopped: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    /// Sleeps so long; returns whether to end.
    pub(crate) fn sleep(&self, how_long: Duration) -> bool {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self
            .changed
            .wait_timeout_while(stopped, how_long, |stopped| !*stopped);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Watcher {
    pub(crate) fn start(
        name: &str,
        wake: Option<Box<dyn Fn()>>,
        watch: impl FnOnce(&Stop) + Send + 'static,
    ) -> io::Result<Watcher> {
        let stop = Arc::new(Stop::default());
        let for_thread = stop.clone();
        let thread = thread::Builder::new()
            .name(name.into())
            .spawn(move || watch(&for_thread))?;
        Ok(Watcher {
            stop,
            thread: Some(thread),
            wake,
        })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        *self
            .stop
            .stopped
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.changed.notify_all();
        if let Some(wake) = &self.wake {
            wake();
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // A panic of a hook was told by the panic hook.
        }
    }
}
