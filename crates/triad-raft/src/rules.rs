//! The rules of the log: which each node can apply, and what becomes of a node that
//! meets newer ones. See docs/decisions/0023-rules.md.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;
use tonic::metadata::MetadataMap;
use triad_ledger::{RULES_MIN, rules_known};

/// The metadata by which a node tells its leader which rules it can apply, in the
/// first word of its answer to a stream of appends: before it is sent any entry.
const RULES_KEY: &str = "triad-rules";

/// Says which rules this node can apply.
pub(crate) fn say(metadata: &mut MetadataMap) {
    metadata.insert(RULES_KEY, rules_known().into());
}

/// What the peers say, each since it last opened a stream. A process knows the same
/// rules for as long as it runs, and another has to open another stream.
#[derive(Debug, Default)]
pub(crate) struct PeerRules(Mutex<BTreeMap<u64, u32>>);

impl PeerRules {
    /// A peer has answered. One that says nothing is of the first version.
    pub(crate) fn heard(&self, peer: u64, metadata: &MetadataMap) {
        let said = metadata.get(RULES_KEY).and_then(|value| value.to_str().ok()?.parse().ok());
        self.all().insert(peer, said.unwrap_or(RULES_MIN));
    }

    /// The newest rules that a peer can apply, as it said last.
    pub(crate) fn of(&self, peer: u64) -> Option<u32> {
        self.all().get(&peer).copied()
    }

    /// The peer begins anew, and is to say it anew.
    pub(crate) fn forget(&self, peer: u64) {
        self.all().remove(&peer);
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, u32>> {
        self.0.lock().expect("no panic while held")
    }
}

/// The newest rules that all nodes can apply, by what each says of itself; `None`
/// while one of them is silent.
pub(crate) fn common(said: impl Iterator<Item = Option<u32>>) -> Option<u32> {
    // None is the least.
    said.min().flatten()
}

/// What a node says that stops because it is too old for its cluster.
pub(crate) const REMEDY: &str = "nothing of it was applied: install the version of Triad that the other nodes run, and \
     start this node again, see docs/how-to/upgrade.md";

/// Whether this node was sent something of newer rules than it knows.
#[derive(Debug)]
pub(crate) struct Outdated(watch::Sender<Option<String>>);

impl Outdated {
    /// It was not.
    pub(crate) fn new() -> Self {
        Outdated(watch::Sender::new(None))
    }

    /// It was: `what` says by what it is known.
    pub(crate) fn note(&self, what: &dyn fmt::Display) {
        self.0.send_replace(Some(format!(
            "this program is too old for its cluster: {what}; {REMEDY}"
        )));
    }

    /// Resolves when it was.
    pub(crate) async fn found(&self) -> String {
        let mut found = self.0.subscribe();
        let found = found.wait_for(Option::is_some).await.expect("the sender is borrowed");
        found.clone().expect("it was waited for")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_all_are_those_of_the_oldest() {
        let of = |said: &[Option<u32>]| common(said.iter().copied());
        assert_eq!(of(&[Some(2), Some(1), Some(2)]), Some(1));
        assert_eq!(of(&[Some(2), Some(3), Some(2)]), Some(2));
        assert_eq!(of(&[Some(2), None, Some(2)]), None, "one is silent");
        assert_eq!(of(&[Some(2)]), Some(2), "a cluster of one");
    }

    #[test]
    fn who_says_nothing_is_of_the_first_version() {
        let (rules, mut metadata) = (PeerRules::default(), MetadataMap::new());
        assert_eq!(rules.of(2), None);
        say(&mut metadata);
        rules.heard(2, &metadata);
        assert_eq!(rules.of(2), Some(rules_known()));
        for odd in ["", "-1", "4294967296", "two"] {
            metadata.insert(RULES_KEY, odd.parse().expect("ASCII"));
            rules.heard(2, &metadata);
            assert_eq!(rules.of(2), Some(RULES_MIN), "{odd}");
        }
        rules.heard(2, &MetadataMap::new());
        assert_eq!(rules.of(2), Some(RULES_MIN));
        rules.forget(2);
        assert_eq!(rules.of(2), None);
    }
}
