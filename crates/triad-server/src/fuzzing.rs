//! The door for `tests/fuzz`: the edge of the wire, in fuzz builds alone.

use std::net::IpAddr;

use triad_ledger::names::{Label, RequestId, SessionId};
use triad_ledger::{Denial, Holder, Item, QueueWait};
use triad_proto::v1;
use triad_proto::v1::Refusal;

use crate::{admin_service, convert};

/// A session id, as every request has one.
pub fn session_id(bytes: &[u8]) -> Result<SessionId, Refusal> {
    convert::session_id(bytes)
}

/// The number of a request.
pub fn request_id(number: u64) -> Result<RequestId, Refusal> {
    convert::request_id(number)
}

/// Who asks.
pub fn holder(holder: Option<v1::Holder>) -> Result<Holder, Refusal> {
    convert::holder(holder, None)
}

/// What is wanted.
pub fn items(items: Vec<v1::Item>) -> Result<Vec<Item>, Refusal> {
    convert::items(items)
}

/// What one item asks for.
pub fn one_item(item: Option<v1::Item>) -> Result<Item, Refusal> {
    convert::one_item(item)
}

/// How it waits.
pub fn wait(wait: Option<v1::Wait>) -> Option<QueueWait> {
    convert::wait(wait)
}

/// When borrowed seats come back.
pub fn borrow_end(end: Option<v1::borrow::End>, date_ms: u64) -> Result<u64, Refusal> {
    convert::borrow_end(end, date_ms)
}

/// An address as an administrator writes it.
pub fn address(text: &str) -> Result<Option<IpAddr>, Refusal> {
    convert::address(text)
}

/// Words of an administrator.
pub fn reason(text: &str) -> Result<Label, Refusal> {
    convert::reason(text)
}

/// What the ledger denied, in the words of the wire.
pub fn denial(denial: &Denial) -> Refusal {
    convert::denial(denial)
}

/// Where a page of sessions begins.
pub fn session_token(token: &str) -> Result<Option<SessionId>, Refusal> {
    admin_service::session_token(token)
}
