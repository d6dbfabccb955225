//! Bytes from anywhere: what can be read is what was written, and nothing
//! else makes the reader stop.

use proptest::prelude::*;
use triad_ledger::{
    At, CodecError, Command, Ledger, RULES, RULES_MIN, RecordKey, decode_commands, decode_event,
    encode_commands, encode_event,
};

use crate::actions::{Scribe, histories};

/// A small ledger's records and its events as bytes, and its commands.
fn sample(actions: &[crate::Action]) -> (Ledger, Vec<Vec<u8>>, Vec<u8>) {
    let (mut scribe, mut ledger) = (Scribe::default(), Ledger::default());
    let mut commands = Vec::new();
    for action in actions {
        let (at, command) = scribe.write(action, 9, ledger.state_hash());
        let _ = ledger.apply(at, &command);
        commands.push(command);
    }
    let events = ledger.take_events().iter().map(encode_event).collect();
    let bytes = encode_commands(&commands);
    assert_eq!(decode_commands(&bytes), Ok(commands));
    (ledger, events, bytes)
}

fn damage(bytes: &mut Vec<u8>, cut: bool, at: prop::sample::Index, byte: u8) {
    if bytes.is_empty() {
        return;
    }
    let at = at.index(bytes.len());
    if cut {
        bytes.truncate(at);
    } else {
        bytes[at] ^= byte;
    }
}

proptest! {
    #![proptest_config(crate::quiet())]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(commands) = decode_commands(&bytes) {
            prop_assert_eq!(decode_commands(&encode_commands(&commands)), Ok(commands));
        }
        if let Ok(event) = decode_event(&bytes) {
            prop_assert_eq!(decode_event(&encode_event(&event)), Ok(event));
        }
        if let Some(key) = RecordKey::from_bytes(&bytes) {
            prop_assert_eq!(key.to_bytes(), bytes.clone());
        }
        // Each kind of record, with a key that fits and a value that does not.
        for kind in 0..=6u8 {
            let id = [b'x'; 16];
            let length = [0, 4, 4, 16, 8, 8, 3][usize::from(kind)];
            let key = [&[kind], &id[..length]].concat();
            let _ = Ledger::from_records([(key, bytes.clone())]);
        }
    }

    #[test]
    fn damaged_bytes_are_read_or_refused(
        actions in histories(1..30),
        cut in any::<bool>(),
        at in any::<prop::sample::Index>(),
        byte in 1u8..,
    ) {
        let (ledger, events, mut commands) = sample(&actions);
        damage(&mut commands, cut, at, byte);
        if let Ok(commands) = decode_commands(&commands) {
            prop_assert_eq!(decode_commands(&encode_commands(&commands)), Ok(commands));
        }
        for mut event in events {
            damage(&mut event, cut, at, byte);
            if let Ok(event) = decode_event(&event) {
                prop_assert_eq!(decode_event(&encode_event(&event)), Ok(event));
            }
        }
        // Damage of a record may go unnoticed here, as the store has checksums,
        // but what is restored balances.
        let mut records: Vec<_> = ledger.records().collect();
        let which = at.index(records.len());
        damage(&mut records[which].1, cut, at, byte);
        if let Ok(restored) = Ledger::from_records(records) {
            restored.assert_balanced();
        }
    }
}

#[test]
fn records_that_do_not_belong_together_are_refused() {
    let mut scribe = Scribe::default();
    let mut ledger = Ledger::default();
    // Open the session, license the feature, take a seat.
    for command in crate::history_forged::one_seat_taken() {
        let (at, _) = scribe.write(&crate::Action::Term, 0, ledger.state_hash());
        ledger.apply(at, &command).expect("nothing to deny");
    }
    let records: Vec<_> = ledger.records().collect();
    let kinds: Vec<u8> = records.iter().map(|(key, _)| key[0]).collect();
    assert_eq!(kinds, [0, 1, 2, 3, 4]);
    for missing in [2, 3] {
        let some = records.iter().filter(|(key, _)| key[0] != missing).cloned();
        assert_eq!(Ledger::from_records(some).err(), Some(CodecError::Orphan), "kind {missing}");
    }
    let ended = |number: u64, session: u8| {
        let key = RecordKey::Ended(number).to_bytes();
        (key, [&[10, 16], [session; 16].as_slice()].concat())
    };
    for (first, second) in [(ended(1, 1), ended(2, 2)), (ended(1, 2), ended(2, 2))] {
        let both = records.iter().cloned().chain([first, second]);
        assert_eq!(Ledger::from_records(both).err(), Some(CodecError::Ended));
    }
    let headless = records.iter().filter(|(key, _)| key[0] != 0).cloned();
    assert_eq!(Ledger::from_records(headless).err(), Some(CodecError::NoMeta));
    let stranger = std::iter::once((vec![9, 9], Vec::new()));
    let with_stranger = records.into_iter().chain(stranger);
    assert_eq!(Ledger::from_records(with_stranger).err(), Some(CodecError::Key));
}

/// The value with one more number; of two with the same tag the later counts.
fn with_number(value: &[u8], tag: u8, mut number: u64) -> Vec<u8> {
    let mut value = [value, &[tag << 3]].concat();
    while number > 0x7F {
        value.push(number as u8 | 0x80);
        number >>= 7;
    }
    value.push(number as u8);
    value
}

#[test]
fn numbers_that_would_be_given_out_again_are_refused() {
    let mut scribe = Scribe::default();
    let mut ledger = Ledger::default();
    for command in crate::history_forged::one_seat_taken() {
        let (at, _) = scribe.write(&crate::Action::Term, 0, ledger.state_hash());
        ledger.apply(at, &command).expect("nothing to deny");
    }
    let records: Vec<_> = ledger.records().collect();
    let altered = |kind: u8, tag: u8, number: u64| {
        let alter = |(key, value): (Vec<u8>, Vec<u8>)| {
            let value = if key[0] == kind { with_number(&value, tag, number) } else { value };
            (key, value)
        };
        Ledger::from_records(records.iter().cloned().map(alter)).err()
    };
    // The last checkout, pool, event and ticket; the seats and the overdraft of a pool.
    for (kind, tag) in [(0, 2), (0, 3), (0, 4), (0, 6), (2, 2), (2, 3)] {
        assert_eq!(altered(kind, tag, 1), None, "kind {kind}, tag {tag}");
        let far = if (kind, tag) == (0, 3) { u32::MAX.into() } else { u64::MAX };
        assert_eq!(altered(kind, tag, far), Some(CodecError::Counters), "kind {kind}, tag {tag}");
    }
    for tag in [2, 3] {
        assert_eq!(altered(0, tag, 0), Some(CodecError::Counters), "tag {tag}");
    }
    let end = (RecordKey::Ended(u64::MAX).to_bytes(), [&[10, 16], [9; 16].as_slice()].concat());
    let with_end = records.iter().cloned().chain([end]);
    assert_eq!(Ledger::from_records(with_end).err(), Some(CodecError::Counters));
}

/// A ledger of newer rules is not read: this program would not do with it what the
/// others do. One that says nothing is of the first.
#[test]
fn a_ledger_of_newer_rules_is_refused() {
    let mut ledger = Ledger::default();
    ledger.apply(At { index: 1, ..At::default() }, &Command::Tick).expect("nothing to deny");
    assert_eq!(ledger.rules(), RULES_MIN);
    let of_rules = |rules: u32| {
        let record = |(key, value): (Vec<u8>, Vec<u8>)| (key, with_number(&value, 8, rules.into()));
        Ledger::from_records(ledger.records().map(record)).map(|ledger| ledger.rules())
    };
    assert_eq!(of_rules(RULES), Ok(RULES));
    let (needed, known) = (RULES + 1, RULES);
    assert_eq!(of_rules(needed), Err(CodecError::NewerRules { needed, known }));
}

#[test]
fn a_fresh_ledger_is_the_same_after_a_restart() {
    let mut fresh = Ledger::default();
    fresh.take_changes();
    let restored = Ledger::from_records(fresh.records()).expect("nothing to misread");
    assert_eq!(restored.state_hash(), fresh.state_hash());
    // The first entry of all may carry the first instant of all.
    fresh.apply(At::default(), &Command::Tick).expect("nothing to deny");
    fresh.take_changes();
    let restored = Ledger::from_records(fresh.records()).expect("its own records");
    assert_eq!(restored.state_hash(), fresh.state_hash());
}
