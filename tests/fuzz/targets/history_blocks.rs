//! Any bytes as a block of the history's files, under a checksum that fits: as they are, and
//! compressed, so that what is inside is reached.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_raft::fuzzing::{history_block, packed};

fuzz_target!(|input: (u64, u32, u32, &[u8])| {
    let (first, events, raw_bytes, bytes) = input;
    history_block(first, events, raw_bytes, bytes);
    // A handful: with any number of events, hardly one block would be right.
    history_block(first, events % 8, bytes.len() as u32, &packed(bytes));
});
