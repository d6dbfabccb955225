//! Any bytes as a snapshot that a peer sends, as they are and with checksums that fit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::pieces;
use triad_raft::fuzzing::{open_snapshot, snapshot_of};

fuzz_target!(|bytes: &[u8]| {
    let _ = open_snapshot(bytes);
    let mut framed = Vec::new();
    for payload in pieces(bytes) {
        framed.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        framed.extend_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        framed.extend_from_slice(payload);
    }
    if let Ok(ledger) = open_snapshot(&framed) {
        let again = open_snapshot(&snapshot_of(&ledger)).expect("its own snapshot can be read");
        assert_eq!(again.state_hash(), ledger.state_hash());
    }
});
