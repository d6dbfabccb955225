//! What the scenarios came to, for whoever runs them by hand.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// What one crowd saw.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Seats granted and returned, and denials.
    pub operations: u64,
    /// Requests of unknown outcome.
    pub unknown: u64,
    /// Entries in the committed log that hold commands.
    pub entries: u64,
    /// The longest time in which nobody was given an answer, of those that the
    /// scenario measured.
    pub longest_gap: Duration,
    /// Broken promises.
    pub violations: u64,
}

impl Figures {
    /// Both together.
    pub fn and(self, other: Figures) -> Figures {
        Figures {
            operations: self.operations + other.operations,
            unknown: self.unknown + other.unknown,
            entries: self.entries + other.entries,
            longest_gap: self.longest_gap.max(other.longest_gap),
            violations: self.violations + other.violations,
        }
    }
}

/// One scenario runs at a time: a lab is a machine's only one.
static NOTED: Mutex<Option<Figures>> = Mutex::new(None);

/// A crowd has come to its end, or to its first broken promise.
pub fn note(figures: Figures) {
    let mut noted = noted();
    *noted = Some(noted.unwrap_or_default().and(figures));
}

/// What was noted since this was last asked.
#[cfg_attr(test, expect(dead_code, reason = "the command asks"))]
pub fn take() -> Option<Figures> {
    noted().take()
}

fn noted() -> MutexGuard<'static, Option<Figures>> {
    NOTED.lock().expect("no panic while held")
}
