//! Whether a receiver lets a sender on another thread get ahead before it looks.
//!
//! Two threads that pass items one by one through a lock, and a wake-up for each,
//! pay for a handful of cache lines that cross between cores every time. A receiver that is faster than the
//! sender makes it so: it has always just emptied the channel. So while items come
//! faster than that, it gives the sender half a microsecond before it takes the lock,
//! and finds a batch. An interrupt controller that "coalesces" does the same.
//!
//! It is wasted where the sender is slow, or on the same core, and only success
//! tells (`backoff.rs`).
//!
//! Read before: `receiver.rs`.

use std::time::Instant;

use crate::backoff::Backoff;
use crate::limits::{RECEIVE_BEHIND_BATCH, RECEIVE_PAUSE, RECEIVE_PAUSE_BATCH};
use crate::switch::IN_MODEL;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Patience {
    /// Whether it may pause at all.
    able: bool,
    /// Whether it has paid lately.
    backoff: Backoff,
    /// The last batch was large by itself: the receiver is the slower one.
    behind: bool,
}

impl Patience {
    /// For a receiver that takes batches which other threads send, or for another one,
    /// which never pauses.
    pub(super) fn new(able: bool) -> Patience {
        Patience {
            able: able && !IN_MODEL,
            backoff: Backoff::default(),
            behind: false,
        }
    }

    /// Before a look at the channel: pauses if that has paid lately, and says so.
    #[inline]
    pub(super) fn pause(&mut self) -> bool {
        let pauses = self.able && self.backoff.tries_now() && !self.behind;
        if pauses {
            pause();
        }
        pauses
    }

    /// After a look at the channel that brought `batch` items.
    #[inline]
    pub(super) fn learn(&mut self, paused: bool, batch: usize) {
        self.behind = batch >= RECEIVE_BEHIND_BATCH;
        if paused {
            self.backoff.learn(batch >= RECEIVE_PAUSE_BATCH);
        }
    }
}

#[inline(never)]
fn pause() {
    let began = Instant::now();
    while began.elapsed() < RECEIVE_PAUSE {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks of `looks` paused, each of which brings `batch` items.
    fn pauses(patience: &mut Patience, looks: u32, batch: usize) -> u32 {
        let pauses = (0..looks).filter(|_| {
            let paused = patience.pause();
            patience.learn(paused, batch);
            paused
        });
        pauses.count() as u32
    }

    #[test]
    fn it_pauses_as_long_as_that_brings_batches() {
        let mut patience = Patience::new(true);
        assert_eq!(pauses(&mut patience, 100, RECEIVE_PAUSE_BATCH), 100);
        assert!(pauses(&mut patience, 100, RECEIVE_PAUSE_BATCH - 1) < 10);
    }

    #[test]
    fn a_receiver_that_is_behind_never_pauses() {
        let mut patience = Patience::new(true);
        assert_eq!(pauses(&mut patience, 100, RECEIVE_BEHIND_BATCH), 1);
    }

    #[test]
    fn one_that_takes_no_batches_never_pauses() {
        assert_eq!(pauses(&mut Patience::new(false), 100, 0), 0);
    }
}
