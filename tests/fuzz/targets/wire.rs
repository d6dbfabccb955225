//! Any bytes as each message that a server receives, down to the commands that become of it; and
//! as the status that a client receives.

#![no_main]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tonic::Status;
use triad_ledger::names::{CheckoutId, RequestId};
use triad_ledger::{Command, decode_commands, encode_commands};
use triad_proto::v1;
use triad_proto::v1::Refusal;
use triad_proto::v1::session_call::Call;
use triad_raft::fuzzing as raft;
use triad_server::fuzzing as edge;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let outcome = match kind {
        0 => read(bytes, session),
        1 => read(bytes, checkout),
        2 => read(bytes, checkin),
        3 => read(bytes, |m: v1::HeartbeatRequest| edge::session_id(&m.session_id).map(drop)),
        4 => read(bytes, |m: v1::CloseSessionRequest| edge::session_id(&m.session_id).map(drop)),
        5 => read(bytes, |_: v1::StatusRequest| Ok(())),
        6 => read(bytes, |_: v1::ListFeaturesRequest| Ok(())),
        7 => read(bytes, |m: v1::ListSessionsRequest| edge::session_token(&m.page_token).map(drop)),
        8 => read(bytes, |_: v1::ListCheckoutsRequest| Ok(())),
        9 => read(bytes, |_: v1::ListLicensesRequest| Ok(())),
        10 => read(bytes, |_: v1::ApplyLicenseRequest| Ok(())),
        11 => read(bytes, |_: v1::TransferLeaderRequest| Ok(())),
        12 => read(bytes, |m: v1::AppendRequest| Ok(raft::append(m))),
        13 => read(bytes, |m: v1::VoteRequest| Ok(raft::vote(m))),
        14 => read(bytes, |_: v1::PreVoteRequest| Ok(())),
        15 => read(bytes, |m: v1::InstallSnapshotRequest| Ok(install_snapshot(m))),
        16 => read(bytes, |_: v1::TakeLeadershipRequest| Ok(())),
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
                wait: None,
            }),
            Call::GiveBack(back) => logged(Command::Checkin {
                session,
                request: edge::request_id(back.request_id)?,
                answered_through: RequestId(back.answered_through),
                checkout: CheckoutId(back.checkout_id),
            }),
            Call::Beat(_) | Call::Close(_) => {}
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
        wait: None,
    });
    Ok(())
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

/// What a client makes of a status with such details.
fn status(code: u8, details: &[u8]) {
    let status = Status::with_details(i32::from(code).into(), "no", details.to_vec().into());
    let refusal = Refusal::from_status(&status);
    let _ = Refusal::typed(&refusal.into_status());
}
