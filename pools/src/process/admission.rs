//! How a job gets in: at once, by waiting for room on this thread, or by awaiting it;
//! and how the door is closed.
//!
//! Whether there is room is found out and made use of under one lock, so nobody is
//! overtaken between the two.

use crate::process::error::Error;
use crate::process::job::Job;
use crate::process::shared::Shared;
use crate::process::state::{Phase, Placed, State};
use crate::switch::{MutexGuard, Weakening, weakened};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use threeply_runtime::context::forbid_blocking;
use threeply_runtime::inspect::{self, WaitsFor, blocked};

/// Where a job was sent, if at once, and whether that worker was awake.
pub type Admitted = (Option<Placed>, bool);

/// What came of a try.
enum Tried {
    In(Option<Placed>),
    /// There is no room: the job is still the caller's.
    Full,
    Never(Error),
}

/// For a dump of who waits to get in.
fn room() -> WaitsFor {
    WaitsFor::other("room in the queue of a process pool")
}

/// Whether the pool takes jobs.
fn knock(state: &State) -> Result<(), Error> {
    if let Some(failure) = &state.broken {
        return Err(Error::Broken(failure.clone()));
    }
    match state.phase {
        Phase::Open => Ok(()),
        Phase::Draining | Phase::Closed => Err(Error::ShutDown),
    }
}

/// Takes a job in if the pool takes jobs and there is room, all under one lock.
#[inline]
fn admit<'s>(
    shared: &'s Shared,
    mut state: MutexGuard<'s, State>,
    job: &mut Option<Job>,
    quiet: bool,
) -> (MutexGuard<'s, State>, Tried) {
    let open = knock(&state);
    if weakened(Weakening::AdmitUnderNextLock) {
        drop(state);
        state = shared.lock();
    }
    let tried = match open {
        Ok(()) => enter(shared, &mut state, job, quiet),
        Err(error) => Tried::Never(error),
    };
    (state, tried)
}

/// Takes a job in if there is room.
#[inline]
fn enter(shared: &Shared, state: &mut State, job: &mut Option<Job>, quiet: bool) -> Tried {
    let Some(job) = job.take_if(|job| !state.must_queue() || state.has_room(job)) else {
        return Tried::Full;
    };
    let lone = shared.lone.note(quiet && state.outstanding == 0);
    let placed = state.accept(job, quiet, lone);
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
    pub fn accept(&self, job: Job, quiet: bool, wait: bool) -> Result<Admitted, Error> {
        let mut job = Some(job);
        let mut state = self.lock();
        loop {
            let tried;
            (state, tried) = admit(self, state, &mut job, quiet);
            match tried {
                Tried::In(placed) => return Ok(self.after_admission(state, placed)),
                Tried::Never(error) => return Err(error),
                Tried::Full if !wait => return Err(Error::Full),
                Tried::Full => {}
            }
            drop(state);
            forbid_blocking("`submit` to a full pool", "`submit_async(..).await`");
            state = self.lock();
            let has_room = |job: &Job| !state.must_queue() || state.has_room(job);
            if state.phase == Phase::Open && !job.as_ref().is_some_and(has_room) {
                let _told = blocked::until(vec![room()]);
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
        if let Some(limit) = self.options.watchdog {
            state.plan_watch(limit);
        }
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
    pub fn drain(&self, deadline: Option<Instant>) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Draining;
        }
        if let Some(deadline) = deadline {
            state.deadline = Some(deadline);
        }
        drop(state);
        self.ring_supervisor();
        if !weakened(Weakening::CloseUntold) {
            self.tell_of_change();
        }
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
        assert!(self.job.is_some(), "not polled after it was ready");
        let (mut state, tried) = admit(&shared, shared.lock(), &mut self.job, true);
        match tried {
            Tried::In(placed) => {
                if let Some(place) = self.place.take() {
                    state.room.leave(place);
                }
                Poll::Ready(Ok(shared.after_admission(state, placed)))
            }
            Tried::Never(error) => Poll::Ready(Err(error)),
            Tried::Full => {
                self.place = Some(state.room.wait(self.place, context.waker()));
                inspect::note(room);
                Poll::Pending
            }
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && self.shared.lock().room.give_up(place)
        {
            // It had been called, so whoever is next can have its room.
            self.shared.tell_of_change();
        }
    }
}
