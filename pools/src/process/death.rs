//! What happens when a worker ends: accounts are settled, and it is replaced.
//!
//! 1. Its process is reaped, what it left in its process group is killed
//!    ([`Link::look_at_process`](super::link::Link::look_at_process)), and unless it
//!    was told to go, so is everything else that descends from it ([`super::kin`],
//!    or the control group that it has for itself).
//! 2. Every reply that it had published is delivered.
//! 3. The one element that it had claimed and not answered, if any, fails with
//!    the cause of death. Nothing else does.
//! 4. What stood behind it goes back to the head of the queue, in order.
//! 5. Another worker takes its place, if there may be work for one.
//!
//! Any thread may do it (the supervisor, or a caller that was waiting for a
//! reply); the right to read replies makes sure that one does.
//!
//! Read before this: [`super::claim`] and [`super::pump`].

use crate::process::error::{Cause, Death, JobError, LastOutput, StartFailure};
use crate::process::job::Job;
use crate::process::limits;
use crate::process::link::Link;
use crate::process::reader::ReplyReader;
use crate::process::shared::Shared;
use crate::process::start::Begun;
use crate::process::state::{Delivery, Phase, Reason, Stage, State, Verdict, Worker};
use crate::process::worker::end::exit;
use crate::process::worker::last_words::LastWords;
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

impl Shared {
    /// To be called when a worker's process may have ended.
    pub fn worker_may_have_ended(&self, link: &Arc<Link>) {
        if !link.look_at_process() {
            return;
        }
        // If somebody has it, they see that the worker has ended when they leave.
        if let Some(reader) = link.reader.take_or(|| link.nudge_caller()) {
            self.bury(link, reader);
        }
    }

    /// Steps 2 to 5. The right to read is used up.
    pub fn bury(&self, link: &Arc<Link>, mut reader: ReplyReader) {
        let mut deliveries = Vec::new();
        let mut state = self.lock();
        let dismissed = match state.worker(link) {
            Some(worker) => {
                let leaving = matches!(worker.stage, Stage::Leaving { .. });
                let starting = matches!(worker.stage, Stage::Starting { .. });
                if !starting {
                    // Nothing more is sent to it.
                    let deadline = Instant::now();
                    worker.stage = Stage::Leaving { deadline };
                }
                leaving
            }
            None => return,
        };
        drop(state);
        if !link.sent_garbage() {
            self.pump(link, &mut reader);
        }
        // Also if it has turned out only now that it did.
        if link.sent_garbage() {
            self.salvage(link, &mut reader);
        }
        link.end_descendants(dismissed);
        let cause = self.cause(link);
        let last_words = link.last_output();
        self.outputs.look(); // A process that is left behind may hold the other end.
        let mut state = self.lock();
        let closed = state.phase == Phase::Closed;
        let Some(mut worker) = state.remove(link) else {
            return;
        };
        if !dismissed {
            state.tally.died += 1;
        }
        if let Some(refusal) = link.refused() {
            worker.complaint = Some(refusal);
        }
        let verdict = worker.verdict.take();
        let ran_for = worker.front_since.elapsed();
        let claimed = link.words().claim.first_unclaimed();
        let error = |job: &Job| match verdict {
            _ if closed => JobError::ShutDown,
            Some(Verdict { seq, reason }) if seq + 1 == claimed => match reason {
                Reason::Cancelled => JobError::Cancelled,
                Reason::Limit(limit) => JobError::TimedOut { limit },
                Reason::CpuLimit(limit) => JobError::CpuExceeded { limit },
            },
            _ => JobError::Died(Death {
                pid: link.pid,
                cause: cause.clone(),
                ran_for,
                job: job.label(),
                attempts: job.attempt,
                last_words: last_words.as_str().into(),
            }),
        };
        let died = !closed && verdict.is_none_or(|verdict| verdict.seq + 1 != claimed);
        state.bury(&mut worker, error, died, &mut deliveries);
        let never_came_up = matches!(worker.stage, Stage::Starting { .. });
        if (never_came_up && !closed) || worker.complaint.is_some() {
            let reason = worker.complaint.take().unwrap_or_else(|| {
                format!(
                    "a worker ended before it was ready ({}); if the start of this program exits by \
                     itself or needs `main` to run first, see `process::worker_main`{}",
                    describe(link),
                    LastOutput(&last_words)
                )
            });
            self.note_start_failure(&mut state, &reason, &mut deliveries);
        }
        drop(state);
        Delivery::deliver_all(&mut deliveries);
        self.replace_missing();
        self.tell_of_change();
        if self.lock().phase != Phase::Open {
            self.ring_supervisor(); // It decides when the pool is done.
        }
        // Jobs that were put back may have a worker waiting for them.
        self.dispatch_queue();
    }

    fn cause(&self, link: &Link) -> Cause {
        if link.sent_garbage() {
            return Cause::Garbage;
        }
        if link.last_words() == LastWords::StackOverflow {
            return Cause::StackOverflow;
        }
        let Some(status) = link.status() else {
            return Cause::Unknown;
        };
        match (status.signal(), self.options.memory_limit) {
            (Some(libc::SIGABRT), Some(limit)) => Cause::MemoryLimit { limit },
            (Some(libc::SIGKILL), _) if self.oom.has_killed() => Cause::OutOfMemory,
            (Some(signal), _) => Cause::Signal {
                signal,
                core_dumped: status.core_dumped(),
            },
            (None, _) => match status.code().unwrap_or(-1) {
                exit::PROTOCOL => Cause::Garbage,
                code => Cause::Exited(code),
            },
        }
    }

    fn note_start_failure(&self, state: &mut State, reason: &str, deliveries: &mut Vec<Delivery>) {
        let since = *state.failing_since.get_or_insert_with(Instant::now);
        state.start_failures += 1;
        state.retry_at = Some(Instant::now() + limits::START_RETRY);
        let nobody_works = state.workers.iter().flatten().all(Worker::is_new);
        // A pool that has worked before has run out of something, perhaps for a moment.
        let patient = state.tally.completed > 0 && since.elapsed() < limits::START_PATIENCE;
        if state.start_failures >= limits::START_FAILURES && nobody_works && !patient {
            let failure = StartFailure(Arc::from(reason));
            state.broken = Some(failure.clone());
            state.fail_queue(|| JobError::WorkerStart(failure.clone()), deliveries);
        }
    }

    /// Starts workers for all places that have none, if there may be work for them.
    ///
    /// A fork server is another process, which may be stopped or swamped: whoever looks
    /// after the other workers doesn't wait for it, a thread does.
    pub fn replace_missing(&self) {
        loop {
            let mut state = self.lock();
            if let Some(at) = state.retry_at.filter(|&at| Instant::now() < at) {
                // Whoever buries a worker comes here, and only the supervisor comes back.
                if state.lacks_staff() {
                    state.look_by(at);
                }
                return;
            }
            let Some(slot) = state.reserve_empty() else {
                return;
            };
            drop(state);
            if self.options.fork_server.is_some()
                && let Some(me) = self.me()
            {
                let starter = thread::Builder::new().name("threeply-starter".to_owned());
                if starter.spawn(move || me.start_reserved(slot)).is_ok() {
                    continue;
                }
            }
            self.start_reserved(slot);
        }
    }

    /// Starts a worker for a place that was reserved for it.
    fn start_reserved(&self, slot: usize) {
        let given_up = || self.lock().phase == Phase::Closed;
        let begun = Begun::new(slot, &self.options, &given_up);
        let started = begun.and_then(|begun| self.equip(begun));
        let mut deliveries = Vec::new();
        let mut state = self.lock();
        state.release(slot);
        match started {
            Ok((link, writer)) => self.admit(&mut state, Arc::new(link), writer),
            Err(error) => {
                self.note_start_failure(&mut state, &error.to_string(), &mut deliveries);
            }
        }
        drop(state);
        Delivery::deliver_all(&mut deliveries);
        // The supervisor must watch the new process; submitters may have to be
        // told that there will be none.
        self.ring_supervisor();
        self.tell_of_change();
    }

    /// Sends what is queued to workers that are idle.
    pub fn dispatch_queue(&self) {
        let mut state = self.lock();
        let links = state.refill_idle();
        drop(state);
        for link in links {
            link.ring_if_asleep();
        }
    }
}

fn describe(link: &Link) -> String {
    match link.status() {
        Some(status) => status.to_string(),
        None => "how, is not known".to_owned(),
    }
}
