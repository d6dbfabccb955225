//! The histogram that the consensus library counts its batches in: how often
//! values of about this size were seen.
//!
//! It stands in for the published crate of the same name, which computes tables
//! for sixteen widths of buckets at its first use, where the consensus library
//! has one. Here a bucket is found by shifting, there are as many counters as
//! the largest value needs, and no more is public than the consensus library
//! names.
//!
//! Values below 8 have a bucket each. From there on each power of two is
//! divided into four buckets of equal width: 8 and 9, 10 and 11, ... 16 to 19,
//! 20 to 23, ... The 252nd ends at `u64::MAX`.

#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

/// How often values of about each size were recorded.
///
/// Takes no memory but its own before the first value, and 4 KiB at most. `T`
/// is what the published crate lets its users attach to intervals of time,
/// which are not here: it is there to be named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// By bucket. Ends with the bucket of the largest value, so that two
    /// histograms are equal when they counted the same.
    counts: Vec<u64>,
    attached: PhantomData<T>,
}

impl Histogram {
    /// One without any values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value `times` times. A count that reaches `u64::MAX` stays
    /// there: no statistic is worth a panic.
    pub fn record_n(&mut self, value: u64, times: u64) {
        if times == 0 {
            return;
        }
        let bucket = bucket_of(value);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(times);
    }

    /// How many values there are, and where they lie.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: u64::try_from(self.samples()).unwrap_or(u64::MAX),
            p0_1: self.value_at(1),
            p1: self.value_at(10),
            p5: self.value_at(50),
            p10: self.value_at(100),
            p50: self.value_at(500),
            p90: self.value_at(900),
            p99: self.value_at(990),
            p99_9: self.value_at(999),
        }
    }

    fn samples(&self) -> u128 {
        self.counts.iter().map(|count| u128::from(*count)).sum()
    }

    /// The smallest value that at least so many thousandths of all values do
    /// not exceed: the middle of its bucket. 0 when there are no values.
    fn value_at(&self, thousandths: u128) -> u64 {
        let rank = (self.samples() * thousandths).div_ceil(1000);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += u128::from(*count);
            seen >= rank
        });
        bucket.map_or(0, middle_of)
    }
}

/// The percentiles of a [`Histogram`], each within an eighth of the true one,
/// and exact below 8. All are 0 when nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values were recorded.
    pub samples: u64,
    /// One of a thousand values is this or smaller.
    pub p0_1: u64,
    /// 1 % of the values are this or smaller.
    pub p1: u64,
    /// 5 % of the values are this or smaller.
    pub p5: u64,
    /// 10 % of the values are this or smaller.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// 90 % of the values are this or smaller.
    pub p90: u64,
    /// 99 % of the values are this or smaller.
    pub p99: u64,
    /// 99.9 % of the values are this or smaller.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p0_1, p1, p5, p10, p50, p90, p99, p99_9 } = self;
        write!(
            f,
            "[samples: {samples}, P0.1: {p0_1}, P1: {p1}, P5: {p5}, P10: {p10}, P50: {p50}, \
             P90: {p90}, P99: {p99}, P99.9: {p99_9}]"
        )
    }
}

/// A chart that is never drawn. The consensus library names one, and draws it
/// only under a feature that is off here; with it, a method is missing and
/// nothing compiles, rather than that an empty chart is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsciiChart;

impl AsciiChart {
    /// The chart.
    pub fn new() -> Self {
        Self
    }

    /// Would put another histogram below the others.
    #[must_use]
    pub fn add(self, _name: &str, _histogram: Histogram) -> Self {
        self
    }
}

/// The leading one and the two bits below it say which bucket of its power of
/// two a value is in; how far they must be shifted says which power.
fn bucket_of(value: u64) -> usize {
    let shift = (value | 0b100).ilog2() - 2;
    // At most 4 * 61 + 7.
    (u64::from(4 * shift) + (value >> shift)) as usize
}

/// The smallest value of a bucket, and how many values it has.
fn values_of(bucket: usize) -> (u64, u64) {
    let shift = (bucket / 4).saturating_sub(1);
    (((bucket - 4 * shift) as u64) << shift, 1 << shift)
}

/// Of a bucket that has one value, that one.
fn middle_of(bucket: usize) -> u64 {
    let (first, width) = values_of(bucket);
    first + width / 2
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUCKETS: usize = 252;

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::new();
        values.iter().for_each(|value| histogram.record(*value));
        histogram
    }

    /// Values of every size alike, not mostly those near `u64::MAX`.
    fn value() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64u32).prop_map(|(value, shift)| value >> shift)
    }

    #[test]
    fn the_buckets_are_all_values_in_order() {
        let mut next = 0u128;
        for bucket in 0..BUCKETS {
            let (first, width) = values_of(bucket);
            assert_eq!(u128::from(first), next, "where bucket {bucket} begins");
            assert_eq!(bucket_of(first), bucket);
            assert_eq!(bucket_of(first + (width - 1)), bucket);
            next += u128::from(width);
        }
        assert_eq!(next, u128::from(u64::MAX) + 1);
    }

    #[test]
    fn small_values_have_a_bucket_each_and_larger_ones_a_quarter_of_a_power_of_two() {
        let first_values = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40];
        assert_eq!(first_values.map(bucket_of), std::array::from_fn(|bucket| bucket));
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn without_values_all_is_zero_and_nothing_allocated() {
        let empty = Histogram::new();
        let zero = PercentileStats {
            samples: 0,
            p0_1: 0,
            p1: 0,
            p5: 0,
            p10: 0,
            p50: 0,
            p90: 0,
            p99: 0,
            p99_9: 0,
        };
        assert_eq!(empty.percentile_stats(), zero);
        assert_eq!(empty.counts.capacity(), 0);

        let mut none_of_nine = Histogram::new();
        none_of_nine.record_n(9, 0);
        assert_eq!(none_of_nine, empty);
    }

    #[test]
    fn percentiles_are_told_in_the_words_of_the_published_crate() {
        let text = of(&[3, 40]).percentile_stats().to_string();
        let words = "[samples: 2, P0.1: 3, P1: 3, P5: 3, P10: 3, P50: 3, P90: 44, P99: 44, \
                     P99.9: 44]";
        assert_eq!(text, words);
    }

    #[test]
    fn a_count_that_is_full_stays_so() {
        let mut histogram = Histogram::new();
        histogram.record_n(5, u64::MAX);
        histogram.record(5);
        histogram.record_n(6, u64::MAX);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p50, stats.p90), (u64::MAX, 5, 6));
    }

    #[test]
    fn the_largest_values_fit_into_what_is_promised() {
        let histogram = of(&[3 << 62, u64::MAX]);
        assert_eq!(histogram.counts.len(), BUCKETS);
        assert!(histogram.counts.capacity() * size_of::<u64>() <= 4096);
    }

    proptest! {
        /// Against the sorted values themselves.
        #[test]
        fn percentiles_are_within_an_eighth(
            mut values in proptest::collection::vec(value(), 1..3000),
        ) {
            let stats = of(&values).percentile_stats();
            values.sort_unstable();
            prop_assert_eq!(stats.samples, values.len() as u64);
            for (thousandths, estimate) in [
                (1, stats.p0_1),
                (10, stats.p1),
                (50, stats.p5),
                (100, stats.p10),
                (500, stats.p50),
                (900, stats.p90),
                (990, stats.p99),
                (999, stats.p99_9),
            ] {
                let exact = values[(values.len() * thousandths).div_ceil(1000) - 1];
                let error = estimate.abs_diff(exact);
                prop_assert!(
                    error <= exact / 8,
                    "{} thousandths: {} instead of {}", thousandths, estimate, exact
                );
            }
        }

        #[test]
        fn the_order_of_values_is_nothing_and_one_value_more_is_something(
            values in proptest::collection::vec(value(), 0..50),
            more in value(),
        ) {
            let mut backwards = Histogram::new();
            for value in values.iter().rev() {
                backwards.record_n(*value, 2);
            }
            let twice = of(&[values.clone(), values].concat());
            prop_assert_eq!(&backwards, &twice);
            backwards.record(more);
            prop_assert_ne!(&backwards, &twice);
        }
    }
}
