//! A small random generator, so that a failing run can be repeated by its seed.

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    /// From `THREEPLY_SEED`, or from the clock; printed, and so shown by a failing
    /// test.
    pub(crate) fn new(test: &str) -> Self {
        let seed = std::env::var("THREEPLY_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok())
            .unwrap_or_else(|| {
                let now = std::time::SystemTime::now();
                let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
                u64::from(since.subsec_nanos())
            });
        println!("{test}: THREEPLY_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}
