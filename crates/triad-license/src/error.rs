//! Why a license, a key or a host id was not accepted: the place and the remedy.

use triad_ledger::names::{LicenseId, NameError};

use crate::dates::instant;
use crate::keys::KeyId;

/// Why a license or key was not accepted. None of these goes away by asking
/// again: somebody has to change the document, the keys or the machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LicenseError {
    /// A bound of the format is exceeded; nothing further was read.
    #[error("{what}: {found}, at most {max} are allowed; leave some out, or use several files")]
    TooLarge {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many may be.
        max: usize,
    },
    /// The text is not a license document.
    #[error("line {line}, column {column}: {what}")]
    Malformed {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// What is wrong and what is expected instead.
        what: String,
    },
    /// A name, label or version inside the document is not an acceptable one.
    #[error(
        "line {line}, column {column}: {place}: {reason}; correct it and issue the license again"
    )]
    Name {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in characters.
        column: usize,
        /// Which entry it is, for example `feature 3 ("solver"), version`.
        place: String,
        /// What is wrong with it.
        reason: NameError,
    },
    /// A trusted key's signature does not fit the text: it was altered after
    /// it was signed.
    #[error(
        "line {line}: the signature of key {key_id} does not fit the text, which was altered after \
         it was signed; use the file as the publisher sent it, or ask for it again"
    )]
    Tampered {
        /// The trusted key whose signature fails.
        key_id: KeyId,
        /// The line of that signature, counted from 1.
        line: usize,
    },
    /// None of the keys that signed it is trusted here.
    #[error(
        "signed by {}, but none of the {trusted} trusted publisher keys is among them; if this is \
         your publisher's key, add its public key to the keyring",
        list(key_ids)
    )]
    Foreign {
        /// The keys that the document says have signed it.
        key_ids: Vec<KeyId>,
        /// How many keys the keyring holds.
        trusted: usize,
    },
    /// Every feature of the license has expired.
    #[error(
        "license {license} expired at {}; ask the publisher to renew it, or, if that date is still \
         to come, check the clock of this machine", instant(*at_ms)
    )]
    Expired {
        /// Which license.
        license: LicenseId,
        /// When its last feature expired, ms since 1970 UTC.
        at_ms: u64,
    },
    /// The license is meant for another cluster or for other machines.
    #[error(
        "bound to {expected}, but this is {found}; apply it there, or ask the publisher to issue it \
         for this site"
    )]
    WronglyBound {
        /// What the license names.
        expected: String,
        /// What is here.
        found: String,
    },
    /// The text is not a key, or not one that may be used.
    #[error("key text, line {line}: {what}")]
    Key {
        /// Counted from 1.
        line: usize,
        /// What is wrong and what is expected instead.
        what: &'static str,
    },
    /// The text is not a host id.
    #[error("host id {text:?}: {what}")]
    HostId {
        /// The beginning of what was given.
        text: String,
        /// What is expected instead.
        what: &'static str,
    },
    /// A license without a signature was asked for.
    #[error("a license needs a signature; give at least one publisher key")]
    Unsigned,
}

fn list(key_ids: &[KeyId]) -> String {
    let names: Vec<String> = key_ids.iter().map(KeyId::to_string).collect();
    names.join(", ")
}

/// Text that is safe to print: no control or reordering characters, and not
/// more than a few lines of it. Input is hostile until its signature was
/// verified, and error messages are made before.
pub(crate) fn printable(text: &str) -> String {
    const CHARACTERS_MAX: usize = 300;
    let mut safe = String::new();
    for character in text.chars().take(CHARACTERS_MAX) {
        let reorders = matches!(
            character,
            '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}'
        );
        match character {
            '\n' => safe.push(' '),
            c if c.is_control() || reorders => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        safe.push_str("...");
    }
    safe
}
