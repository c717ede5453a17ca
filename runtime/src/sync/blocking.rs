//! Waiting for a future with a thread that has nothing else to do: the
//! blocking half of the shared family.
//!
//! The waiter polls, and sleeps until its waker was used:
//!
//! ```text
//!            poll: Pending            woken is false
//!   POLLING ───────────────▶ LOOKING ────────────────▶ ASLEEP
//!      ▲                        │ woken is true           │ wake
//!      └────────────────────────┴─────────────────────────┘
//! ```
//!
//! `woken` is only looked at and changed under its mutex, and falling asleep
//! gives that mutex up in one step, so a wake comes either before the look,
//! which then sees it, or finds the thread asleep. The mutex also makes visible
//! what the waking thread did before.
//!
//! Rejected: `thread::park` with an atomic flag. It is as cheap, but the thread
//! has one token for everybody, and a late unpark of ours would reach whoever
//! parks next.
//!
//! The waker is one allocation a wait. Callers try without waiting first where
//! that is common, so only who really sleeps pays it. While it sleeps the thread stands
//! on the list of those that block ([`crate::inspect::blocked`]).

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use crate::context::forbid_blocking;
use crate::inspect::blocked::{self, Ask};
use crate::inspect::round::Told;
use crate::inspect::{About, SyncKind};
use crate::switch::{Condvar, Mutex, MutexGuard, Weakening, weakened};

#[derive(Default)]
struct Sleeper {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Sleeper {
    #[track_caller] // So that lanes of a model tell who locks.
    fn woken(&self) -> MutexGuard<'_, bool> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps until the next wake, or takes one that came already.
    fn sleep(&self) {
        let mut woken = self.woken();
        if weakened(Weakening::SleeperLooksEarly) && !*woken {
            drop(woken);
            woken = self.woken();
            // It would sleep for ever now, and a model of that can only hang.
            assert!(!*woken, "a thread slept through its wake");
        }
        while !*woken {
            woken = self
                .wake
                .wait(woken)
                .unwrap_or_else(PoisonError::into_inner);
        }
        *woken = false;
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.woken() = true;
        self.wake.notify_one();
    }
}

/// Blocks the thread until `future` is ready.
///
/// `what` and `instead` name the caller and its async twin in the panic's
/// message. `ask` tells a dump what is waited for, while the thread sleeps.
///
/// # Panics
///
/// On the thread of an event loop that runs: nothing on that loop could run
/// meanwhile, least of all the task that this waits for.
pub(crate) fn wait<T>(
    what: &str,
    instead: &str,
    ask: &Ask<'_>,
    future: impl Future<Output = T>,
) -> T {
    forbid_blocking(what, instead);
    let sleeper = Arc::new(Sleeper::default());
    let waker = Waker::from(sleeper.clone());
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        blocked::while_asked(&|| not_behind(&sleeper, ask()), || sleeper.sleep());
    }
}

/// Whoever stands in front waits for those who hold it, and not for itself.
fn not_behind(sleeper: &Arc<Sleeper>, mut told: Told) -> Told {
    if let Told::Sync { about, .. } = &mut told
        && about.ahead == Arc::as_ptr(sleeper).addr()
    {
        about.ahead = 0;
    }
    told
}

/// Says which primitive a thread waits for, and no more: of those whose state holds values
/// that no other thread may look at.
pub(crate) fn only_named<L>(kind: SyncKind, lock: &L) -> impl Fn() -> Told + Sync + use<L> {
    let address = std::ptr::from_ref(lock).addr();
    move || Told::Sync {
        about: About::new(kind),
        address,
    }
}
