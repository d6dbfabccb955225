//! Whether the user is idle, and what the leader was told of it. Each word is an entry of the log:
//! what changes nothing is not said, and nothing more often than it matters.

use std::time::Duration;

use tokio::time::Instant;
use triad_proto::v1;

/// Words are at least so far apart: little beside the time after which a site takes idle seats back.
const WORD_INTERVAL: Duration = Duration::from_secs(1);
/// Who is idle since then is not idle since another time if that is nearer than this.
const SINCE_STEP: Duration = Duration::from_secs(1);

/// The application's word about its user.
#[derive(Default)]
pub(super) struct Idleness {
    /// Since when the user is idle.
    since: Option<Instant>,
    /// The leader is to be told.
    is_unsaid: bool,
    /// This session may stand in the ledger as idle.
    was_said: bool,
    /// When the leader was told last.
    said_at: Option<Instant>,
    /// Something was granted since the last word, and the ledger takes the user for active.
    is_outdated: bool,
}

impl Idleness {
    pub(super) fn set(&mut self, since: Option<Instant>) {
        let changes_nothing = match (self.since, since) {
            (None, None) => true,
            (Some(before), Some(now)) => {
                // One of the two is zero.
                let apart = now.duration_since(before) + before.duration_since(now);
                apart < SINCE_STEP && !self.is_outdated
            }
            _ => false,
        };
        if !changes_nothing {
            self.since = since;
            self.is_unsaid = true;
        }
    }

    /// Who asks for seats is not idle. The ledger thinks so only if they are granted.
    pub(super) fn asks_for_seats(&mut self) {
        if self.since.is_some() {
            self.set(None);
        }
    }

    /// The ledger takes whoever is granted something for active, also what was waited for. Whether he
    /// is, the application says next.
    pub(super) fn granted(&mut self) {
        self.is_outdated = true;
    }

    /// The last word may have been lost with the stream before: also that the user is back. That he is
    /// idle is not said of a user whom something was granted since.
    pub(super) fn begin_stream(&mut self) {
        self.is_unsaid |= match self.since {
            Some(_) => !self.is_outdated,
            None => self.was_said,
        };
    }

    /// Of the next session the ledger knows nothing.
    pub(super) fn begin_session(&mut self) {
        self.was_said = false;
        self.is_outdated = false;
    }

    /// What is to be said now.
    pub(super) fn word(&self, now: Instant) -> Option<v1::Idle> {
        if !self.is_unsaid || self.next_word_at().is_some_and(|at| at > now) {
            return None;
        }
        let idle_ms = self.since.map_or(0, |since| (now - since).as_millis() as u64);
        Some(v1::Idle { is_idle: self.since.is_some(), idle_ms })
    }

    /// When there is something to say that had to wait.
    pub(super) fn next_word_at(&self) -> Option<Instant> {
        self.said_at.filter(|_| self.is_unsaid).map(|at| at + WORD_INTERVAL)
    }

    /// It is on its way.
    pub(super) fn said(&mut self, now: Instant) {
        self.said_at = Some(now);
        self.is_unsaid = false;
        self.is_outdated = false;
        self.was_said |= self.since.is_some();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// That the user is back is said again to the next leader, which may know him as idle.
    #[test]
    fn a_word_that_may_be_lost_is_said_again() {
        let mut now = Instant::now();
        let mut idleness = Idleness::default();
        idleness.begin_stream();
        assert_eq!(idleness.word(now), None, "nobody was ever idle");
        idleness.set(Some(now));
        assert!(idleness.word(now).is_some_and(|word| word.is_idle));
        idleness.said(now);
        assert_eq!(idleness.word(now), None);
        for back in [Idleness::asks_for_seats, |idleness: &mut Idleness| idleness.set(None)] {
            idleness.set(Some(now));
            idleness.said(now);
            back(&mut idleness);
            now += WORD_INTERVAL;
            assert!(idleness.word(now).is_some_and(|word| !word.is_idle));
            idleness.said(now);
            idleness.begin_stream();
            now += WORD_INTERVAL;
            assert!(idleness.word(now).is_some_and(|word| !word.is_idle), "with each stream");
            idleness.said(now);
        }
        // What was granted says that he is not idle, to every leader.
        idleness.set(Some(now));
        idleness.said(now);
        idleness.granted();
        idleness.begin_stream();
        now += WORD_INTERVAL;
        assert_eq!(idleness.word(now), None, "the application says whether he is");
        // The grant may stand in the log before the word that he is idle, and be heard after it.
        idleness.set(None);
        idleness.said(now);
        idleness.granted();
        idleness.begin_stream();
        now += WORD_INTERVAL;
        assert!(idleness.word(now).is_some_and(|word| !word.is_idle));
        idleness.said(now);
        idleness.begin_session();
        idleness.set(None);
        idleness.said(now);
        idleness.begin_stream();
        now += WORD_INTERVAL;
        assert_eq!(idleness.word(now), None, "another session was never idle");
        idleness.set(Some(now));
        idleness.said(now);
        idleness.granted();
        idleness.begin_session();
        idleness.begin_stream();
        now += WORD_INTERVAL;
        assert!(idleness.word(now).is_some_and(|word| word.is_idle), "nothing was granted to it");
    }

    #[test]
    fn what_changes_nothing_is_not_said() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut idleness = Idleness::default();
        let words = |now: Instant, idleness: &mut Idleness| {
            let word = idleness.word(now);
            if word.is_some() {
                idleness.said(now);
            }
            word.map(|word| (word.is_idle, word.idle_ms))
        };
        idleness.set(None);
        assert_eq!(words(at(0), &mut idleness), None, "he was active");
        idleness.set(Some(at(0)));
        assert_eq!(words(at(5_000), &mut idleness), Some((true, 5_000)));
        // The application counts for itself, and not quite as we do.
        idleness.set(Some(at(999)));
        assert_eq!(words(at(10_000), &mut idleness), None);
        idleness.set(Some(at(1_000)));
        assert_eq!(words(at(15_000), &mut idleness), Some((true, 14_000)));
        idleness.set(Some(at(1)));
        assert_eq!(words(at(20_000), &mut idleness), None);
        // What he waited for is granted to him, and so he counts as active.
        idleness.granted();
        assert_eq!(words(at(25_000), &mut idleness), None);
        idleness.set(Some(at(1_000)));
        assert_eq!(words(at(25_000), &mut idleness), Some((true, 24_000)));
        idleness.set(None);
        assert_eq!(words(at(30_000), &mut idleness), Some((false, 0)));
        idleness.set(None);
        assert_eq!(words(at(35_000), &mut idleness), None);
    }

    #[test]
    fn words_are_apart_and_the_last_one_is_said() {
        let start = Instant::now();
        let mut idleness = Idleness::default();
        let mut said = Vec::new();
        // A keyboard's user, and an application that says everything.
        for ms in (0..=3_000).step_by(10) {
            let now = start + Duration::from_millis(ms);
            if ms < 2_500 {
                idleness.set((ms / 10 % 2 == 0).then_some(now));
            }
            if let Some(word) = idleness.word(now) {
                assert!(idleness.next_word_at().is_none_or(|at| at == now), "{ms}");
                said.push((ms, word.is_idle));
                idleness.said(now);
            }
        }
        assert_eq!(said, [(0, true), (1_000, true), (2_000, true), (3_000, false)]);
    }
}
