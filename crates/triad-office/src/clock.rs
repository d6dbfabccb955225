//! The wall clock: read here, an argument everywhere else.

use std::time::UNIX_EPOCH;

/// Milliseconds since 1970 UTC.
#[allow(clippy::disallowed_methods, reason = "this is the place for it")]
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
