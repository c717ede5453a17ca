//! The thread that reads what workers write.
//!
//! It waits for all pipes at once, reads those that have something, and hands that
//! on, which may block it. The supervisor starts it once there is a worker whose output is
//! read, while that one comes up, and tries again after a while if no thread can be had. It
//! ends when it is told to and every pipe is empty.
//! A pool whose outputs need no reading has no such thread.

use crate::process::limits::EXIT_PATIENCE;
use crate::process::output::stream::Source;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use threeply_runtime::sys::eventfd::EventFd;

/// The pool's end of the reader thread.
#[derive(Debug)]
pub struct Outputs(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    bell: EventFd,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    started: bool,
    sources: Vec<Arc<Source>>,
    closing: bool,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outputs {
    /// No thread: nothing is to be read.
    pub fn none() -> Outputs {
        Outputs(None)
    }

    /// A thread, once there is something to read.
    ///
    /// # Errors
    /// If there is no descriptor to be had.
    pub fn new() -> io::Result<Outputs> {
        Ok(Outputs(Some(Arc::new(Shared {
            bell: EventFd::new()?,
            state: Mutex::default(),
            ended: Condvar::new(),
        }))))
    }

    /// Reads this one, too, from now on.
    pub fn add(&self, source: Arc<Source>) {
        let Some(shared) = &self.0 else { return };
        shared.lock().sources.push(source);
        let _ = shared.bell.notify();
    }

    /// Sees to it that there is a thread if there is anything to read. `false` if none can be
    /// had now.
    pub fn are_read(&self) -> bool {
        let Some(shared) = &self.0 else { return true };
        let mut state = shared.lock();
        if state.started || state.sources.is_empty() {
            return true;
        }
        let seen = Arc::clone(shared);
        let thread = thread::Builder::new().name("threeply-output".to_owned());
        state.started = thread.spawn(move || seen.run()).is_ok();
        state.started
    }

    /// Something has happened to a source: look at all.
    pub fn look(&self) {
        if let Some(shared) = &self.0 {
            let _ = shared.bell.notify();
        }
    }

    /// Ends the thread once everything was handed on.
    pub fn close(&self) {
        if let Some(shared) = &self.0 {
            shared.lock().closing = true;
            let _ = shared.bell.notify();
        }
    }

    /// Waits until everything was handed on, after [`close`](Outputs::close); not for
    /// long, since a callback may block for ever.
    pub fn wait(&self) {
        let Some(shared) = &self.0 else { return };
        let waited = shared
            .ended
            .wait_timeout_while(shared.lock(), EXIT_PATIENCE, |state| {
                state.started && !state.ended
            });
        drop(waited);
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let sources = {
                let mut state = self.lock();
                state.sources.retain(|source| !source.is_over());
                if state.closing && state.sources.is_empty() {
                    break;
                }
                state.sources.clone()
            };
            self.sleep(&sources);
            let _ = self.bell.drain();
            for source in &sources {
                source.read();
                source.hand_on();
            }
        }
        self.lock().ended = true;
        self.ended.notify_all();
    }

    /// Until there is something to read, or somebody has rung.
    fn sleep(&self, sources: &[Arc<Source>]) {
        let mut waited = vec![PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        waited.extend(
            sources
                .iter()
                .map(|source| PollFd::new(source.pipe(), PollFlags::POLLIN)),
        );
        // An error (EINTR) is a superfluous look.
        let _ = poll(&mut waited, PollTimeout::NONE);
    }
}
