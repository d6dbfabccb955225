//! What can go wrong with the log, and what the operator is told to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::state::COUNT_MAX;
use crate::rules::REMEDY;

/// Why the log cannot go on. Every variant names the place; none is worth a retry on the same
/// open log: the first one is final, and the node must stop.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// Bytes that were once acknowledged are gone or altered. Never served, never repaired.
    #[error(
        "{file}, offset {offset}{entry}: {what}; the log on this node is damaged and is not \
         served: restore this node with \"triad node replace\"",
        file = file.display(),
        entry = index.map(|index| format!(", entry {index}")).unwrap_or_default()
    )]
    Damaged {
        /// The damaged file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// The log index that was expected there, when it is known.
        index: Option<u64>,
        /// What is wrong.
        what: Damage,
    },

    /// The file is whole, but was written by another node or another cluster.
    #[error(
        "{file}: this file belongs to another node or cluster; check the data directory, or \
         restore this node with \"triad node replace\"",
        file = file.display()
    )]
    Foreign {
        /// The file of another owner.
        file: PathBuf,
    },

    /// The file was written in a format this program does not know.
    #[error(
        "{file}: written in log format {found}, this program reads format {known}; start the \
         version of Triad that wrote it, or a newer one",
        file = file.display()
    )]
    Version {
        /// The file.
        file: PathBuf,
        /// The format in the file.
        found: u32,
        /// The format of this program.
        known: u32,
    },

    /// Another process has the log open.
    #[error(
        "{folder}: another process has this log open; stop the other \"triad serve\" first",
        folder = folder.display()
    )]
    Locked {
        /// The log's folder.
        folder: PathBuf,
    },

    /// The disk has no room for what must be kept.
    #[error(
        "{file}: no space left to {action}; free space on this disk and start the node again",
        file = file.display()
    )]
    Full {
        /// What was being done.
        action: &'static str,
        /// The file it was done to.
        file: PathBuf,
        /// The error of the operating system.
        #[source]
        source: Arc<io::Error>,
    },

    /// The disk failed. What was not yet synced may be lost, so the node must stop.
    #[error(
        "{file}: cannot {action}: {source}; check this disk and start the node again, or \
         restore it with \"triad node replace\"",
        file = file.display()
    )]
    Disk {
        /// What was being done.
        action: &'static str,
        /// The file it was done to.
        file: PathBuf,
        /// The error of the operating system.
        #[source]
        source: Arc<io::Error>,
    },

    /// An entry that no segment can hold.
    #[error(
        "entry {index} has {length_bytes} bytes, the log takes {length_max_bytes}; split the \
         proposal, or raise the log's segment size"
    )]
    TooLarge {
        /// The entry.
        index: u64,
        /// Its length.
        length_bytes: usize,
        /// The longest entry of this log.
        length_max_bytes: usize,
    },

    /// The log's numbers are used up. No log comes so far by being written to: some file that it
    /// was opened from said so.
    #[error(
        "the log is at its last number ({COUNT_MAX}) and takes nothing more: restore this node \
         with \"triad node replace\""
    )]
    UsedUp,

    /// The caller broke the order of the log. A defect of this program.
    #[error(
        "cannot {action} at entry {index}: the log continues at entry {next}; this is a defect \
         of Triad, please report it"
    )]
    OutOfOrder {
        /// What was asked for.
        action: &'static str,
        /// At which entry.
        index: u64,
        /// The next entry of the log.
        next: u64,
    },

    /// An entry, vote or log id on disk is intact but means nothing to this program.
    #[error("{what} cannot be decoded: {reason}; start the version of Triad that wrote this log")]
    Undecodable {
        /// What was read.
        what: String,
        /// Why it was refused.
        reason: String,
    },

    /// An entry of newer rules than this program knows.
    #[error("{what}: {reason}; {REMEDY}")]
    Newer {
        /// What was read.
        what: String,
        /// By what it is known.
        reason: String,
    },

    /// The log was closed before.
    #[error("the log is closed; start the node again")]
    Closed,
}

/// What exactly is wrong with a damaged file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file is missing.
    #[error("the file is missing")]
    Missing,
    /// The file is not as long as it was made.
    #[error("TRUNCATED: the file has {found} bytes instead of {expected}")]
    Truncated {
        /// The length it was made with.
        expected: u64,
        /// The length it has.
        found: u64,
    },
    /// The header of the file does not match its checksum, or is not this file's.
    #[error("the file's header is altered")]
    Header,
    /// Both copies of the state are altered.
    #[error("both copies of the state are altered")]
    State,
    /// A record does not match its checksum, and later records show that it was durable.
    #[error("a record is altered")]
    Checksum,
    /// Records are missing: acknowledged ones should follow here.
    #[error("records up to number {durable} were durable, but the log ends before number {next}")]
    Lost {
        /// The number of the last record known to have been durable.
        durable: u64,
        /// The number of the first record that is not there.
        next: u64,
    },
    /// An intact record stands where another one belongs.
    #[error("found {found} where {expected} belongs")]
    Gap {
        /// What was expected.
        expected: String,
        /// What was found.
        found: String,
    },
    /// The file should not be there.
    #[error("this file does not belong into the log's folder")]
    Unexpected,
}

impl LogError {
    /// A failed operation on `file`; `action` completes the sentence "cannot ...".
    pub(super) fn disk(action: &'static str, file: &Path, source: io::Error) -> Self {
        let file = file.to_path_buf();
        let full =
            matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let source = Arc::new(source);
        match full {
            true => Self::Full { action, file, source },
            false => Self::Disk { action, file, source },
        }
    }

    /// Damage found in `file`.
    pub(super) fn damaged(file: &Path, offset: u64, index: Option<u64>, what: Damage) -> Self {
        Self::Damaged { file: file.to_path_buf(), offset, index, what }
    }

    /// Whether the disk had no room, rather than failed.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether acknowledged bytes are gone or altered.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }
}

impl From<LogError> for io::Error {
    fn from(error: LogError) -> Self {
        let kind = match &error {
            LogError::Damaged { .. } | LogError::Undecodable { .. } => io::ErrorKind::InvalidData,
            LogError::Full { .. } => io::ErrorKind::StorageFull,
            LogError::Disk { source, .. } => source.kind(),
            LogError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
