//! Who begins: the small random numbers of a fair `select`.

use std::cell::Cell;

use crate::context;

/// A number below `sides` (at most 2^32): drawn from the loop's seed, so that a
/// replay with the same seed repeats it; outside a loop, from the thread's own.
#[inline]
pub fn roll(sides: usize) -> usize {
    let random = context::try_with(|core| core.random()).unwrap_or_else(outside);
    // The high half scaled down: no division, and no bias that matters.
    (((random >> 32) * sides as u64) >> 32) as usize
}

fn outside() -> u64 {
    thread_local! {
        static COUNT: Cell<u64> = const { Cell::new(0) };
    }
    // A multiple of the golden ratio: well spread, which is all that is asked.
    let count = COUNT.get().wrapping_add(1);
    COUNT.set(count);
    count.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
