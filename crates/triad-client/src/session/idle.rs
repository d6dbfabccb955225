//! Whether the user is idle, and what the leader was told of it.

use tokio::time::Instant;
use triad_proto::v1;

/// The application's word about its user.
#[derive(Default)]
pub(super) struct Idleness {
    /// Since when the user is idle.
    since: Option<Instant>,
    /// The leader is to be told.
    is_unsaid: bool,
    /// This session may stand in the ledger as idle.
    was_said: bool,
}

impl Idleness {
    pub(super) fn set(&mut self, since: Option<Instant>) {
        self.since = since;
        self.is_unsaid = true;
    }

    /// Who asks for seats is not idle. The ledger thinks so only if they are granted.
    pub(super) fn asks_for_seats(&mut self) {
        if self.since.is_some() {
            self.set(None);
        }
    }

    /// The last word may have been lost with the stream before: also that the user is back.
    pub(super) fn begin_stream(&mut self) {
        self.is_unsaid |= self.since.is_some() || self.was_said;
    }

    /// Of the next session the ledger knows nothing.
    pub(super) fn begin_session(&mut self) {
        self.was_said = false;
    }

    /// What is to be said now.
    pub(super) fn word(&self, now: Instant) -> Option<v1::Idle> {
        let idle_ms = self.since.map_or(0, |since| (now - since).as_millis() as u64);
        self.is_unsaid.then(|| v1::Idle { is_idle: self.since.is_some(), idle_ms })
    }

    /// It is on its way.
    pub(super) fn said(&mut self) {
        self.is_unsaid = false;
        self.was_said |= self.since.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That the user is back is said again to the next leader, which may know him as idle.
    #[test]
    fn a_word_that_may_be_lost_is_said_again() {
        let now = Instant::now();
        let mut idleness = Idleness::default();
        idleness.begin_stream();
        assert_eq!(idleness.word(now), None, "nobody was ever idle");
        idleness.set(Some(now));
        assert!(idleness.word(now).is_some_and(|word| word.is_idle));
        idleness.said();
        assert_eq!(idleness.word(now), None);
        for back in [Idleness::asks_for_seats, |idleness: &mut Idleness| idleness.set(None)] {
            idleness.set(Some(now));
            idleness.said();
            back(&mut idleness);
            assert!(idleness.word(now).is_some_and(|word| !word.is_idle));
            idleness.said();
            idleness.begin_stream();
            assert!(idleness.word(now).is_some_and(|word| !word.is_idle), "with each stream");
            idleness.said();
        }
        idleness.begin_session();
        idleness.begin_stream();
        assert_eq!(idleness.word(now), None, "another session was never idle");
    }
}
