//! One thread's bed: it parks here, anybody wakes it.
//!
//! Read after this: `sleep.rs`, which decides who parks and who is woken.
//! Rejected: `std::thread::park`, whose token belongs to the thread. A user's
//! own `unpark` would end our waits, and our wake-ups theirs.

use std::task::Wake;
use std::time::Instant;

use crate::switch::atomic::{AtomicU32, Ordering};
use crate::switch::{Condvar, Mutex};
use threeply_runtime::trace::{Kind, emit};

/// Neither parked nor woken.
const EMPTY: u32 = 0;
/// The owner is, or is about to be, in the condition variable.
const PARKED: u32 = 1;
/// A wake-up that the owner hasn't consumed.
const TOKEN: u32 = 2;

/// Where one thread sleeps, with room for one token.
///
/// ```text
///           1 park                     2 unpark
///   EMPTY ----------> PARKED ---------------------> TOKEN
///     |                  \__________ 4 park ________/ |
///     |                         (consumes: EMPTY)     |
///     \------------------ 3 unpark ------------------>/
/// ```
/// The token makes "look, then park" safe: a wake-up after the look is kept (3)
/// and the park returns at once (4). Any park may return without reason, so
/// callers loop.
#[derive(Debug)]
pub struct Parker {
    state: AtomicU32,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Default for Parker {
    fn default() -> Self {
        Self::new()
    }
}

impl Parker {
    /// A parker without a token.
    pub fn new() -> Self {
        Self {
            state: AtomicU32::new(EMPTY),
            lock: Mutex::new(()),
            bell: Condvar::new(),
        }
    }

    /// Sleeps until there is a token, and consumes it. Only the owner calls this.
    pub fn park(&self) {
        // Acquire: pairs with the swap of `unpark`; what the waker did before is
        // visible after.
        if self.take_token() {
            return;
        }
        let mut guard = self.lock.lock().unwrap();
        if self
            .state
            .compare_exchange(EMPTY, PARKED, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            self.state.swap(EMPTY, Ordering::Acquire); // as above
            return;
        }
        self.falls_asleep();
        loop {
            guard = self.bell.wait(guard).unwrap();
            if self.take_token() {
                return self.wakes_up();
            }
        }
    }

    fn falls_asleep(&self) {
        emit(Kind::ThreadPark, line!(), self.address(), 0);
    }

    fn wakes_up(&self) {
        emit(Kind::ThreadParkEnd, line!(), self.address(), 0);
    }

    /// What a trace knows it by.
    fn address(&self) -> u64 {
        std::ptr::from_ref(self).addr() as u64
    }

    /// [`park`](Self::park) until `deadline` at the latest; was there a token?
    pub fn park_until(&self, deadline: Instant) -> bool {
        if self.take_token() {
            return true;
        }
        let mut guard = self.lock.lock().unwrap();
        if self
            .state
            .compare_exchange(EMPTY, PARKED, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            self.state.swap(EMPTY, Ordering::Acquire); // as in `park`
            return true;
        }
        self.falls_asleep();
        let woken = loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                // Acquire: as in `park`, if the token came just now.
                break self.state.swap(EMPTY, Ordering::Acquire) == TOKEN;
            }
            guard = self.bell.wait_timeout(guard, left).unwrap().0;
            if self.take_token() {
                break true;
            }
        };
        self.wakes_up();
        woken
    }

    /// Leaves a token and wakes the owner if it sleeps. The only system call is
    /// the wake-up of a sleeper.
    pub fn unpark(&self) {
        // Release: pairs with the Acquire of whoever consumes the token.
        if self.state.swap(TOKEN, Ordering::Release) == PARKED {
            emit(Kind::Unpark, line!(), self.address(), 0);
            // The owner changes to PARKED under the lock and gives the lock up
            // only by waiting: after this it can't miss the bell.
            drop(self.lock.lock().unwrap());
            self.bell.notify_one();
        }
    }

    /// Consumes the token, if there is one.
    pub fn take_token(&self) -> bool {
        self.state
            .compare_exchange(TOKEN, EMPTY, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

/// A parker as a `Waker`: how a thread waits for a job's completion.
#[derive(Debug, Default)]
pub struct ThreadWaker {
    /// Where the thread sleeps.
    pub parker: Parker,
}

impl Wake for ThreadWaker {
    fn wake(self: std::sync::Arc<Self>) {
        self.parker.unpark();
    }

    fn wake_by_ref(self: &std::sync::Arc<Self>) {
        self.parker.unpark();
    }
}
