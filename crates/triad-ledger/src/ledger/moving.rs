//! What is held of rights that are over or withdrawn: where it goes on, or that
//! it ends.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Checkout, Ledger, Stay};
use crate::command::{Holder, Item};
use crate::events::{EndReason, Happening};
use crate::names::{CheckoutId, PoolId, Seats, Version};
use crate::pools::{Claim, Taken, taken_of};
use crate::record::RecordKey;
use crate::reservations::Kept;
use crate::rules::HOLDERS_MOVE;
use crate::shares::ClaimId;

/// Why a claim has to leave its pool.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// The right is over. It goes on where its holder would be let in today.
    Expired,
    /// The license was replaced: the policy interrupts nobody by that, and what
    /// is held may be more than there is. The publisher's terms hold.
    Withdrawn,
}

/// A claim that is to live on elsewhere.
#[derive(Clone, Copy)]
struct Moving<'a> {
    from: PoolId,
    version: Version,
    seats: Seats,
    holder: &'a Arc<Holder>,
}

/// Where one claim of a checkout moves to.
struct Place {
    id: ClaimId,
    to: PoolId,
}

impl Ledger {
    /// Moves what is held of withdrawn pools to others of the same feature, so
    /// that a renewal interrupts nobody. What finds no place stays, until it is
    /// returned or its date comes.
    pub(super) fn move_withdrawn(&mut self) {
        let withdrawn = self.pools.iter().filter(|(_, pool)| pool.withdrawn);
        let left: BTreeSet<PoolId> = withdrawn.map(|(id, _)| id).collect();
        for id in self.holding(&left) {
            let places = self.places(id, &left, Leaving::Withdrawn);
            self.move_claims(id, places.into_iter().flatten().collect());
        }
    }

    /// Ends what is held of rights that are over, unless other pools of the
    /// feature would take it. A checkout moves whole or ends, so that none
    /// that ends has taken room from one that could have gone on. The oldest
    /// choose first; what an ended one gives back serves those after it. What
    /// only lingers ends: nobody uses it.
    pub(super) fn expire(&mut self) {
        let date_ms = self.meta.at.date_ms;
        let over = self.pools.over_at(date_ms);
        for id in self.holding(&over) {
            // A loan may last as long as its right. It is over too, and takes no
            // room from those who work on.
            if matches!(self.checkouts[&id].stay, Stay::Borrowed { until_ms, .. } if until_ms <= date_ms)
            {
                self.release(id, EndReason::BorrowEnded);
                continue;
            }
            let lingers = matches!(self.checkouts[&id].stay, Stay::Lingering { .. });
            // Its machine may use it until then, whatever becomes of the right.
            let is_lent = matches!(self.checkouts[&id].stay, Stay::Borrowed { .. });
            let stays = is_lent && self.rules() >= HOLDERS_MOVE;
            let places = self.places(id, &over, Leaving::Expired);
            if !lingers && places.iter().all(Option::is_some) {
                self.move_claims(id, places.into_iter().flatten().collect());
            } else if !stays {
                self.release(id, EndReason::Expired);
            }
        }
    }

    /// The checkouts that hold seats of these pools, the oldest first.
    fn holding(&self, pools: &BTreeSet<PoolId>) -> Vec<CheckoutId> {
        if pools.is_empty() {
            return Vec::new();
        }
        let holds = |(id, checkout): &(&CheckoutId, &Checkout)| {
            checkout.claims(**id).any(|(pool, _)| pools.contains(&pool))
        };
        self.checkouts.iter().filter(holds).map(|(id, _)| *id).collect()
    }

    /// Where each claim of the checkout on the pools `left` may live on, `None`
    /// if nowhere. Nothing is moved yet.
    fn places(&self, id: CheckoutId, left: &BTreeSet<PoolId>, why: Leaving) -> Vec<Option<Place>> {
        let checkout = &self.checkouts[&id];
        let mut taken: Vec<Taken> = Vec::new();
        let leaving = checkout.claims(id).filter(|(pool, _)| left.contains(pool));
        let place = |(from, claim): (PoolId, Claim<'_>)| {
            let held = &checkout.items[claim.id.item];
            let version = if claim.id.of_token {
                let consumes = &self.pools.held(held.pool).key.terms.consumes;
                consumes.as_ref().map_or(Version::default(), |cost| cost.version)
            } else {
                held.version
            };
            let moving = Moving { from, version, seats: claim.seats, holder: claim.holder };
            let here = self.refuge(moving, &taken, why)?;
            taken.push(here);
            Some(Place { id: claim.id, to: here.pool })
        };
        leaving.map(place).collect()
    }

    /// Where a claim may live on: another pool of its feature that is valid,
    /// serves its version, takes the same tokens and would take this holder in,
    /// with room beside what is `taken` already. In place of a withdrawn pool the
    /// largest will do if none has room.
    fn refuge(&self, moving: Moving<'_>, taken: &[Taken], why: Leaving) -> Option<Taken> {
        let Moving { from, version, seats, holder } = moving;
        let left = &self.pools.held(from).key;
        let item = Item { feature: left.feature.clone(), version, seats };
        let (asking, who) = (self.asking(holder), self.rules.who(holder));
        let kept = match why {
            Leaving::Expired => self.rules.kept(&self.pools, &item.feature, None),
            Leaving::Withdrawn => Kept::default(),
        };
        let mut largest: Option<(PoolId, u64)> = None;
        for (id, pool) in self.pools.candidates(&item.feature) {
            let fits = id != from
                && pool.valid_at(self.meta.at.date_ms)
                && pool.key.version >= version
                && pool.key.terms.consumes == left.terms.consumes
                && match why {
                    Leaving::Expired => asking.lets_in(&item, id, pool, &who).is_ok(),
                    Leaving::Withdrawn => asking.is_sold_to(id, pool, &who),
                };
            if !fits {
                continue;
            }
            let fresh = self.pools.fresh(id, seats, holder, taken);
            let here = Taken { pool: id, seats, fresh };
            let for_others = self.rules.remaining(&kept, id, pool, &who).for_others;
            if fresh == 0 || pool.free() >= fresh + taken_of(id, taken) + for_others {
                return Some(here);
            }
            if why == Leaving::Withdrawn && largest.is_none_or(|(_, total)| pool.total() > total) {
                largest = Some((id, pool.total()));
            }
        }
        let (pool, _) = largest?;
        Some(Taken { pool, seats, fresh: self.pools.fresh(pool, seats, holder, taken) })
    }

    fn move_claims(&mut self, id: CheckoutId, places: Vec<Place>) {
        if places.is_empty() {
            return;
        }
        let before = self.checkouts[&id].clone();
        let mut touched = self.touched(&before);
        let mut after = before.clone();
        for place in &places {
            let held = &mut after.items[place.id.item];
            match &mut held.tokens {
                Some(tokens) if place.id.of_token => tokens.pool = place.to,
                _ => held.pool = place.to,
            }
        }
        for ((from, claim), (to, _)) in before.claims(id).zip(after.claims(id)) {
            if from != to {
                let shift = self.pools.add(to, claim);
                self.rules.shift(to, &shift);
                self.count_borrowed(to, &before, claim, true);
                self.count_borrowed(from, &before, claim, false);
                self.give_back(from, claim);
            }
        }
        let (session, items) = (after.session, self.granted_items(&after));
        touched.extend(self.touched(&after));
        self.checkouts.insert(id, after);
        // Another pool may have another idle timeout.
        self.schedule_idle(session);
        self.records.touch(RecordKey::Checkout(id));
        self.happened_to(
            &before.holder,
            touched,
            Happening::Moved { session, checkout: id, items },
        );
    }
}
