//! Which pool serves an item, or why none does: license, policy and count, in
//! that order.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::command::{Holder, Item};
use crate::denial::{Denial, FreeSeats};
use crate::names::{PoolId, Seats, Version};
use crate::policy::RuleId;
use crate::pools::{Pool, Pools, Taken, taken_of};
use crate::reservations::Kept;
use crate::rulebook::{Named, PoolRules, Remaining, Rulebook, Who};

/// Who asks, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) pools: &'a Pools,
    pub(crate) rules: &'a Rulebook,
    pub(crate) holder: &'a Arc<Holder>,
    pub(crate) date_ms: u64,
    /// Until when it is to be borrowed, ms since 1970 UTC.
    pub(crate) borrow_until_ms: Option<u64>,
    /// As if all others had returned what they hold; those with whom he shares
    /// seats had not.
    pub(crate) alone: bool,
}

/// The pool that serves an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) seats: Taken,
    pub(crate) tokens: Option<Taken>,
    /// It takes no seat from anybody who waits: nothing counts anew, or nothing
    /// counts at all, or all of it was reserved for the holder.
    pub(crate) out_of_turn: bool,
}

/// So many pools are tried at most for a request whose first choices do not fit together.
const TRIES_MAX: usize = 64;

/// A pool that was tried for an item, and the one for its tokens.
type Tried = (PoolId, Option<PoolId>);

/// A pool that may serve an item, the rules about it, and what is kept of it.
struct LookedAt<'a> {
    id: PoolId,
    pool: &'a Pool,
    rules: Option<(&'a PoolRules, &'a Who)>,
    remaining: Remaining,
}

/// How far a pool went before it said no. The furthest is what is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Refused,
    Full,
    Max,
    Included,
    Tokens,
}

impl Asking<'_> {
    /// A pool for every item, or the denial of the first that has none. Nothing
    /// is taken before all are found.
    pub(crate) fn choose(&self, items: &[Item]) -> Result<Vec<Choice>, Denial> {
        let mut taken: Vec<Taken> = Vec::with_capacity(items.len());
        let mut choices = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            let choice = match self.item(item, &taken, true, &[]) {
                Ok(choice) => choice,
                Err(denial) => {
                    let (before, mut tries) = (&items[..place], TRIES_MAX);
                    let other_ways = before.iter().any(|item| self.has_ways(item))
                        && self.item(item, &[], true, &[]).is_ok();
                    let found = other_ways.then(|| self.search(items, &mut Vec::new(), &mut tries));
                    return found.flatten().ok_or(denial);
                }
            };
            taken.push(choice.seats);
            taken.extend(choice.tokens);
            choices.push(choice);
        }
        Ok(choices)
    }

    /// The same, each item from one pool alone.
    pub(crate) fn choose_from(
        &self,
        items: &[Item],
        pools: impl Iterator<Item = PoolId>,
    ) -> Result<Vec<Choice>, Denial> {
        let mut taken: Vec<Taken> = Vec::new();
        let mut choices = Vec::new();
        for (item, pool) in items.iter().zip(pools) {
            let others = self.pools.candidates(&item.feature).filter(|(id, _)| *id != pool);
            let others: Vec<Tried> = others.map(|(id, _)| (id, None)).collect();
            let choice = self.item(item, &taken, true, &others)?;
            taken.push(choice.seats);
            taken.extend(choice.tokens);
            choices.push(choice);
        }
        Ok(choices)
    }

    /// Whether it is his own MAX that keeps the holder from the first item that no pool serves,
    /// in every pool that would let him in: then he takes nothing from those behind him.
    pub(crate) fn is_held_back(&self, items: &[Item]) -> bool {
        let mut taken: Vec<Taken> = Vec::new();
        for item in items {
            let Ok(choice) = self.item(item, &taken, true, &[]) else {
                return self.has_only_max(item, &taken);
            };
            taken.push(choice.seats);
            taken.extend(choice.tokens);
        }
        false
    }

    fn has_only_max(&self, item: &Item, taken: &[Taken]) -> bool {
        let who = self.rules.who(self.holder);
        let mut kept: Option<Kept> = None;
        let mut max = false;
        for (id, pool) in self.pools.candidates(&item.feature) {
            let serves = pool.key.version >= item.version && pool.valid_at(self.date_ms);
            if !serves || self.lets_in(item, id, pool, &who).is_err() {
                continue;
            }
            let rules = self.rules.of(id).map(|rules| (rules, &who));
            let looked_at = self.looked_at(item, (id, pool), rules, &mut kept);
            match self.pool(item, looked_at, taken, &mut Shortfall::default(), Some(&[])) {
                Err((Stage::Max, _)) => max = true,
                // It is full, or has no tokens.
                Ok(_) | Err(_) => return false,
            }
        }
        max
    }

    /// Whether more pools than one may serve the item, or give the tokens for it.
    fn has_ways(&self, item: &Item) -> bool {
        let several = |feature| self.pools.candidates(feature).nth(1).is_some();
        let mut costs = self.pools.candidates(&item.feature).filter_map(|(_, pool)| {
            let terms = &pool.key.terms;
            terms.consumes.as_ref()
        });
        several(&item.feature) || costs.any(|cost| several(&cost.feature))
    }

    /// Pools for all items where the first that fits each leaves a later one without: that one's
    /// pool may be the only one that serves it. So whoever is denied with tries left cannot be
    /// served by any choice, and no grant to others can change that.
    fn search(
        &self,
        items: &[Item],
        taken: &mut Vec<Taken>,
        tries: &mut usize,
    ) -> Option<Vec<Choice>> {
        let Some((item, rest)) = items.split_first() else { return Some(Vec::new()) };
        let (before, mut tried) = (taken.len(), Vec::new());
        while *tries > 0 {
            *tries -= 1;
            let choice = self.item(item, taken, true, &tried).ok()?;
            taken.push(choice.seats);
            taken.extend(choice.tokens);
            if let Some(mut choices) = self.search(rest, taken, tries) {
                choices.insert(0, choice);
                return Some(choices);
            }
            taken.truncate(before);
            tried.push((choice.seats.pool, choice.tokens.map(|tokens| tokens.pool)));
        }
        None
    }

    /// `taken` is what the same checkout takes with its earlier items; `tried`
    /// are pools, with those of their tokens, that are not to be chosen.
    fn item(
        &self,
        item: &Item,
        taken: &[Taken],
        with_tokens: bool,
        tried: &[Tried],
    ) -> Result<Choice, Denial> {
        let mut why = Shortfall::default();
        let mut found: Option<Choice> = None;
        let mut who: Option<Who> = None;
        let mut kept: Option<Kept> = None;
        for (id, pool) in self.pools.candidates(&item.feature) {
            if found.is_some() && pool.key.terms.share == crate::rights::Share::NOTHING {
                continue;
            }
            if tried.contains(&(id, None)) || !why.could_serve(pool, item.version, self.date_ms) {
                continue;
            }
            let rules = self.rules.of(id);
            if rules.is_some() && who.is_none() {
                who = Some(self.rules.who(self.holder));
            }
            let rules = rules.zip(who.as_ref());
            let looked_at = self.looked_at(item, (id, pool), rules, &mut kept);
            match self.pool(item, looked_at, taken, &mut why, with_tokens.then_some(tried)) {
                // A seat that the holder has already, or that is not counted, costs
                // nobody anything.
                Ok(choice) if choice.seats.fresh == 0 || pool.key.terms.is_free() => {
                    return Ok(choice);
                }
                Ok(choice) => {
                    found.get_or_insert(choice);
                }
                Err((stage, denial)) => why.refuse(stage, denial),
            }
        }
        found.ok_or_else(|| why.denial(item))
    }

    /// A pool with what is kept of it for others. `kept`, of the item's feature, is laid once for
    /// all its pools, and only if a rule asks for it.
    fn looked_at<'a>(
        &self,
        item: &Item,
        (id, pool): (PoolId, &'a Pool),
        rules: Option<(&'a PoolRules, &'a Who)>,
        kept: &mut Option<Kept>,
    ) -> LookedAt<'a> {
        let remaining = match rules.filter(|(rules, _)| rules.reserves()) {
            Some((_, who)) => {
                let kept = kept.get_or_insert_with(|| {
                    let alone = self.alone.then_some(&**self.holder);
                    self.rules.kept(self.pools, &item.feature, alone)
                });
                self.rules.remaining(kept, id, pool, who)
            }
            None => Remaining::default(),
        };
        LookedAt { id, pool, rules, remaining }
    }

    /// Whether this pool serves the item: with tokens, from pools that were not
    /// tried; or as tokens themselves.
    fn pool(
        &self,
        item: &Item,
        looked_at: LookedAt<'_>,
        taken: &[Taken],
        why: &mut Shortfall,
        with_tokens: Option<&[Tried]>,
    ) -> Result<Choice, (Stage, Option<Denial>)> {
        let LookedAt { id, pool, rules, remaining } = looked_at;
        self.permitted(item, id, pool, rules, taken)
            .map_err(|denial| (Stage::Refused, Some(denial)))?;
        let fresh = self.pools.fresh(id, item.seats, self.holder, taken);
        let of_this = taken_of(id, taken);
        let free = self.free(id, pool).saturating_sub(of_this);
        why.total += pool.lendable();
        why.in_use += pool.held + of_this;
        why.largest = why.largest.max(pool.lendable());
        if fresh > free.saturating_sub(remaining.for_others) {
            let open = free.saturating_sub(remaining.for_others);
            why.free.pools += 1;
            why.free.sum += open;
            why.free.largest = why.free.largest.max(open);
            why.reserved += remaining.for_others;
            if fresh <= free && why.reserved_by.is_none() {
                why.reserved_by = remaining.rule.map(|rule| self.rules.rule_id(rule));
            }
            return Err((Stage::Full, None));
        }
        let uncounted = pool.key.terms.uncounted;
        let mut out_of_turn = fresh == 0 || uncounted || remaining.for_holder >= fresh + of_this;
        if let Some((rules, who)) = rules {
            self.within_max(item, fresh, rules, who, taken)
                .map_err(|denial| (Stage::Max, Some(denial)))?;
            self.included(item, rules, who).map_err(|denial| (Stage::Included, Some(denial)))?;
        }
        let tokens = match &pool.key.terms.consumes {
            Some(cost) if let Some(tried) = with_tokens => {
                let count = item.seats.get().saturating_mul(cost.tokens.get());
                let seats = Seats::new(count).expect("a product of numbers that are not zero");
                let tokens = Item { feature: cost.feature.clone(), version: cost.version, seats };
                let mut taken = taken.to_vec();
                taken.push(Taken { pool: id, seats: item.seats, fresh });
                let with_this = tried.iter().filter(|(pool, _)| *pool == id);
                let tried: Vec<Tried> =
                    with_this.filter_map(|(_, tokens)| Some(((*tokens)?, None))).collect();
                let tokens = self.item(&tokens, &taken, false, &tried);
                let tokens = tokens.map_err(|denial| (Stage::Tokens, Some(denial)))?;
                out_of_turn &= tokens.out_of_turn;
                Some(tokens.seats)
            }
            _ => None,
        };
        Ok(Choice { seats: Taken { pool: id, seats: item.seats, fresh }, tokens, out_of_turn })
    }

    /// Host ids, EXCLUDE, and what borrowing asks for.
    fn permitted(
        &self,
        item: &Item,
        id: PoolId,
        pool: &Pool,
        rules: Option<(&PoolRules, &Who)>,
        taken: &[Taken],
    ) -> Result<(), Denial> {
        let feature = || item.feature.clone();
        if !pool.key.terms.open_to(self.holder) {
            return Err(Denial::HostNotLicensed { feature: feature() });
        }
        if let Some((rules, who)) = rules
            && let Some(rule) = self.rules.excluded(rules, who)
        {
            return Err(Denial::Excluded { feature: feature(), rule: self.rules.rule_id(rule) });
        }
        let Some(until_ms) = self.borrow_until_ms else { return Ok(()) };
        let Some(mut max_ms) = pool.key.terms.borrow_max_ms else {
            return Err(Denial::BorrowOff { feature: feature() });
        };
        if let Some((rules, who)) = rules {
            if let Some(rule) = self.rules.may_not_borrow(rules, who) {
                let rule = self.rules.rule_id(rule);
                return Err(Denial::BorrowNotAllowed { feature: feature(), rule });
            }
            max_ms = max_ms.min(rules.borrow_max.map_or(u64::MAX, |(_, ms)| ms));
            // Of what is not counted there is always enough.
            if let Some((rule, kept)) = rules.lowwater
                && !pool.key.terms.uncounted
            {
                let of_this = taken.iter().filter(|taken| taken.pool == id);
                let of_this = of_this.map(|taken| taken.seats.get().into());
                let with = of_this.clone().chain([item.seats.get().into()]);
                let borrowed = self.pools.on_loan(id, self.holder, of_this);
                let with = self.pools.on_loan(id, self.holder, with);
                // Who shares what is out on loan takes nothing of what stays.
                if with > borrowed && with > pool.licensed.saturating_sub(kept) {
                    let rule = self.rules.rule_id(rule);
                    return Err(Denial::BorrowLowwater {
                        feature: feature(),
                        borrowed,
                        kept,
                        rule,
                    });
                }
            }
        }
        let left_ms = pool.key.expires_ms.map_or(u64::MAX, |end| end - self.date_ms);
        let max_ms = max_ms.min(left_ms);
        if until_ms.saturating_sub(self.date_ms) > max_ms {
            return Err(Denial::BorrowTooLong { feature: feature(), max_ms });
        }
        Ok(())
    }

    /// MAX, of everybody whom the rule counts with the holder.
    fn within_max(
        &self,
        item: &Item,
        fresh: u64,
        rules: &PoolRules,
        who: &Who,
        taken: &[Taken],
    ) -> Result<(), Denial> {
        if fresh == 0 {
            return Ok(());
        }
        for &rule in &rules.max {
            let Some((used, max)) = self.rules.max(rules, rule, who) else { continue };
            let counted = |taken: &&Taken| {
                self.rules.of(taken.pool).is_some_and(|rules| rules.max.contains(&rule))
            };
            let of_this: u64 = taken.iter().filter(counted).map(|taken| taken.fresh).sum();
            let in_use = used + of_this;
            let counts = if self.alone { of_this } else { in_use };
            if counts + fresh > max {
                let (feature, wanted) = (item.feature.clone(), item.seats);
                let rule = self.rules.rule_id(rule);
                return Err(Denial::PolicyMax { feature, wanted, in_use, max, rule });
            }
        }
        Ok(())
    }

    /// INCLUDE, and the names of user-based and host-based lines.
    pub(crate) fn included(&self, item: &Item, rules: &PoolRules, who: &Who) -> Result<(), Denial> {
        let feature = item.feature.clone();
        if let Some(rule) = self.rules.not_included(rules, who) {
            return Err(Denial::NotIncluded { feature, rule: self.rules.rule_id(rule) });
        }
        match rules.named(who) {
            Some(Named::Nobody) => Err(Denial::NoNamedUsers { feature }),
            Some(Named::No) => Err(Denial::NotNamed { feature }),
            Some(Named::Yes) | None => Ok(()),
        }
    }

    /// The denial, if there is nothing to wait for: no pool would let the holder
    /// in, or none would serve him even if all others had returned what they
    /// hold.
    pub(crate) fn never(&self, items: &[Item]) -> Option<Denial> {
        let kept_out = items.iter().find_map(|item| self.kept_out(item));
        kept_out.or_else(|| Asking { alone: true, ..*self }.choose(items).err())
    }

    /// Why no pool lets the holder in, however many seats are free.
    fn kept_out(&self, item: &Item) -> Option<Denial> {
        let who = self.rules.who(self.holder);
        let mut last = None;
        for (id, pool) in self.pools.candidates(&item.feature) {
            if pool.key.version < item.version || !pool.valid_at(self.date_ms) {
                continue;
            }
            match self.lets_in(item, id, pool, &who) {
                Ok(()) => return None,
                Err(denial) => last = Some(denial),
            }
        }
        last
    }

    /// Whether the publisher's terms let the holder in: host ids, and named users
    /// and hosts.
    pub(crate) fn is_sold_to(&self, id: PoolId, pool: &Pool, who: &Who) -> bool {
        let named = self.rules.of(id).and_then(|rules| rules.named(who));
        pool.key.terms.open_to(self.holder) && named.is_none_or(|named| named == Named::Yes)
    }

    /// Whether a pool would let the holder in if it had seats.
    pub(crate) fn lets_in(
        &self,
        item: &Item,
        id: PoolId,
        pool: &Pool,
        who: &Who,
    ) -> Result<(), Denial> {
        let rules = self.rules.of(id).map(|rules| (rules, who));
        self.permitted(item, id, pool, rules, &[])?;
        rules.map_or(Ok(()), |(rules, who)| self.included(item, rules, who))
    }

    /// Seats of the pool that may be granted.
    fn free(&self, id: PoolId, pool: &Pool) -> u64 {
        if !self.alone || pool.key.terms.uncounted {
            return pool.free();
        }
        let own = self.pools.group_of(id, self.holder).map_or(0, |group| group.seats);
        pool.lendable().saturating_sub(own)
    }
}

/// Why no pool could serve, gathered while looking.
#[derive(Default)]
pub(crate) struct Shortfall {
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
    reserved: u64,
    /// A rule for which seats that are free are kept from the holder.
    reserved_by: Option<RuleId>,
    furthest: Option<(Stage, Option<Denial>)>,
}

impl Shortfall {
    pub(crate) fn could_serve(&mut self, pool: &Pool, version: Version, date_ms: u64) -> bool {
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

    fn refuse(&mut self, stage: Stage, denial: Option<Denial>) {
        if self.furthest.as_ref().is_none_or(|(furthest, _)| stage > *furthest) {
            self.furthest = Some((stage, denial));
        }
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
        if let Some((_, Some(denial))) = self.furthest {
            return denial;
        }
        if self.largest < u64::from(item.seats.get()) {
            return Denial::MoreThanExist { feature, wanted: item.seats, total: self.largest };
        }
        let Shortfall { in_use, total, free, reserved, .. } = self;
        let wanted = item.seats;
        match self.reserved_by {
            Some(rule) => Denial::AllReserved { feature, wanted, in_use, total, reserved, rule },
            None => Denial::NoSeat { feature, wanted, in_use, total, free },
        }
    }
}
