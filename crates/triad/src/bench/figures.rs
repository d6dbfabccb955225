//! What is counted while a workload runs, and what it comes to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;
use triad_client::Error;
use triad_proto::v1::{Reason, Refusal};

/// Three digits of a length of time are kept.
const DIGITS: u8 = 3;

/// Lengths of time of one kind, such as how long checkouts took.
pub struct Lengths(Mutex<Histogram<u64>>);

/// What lengths of time come to, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    pub count: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
}

impl Lengths {
    pub fn new() -> Self {
        let mut histogram = Histogram::new(DIGITS).expect("that many digits can be kept");
        // From a nanosecond to as long as anything takes.
        histogram.auto(true);
        Lengths(Mutex::new(histogram))
    }

    pub fn add(&self, length: Duration) {
        let nanoseconds = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
        let kept = self.lock().record(nanoseconds);
        kept.expect("it grows as far as a number of 64 bits goes");
    }

    pub fn count(&self) -> u64 {
        self.lock().len()
    }

    pub fn latency(&self) -> Latency {
        let histogram = self.lock();
        let at = |quantile| rounded(histogram.value_at_quantile(quantile) as f64 / 1e3);
        Latency {
            count: histogram.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: rounded(histogram.max() as f64 / 1e3),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.0.lock().expect("no panic while held")
    }
}

/// What went wrong, by its reason.
#[derive(Default)]
pub struct Errors(Mutex<BTreeMap<String, u64>>);

impl Errors {
    pub fn add(&self, error: &Error) {
        self.add_reason(&match (error.reason(), error) {
            (Some(reason), _) => name_of(reason),
            (None, Error::Lost(_)) => "SESSION_LOST".to_owned(),
            (None, _) => "CLIENT".to_owned(),
        });
    }

    pub fn add_status(&self, status: &tonic::Status) {
        self.add_reason(&name_of(Refusal::from_status(status).reason()));
    }

    pub fn add_reason(&self, reason: &str) {
        let mut all = self.0.lock().expect("no panic while held");
        *all.entry(reason.to_owned()).or_default() += 1;
    }

    pub fn by_reason(&self) -> BTreeMap<String, u64> {
        self.0.lock().expect("no panic while held").clone()
    }
}

fn name_of(reason: Reason) -> String {
    reason.as_str_name().trim_start_matches("REASON_").to_owned()
}

/// When measuring begins and ends; what lies before is warm-up.
#[derive(Clone, Copy)]
pub struct Window {
    pub from: Instant,
    pub until: Instant,
}

impl Window {
    pub fn after(warm_up: Duration, duration: Duration) -> Self {
        let from = Instant::now() + warm_up;
        Window { from, until: from + duration }
    }

    /// Whether what began then and ends now is to be counted.
    pub fn has(&self, began: Instant, ended: Instant) -> bool {
        began >= self.from && ended <= self.until
    }
}

/// What all clients of a workload have done so far.
pub struct Tally {
    pub checkouts: Lengths,
    pub checkins: Lengths,
    pub beats: Lengths,
    pub errors: Errors,
    pub denials: AtomicU64,
    /// Cycles or beats begun, in the warm-up, too.
    pub done: AtomicU64,
}

impl Tally {
    pub fn new() -> Self {
        Tally {
            checkouts: Lengths::new(),
            checkins: Lengths::new(),
            beats: Lengths::new(),
            errors: Errors::default(),
            denials: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    pub fn denials(&self) -> u64 {
        self.denials.load(Ordering::Relaxed)
    }
}

/// Jain's index of how evenly clients were served: 1 when all were served alike,
/// 1/n when one of n had everything.
pub fn fairness(served: &[u64]) -> f64 {
    let sum: f64 = served.iter().map(|n| *n as f64).sum();
    let squares: f64 = served.iter().map(|n| (*n as f64).powi(2)).sum();
    match squares > 0.0 {
        true => (sum * sum / (served.len() as f64 * squares) * 1e4).round() / 1e4,
        false => 0.0,
    }
}

/// To a tenth: what is finer is noise.
pub fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// `count` for each of `of`, if there are any.
pub fn per(count: f64, of: u64) -> Option<f64> {
    (of > 0).then(|| rounded(count / of as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_added() {
        let lengths = Lengths::new();
        assert_eq!(lengths.latency(), Latency::default());
        (1..=1_000).for_each(|n| lengths.add(Duration::from_micros(n)));
        let Latency { count, p50_us, p99_us, p999_us, max_us } = lengths.latency();
        assert_eq!(count, 1_000);
        for (found, expected) in [(p50_us, 500.0), (p99_us, 990.0), (p999_us, 999.0)] {
            assert!((found / expected - 1.0_f64).abs() < 0.002, "{found} {expected}");
        }
        assert!((max_us - 1_000.0).abs() < 2.0, "{max_us}");
    }

    #[test]
    fn fairness_is_one_when_all_are_served_alike() {
        assert_eq!(fairness(&[7, 7, 7, 7]), 1.0);
        assert_eq!(fairness(&[100, 0, 0, 0]), 0.25);
        assert_eq!(fairness(&[2, 1]), 0.9);
        assert_eq!(fairness(&[0, 0]), 0.0);
        assert_eq!(fairness(&[]), 0.0);
    }

    #[test]
    fn errors_are_counted_by_reason() {
        let errors = Errors::default();
        let refusal = Refusal::because(Reason::LicensesExhausted, "no");
        errors.add(&Error::Denied(Box::new(refusal.clone())));
        errors.add(&Error::Denied(Box::new(refusal)));
        errors.add(&Error::Lost("x".into()));
        let expected = [("LICENSES_EXHAUSTED".to_owned(), 2), ("SESSION_LOST".to_owned(), 1)];
        assert_eq!(errors.by_reason(), BTreeMap::from(expected));
    }
}
