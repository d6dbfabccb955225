//! The door for `tests/fuzz`: the edge of the wire, in fuzz builds alone.

use triad_ledger::names::{RequestId, SessionId};
use triad_ledger::{Denial, Holder, Item};
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
    convert::holder(holder)
}

/// What is wanted.
pub fn items(items: Vec<v1::Item>) -> Result<Vec<Item>, Refusal> {
    convert::items(items)
}

/// What the ledger denied, in the words of the wire.
pub fn denial(denial: &Denial) -> Refusal {
    convert::denial(denial)
}

/// Where a page of sessions begins.
pub fn session_token(token: &str) -> Result<Option<SessionId>, Refusal> {
    admin_service::session_token(token)
}
