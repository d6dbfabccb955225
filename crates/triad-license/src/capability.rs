//! The capability exchange: what a server asks of the publisher's back office,
//! and what that answers. Both are signed text, so that they may travel by
//! network or by file.
//!
//! A request is signed with a key that its server alone has. A response is
//! signed with the publisher's keys, names the one request that it answers, and
//! carries the license, if one is granted, as a document of its own below it.

mod request;
mod response;
mod server_key;

pub use request::{
    CapabilityRequest, CurrentLicense, DeclaredRole, FeatureUsage, Operation, PARTNERS_MAX,
    RIGHTS_PER_REQUEST_MAX, SignedRequest, USAGE_LINES_MAX, WantedRights,
};
pub use response::{
    CapabilityResponse, GroupMember, RefusedRights, ResponseStatus, SignedResponse, is_response,
};
pub use server_key::{ServerKey, ServerPublicKey};

use crate::document::{Frame, LICENSE, digest_of, position};
use crate::error::{LicenseError, printable};

/// The name of a license document: hexadecimal BLAKE3 of what its signatures
/// cover. The same license has the same name whatever became of its line
/// endings.
pub fn license_digest(text: &str) -> Result<String, LicenseError> {
    Ok(digest_of(LICENSE, &Frame::parse(LICENSE, text)?.body))
}

/// An error of the TOML between the markers, with the line that an editor shows.
fn toml_error(frame: &Frame, error: &toml::de::Error) -> LicenseError {
    let (line, column) = position(&frame.body, error.span().map_or(0, |span| span.start));
    let line = frame.lines_above + line;
    LicenseError::Malformed { line, column, what: printable(error.message()) }
}

/// An error of the document as a whole.
fn malformed(what: impl Into<String>) -> LicenseError {
    LicenseError::Malformed { line: 1, column: 1, what: what.into() }
}
