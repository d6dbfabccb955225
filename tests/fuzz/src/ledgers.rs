//! What must hold of every ledger, whatever was done to it.

use std::collections::BTreeMap;

use triad_ledger::{Ledger, decode_event, encode_event};

/// A ledger together with the image that its changes add up to.
#[derive(Default)]
pub struct Watched {
    /// The ledger.
    pub ledger: Ledger,
    image: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Watched {
    /// The books balance, and every event survives its bytes.
    pub fn check(&mut self) {
        self.ledger.assert_balanced();
        for event in self.ledger.take_events() {
            assert_eq!(decode_event(&encode_event(&event)).as_ref(), Ok(&event));
        }
    }

    /// Its changes are its records, and these are enough to come back from.
    pub fn check_records(&mut self) {
        for change in self.ledger.take_changes() {
            match change.value {
                Some(value) => self.image.insert(change.key, value),
                None => self.image.remove(&change.key),
            };
        }
        let image = self.image.iter().map(|(key, value)| (key.clone(), value.clone()));
        assert!(image.eq(self.ledger.records()), "the image is not the ledger");
        let restored = Ledger::from_records(self.ledger.records());
        let restored = restored.expect("its own records can be read");
        assert_eq!(restored.state_hash(), self.ledger.state_hash(), "the hash after a restart");
        assert_eq!(restored.chain(), self.ledger.chain(), "the chain after a restart");
        assert_eq!(restored.next_due_ms(), self.ledger.next_due_ms(), "what is due");
        assert_eq!(restored.next_due_cluster_ms(), self.ledger.next_due_cluster_ms());
    }
}
