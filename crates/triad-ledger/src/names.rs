//! Names, numbers and ids that the ledger accepts. Each is checked once, where
//! it enters the system; below that a `FeatureName` is a good one.

use alloc::sync::Arc;
use core::fmt;
use core::num::NonZeroU32;

/// The longest feature name or license id, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// The longest free label (user, host, display, ...), in bytes.
pub const LABEL_BYTES_MAX: usize = 256;

/// Why a name, label or version was not accepted. The text names what is
/// wrong and never repeats more than the first few characters of the input,
/// which is hostile until proven otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("it is empty")]
    Empty,
    /// More bytes than allowed.
    #[error("it is {bytes} bytes long, at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        bytes: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A character outside the allowed set.
    #[error("character {character:?} at byte {at} is not allowed ({allowed})")]
    Character {
        /// The offending character.
        character: char,
        /// Where it stands, in bytes.
        at: usize,
        /// What is allowed.
        allowed: &'static str,
    },
    /// Not a version number.
    #[error("a version is digits with at most one dot, at most 9 digits before it and 6 after")]
    Version,
    /// Not a network.
    #[error(
        "a network is an address, one with a prefix (10.1.0.0/16, no bits beyond it) or 10.1.*.*"
    )]
    Network,
}

fn bounded(text: &str, max: usize) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > max {
        return Err(NameError::TooLong { bytes: text.len(), max });
    }
    Ok(())
}

fn name(text: &str) -> Result<Arc<str>, NameError> {
    bounded(text, NAME_BYTES_MAX)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let Some(at) = text.bytes().position(|byte| !is_plain(byte)) else {
        return Ok(Arc::from(text));
    };
    // What stands before it is one byte each.
    let character = text.chars().nth(at).unwrap_or_default();
    let allowed = "letters, digits, '_', '-' and '.'";
    Err(NameError::Character { character, at, allowed })
}

/// The name of a licensed feature: 1 to 64 letters, digits, `_`, `-`, `.`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeatureName(Arc<str>);

impl FeatureName {
    /// Accepts `text` if it is a feature name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        name(text).map(FeatureName)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FeatureName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The publisher's name for a license, the same through all its serials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LicenseId(Arc<str>);

impl LicenseId {
    /// Accepts `text` under the same rules as a feature name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        name(text).map(LicenseId)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LicenseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Free text of at most 256 bytes without control characters: a user, a host,
/// a publisher. It may be empty. Still untrusted: escape it where it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    /// Accepts `text` if it is short enough and has no control characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > LABEL_BYTES_MAX {
            return Err(NameError::TooLong { bytes: text.len(), max: LABEL_BYTES_MAX });
        }
        // Directional overrides and line separators would let one user draw
        // over another's line in every table.
        let hostile = |c: char| {
            c.is_control()
                || matches!(c, '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}' | '\u{FEFF}')
        };
        match text.char_indices().find(|&(_, c)| hostile(c)) {
            Some((at, character)) => {
                Err(NameError::Character { character, at, allowed: "printable characters" })
            }
            // Most of a holder's labels are, and take no memory then.
            None if text.is_empty() => Ok(Label::default()),
            None => Ok(Label(Arc::from(text))),
        }
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same in small letters, as far as they are ASCII.
    pub(crate) fn to_ascii_lowercase(&self) -> Label {
        if self.0.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Label(Arc::from(self.0.to_ascii_lowercase()))
        } else {
            self.clone()
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version: a decimal number, compared as one. `1.10` equals `1.1` and is
/// less than `1.2`; `2026.1` is greater than `2026.05`. A line serves a request
/// when its version is at least the requested one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    whole: u32,
    /// Millionths.
    fraction: u32,
}

impl Version {
    const FRACTION_DIGITS: usize = 6;

    /// Reads digits with at most one dot.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str, max: usize| {
            (1..=max).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        if !digits(whole, 9) || !digits(fraction, Self::FRACTION_DIGITS) {
            return Err(NameError::Version);
        }
        let number = |part: &str| part.bytes().fold(0u32, |n, b| n * 10 + u32::from(b - b'0'));
        let scale = 10u32.pow((Self::FRACTION_DIGITS - fraction.len()) as u32);
        Ok(Version { whole: number(whole), fraction: number(fraction) * scale })
    }

    /// The version as one number, in millionths, for encoding.
    pub fn millionths(self) -> u64 {
        u64::from(self.whole) * 1_000_000 + u64::from(self.fraction)
    }

    /// The inverse of [`Version::millionths`]; `None` if it is out of range.
    pub fn from_millionths(millionths: u64) -> Option<Self> {
        let whole = u32::try_from(millionths / 1_000_000).ok().filter(|w| *w < 1_000_000_000)?;
        Some(Version { whole, fraction: (millionths % 1_000_000) as u32 })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fraction = self.fraction;
        let mut width = Self::FRACTION_DIGITS;
        while width > 1 && fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        write!(f, "{}.{fraction:0width$}", self.whole)
    }
}

/// A number of seats; never zero.
pub type Seats = NonZeroU32;

/// A session: 16 bytes drawn by the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub [u8; 16]);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// A request of one session: 1, 2, 3, ... as drawn by its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A checkout, numbered by the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckoutId(pub u64);

impl fmt::Display for CheckoutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A pool, numbered by the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub u32);

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn versions_compare_as_decimal_numbers() {
        let v = |text| Version::parse(text).expect(text);
        assert_eq!(v("1.10"), v("1.1"));
        assert!(v("1.10") < v("1.2"));
        assert!(v("2026.1") > v("2026.05"));
        assert_eq!(v("2026"), v("2026.0"));
        assert_eq!(v("2026.050").to_string(), "2026.05");
        for text in ["", ".", "1.", ".1", "1.2.3", "1a", "-1", "1.1234567", "1234567890"] {
            assert_eq!(Version::parse(text), Err(NameError::Version), "{text:?}");
        }
        assert_eq!(
            Version::from_millionths(v("999999999.999999").millionths()),
            Some(v("999999999.999999"))
        );
    }

    #[test]
    fn names_are_short_and_plain() {
        assert!(FeatureName::parse("solver_2-x.y").is_ok());
        assert_eq!(FeatureName::parse(""), Err(NameError::Empty));
        assert!(matches!(FeatureName::parse(&"x".repeat(1 << 20)), Err(NameError::TooLong { .. })));
        assert!(matches!(FeatureName::parse("a b"), Err(NameError::Character { at: 1, .. })));
        assert!(matches!(
            FeatureName::parse("häuser"),
            Err(NameError::Character { at: 1, character: 'ä', .. })
        ));
    }

    #[test]
    fn labels_cannot_break_a_line() {
        assert!(Label::parse("Müller, Anna").is_ok());
        for text in ["a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\0"] {
            assert!(
                matches!(Label::parse(text), Err(NameError::Character { at: 1, .. })),
                "{text:?}"
            );
        }
    }
}
