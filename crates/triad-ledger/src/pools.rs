//! The pools: how many seats of each feature exist, how many are held, and
//! which pool serves a request.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::command::Item;
use crate::denial::{Denial, FreeSeats};
use crate::ledger::HeldItem;
use crate::names::{FeatureName, Label, PoolId, Seats, Version};
use crate::rights::{License, Line, Terms};

/// What makes lines one pool. Lines that agree in all of this are counted
/// together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolKey {
    /// The feature.
    pub feature: FeatureName,
    /// The licensed version.
    pub version: Version,
    /// First valid instant, ms since 1970 UTC.
    pub starts_ms: Option<u64>,
    /// First instant no longer valid, ms since 1970 UTC.
    pub expires_ms: Option<u64>,
    /// The publisher's string.
    pub vendor_string: Label,
    /// How its seats are counted, and who may have them.
    pub terms: Terms,
}

impl PoolKey {
    fn of(line: &Line) -> Self {
        PoolKey {
            feature: line.feature.clone(),
            version: line.version,
            starts_ms: line.starts_ms,
            expires_ms: line.expires_ms,
            vendor_string: line.vendor_string.clone(),
            terms: line.terms.clone(),
        }
    }
}

/// Seats that are counted together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What the seats are of.
    pub key: PoolKey,
    /// Seats bought.
    pub licensed: u64,
    /// Seats usable beyond those.
    pub overdraft: u64,
    /// Seats held. Not part of the record: it is the sum over the checkouts.
    pub held: u64,
    /// No license names it any more; it stays until its last seat is returned.
    pub withdrawn: bool,
}

impl Pool {
    /// Seats that may be held.
    pub fn total(&self) -> u64 {
        self.licensed + self.overdraft
    }

    /// Seats that may still be granted; none while more are held than exist.
    pub fn free(&self) -> u64 {
        self.total().saturating_sub(self.held)
    }

    /// Whether its right is in force at this date.
    pub fn valid_at(&self, date_ms: u64) -> bool {
        !self.withdrawn && self.begun_at(date_ms) && !self.over_at(date_ms)
    }

    fn begun_at(&self, date_ms: u64) -> bool {
        self.key.starts_ms.is_none_or(|starts| starts <= date_ms)
    }

    fn over_at(&self, date_ms: u64) -> bool {
        self.key.expires_ms.is_some_and(|expires| expires <= date_ms)
    }
}

/// How many of the seats `taken` are of this pool.
fn taken_of(pool: PoolId, taken: &[(PoolId, Seats)]) -> u64 {
    let of_this = taken.iter().filter(|(id, _)| *id == pool);
    of_this.map(|(_, seats)| u64::from(seats.get())).sum()
}

/// All pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools {
    pools: BTreeMap<PoolId, Pool>,
    /// The pools of a feature, the soonest-expiring first: seats that will be
    /// gone tomorrow are lent before those that stay.
    by_feature: BTreeMap<FeatureName, Vec<PoolId>>,
    pub(crate) last_id: u32,
}

impl Pools {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.pools.iter().map(|(id, pool)| (*id, pool))
    }

    pub(crate) fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(&id)
    }

    fn candidates(&self, feature: &FeatureName) -> impl Iterator<Item = (PoolId, &Pool)> {
        let ids = self.by_feature.get(feature).map(Vec::as_slice).unwrap_or_default();
        ids.iter().map(|id| (*id, &self.pools[id]))
    }

    /// The pool that serves `item`, or why none does. `taken` are seats that
    /// the same checkout takes with its earlier items.
    pub(crate) fn choose(
        &self,
        item: &Item,
        taken: &[(PoolId, Seats)],
        date_ms: u64,
    ) -> Result<PoolId, Denial> {
        let wanted = u64::from(item.seats.get());
        let mut why = Shortfall::default();
        for (id, pool) in self.candidates(&item.feature) {
            if !why.could_serve(pool, item.version, date_ms) {
                continue;
            }
            let of_this = taken_of(id, taken);
            if pool.free() >= wanted + of_this {
                return Ok(id);
            }
            let free = pool.free().saturating_sub(of_this);
            why.free.pools += 1;
            why.free.sum += free;
            why.free.largest = why.free.largest.max(free);
            why.in_use += pool.held + of_this;
            why.total += pool.total();
            why.largest = why.largest.max(pool.total());
        }
        Err(why.denial(item))
    }

    pub(crate) fn take(&mut self, id: PoolId, seats: Seats) {
        let pool = self.pools.get_mut(&id).expect("a chosen pool exists");
        pool.held += u64::from(seats.get());
        assert!(
            pool.held <= pool.total(),
            "oversold: {} of {} seats of {} held",
            pool.held,
            pool.total(),
            pool.key.feature,
        );
    }

    /// Returns seats. True if the pool was withdrawn and is now gone.
    pub(crate) fn give_back(&mut self, id: PoolId, seats: Seats) -> bool {
        let pool = self.pools.get_mut(&id).expect("held seats belong to a pool");
        let seats = u64::from(seats.get());
        pool.held = pool.held.checked_sub(seats).expect("no more seats return than were held");
        let gone = pool.withdrawn && pool.held == 0;
        if gone {
            self.pools.remove(&id);
        }
        gone
    }

    /// Moves seats without asking for room: a renewal takes over what is held,
    /// and a smaller one is overdrawn until enough seats have come back.
    pub(crate) fn shift(&mut self, from: PoolId, to: PoolId, seats: Seats) -> bool {
        self.pools.get_mut(&to).expect("the target exists").held += u64::from(seats.get());
        self.give_back(from, seats)
    }

    /// Where a held item may live on: another pool of its feature that is valid
    /// and serves its version, with room beside what is `taken` already. With
    /// `overdraw`, the largest will do if none has room.
    pub(crate) fn refuge(
        &self,
        held: &HeldItem,
        taken: &[(PoolId, Seats)],
        date_ms: u64,
        overdraw: bool,
    ) -> Option<PoolId> {
        let feature = &self.pools.get(&held.pool)?.key.feature;
        let mut largest: Option<(PoolId, u64)> = None;
        for (id, pool) in self.candidates(feature) {
            if id == held.pool || !pool.valid_at(date_ms) || pool.key.version < held.version {
                continue;
            }
            if pool.free() >= u64::from(held.seats.get()) + taken_of(id, taken) {
                return Some(id);
            }
            if overdraw && largest.is_none_or(|(_, total)| pool.total() > total) {
                largest = Some((id, pool.total()));
            }
        }
        largest.map(|(id, _)| id)
    }

    /// Makes the pools those of `licenses`. Pools that keep their key keep
    /// their id; pools that lost their lines are withdrawn, and vanish if
    /// nobody holds seats of them. Returns every pool that changed.
    pub(crate) fn rebuild<'a>(
        &mut self,
        licenses: impl Iterator<Item = &'a License>,
    ) -> Vec<PoolId> {
        let mut wanted: BTreeMap<PoolKey, (u64, u64)> = BTreeMap::new();
        for line in licenses.flat_map(|license| &license.lines) {
            let (licensed, overdraft) = wanted.entry(PoolKey::of(line)).or_default();
            *licensed += u64::from(line.seats);
            *overdraft += u64::from(line.overdraft);
        }
        let mut changed = Vec::new();
        self.pools.retain(|id, pool| {
            let (licensed, overdraft, withdrawn) = match wanted.remove(&pool.key) {
                Some((licensed, overdraft)) => (licensed, overdraft, false),
                None => (0, 0, true),
            };
            if (pool.licensed, pool.overdraft, pool.withdrawn) != (licensed, overdraft, withdrawn) {
                changed.push(*id);
            }
            (pool.licensed, pool.overdraft, pool.withdrawn) = (licensed, overdraft, withdrawn);
            !withdrawn || pool.held > 0
        });
        for (key, (licensed, overdraft)) in wanted {
            self.last_id += 1;
            let id = PoolId(self.last_id);
            self.pools.insert(id, Pool { key, licensed, overdraft, held: 0, withdrawn: false });
            changed.push(id);
        }
        self.index();
        changed
    }

    /// Puts a pool back as it was recorded.
    pub(crate) fn restore(&mut self, id: PoolId, pool: Pool) {
        self.pools.insert(id, pool);
    }

    /// Counts seats that a restored checkout holds; `false` if there is no
    /// such pool.
    pub(crate) fn restore_held(&mut self, id: PoolId, seats: Seats) -> bool {
        let pool = self.pools.get_mut(&id);
        pool.map(|pool| pool.held += u64::from(seats.get())).is_some()
    }

    /// Sorts the pools of each feature. Withdrawn pools serve nobody.
    pub(crate) fn index(&mut self) {
        self.by_feature.clear();
        for (id, pool) in self.pools.iter().filter(|(_, pool)| !pool.withdrawn) {
            self.by_feature.entry(pool.key.feature.clone()).or_default().push(*id);
        }
        for ids in self.by_feature.values_mut() {
            ids.sort_by_key(|id| {
                let key = &self.pools[id].key;
                (key.expires_ms.unwrap_or(u64::MAX), key.version, *id)
            });
        }
    }

    /// When the next right ends after this date.
    pub(crate) fn next_expiry_ms(&self, date_ms: u64) -> Option<u64> {
        let ends = self.pools.values().filter_map(|pool| pool.key.expires_ms);
        ends.filter(|expires| *expires > date_ms).min()
    }

    /// The pools that are held and whose right is over.
    pub(crate) fn over_at(&self, date_ms: u64) -> BTreeSet<PoolId> {
        let over = self.pools.iter().filter(|(_, pool)| pool.held > 0 && pool.over_at(date_ms));
        over.map(|(id, _)| *id).collect()
    }

    /// Seats held beyond those that exist, over all pools.
    pub(crate) fn overage(&self) -> u64 {
        self.pools.values().map(|pool| pool.held.saturating_sub(pool.total())).sum()
    }
}

/// Why no pool could serve, gathered while looking.
#[derive(Default)]
struct Shortfall {
    known: bool,
    best_version: Option<Version>,
    /// The version is served, but only by pools outside their dates.
    version_served: bool,
    starts_ms: Option<u64>,
    expired_ms: Option<u64>,
    valid: bool,
    in_use: u64,
    total: u64,
    largest: u64,
    free: FreeSeats,
}

impl Shortfall {
    fn could_serve(&mut self, pool: &Pool, version: Version, date_ms: u64) -> bool {
        self.known = true;
        self.best_version = self.best_version.max(Some(pool.key.version));
        if pool.key.version < version {
            return false;
        }
        self.version_served = true;
        if !pool.begun_at(date_ms) {
            let starts = pool.key.starts_ms.unwrap_or(0);
            self.starts_ms = Some(self.starts_ms.map_or(starts, |s| s.min(starts)));
            return false;
        }
        if pool.over_at(date_ms) {
            self.expired_ms = self.expired_ms.max(pool.key.expires_ms);
            return false;
        }
        self.valid = true;
        true
    }

    fn denial(self, item: &Item) -> Denial {
        let feature = item.feature.clone();
        if !self.known {
            return Denial::FeatureUnknown { feature };
        }
        if !self.version_served {
            let licensed = self.best_version.unwrap_or_default();
            return Denial::VersionNotLicensed { feature, wanted: item.version, licensed };
        }
        if !self.valid {
            return match (self.starts_ms, self.expired_ms) {
                (Some(at_ms), _) => Denial::NotYetValid { feature, at_ms },
                (None, at) => Denial::Expired { feature, at_ms: at.unwrap_or(0) },
            };
        }
        if self.largest < u64::from(item.seats.get()) {
            return Denial::MoreThanExist { feature, wanted: item.seats, total: self.largest };
        }
        let Shortfall { in_use, total, free, .. } = self;
        Denial::NoSeat { feature, wanted: item.seats, in_use, total, free }
    }
}
