//! Writes the seeds that are not text, from histories of a small cluster, to `seeds/`.
//!
//! `RUSTFLAGS="--cfg fuzzing" cargo run --example seeds`, in this folder. The result is committed,
//! so this is needed only when a format has grown.

#[allow(dead_code)]
#[path = "../../../crates/triad-ledger/tests/model/actions.rs"]
mod actions;

use std::fs;
use std::path::Path;

use actions::{Scribe, rich_histories};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use prost::Message;
use triad_fuzz::{joined, publisher};
use triad_ledger::names::CheckoutId;
use triad_ledger::{Ledger, encode_commands, encode_event};
use triad_license::issue;
use triad_proto::v1;
use triad_proto::v1::log_entry::Payload;
use triad_proto::v1::session_call::Call;
use triad_raft::fuzzing::snapshot_of;

/// How many histories are kept.
const HISTORIES: u8 = 3;

fn main() -> std::io::Result<()> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    let write = |target: &str, name: &str, bytes: &[u8]| {
        fs::create_dir_all(seeds.join(target))?;
        fs::write(seeds.join(target).join(name), bytes)
    };
    for number in 0..HISTORIES {
        let dice = TestRng::from_seed(RngAlgorithm::ChaCha, &[number; 32]);
        let mut dice = TestRunner::new_with_rng(Config::default(), dice);
        let tree = rich_histories(25..30).new_tree(&mut dice).expect("nothing is rejected");
        let name = format!("history{number}");

        let (mut scribe, mut ledger) = (Scribe::default(), Ledger::default());
        let (mut commands, mut events) = (Vec::new(), Vec::new());
        for action in tree.current() {
            let last = ledger.checkouts(CheckoutId(0)).last().map_or(0, |(id, _)| id.0);
            let (at, command) = scribe.write(&action, last, ledger.state_hash());
            let _ = ledger.apply(at, &command);
            events.extend(ledger.take_events());
            commands.push(command);
        }
        ledger.take_changes();
        // After the steps of both clocks.
        write(
            "ledger_commands",
            &name,
            &[&[3, 20], encode_commands(&commands).as_slice()].concat(),
        )?;
        let records: Vec<_> = ledger.records().flat_map(|(key, value)| [key, value]).collect();
        write("ledger_records", &name, &joined(records.iter().map(Vec::as_slice)))?;
        let snapshot = snapshot_of(&ledger);
        if number == 0 {
            write("snapshot", "framed", &snapshot)?;
        }
        write("snapshot", &name, &joined(payloads(&snapshot)))?;
        let events: Vec<_> = events.iter().map(encode_event).collect();
        write("events", &name, &joined(events.iter().map(Vec::as_slice)))?;
        for (at, event) in events.iter().enumerate().step_by(7) {
            write("events", &format!("{name}.{at}"), event)?;
        }
    }
    let terms = fs::read_to_string(seeds.join("license_text/plain.toml"))?;
    write("license_altered", "plain", &[&[120, 0, 1, 1, b'7'], terms.as_bytes()].concat())?;
    write("license_altered", "blank", &[&[30, 0, 0, 1, b' '], terms.as_bytes()].concat())?;
    let document = issue(&terms, &[&publisher()]).expect("the terms in the documentation");
    write("license_text", "signed.lic", document.as_bytes())?;
    for (kind, name, bytes) in messages() {
        write("wire", name, &[&[kind], bytes.as_slice()].concat())?;
    }
    Ok(())
}

/// The payloads of a snapshot's frames.
fn payloads(mut snapshot: &[u8]) -> Vec<&[u8]> {
    let mut payloads = Vec::new();
    while let Some((length, rest)) = snapshot.split_first_chunk::<4>() {
        let (payload, after) = rest[4..].split_at(u32::from_le_bytes(*length) as usize);
        payloads.push(payload);
        snapshot = after;
    }
    payloads
}

/// Some of the messages, with their kind in the target.
fn messages() -> Vec<(u8, &'static str, Vec<u8>)> {
    let session_id = vec![1; 16];
    let holder = Some(v1::Holder {
        user: "anna".into(),
        host: "n1".into(),
        display: ":0".into(),
        project: "p".into(),
        application: "cad".into(),
        pid: 7,
        vendor_data: "v".into(),
        hostids: vec!["MACHINE_ID:1".into()],
    });
    let item = v1::Item { feature: "solver".into(), version: "2026.1".into(), seats: 2 };
    let items = vec![item.clone()];
    let wait = Some(v1::Wait { timeout_ms: 9, priority: Some(1) });
    let open = v1::Open {
        session_id: session_id.clone(),
        holder: holder.clone(),
        lease_ms: 30_000,
        ..Default::default()
    };
    let take = v1::Take { request_id: 1, answered_through: 0, items: items.clone(), wait };
    let borrow = v1::Borrow {
        request_id: 3,
        answered_through: 1,
        items: items.clone(),
        end: Some(v1::borrow::End::DurationMs(1_000)),
    };
    let back = v1::GiveBack { request_id: 2, answered_through: 1, checkout_id: 1 };
    let calls = [
        Call::Open(open),
        Call::Take(take),
        Call::GiveBack(back),
        Call::Borrow(borrow),
        Call::Cancel(v1::Cancel { request_id: 4, answer_received: true }),
        Call::Idle(v1::Idle { is_idle: true, idle_ms: 5 }),
        Call::Beat(v1::Beat { beat: 3 }),
    ];
    let calls = calls.map(|call| v1::SessionCall { call: Some(call) }).into();
    let checkout = v1::CheckoutRequest {
        session_id: session_id.clone(),
        holder: holder.clone(),
        lease_ms: 30_000,
        request_id: 1,
        answered_through: 0,
        items,
        wait,
    };
    let checkin =
        v1::CheckinRequest { session_id, request_id: 2, answered_through: 1, checkout_id: 1 };
    let explain = v1::ExplainRequest {
        holder,
        address: "10.1.2.3".into(),
        item: Some(item),
        policy_text: Some(String::new()),
    };
    let revoke = v1::RevokeCheckoutRequest { checkout_id: 1, reason: "idle".into(), block_ms: 9 };
    let id = v1::LogId { term: 1, node_id: 1, index: 5 };
    let vote = Some(v1::VoteRecord { term: 1, node_id: 1, committed: true });
    let member = v1::Member {
        node_id: 1,
        name: "a".into(),
        peer_address: "a:27071".into(),
        client_address: "a:27070".into(),
    };
    let membership =
        v1::Membership { configs: vec![v1::VoterSet { node_ids: vec![1] }], members: vec![member] };
    let payloads = [
        Payload::Blank(v1::Blank {}),
        Payload::Membership(membership.clone()),
        Payload::Batch(vec![8, 1, 16, 2, 26, 4, 10, 2, 58, 0].into()),
    ];
    let entries =
        payloads.map(|payload| v1::LogEntry { id: Some(id), payload: Some(payload) }).into();
    let append = v1::AppendRequest { vote, previous: Some(id), entries, committed: Some(id) };
    let header = v1::SnapshotHeader {
        vote,
        last_log: Some(id),
        membership: Some(membership),
        membership_log: Some(id),
        bytes_total: 9,
    };
    let header = v1::install_snapshot_request::Part::Header(header);
    let part = v1::FetchHistoryResponse {
        first_sequence: 1,
        chain_before: vec![0; 32],
        events: vec![v1::KeptEvent { sequence: 1, encoded: vec![8, 1] }],
    };
    vec![
        (0, "session", v1::SessionRequest { calls }.encode_to_vec()),
        (1, "checkout", checkout.encode_to_vec()),
        (2, "checkin", checkin.encode_to_vec()),
        (
            8,
            "page",
            v1::ListSessionsRequest { page_size: 5, page_token: "0f".into() }.encode_to_vec(),
        ),
        (16, "explain", explain.encode_to_vec()),
        (18, "revoke", revoke.encode_to_vec()),
        (22, "append", append.encode_to_vec()),
        (23, "vote", v1::VoteRequest { vote, last_log: Some(id), transfer: true }.encode_to_vec()),
        (25, "snapshot", v1::InstallSnapshotRequest { part: Some(header) }.encode_to_vec()),
        (28, "history", part.encode_to_vec()),
        (29, "token", b"-----BEGIN TRIAD BORROW-----\nCgA=\n-----END TRIAD BORROW-----\n".to_vec()),
    ]
}
