//! How long things take: counts by length, from a tenth of a millisecond to ten
//! seconds.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The upper bounds of the buckets, in microseconds. A sync of a good disk, a
/// commit and a failover all lie well inside.
const BOUNDS_US: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// Counts lengths of time. Any number of threads may add to it at once.
#[derive(Debug, Default)]
pub struct Histogram {
    /// How many fell into each bucket; the last takes whatever is longer.
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What a [`Histogram`] had counted at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// By upper bound: how many took at most so long. Each contains the ones
    /// before it.
    pub at_most: Vec<(Duration, u64)>,
    /// How many in all.
    pub count: u64,
    /// What all of them took together.
    pub sum: Duration,
}

impl Histogram {
    /// Adds one.
    pub fn add(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// What was counted so far.
    pub fn counted(&self) -> Counted {
        let mut count = 0;
        let mut up_to = |bucket: &AtomicU64| {
            count += bucket.load(Relaxed);
            count
        };
        let bounds = BOUNDS_US.iter().map(|us| Duration::from_micros(*us));
        let at_most = bounds.zip(self.buckets.iter().map(&mut up_to)).collect();
        up_to(&self.buckets[BOUNDS_US.len()]);
        Counted { at_most, count, sum: Duration::from_micros(self.sum_us.load(Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_is_counted_once_and_in_all_wider_buckets() {
        let histogram = Histogram::default();
        for us in [0, 100, 101, 10_000_000, 60_000_000] {
            histogram.add(Duration::from_micros(us));
        }
        let counted = histogram.counted();
        let of = |us| {
            let bound = Duration::from_micros(us);
            counted.at_most.iter().find(|(at, _)| *at == bound).expect("a bound").1
        };
        assert_eq!((of(100), of(250), of(5_000_000), of(10_000_000)), (2, 3, 3, 4));
        assert_eq!((counted.count, counted.sum), (5, Duration::from_micros(70_000_201)));
    }
}
