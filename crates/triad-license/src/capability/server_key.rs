//! The key that a server signs its requests with. The back office remembers its
//! public half at the first request and takes no other from then on.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{SECRET_KEY_LENGTH, Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::LicenseError;
use crate::keys::{KeyId, secret_line};

const SECRET_PREFIX: &str = "triad-server-secret-v1:";
const PUBLIC_PREFIX: &str = "triad-server-public-v1:";

/// A server's secret key. It is wiped from memory when dropped.
pub struct ServerKey(SigningKey);

impl ServerKey {
    /// The key that `random` determines; draw the bytes from the operating
    /// system.
    pub fn generate(mut random: [u8; SECRET_KEY_LENGTH]) -> Self {
        let key = SigningKey::from_bytes(&random);
        random.zeroize();
        ServerKey(key)
    }

    /// Reads the text of [`ServerKey::secret_text`].
    pub fn parse(text: &str) -> Result<Self, LicenseError> {
        let what =
            "a server key reads triad-server-secret-v1:<base64>; restore it from your backup";
        let encoded = text.trim().strip_prefix(SECRET_PREFIX);
        let secret = encoded.and_then(decode).ok_or(LicenseError::Key { line: 1, what })?;
        Ok(ServerKey(SigningKey::from_bytes(&secret)))
    }

    /// The one line of the key file. Keep it readable for its owner only.
    pub fn secret_text(&self) -> Zeroizing<String> {
        secret_line(SECRET_PREFIX, &self.0)
    }

    /// The key that others need to verify what this one signs.
    pub fn public(&self) -> ServerPublicKey {
        ServerPublicKey(self.0.verifying_key())
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; Signature::BYTE_SIZE] {
        self.0.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerKey({}, secret not shown)", self.public().key_id())
    }
}

/// A server's public key: `triad-server-public-v1:<base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerPublicKey(VerifyingKey);

impl ServerPublicKey {
    /// Reads the form that is displayed; `None` for anything else, and for keys
    /// that would accept one signature for many texts.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = decode(text.trim().strip_prefix(PUBLIC_PREFIX)?)?;
        VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak()).map(ServerPublicKey)
    }

    /// The name of this key.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.0)
    }

    pub(super) fn verifies(&self, bytes: &[u8], signature: &[u8; Signature::BYTE_SIZE]) -> bool {
        self.0.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for ServerPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}", BASE64.encode(self.0.as_bytes()))
    }
}

fn decode(encoded: &str) -> Option<[u8; SECRET_KEY_LENGTH]> {
    BASE64.decode(encoded).ok()?.try_into().ok()
}
