//! The counters, the clocks, the epoch and the rules in use: what belongs to no
//! record of its own.

use super::*;
use crate::rules::{RULES, RULES_MIN};

/// The counters and clocks that belong to no record of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) at: At,
    pub(crate) last_checkout: u64,
    pub(crate) last_pool: u32,
    pub(crate) last_event: u64,
    pub(crate) chain: ChainHash,
    pub(crate) last_ticket: u64,
    pub(crate) epoch: Epoch,
    /// The rules in use.
    pub(crate) rules: u32,
}

impl Default for Meta {
    fn default() -> Self {
        Meta {
            at: At::default(),
            last_checkout: 0,
            last_pool: 0,
            last_event: 0,
            chain: ChainHash::default(),
            last_ticket: 0,
            epoch: Epoch::default(),
            rules: RULES_MIN,
        }
    }
}

/// The epoch, and how things stood when it began. All 0 in a cluster of nodes
/// that agree; a main server and its back-up count with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch {
    pub(crate) number: u64,
    pub(crate) adopted: u64,
    pub(crate) begun_ms: u64,
    pub(crate) restored_ms: Option<u64>,
    pub(crate) last_checkout: u64,
    pub(crate) last_event: u64,
}

impl Ledger {
    /// Nothing of newer rules is read from a log, so a ledger is never told of any.
    pub(super) fn raise_rules(&mut self, rules: u32) -> Outcome {
        assert!(rules <= RULES, "rules {rules} are not known");
        if rules <= self.meta.rules {
            return Outcome::Void;
        }
        self.meta.rules = rules;
        Outcome::Noted
    }
}
