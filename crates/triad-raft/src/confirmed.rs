//! What each follower has confirmed to this leader, and what the leader says this node has
//! confirmed. A log that no longer has it was put back to an older state: such a node has
//! forgotten promises and must not take part.
//!
//! A follower never removes an entry that it confirmed to a leader while that leader leads. So a
//! conflict at or before such an entry proves that the log went back behind the leader's back. Of
//! what was confirmed to earlier leaders nobody knows any more; that much remains undetected.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use crate::types::Vote;

/// The last entry that each peer confirmed, under the vote by which this node leads.
#[derive(Debug, Default)]
pub(crate) struct Confirmed(Mutex<BTreeMap<u64, (Vote, u64)>>);

impl Confirmed {
    /// `peer` has every entry up to `index`, it says to who leads by `vote`.
    pub(crate) fn note(&self, peer: u64, vote: Vote, index: u64) {
        let mut all = self.all();
        let last = all.entry(peer).or_insert((vote, index));
        if last.0 == vote {
            last.1 = last.1.max(index);
        } else {
            // Entries that another leader replaced meanwhile count for nothing.
            *last = (vote, index);
        }
    }

    /// The last entry that `peer` confirmed to who leads by `vote`; 0 if none.
    pub(crate) fn index(&self, peer: u64, vote: &Vote) -> u64 {
        self.all().get(&peer).filter(|last| last.0 == *vote).map_or(0, |last| last.1)
    }

    /// The peer begins anew, and is to be believed that it has nothing.
    pub(crate) fn forget(&self, peer: u64) {
        self.all().remove(&peer);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, (Vote, u64)>> {
        self.0.lock().expect("no panic while held")
    }
}

/// What this node had confirmed to its leader and does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// The leader that was told.
    pub(crate) leader: u64,
    /// The last entry that it was told of.
    pub(crate) confirmed_index: u64,
    /// An entry before it that is not here.
    pub(crate) missing_index: u64,
}

impl fmt::Display for Forgotten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this node's data was put back to an older state: it confirmed entry {} to node {}, \
             the leader, and entry {} is not here",
            self.confirmed_index, self.leader, self.missing_index
        )
    }
}

/// Whether this node was found to have forgotten something.
#[derive(Debug)]
pub(crate) struct Memory(watch::Sender<Option<Forgotten>>);

impl Memory {
    /// It has not.
    pub(crate) fn new() -> Self {
        Memory(watch::Sender::new(None))
    }

    /// An append of `leader` met a conflict at `conflict_index`. Whether that proves it.
    pub(crate) fn conflict(&self, leader: u64, confirmed_index: u64, conflict_index: u64) -> bool {
        if conflict_index > confirmed_index {
            return false;
        }
        let missing_index = conflict_index;
        self.0.send_replace(Some(Forgotten { leader, confirmed_index, missing_index }));
        true
    }

    /// Resolves when it has.
    pub(crate) async fn forgotten(&self) -> Forgotten {
        let mut found = self.0.subscribe();
        let found = found.wait_for(Option::is_some).await.expect("the sender is borrowed");
        found.expect("it was waited for")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn what_was_confirmed_counts_for_one_leadership() {
        let confirmed = Confirmed::default();
        let (first, second) = (Vote::new_committed(1, 1), Vote::new_committed(3, 1));
        assert_eq!(confirmed.index(2, &first), 0);
        confirmed.note(2, first, 10);
        confirmed.note(2, first, 7);
        assert_eq!(confirmed.index(2, &first), 10);
        assert_eq!(confirmed.index(3, &first), 0, "another peer");
        // Meanwhile somebody else led, and may have replaced entry 10.
        assert_eq!(confirmed.index(2, &second), 0);
        confirmed.note(2, second, 8);
        assert_eq!(confirmed.index(2, &second), 8);
        assert_eq!(confirmed.index(2, &first), 0);
    }

    #[test]
    fn a_conflict_after_what_was_confirmed_is_an_ordinary_one() {
        let memory = Memory::new();
        assert!(!memory.conflict(1, 0, 5), "nothing was confirmed");
        assert!(!memory.conflict(1, 4, 5));
        assert!(memory.forgotten().now_or_never().is_none());
        assert!(memory.conflict(1, 5, 5));
        let found = memory.forgotten().now_or_never().expect("it is known");
        assert_eq!(found, Forgotten { leader: 1, confirmed_index: 5, missing_index: 5 });
    }
}
