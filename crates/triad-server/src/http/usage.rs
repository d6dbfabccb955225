//! How the seats of each feature are used, summed over its pools.

use std::collections::BTreeMap;

use triad_ledger::policy::Subject;
use triad_ledger::{Ledger, Pool};

/// The seats of one feature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FeatureUse {
    /// Seats of rights in force.
    pub(crate) licensed: u64,
    /// Seats that may be held beyond those.
    pub(crate) overdraft: u64,
    /// Seats held, loans included.
    pub(crate) held: u64,
    /// Seats out on loan, of those held.
    pub(crate) borrowed: u64,
    /// Seats that nobody holds, and that the policy keeps for somebody.
    pub(crate) reserved: u64,
    /// Seats that anybody entitled may have now.
    pub(crate) free: u64,
    /// Requests that wait.
    pub(crate) waiting: u64,
    /// When the first of its rights in force ends, ms since 1970 UTC.
    pub(crate) expires_ms: Option<u64>,
    /// When the last of those that are over ended, ms since 1970 UTC.
    pub(crate) ended_ms: Option<u64>,
    /// Rights that are in force.
    pub(crate) rights: u64,
    /// Whoever may have it has it: nothing is counted.
    pub(crate) uncounted: bool,
    /// Rights that are no longer, or not yet, in force.
    pub(crate) idle_rights: u64,
    /// Seats held of rights that count nothing, and of them those out on loan.
    pub(crate) of_uncounted: (u64, u64),
}

impl FeatureUse {
    fn add(&mut self, pool: &Pool, reserved: u64, date_ms: u64) {
        let (held, borrowed) = match pool.key.terms.uncounted {
            true => (&mut self.of_uncounted.0, &mut self.of_uncounted.1),
            false => (&mut self.held, &mut self.borrowed),
        };
        *held += pool.held;
        *borrowed += pool.borrowed;
        if !pool.valid_at(date_ms) {
            self.idle_rights += 1;
            let over = pool.key.expires_ms.filter(|ends| !pool.withdrawn && *ends <= date_ms);
            self.ended_ms = self.ended_ms.max(over);
            return;
        }
        self.rights += 1;
        if pool.key.terms.uncounted {
            self.uncounted = true;
        } else {
            self.licensed += pool.licensed;
            self.overdraft += pool.overdraft;
            let free = pool.free();
            let reserved = reserved.min(free);
            self.reserved += reserved;
            self.free += free - reserved;
        }
        self.expires_ms = self.expires_ms.into_iter().chain(pool.key.expires_ms).min();
    }

    /// Beside seats that are counted, others are not to look as if they were of those.
    fn settle(&mut self) {
        if self.licensed == 0 {
            self.held += self.of_uncounted.0;
            self.borrowed += self.of_uncounted.1;
        }
    }

    /// When the first of its rights in force ends; or, where none is in force, when
    /// the last one ended. Milliseconds since 1970 UTC.
    pub(crate) fn ends_ms(&self) -> Option<u64> {
        if self.rights > 0 { self.expires_ms } else { self.ended_ms }
    }
}

/// Of every feature. Looks at each pool once, and at each line of the queue.
pub(crate) fn by_feature(ledger: &Ledger, date_ms: u64) -> BTreeMap<String, FeatureUse> {
    let mut features: BTreeMap<String, FeatureUse> = BTreeMap::new();
    for (id, pool) in ledger.pools() {
        let kept = ledger.reservations(id).map(|(_, _, seats, held)| seats.saturating_sub(held));
        let feature = features.entry(pool.key.feature.to_string()).or_insert_with(|| FeatureUse {
            waiting: ledger.waiting_for(&pool.key.feature),
            ..FeatureUse::default()
        });
        feature.add(pool, kept.sum(), date_ms);
    }
    features.values_mut().for_each(FeatureUse::settle);
    features
}

/// For whom seats of a feature are kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kept {
    pub(crate) feature: String,
    /// A host, or a group of them.
    pub(crate) for_hosts: bool,
    /// Whom, by name; where that is no name, in words.
    pub(crate) whom: String,
    /// That is a group, and not a person or a machine.
    pub(crate) is_group: bool,
}

impl Kept {
    fn of(feature: &str, subject: &Subject) -> Self {
        let whom = match subject {
            Subject::Group(name) | Subject::HostGroup(name) => name.to_string(),
            Subject::Host(name) => name.to_string(),
            other => other.to_string(),
        };
        let for_hosts = matches!(subject, Subject::Host(_) | Subject::HostGroup(_));
        let is_group = matches!(subject, Subject::Group(_) | Subject::HostGroup(_));
        Kept { feature: feature.to_owned(), for_hosts, whom, is_group }
    }
}

/// What is kept for whom, in seats; those that they hold are counted.
pub(crate) fn reservations(ledger: &Ledger) -> BTreeMap<Kept, u64> {
    let mut kept = BTreeMap::new();
    for (id, pool) in ledger.pools() {
        for (_, subject, seats, _) in ledger.reservations(id) {
            *kept.entry(Kept::of(pool.key.feature.as_str(), subject)).or_default() += seats;
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a feature with seats that are counted, those beside them are left out; of one without,
    /// they are what is told.
    #[test]
    fn what_is_not_counted_is_in_no_total() {
        let told = |licensed| {
            let mut feature = FeatureUse {
                licensed,
                held: 2,
                borrowed: 1,
                of_uncounted: (50, 5),
                ..FeatureUse::default()
            };
            feature.settle();
            (feature.held, feature.borrowed)
        };
        assert_eq!(told(10), (2, 1));
        assert_eq!(told(0), (52, 6));
    }
}
