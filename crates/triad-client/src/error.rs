//! What can go wrong for an application, sorted by what it does next.

use triad_proto::v1::{Reason, Refusal};

use crate::servers::ServersError;

/// Why there is no seat.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The client is set up wrongly.
    #[error("{0}")]
    Setup(String),
    /// The ledger said no. Asking again at once gets the same answer.
    #[error("{0}")]
    Denied(Box<Refusal>),
    /// Nobody could answer before the deadline. If a checkout was applied after
    /// all, the library returns the seat by itself. A loan outlives the session: one
    /// that was asked for may be out, and the refusal says that it is unknown.
    /// `triad borrow list` shows it.
    #[error("{0}")]
    Unavailable(Box<Refusal>),
    /// The session was lost meanwhile, and its seats with it.
    #[error("the session was lost: {0}")]
    Lost(String),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl Error {
    /// Whether asking again later may help. It says nothing of what was done: before
    /// a borrow that is [`Error::Unavailable`] is asked for again, look whether
    /// seats were lent.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Setup(_) | Error::Closed => false,
            Error::Denied(refusal) => refusal.retryable,
            Error::Unavailable(_) | Error::Lost(_) => true,
        }
    }

    /// What the server said, if it was the server.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::Denied(refusal) | Error::Unavailable(refusal) => Some(refusal),
            Error::Setup(_) | Error::Lost(_) | Error::Closed => None,
        }
    }

    /// The reason, if the server gave one.
    pub fn reason(&self) -> Option<Reason> {
        self.refusal().map(Refusal::reason)
    }

    /// A refusal, as the caller of a checkout meets it.
    pub(crate) fn denied(refusal: Refusal) -> Self {
        Error::Denied(Box::new(refusal))
    }

    /// The last thing heard when time ran out.
    pub(crate) fn unavailable(refusal: Refusal) -> Self {
        Error::Unavailable(Box::new(refusal))
    }
}

impl From<ServersError> for Error {
    fn from(error: ServersError) -> Self {
        Error::Setup(error.to_string())
    }
}
