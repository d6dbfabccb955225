//! What comes into force: licenses and policies, and the pools that follow from them.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Ledger;
use crate::command::{Answer, Outcome};
use crate::denial::{Bound, Denial};
use crate::events::Happening;
use crate::names::{FeatureName, PoolId};
use crate::policy::Policy;
use crate::record::RecordKey;
use crate::rights::{LICENSES_MAX, LINES_MAX, License, Share};
use crate::shares::Weight;

impl Ledger {
    /// Puts a policy in force, all of it at once. Nobody loses a seat by it.
    pub(super) fn set_policy(&mut self, policy: &Policy) -> Answer {
        if let Some(old) = self.rules.policy() {
            if old == policy {
                return Ok(Outcome::PolicySet { changed: false });
            }
            if old.version >= policy.version {
                let (in_force, offered) = (old.version, policy.version);
                return Err(Denial::PolicySuperseded { in_force, offered });
            }
        }
        self.rules.set(policy.clone());
        self.records.touch(RecordKey::Policy);
        self.follow_rules();
        (self.freed.anew, self.freed.all) = (true, true);
        // How much of each overdraft is lent may be different now.
        let overdrawn = self.pools.iter().filter(|(_, pool)| pool.overdraft > 0);
        let overdrawn = overdrawn.map(|(id, pool)| (id, pool.key.feature.clone()));
        let overdrawn: Vec<_> = overdrawn.collect();
        self.happened_with(None, overdrawn, Happening::PolicySet { version: policy.version });
        Ok(Outcome::PolicySet { changed: true })
    }

    /// Brings everything that is derived from policy, pools and date up to date.
    pub(super) fn follow_rules(&mut self) {
        let date_ms = self.meta.at.date_ms;
        self.next_turn_ms = self.pools.next_turn_ms(date_ms);
        self.rules.compile(&mut self.pools, date_ms);
        if self.rules.counts() {
            for (pool, weight) in self.weights() {
                self.rules.weigh(pool, &weight.owner, weight.seats, true);
            }
        }
        let idle = self.sessions.iter().filter(|(_, open)| open.idle_since_ms.is_some());
        for id in idle.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.schedule_idle(id);
        }
    }

    /// What counts in each pool, and for whom.
    pub(super) fn weights(&self) -> Vec<(PoolId, Weight)> {
        let mut weights: Vec<(PoolId, Weight)> = self.pools.groups().collect();
        for (id, checkout) in self.checkouts.iter() {
            for (pool, claim) in checkout.claims(*id) {
                if self.pools.held(pool).key.terms.share == Share::NOTHING {
                    let (owner, seats) = (claim.holder.clone(), claim.seats.get().into());
                    weights.push((pool, Weight { owner, seats }));
                }
            }
        }
        weights
    }

    /// A license may shrink below what is already held: nobody is evicted, and
    /// nothing more is granted until enough seats have come back.
    pub(super) fn install(&mut self, license: &License) -> Answer {
        debug_assert!(license.lines.len() <= LINES_MAX);
        if let Some(old) = self.licenses.get(&license.id) {
            if old.serial == license.serial && old.text == license.text {
                let overage = self.pools.overage();
                return Ok(Outcome::Installed { changed: false, overage });
            }
            if old.serial >= license.serial {
                return Err(Denial::LicenseSuperseded {
                    license: license.id.clone(),
                    in_force: old.serial,
                    offered: license.serial,
                });
            }
        } else if self.licenses.len() >= LICENSES_MAX {
            return Err(Denial::LimitReached { what: Bound::Licenses, max: LICENSES_MAX as u64 });
        }
        self.licenses.insert(license.id.clone(), license.clone());
        self.records.touch(RecordKey::License(license.id.clone()));
        let rebuilt = self.rebuild_pools();
        self.expire();
        self.line_up();
        (self.freed.anew, self.freed.all) = (true, true);
        let overage = self.pools.overage();
        let (license, serial) = (license.id.clone(), license.serial);
        self.happened_with(None, rebuilt, Happening::Installed { license, serial, overage });
        Ok(Outcome::Installed { changed: true, overage })
    }

    /// Makes the pools those of the licenses, and moves what is held of those
    /// that lost their lines. Returns every pool that changed.
    pub(super) fn rebuild_pools(&mut self) -> Vec<(PoolId, FeatureName)> {
        let features = self.pools.iter().map(|(id, pool)| (id, pool.key.feature.clone()));
        let before: BTreeMap<PoolId, FeatureName> = features.collect();
        let rebuilt = self.pools.rebuild(self.licenses.values(), self.meta.at.date_ms);
        let feature = |id| self.pools.pool(id).map(|pool| pool.key.feature.clone());
        let rebuilt = rebuilt
            .into_iter()
            .filter_map(|id| Some((id, feature(id).or_else(|| before.get(&id).cloned())?)));
        let rebuilt: Vec<_> = rebuilt.collect();
        for (pool, _) in &rebuilt {
            self.records.touch(RecordKey::Pool(*pool));
        }
        // Whom the new pools let in, and what of them is kept, is to be known
        // before anybody moves there.
        self.follow_rules();
        self.move_withdrawn();
        rebuilt
    }

    /// A line that has begun to make others void is as good as a license that
    /// was installed now: the history says so, with the pools that changed.
    pub(super) fn announce_superseding(
        &mut self,
        before_ms: u64,
        rebuilt: &[(PoolId, FeatureName)],
    ) {
        let now_ms = self.meta.at.date_ms;
        let begun = |license: &&License| {
            license.lines.iter().any(|line| {
                let begins = line.starts_ms.is_some_and(|at| before_ms < at && at <= now_ms);
                begins && !line.about.supersedes.is_empty()
            })
        };
        let begun = self.licenses.values().filter(begun);
        let begun: Vec<_> = begun.map(|license| (license.id.clone(), license.serial)).collect();
        let overage = self.pools.overage();
        for (license, serial) in begun {
            let installed = Happening::Installed { license, serial, overage };
            self.happened_with(None, rebuilt.to_vec(), installed);
        }
    }
}
