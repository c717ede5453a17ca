//! How a pool ends: it takes no more, drains or cancels, and lets its threads go.
//!
//! Before this: `gate.rs`, `registry.rs`. `pool.rs` (`shutdown`, `drop`) calls these in
//! their order.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::switch::atomic::Ordering;
use crate::thread::gate::{CANCELLING, DRAINING};
use crate::thread::job::JobRef;
use crate::thread::registry::{Registry, take_from};
use crate::thread::sleep::Work;

impl Registry {
    /// Takes no more work from outside; threads end when all is done.
    pub fn close(self: &Arc<Self>) {
        self.gate.advance(DRAINING);
        // Guests' seats hold the registry; without this it would never be freed.
        let free = std::mem::take(&mut *self.free_guests.lock().unwrap());
        drop(free);
        // If no thread is left, nobody would run what is queued.
        if self.has_jobs() {
            self.provide(self.sleep.notify(Work::Job));
        }
        self.end_if_done();
        self.sleep.wake_all();
    }

    /// Discards every job that hasn't begun, and those to come.
    pub fn cancel_queued(&self) -> usize {
        self.gate.advance(CANCELLING);
        self.sleep.wake_all();
        self.discard_queued();
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Discards what is in the queues, except scopes' jobs, which somebody waits
    /// for.
    fn discard_queued(&self) {
        let mut kept = Vec::new();
        let mut discard = |job: JobRef| {
            if job.tag() == 0 {
                job.discard();
                self.cancelled.fetch_add(1, Ordering::Relaxed);
            } else {
                kept.push(job);
            }
        };
        while let Some(job) = take_from(&self.injector) {
            discard(job);
        }
        for lane in self.lanes.iter() {
            while let Some(job) = lane.jobs.steal() {
                discard(job);
            }
        }
        for job in kept {
            self.strays.push(job);
        }
    }

    /// Lets threads end if nothing is left to do; the last idle worker asks.
    pub fn end_if_done(&self) -> bool {
        if self.gate.is_open() {
            return false;
        }
        if self.gate.has_ended() {
            return true;
        }
        if self.guests() == 0 && self.sleep.all_idle() && !self.has_work() {
            self.gate.end();
            self.sleep.wake_all();
            return true;
        }
        false
    }

    /// Waits for the pool's threads, but the calling one, to end.
    pub fn join_threads(&self, deadline: Option<Instant>) -> usize {
        let me = std::thread::current().id();
        loop {
            let mut threads = self.threads.lock().unwrap();
            threads.handles.retain(|thread| thread.thread().id() != me);
            if deadline.is_none() {
                let ending = std::mem::take(&mut threads.handles);
                drop(threads);
                if ending.is_empty() {
                    return 0;
                }
                for thread in ending {
                    let _ = thread.join();
                }
                continue;
            }
            let (ended, running): (Vec<_>, Vec<_>) =
                threads.handles.drain(..).partition(JoinHandle::is_finished);
            threads.handles = running;
            let left = threads.handles.len();
            drop(threads);
            for thread in ended {
                let _ = thread.join();
            }
            if left == 0 || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return left;
            }
            // std has no join with a deadline; threads end within µs of the last
            // job, so the first sleeps are short.
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.wake_watchdog(); // It finds nothing to watch, and ends.
        self.discard_queued();
    }
}
