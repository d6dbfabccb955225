//! What the fuzz targets share: a publisher and a site, pieces of an input, and how a policy is
//! compared.

pub mod ledgers;
pub mod log_files;

// The log's own tests have a disk in memory, which looks for its trait here.
pub use triad_raft::disk;
#[path = "../../../crates/triad-raft/src/log/tests/torn_disk.rs"]
pub mod torn_disk;

use triad_ledger::policy::{Policy, RuleId};
use triad_license::{Keyring, PublisherKey, Site};

/// The only publisher that is trusted here. Its key is no secret.
pub fn publisher() -> PublisherKey {
    PublisherKey::generate([1; 32])
}

/// Who trusts it.
pub fn keyring() -> Keyring {
    let mut keyring = Keyring::new();
    keyring.trust(publisher().public()).expect("one key is within the bound");
    keyring
}

/// The site that the documents in `seeds` are bound to.
pub fn site() -> Site<'static> {
    Site { cluster_id: "5b1f0e0c9d7a44e2", hostids: &[] }
}

/// The pieces of an input: each after its length in two bytes, little end first. The last one may
/// be short, so that every input has pieces.
pub fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        bytes = after;
    }
    pieces
}

/// The input that has these pieces.
pub fn joined<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in pieces {
        let length = u16::try_from(piece.len()).expect("a piece of a seed is short");
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(piece);
    }
    bytes
}

/// The policy without what depends on the way it is written: its text, and the lines of its
/// rules.
pub fn meaning(policy: &Policy) -> Policy {
    let mut meaning = Policy { version: 0, text: String::new(), ..policy.clone() };
    for (number, rule) in (1..).zip(&mut meaning.rules) {
        rule.id = RuleId { number, line: 0 };
    }
    meaning
}
