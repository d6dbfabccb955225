//! The wall clock, read here and nowhere else in the command.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present.
#[allow(clippy::disallowed_methods)] // This is the place for it.
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// The present, milliseconds since 1970 UTC. 0 when the clock stands before.
pub fn now_ms() -> u64 {
    let since = now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
