//! How a loop ends: gracefully with a report, or at once.
//!
//! The order is stated at [`EventLoop`]. Foreign destructors run at each step, so
//! each step takes what it ends out of the loop's fields first, and contains
//! panics.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::EventLoop;
use super::core::{Core, NOBODY, Phase};
use super::stats::Stats;
use crate::context::Entered;
use crate::inspect::Finding;
use crate::limits::CLOSING_ROUNDS;
use crate::remote::table;
use crate::task::TaskInfo;
use crate::task::cell::TaskRef;
use crate::task::hook::contain;
use crate::time::clock::saturating_ns;

/// What [`EventLoop::shutdown`] found.
#[derive(Clone, Debug)]
#[must_use = "the report says which tasks didn't end in time"]
pub struct ShutdownReport {
    /// Tasks that hadn't ended when the time was over, oldest first. They were
    /// cancelled.
    pub cancelled: Vec<TaskInfo>,
    /// What is wrong with them, if anything is: a deadlock, say.
    pub findings: Vec<Finding>,
}

impl ShutdownReport {
    /// Whether every task ended by itself.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cancelled.is_empty()
    }
}

impl fmt::Display for ShutdownReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("all tasks ended");
        }
        write!(f, "{} tasks didn't end in time:", self.cancelled.len())?;
        for task in &self.cancelled {
            write!(f, "\n  {task}")?;
        }
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

impl EventLoop {
    #[track_caller]
    pub(super) fn end_gracefully(self, limit: Duration) -> ShutdownReport {
        let core = self.core.clone();
        let refused = core.take_mail().collect::<Vec<_>>();
        {
            let _entered = Entered::enter(&core);
            for call in refused {
                contain(|| drop(call));
            }
        }
        core.phase.set(Phase::Draining);
        self.block_on(async {
            let timers = core.timers();
            let deadline = timers.now_ns().saturating_add(saturating_ns(limit));
            let mut timer = None;
            poll_fn(|cx| {
                // The one that is left is this future itself.
                if core.scheduler.borrow().alive() == 1 || timers.now_ns() >= deadline {
                    return Poll::Ready(());
                }
                let mut driver = timers.driver().borrow_mut();
                timer.get_or_insert_with(|| driver.insert(deadline, cx.waker().clone()));
                drop(driver);
                core.draining.set(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
            if let Some(key) = timer {
                let waker = timers.driver().borrow_mut().cancel(key);
                drop(waker);
            }
        });
        let dump = self.dump();
        drop(self);
        ShutdownReport {
            findings: dump.findings(),
            cancelled: dump.tasks,
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        if self.core.is_forked() {
            // Descriptors and sockets are the parent's; leave all as it is.
            std::mem::forget(self.core.clone());
            return;
        }
        self.watchers.clear();
        let entered = Entered::enter(&self.core);
        self.core.close();
        drop(entered);
    }
}

impl Core {
    /// Ends everything on the loop, which must be the current one.
    fn close(self: &Rc<Self>) {
        self.phase.set(Phase::Closing);
        for call in self.take_mail().collect::<Vec<_>>() {
            contain(|| drop(call));
        }
        for _ in 0..CLOSING_ROUNDS {
            let mut tasks: Vec<TaskRef> = {
                let scheduler = self.scheduler.borrow();
                scheduler.tasks().map(|(_, task, _)| task.clone()).collect()
            };
            if tasks.is_empty() {
                break;
            }
            tasks.sort_unstable_by_key(TaskRef::id);
            for task in tasks {
                self.cancel_now(&task);
            }
        }
        self.phase.set(Phase::Closed);
        table::release(self.remote);
    }

    fn cancel_now(&self, task: &TaskRef) {
        let place = task.wake_id().slot();
        if !self.place_holds(place, task) {
            return; // A destructor has led to its end already.
        }
        task.mark_aborted("the event loop was dropped".into());
        self.current.set(task.wake_id());
        task.cancel();
        self.end(place);
        self.current.set(NOBODY);
    }

    /// Forgets the main future of a `block_on` that is over.
    pub(super) fn leave_main(&self, main: TaskRef) {
        self.current.set(NOBODY);
        let gone = self.scheduler.remove(main.wake_id().slot());
        drop(gone);
        let locals = main.take_locals();
        contain(|| drop(locals));
        drop(main);
    }

    pub(crate) fn stats(&self) -> Stats {
        let scheduler = self.scheduler.borrow();
        let counters = &self.counters;
        let idle_ns = counters.idle_ns.get();
        let longest = counters.longest_poll_ns.get();
        Stats {
            tasks_alive: scheduler.alive(),
            tasks_ready: scheduler.queue.len(),
            polls: scheduler.popped() + counters.asked.get(),
            turns: counters.turns.get(),
            wakes_local: scheduler.wakes_local(),
            wakes_remote: scheduler.wakes_remote,
            wakes_spurious: scheduler.wakes_spurious,
            parks: counters.parks.get(),
            idle: Duration::from_nanos(idle_ns),
            busy: Duration::from_nanos(counters.run_ns.get().saturating_sub(idle_ns)),
            longest_poll: self
                .options
                .time_polls
                .then(|| Duration::from_nanos(longest)),
        }
    }
}
