//! Median, its interval, and when a difference is a tie.
//!
//! Timings on a shared machine are skewed: a few runs are late, none is early.
//! So nothing here is a mean, and noise is not a standard deviation. A row shows
//! the median of its rounds and, as `low` and `high`, the interval that holds
//! the true median in 95 of 100 cases whatever the distribution is (the usual
//! interval of order statistics: between the 2nd and the 8th of 9 rounds).
//! Two engines whose intervals overlap are a tie.

/// What the rounds of one engine on one workload gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The middle round.
    pub median: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How many rounds.
    pub rounds: usize,
}

impl Summary {
    /// Summarizes the rounds; `None` when there are none.
    pub fn of(values: &[f64]) -> Option<Summary> {
        let mut sorted: Vec<f64> = values
            .iter()
            .copied()
            .filter(|value| value.is_finite())
            .collect();
        sorted.sort_by(f64::total_cmp);
        let rounds = sorted.len();
        if rounds == 0 {
            return None;
        }
        let rank = low_rank(rounds);
        Some(Summary {
            median: median_of_sorted(&sorted),
            low: sorted[rank],
            high: sorted[rounds - 1 - rank],
            rounds,
        })
    }

    /// Whether the difference to `other` is within the noise.
    pub fn ties_with(&self, other: &Summary) -> bool {
        self.low <= other.high && other.low <= self.high
    }
}

/// The median; the mean of the two middle values when their number is even.
///
/// # Panics
///
/// When there are no values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        (sorted[middle - 1] + sorted[middle]) / 2.0
    }
}

/// The largest rank `k` (from 0) such that the interval from the `k`-th smallest
/// to the `k`-th largest of `n` values holds the median with at least 95 %: the
/// chance that it doesn't is twice the binomial tail `P(X <= k)`, `p = 1/2`.
/// Below 6 values no interval is that good, and the whole range is taken.
pub fn low_rank(n: usize) -> usize {
    let mut term = 0.5f64.powi(n as i32);
    let mut tail = term;
    let mut rank = 0;
    for k in 0..n / 2 {
        // `tail` is P(X <= k), the chance at one end.
        if 2.0 * tail > 0.05 {
            break;
        }
        rank = k;
        term *= (n - k) as f64 / (k + 1) as f64;
        tail += term;
    }
    rank
}

/// The rounds whose `limit` strays by more than `share` from its own median:
/// what the machine did to the limit it did to the others, so they are repeated.
pub fn strayed(limit: &[f64], share: f64) -> Vec<usize> {
    if limit.len() < 3 {
        return Vec::new();
    }
    let middle = median(limit);
    (0..limit.len())
        .filter(|&round| (limit[round] - middle).abs() > share * middle)
        .collect()
}

/// The value below which `share` of the samples lie (nearest rank).
///
/// # Panics
///
/// When there are no samples.
pub fn percentile(samples: &mut [f64], share: f64) -> f64 {
    samples.sort_by(f64::total_cmp);
    let rank = (share * samples.len() as f64).ceil() as usize;
    samples[rank.clamp(1, samples.len()) - 1]
}

/// A small generator for shuffling rounds and making inputs: the same seed gives
/// the same numbers to every engine. (SplitMix64: Steele, Lea and Flood, 2014.)
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_odd_and_even_numbers_of_rounds() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn interval_is_the_textbook_one() {
        // Conover, table of confidence intervals for the median, 95 %: ranks
        // from 1 are 1..5 (too few), 1..6, 2..9, 3..12 and 6..20.
        assert_eq!(low_rank(5), 0);
        assert_eq!(low_rank(6), 0);
        assert_eq!(low_rank(9), 1);
        assert_eq!(low_rank(12), 2);
        assert_eq!(low_rank(20), 5);
    }

    #[test]
    fn one_late_round_in_nine_moves_nothing() {
        let mut values = vec![10.0; 9];
        values[4] = 500.0;
        let summary = Summary::of(&values).unwrap();
        assert_eq!(
            (summary.low, summary.median, summary.high),
            (10.0, 10.0, 10.0)
        );
    }

    #[test]
    fn no_rounds_no_summary() {
        assert_eq!(Summary::of(&[]), None);
        assert_eq!(Summary::of(&[f64::NAN]), None);
    }

    #[test]
    fn overlapping_intervals_tie() {
        let a = Summary {
            median: 10.0,
            low: 9.0,
            high: 11.0,
            rounds: 9,
        };
        let b = Summary {
            median: 10.8,
            low: 10.5,
            high: 12.0,
            rounds: 9,
        };
        let c = Summary {
            median: 13.0,
            low: 12.5,
            high: 14.0,
            rounds: 9,
        };
        assert!(a.ties_with(&b) && b.ties_with(&a));
        assert!(!a.ties_with(&c) && !c.ties_with(&a));
    }

    #[test]
    fn strayed_rounds_are_those_beyond_the_share() {
        let limit = [100.0, 101.0, 99.0, 125.0, 79.0, 119.0];
        assert_eq!(strayed(&limit, 0.2), vec![3, 4]);
        assert_eq!(strayed(&[1.0, 9.0], 0.2), Vec::<usize>::new());
    }

    #[test]
    fn percentile_by_nearest_rank() {
        let mut samples: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&mut samples, 0.99), 99.0);
        assert_eq!(percentile(&mut samples, 0.5), 50.0);
        assert_eq!(percentile(&mut [7.0], 0.99), 7.0);
    }

    #[test]
    fn shuffling_keeps_all_and_repeats_with_its_seed() {
        let shuffled = |seed| {
            let mut items: Vec<u32> = (0..50).collect();
            Random(seed).shuffle(&mut items);
            items
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
