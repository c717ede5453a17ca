//! Whether a receiver lets a sender on another thread get ahead before it looks.
//!
//! Two threads that pass items one by one through a lock, and a wake-up for each,
//! pay for a handful of cache lines that cross between cores every time: 160 ns an
//! item, where a sender left alone needs 25. A receiver that is faster than the
//! sender makes it so: it has always just emptied the channel. So while items come
//! faster than that, it gives the sender half a microsecond before it takes the lock,
//! and finds a batch. An interrupt controller that "coalesces" does the same.
//!
//! It is wasted where the sender is slow, or on the same core, and only success
//! tells: after a pause that brought few, twice as many looks go without one. As the
//! loop's own look for more wakes (`event_loop/sleeper.rs`).
//!
//! Read before: `receiver.rs`.

use std::time::Instant;

use crate::limits::{RECEIVE_BEHIND_BATCH, RECEIVE_PAUSE, RECEIVE_PAUSE_BATCH, RECEIVE_PAUSE_SKIP};
use crate::switch::IN_MODEL;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Patience {
    /// Whether it may pause at all.
    able: bool,
    /// How many looks still go without a pause, and how many went so the last time.
    skip: u32,
    skipped: u32,
    /// The last batch was large by itself: the receiver is the slower one.
    behind: bool,
}

impl Patience {
    /// For a receiver that takes batches which other threads send, or for another one,
    /// which never pauses.
    pub(super) fn new(able: bool) -> Patience {
        Patience {
            able: able && !IN_MODEL,
            skip: 0,
            skipped: 0,
            behind: false,
        }
    }

    /// Before a look at the channel: pauses if that has paid lately, and says so.
    #[inline]
    pub(super) fn pause(&mut self) -> bool {
        if !self.able || self.behind || self.skip > 0 {
            self.skip = self.skip.saturating_sub(1);
            return false;
        }
        pause();
        true
    }

    /// After a look at the channel that brought `batch` items.
    #[inline]
    pub(super) fn learn(&mut self, paused: bool, batch: usize) {
        self.behind = batch >= RECEIVE_BEHIND_BATCH;
        if paused {
            self.skipped = match batch >= RECEIVE_PAUSE_BATCH {
                true => 0,
                false => (2 * self.skipped + 1).min(RECEIVE_PAUSE_SKIP),
            };
            self.skip = self.skipped;
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
    }

    #[test]
    fn after_failures_it_pauses_ever_more_rarely_but_tries_again() {
        let mut patience = Patience::new(true);
        // After 1, 3, 7, … 255 looks without.
        assert_eq!(
            pauses(&mut patience, 10_000, 1),
            8 + (10_000 - 511) / 256 + 1
        );
        // One success, and it trusts again.
        let skipped = patience.skip;
        assert_eq!(pauses(&mut patience, skipped + 10, 20), 10);
    }

    #[test]
    fn a_receiver_that_is_behind_never_pauses() {
        let mut patience = Patience::new(true);
        assert_eq!(pauses(&mut patience, 100, RECEIVE_BEHIND_BATCH), 1);
    }
}
