//! What a publisher granted: licenses and their lines. Verified before they
//! come here; the ledger only counts.

use alloc::string::String;
use alloc::vec::Vec;

use crate::names::{FeatureName, Label, LicenseId, Version};

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
}
