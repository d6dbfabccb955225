//! What the back office answers, and how it is sealed and opened.

use serde::{Deserialize, Serialize};

use super::{license_digest, malformed, toml_error};
use crate::document::{Frame, LICENSE, RESPONSE, body_of, signed_bytes};
use crate::error::LicenseError;
use crate::keys::{Keyring, PublisherKey};

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ResponseStatus {
    /// A license is enclosed.
    Licensed,
    /// The license in force is the current one.
    Unchanged,
    /// The server is registered, and nothing is mapped to its group yet.
    NoRights,
    /// A declared back-up whose main server has not called yet.
    PendingMain,
    /// A report was taken in.
    Registered,
}

impl ResponseStatus {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Licensed => "LICENSED",
            Self::Unchanged => "UNCHANGED",
            Self::NoRights => "NO_RIGHTS",
            Self::PendingMain => "PENDING_MAIN",
            Self::Registered => "REGISTERED",
        }
    }
}

/// A rights id that was asked for in vain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedRights {
    /// The rights id.
    pub id: String,
    /// For programs, such as `RIGHTS_UNKNOWN`.
    pub reason: String,
    /// For people, with the remedy.
    pub message: String,
}

/// One server of the group, as it is registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupMember {
    /// The machine.
    pub hostid: String,
    /// `MAIN`, `BACKUP`, `MEMBER` or `SINGLE`.
    pub role: String,
}

/// What the back office answers to one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapabilityResponse {
    /// What became of the request.
    pub status: ResponseStatus,
    /// The correlation id of the request.
    pub correlation: String,
    /// The name of the request, see [`super::SignedRequest::digest`].
    pub request: String,
    /// The cluster that the request came from.
    pub cluster: String,
    /// The group in the back office; empty while there is none.
    pub group: String,
    /// When it was made, ms since 1970 UTC.
    pub issued_ms: u64,
    /// From when on it is not to be applied any more, ms since 1970 UTC.
    pub expires_ms: u64,
    /// The digest of the enclosed license.
    pub license: Option<String>,
    /// Who else is in the group.
    #[serde(default)]
    pub member: Vec<GroupMember>,
    /// Which rights ids got nothing, and why.
    #[serde(default)]
    pub refused: Vec<RefusedRights>,
}

/// A response that a trusted publisher signed.
#[derive(Clone, Debug)]
pub struct SignedResponse {
    /// What it says.
    pub response: CapabilityResponse,
    /// The enclosed license document: the very one that the response names. It
    /// is still to be verified.
    pub license: Option<String>,
}

impl CapabilityResponse {
    /// The document: the response signed with all `keys`, and the license below.
    pub fn seal(
        &self,
        license: Option<&str>,
        keys: &[&PublisherKey],
    ) -> Result<String, LicenseError> {
        if keys.is_empty() {
            return Err(LicenseError::Unsigned);
        }
        let text = toml::to_string(self).map_err(|error| malformed(error.to_string()))?;
        let body = body_of(RESPONSE, &text)?;
        let bytes = signed_bytes(RESPONSE, &body);
        let signatures: Vec<_> = keys.iter().map(|key| (key.key_id(), key.sign(&bytes))).collect();
        Ok(Frame::render(RESPONSE, &body, &signatures) + license.unwrap_or_default())
    }
}

/// Whether a text looks like a response rather than like a license.
pub fn is_response(text: &str) -> bool {
    text.trim_start_matches(['\u{FEFF}', ' ', '\t', '\r', '\n']).starts_with(RESPONSE.begin)
}

impl SignedResponse {
    /// Reads a response that one of the trusted publishers signed.
    pub fn open(text: &str, keyring: &Keyring) -> Result<Self, LicenseError> {
        let below = text.find(LICENSE.begin).unwrap_or(text.len());
        let (head, license) = text.split_at(below);
        let frame = Frame::parse(RESPONSE, head)?;
        let bytes = signed_bytes(RESPONSE, &frame.body);
        let mut is_signed = false;
        for signature in &frame.signatures {
            let key_id = signature.key_id;
            match keyring.key(key_id) {
                None => {}
                Some(key) if key.verifies(&bytes, &signature.bytes) => is_signed = true,
                Some(_) => return Err(LicenseError::Tampered { key_id, line: signature.line }),
            }
        }
        if !is_signed {
            let key_ids = frame.signatures.iter().map(|signature| signature.key_id).collect();
            return Err(LicenseError::Foreign { key_ids, trusted: keyring.len() });
        }
        let response: CapabilityResponse =
            toml::from_str(&frame.body).map_err(|error| toml_error(&frame, &error))?;
        let license = match &response.license {
            None => None,
            Some(named) if license_digest(license)? == *named => Some(license.to_owned()),
            Some(_) => {
                let what = "the license below is not the one that the response names; use the \
                            file as the publisher sent it";
                return Err(malformed(what));
            }
        };
        Ok(SignedResponse { response, license })
    }

    /// Reads a response without checking any signature: for looking at only.
    pub fn look(text: &str) -> Result<CapabilityResponse, LicenseError> {
        let below = text.find(LICENSE.begin).unwrap_or(text.len());
        let frame = Frame::parse(RESPONSE, &text[..below])?;
        toml::from_str(&frame.body).map_err(|error| toml_error(&frame, &error))
    }
}
