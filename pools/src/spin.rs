//! Looking for a while before sleeping, for as long as that pays off.
//!
//! A processor that sleeps needs tens of microseconds to wake; a thread that looks
//! sees a word change in a fraction of one. But a thread that looks in vain wastes
//! its time, and on a shared processor it also keeps out the very thread that it
//! waits for. So:
//!
//! 1. after a moment of plain looking, it yields the processor between looks; the
//!    moment is very short if the other side was last seen on this very processor;
//! 2. each look in vain makes it skip the next ones, twice as many each time, and
//!    each success forgives.
//!
//! Both pools wait so: `thread/handle.rs` for a job's end, the process pool for requests
//! and replies. Whether the other side is quick enough to be worth it at all is measured
//! elsewhere there: its `state` knows the callers' think time and the jobs' length.

use crate::switch::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Looks before each yield if the other side was last seen on this very processor, for
/// which it may be waiting: 64 of them made a round trip cost 10 µs, 4 make it 4.
const PLAIN_TOGETHER: u32 = 4;

/// Looks before each yield if it was last seen on another one: some 2 µs. A yield is a
/// system call, and what comes meanwhile is seen late.
const PLAIN_APART: u32 = 64;

/// At most so many looks are skipped after failures in a row.
const SKIP_MAX: u32 = 256;

/// The memory of one who looks. Relaxed throughout: a lost update costs a look.
#[derive(Debug, Default)]
pub struct Spin {
    skip: AtomicU32,
    penalty: AtomicU32,
}

impl Spin {
    /// Looks until `ready`, for at most `limit`, unless that has failed lately. The
    /// other side was last seen on processor `other`; where we are now is stored in
    /// `own`, for its sake, if it looks as well.
    #[inline]
    pub fn look(
        &self,
        limit: Duration,
        own: Option<&AtomicU32>,
        other: &AtomicU32,
        mut ready: impl FnMut() -> bool,
    ) -> bool {
        let skip = self.skip.load(Ordering::Relaxed);
        if skip > 0 {
            self.skip.store(skip - 1, Ordering::Relaxed);
            return ready();
        }
        let mut since = None;
        loop {
            let here = processor();
            if let Some(own) = own {
                own.store(here, Ordering::Relaxed);
            }
            let together = here == other.load(Ordering::Relaxed);
            let plain = if together {
                PLAIN_TOGETHER
            } else {
                PLAIN_APART
            };
            for _ in 0..plain {
                if ready() {
                    self.penalty.store(0, Ordering::Relaxed);
                    return true;
                }
                std::hint::spin_loop();
            }
            if since.get_or_insert_with(Instant::now).elapsed() >= limit {
                break;
            }
            std::thread::yield_now();
        }
        let penalty = (2 * self.penalty.load(Ordering::Relaxed)).clamp(1, SKIP_MAX);
        self.penalty.store(penalty, Ordering::Relaxed);
        self.skip.store(penalty, Ordering::Relaxed);
        false
    }
}

/// The processor that this thread runs on; a guess is fine.
#[inline]
pub fn processor() -> u32 {
    nix::sched::sched_getcpu().map_or(0, |number| number as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Spin {
        fn look_for(&self, limit: Duration, ready: impl FnMut() -> bool) -> bool {
            self.look(limit, None, &AtomicU32::new(u32::MAX), ready)
        }
    }

    #[test]
    fn failures_make_it_skip_and_success_forgives() {
        let spin = Spin::default();
        let mut looks = 0;
        let limit = Duration::from_micros(1);
        assert!(!spin.look_for(limit, || false));
        assert!(!spin.look_for(limit, || {
            looks += 1;
            false
        }));
        assert_eq!(looks, 1, "skipped");
        assert!(!spin.look_for(limit, || false));
        assert!(spin.skip.load(Ordering::Relaxed) > 1, "the penalty grows");
        spin.skip.store(0, Ordering::Relaxed);
        assert!(spin.look_for(limit, || true));
        assert_eq!(spin.penalty.load(Ordering::Relaxed), 0);
    }
}
