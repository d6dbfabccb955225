//! What happened: one event per final outcome, hash-chained, the one usage
//! history.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Answer, At, GrantedItem, Holder, Item, Silence};
use crate::denial::Denial;
use crate::names::{CheckoutId, FeatureName, Label, LicenseId, PoolId, RequestId, SessionId};
use crate::pools::Pool;
use crate::rights::Share;
use crate::tokens::{Actor, Role, TokenId};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Counts from 1, without gaps.
    pub sequence: u64,
    /// When, and at which log index.
    pub at: At,
    /// The administrator who asked for it, where one did.
    pub by: Option<Actor>,
    /// Who asked, or whose seats it is about; `None` where [`Event::what`] says
    /// it, or it is about nobody.
    pub holder: Option<Arc<Holder>>,
    /// How the pools that it touched stand after it, so that the use at any time
    /// can be read from any part of the history.
    pub pools: Vec<PoolUse>,
    /// What.
    pub what: Happening,
}

impl Event {
    /// Whom it is about.
    pub fn whose(&self) -> Option<&Holder> {
        match &self.what {
            Happening::Opened { holder, .. }
            | Happening::Ended { holder, .. }
            | Happening::Borrowed { holder, .. } => Some(holder),
            _ => self.holder.as_deref(),
        }
    }
}

/// How a pool stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolUse {
    /// Which pool.
    pub pool: PoolId,
    /// Its feature.
    pub feature: FeatureName,
    /// Seats held.
    pub held: u64,
    /// Seats bought; 0 once the pool is withdrawn.
    pub licensed: u64,
    /// Seats that may be held: overdraft included, as far as the policy lends it.
    pub total: u64,
    /// Whoever may have it has it.
    pub uncounted: bool,
    /// Whose checkouts count as one.
    pub share: Share,
}

impl PoolUse {
    /// How this pool stands now.
    pub(crate) fn of(id: PoolId, pool: &Pool) -> Self {
        PoolUse {
            pool: id,
            feature: pool.key.feature.clone(),
            held: pool.held,
            licensed: pool.licensed,
            total: pool.lendable(),
            uncounted: pool.key.terms.uncounted,
            share: pool.key.terms.share,
        }
    }

    /// A pool that went with its last seat.
    pub(crate) fn gone(id: PoolId, feature: FeatureName) -> Self {
        let share = Share::NOTHING;
        PoolUse { pool: id, feature, held: 0, licensed: 0, total: 0, uncounted: false, share }
    }
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
    /// A license came into force: it was installed, or a line of it has begun
    /// that makes others void.
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
    /// A server began to serve in the place of another, or is back.
    EpochBegun {
        /// The number of the epoch.
        epoch: u64,
    },
    /// A checkout that a back-up granted goes on here, also beyond the rights.
    Adopted {
        /// Whose it is.
        session: SessionId,
        /// Which.
        checkout: CheckoutId,
        /// The seats.
        items: Vec<GrantedItem>,
    },
    /// An administrator said that borrowed seats are lost.
    MarkedLost {
        /// Who had borrowed them.
        session: SessionId,
        /// Which.
        checkout: CheckoutId,
    },
    /// A token was made.
    TokenCreated {
        /// Which.
        token: TokenId,
        /// What it is good for.
        role: Role,
        /// Whose it is.
        label: Label,
        /// When it ends, ms since 1970 UTC.
        expires_ms: Option<u64>,
    },
    /// A token is good for nothing any more.
    TokenRevoked {
        /// Which.
        token: TokenId,
        /// Whose it was.
        label: Label,
    },
    /// A token was used, for the first time in a day.
    TokenUsed {
        /// Which.
        token: TokenId,
        /// Whose it is.
        label: Label,
    },
    /// An administrator did something to the cluster.
    Administered {
        /// What, in words.
        what: Label,
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
