//! Looking for a while before sleeping, for as long as that pays off.
//!
//! A processor that sleeps needs tens of microseconds to wake; a thread that looks
//! sees a word change in a fraction of one. But a thread that looks in vain wastes
//! its time, and on a shared processor it also keeps out the very thread that it
//! waits for. So:
//!
//! 1. after a moment of plain looking, it yields the processor between looks;
//! 2. each look in vain makes it skip the next ones, twice as many each time, and
//!    each success forgives.
//!
//! Whether the other side is quick enough to be worth it at all is measured
//! elsewhere: [`super::state`] knows the callers' think time and the jobs' length.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Looks before each yield. Few, since the other side may be waiting for this very
/// processor: 64 of them made a round trip on a shared one cost 10 µs, 4 make it 4.
const PLAIN: u32 = 4;

/// At most so many looks are skipped after failures in a row.
const SKIP_MAX: u32 = 256;

/// The memory of one who looks. Relaxed throughout: a lost update costs a look.
#[derive(Debug, Default)]
pub struct Spin {
    skip: AtomicU32,
    penalty: AtomicU32,
}

impl Spin {
    /// Looks until `ready`, for at most `limit`, unless that has failed lately.
    #[inline]
    pub fn look(&self, limit: Duration, mut ready: impl FnMut() -> bool) -> bool {
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
            return ready();
        }
        for _ in 0..PLAIN {
            if ready() {
                self.penalty.store(0, Ordering::Relaxed);
                return true;
            }
            std::hint::spin_loop();
        }
        let since = Instant::now();
        while since.elapsed() < limit {
            for _ in 0..PLAIN {
                if ready() {
                    self.penalty.store(0, Ordering::Relaxed);
                    return true;
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
        }
        let penalty = (2 * self.penalty.load(Ordering::Relaxed)).clamp(1, SKIP_MAX);
        self.penalty.store(penalty, Ordering::Relaxed);
        self.skip.store(penalty, Ordering::Relaxed);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_make_it_skip_and_success_forgives() {
        let spin = Spin::default();
        let mut looks = 0;
        let limit = Duration::from_micros(1);
        assert!(!spin.look(limit, || false));
        assert!(!spin.look(limit, || {
            looks += 1;
            false
        }));
        assert_eq!(looks, 1, "skipped");
        assert!(!spin.look(limit, || false));
        assert!(spin.skip.load(Ordering::Relaxed) > 1, "the penalty grows");
        spin.skip.store(0, Ordering::Relaxed);
        assert!(spin.look(limit, || true));
        assert_eq!(spin.penalty.load(Ordering::Relaxed), 0);
    }
}
