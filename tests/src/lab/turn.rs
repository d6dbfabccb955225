//! One lab at a time on one machine: each keeps both processors busy, and what
//! its tests measure is time.

use std::fs::File;
use std::time::Duration;

use crate::wait;

/// Beside the names of the namespaces, which it guards: what stands there while
/// one has the lock is one's own, or left behind by a test that was killed.
const PATH: &str = "/run/triad-lab.lock";
/// Some dozen labs, each as slow as a test may be.
const TURN_LIMIT: Duration = Duration::from_secs(20 * 60);

/// Held while a lab stands. The lock is the open file's, so that it is free when
/// this test ends, however it ends; children do not inherit it.
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits until no other lab stands.
    ///
    /// # Errors
    ///
    /// If there cannot be such a lock.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub async fn take() -> Result<Self, String> {
        let lock = File::options().create(true).append(true).open(PATH);
        let lock = lock.map_err(|error| format!("{PATH}: {error}"))?;
        if lock.try_lock().is_ok() {
            return Ok(Turn { _lock: lock });
        }
        eprintln!("another laboratory stands on this machine: waiting until it is done");
        let look = async || lock.try_lock().map_err(|error| format!("{PATH}: {error}"));
        wait::until("no other lab stands", TURN_LIMIT, look).await;
        Ok(Turn { _lock: lock })
    }
}
