//! Issuing: a publisher's text becomes a signed document.

use crate::content::Content;
use crate::document::{DOCUMENT_BYTES_MAX, Frame, LICENSE, SIGNATURES_MAX, body_of, signed_bytes};
use crate::error::LicenseError;
use crate::keys::{KeyId, PublisherKey};

/// Signs `toml` with every one of `keys`, after reading it as a node will: what
/// is issued can be verified. Two keys carry a site over a change of keys. The
/// same text and keys give the same document.
pub fn issue(toml: &str, keys: &[&PublisherKey]) -> Result<String, LicenseError> {
    let body = body_of(LICENSE, toml)?;
    Content::parse(&body, 0)?;
    let bytes = signed_bytes(LICENSE, &body);
    let mut signatures: Vec<(KeyId, [u8; 64])> = Vec::with_capacity(keys.len());
    for key in keys {
        // The same key twice adds nothing, and a node would refuse it.
        if signatures.iter().all(|(id, _)| *id != key.key_id()) {
            signatures.push((key.key_id(), key.sign(&bytes)));
        }
    }
    if signatures.is_empty() {
        return Err(LicenseError::Unsigned);
    }
    if signatures.len() > SIGNATURES_MAX {
        let (found, max) = (signatures.len(), SIGNATURES_MAX);
        return Err(LicenseError::TooLarge { what: "signature lines", found, max });
    }
    let document = Frame::render(LICENSE, &body, &signatures);
    if document.len() > DOCUMENT_BYTES_MAX {
        let (found, max) = (document.len(), DOCUMENT_BYTES_MAX);
        return Err(LicenseError::TooLarge { what: "bytes of the document", found, max });
    }
    Ok(document)
}
