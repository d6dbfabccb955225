//! What happened: one event per final outcome, hash-chained, the one usage
//! history.

use alloc::vec::Vec;

use crate::command::{Answer, At, GrantedItem, Holder, Item, Silence};
use crate::denial::Denial;
use crate::names::{CheckoutId, Label, LicenseId, RequestId, SessionId};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts from 1, without gaps.
    pub sequence: u64,
    /// When, and at which log index.
    pub at: At,
    /// What.
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// A session was opened.
    Opened {
        /// Which.
        session: SessionId,
        /// By whom.
        holder: Holder,
    },
    /// A session is gone.
    Ended {
        /// Which.
        session: SessionId,
        /// Whose it was.
        holder: Holder,
        /// Why.
        reason: EndReason,
        /// How many checkouts it still held.
        checkouts: u64,
    },
    /// Seats were granted.
    Granted {
        /// To which session.
        session: SessionId,
        /// The checkout.
        checkout: CheckoutId,
        /// The seats.
        items: Vec<GrantedItem>,
    },
    /// A request was denied.
    Denied {
        /// Whose request.
        session: SessionId,
        /// What was asked for.
        items: Vec<Item>,
        /// Why not.
        denial: Denial,
    },
    /// A checkout is over.
    Returned {
        /// Whose it was.
        session: SessionId,
        /// Which.
        checkout: CheckoutId,
        /// Why.
        reason: EndReason,
    },
    /// A checkout goes on in other pools, because a right ended or a license
    /// was renewed. With it the use of each pool can be told from the history.
    Moved {
        /// Whose it is.
        session: SessionId,
        /// Which.
        checkout: CheckoutId,
        /// All its seats as they are held from now on, also those that stayed.
        items: Vec<GrantedItem>,
    },
    /// A license came into force.
    Installed {
        /// Which.
        license: LicenseId,
        /// Its serial.
        serial: u64,
        /// Seats held beyond what is now licensed.
        overage: u64,
    },
    /// A policy came into force.
    PolicySet {
        /// Its version.
        version: u64,
    },
    /// A request waits.
    Queued {
        /// Whose.
        session: SessionId,
        /// Which.
        request: RequestId,
        /// What it asks for.
        items: Vec<Item>,
        /// Its place, from 1.
        position: u64,
    },
    /// A request that waited has its final answer; the grant or the denial is an
    /// event of its own, before this one. For the node that owes the answer.
    Settled {
        /// Whose.
        session: SessionId,
        /// Which.
        request: RequestId,
        /// The answer.
        answer: Answer,
    },
    /// Seats were borrowed.
    Borrowed {
        /// By which session.
        session: SessionId,
        /// Who.
        holder: Holder,
        /// The checkout.
        checkout: CheckoutId,
        /// The seats.
        items: Vec<GrantedItem>,
        /// When they come back, ms since 1970 UTC.
        until_ms: u64,
    },
    /// A checkout was returned, and its seats stay taken for a while.
    Lingering {
        /// Whose it was.
        session: SessionId,
        /// Which.
        checkout: CheckoutId,
        /// The seats that stay taken; others came back at once.
        items: Vec<GrantedItem>,
        /// Until when, in cluster time.
        until_ms: u64,
    },
    /// An administrator took seats back; their return follows.
    Revoked {
        /// Whose they were.
        session: SessionId,
        /// Which.
        checkout: CheckoutId,
        /// Why.
        reason: Label,
        /// For how long they are blocked.
        block_ms: u64,
    },
    /// An administrator said that borrowed seats are lost.
    MarkedLost {
        /// Who had borrowed them.
        session: SessionId,
        /// Which.
        checkout: CheckoutId,
    },
}

/// Why a session or a checkout is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Its client said so.
    Closed,
    /// Its client fell silent, or its process died.
    Silent(Silence),
    /// The license line expired and no other could take it over.
    Expired,
    /// It had been returned before, and the time to linger is over.
    Lingered,
    /// Nobody used it for as long as the policy allows.
    Idle,
    /// An administrator took it back.
    Revoked,
    /// It was borrowed until now.
    BorrowEnded,
}

/// The head of the event chain: the hash of the last event, which covers the
/// hash of the one before, and so on to the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// The head after `encoded` was appended.
    pub fn extend(self, encoded: &[u8]) -> ChainHash {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0);
        hasher.update(encoded);
        ChainHash(*hasher.finalize().as_bytes())
    }
}
