//! What may be asked of the ledger, and what it answers.

use alloc::vec::Vec;

use crate::denial::Denial;
use crate::names::{CheckoutId, FeatureName, Label, PoolId, RequestId, Seats};
use crate::names::{SessionId, Version};
use crate::record::StateHash;
use crate::rights::License;

/// The most items in one checkout.
pub const ITEMS_MAX: usize = 64;
/// The most sessions at once. A site with more has outgrown three nodes.
pub const SESSIONS_MAX: usize = 2_000_000;
/// The most checkouts at once, over all sessions.
pub const CHECKOUTS_MAX: usize = 4_000_000;
/// The most checkouts that one session may hold. It bounds what one `End` does.
pub const CHECKOUTS_PER_SESSION_MAX: usize = 4_096;
/// The most answers that a session may leave unacknowledged. A client library
/// acknowledges with each request, so only a broken client comes near. It is
/// granted nothing more, but may always return what it holds.
pub const UNACKNOWLEDGED_MAX: usize = 256;

/// When a command was applied, as written in the log. Both times are
/// milliseconds and never run backwards in the ledger, whatever is stamped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// The log index of the entry.
    pub index: u64,
    /// The Raft term of the entry.
    pub term: u64,
    /// Cluster time: for durations. Starts near zero with the cluster.
    pub cluster_ms: u64,
    /// The date: milliseconds since 1970-01-01 UTC, for license dates.
    pub date_ms: u64,
}

/// Who holds seats, as claimed by the client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The user's login name.
    pub user: Label,
    /// The host the application runs on.
    pub host: Label,
    /// The display or terminal.
    pub display: Label,
    /// The project to account to.
    pub project: Label,
    /// The application's own name.
    pub application: Label,
    /// The process id on that host.
    pub pid: u32,
}

/// Seats of one feature, as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What is wanted.
    pub feature: FeatureName,
    /// The version that the application needs.
    pub version: Version,
    /// How many seats.
    pub seats: Seats,
}

/// Why a session was ended by the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// No heartbeat for a whole lease.
    Lease,
    /// The socket was closed by the client's kernel and nobody came back
    /// within the grace.
    Disconnect,
}

/// One command of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Opens a session, or confirms that it is open.
    Open {
        /// Drawn by the client, anew for each session: the id of one that has
        /// ended is not opened again, see [`crate::ENDED_SESSIONS_MAX`].
        session: SessionId,
        /// Who asks.
        holder: Holder,
        /// How long seats are kept after the last heartbeat. What the first
        /// opening said stays in force; the answer repeats it.
        lease_ms: u64,
        /// The client has held this session before: do not open a new one.
        resume: bool,
    },
    /// Asks for seats: all items or none.
    Checkout {
        /// Whose.
        session: SessionId,
        /// The client's number for this request.
        request: RequestId,
        /// Answers up to here may be forgotten.
        answered_through: RequestId,
        /// What is wanted, 1 to [`ITEMS_MAX`] items.
        items: Vec<Item>,
    },
    /// Returns one checkout. Beyond [`UNACKNOWLEDGED_MAX`] it is done all the
    /// same, but the answer is not remembered: a retry is told that nothing was
    /// held any more.
    Checkin {
        /// Whose.
        session: SessionId,
        /// The client's number for this request.
        request: RequestId,
        /// Answers up to here may be forgotten.
        answered_through: RequestId,
        /// What is returned.
        checkout: CheckoutId,
    },
    /// The client is done: its seats are returned.
    Close {
        /// Which session.
        session: SessionId,
    },
    /// The leader of `term` has not heard of the session. Void under any other
    /// term: a later leader has given the session a new lease.
    End {
        /// Which session.
        session: SessionId,
        /// The term in which the silence was observed.
        term: u64,
        /// What was observed.
        silence: Silence,
    },
    /// Puts a verified license in force.
    Install {
        /// The license.
        license: License,
    },
    /// Lets time pass: what is due is done.
    Tick,
    /// States what the state hash was after the entry at `index`. A node whose
    /// own ledger had another hash there has diverged and must stop.
    Compare {
        /// The log index compared.
        index: u64,
        /// The leader's hash there.
        hash: StateHash,
    },
}

/// Seats that were granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The number by which they are returned.
    pub checkout: CheckoutId,
    /// One per item asked for, in order.
    pub items: Vec<GrantedItem>,
}

/// Seats of one pool that were granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedItem {
    /// The pool they come from.
    pub pool: PoolId,
    /// The feature.
    pub feature: FeatureName,
    /// How many.
    pub seats: Seats,
    /// The licensed version.
    pub version: Version,
    /// When the right ends, ms since 1970 UTC.
    pub expires_ms: Option<u64>,
    /// The publisher's string of the line.
    pub vendor_string: Label,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The session is open and holds these checkouts.
    Opened {
        /// The lease in force, ms.
        lease_ms: u64,
        /// What it holds.
        checkouts: Vec<CheckoutId>,
    },
    /// Seats were granted.
    Granted(Grant),
    /// A checkout was returned; `false` if it was not held any more.
    Returned {
        /// Whether it was held until now.
        was_held: bool,
    },
    /// The session is gone, with all its seats; `false` if it was not open.
    Ended {
        /// Whether it was open until now.
        was_open: bool,
    },
    /// The command came from an earlier term and did nothing.
    Void,
    /// A license is in force.
    Installed {
        /// False if exactly this license was in force before.
        changed: bool,
        /// Seats held beyond what is now licensed.
        overage: u64,
    },
    /// Nothing to say.
    Noted,
}

/// The answer to a command.
pub type Answer = Result<Outcome, Denial>;
