//! Any bytes as each message that a server receives, down to the commands that become of it; and
//! as the status that a client receives.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tonic::Status;
use triad_ledger::names::{CheckoutId, RequestId};
use triad_ledger::{Command, decode_commands, encode_commands};
use triad_proto::borrow;
use triad_proto::v1;
use triad_proto::v1::Refusal;
use triad_proto::v1::session_call::Call;
use triad_raft::fuzzing as raft;
use triad_server::fuzzing as edge;

/// The date, ms since 1970 UTC.
const DATE_MS: u64 = 1_796_000_000_000;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let outcome = match kind {
        // From applications.
        0 => read(bytes, session),
        1 => read(bytes, checkout),
        2 => read(bytes, checkin),
        3 => read(bytes, |m: v1::HeartbeatRequest| edge::session_id(&m.session_id).map(drop)),
        4 => read(bytes, |m: v1::CloseSessionRequest| edge::session_id(&m.session_id).map(drop)),
        5 => read(bytes, |m: v1::CancelRequest| cancel(&m)),
        // From administrators.
        6 => read(bytes, |_: v1::StatusRequest| Ok(())),
        7 => read(bytes, |_: v1::ListFeaturesRequest| Ok(())),
        8 => read(bytes, |m: v1::ListSessionsRequest| edge::session_token(&m.page_token).map(drop)),
        9 => read(bytes, |_: v1::ListCheckoutsRequest| Ok(())),
        10 => read(bytes, |_: v1::ListLicensesRequest| Ok(())),
        11 => read(bytes, |_: v1::ApplyLicenseRequest| Ok(())),
        12 => read(bytes, |_: v1::TransferLeaderRequest| Ok(())),
        13 => read(bytes, |_: v1::GetPolicyRequest| Ok(())),
        14 => read(bytes, |_: v1::CheckPolicyRequest| Ok(())),
        15 => read(bytes, |_: v1::ApplyPolicyRequest| Ok(())),
        16 => read(bytes, explain),
        17 => read(bytes, |_: v1::ListQueueRequest| Ok(())),
        18 => read(bytes, |m: v1::RevokeCheckoutRequest| revoke(&m)),
        19 => read(bytes, |_: v1::MarkLostRequest| Ok(())),
        20 => read(bytes, |_: v1::ListEventsRequest| Ok(())),
        21 => read(bytes, |_: v1::VerifyHistoryRequest| Ok(())),
        // From peers.
        22 => read(bytes, |m: v1::AppendRequest| Ok(raft::append(m))),
        23 => read(bytes, |m: v1::VoteRequest| Ok(raft::vote(m))),
        24 => read(bytes, |_: v1::PreVoteRequest| Ok(())),
        25 => read(bytes, |m: v1::InstallSnapshotRequest| Ok(install_snapshot(m))),
        26 => read(bytes, |_: v1::TakeLeadershipRequest| Ok(())),
        27 => read(bytes, |_: v1::FetchHistoryRequest| Ok(())),
        28 => read(bytes, |m: v1::FetchHistoryResponse| Ok(raft::history_part(m))),
        // What a client is given.
        29 => Ok(token(bytes)),
        _ => Ok(status(*kind, bytes)),
    };
    if let Err(refusal) = outcome {
        assert!(!refusal.message.is_empty(), "refused without a reason");
        let travelled = Refusal::typed(&refusal.clone().into_status());
        assert_eq!(travelled, Some(refusal));
    }
});

/// Reads a message, and what was written of it once more.
fn read<M: Message + Default + Clone + PartialEq + Debug>(
    bytes: &[u8],
    edge: impl FnOnce(M) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let Ok(message) = M::decode(bytes) else { return Ok(()) };
    let again = M::decode(message.encode_to_vec().as_slice());
    assert_eq!(again.as_ref(), Ok(&message));
    edge(message)
}

/// What came through the edge can stand in the log.
fn logged(command: Command) {
    let bytes = encode_commands(std::slice::from_ref(&command));
    assert_eq!(decode_commands(&bytes), Ok(vec![command]));
}

fn session(message: v1::SessionRequest) -> Result<(), Refusal> {
    let session = edge::session_id(&[1; 16])?;
    for call in message.calls.into_iter().filter_map(|call| call.call) {
        match call {
            Call::Open(open) => logged(Command::Open {
                session: edge::session_id(&open.session_id)?,
                holder: edge::holder(open.holder)?,
                lease_ms: open.lease_ms,
                resume: open.resume,
            }),
            Call::Take(take) => logged(Command::Checkout {
                session,
                request: edge::request_id(take.request_id)?,
                answered_through: RequestId(take.answered_through),
                items: edge::items(take.items)?,
                wait: edge::wait(take.wait),
            }),
            Call::Borrow(borrow) => logged(Command::Borrow {
                session,
                request: edge::request_id(borrow.request_id)?,
                answered_through: RequestId(borrow.answered_through),
                items: edge::items(borrow.items)?,
                until_ms: edge::borrow_end(borrow.end, DATE_MS)?,
            }),
            Call::GiveBack(back) => logged(Command::Checkin {
                session,
                request: edge::request_id(back.request_id)?,
                answered_through: RequestId(back.answered_through),
                checkout: CheckoutId(back.checkout_id),
            }),
            Call::Cancel(cancel) => logged(Command::Cancel {
                session,
                request: edge::request_id(cancel.request_id)?,
                answered: cancel.answer_received,
            }),
            Call::Idle(_) | Call::Beat(_) | Call::Close(_) => {}
        }
    }
    Ok(())
}

fn checkout(message: v1::CheckoutRequest) -> Result<(), Refusal> {
    let session = edge::session_id(&message.session_id)?;
    let holder = edge::holder(message.holder)?;
    logged(Command::Open { session, holder, lease_ms: message.lease_ms, resume: false });
    logged(Command::Checkout {
        session,
        request: edge::request_id(message.request_id)?,
        answered_through: RequestId(message.answered_through),
        items: edge::items(message.items)?,
        wait: edge::wait(message.wait),
    });
    Ok(())
}

fn cancel(message: &v1::CancelRequest) -> Result<(), Refusal> {
    logged(Command::Cancel {
        session: edge::session_id(&message.session_id)?,
        request: edge::request_id(message.request_id)?,
        answered: false,
    });
    Ok(())
}

fn revoke(message: &v1::RevokeCheckoutRequest) -> Result<(), Refusal> {
    logged(Command::Revoke {
        checkout: CheckoutId(message.checkout_id),
        reason: edge::reason(&message.reason)?,
        block_ms: message.block_ms,
    });
    Ok(())
}

fn explain(message: v1::ExplainRequest) -> Result<(), Refusal> {
    edge::holder(message.holder)?;
    edge::address(&message.address)?;
    edge::one_item(message.item).map(drop)
}

fn checkin(message: v1::CheckinRequest) -> Result<(), Refusal> {
    logged(Command::Checkin {
        session: edge::session_id(&message.session_id)?,
        request: edge::request_id(message.request_id)?,
        answered_through: RequestId(message.answered_through),
        checkout: CheckoutId(message.checkout_id),
    });
    Ok(())
}

fn install_snapshot(message: v1::InstallSnapshotRequest) {
    use v1::install_snapshot_request::Part;
    match message.part {
        Some(Part::Header(header)) => raft::membership(header.membership.unwrap_or_default()),
        Some(Part::Chunk(chunk)) => drop(raft::open_snapshot(&chunk)),
        None => {}
    }
}

/// A borrow token, as an application finds it on its disk.
fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = borrow::look_into(text);
    let verified = borrow::verify(text, b"", &borrow::Here::default());
    assert!(verified.is_err(), "believed without an authority");
}

/// What a client makes of a status with such details.
fn status(code: u8, details: &[u8]) {
    let status = Status::with_details(i32::from(code).into(), "no", details.to_vec().into());
    let refusal = Refusal::from_status(&status);
    let _ = Refusal::typed(&refusal.into_status());
}
