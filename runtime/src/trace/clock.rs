//! One clock for all threads and processes of the machine.
//!
//! Where the processor counts at a constant rate, alike on all cores, and the
//! kernel itself trusts that, an event is stamped with the bare counter: one
//! instruction, half of what `clock_gettime` takes. Two looks at both clocks, at
//! the beginning and the end of a recording, turn counts into nanoseconds of
//! `CLOCK_MONOTONIC`. Elsewhere that clock itself is asked for each event. Both
//! are the same for every process, so a worker's events need no translation.
//!
//! Read before: [`super::board`]. Next: `writer`.

#![allow(unsafe_code)] // Reads the processor's counter, asks the kernel for the time.

use std::sync::OnceLock;

/// What an event is stamped with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Clock {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    Monotonic = 1,
    /// The processor's time stamp counter.
    Counter = 2,
}

impl Clock {
    /// The bits of [`STATE`](super::gate) that name a clock.
    pub const MASK: u32 = 3;

    /// The best that this machine has.
    #[must_use]
    pub fn best() -> Clock {
        static BEST: OnceLock<Clock> = OnceLock::new();
        *BEST.get_or_init(|| match counter_is_a_clock() {
            true => Clock::Counter,
            false => Clock::Monotonic,
        })
    }

    /// The clock that a state names.
    #[inline(always)]
    #[must_use]
    pub fn of_state(state: u32) -> Clock {
        match state & Clock::MASK {
            2 => Clock::Counter,
            _ => Clock::Monotonic,
        }
    }

    /// What time it is, in ticks.
    #[inline(always)]
    #[must_use]
    pub fn ticks(self) -> u64 {
        match self {
            Clock::Monotonic => monotonic_ns(),
            Clock::Counter => counter(),
        }
    }
}

/// Nanoseconds since the machine was started, of the clock that nobody sets.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is ours to be written; the clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn counter() -> u64 {
    // SAFETY: every x86-64 has the instruction. (A process that has forbidden it
    // to itself by prctl isn't told so by `counter_is_a_clock`, since it asks.)
    unsafe { core::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    monotonic_ns()
}

#[cfg(target_arch = "x86_64")]
fn counter_is_a_clock() -> bool {
    let mut may_read: libc::c_int = 0;
    // SAFETY: writes one int, ours; an older kernel refuses, and leaves 0.
    unsafe { libc::prctl(libc::PR_GET_TSC, &raw mut may_read) };
    // The kernel watches the counters of all cores and changes the source if
    // they drift apart.
    let source = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    may_read == libc::PR_TSC_ENABLE
        && std::fs::read_to_string(source).is_ok_and(|name| name.trim() == "tsc")
}

#[cfg(not(target_arch = "x86_64"))]
fn counter_is_a_clock() -> bool {
    false
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// In ticks.
    pub ticks: u64,
    /// In nanoseconds of `CLOCK_MONOTONIC`.
    pub ns: u64,
}

impl Moment {
    /// Now: the best of some looks, since anything may come between two readings.
    #[must_use]
    pub fn now(clock: Clock) -> Moment {
        (0..8)
            .map(|_| {
                let before = clock.ticks();
                let ns = monotonic_ns();
                let after = clock.ticks();
                let ticks = before + after.saturating_sub(before) / 2;
                (after.saturating_sub(before), Moment { ticks, ns })
            })
            .min_by_key(|(width, _)| *width)
            .expect("eight looks")
            .1
    }
}

/// How to turn ticks into nanoseconds since a beginning.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    begin: Moment,
    end: Moment,
}

impl Scale {
    /// By two moments; `end` is the later one.
    #[must_use]
    pub fn new(begin: Moment, end: Moment) -> Scale {
        Scale { begin, end }
    }

    /// Nanoseconds from the beginning to `ticks`; 0 if it was before.
    #[must_use]
    pub fn ns(&self, ticks: u64) -> u64 {
        let since = u128::from(ticks.saturating_sub(self.begin.ticks));
        let ns = u128::from(self.end.ns.saturating_sub(self.begin.ns));
        let ticks = u128::from(self.end.ticks.saturating_sub(self.begin.ticks));
        (since * ns / ticks.max(1)) as u64
    }

    /// Nanoseconds from the beginning to the end.
    #[must_use]
    pub fn length_ns(&self) -> u64 {
        self.end.ns.saturating_sub(self.begin.ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_nanoseconds() {
        let begin = Moment {
            ticks: 3_000,
            ns: 70,
        };
        let end = Moment {
            ticks: 9_000,
            ns: 2_070,
        };
        let scale = Scale::new(begin, end);
        assert_eq!(
            (scale.ns(3_000), scale.ns(6_000), scale.ns(9_000)),
            (0, 1_000, 2_000)
        );
        assert_eq!((scale.ns(0), scale.length_ns()), (0, 2_000));
    }

    #[test]
    fn both_clocks_go_forward_together() {
        for clock in [Clock::Monotonic, Clock::best()] {
            let first = Moment::now(clock);
            while monotonic_ns() < first.ns + 1_000_000 {}
            let last = Moment::now(clock);
            let between = clock.ticks();
            let scale = Scale::new(first, last);
            assert!(last.ticks > first.ticks && scale.length_ns() >= 1_000_000);
            assert!(scale.ns(between) >= scale.length_ns() - 1_000, "{clock:?}");
        }
    }
}
