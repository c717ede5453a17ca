//! What all parties of a pool in this process share: the state under its lock, and
//! the ways to tell each other of a change.
//!
//! Read before this: [`super::state`]. Read after it: [`super::admission`], then [`super::pump`].

use crate::process::arena::Arena;
use crate::process::builder::Options;
use crate::process::callbacks::Callbacks;
use crate::process::cell::Outcome;
use crate::process::error::{Error, JobError};
use crate::process::job::Target;
use crate::process::limits;
use crate::process::link::Link;
use crate::process::oom::OomCounter;
use crate::process::output::reader::Outputs;
use crate::process::page::{Line, RingBytes, SharedFile};
use crate::process::ring::Writer;
use crate::process::start::Begun;
use crate::process::state::{Delivery, Phase, State};
use crate::process::stay::Lone;
use crate::process::terms::Terms;
use crate::switch::{Condvar, Mutex, MutexGuard};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Instant;
use threeply_runtime::sys::eventfd::EventFd;

/// What all parties of a pool in this process share.
#[derive(Debug)]
pub struct Shared {
    /// On a line of its own, since each handle counts its references to this beside it.
    pub(crate) state: Line<Mutex<State>>,
    /// Told when the queue has room, when all is done, and when all workers are gone.
    pub(crate) changed: Condvar,
    /// Who submits.
    pub(crate) lone: Lone,
    pub(crate) arguments: Arc<Arena>,
    pub(crate) arguments_file: SharedFile,
    /// Wakes the supervisor.
    pub supervisor_bell: Arc<EventFd>,
    /// Reads what workers write.
    pub(crate) outputs: Outputs,
    /// The terms of jobs that come without any of their own.
    pub(crate) terms: Option<Arc<Terms>>,
    pub(crate) oom: OomCounter,
    /// Where callbacks of users run.
    pub(crate) callbacks: Callbacks,
    /// Whether the supervisor has a thread of its own.
    pub(crate) guarded: AtomicBool,
    pub(crate) options: Options,
    /// This very thing, for threads that it starts.
    me: Weak<Shared>,
}

impl Shared {
    /// A pool that has no worker yet.
    ///
    /// # Errors
    /// [`Error::Resources`]
    pub fn new(options: Options) -> Result<Arc<Shared>, Error> {
        let need = |what| move |source| Error::Resources { what, source };
        let arguments_file = SharedFile::new(c"threeply-arguments", limits::PAGE, limits::ARENA)
            .map_err(need("no memory file for arguments"))?;
        let mapping = arguments_file
            .map(true)
            .map_err(need("no address space for arguments"))?;
        let supervisor_bell = Arc::new(EventFd::new().map_err(need("no eventfd"))?);
        let outputs = if options.stdout.is_read() || options.stderr.is_read() {
            Outputs::new().map_err(need("no eventfd for what workers write"))?
        } else {
            Outputs::none()
        };
        Ok(Arc::new_cyclic(|me| Shared {
            lone: Lone::default(),
            state: Line(Mutex::new(State::new(
                &options,
                Arc::clone(&supervisor_bell),
            ))),
            outputs,
            terms: options.terms.clone().shared(),
            changed: Condvar::new(),
            arguments: Arc::new(Arena::new(mapping, 0)),
            arguments_file,
            supervisor_bell,
            oom: OomCounter::default(),
            callbacks: Callbacks::default(),
            guarded: AtomicBool::new(false),
            options,
            me: Weak::clone(me),
        }))
    }

    /// Makes a process that was begun a worker of this pool.
    ///
    /// # Errors
    /// [`Error::Resources`]
    pub(crate) fn equip(&self, begun: Begun) -> Result<(Link, Writer<RingBytes>), Error> {
        begun.equip(
            &self.options,
            &self.arguments_file,
            &self.supervisor_bell,
            &self.outputs,
        )
    }

    /// For a thread that works on behalf of the pool.
    pub fn me(&self) -> Option<Arc<Shared>> {
        self.me.upgrade()
    }

    /// The state, under its lock.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the supervisor has a thread of its own, and so is never far.
    pub fn is_guarded(&self) -> bool {
        // Relaxed: set before the pool is handed out, and never again.
        self.guarded.load(Ordering::Relaxed)
    }

    /// Whether anybody has to be told that something has changed.
    pub fn is_waited_for(&self, state: &State) -> bool {
        state.waiting > 0 || !state.room.is_empty()
    }

    /// Tells those who wait for a change.
    pub fn tell_of_change(&self) {
        let wakers = self.lock().to_be_told();
        self.changed.notify_all();
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// Waits for a change, at most until `deadline`.
    pub fn wait_for_change<'s>(
        &self,
        mut state: MutexGuard<'s, State>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'s, State> {
        state.waiting += 1;
        let mut state = match deadline {
            None => self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
        state.waiting -= 1;
        state
    }

    /// Wakes the supervisor.
    pub fn ring_supervisor(&self) {
        let _ = self.supervisor_bell.notify_undrained();
    }

    /// Takes in a worker that was just started, and sends it the initializer.
    pub fn admit(&self, state: &mut State, link: Arc<Link>, writer: Writer<RingBytes>) {
        let slot = link.slot;
        state.add(Arc::clone(&link), writer, Instant::now());
        if let Some(initializer) = &self.options.initializer {
            let target = Arc::new(Initialized(Arc::clone(&link)));
            match initializer.job(target, &self.arguments) {
                Ok(job) => state.send_first(slot, job),
                Err(error) => link.refuse(format!("the initializer's argument: {error}")),
            }
        }
        if state.is_overstaffed() || state.phase == Phase::Closed {
            // Shrunk, or closed, while it was being started.
            state.retire(&link, Instant::now());
        }
        state.refill(slot);
        // It may have come up and gone to sleep before we came to this.
        link.ring_if_asleep();
    }

    /// Sees to it that what nobody wants any more isn't begun, wherever it stands.
    pub fn drop_unwanted(&self) {
        let mut state = self.lock();
        let recalled = state.recall_unwanted();
        self.send_on(state, recalled);
        self.ring_supervisor(); // It may have been all that a pool was waiting for.
    }

    /// Sends on what was taken back from these, and has their callers look again.
    pub fn send_on(&self, mut state: MutexGuard<'_, State>, recalled: Vec<Arc<Link>>) {
        let refilled = state.refill_all();
        drop(state);
        for link in refilled {
            link.ring_if_asleep();
        }
        for link in recalled {
            link.nudge_caller();
        }
    }

    /// Closes the pool without any patience: kills and reaps the workers, and fails
    /// what they had.
    pub fn end_at_once(&self) {
        let mut deliveries = Vec::new();
        self.lock().phase = Phase::Closed;
        for link in self.links() {
            link.kill();
            let _ = link.wait_for_end();
            self.worker_may_have_ended(&link);
        }
        self.lock()
            .fail_queue(|| JobError::ShutDown, &mut deliveries);
        Delivery::deliver_all(&mut deliveries);
        self.tell_of_change();
    }
}

/// Where an initializer's outcome goes.
struct Initialized(Arc<Link>);

impl Target for Initialized {
    fn deliver(&self, _: usize, outcome: Outcome) {
        if let Err(error) = outcome {
            self.0.refuse(format!("the initializer failed: {error}"));
        }
    }
    fn is_unwanted(&self) -> bool {
        false
    }
    fn is_internal(&self) -> bool {
        true
    }
}
