//! Waiting for a state, with a limit, and saying what was seen last.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Looks again and again until `look` has what is wanted, and returns it with
/// the instant of the look before, when it was not there yet.
///
/// # Panics
///
/// If that takes longer than `limit`; the text says what was seen last.
pub async fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        let seen = match look().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}; last seen: {seen}");
        sleep(LOOK_INTERVAL).await;
    }
}
