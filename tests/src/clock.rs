//! The wall clock, by which certificates and licenses are dated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The present.
pub fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
    SystemTime::now()
}

/// How long after 1970-01-01 UTC that is.
///
/// # Panics
///
/// If it is before.
pub fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).expect("it is later than 1970")
}

/// The present in milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> u64 {
    u64::try_from(since_epoch(now()).as_millis()).expect("milliseconds since 1970 fit 64 bits")
}
