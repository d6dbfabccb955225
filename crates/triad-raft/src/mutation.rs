//! Seeded bugs, which the simulation must find. A build for release has none:
//! there, and without the feature `seeded-bugs`, nothing can be switched on.

/// A bug that can be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "seeded-bugs", debug_assertions)), allow(dead_code))]
pub enum Mutation {
    /// Appends to the log are not synced.
    SkipFsync,
    /// Appends are called durable one flush too early.
    AnswerBeforeSync,
    /// A vote is not written down.
    ForgetVote,
    /// Reads and new leaders trust the leader lease instead of asking a quorum.
    LeaseRead,
    /// The log is purged up to what the image is going to have.
    PurgeBeyondImage,
    /// The leader's own wall clock is the date.
    OwnClockIsDate,
    /// A leader stays one, however slow its disk is.
    SickDiskLeads,
    /// The log is written on after a sync of it has failed.
    FailedSyncForgotten,
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
