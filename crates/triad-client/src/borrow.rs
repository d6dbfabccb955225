//! Borrowed seats: used without a server until an end, on the strength of a
//! token.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use triad_proto::borrow;
pub use triad_proto::borrow::{BorrowError, Here};
use triad_proto::v1::{self, BorrowTerms};

use crate::error::Error;

/// How long seats are borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BorrowEnd {
    /// For so long from now.
    For(Duration),
    /// Until then.
    Until(SystemTime),
}

impl BorrowEnd {
    pub(crate) fn to_wire(self) -> v1::borrow::End {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        match self {
            BorrowEnd::For(time) => v1::borrow::End::DurationMs(millis(time)),
            BorrowEnd::Until(at) => {
                v1::borrow::End::UntilMs(millis(at.duration_since(UNIX_EPOCH).unwrap_or_default()))
            }
        }
    }
}

/// Seats that were borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// The ledger's number for them, by which they are returned early.
    pub checkout_id: u64,
    /// What was borrowed.
    pub items: Vec<v1::GrantedItem>,
    /// When they come back by themselves.
    pub until: SystemTime,
    /// The text that proves it without a server. Keep it on this machine.
    /// Empty if the servers run without TLS.
    pub token: String,
}

impl Borrowed {
    pub(crate) fn of(lent: v1::BorrowGrant) -> Self {
        let grant = lent.grant.unwrap_or_default();
        Borrowed {
            checkout_id: grant.checkout_id,
            items: grant.items,
            until: UNIX_EPOCH + Duration::from_millis(lent.until_ms),
            token: lent.token,
        }
    }
}

/// Checks a borrow token without a server: that a node of the cluster whose
/// authority is `ca_pem` signed it, for this host, and that its time is not
/// over at `now`. The application then looks in the terms for its feature.
///
/// ```
/// # fn app(token: &str, ca_pem: &[u8]) -> Result<(), triad_client::BorrowError> {
/// let terms = triad_client::verify_borrowed(token, ca_pem, std::time::SystemTime::now())?;
/// let mine = terms.items.iter().find(|item| item.feature == "solver");
/// # let _ = mine; Ok(()) }
/// ```
///
/// # Errors
///
/// See [`BorrowError`].
pub fn verify_borrowed(
    token: &str,
    ca_pem: &[u8],
    now: SystemTime,
) -> Result<BorrowTerms, BorrowError> {
    let now_ms = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let here = Here {
        host: triad_proto::machine::host_name(),
        hostids: triad_proto::machine::hostids(),
        now_ms: u64::try_from(now_ms).unwrap_or(u64::MAX),
    };
    borrow::verify(token, ca_pem, &here)
}

/// Reads a borrow token from a file, believed or not.
///
/// # Errors
///
/// [`Error::Setup`]: no such file, or no token in it.
pub fn read_token(path: &Path) -> Result<(String, BorrowTerms), Error> {
    let setup =
        |error: &dyn std::fmt::Display| Error::Setup(format!("{}: {error}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| setup(&error))?.len();
    if length > borrow::TOKEN_BYTES_MAX as u64 {
        return Err(setup(&"too large for a borrow token"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| setup(&error))?;
    let terms = borrow::look_into(&text).map_err(|error| setup(&error))?;
    Ok((text, terms))
}
