//! Any records as a ledger: refused, or a ledger that goes on.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_fuzz::pieces;
use triad_ledger::names::{CheckoutId, FeatureName, PoolId, RequestId, Seats, SessionId};
use triad_ledger::{At, Command, Holder, Item, Ledger};

fuzz_target!(|bytes: &[u8]| {
    let pieces = pieces(bytes);
    let pairs = pieces.chunks_exact(2).map(|pair| (pair[0].to_vec(), pair[1].to_vec()));
    let mut ledger = match Ledger::from_records(pairs) {
        Ok(ledger) => ledger,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    check(&ledger);
    let restored = Ledger::from_records(ledger.records()).expect("its own records can be read");
    assert_eq!(restored.state_hash(), ledger.state_hash());
    let now = ledger.at();
    let features: Vec<FeatureName> =
        ledger.pools().take(8).map(|(_, pool)| pool.key.feature.clone()).collect();
    let _ = ledger.pools().map(|(PoolId(id), _)| id).max();
    let session = SessionId([0xF1; 16]);
    let open = Command::Open { session, holder: Holder::default(), lease_ms: 1_000, resume: false };
    let _ = ledger.apply(At { index: now.index.wrapping_add(1), ..now }, &open);
    for (number, feature) in (1..).zip(features) {
        let item = Item { feature, version: Default::default(), seats: Seats::MIN };
        let take = Command::Checkout {
            session,
            request: RequestId(number),
            answered_through: RequestId(0),
            items: vec![item],
            wait: None,
        };
        let _ = ledger.apply(now, &take);
        check(&ledger);
    }
    let sessions: Vec<SessionId> = ledger.sessions(None).map(|(id, _)| id).take(8).collect();
    for (_, checkout) in ledger.checkouts(CheckoutId(0)) {
        let _ = ledger.granted_items(checkout);
    }
    for session in sessions {
        let _ = ledger.apply(now, &Command::Close { session });
        check(&ledger);
    }
    let end = At { cluster_ms: u64::MAX, date_ms: u64::MAX, ..now };
    let _ = ledger.apply(end, &Command::Tick);
    check(&ledger);
    ledger.take_changes();
    Ledger::from_records(ledger.records()).expect("its own records can be read");
});

/// Records may say that somebody waits for what is free; all else must balance.
fn check(ledger: &Ledger) {
    if ledger.waiting().next().is_none() {
        ledger.assert_balanced();
    }
}
