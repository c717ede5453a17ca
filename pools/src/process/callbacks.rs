//! The thread on which callbacks of users run, so that one that blocks holds up other
//! callbacks and nothing else.
//!
//! Outcomes are delivered by whoever reads them: the supervisor, which must notice deaths
//! and limits, or a caller that wants its own result. Neither may be held up by what
//! somebody else's callback does. There is no thread before the first callback is due, and
//! it ends with the pool.
//!
//! Rejected: *the completing thread, with the advice not to block* (one lock held too long
//! in one callback, and every job of the pool hangs); *a thread for each callback* (then
//! they overtake each other).

use crate::process::limits::EXIT_PATIENCE;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What is called once.
type Callback = Box<dyn FnOnce() + Send>;

/// The pool's end of that thread. Dropping it lets the thread end once all were called.
#[derive(Debug, Default)]
pub struct Callbacks(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    due: VecDeque<Callback>,
    thread: Thread,
    /// The pool is gone.
    closing: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Thread {
    #[default]
    None,
    /// Nothing is due, and nothing is being called.
    Waits,
    Calls(thread::ThreadId),
}

impl Callbacks {
    /// Calls `callback` on the thread, after all that came before. If there can be no
    /// thread, calls it here.
    pub fn call(&self, callback: Callback) {
        let mut state = self.0.lock();
        if state.thread == Thread::None {
            let shared = Arc::clone(&self.0);
            let named = thread::Builder::new().name("threeply-callbacks".to_owned());
            if named.spawn(move || shared.run()).is_err() {
                drop(state);
                callback();
                return;
            }
            state.thread = Thread::Waits;
        }
        state.due.push_back(callback);
        drop(state);
        self.0.changed.notify_all();
    }

    /// Waits until all that are due have been called; not for long, since one may block
    /// for ever, and not for the callback that asks for it.
    pub fn wait(&self) {
        let busy = |state: &mut State| match state.thread {
            Thread::None => false,
            Thread::Waits => !state.due.is_empty(),
            Thread::Calls(thread) => thread != thread::current().id(),
        };
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.0.lock(), EXIT_PATIENCE, busy);
        drop(waited);
    }
}

impl Drop for Callbacks {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.lock();
        loop {
            if let Some(callback) = state.due.pop_front() {
                state.thread = Thread::Calls(thread::current().id());
                drop(state);
                // It is somebody else's; the panic hook has reported it.
                let _ = catch_unwind(AssertUnwindSafe(callback));
                state = self.lock();
                state.thread = Thread::Waits;
                self.changed.notify_all();
            } else if state.closing {
                return;
            } else {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("due", &self.due.len())
            .field("thread", &self.thread)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn callbacks_run_in_turn_and_a_panic_is_its_own_affair() {
        let callbacks = Callbacks::default();
        let (tell, told) = mpsc::channel();
        callbacks.call(Box::new(|| std::panic::resume_unwind(Box::new(()))));
        for n in 0..3 {
            let tell = tell.clone();
            callbacks.call(Box::new(move || {
                tell.send((n, thread::current().id())).unwrap()
            }));
        }
        drop(tell);
        callbacks.wait();
        let told: Vec<_> = told.try_iter().collect();
        assert_eq!(told.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(told.iter().all(|(_, on)| *on != thread::current().id()));
    }

    #[test]
    fn what_is_due_is_called_although_the_pool_is_gone() {
        let callbacks = Callbacks::default();
        let (tell, told) = mpsc::channel();
        callbacks.call(Box::new(move || tell.send(()).unwrap()));
        drop(callbacks);
        told.recv().unwrap();
    }
}
