//! Seeded bugs, which the simulation must find. A build for release has none:
//! there, and without the feature `seeded-bugs`, nothing can be switched on.

/// A bug that can be put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(all(feature = "seeded-bugs", debug_assertions)), allow(dead_code))]
pub enum Mutation {
    /// The lease counts from the acknowledgement.
    LeaseFromAcknowledgement,
    /// A request that is sent again gets a new number.
    RetryIsNew,
    /// A closed socket shortens nothing.
    CloseIsNoSign,
    /// What is granted to nobody is not returned.
    KeepAbandonedGrant,
    /// What the server does not name any more is believed in.
    KeptThoughEnded,
    /// A leader that is silent is never dialled anew.
    StayOnDeadPath,
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
