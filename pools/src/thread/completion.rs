//! The life of a job that somebody may wait for, cancel or forget: one state word
//! and the two cells it guards.
//!
//! After this: `job.rs`, which allocates it, and `handle.rs`, its public face.
#![allow(unsafe_code)] // Two cells whose owner the state word tells.

use std::task::{Context, Poll, Waker};

use crate::error::JobError;
use crate::spin::processor;
use crate::switch::atomic::{AtomicU32, Ordering};
use crate::switch::{Mutex, UnsafeCell, Weakening, weakened};

/// Somebody has the right to run or to cancel the job.
const CLAIMED: u32 = 1;
/// The result is there.
const COMPLETE: u32 = 2;
/// The waker is there, for whoever completes.
const WAKER: u32 = 4;
/// There are callbacks.
const CALLBACKS: u32 = 8;
/// The handle was dropped.
const HANDLE_GONE: u32 = 16;
/// The reference in the pool's queues was used up.
const QUEUE_GONE: u32 = 32;

/// How a job ended, as its callbacks are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Finished,
    /// It panicked.
    Panicked,
    /// It was cancelled, or the pool was shut down before it started.
    Cancelled,
}

/// A done callback.
pub type Callback = Box<dyn FnOnce(Outcome) + Send>;

/// One job's result on its way from whoever runs it to whoever holds the handle.
///
/// ```text
///                1 claim                  2 complete
///   WAITING -----------------> CLAIMED ----------------> COMPLETE
///      the runner: to run it;  the handle: to cancel it, or to run it in `wait`
///
///   HANDLE_GONE is set by 3 release_handle, QUEUE_GONE by 4 release_queue; who
///   sets the second of the two frees the job.
/// ```
/// Who may touch what:
/// - **K1** `result` is written by the one that claimed, before COMPLETE; after
///   COMPLETE it belongs to the handle; after HANDLE_GONE, to whoever frees.
/// - **K2** `waker` belongs to the handle while WAKER is clear, and to the one
///   that completes from the moment COMPLETE is set while WAKER is.
/// - **K3** A claim is won once: the closure belongs to the winner.
#[derive(Debug)]
pub struct Completion<T> {
    state: AtomicU32,
    /// Which processor it was completed on: a hint for who waits by looking.
    ended_on: AtomicU32,
    waker: UnsafeCell<Option<Waker>>,
    result: UnsafeCell<Option<Result<T, JobError>>>,
    callbacks: Callbacks,
}

/// Behind a box: few jobs have any, and every job pays for the place.
#[allow(clippy::box_collection)]
struct Callbacks(Mutex<Option<Box<Vec<Callback>>>>);

impl std::fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Callbacks")
    }
}

// SAFETY: the cells are handed from thread to thread by the state word (K1, K2),
// with the orderings named at each access.
unsafe impl<T: Send> Sync for Completion<T> {}

impl<T> Default for Completion<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Completion<T> {
    /// Waiting, with a handle and a reference in a queue.
    pub fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            ended_on: AtomicU32::new(u32::MAX),
            waker: UnsafeCell::new(None),
            result: UnsafeCell::new(None),
            callbacks: Callbacks(Mutex::new(None)),
        }
    }

    // ---- both sides ----

    /// 1: wins the right to run or cancel the job, once.
    pub fn claim(&self) -> bool {
        if weakened(Weakening::SplitClaim) {
            let state = self.state.load(Ordering::Acquire);
            self.state.store(state | CLAIMED, Ordering::Release);
            return state & CLAIMED == 0;
        }
        // AcqRel: the winner reads the closure that the spawner wrote; the loser
        // has nothing to read. Release so that the order of claims is one chain.
        self.state.fetch_or(CLAIMED, Ordering::AcqRel) & CLAIMED == 0
    }

    /// 2: stores the result, wakes who waits, runs the callbacks. Only whoever
    /// claimed may call this, once.
    pub fn complete(&self, result: Result<T, JobError>) {
        let outcome = match &result {
            Ok(_) => Outcome::Finished,
            Err(JobError::Panicked(_)) => Outcome::Panicked,
            Err(_) => Outcome::Cancelled,
        };
        // SAFETY: K1: we claimed, and COMPLETE is not set.
        self.result.with_mut(|slot| unsafe { *slot = Some(result) });
        self.ended_on.store(processor(), Ordering::Relaxed);
        // Release: publishes the result to the Acquire of `try_take`, `poll` and
        // the releases. Acquire: makes the waker visible that `poll` published.
        let state = self.state.fetch_or(COMPLETE, Ordering::AcqRel);
        if state & WAKER != 0 && !weakened(Weakening::SkipWakerCheck) {
            // SAFETY: K2: both bits are set.
            let waker = self.waker.with_mut(|waker| unsafe { (*waker).take() });
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        if state & CALLBACKS != 0 {
            self.run_callbacks(outcome);
        }
    }

    fn run_callbacks(&self, outcome: Outcome) {
        let callbacks = self.callbacks.0.lock().unwrap().take();
        for callback in callbacks.into_iter().flat_map(|callbacks| *callbacks) {
            // A callback's panic is its own: the job has ended already.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(outcome)));
        }
    }

    // ---- the runner's side ----

    /// 1 by whoever took the job out of a queue: as [`claim`](Self::claim), but
    /// for nothing if the handle is gone, since then nobody else can claim.
    pub fn claim_from_queue(&self) -> bool {
        // Acquire: pairs with `release_handle`.
        if self.state.load(Ordering::Acquire) == HANDLE_GONE {
            return true;
        }
        self.claim()
    }

    /// 2 and 4 by the runner: true if it must free the job; then `result` comes
    /// back if nobody was told of it.
    pub fn finish_run(&self, result: Result<T, JobError>) -> (bool, Option<JobError>) {
        if self.state.load(Ordering::Acquire) & HANDLE_GONE != 0 {
            // Nobody waits and nobody will. (No waker: the handle took it along.)
            let state = self.state.load(Ordering::Relaxed);
            let error = match result {
                Ok(value) => {
                    drop(value);
                    None
                }
                Err(error) => Some(error),
            };
            if state & CALLBACKS != 0 {
                self.run_callbacks(match &error {
                    None => Outcome::Finished,
                    Some(_) => Outcome::Panicked,
                });
            }
            return (true, error);
        }
        self.complete(result);
        (self.release_queue(), None)
    }

    /// 4: true if the caller must free the job.
    pub fn release_queue(&self) -> bool {
        // AcqRel: the two sides' last accesses happen before the free.
        self.state.fetch_or(QUEUE_GONE, Ordering::AcqRel) & HANDLE_GONE != 0
    }

    // ---- the handle's side: one thread at a time, as `&mut` says ----

    /// Has the result come?
    pub fn is_complete(&self) -> bool {
        self.state.load(Ordering::Acquire) & COMPLETE != 0
    }

    /// The processor it was completed on, once it is.
    pub fn ended_on(&self) -> u32 {
        self.ended_on.load(Ordering::Relaxed)
    }

    /// Has it begun, or been cancelled?
    pub fn is_claimed(&self) -> bool {
        // Relaxed: for dumps, and orders nothing.
        self.state.load(Ordering::Relaxed) & CLAIMED != 0
    }

    /// Takes the result, if it has come and wasn't taken.
    pub fn try_take(&self) -> Option<Result<T, JobError>> {
        if !self.is_complete() {
            return None;
        }
        // SAFETY: K1: COMPLETE is set (Acquire), and the handle is ours.
        self.result.with_mut(|slot| unsafe { (*slot).take() })
    }

    /// Takes the result, or leaves a waker.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JobError>>> {
        let state = self.state.load(Ordering::Acquire);
        if state & COMPLETE != 0 {
            return Poll::Ready(self.try_take());
        }
        if state & WAKER != 0 {
            // SAFETY: K2: nobody changes the cell while WAKER is set and COMPLETE
            // isn't; the completer takes only after setting COMPLETE, and a
            // shared read beside that is what the next line rules out.
            if self.withdraw_waker().is_none() {
                return Poll::Ready(self.try_take());
            }
        }
        // SAFETY: K2: WAKER is clear.
        self.waker
            .with_mut(|waker| unsafe { *waker = Some(cx.waker().clone()) });
        // Release: publishes the waker to `complete`. Acquire: and if that was
        // faster, the result to us.
        let state = self.state.fetch_or(WAKER, Ordering::AcqRel);
        if state & COMPLETE == 0 {
            return Poll::Pending;
        }
        // Completed between the two: `complete` saw no waker, so it is ours.
        // SAFETY: K2: COMPLETE was set while WAKER was clear.
        self.waker.with_mut(|waker| unsafe { *waker = None });
        Poll::Ready(self.try_take())
    }

    /// Takes the waker back; `None` if the job has completed meanwhile and its
    /// completer has the waker.
    fn withdraw_waker(&self) -> Option<Option<Waker>> {
        let state = self.state.fetch_and(!WAKER, Ordering::AcqRel);
        if state & COMPLETE != 0 {
            return None;
        }
        if state & WAKER == 0 {
            return Some(None);
        }
        // SAFETY: K2: WAKER is clear again, and was before COMPLETE.
        Some(self.waker.with_mut(|waker| unsafe { (*waker).take() }))
    }

    /// Leaves the waiting: what was left to be woken is dropped.
    pub fn forget_waker(&self) {
        if self.state.load(Ordering::Relaxed) & (WAKER | COMPLETE) == WAKER {
            drop(self.withdraw_waker());
        }
    }

    /// Runs `callback` once the job has ended: on the thread that ends it, or
    /// here and now if it has ended.
    pub fn on_done(&self, callback: Callback) {
        self.callbacks
            .0
            .lock()
            .unwrap()
            .get_or_insert_default()
            .push(callback);
        // AcqRel: `complete` either sees the bit or is seen by us; if both, the
        // lock lets one of the two take the callback.
        let state = self.state.fetch_or(CALLBACKS, Ordering::AcqRel);
        if state & COMPLETE != 0 {
            // SAFETY: K1: COMPLETE is set, and the handle is ours.
            let outcome = self.result.with(|slot| match unsafe { &*slot } {
                Some(Ok(_)) | None => Outcome::Finished,
                Some(Err(JobError::Panicked(_))) => Outcome::Panicked,
                Some(Err(_)) => Outcome::Cancelled,
            });
            self.run_callbacks(outcome);
        }
    }

    /// 3: true if the caller must free the job.
    pub fn release_handle(&self) -> bool {
        self.forget_waker();
        // AcqRel: as in `release_queue`.
        self.state.fetch_or(HANDLE_GONE, Ordering::AcqRel) & QUEUE_GONE != 0
    }
}
