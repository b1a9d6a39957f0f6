//! Durations counted by size: a fixed row of buckets, no allocation.

use std::time::Duration;

/// Buckets of one histogram, beside the last one, which has no bound.
pub const BUCKETS: usize = 15;

/// Upper bounds in microseconds, rising.
pub type Bounds = [u64; BUCKETS];

/// What a disk takes: 100 µs to 10 s.
pub const OF_DISK: &Bounds = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// What a way over the network takes: 1 ms to a day, for a destination may be down for long.
pub const OF_DELIVERY: &Bounds = &[
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    10_000_000,
    60_000_000,
    600_000_000,
    3_600_000_000,
    86_400_000_000,
];

/// How many durations were of which size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    bounds: &'static Bounds,
    counts: [u64; BUCKETS + 1],
    sum_micros: u64,
}

impl Histogram {
    /// Nothing counted.
    pub const fn new(bounds: &'static Bounds) -> Self {
        Self {
            bounds,
            counts: [0; BUCKETS + 1],
            sum_micros: 0,
        }
    }

    /// Counts one.
    pub fn add(&mut self, taken: Duration) {
        let micros = u64::try_from(taken.as_micros()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < micros);
        self.counts[bucket] += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All of them together.
    pub const fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros)
    }

    /// For each bound, how many were not longer; the last bucket is [`Histogram::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut sum = 0;
        self.bounds.iter().zip(&self.counts).map(move |(bound, count)| {
            sum += count;
            (Duration::from_micros(*bound), sum)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_in_every_bucket_that_is_not_shorter() {
        let mut histogram = Histogram::new(OF_DISK);
        for micros in [0, 100, 101, 10_000_000, 10_000_001, u64::MAX] {
            histogram.add(Duration::from_micros(micros));
        }
        let counts: Vec<_> = histogram.cumulative().map(|(_, count)| count).collect();
        assert_eq!((counts[0], counts[1], counts[BUCKETS - 1]), (2, 3, 4));
        assert_eq!(
            (histogram.count(), histogram.sum().as_micros()),
            (6, u128::from(u64::MAX))
        );
    }

    #[test]
    fn the_bounds_rise() {
        for bounds in [OF_DISK, OF_DELIVERY] {
            assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
