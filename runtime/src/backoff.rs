//! Whether to try what pays only sometimes: a moment's patience before a sleep
//! (`event_loop/sleeper.rs`), or before a look at a channel (`sync/mpsc/patience.rs`).
//!
//! Only success tells whether it pays. After a failure one chance is passed over, after
//! the next three, then seven, up to [`BACKOFF_MAX`]; after a success none. So it costs
//! next to nothing where it is useless, and is found again where it becomes useful.

use crate::limits::BACKOFF_MAX;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// How many chances are still passed over, and how many were the last time.
    skip: u32,
    skipped: u32,
}

impl Backoff {
    /// Here is a chance: is it to be taken? Whoever does says how it
    /// [ended](Self::learn).
    #[inline]
    pub(crate) fn tries_now(&mut self) -> bool {
        let now = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        now
    }

    /// Whether the chance that was taken has paid.
    #[inline]
    pub(crate) fn learn(&mut self, paid: bool) {
        self.skipped = match paid {
            true => 0,
            false => (2 * self.skipped + 1).min(BACKOFF_MAX),
        };
        self.skip = self.skipped;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `chances` are taken, each of which pays or doesn't.
    fn taken(backoff: &mut Backoff, chances: u32, paid: bool) -> u32 {
        let taken = (0..chances).filter(|_| {
            let now = backoff.tries_now();
            if now {
                backoff.learn(paid);
            }
            now
        });
        taken.count() as u32
    }

    #[test]
    fn what_pays_is_tried_each_time() {
        assert_eq!(taken(&mut Backoff::default(), 100, true), 100);
    }

    #[test]
    fn what_fails_is_tried_ever_more_rarely_but_again() {
        let mut backoff = Backoff::default();
        // After 1, 3, 7, … 255 chances without.
        assert_eq!(
            taken(&mut backoff, 10_000, false),
            8 + (10_000 - 511) / 256 + 1
        );
        // One success, and it is trusted again.
        let skip = backoff.skip;
        assert_eq!(taken(&mut backoff, skip + 10, true), 10);
    }
}
