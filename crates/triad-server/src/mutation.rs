//! Seeded bugs, which the simulation must find. A build for release has none:
//! there, and without the feature `seeded-bugs`, nothing can be switched on.

/// A bug that can be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "seeded-bugs", debug_assertions)), allow(dead_code))]
pub enum Mutation {
    /// Requests are answered as they would be, and proposed after.
    AnswerBeforeCommit,
    /// A node that lost its data starts as if it had never run.
    WipedNodeVotes,
    /// Heartbeats are acknowledged by a leader without a quorum.
    HeartbeatWithoutQuorum,
    /// A new leader gives nobody a full lease.
    NoGraceOnPromotion,
    /// Sessions fall silent by the wall clock of the node.
    ExpireByWallClock,
    /// A leader that was held up counts the time as silence of its clients.
    NoStallForgiveness,
    /// Every stream that ends counts as closed by the client.
    ReleaseOnTimeout,
    /// A session that is opened again is not heard.
    OpenDoesNotRefresh,
    /// Heartbeats of sessions that end are acknowledged.
    LateHeartbeatRevives,
    /// Nobody looks whether a loan is over.
    DueLoansForgotten,
    /// A heartbeat of a suspect is acknowledged before the log says that it was heard.
    SuspectHeardAtOnce,
    /// An end of unknown outcome counts as refused.
    UnknownEndIsRefused,
    /// Of several features of a request the first is asked for.
    FirstItemOnly,
    /// Who says that he has been idle for some time is idle from now on.
    IdleFromNow,
    /// No session's silence is written into the log.
    NeverSuspect,
    /// A client whose socket was closed keeps its seats for its lease.
    CloseIsForgotten,
}

#[cfg(all(feature = "seeded-bugs", debug_assertions))]
mod switch {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Mutation;

    static ON: AtomicU32 = AtomicU32::new(0);

    /// Puts a bug into this process, for good.
    pub fn switch_on(mutation: Mutation) {
        ON.fetch_or(1 << mutation as u32, Ordering::Relaxed);
    }

    /// Whether the bug is in.
    pub fn is_on(mutation: Mutation) -> bool {
        ON.load(Ordering::Relaxed) & (1 << mutation as u32) != 0
    }
}

#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub use switch::{is_on, switch_on};

/// Whether the bug is in: never.
#[cfg(not(all(feature = "seeded-bugs", debug_assertions)))]
pub const fn is_on(_: Mutation) -> bool {
    false
}
