//! What may be asked of the ledger, and what it answers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::denial::Denial;
use crate::names::{CheckoutId, FeatureName, Label, PoolId, RequestId, Seats};
use crate::names::{SessionId, Version};
use crate::policy::Policy;
use crate::record::StateHash;
use crate::rights::License;
use crate::takeover::Takeover;
use crate::tokens::{Role, TokenHash, TokenId};

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

/// The most host ids that a client may say.
pub const HOSTIDS_MAX: usize = 16;
/// The most requests that wait at once, over all sessions. Who comes later is
/// told so.
pub const QUEUE_MAX: usize = 100_000;
/// The most requests of one session that wait at once.
pub const QUEUED_PER_SESSION_MAX: usize = UNACKNOWLEDGED_MAX;
/// The most blocks after revocations at once; each ends by itself.
pub const BLOCKS_MAX: usize = 10_000;

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
    /// Where it was seen to come from, for rules about networks. It may change
    /// when the session is resumed.
    pub address: Option<IpAddr>,
    /// The application's own word for who shares a seat.
    pub vendor_data: Label,
    /// The host ids that the client says it has, `TYPE:value`, at most
    /// [`HOSTIDS_MAX`].
    pub hostids: Vec<Label>,
}

impl Holder {
    /// Whether the other is the same application on the same host, wherever it
    /// connects from.
    pub(crate) fn is_same(&self, other: &Holder) -> bool {
        self.user == other.user
            && self.host == other.host
            && self.display == other.display
            && self.project == other.project
            && self.application == other.application
            && self.pid == other.pid
            && self.vendor_data == other.vendor_data
    }
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

/// How a request waits if it cannot be granted at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueWait {
    /// The client's wish; never more than the policy gives it. `None`: that.
    pub priority: Option<u32>,
    /// For how long at most. `None`: as long as the session lives.
    pub timeout_ms: Option<u64>,
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
        /// Whether it waits when seats are taken. `None`: it is denied.
        wait: Option<QueueWait>,
    },
    /// Returns one checkout. One that was borrowed is returned early by any
    /// session of the same user on the same host. Beyond [`UNACKNOWLEDGED_MAX`] it is done all the
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
    /// The leader of `term` has missed two heartbeats of the session. Void under
    /// any other term. A heartbeat that comes after it is acknowledged only when
    /// [`Command::Unsuspect`] or [`Command::Open`] is committed.
    Suspect {
        /// Which session.
        session: SessionId,
        /// The term in which the silence was observed.
        term: u64,
        /// When it was last heard, in cluster time.
        since_ms: u64,
    },
    /// A session that was marked is heard again.
    Unsuspect {
        /// Which session.
        session: SessionId,
    },
    /// Puts a verified license in force.
    Install {
        /// The license.
        license: License,
    },
    /// Puts a policy in force.
    SetPolicy {
        /// The policy.
        policy: Policy,
    },
    /// Asks for seats to be used without a server until a date. They belong to
    /// no session and come back at that date or by a [`Command::Checkin`].
    Borrow {
        /// Who asks.
        session: SessionId,
        /// The client's number for this request.
        request: RequestId,
        /// Answers up to here may be forgotten.
        answered_through: RequestId,
        /// What is wanted, 1 to [`ITEMS_MAX`] items.
        items: Vec<Item>,
        /// When they come back, ms since 1970 UTC.
        until_ms: u64,
    },
    /// A request waits no longer. If it was granted meanwhile it stays so.
    Cancel {
        /// Whose.
        session: SessionId,
        /// Which request.
        request: RequestId,
        /// It is not given up: the client has its final answer, and acknowledged
        /// others after it while it waited. Nothing is changed but that the
        /// answer is forgotten.
        answered: bool,
    },
    /// The client's user is idle, or is active again.
    Idle {
        /// Which session.
        session: SessionId,
        /// Since when, in cluster time; `None`: not idle.
        since_ms: Option<u64>,
    },
    /// An administrator takes seats back.
    Revoke {
        /// What is taken.
        checkout: CheckoutId,
        /// Why, for the client and the history.
        reason: Label,
        /// For how long the same user on the same host is not granted those
        /// features again.
        block_ms: u64,
    },
    /// An administrator says that borrowed seats are lost. They are not free
    /// before their end: somebody may use them.
    MarkLost {
        /// Which.
        checkout: CheckoutId,
    },
    /// A server begins to serve in the place of another, or is back.
    BeginEpoch {
        /// Higher than any before. Main servers take even ones, back-ups odd ones,
        /// so that two that know nothing of each other never take the same.
        epoch: u64,
        /// All that was granted in epochs up to here is held by the main.
        adopted: u64,
        /// The ledger was restored from a saved one: what was granted after that was
        /// saved is not known.
        restored: bool,
    },
    /// Takes over a part of what a back-up granted.
    Adopt {
        /// Which.
        takeover: Box<Takeover>,
    },
    /// The token with which the cluster was founded. Void once any is known.
    FoundToken {
        /// Its hash.
        hash: TokenHash,
    },
    /// Makes a token known. The same again is void.
    CreateToken {
        /// Its hash; the token itself is with whoever has drawn it.
        hash: TokenHash,
        /// What it is good for.
        role: Role,
        /// Whose it is.
        label: Label,
        /// The first instant at which it is over, ms since 1970 UTC.
        expires_ms: Option<u64>,
    },
    /// A token is good for nothing from now on.
    RevokeToken {
        /// Which.
        token: TokenId,
    },
    /// A token was used to read.
    NoteUse {
        /// Which.
        token: TokenId,
    },
    /// Something was done to the cluster that is no command by itself.
    NoteDeed {
        /// What, in words.
        what: Label,
    },
    /// Somebody with a token asks for a command. It is denied unless the token is
    /// known and good for it at that moment.
    By {
        /// The token that was shown.
        token: TokenId,
        /// What is asked for; none of these.
        command: Box<Command>,
    },
    /// From now on these rules are in use. Void unless they are newer than those
    /// that are; see [`crate::RULES`].
    RaiseRules {
        /// At most [`crate::RULES`].
        rules: u32,
    },
    /// Lets time pass: what is due is done.
    Tick,
    /// States what the state hash was after the entry at `index`. A node whose
    /// own ledger had another hash there has diverged and must stop.
    Compare {
        /// The log index compared.
        index: u64,
        /// The hash there, of the most nodes that have said.
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
    /// What the seats take of another feature.
    pub tokens: Option<GrantedTokens>,
}

/// Tokens that were granted beside the seats of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantedTokens {
    /// The pool they come from.
    pub pool: PoolId,
    /// Its feature.
    pub feature: FeatureName,
    /// How many.
    pub seats: Seats,
}

/// Tokens that an item takes beside its seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldTokens {
    /// The pool they count against.
    pub pool: PoolId,
    /// How many.
    pub seats: Seats,
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
    /// The command came from an earlier term, or too late, and did nothing.
    Void,
    /// A license is in force.
    Installed {
        /// False if exactly this license was in force before.
        changed: bool,
        /// Seats held beyond what is now licensed.
        overage: u64,
    },
    /// The request waits.
    Queued {
        /// Its place, from 1: of its features' queues the one that is furthest
        /// behind.
        position: u64,
    },
    /// Seats were borrowed.
    Borrowed {
        /// The seats.
        grant: Grant,
        /// When they come back, ms since 1970 UTC.
        until_ms: u64,
    },
    /// The request waits no longer.
    Cancelled {
        /// Whether it waited until now.
        was_queued: bool,
    },
    /// A policy is in force.
    PolicySet {
        /// False if exactly this policy was in force before.
        changed: bool,
    },
    /// What a back-up granted is held here.
    Adopted {
        /// Checkouts that were not here before.
        checkouts: u64,
        /// Seats held beyond what is licensed.
        overage: u64,
    },
    /// Nothing to say.
    Noted,
}

/// The answer to a command.
pub type Answer = Result<Outcome, Denial>;
