//! How code on a thread finds the loop that runs there.
//!
//! `spawn`, `sleep` and I/O take no handle: they look here. So does every wake,
//! to learn whether it happens on the thread of the task's own loop, which is
//! the cheap case.
//!
//! The thread-local is initialized by a constant and has no destructor. It
//! therefore costs one move relative to the thread pointer, and it still works
//! while other thread-locals are being destroyed, when wakers may well be called.

#![allow(unsafe_code)] // One pointer to the loop that runs, see `Entered`.

use std::cell::Cell;
use std::ptr;
use std::rc::Rc;

use crate::error::Error;
use crate::event_loop::Core;

struct Here {
    /// Null, or the core of the loop that runs on this thread (invariant of
    /// [`Entered`]).
    core: Cell<*const Core>,
    /// Its id, or [`NO_LOOP`]: what a wake compares with the id in the waker.
    loop_id: Cell<u32>,
}

/// No id of a loop, not even of that of no waker, which is 0.
const NO_LOOP: u32 = u32::MAX;

thread_local! {
    static HERE: Here = const {
        Here { core: Cell::new(ptr::null()), loop_id: Cell::new(NO_LOOP) }
    };
}

/// While this lives, its core is the current one of the thread. Guards nest like
/// scopes: dropping one makes the loop current again that was so before.
///
/// Invariant: `HERE.core` is null, and `loop_id` NO_LOOP, or it points into the `Rc`
/// of an `Entered` that is alive, and `loop_id` is the id of that loop. `enter` sets both
/// at once; `drop` puts the former pointer back before the `Rc` goes, and what it puts
/// back belongs to an outer guard, which is still alive because guards are only made as
/// local variables of this crate, dropped in the reverse order.
pub(crate) struct Entered {
    core: Rc<Core>,
    outer: *const Core,
}

impl Entered {
    pub(crate) fn enter(core: &Rc<Core>) -> Entered {
        HERE.with(|here| {
            let outer = here.core.replace(Rc::as_ptr(core));
            here.loop_id.set(core.loop_id().into());
            Entered {
                core: core.clone(),
                outer,
            }
        })
    }

    pub(crate) fn core(&self) -> &Rc<Core> {
        &self.core
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        HERE.with(|here| {
            here.core.set(self.outer);
            // SAFETY: the invariant of `Entered`: null, or alive.
            let outer = unsafe { self.outer.as_ref() };
            here.loop_id
                .set(outer.map_or(NO_LOOP, |core| core.loop_id().into()));
        });
    }
}

/// Runs `f` with the core of the loop that runs on this thread, if one does.
#[inline]
pub fn try_with<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    let core = HERE.with(|here| here.core.get());
    // SAFETY: the invariant of `Entered`. The reference lives as long as this
    // call, within which every guard that `f` makes is dropped again.
    unsafe { core.as_ref() }.map(f)
}

/// Runs `f` with the core of the loop that runs on this thread.
///
/// # Panics
/// Outside of a loop, with advice; `what` is the caller's name, in backquotes.
#[inline]
#[track_caller]
pub fn with_named<R>(what: &str, f: impl FnOnce(&Core) -> R) -> R {
    match try_with(f) {
        Some(result) => result,
        None => outside(what),
    }
}

/// Runs `f` with the core of the loop that runs on this thread.
///
/// # Panics
/// Outside of a loop, with advice.
#[inline]
#[track_caller]
pub fn with<R>(f: impl FnOnce(&Core) -> R) -> R {
    with_named("this function", f)
}

#[cold]
#[track_caller]
fn outside(what: &str) -> ! {
    panic!(
        "{what} needs an event loop, and none runs on this thread: call it inside \
         `threeply_runtime::block_on`, or go through a `Handle` of a loop"
    )
}

/// The word in the waker of the task that runs on this thread, or 0: how locks
/// remember their holders, for a dump.
#[inline]
pub(crate) fn current_word() -> usize {
    try_with(Core::current_word).unwrap_or(0)
}

/// Whether a loop runs on this thread, so that blocking it would block every
/// task on it.
#[inline]
#[must_use]
pub fn is_on_a_loop() -> bool {
    HERE.with(|here| !here.core.get().is_null())
}

/// Runs `f` with the core of loop `id`, if that loop runs on this thread.
#[inline(always)]
pub(crate) fn with_loop<R>(id: u16, f: impl FnOnce(&Core) -> R) -> Option<R> {
    HERE.with(|here| {
        if here.loop_id.get() != u32::from(id) {
            return None;
        }
        // SAFETY: the invariant of `Entered`: an id is there, so a loop is, and the
        // pointer isn't null.
        Some(f(unsafe { &*here.core.get() }))
    })
}

/// Panics with advice if a loop runs on this thread: `what` would block it, and
/// the author wants `instead`.
///
/// # Panics
/// On the thread of a loop that runs.
#[track_caller]
pub fn forbid_blocking(what: &str, instead: &str) {
    if is_on_a_loop() {
        panic!(
            "{what} would block the event loop that runs on this thread, and with it every task \
             there, perhaps the very one that is waited for: use {instead} instead"
        );
    }
}

/// [`EventLoop::prepare`](crate::EventLoop::prepare) of the loop that runs on this thread.
///
/// # Errors
/// [`Error::NoLoop`]; [`Error::Os`] if the system refuses what it needs to sleep.
pub fn prepare() -> Result<(), Error> {
    try_with(Core::prepare).ok_or(Error::NoLoop)?
}

/// `Err` where [`with`] would panic.
///
/// # Errors
/// [`Error::NoLoop`].
pub fn check() -> Result<(), Error> {
    if is_on_a_loop() {
        Ok(())
    } else {
        Err(Error::NoLoop)
    }
}
