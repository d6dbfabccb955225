//! The door for `tests/fuzz`: what a peer may send, given to the code that reads it. It exists
//! in fuzz builds alone.

use openraft::vote::RaftLeaderId;
use triad_ledger::Ledger;
use triad_proto::v1;

use crate::filling::{part_from_wire, part_to_wire};
use crate::image::fuzz_block;
use crate::peers::{append_from_wire, vote_request};
use crate::snapshot::SnapshotFrames;
use crate::types::{
    LeaderId, LogId, StoredMembership, decode_entry, encode_entry, membership_from_wire,
    membership_to_wire,
};

/// The ledger of a snapshot.
pub fn open_snapshot(bytes: &[u8]) -> Result<Ledger, String> {
    SnapshotFrames::open(bytes).map(|opened| opened.image().0).map_err(|error| error.to_string())
}

/// A snapshot of a ledger whose hash is up to date.
pub fn snapshot_of(ledger: &Ledger) -> Vec<u8> {
    let applied = LogId::new(LeaderId::new(1, 1), ledger.at().index);
    SnapshotFrames::of("fuzz", ledger, &applied, &StoredMembership::default()).0.concat()
}

/// Reads the entries of an append, and what was written of them once more.
pub fn append(message: v1::AppendRequest) {
    let Ok(request) = append_from_wire(message) else { return };
    for entry in request.entries {
        let back = decode_entry(&encode_entry(&entry)).expect("what was written can be read");
        assert_eq!(back, entry);
    }
}

/// Reads a vote, with what it is for.
pub fn vote(message: v1::VoteRequest) {
    let _ = vote_request(message.vote, message.last_log, message.transfer);
}

/// Reads a membership, and what was written of it once more.
pub fn membership(message: v1::Membership) {
    let Ok(membership) = membership_from_wire(message) else { return };
    let back = membership_from_wire(membership_to_wire(&membership));
    assert_eq!(back.expect("what was written can be read"), membership);
}

/// Reads a part of the history, and what was written of it once more.
pub fn history_part(message: v1::FetchHistoryResponse) {
    if let Ok(part) = part_from_wire(message.clone()) {
        assert_eq!(part_to_wire(part), message);
    }
}

/// Reads a block of the history's files whose checksum fits, and what was written of it once more.
pub fn history_block(first: u64, events: u32, raw_bytes: u32, packed: &[u8]) {
    fuzz_block(first, events, raw_bytes, packed);
}

/// Compressed as in a block of the history's files.
pub fn packed(raw: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(raw, 1).expect("it is in memory")
}
