//! A pool's threads: how they start, who is at work, and the watchdog beside them.
//!
//! Before this: `registry.rs`. After it: `worker.rs`, the loop that a worker runs. How
//! many may run is `sleep.rs`'s business.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::error::Error;
use crate::limits;
use crate::thread::job::JobRef;
use crate::thread::lane::Lane;
use crate::thread::registry::Registry;
use crate::thread::seat::Seat;
use crate::thread::sleep::Provide;
use crate::thread::{watchdog, worker};
use threeply_runtime::trace::{Kind, emit};

/// The handles of a pool's threads.
#[derive(Debug, Default)]
pub struct Threads {
    pub(super) handles: Vec<JoinHandle<()>>,
    /// Handles after the last look for threads that had ended.
    kept: usize,
}

impl Threads {
    /// Adds one, and lets go of those that ended whenever the number has doubled:
    /// O(1) amortized.
    fn add(&mut self, thread: JoinHandle<()>) {
        if self.handles.len() >= 2 * self.kept + limits::ENDED_THREADS {
            self.handles.retain(|thread| !thread.is_finished());
            self.kept = self.handles.len();
        }
        self.handles.push(thread);
    }
}

impl Registry {
    /// Starts as many threads as there are permits.
    ///
    /// # Errors
    /// [`Error::StartThread`]; the threads started so far end again.
    pub fn start(self: &Arc<Self>) -> Result<(), Error> {
        while self.sleep.live() < self.config.threads && self.sleep.take_permit() {
            self.start_thread()?;
        }
        Ok(())
    }

    /// Starts a thread that `Sleep` counts already.
    fn start_thread(self: &Arc<Self>) -> Result<(), Error> {
        let lane = self.free_workers.lock().unwrap().pop();
        let lane = lane.unwrap_or_else(|| self.new_lane(true));
        let index = lane.index();
        let mut builder = std::thread::Builder::new().name(self.config.name_of(index));
        if let Some(bytes) = self.config.stack_size {
            builder = builder.stack_size(bytes);
        }
        let registry = self.clone();
        self.step_in(index);
        match builder.spawn(move || worker::main(Seat { lane, registry })) {
            Ok(thread) => {
                self.threads.lock().unwrap().add(thread);
                Ok(())
            }
            Err(error) => {
                self.step_out(index);
                self.sleep.could_not_start();
                Err(Error::StartThread(error))
            }
        }
    }

    /// Does what a notification asks for.
    #[inline]
    pub fn provide(self: &Arc<Self>, provide: Provide) {
        if provide == Provide::StartThread {
            // Without the thread, work waits until a thread of the pool is free.
            let _ = self.start_thread();
        }
    }

    pub(super) fn new_lane(&self, is_worker: bool) -> Lane {
        let make = |index| {
            let lane = Lane::new(index, is_worker);
            let shared = lane.shared.clone();
            (lane, shared)
        };
        self.lanes.add(make, || self.wake_watchdog())
    }

    /// Gives a worker's lane back when its thread ends.
    pub fn give_back_worker(&self, lane: Lane) {
        lane.free_spares();
        self.free_workers.lock().unwrap().push(lane);
    }

    /// The thread of lane `index` begins or resumes work.
    pub fn step_in(&self, index: usize) {
        self.staffed.lock().unwrap().insert(index);
    }

    /// The thread of lane `index` stops; nothing more comes into its inbox.
    pub fn step_out(&self, index: usize) {
        self.staffed.lock().unwrap().remove(&index);
    }

    /// The lanes whose threads are at work or may be.
    pub fn staffed(&self) -> BTreeSet<usize> {
        self.staffed.lock().unwrap().clone()
    }

    /// Puts a job into the inbox of each thread that is at work or may be; `make`
    /// is told the lane's number.
    pub fn post_to_all(&self, mut make: impl FnMut(usize) -> Option<JobRef>) {
        let staffed = self.staffed.lock().unwrap();
        for &index in staffed.iter() {
            if let Some(job) = make(index) {
                emit(Kind::JobPost, line!(), job.address(), index as u64);
                let lane = self.lanes.get(index);
                lane.inbox.push(job);
                lane.parker.unpark();
            }
        }
    }
}

/// The watchdog.
impl Registry {
    /// Starts the watchdog, if one is wanted.
    ///
    /// # Errors
    /// [`Error::StartThread`].
    pub fn start_watchdog(self: &Arc<Self>) -> Result<(), Error> {
        if let Some(limit) = self.config.watchdog {
            // Under the lock, since it ends if it finds none there.
            let mut dog = self.watchdog.lock().unwrap();
            *dog = Some(watchdog::start(self, limit).map_err(Error::StartThread)?);
        }
        Ok(())
    }

    /// Is the watchdog to go on?
    pub fn is_watched(&self) -> bool {
        self.watchdog.lock().unwrap().is_some()
    }

    /// Has the watchdog look again, if it sleeps.
    pub(super) fn wake_watchdog(&self) {
        if self.config.watchdog.is_some()
            && let Some(dog) = &*self.watchdog.lock().unwrap()
        {
            dog.wake();
        }
    }

    /// Ends the watchdog, and waits for that.
    pub fn end_watchdog(&self) {
        let dog = self.watchdog.lock().unwrap().take();
        if let Some(dog) = dog {
            dog.join();
        }
    }
}
