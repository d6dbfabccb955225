//! Any bytes as the commands of a log entry, applied at any times: the books balance, nothing
//! stops, and a restart changes nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::ledgers::Watched;
use triad_ledger::{At, Command, Holder, Item, decode_commands, encode_commands};

/// More would only be slow.
const COMMANDS_MAX: usize = 200;

/// So many explanations show what more would.
const EXPLAINED_MAX: usize = 8;

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (cluster, date, bytes) = input;
    let Ok(commands) = decode_commands(bytes) else { return };
    assert_eq!(decode_commands(&encode_commands(&commands)).as_ref(), Ok(&commands));
    // Steps of any size: a millisecond, a day, and those that end at the end of time.
    let (cluster_step, date_step) = (1u64 << (cluster % 64), 1u64 << (date % 64));
    let at = |number: u64| At {
        index: number,
        term: 1 + number / 8,
        cluster_ms: number.saturating_mul(cluster_step),
        date_ms: number.saturating_mul(date_step),
    };
    let mut watched = Watched::default();
    for (number, command) in (1..).zip(commands.iter().take(COMMANDS_MAX)) {
        if let Err(denial) = watched.ledger.apply(at(number), command) {
            let refusal = triad_server::fuzzing::denial(&denial);
            assert!(!refusal.message.is_empty());
        }
        watched.check();
    }
    watched.check_records();
    for item in commands.iter().flat_map(items).take(EXPLAINED_MAX) {
        assert!(!watched.ledger.explain(&Holder::default(), item).is_empty());
    }
    let end = At { index: u64::MAX, term: u64::MAX, cluster_ms: u64::MAX, date_ms: u64::MAX };
    let _ = watched.ledger.apply(end, &Command::Tick);
    watched.check();
    watched.check_records();
});

fn items(command: &Command) -> &[Item] {
    match command {
        Command::Checkout { items, .. } | Command::Borrow { items, .. } => items,
        _ => &[],
    }
}
