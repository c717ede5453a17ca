//! Who begins: the small random numbers of a fair `select`.

use std::cell::Cell;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) };
}

/// A number below `sides` (at most 2^32), by xorshift64*.
#[inline]
pub fn roll(sides: usize) -> usize {
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        let high = x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        ((high * sides as u64) >> 32) as usize
    })
}
