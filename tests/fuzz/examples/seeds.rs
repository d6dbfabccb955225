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
        for event in events.iter().step_by(5) {
            let bytes = encode_event(event);
            write("events", &format!("{number}.{}", event.sequence), &bytes)?;
        }
    }
    let terms = fs::read_to_string(seeds.join("license_text/plain.toml"))?;
    write("license_altered", "plain", &[&[120, 0, 1, 1, b'7'], terms.as_bytes()].concat())?;
    write("license_altered", "blank", &[&[30, 0, 0, 1, b' '], terms.as_bytes()].concat())?;
    let document = issue(&terms, &[&publisher()]).expect("the terms in the documentation");
    write("license_text", "signed.lic", document.as_bytes())?;
    for (number, (name, bytes)) in (0u8..).zip(messages()) {
        write("wire", name, &[&[number], bytes.as_slice()].concat())?;
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

/// One of each message, in the order of the target.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let session_id = vec![1; 16];
    let holder = Some(v1::Holder {
        user: "anna".into(),
        host: "n1".into(),
        display: ":0".into(),
        project: "p".into(),
        application: "cad".into(),
        pid: 7,
    });
    let items = vec![v1::Item { feature: "solver".into(), version: "2026.1".into(), seats: 2 }];
    let calls = [
        v1::session_call::Call::Open(v1::Open {
            session_id: session_id.clone(),
            holder: holder.clone(),
            lease_ms: 30_000,
            ..Default::default()
        }),
        v1::session_call::Call::Take(v1::Take {
            request_id: 1,
            answered_through: 0,
            items: items.clone(),
            ..Default::default()
        }),
        v1::session_call::Call::GiveBack(v1::GiveBack {
            request_id: 2,
            answered_through: 1,
            checkout_id: 1,
        }),
        v1::session_call::Call::Beat(v1::Beat { beat: 3 }),
    ];
    let calls = calls.map(|call| v1::SessionCall { call: Some(call) }).into();
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
        v1::log_entry::Payload::Blank(v1::Blank {}),
        v1::log_entry::Payload::Membership(membership.clone()),
        v1::log_entry::Payload::Batch(vec![8, 1, 16, 2, 26, 4, 10, 2, 58, 0].into()),
    ];
    let entries =
        payloads.map(|payload| v1::LogEntry { id: Some(id), payload: Some(payload) }).into();
    let header = v1::SnapshotHeader {
        vote,
        last_log: Some(id),
        membership: Some(membership),
        membership_log: Some(id),
        bytes_total: 9,
    };
    let part = v1::install_snapshot_request::Part::Header(header);
    vec![
        ("session", v1::SessionRequest { calls }.encode_to_vec()),
        (
            "checkout",
            v1::CheckoutRequest {
                session_id: session_id.clone(),
                holder,
                lease_ms: 30_000,
                request_id: 1,
                items,
                ..Default::default()
            }
            .encode_to_vec(),
        ),
        (
            "checkin",
            v1::CheckinRequest {
                session_id: session_id.clone(),
                request_id: 2,
                answered_through: 1,
                checkout_id: 1,
            }
            .encode_to_vec(),
        ),
        ("heartbeat", v1::HeartbeatRequest { session_id: session_id.clone() }.encode_to_vec()),
        ("close", v1::CloseSessionRequest { session_id }.encode_to_vec()),
        ("status", Vec::new()),
        ("features", v1::ListFeaturesRequest { feature: "solver".into() }.encode_to_vec()),
        (
            "sessions",
            v1::ListSessionsRequest { page_size: 5, page_token: "0f".into() }.encode_to_vec(),
        ),
        (
            "checkouts",
            v1::ListCheckoutsRequest { page_size: 5, page_token: "7".into(), ..Default::default() }
                .encode_to_vec(),
        ),
        ("licenses", Vec::new()),
        ("apply", v1::ApplyLicenseRequest { text: "text".into() }.encode_to_vec()),
        ("transfer", v1::TransferLeaderRequest { to_node_id: 2 }.encode_to_vec()),
        (
            "append",
            v1::AppendRequest { vote, previous: Some(id), entries, committed: Some(id) }
                .encode_to_vec(),
        ),
        ("vote", v1::VoteRequest { vote, last_log: Some(id), transfer: true }.encode_to_vec()),
        ("pre_vote", v1::PreVoteRequest { vote, last_log: Some(id) }.encode_to_vec()),
        ("snapshot", v1::InstallSnapshotRequest { part: Some(part) }.encode_to_vec()),
        (
            "take_leadership",
            v1::TakeLeadershipRequest { from_leader: vote, to_node_id: 2, last_log: Some(id) }
                .encode_to_vec(),
        ),
    ]
}
