//! Any bytes as an event of the history, and as a history: what can be read is written and read as
//! the same, and the auditor says what does not fit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::pieces;
use triad_ledger::{Auditor, ChainHash, FAULTS_MAX, decode_event, encode_event};

fuzz_target!(|bytes: &[u8]| {
    match decode_event(bytes) {
        Ok(event) => assert_eq!(decode_event(&encode_event(&event)), Ok(event)),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let mut auditor = Auditor::new(0, ChainHash::default());
    pieces(bytes).iter().for_each(|event| auditor.observe(event));
    assert!(auditor.faults().len() <= FAULTS_MAX);
    let _ = auditor.finish((1, ChainHash::default()));
});
