//! The pools: how many seats of each feature exist, and how many are held.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{GrantedItem, Holder};
use crate::names::{FeatureName, Label, PoolId, Seats, Version};
use crate::rights::{License, Line, Share, Terms};
use crate::shares::{ClaimId, Group, ShareKey, Weight};

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
    /// Seats out on loan, of those held. Not part of the record either.
    pub borrowed: u64,
    /// The policy's bound on the overdraft. Derived from the policy.
    pub(crate) overdraft_max: Option<u64>,
}

impl Pool {
    /// Seats that may be held.
    pub fn total(&self) -> u64 {
        self.licensed + self.overdraft
    }

    /// Seats that may still be granted; none while more are held than exist.
    /// What is reserved for some is free here.
    pub fn free(&self) -> u64 {
        if self.key.terms.uncounted {
            return u64::MAX / 2;
        }
        self.lendable().saturating_sub(self.held)
    }

    fn count(&mut self, shift: &Shift) {
        self.held = shift.applied_to(self.held);
    }

    /// Whether its right is in force at this date.
    pub fn valid_at(&self, date_ms: u64) -> bool {
        !self.withdrawn && self.begun_at(date_ms) && !self.over_at(date_ms)
    }

    pub(crate) fn begun_at(&self, date_ms: u64) -> bool {
        self.key.starts_ms.is_none_or(|starts| starts <= date_ms)
    }

    pub(crate) fn over_at(&self, date_ms: u64) -> bool {
        self.key.expires_ms.is_some_and(|expires| expires <= date_ms)
    }
}

/// A seat that is asked for or held, and by whom.
#[derive(Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) id: ClaimId,
    pub(crate) seats: Seats,
    pub(crate) holder: &'a Arc<Holder>,
}

/// What a checkout in the making takes already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) pool: PoolId,
    pub(crate) seats: Seats,
    /// How many of the seats count anew; the others are shared.
    pub(crate) fresh: u64,
}

/// How many fresh seats of this pool are taken already.
pub(crate) fn taken_of(pool: PoolId, taken: &[Taken]) -> u64 {
    taken.iter().filter(|taken| taken.pool == pool).map(|taken| taken.fresh).sum()
}

/// What counted before and what counts now, for whom.
#[derive(Default)]
pub(crate) struct Shift {
    pub(crate) before: Option<Weight>,
    pub(crate) after: Option<Weight>,
}

impl Shift {
    fn applied_to(&self, counted: u64) -> u64 {
        let seats = |weight: &Option<Weight>| weight.as_ref().map_or(0, |weight| weight.seats);
        let with = counted + seats(&self.after);
        with.checked_sub(seats(&self.before)).expect("no more seats return than were held")
    }
}

type Groups = BTreeMap<(PoolId, ShareKey), Group>;

/// Counts a claim, with the group that it shares its seats with.
fn join(groups: &mut Groups, pool: PoolId, share: Share, claim: Claim<'_>) -> Shift {
    let Claim { id, seats, holder } = claim;
    let Some(key) = ShareKey::of(share, holder) else {
        let seats = u64::from(seats.get());
        return Shift { before: None, after: Some(Weight { owner: holder.clone(), seats }) };
    };
    let group = groups.entry((pool, key)).or_default();
    let before = group.weight();
    group.join(id, seats, holder);
    Shift { before, after: group.weight() }
}

/// The inverse of [`join`].
fn leave(groups: &mut Groups, pool: PoolId, share: Share, claim: Claim<'_>) -> Shift {
    let Claim { id, seats, holder } = claim;
    let Some(key) = ShareKey::of(share, holder) else {
        let seats = u64::from(seats.get());
        return Shift { before: Some(Weight { owner: holder.clone(), seats }), after: None };
    };
    let key = (pool, key);
    let group = groups.get_mut(&key).expect("held seats are of a group");
    let before = group.weight();
    let empty = group.leave(id);
    let after = group.weight();
    if empty {
        groups.remove(&key);
    }
    Shift { before, after }
}

/// All pools.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools {
    pools: BTreeMap<PoolId, Pool>,
    /// The pools of a feature in the order in which they are lent: those of
    /// which nobody needs a seat, then the soonest-expiring. Seats that will be
    /// gone tomorrow are lent before those that stay.
    by_feature: BTreeMap<FeatureName, Vec<PoolId>>,
    /// Who shares seats with whom.
    groups: Groups,
    /// The same of those claims that are out on loan.
    loans: Groups,
    /// When lines begin that make others void. Derived from the licenses.
    superseding_ms: BTreeSet<u64>,
    /// What was granted last of each pool, for the answers that are kept: most of them say
    /// the same but for the checkout, and share it. Nothing follows from it.
    granted: BTreeMap<PoolId, Arc<[GrantedItem]>>,
    pub(crate) last_id: u32,
}

impl Pools {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.pools.iter().map(|(id, pool)| (*id, pool))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (PoolId, &mut Pool)> {
        self.pools.iter_mut().map(|(id, pool)| (*id, pool))
    }

    pub(crate) fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(&id)
    }

    /// A pool of which seats are held.
    pub(crate) fn held(&self, id: PoolId) -> &Pool {
        self.pools.get(&id).expect("held seats belong to a pool")
    }

    pub(crate) fn features(&self) -> impl Iterator<Item = &FeatureName> {
        self.by_feature.keys()
    }

    pub(crate) fn candidates(
        &self,
        feature: &FeatureName,
    ) -> impl Iterator<Item = (PoolId, &Pool)> {
        let ids = self.by_feature.get(feature).map(Vec::as_slice).unwrap_or_default();
        ids.iter().map(|id| (*id, &self.pools[id]))
    }

    /// The groups that share seats, and what they weigh.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (PoolId, Weight)> {
        self.groups.iter().filter_map(|((pool, _), group)| Some((*pool, group.weight()?)))
    }

    /// What the holder's group weighs in a pool.
    pub(crate) fn group_of(&self, id: PoolId, holder: &Holder) -> Option<Weight> {
        let key = ShareKey::of(self.held(id).key.terms.share, holder)?;
        self.groups.get(&(id, key))?.weight()
    }

    /// How many of these seats would count anew, beside those that the holder's
    /// group has and those that the same checkout takes already.
    pub(crate) fn fresh(&self, id: PoolId, seats: Seats, holder: &Holder, taken: &[Taken]) -> u64 {
        let wanted = u64::from(seats.get());
        let Some(key) = ShareKey::of(self.held(id).key.terms.share, holder) else { return wanted };
        let group = self.groups.get(&(id, key)).map_or(0, Group::seats);
        let of_this = taken.iter().filter(|taken| taken.pool == id);
        let shared = of_this.map(|taken| u64::from(taken.seats.get())).max().unwrap_or(0);
        wanted.saturating_sub(group.max(shared))
    }

    /// These items as they were granted last, if they were, so that they are kept once.
    pub(crate) fn shared(&mut self, items: &[GrantedItem]) -> Arc<[GrantedItem]> {
        let Some(first) = items.first().filter(|first| self.pools.contains_key(&first.pool)) else {
            return Arc::from(items);
        };
        let last = self.granted.entry(first.pool).or_insert_with(|| Arc::from(items));
        if **last != *items {
            *last = Arc::from(items);
        }
        last.clone()
    }

    /// Takes seats that were found free.
    pub(crate) fn take(&mut self, id: PoolId, claim: Claim<'_>) -> Shift {
        let shift = self.add(id, claim);
        let pool = self.held(id);
        assert!(
            pool.key.terms.uncounted || pool.held <= pool.total() || shift.before == shift.after,
            "oversold: {} of {} seats of {} held",
            pool.held,
            pool.total(),
            pool.key.feature,
        );
        shift
    }

    /// Takes seats without asking for room: a renewal takes over what is held,
    /// and a smaller one is overdrawn until enough seats have come back.
    pub(crate) fn add(&mut self, id: PoolId, claim: Claim<'_>) -> Shift {
        let pool = self.pools.get_mut(&id).expect("a chosen pool exists");
        let shift = join(&mut self.groups, id, pool.key.terms.share, claim);
        pool.count(&shift);
        shift
    }

    /// Returns seats. True if the pool was withdrawn and is now gone.
    pub(crate) fn give_back(&mut self, id: PoolId, claim: Claim<'_>) -> (Shift, bool) {
        let pool = self.pools.get_mut(&id).expect("held seats belong to a pool");
        let shift = leave(&mut self.groups, id, pool.key.terms.share, claim);
        pool.count(&shift);
        let gone = pool.withdrawn && pool.held == 0;
        if gone {
            self.pools.remove(&id);
            self.granted.remove(&id);
        }
        (shift, gone)
    }

    /// Makes the pools those of `licenses` at this date. Pools that keep their
    /// key keep their id; pools that lost their lines are withdrawn, and vanish
    /// if nobody holds seats of them. Returns every pool that changed.
    pub(crate) fn rebuild<'a>(
        &mut self,
        licenses: impl Iterator<Item = &'a License> + Clone,
        date_ms: u64,
    ) -> Vec<PoolId> {
        self.note_superseding(licenses.clone());
        let mut wanted: BTreeMap<PoolKey, (u64, u64)> = BTreeMap::new();
        let lines: Vec<&Line> = licenses.flat_map(|license| &license.lines).collect();
        let void = superseded(&lines, date_ms);
        let in_force = |line: &&&Line| {
            let before = void.get(&line.feature);
            before.is_none_or(|before| line.about.issued_ms.unwrap_or(0) >= *before)
        };
        for line in lines.iter().filter(in_force) {
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
        self.granted.retain(|id, _| self.pools.contains_key(id));
        for (key, (licensed, overdraft)) in wanted {
            self.last_id += 1;
            let id = PoolId(self.last_id);
            let (held, withdrawn, borrowed, overdraft_max) = Default::default();
            let pool = Pool { key, licensed, overdraft, held, withdrawn, borrowed, overdraft_max };
            self.pools.insert(id, pool);
            changed.push(id);
        }
        self.index();
        changed
    }

    /// Notes when lines begin that make others void, for
    /// [`Pools::next_turn_ms`].
    pub(crate) fn note_superseding<'a>(&mut self, licenses: impl Iterator<Item = &'a License>) {
        let lines = licenses.flat_map(|license| &license.lines);
        let superseding = lines.filter(|line| !line.about.supersedes.is_empty());
        self.superseding_ms = superseding.filter_map(|line| line.starts_ms).collect();
    }

    /// The same pools, with nothing held.
    pub(crate) fn emptied(&self) -> Pools {
        let (groups, loans) = Default::default();
        let mut pools = Pools { groups, loans, ..self.clone() };
        pools.pools.values_mut().for_each(|pool| (pool.held, pool.borrowed) = (0, 0));
        pools
    }

    /// Counts a claim that goes out on loan or comes back. Loans share seats as
    /// claims do: they are not more than are held.
    pub(crate) fn count_borrowed(&mut self, id: PoolId, claim: Claim<'_>, out: bool) {
        let pool = self.pools.get_mut(&id).expect("held seats belong to a pool");
        let count = if out { join } else { leave };
        let shift = count(&mut self.loans, id, pool.key.terms.share, claim);
        pool.borrowed = shift.applied_to(pool.borrowed);
    }

    /// How many seats of the pool are out on loan if the holder also borrows
    /// these.
    pub(crate) fn on_loan(
        &self,
        id: PoolId,
        holder: &Holder,
        seats: impl Iterator<Item = u64>,
    ) -> u64 {
        let pool = self.held(id);
        match ShareKey::of(pool.key.terms.share, holder) {
            None => pool.borrowed + seats.sum::<u64>(),
            Some(key) => {
                let group = self.loans.get(&(id, key)).map_or(0, Group::seats);
                pool.borrowed + seats.max().unwrap_or(0).saturating_sub(group)
            }
        }
    }

    /// Puts a pool back as it was recorded.
    pub(crate) fn restore(&mut self, id: PoolId, pool: Pool) {
        self.pools.insert(id, pool);
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
                (!key.terms.is_free(), key.expires_ms.unwrap_or(u64::MAX), key.version, *id)
            });
        }
    }

    /// When the next right begins or ends after this date.
    pub(crate) fn next_turn_ms(&self, date_ms: u64) -> Option<u64> {
        let keys = self.pools.values().map(|pool| &pool.key);
        let turns = keys.flat_map(|key| [key.starts_ms, key.expires_ms]).flatten();
        let turns = turns.filter(|turn| *turn > date_ms);
        turns.chain(self.next_superseding_ms(date_ms)).min()
    }

    /// When the next line begins after this date that makes others void.
    pub(crate) fn next_superseding_ms(&self, date_ms: u64) -> Option<u64> {
        use core::ops::Bound;
        let later = (Bound::Excluded(date_ms), Bound::Unbounded);
        self.superseding_ms.range(later).next().copied()
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
        let counted = self.pools.values().filter(|pool| !pool.key.terms.uncounted);
        counted.map(|pool| pool.held.saturating_sub(pool.total())).sum()
    }
}

/// Before when the lines of a feature must have been issued to be void at this
/// date. A line that has not begun makes none void: until then they are what
/// the site has.
fn superseded(lines: &[&Line], date_ms: u64) -> BTreeMap<FeatureName, u64> {
    let mut before: BTreeMap<FeatureName, u64> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.starts_ms.is_none_or(|starts| starts <= date_ms)) {
        for feature in &line.about.supersedes {
            let issued = line.about.issued_ms.unwrap_or(0);
            let known = before.entry(feature.clone()).or_default();
            *known = issued.max(*known);
        }
    }
    before
}

impl Terms {
    /// Whether using it takes a seat from nobody: it is not counted, and neither
    /// by tokens.
    pub(crate) fn is_free(&self) -> bool {
        self.uncounted && self.consumes.is_none()
    }

    /// Whether the line's host ids let this holder in.
    pub(crate) fn open_to(&self, holder: &Holder) -> bool {
        self.hostids.is_empty() || self.hostids.iter().any(|id| holder.hostids.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_are_kept_once_while_their_pool_exists() {
        let mut pools = Pools::default();
        pools.rebuild([&License::of_two("cad")].into_iter(), 0);
        let items = |seats| {
            [GrantedItem {
                pool: PoolId(1),
                feature: FeatureName::parse("cad").expect("good"),
                seats: Seats::new(seats).expect("not zero"),
                version: Version::default(),
                expires_ms: None,
                vendor_string: Label::default(),
                tokens: None,
            }]
        };
        let first = pools.shared(&items(1));
        assert!(Arc::ptr_eq(&first, &pools.shared(&items(1))));
        let other = pools.shared(&items(2));
        assert_eq!((&*first, &*other), (&items(1)[..], &items(2)[..]));
        pools.rebuild([&License::of_two("cam")].into_iter(), 0);
        assert_eq!(pools.pool(PoolId(1)), None);
        assert_eq!(Arc::strong_count(&other), 1, "nothing is kept of a pool that is gone");
        assert_eq!(*pools.shared(&items(2)), items(2));
        assert!(pools.granted.is_empty());
    }
}
