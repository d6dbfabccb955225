//! The ledger's bytes: commands and events for the log and the history, records
//! for the image and the snapshot. Protobuf, so that nodes of neighbouring
//! versions read each other; a field once given a tag keeps it.

mod answers;
mod commands;
mod events;
mod parts;
mod policies;
mod records;
mod terms;
mod tokens;
mod writer;

pub use commands::{decode_commands, encode_commands};
pub use events::{decode_event, encode_event};
pub(crate) use policies::{
    decode_block, decode_policy, decode_waiting, encode_block, encode_policy, encode_waiting,
};
pub(crate) use records::{
    decode_checkout, decode_ended, decode_license, decode_meta, decode_pool, decode_session,
    encode_checkout, encode_ended, encode_license, encode_meta, encode_pool, encode_session,
};
pub(crate) use tokens::{decode_token, encode_token};

use core::ops::RangeInclusive;

use crate::names::NameError;
use crate::rules::rules_known;

/// Bytes that are not what they should be. On a node's own disk this means
/// damage or a newer version's data; it is never skipped.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not a protobuf message of this kind.
    #[error("not a readable message: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A required part is missing, or has a value that this version does not
    /// know.
    #[error("{0} is missing or unknown")]
    Unknown(&'static str),
    /// A command that is not in any rules that this program knows.
    #[error("a command that this program, which knows rules up to {known}, does not know")]
    UnknownCommand {
        /// The newest rules that this program knows.
        known: u32,
    },
    /// What these bytes are of needs newer rules than this program knows.
    #[error("rules {needed} are in use, and this program knows rules up to {known}")]
    NewerRules {
        /// The rules that are needed.
        needed: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// A name that would never have been accepted.
    #[error("bad name: {0}")]
    Name(#[from] NameError),
    /// More than the ledger takes, or none of what must be there.
    #[error("{found} {what}, {} to {} are allowed", allowed.start(), allowed.end())]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        allowed: RangeInclusive<usize>,
    },
    /// Not the key of a record.
    #[error("not the key of a record")]
    Key,
    /// Records, but not the one of the clock and the counters: some are
    /// missing, or they are not of a ledger.
    #[error("the record of the clock and the counters is missing among the others")]
    NoMeta,
    /// A session that is both open and ended, or ended twice.
    #[error("a session that is open and ended, or ended twice")]
    Ended,
    /// A checkout without its session or pool.
    #[error("a checkout whose session or pool is missing")]
    Orphan,
    /// A number that the counters will give out again, or one that no ledger
    /// comes to.
    #[error("a number beyond the counters, or one that no ledger comes to")]
    Counters,
}

impl CodecError {
    /// Whether the bytes are as a newer version writes them, and not damaged.
    pub fn is_newer(&self) -> bool {
        matches!(self, CodecError::UnknownCommand { .. } | CodecError::NewerRules { .. })
    }
}

type Result<T> = core::result::Result<T, CodecError>;

pub(crate) fn counted(
    what: &'static str,
    found: usize,
    allowed: RangeInclusive<usize>,
) -> Result<()> {
    if allowed.contains(&found) { Ok(()) } else { Err(CodecError::Count { what, found, allowed }) }
}

/// Refuses what came with newer rules than this program knows.
pub(crate) fn since_rules(needed: u32) -> Result<()> {
    let known = rules_known();
    if needed <= known { Ok(()) } else { Err(CodecError::NewerRules { needed, known }) }
}
