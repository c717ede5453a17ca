//! The loop: what `block_on` does until its future is ready.
//!
//! *Read after* [`super::core`]; *next* [`super::sleeper`].
//!
//! ```text
//!   ┌─▶ 1 run      poll ready tasks, oldest first, at most a turn's budget
//!   │   2 timers   wake the tasks whose deadlines have come
//!   │   3 sleep    if nothing is ready: until a descriptor is, a deadline comes,
//!   │              or another thread rings; else only ask epoll what there is
//!   │   4 dispatch wake the tasks whose descriptors are ready
//!   │   5 collect  wake the tasks that other threads have woken
//!   └── 6 mail     make the calls that other threads have left, a budget of them
//! ```
//! Steps 2 to 6 only *wake*, that is, put tasks into the run queue; tasks run in
//! step 1 alone. So no step can starve another: each does a bounded amount of
//! work, or one pass over what is there, and the next turn begins.
//!
//! A turn's budget is a number of polls, which bounds the time between two looks
//! at timers and I/O only if polls are short. Where they are not, the loop
//! measures whole turns and reckons with fewer polls (`adapt`).
//!
//! Rejected: a look at epoll after every poll (100 to 200 ns each, more than the
//! poll), a turn that ends with the tasks that were ready at its beginning (with
//! one task that yields, that is the same), and the clock for each poll (25 ns;
//! a yield takes 7).

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::core::{Core, NOBODY};
use super::stats::add;
use crate::limits::{MAIL_BUDGET, TURN_TARGET_NS};
use crate::task::cell::{Borrowed, TaskRef};
use crate::task::hook::contain;
use crate::task::id::WakeId;
use crate::task::slab::MAILBOX;
use crate::task::waker::{id_of, waker};
use crate::trace::{self, Kind, emit, emit_moment, emit_poll, emit_poll_end};

impl Core {
    /// Runs the loop until `main`, whose place is that of `main_task`, is ready.
    pub(super) fn run<F: Future>(&self, mut main: Pin<&mut F>, main_task: &TaskRef) -> F::Output {
        self.run_until(
            |core| {
                let id = main_task.wake_id();
                core.begin_poll(id);
                let waker = waker(id);
                match main.as_mut().poll(&mut Context::from_waker(&waker)) {
                    Poll::Ready(output) => Some(output),
                    Poll::Pending => None,
                }
            },
            main_task,
        )
    }

    fn run_until<T>(
        &self,
        mut poll_main: impl FnMut(&Core) -> Option<T>,
        main_task: &TaskRef,
    ) -> T {
        let main_place = main_task.wake_id().slot();
        self.look_at_the_trace();
        // When the last turn ended, if it used up its budget.
        let mut full_since: Option<Instant> = None;
        loop {
            // Step 1.
            self.careful.set(
                self.watched.get()
                    || self.options.seed.is_some()
                    || self.scheduler.borrow().are_many(),
            );
            let budget = self.turn_budget.get();
            let mut left = budget;
            while self.run_tasks(&mut left, main_place) {
                if let Some(output) = poll_main(self) {
                    self.end_poll_of_main(true);
                    return output;
                }
            }
            self.end_poll_of_main(false);
            self.current.set(NOBODY);
            add(&self.counters.turns, 1);
            self.scheduler.borrow_mut().queue.trim();
            full_since = (left == 0).then(|| self.adapt(budget, full_since));
            self.look_around();
            if self.remote.is_notified() {
                self.collect(); // Step 5.
                self.work_on_dumps(main_task);
                trace::let_time_pass();
            }
            self.answer_mail(); // Step 6.
        }
    }

    /// Step 1, but for the main future: polls at most `left` tasks, and counts them off.
    /// Whether it is the main future's turn.
    ///
    /// A function of its own, the same whatever `block_on` was given, so that nothing
    /// but this has a claim to the processor's registers.
    #[inline(never)]
    fn run_tasks(&self, left: &mut u32, main_place: u32) -> bool {
        let mut polls = *left;
        while polls > 0 && !self.careful.get() {
            let Some((place, task)) = self.scheduler.pop() else {
                *left = polls;
                return false;
            };
            polls -= 1;
            if place == main_place {
                *left = polls;
                return true;
            }
            self.poll_task_plain(place, task);
        }
        *left = polls;
        self.run_carefully(left, main_place)
    }

    /// As [`run_tasks`](Self::run_tasks), with what is to be done beside the polls. Here
    /// also the main future's polls are told of, which so cost nothing when they aren't.
    #[inline(never)]
    fn run_carefully(&self, left: &mut u32, main_place: u32) -> bool {
        while *left > 0 {
            self.end_poll_of_main(false);
            self.prepare_next();
            let Some((place, task)) = self.scheduler.pop() else {
                return false;
            };
            *left -= 1;
            if place == main_place {
                if self.watched.get() {
                    self.publish_if_asked(&task);
                    begin_traced(&task);
                    self.main_polled.set(task.id().get());
                }
                return true;
            }
            if self.watched.get() {
                self.poll_task_watched(place, task);
            } else {
                self.poll_task_plain(place, task);
            }
        }
        false
    }

    fn prepare_next(&self) {
        let mut scheduler = self.scheduler.borrow_mut();
        if scheduler.are_many() {
            scheduler.prefetch_next();
        }
        let ready = scheduler.queue.len() as u64;
        if self.options.seed.is_some() && ready > 1 && !self.inspector().is_on() {
            let index = (self.random() % ready) as usize;
            scheduler.queue.bring_to_front(index);
        }
    }

    /// (`current` stays what it is after the poll: it is the next poll's to set, or the
    /// end of step 1, before any other code runs.)
    #[inline(always)]
    fn begin_poll(&self, task: WakeId) {
        self.current.set(task);
        self.refill_budget();
    }

    /// Begins a poll for a dump.
    pub(crate) fn begin_asking(&self, task: WakeId) {
        self.begin_poll(task);
        add(&self.counters.asked, 1);
    }

    /// Tells that the main future's poll is over, if it was told that it began.
    #[inline]
    pub(super) fn end_poll_of_main(&self, ended: bool) {
        let task = self.main_polled.get();
        if task != 0 {
            self.main_polled.set(0);
            end_traced(task, ended);
            if ended {
                trace::let_time_pass(); // The caller's code runs.
            }
        }
    }

    /// Lets others see that `task` runs, if that was asked for.
    #[inline]
    fn publish_if_asked(&self, task: &TaskRef) {
        if self.publishes {
            self.publish(task);
        }
    }

    #[cold]
    fn publish(&self, task: &TaskRef) {
        let name = task.name();
        let name = name.as_deref().unwrap_or("");
        let site = Some(task.site());
        self.remote.published().publish(task.id().get(), site, name);
    }

    #[cold]
    fn poll_task_watched(&self, place: u32, task: Borrowed) {
        // It is told of when the poll is over, and the task perhaps gone.
        let id = task.id().get();
        self.publish_if_asked(&task);
        begin_traced(&task);
        let began = self.options.time_polls.then(Instant::now);
        let ended = self.poll_task_plain(place, task);
        if let Some(began) = began {
            let took = crate::time::clock::saturating_ns(began.elapsed());
            let longest = &self.counters.longest_poll_ns;
            longest.set(longest.get().max(took));
        }
        end_traced(id, ended);
    }

    /// Whether the task has ended.
    #[inline(always)]
    fn poll_task_plain(&self, place: u32, task: Borrowed) -> bool {
        let id = task.wake_id();
        self.begin_poll(id);
        let waker = waker(id);
        let ended = task.poll(&mut Context::from_waker(&waker));
        if ended {
            self.end(place);
        }
        ended
    }

    pub(crate) fn leave_poll(&self) {
        self.current.set(NOBODY);
    }

    /// After a turn that used up its budget: if the turn before did so too, fits
    /// the budget to the time that this one took, so that a turn of slow polls is
    /// not much longer than [`TURN_TARGET_NS`]. Returns what time it is.
    fn adapt(&self, budget: u32, full_since: Option<Instant>) -> Instant {
        let now = Instant::now();
        let Some(began) = full_since else { return now };
        let took = crate::time::clock::saturating_ns(now - began);
        if took > 2 * TURN_TARGET_NS {
            self.turn_budget.set((budget / 2).max(1));
        } else if took < TURN_TARGET_NS {
            self.turn_budget
                .set((budget * 2).min(self.options.turn_budget));
        }
        now
    }

    fn look_around(&self) {
        self.look_at_the_trace();
        self.fire_timers(); // Step 2.
        if self.scheduler.borrow().queue.is_empty()
            && self.mail.borrow().is_empty()
            && !self.remote.is_notified()
        {
            self.sleep(); // Steps 3 and 4.
            self.fire_timers();
        } else {
            self.poll_io(); // Step 4.
        }
    }

    fn fire_timers(&self) {
        let Some(timers) = self.timers_if_used() else {
            return;
        };
        if timers.driver().borrow().is_empty() {
            return;
        }
        let mut fired = self.fired.take();
        let now = timers.now_ns();
        timers.driver().borrow_mut().expire(now, &mut fired);
        for waker in fired.drain(..) {
            let waiter = id_of(&waker).map_or(0, |id| id.0);
            emit_moment(Kind::TimerFired, line!(), waiter, now);
            contain(|| waker.wake());
        }
        self.fired.set(fired);
    }

    /// Wakes whom other threads have woken.
    pub(super) fn collect(&self) {
        self.collected.set(true);
        let mut scheduler = self.scheduler.borrow_mut();
        let mut mail = false;
        let places = scheduler.places().max(1);
        self.remote.collect(places, |place| {
            if place == MAILBOX {
                mail = true;
            } else {
                scheduler.wake_place(place);
            }
        });
        drop(scheduler);
        if mail {
            let mut calls = Vec::new();
            self.remote.take_calls(&mut calls);
            self.mail.borrow_mut().extend(calls);
        }
    }

    fn answer_mail(&self) {
        for _ in 0..MAIL_BUDGET {
            let Some(call) = self.mail.borrow_mut().pop_front() else {
                return;
            };
            emit(Kind::Mail, line!(), 0, 0);
            trace::let_time_pass();
            contain(|| call.make(self));
        }
    }

    /// What is left to be dropped when the loop ends, besides its tasks.
    pub(super) fn take_mail(&self) -> impl Iterator<Item = super::handle::Call> {
        let queued = mem::take(&mut *self.mail.borrow_mut());
        queued.into_iter().chain(self.remote.close())
    }
}

#[cold]
fn begin_traced(task: &TaskRef) {
    // Within a turn, a poll begins when the one before it ends.
    emit_poll(Kind::Poll, line!(), task.id().get(), task.wake_id().0);
}

#[cold]
fn end_traced(task: u64, ended: bool) {
    emit_poll_end(Kind::PollEnd, line!(), task, u64::from(ended));
}
