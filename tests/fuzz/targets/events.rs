//! Any bytes as an event of the history: what can be read is written and read as the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_ledger::{decode_event, encode_event};

fuzz_target!(|bytes: &[u8]| {
    match decode_event(bytes) {
        Ok(event) => assert_eq!(decode_event(&encode_event(&event)), Ok(event)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
