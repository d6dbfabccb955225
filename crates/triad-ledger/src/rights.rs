//! What a publisher granted: licenses and their lines. Verified before they
//! come here; the ledger only counts.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::names::{FeatureName, Label, LicenseId, Seats, Version};

/// The most licenses in force at once. Each new serial counts the lines of all
/// licenses anew; sites have a handful of publishers.
pub const LICENSES_MAX: usize = 1_000;
/// The most lines that one license may have. More are neither written to the
/// log nor read from it.
pub const LINES_MAX: usize = 10_000;

/// One signed document: a publisher's grant of seats.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct License {
    /// The same through all serials of this license.
    pub id: LicenseId,
    /// Who signed it.
    pub publisher: Label,
    /// Higher replaces lower.
    pub serial: u64,
    /// The document word for word, signatures included.
    pub text: String,
    /// The seats it grants.
    pub lines: Vec<Line>,
}

#[cfg(test)]
impl License {
    /// Two seats of a feature, for good.
    pub(crate) fn of_two(feature: &str) -> License {
        let line = Line {
            feature: FeatureName::parse(feature).expect("good"),
            version: Version::default(),
            seats: 2,
            overdraft: 0,
            starts_ms: None,
            expires_ms: None,
            vendor_string: Label::default(),
            terms: Terms::default(),
            about: About::default(),
        };
        License {
            id: LicenseId::parse("acme").expect("good"),
            publisher: Label::default(),
            serial: 1,
            text: String::new(),
            lines: alloc::vec![line],
        }
    }
}

/// Seats of one feature. Lines that differ only in their count are counted
/// together, as one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What may be used.
    pub feature: FeatureName,
    /// Up to which version.
    pub version: Version,
    /// How many seats were bought.
    pub seats: u32,
    /// How many more may be used; reported as overdraft.
    pub overdraft: u32,
    /// The first instant at which it is valid, ms since 1970 UTC. `None`: from
    /// the beginning.
    pub starts_ms: Option<u64>,
    /// The first instant at which it is no longer valid, ms since 1970 UTC.
    /// `None`: never ends.
    pub expires_ms: Option<u64>,
    /// Handed to the application with each grant.
    pub vendor_string: Label,
    /// How its seats are counted, and who may have them.
    pub terms: Terms,
    /// What is said about the line and counts nothing.
    pub about: About,
}

/// How the seats of a line are counted, and who may have them. Lines that differ
/// in this are different pools. The default is an ordinary counted line.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Terms {
    /// Not counted: whoever may have it has it. Its seats are 0.
    pub uncounted: bool,
    /// Whose checkouts are one (duplicate grouping).
    pub share: Share,
    /// Only for clients that say one of these host ids. Empty: for all.
    pub hostids: Vec<Label>,
    /// For how long seats may be borrowed. `None`: not at all.
    pub borrow_max_ms: Option<u64>,
    /// For how long a seat stays taken after its return.
    pub linger_ms: u64,
    /// Each seat also takes tokens of another feature, all or none: token pools,
    /// and the token of a SUITE (which is a line shared by user, host and
    /// display).
    pub consumes: Option<TokenCost>,
    /// Only for users whom an INCLUDE rule of this feature names, and for at
    /// most so many of them.
    pub users_max: Option<Seats>,
    /// Only for hosts that an INCLUDE rule of this feature names, and for at
    /// most so many of them.
    pub hosts_max: Option<Seats>,
}

/// What one seat takes of another feature.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenCost {
    /// The feature whose seats are the tokens. It consumes nothing itself.
    pub feature: FeatureName,
    /// Which version of it.
    pub version: Version,
    /// How many for one seat.
    pub tokens: Seats,
}

/// Words for administrators and for the license crate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The publisher's notice.
    pub notice: Label,
    /// The serial number of the purchase.
    pub serial_number: Label,
    /// When the line was issued, ms since 1970 UTC.
    pub issued_ms: Option<u64>,
    /// Once this line has begun, lines of these features that were issued before
    /// it are void, in whatever license they stand. Lines without a date of issue
    /// are the oldest.
    pub supersedes: Vec<FeatureName>,
}

/// Whose checkouts share one seat: those who agree in all that is named. Of
/// nothing, which is the default, everybody has a seat of his own.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u8);

impl Share {
    /// Everybody has a seat of his own.
    pub const NOTHING: Share = Share(0);
    /// The same user.
    pub const USER: Share = Share(1);
    /// The same host.
    pub const HOST: Share = Share(2);
    /// The same display.
    pub const DISPLAY: Share = Share(4);
    /// The same data of the publisher's application.
    pub const VENDOR: Share = Share(8);
    /// Everybody at the site: one seat serves all.
    pub const SITE: Share = Share(16);

    /// Agreement in this and in that. With [`Share::SITE`] nothing else counts.
    pub const fn and(self, other: Share) -> Share {
        let both = self.0 | other.0;
        if both & Self::SITE.0 == 0 { Share(both) } else { Self::SITE }
    }

    /// Whether agreement in `part` is asked for.
    pub const fn asks(self, part: Share) -> bool {
        self.0 & part.0 != 0
    }

    /// As one number, for encoding.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The inverse of [`Share::bits`].
    pub const fn from_bits(bits: u8) -> Option<Share> {
        if bits <= Self::SITE.0 { Some(Share(bits)) } else { None }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Share::NOTHING => return f.write_str("NONE"),
            Share::SITE => return f.write_str("SITE"),
            _ => {}
        }
        let parts =
            [(Self::USER, "U"), (Self::HOST, "H"), (Self::DISPLAY, "D"), (Self::VENDOR, "V")];
        parts
            .iter()
            .filter(|(part, _)| self.asks(*part))
            .try_for_each(|(_, word)| f.write_str(word))
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({self})")
    }
}
