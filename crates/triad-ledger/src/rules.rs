//! The rules of the log: which commands stand in it, and what they do.
//!
//! Nodes of two versions share a log only while both would do the same with every
//! entry. So whatever changes that has a number, each program knows the rules up to
//! some number, and the ledger keeps the rules in use. They are raised by a command in
//! the log, [`crate::Command::RaiseRules`], once every node knows the next, and never
//! lowered. A program that meets rules that it does not know stops before it applies
//! them.

/// The oldest rules that this program can apply.
pub const RULES_MIN: u32 = 1;
/// The newest.
pub const RULES: u32 = HOLDERS_MOVE;
/// With these, how long a session has been silent is in the log:
/// [`crate::Command::Suspect`] and [`crate::Command::Unsuspect`].
pub const SUSPECTS_SINCE: u32 = 2;
/// From these on the ledger itself looks at who notes a deed: it takes an operator.
pub(crate) const DEEDS_JUDGED: u32 = 2;
/// From these on what is held of a withdrawn right moves also when its renewal begins
/// later, and a loan outlasts its right.
pub(crate) const HOLDERS_MOVE: u32 = 3;
/// From these on one waits also where the pool that came closest would never serve him,
/// and another will.
pub(crate) const ANY_POOL_WAITS: u32 = 3;
/// From these on only the very seat that lingers is its holder's before those who wait.
pub(crate) const OWN_SEAT_LINGERS: u32 = 3;

/// The newest rules that this program can apply: [`RULES`].
#[cfg(not(all(feature = "seeded-bugs", debug_assertions)))]
pub const fn rules_known() -> u32 {
    RULES
}

#[cfg(all(feature = "seeded-bugs", debug_assertions))]
mod older {
    use core::sync::atomic::{AtomicU32, Ordering};

    use super::{RULES, RULES_MIN};

    static KNOWN: AtomicU32 = AtomicU32::new(RULES);

    /// The newest rules that this program can apply: [`RULES`], unless it was told
    /// to behave as an older one.
    pub fn rules_known() -> u32 {
        KNOWN.load(Ordering::Relaxed)
    }

    /// From now on this process is one that knows no newer rules, as an older version
    /// would.
    ///
    /// # Panics
    ///
    /// If this program does not know them either.
    pub fn know_rules(rules: u32) {
        assert!((RULES_MIN..=RULES).contains(&rules), "rules {rules} are not known");
        KNOWN.store(rules, Ordering::Relaxed);
    }
}

#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub use older::{know_rules, rules_known};
