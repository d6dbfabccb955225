//! Verification: signature first, then content, then place and date.

use triad_ledger::rights::License;

use crate::binding::{Binding, Site};
use crate::content::Content;
use crate::document::{Frame, LICENSE, signed_bytes};
use crate::error::LicenseError;
use crate::hostid::HostId;
use crate::keys::{KeyId, Keyring};
use crate::show::{Standing, Summary};

/// A document whose signature is a trusted publisher's. Where and until when
/// it may be used is not checked yet.
#[derive(Clone, Debug)]
pub struct Authentic {
    content: Content,
    text: String,
    signed_by: Vec<KeyId>,
    also_signed_by: Vec<KeyId>,
}

/// A license that a trusted publisher signed for this site, and of which at
/// least one feature has not expired.
#[derive(Clone, Debug)]
pub struct Verified(Authentic);

/// Checks the signatures of a document and reads it. One good signature of a
/// trusted key is enough; one bad signature of a trusted key is too many.
pub fn authenticate(text: &str, keyring: &Keyring) -> Result<Authentic, LicenseError> {
    let frame = Frame::parse(LICENSE, text)?;
    let bytes = signed_bytes(LICENSE, &frame.body);
    let (mut signed_by, mut also_signed_by) = (Vec::new(), Vec::new());
    for signature in &frame.signatures {
        let key_id = signature.key_id;
        match keyring.key(key_id) {
            None => also_signed_by.push(key_id),
            Some(key) if key.verifies(&bytes, &signature.bytes) => signed_by.push(key_id),
            Some(_) => return Err(LicenseError::Tampered { key_id, line: signature.line }),
        }
    }
    if signed_by.is_empty() {
        return Err(LicenseError::Foreign { key_ids: also_signed_by, trusted: keyring.len() });
    }
    let content = Content::parse(&frame.body, frame.lines_above)?;
    Ok(Authentic { content, text: text.to_owned(), signed_by, also_signed_by })
}

/// Checks everything about a license that one node can check for its cluster:
/// signature, content, binding, and whether at `now_ms` (ms since 1970 UTC)
/// anything of it is still to be used. Each node also asks [`check_own_host`].
pub fn verify(
    text: &str,
    keyring: &Keyring,
    site: &Site<'_>,
    now_ms: u64,
) -> Result<Verified, LicenseError> {
    let authentic = authenticate(text, keyring)?;
    authentic.content.binding.check_site(site)?;
    match authentic.content.expires_ms() {
        Some(at_ms) if at_ms <= now_ms => {
            Err(LicenseError::Expired { license: authentic.content.id, at_ms })
        }
        _ => Ok(Verified(authentic)),
    }
}

/// Whether a node with the host ids `own` may serve this license. A license
/// bound to a cluster may be served by each of its nodes.
pub fn check_own_host(verified: &Verified, own: &[HostId]) -> Result<(), LicenseError> {
    verified.binding().check_own_host(own)
}

impl Authentic {
    /// Where it may be used.
    pub fn binding(&self) -> &Binding {
        &self.content.binding
    }

    /// The trusted keys that signed it.
    pub fn signed_by(&self) -> &[KeyId] {
        &self.signed_by
    }

    /// What it says, for a person.
    pub fn summary(&self) -> Summary {
        self.summary_as(Standing::Signed)
    }

    fn summary_as(&self, standing: Standing) -> Summary {
        Summary::new(&self.content, standing, &self.signed_by, &self.also_signed_by)
    }
}

impl Verified {
    /// Where it may be used.
    pub fn binding(&self) -> &Binding {
        self.0.binding()
    }

    /// The trusted keys that signed it.
    pub fn signed_by(&self) -> &[KeyId] {
        self.0.signed_by()
    }

    /// What it says, for a person.
    pub fn summary(&self) -> Summary {
        self.0.summary_as(Standing::Verified)
    }

    /// What the ledger counts, with the document word for word.
    pub fn into_license(self) -> License {
        let Authentic { content, text, .. } = self.0;
        License {
            id: content.id,
            publisher: content.publisher,
            serial: content.serial,
            text,
            lines: content.features.into_iter().map(|feature| feature.line).collect(),
        }
    }
}
