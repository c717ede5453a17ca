//! How a job gets in: at once, by waiting for room on this thread, or by awaiting it;
//! and how the door is closed.
//!
//! Whether there is room is found out and made use of under one lock, so nobody is
//! overtaken between the two.

use crate::process::error::Error;
use crate::process::job::Job;
use crate::process::shared::Shared;
use crate::process::state::{Phase, Placed, State};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, MutexGuard};
use std::task::{Context, Poll};
use std::time::Instant;
use threeply_runtime::context::forbid_blocking;

/// Where a job was sent, if at once, and whether that worker was awake.
pub type Admitted = (Option<Placed>, bool);

/// What came of a try.
enum Tried {
    In(Option<Placed>),
    /// There is no room; here it is again.
    Full(Job),
    Never(Error),
}

/// Lets a job in if there is room.
fn admit(state: &mut State, job: Job, quiet: bool) -> Tried {
    if let Some(failure) = &state.broken {
        return Tried::Never(Error::Broken(failure.clone()));
    }
    if state.phase != Phase::Open {
        return Tried::Never(Error::ShutDown);
    }
    if state.must_queue() && !state.has_room(&job) {
        return Tried::Full(job);
    }
    let placed = state.accept(job, quiet);
    if placed.is_none() && state.lacks_staff() {
        state.look_by(Instant::now()); // Workers had gone for want of work.
    }
    Tried::In(placed)
}

impl Shared {
    /// Accepts a job; waits for room if need be and `wait` says so.
    ///
    /// `quiet` as for [`State::accept`].
    ///
    /// # Errors
    /// [`Error::Full`] unless it waits; [`Error::ShutDown`], [`Error::Broken`].
    pub fn accept(&self, mut job: Job, quiet: bool, wait: bool) -> Result<Admitted, Error> {
        let mut state = self.lock();
        loop {
            match admit(&mut state, job, quiet) {
                Tried::In(placed) => return Ok(self.after_admission(state, placed)),
                Tried::Never(error) => return Err(error),
                Tried::Full(_) if !wait => return Err(Error::Full),
                Tried::Full(again) => job = again,
            }
            drop(state);
            forbid_blocking("`submit` to a full pool", "`submit_async(..).await`");
            state = self.lock();
            if state.phase == Phase::Open && state.must_queue() && !state.has_room(&job) {
                state = self.wait_for_change(state, None);
            }
        }
    }

    /// What is left to do once a job is in: its worker is rung, and the supervisor if
    /// it has to look after the job from now on.
    fn after_admission(
        &self,
        mut state: MutexGuard<'_, State>,
        placed: Option<Placed>,
    ) -> Admitted {
        // One that waits for a worker is told of none by those that were asked to be
        // quiet.
        let unheard = placed.is_none() && state.break_silence();
        let ticks = placed.is_some() && state.starts_ticking();
        drop(state);
        let awake = placed
            .as_ref()
            .is_none_or(|placed| !placed.link.ring_if_asleep());
        if ticks || unheard {
            self.ring_supervisor();
        }
        (placed, awake)
    }

    /// Takes no more jobs; the supervisor does the rest.
    pub(crate) fn drain(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
        if let Some(deadline) = deadline {
            state.deadline = Some(deadline);
        }
        drop(state);
        self.ring_supervisor();
        self.tell_of_change();
    }
}

/// Awaits room for a job. Dropped before it is done, it hasn't let anything in.
#[derive(Debug)]
pub struct Admission {
    shared: Arc<Shared>,
    job: Option<Job>,
    /// Its place among those who wait.
    place: Option<u64>,
}

impl Admission {
    /// For this job.
    pub fn new(shared: &Arc<Shared>, job: Job) -> Admission {
        Admission {
            shared: Arc::clone(shared),
            job: Some(job),
            place: None,
        }
    }
}

impl Future for Admission {
    type Output = Result<Admitted, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.lock();
        let job = self.job.take().expect("not polled after it was ready");
        match admit(&mut state, job, true) {
            Tried::In(placed) => {
                if let Some(place) = self.place.take() {
                    state.room.leave(place);
                }
                Poll::Ready(Ok(shared.after_admission(state, placed)))
            }
            Tried::Never(error) => Poll::Ready(Err(error)),
            Tried::Full(job) => {
                self.place = Some(state.room.wait(self.place, context.waker()));
                self.job = Some(job);
                Poll::Pending
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && !self.shared.lock().room.leave(place)
        {
            // It had been called, so whoever is next can have its room.
            self.shared.tell_of_change();
        }
    }
}
