//! The clock of a loop: the system's, or a virtual one for tests.
//!
//! A loop counts time in nanoseconds since its own beginning, in a `u64`, which
//! lasts for 584 years; the program sees `std::time::Instant`s.
//!
//! Virtual time stands still while anything can run. When nothing is ready, the
//! loop moves it to the next deadline ([`Clock::advance_to`]), so that a test of
//! an hour's timeouts takes a millisecond and ends the same way each time. The
//! idea is trio's autojump clock.

use std::cell::Cell;
use std::fmt;
use std::time::{Duration, Instant};

/// Tells a loop the time, in nanoseconds since the clock was made.
pub struct Clock {
    /// The moment 0.
    base: Instant,
    /// `None` for the system's clock.
    virtual_ns: Option<Cell<u64>>,
}

impl Clock {
    /// The system's monotonic clock. Reads it once.
    pub fn real() -> Self {
        Clock {
            base: Instant::now(),
            virtual_ns: None,
        }
    }

    /// A virtual clock that stands at 0.
    pub fn virtual_time() -> Self {
        Clock {
            base: Instant::now(),
            virtual_ns: Some(Cell::new(0)),
        }
    }

    /// Whether time is virtual.
    pub fn is_virtual(&self) -> bool {
        self.virtual_ns.is_some()
    }

    /// What time it is. About 25 ns for the real clock.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        match &self.virtual_ns {
            None => self.ns_at(Instant::now()),
            Some(now) => now.get(),
        }
    }

    /// What time it is, for the program.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.virtual_ns {
            None => Instant::now(),
            Some(now) => self.instant_at(now.get()),
        }
    }

    /// Moves a virtual clock forward; never back.
    ///
    /// # Panics
    /// On a real clock.
    pub fn advance_to(&self, ns: u64) {
        let now = self.virtual_ns.as_ref();
        let now = now.expect("only virtual time can be moved: build the loop with `virtual_time`");
        now.set(now.get().max(ns));
    }

    /// A moment in nanoseconds: 0 if it was before the clock was made.
    #[inline]
    pub fn ns_at(&self, instant: Instant) -> u64 {
        saturating_ns(instant.saturating_duration_since(self.base))
    }

    /// A moment for the program.
    pub fn instant_at(&self, ns: u64) -> Instant {
        let since = Duration::from_nanos(ns);
        // 584 years fit behind any real moment; the fallback is for strange ones.
        self.base.checked_add(since).unwrap_or(self.base)
    }
}

/// A duration in nanoseconds, at most `u64::MAX`: 584 years, for timers the same
/// as for ever.
#[inline]
pub fn saturating_ns(duration: Duration) -> u64 {
    const NS: u64 = 1_000_000_000;
    // In 64 bits: `as_nanos` would divide 128-bit numbers.
    duration
        .as_secs()
        .saturating_mul(NS)
        .saturating_add(u64::from(duration.subsec_nanos()))
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_virtual() { "virtual" } else { "real" };
        write!(f, "Clock({kind}, {} ns)", self.now_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_moves_only_forward_and_when_told() {
        let clock = Clock::virtual_time();
        let start = clock.now();
        clock.advance_to(5);
        clock.advance_to(3);
        assert_eq!(clock.now_ns(), 5);
        assert_eq!(clock.now() - start, Duration::from_nanos(5));
    }

    #[test]
    fn moments_convert_both_ways_and_saturate() {
        let clock = Clock::real();
        for ns in [0, 1, 1_000_000_007, 1 << 60] {
            assert_eq!(clock.ns_at(clock.instant_at(ns)), ns);
        }
        let before = clock.instant_at(0) - Duration::from_secs(1);
        assert_eq!(clock.ns_at(before), 0);
        assert_eq!(saturating_ns(Duration::MAX), u64::MAX);
        assert_eq!(saturating_ns(Duration::new(3, 4)), 3_000_000_004);
    }
}
