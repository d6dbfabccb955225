//! What a server asks, and how it is sealed and opened.

use serde::{Deserialize, Serialize};

use super::server_key::{ServerKey, ServerPublicKey};
use super::{malformed, toml_error};
use crate::document::{Frame, REQUEST, body_of, digest_of, signed_bytes};
use crate::error::LicenseError;
use crate::hostid::HostId;

/// A triad has two others beside the one that asks.
pub const PARTNERS_MAX: usize = 2;
/// The most rights ids of one request.
pub const RIGHTS_PER_REQUEST_MAX: usize = 256;
/// The most features whose use one request reports.
pub const USAGE_LINES_MAX: usize = 1_000;
/// Names and versions are short.
const TEXT_BYTES_MAX: usize = 256;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Rights, and a license that says so.
    Request,
    /// Nothing but to be known: who this is, which partners it has, what it uses.
    Report,
}

/// What a server says that it is in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeclaredRole {
    /// It names no partners: alone, or registered by somebody else.
    Single,
    /// The main server of a pair; its partner is the back-up.
    Main,
    /// The back-up of a pair; its partner is the main server.
    Backup,
    /// One of a triad; its partners are the two others.
    Member,
}

/// A rights id, and how many copies of it are wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedRights {
    /// The rights id of a line item.
    pub id: String,
    /// How many copies; all that are free without.
    pub copies: Option<u32>,
}

/// The license that is in force where the request comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurrentLicense {
    /// The license id.
    pub id: String,
    /// Its serial.
    pub serial: u64,
    /// Its [`super::license_digest`].
    pub digest: String,
}

impl CurrentLicense {
    /// Of the licenses that an office issued, and whether each grants anything: that of the
    /// group that is there now. One of a group that was taken apart stays in force, and grants
    /// nothing any more; of several it is that of the newest.
    pub fn of_group(all: impl IntoIterator<Item = (bool, CurrentLicense)>) -> Option<Self> {
        let number = |license: &Self| license.id.rsplit('-').next()?.parse::<u64>().ok();
        let rank = |(grants, license): &(bool, Self)| (*grants, number(license));
        all.into_iter().max_by_key(rank).map(|(_, license)| license)
    }
}

/// How much of a feature is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureUsage {
    /// The feature.
    pub feature: String,
    /// Seats that are licensed.
    pub seats: u64,
    /// Seats that are held.
    pub in_use: u64,
}

/// What a server asks of the back office.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapabilityRequest {
    /// What is wanted.
    pub operation: Operation,
    /// Drawn once for each question; the answer repeats it.
    pub correlation: String,
    /// Higher in each new request of this server; an older one is a replay.
    pub sequence: u64,
    /// When it was made, ms since 1970 UTC by the server's clock.
    pub issued_ms: u64,
    /// The cluster that the server belongs to.
    pub cluster: String,
    /// The machine.
    pub hostid: HostId,
    /// What the server is in its group.
    pub role: DeclaredRole,
    /// The others of the group.
    pub partners: Vec<HostId>,
    /// The server's name.
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// Add the wanted rights to those that are held, instead of replacing them.
    pub incremental: bool,
    /// Rights that are wanted by id.
    pub rights: Vec<WantedRights>,
    /// The license in force, if the back office issued one.
    pub license: Option<CurrentLicense>,
    /// What is in use.
    pub usage: Vec<FeatureUsage>,
}

/// A request whose signature fits the key that it names. Whose key that is, the
/// back office knows.
#[derive(Clone, Debug)]
pub struct SignedRequest {
    /// What is asked.
    pub request: CapabilityRequest,
    /// Who signed it.
    pub key: ServerPublicKey,
    /// The name of this very request.
    pub digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    /// First, because it is read before the signature is verified.
    key: String,
    operation: Operation,
    correlation: String,
    sequence: u64,
    issued_ms: u64,
    cluster: String,
    hostid: String,
    role: DeclaredRole,
    #[serde(default)]
    partners: Vec<String>,
    name: String,
    version: String,
    #[serde(default)]
    incremental: bool,
    license: Option<CurrentLicense>,
    #[serde(default)]
    rights: Vec<WantedRights>,
    #[serde(default)]
    usage: Vec<FeatureUsage>,
}

impl CapabilityRequest {
    /// The document, signed by its server. The same request and key give the
    /// same document.
    pub fn seal(&self, key: &ServerKey) -> Result<String, LicenseError> {
        let raw = Raw {
            key: key.public().to_string(),
            operation: self.operation,
            correlation: self.correlation.clone(),
            sequence: self.sequence,
            issued_ms: self.issued_ms,
            cluster: self.cluster.clone(),
            hostid: self.hostid.to_string(),
            role: self.role,
            partners: self.partners.iter().map(HostId::to_string).collect(),
            name: self.name.clone(),
            version: self.version.clone(),
            incremental: self.incremental,
            rights: self.rights.clone(),
            license: self.license.clone(),
            usage: self.usage.clone(),
        };
        let text = toml::to_string(&raw).map_err(|error| malformed(error.to_string()))?;
        let body = body_of(REQUEST, &text)?;
        let signature = key.sign(&signed_bytes(REQUEST, &body));
        Ok(Frame::render(REQUEST, &body, &[(key.public().key_id(), signature)]))
    }
}

impl CapabilityRequest {
    /// Reads a request without checking its signature: for looking at only.
    pub fn look(text: &str) -> Result<Self, LicenseError> {
        let frame = Frame::parse(REQUEST, text)?;
        checked(toml::from_str(&frame.body).map_err(|error| toml_error(&frame, &error))?)
    }
}

impl SignedRequest {
    /// Reads a request and verifies that it was signed with the key it names.
    pub fn open(text: &str) -> Result<Self, LicenseError> {
        let frame = Frame::parse(REQUEST, text)?;
        // The one line that is looked at before anything is verified.
        let key = frame.body.lines().next().and_then(|line| line.strip_prefix("key = \""));
        let key = key.and_then(|rest| rest.strip_suffix('"')).and_then(ServerPublicKey::parse);
        let what = "the first line does not give the server's key; make the request again";
        let key = key.ok_or_else(|| malformed(what))?;
        let bytes = signed_bytes(REQUEST, &frame.body);
        let [signature] = frame.signatures.as_slice() else {
            return Err(malformed("a request has one signature; make the request again"));
        };
        if signature.key_id != key.key_id() || !key.verifies(&bytes, &signature.bytes) {
            let (key_id, line) = (signature.key_id, signature.line);
            return Err(LicenseError::Tampered { key_id, line });
        }
        let raw: Raw = toml::from_str(&frame.body).map_err(|error| toml_error(&frame, &error))?;
        let digest = digest_of(REQUEST, &frame.body);
        Ok(SignedRequest { request: checked(raw)?, key, digest })
    }
}

fn checked(raw: Raw) -> Result<CapabilityRequest, LicenseError> {
    for (what, found, max) in [
        ("partners", raw.partners.len(), PARTNERS_MAX),
        ("rights ids", raw.rights.len(), RIGHTS_PER_REQUEST_MAX),
        ("features whose use is reported", raw.usage.len(), USAGE_LINES_MAX),
    ] {
        if found > max {
            return Err(LicenseError::TooLarge { what, found, max });
        }
    }
    let ids = raw.rights.iter().map(|rights| ("rights", &rights.id));
    let features = raw.usage.iter().map(|usage| ("usage", &usage.feature));
    let named = [
        ("correlation", &raw.correlation),
        ("cluster", &raw.cluster),
        ("name", &raw.name),
        ("version", &raw.version),
    ];
    for (what, text) in named.into_iter().chain(ids).chain(features) {
        let is_good = !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        if !is_good || text.chars().any(char::is_control) {
            let rule = "1 to 256 bytes without control characters";
            return Err(malformed(format!("{what} takes {rule}; make the request again")));
        }
    }
    let partners = raw.partners.iter().map(|text| HostId::parse(text));
    Ok(CapabilityRequest {
        operation: raw.operation,
        correlation: raw.correlation,
        sequence: raw.sequence,
        issued_ms: raw.issued_ms,
        cluster: raw.cluster,
        hostid: HostId::parse(&raw.hostid)?,
        role: raw.role,
        partners: partners.collect::<Result<_, _>>()?,
        name: raw.name,
        version: raw.version,
        incremental: raw.incremental,
        rights: raw.rights,
        license: raw.license,
        usage: raw.usage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_license_of_the_group_that_is_there_is_the_current_one() {
        let current = |all: &[(bool, &str)]| {
            let license = |(grants, id): &(bool, &str)| {
                let (id, digest) = ((*id).to_owned(), String::new());
                (*grants, CurrentLicense { id, serial: 1, digest })
            };
            CurrentLicense::of_group(all.iter().map(license)).map(|license| license.id)
        };
        assert_eq!(current(&[(true, "acme-9"), (true, "acme-10")]).as_deref(), Some("acme-10"));
        assert_eq!(current(&[(true, "acme-1"), (false, "acme-2")]).as_deref(), Some("acme-1"));
        assert_eq!(current(&[(false, "acme-1"), (false, "acme-2")]).as_deref(), Some("acme-2"));
        assert_eq!(current(&[]), None);
    }
}
