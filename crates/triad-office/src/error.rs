//! Why the office does not do what it is asked, sorted by what the caller does
//! next.

use std::path::PathBuf;

use triad_license::LicenseError;

/// Why something was not done. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// The office says no, for a reason that programs can tell apart.
    #[error("{message}")]
    Refused {
        /// Such as `MAIN_HOLDS_RIGHTS`.
        reason: &'static str,
        /// For people, with the remedy.
        message: String,
    },
    /// A request that is not newer than the last one of its server.
    #[error(
        "the request is not newer than another of this server: its sequence is not above {last}; \
         if nobody replays old requests, make it again"
    )]
    Replayed {
        /// The sequence of the newest request.
        last: u64,
    },
    /// There is no such thing.
    #[error("{0} is not known here")]
    NotFound(String),
    /// The database.
    #[error("the database: {0}")]
    Database(#[from] rusqlite::Error),
    /// The database was made by a later version of the program.
    #[error(
        "the database is of version {found}, this program knows versions up to {known}; start \
         the newer program"
    )]
    TooNew {
        /// What the database says.
        found: usize,
        /// What this program knows.
        known: usize,
    },
    /// A document or a key.
    #[error(transparent)]
    License(#[from] LicenseError),
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file that must not be there yet.
    #[error("{} exists already; nothing is ever overwritten", .0.display())]
    Exists(PathBuf),
    /// The configuration.
    #[error("{}: {what}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Line, key and remedy.
        what: String,
    },
    /// The system gives no randomness, or a certificate cannot be made.
    #[error("{0}")]
    System(String),
}

impl OfficeError {
    /// A refusal.
    pub fn refused(reason: &'static str, message: impl Into<String>) -> Self {
        OfficeError::Refused { reason, message: message.into() }
    }

    /// The name of the reason, for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            OfficeError::Refused { reason, .. } => reason,
            OfficeError::Replayed { .. } => "REPLAYED",
            OfficeError::NotFound(_) => "NOT_FOUND",
            OfficeError::License(LicenseError::Tampered { .. }) => "FORGED",
            OfficeError::License(_) => "MALFORMED",
            _ => "INTERNAL",
        }
    }
}
