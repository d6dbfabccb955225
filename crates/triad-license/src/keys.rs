//! Publisher keys: the secret that signs, the public keys that are trusted.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{SECRET_KEY_LENGTH, Signature, Signer as _, SigningKey, VerifyingKey};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::LicenseError;

/// The most public keys in one keyring. A site has a handful of publishers,
/// each with a current and a next key.
pub const KEYS_MAX: usize = 256;

const SECRET_PREFIX: &str = "triad-publisher-secret-v1:";
const PUBLIC_PREFIX: &str = "triad-publisher-public-v1:";

/// The name of a publisher key: the first 8 bytes of the BLAKE3 hash of the
/// public key, as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl KeyId {
    /// Reads 16 hexadecimal digits in lower case.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        let mut id = [0; 8];
        if pairs.len() != id.len() {
            return None;
        }
        for (byte, [high, low]) in id.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(KeyId(id))
    }

    pub(crate) fn of(key: &VerifyingKey) -> Self {
        let hash = blake3::hash(key.as_bytes());
        let (id, _) = hash.as_bytes().split_first_chunk().expect("a BLAKE3 hash has 32 bytes");
        KeyId(*id)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A publisher's secret key. It is wiped from memory when dropped.
pub struct PublisherKey(SigningKey);

/// The one line that a file of a secret key holds, with its line feed.
pub(crate) fn secret_line(prefix: &str, key: &SigningKey) -> Zeroizing<String> {
    let secret = Zeroizing::new(key.to_bytes());
    // Room for all of it at once: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 48));
    text.push_str(prefix);
    BASE64.encode_string(secret.as_slice(), &mut text);
    text.push('\n');
    text
}

impl PublisherKey {
    /// The key that `random` determines. Draw the bytes from the operating
    /// system: whoever can guess them can issue licenses.
    pub fn generate(mut random: [u8; SECRET_KEY_LENGTH]) -> Self {
        let key = SigningKey::from_bytes(&random);
        random.zeroize();
        PublisherKey(key)
    }

    /// Reads the text of [`PublisherKey::secret_text`]. Blank lines and lines
    /// that begin with `#` are skipped.
    pub fn parse(text: &str) -> Result<Self, LicenseError> {
        let mut found = None;
        for (line, key) in key_lines(text) {
            let what = match key.strip_prefix(SECRET_PREFIX) {
                Some(_) if found.is_some() => "a second secret key; keep each in a file of its own",
                Some(encoded) => match decode(encoded) {
                    Some(secret) => {
                        found = Some(PublisherKey(SigningKey::from_bytes(&secret)));
                        continue;
                    }
                    None => "the secret key is damaged; restore the file from your backup",
                },
                None if key.starts_with(PUBLIC_PREFIX) => {
                    "this is a public key; signing needs the secret one"
                }
                None => "a secret key reads triad-publisher-secret-v1:<base64>",
            };
            return Err(LicenseError::Key { line, what });
        }
        let what = "there is no key in it; a secret key reads triad-publisher-secret-v1:<base64>";
        found.ok_or(LicenseError::Key { line: 1, what })
    }

    /// The one line that a secret key file holds, with its line feed. Keep it
    /// readable for its owner only.
    pub fn secret_text(&self) -> Zeroizing<String> {
        secret_line(SECRET_PREFIX, &self.0)
    }

    /// The key that others need to verify what this one signs.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.0.verifying_key())
    }

    /// The name of this key.
    pub fn key_id(&self) -> KeyId {
        KeyId::of(&self.0.verifying_key())
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; Signature::BYTE_SIZE] {
        self.0.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublisherKey({}, secret not shown)", self.key_id())
    }
}

/// A publisher's public key: `triad-publisher-public-v1:<key id>:<base64>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    key: VerifyingKey,
}

impl PublicKey {
    fn new(key: VerifyingKey) -> Self {
        PublicKey { id: KeyId::of(&key), key }
    }

    /// Reads one line of the form that is displayed.
    pub fn parse(text: &str) -> Result<Self, LicenseError> {
        Self::checked(text.trim()).map_err(|what| LicenseError::Key { line: 1, what })
    }

    fn checked(text: &str) -> Result<Self, &'static str> {
        let Some(rest) = text.strip_prefix(PUBLIC_PREFIX) else {
            return Err(if text.starts_with(SECRET_PREFIX) {
                "this is a secret key and belongs to its publisher alone; put the public one here"
            } else {
                "a public key reads triad-publisher-public-v1:<key id>:<base64>"
            });
        };
        let damaged = "the public key is damaged; copy it again from the publisher";
        let (id, encoded) = rest.split_once(':').ok_or(damaged)?;
        let bytes = decode(encoded).ok_or(damaged)?;
        // A weak key accepts one signature for many texts.
        let key = VerifyingKey::from_bytes(&bytes).ok().filter(|k| !k.is_weak()).ok_or(damaged)?;
        let public = PublicKey::new(key);
        if KeyId::parse(id) == Some(public.id) { Ok(public) } else { Err(damaged) }
    }

    /// The name of this key.
    pub fn key_id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn verifies(&self, bytes: &[u8], signature: &[u8; Signature::BYTE_SIZE]) -> bool {
        self.key.verify_strict(bytes, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC_PREFIX}{}:{}", self.id, BASE64.encode(self.key.as_bytes()))
    }
}

/// The public keys whose licenses are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring(BTreeMap<KeyId, PublicKey>);

impl Keyring {
    /// A keyring that trusts nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads public keys, one on each line. Blank lines and lines that begin
    /// with `#` are skipped; say there whose key follows.
    pub fn parse(text: &str) -> Result<Self, LicenseError> {
        let mut keyring = Keyring::new();
        for (line, key) in key_lines(text) {
            let key = PublicKey::checked(key).map_err(|what| LicenseError::Key { line, what })?;
            keyring.trust(key)?;
        }
        Ok(keyring)
    }

    /// Adds a key; twice is once.
    pub fn trust(&mut self, key: PublicKey) -> Result<(), LicenseError> {
        if self.0.len() >= KEYS_MAX && !self.0.contains_key(&key.id) {
            let found = self.0.len() + 1;
            return Err(LicenseError::TooLarge {
                what: "keys in the keyring",
                found,
                max: KEYS_MAX,
            });
        }
        self.0.insert(key.id, key);
        Ok(())
    }

    /// The key of this name, if it is trusted.
    pub fn key(&self, id: KeyId) -> Option<&PublicKey> {
        self.0.get(&id)
    }

    /// All keys, by name.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.0.values()
    }

    /// How many keys are trusted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn key_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn decode(encoded: &str) -> Option<Zeroizing<[u8; 32]>> {
    // Longer than a key, because the decoder wants room for its estimate.
    let mut bytes = Zeroizing::new([0; 48]);
    let length = BASE64.decode_slice(encoded, bytes.as_mut_slice()).ok()?;
    bytes[..length].try_into().ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(seed: u8) -> PublisherKey {
        PublisherKey::generate([seed; 32])
    }

    #[test]
    fn keys_survive_their_text() {
        let secret = key(1);
        let again =
            PublisherKey::parse(&format!("# Acme\n\n{}", *secret.secret_text())).expect("own text");
        assert_eq!(again.public(), secret.public());
        assert_eq!(PublicKey::parse(&secret.public().to_string()), Ok(secret.public()));
        let file = format!("# Acme\r\n{}\r\n\r\n# next\n{}\n", secret.public(), key(2).public());
        let keyring = Keyring::parse(&file).expect("two keys");
        assert_eq!(keyring.len(), 2);
        assert_eq!(keyring.key(secret.key_id()), Some(&secret.public()));
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = key(1);
        let text = secret.secret_text();
        let encoded = text.trim().strip_prefix(SECRET_PREFIX).expect("the prefix");
        assert!(!format!("{secret:?}").contains(encoded));
        let error = Keyring::parse(&text).expect_err("a secret key is no public key").to_string();
        assert!(error.contains("secret key") && !error.contains(encoded), "{error}");
    }

    #[test]
    fn damaged_keys_are_named_by_line() {
        let good = key(1).public().to_string();
        for at in PUBLIC_PREFIX.len()..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let text = format!("# a comment\n{}\n", String::from_utf8(bytes).expect("ASCII"));
            assert!(
                matches!(Keyring::parse(&text), Err(LicenseError::Key { line: 2, .. })),
                "{text}"
            );
        }
        for text in
            ["", "# nothing\n", "triad-publisher-secret-v1:", "triad-publisher-secret-v1:AAAA"]
        {
            assert!(matches!(PublisherKey::parse(text), Err(LicenseError::Key { .. })), "{text:?}");
        }
        let two = format!("{}{}", *key(1).secret_text(), *key(2).secret_text());
        assert!(matches!(PublisherKey::parse(&two), Err(LicenseError::Key { line: 2, .. })));
    }

    #[test]
    fn a_weak_key_is_refused() {
        // The identity point: every signature of a certain form fits it.
        let mut identity = [0; 32];
        identity[0] = 1;
        let key = VerifyingKey::from_bytes(&identity).expect("a point");
        let text = PublicKey::new(key).to_string();
        assert!(matches!(PublicKey::parse(&text), Err(LicenseError::Key { .. })));
    }

    #[test]
    fn a_keyring_is_bounded() {
        let mut keyring = Keyring::new();
        for number in 0..KEYS_MAX {
            let mut random = [0; 32];
            random[..8].copy_from_slice(&number.to_le_bytes());
            keyring.trust(PublisherKey::generate(random).public()).expect("within the bound");
        }
        let error = keyring.trust(key(255).public());
        assert!(matches!(error, Err(LicenseError::TooLarge { max: KEYS_MAX, .. })));
    }
}
