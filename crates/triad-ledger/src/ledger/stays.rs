//! What ends by the clock: seats that linger, are borrowed or lie idle, and
//! blocks after a revocation.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Checkout, Ledger, Stay};
use crate::command::{Answer, BLOCKS_MAX, Holder, Item, Outcome};
use crate::denial::{Bound, Denial};
use crate::events::{EndReason, Happening};
use crate::names::{CheckoutId, FeatureName, Label, PoolId, SessionId};
use crate::pools::Claim;
use crate::record::RecordKey;

/// What was taken back, from whom and until when he does not get it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) user: Label,
    pub(crate) host: Label,
    pub(crate) features: Vec<FeatureName>,
    /// In cluster time.
    pub(crate) until_ms: u64,
}

type Desk = (Label, Label, Label);

fn desk(holder: &Holder) -> Desk {
    (holder.user.clone(), holder.host.clone(), holder.display.clone())
}

/// What ends by the clock, by its end. All of it but the blocks is derived from
/// the checkouts and sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Stays {
    lingering: BTreeMap<Desk, BTreeSet<CheckoutId>>,
    linger_ends: BTreeSet<(u64, CheckoutId)>,
    borrow_ends: BTreeSet<(u64, CheckoutId)>,
    idle_ends: BTreeSet<(u64, SessionId)>,
    idle_until: BTreeMap<SessionId, u64>,
    blocks: BTreeMap<CheckoutId, Block>,
    blocked: BTreeMap<(Label, Label), BTreeSet<CheckoutId>>,
}

impl Stays {
    pub(super) fn next_borrow_end_ms(&self) -> Option<u64> {
        self.borrow_ends.first().map(|(until, _)| *until)
    }

    pub(super) fn next_cluster_ms(&self) -> Option<u64> {
        let linger = self.linger_ends.first().map(|(until, _)| *until);
        let idle = self.idle_ends.first().map(|(until, _)| *until);
        let blocks = self.blocks.values().map(|block| block.until_ms).min();
        [linger, idle, blocks].into_iter().flatten().min()
    }

    pub(super) fn blocks(&self) -> impl Iterator<Item = (CheckoutId, &Block)> {
        self.blocks.iter().map(|(id, block)| (*id, block))
    }

    pub(super) fn block(&self, id: CheckoutId) -> Option<&Block> {
        self.blocks.get(&id)
    }

    pub(super) fn restore_block(&mut self, id: CheckoutId, block: Block) {
        let whose = (block.user.clone(), block.host.clone());
        self.blocked.entry(whose).or_default().insert(id);
        self.blocks.insert(id, block);
    }

    fn unblock(&mut self, id: CheckoutId) {
        let block = self.blocks.remove(&id).expect("only what is blocked is unblocked");
        let whose = (block.user, block.host);
        if let Some(ids) = self.blocked.get_mut(&whose) {
            ids.remove(&id);
            if ids.is_empty() {
                self.blocked.remove(&whose);
            }
        }
    }

    /// Whether nothing of this was taken from the holder lately.
    pub(super) fn unblocked(
        &self,
        holder: &Holder,
        items: &[Item],
        cluster_ms: u64,
    ) -> Result<(), Denial> {
        if self.blocks.is_empty() {
            return Ok(());
        }
        let ids = self.blocked.get(&(holder.user.clone(), holder.host.clone()));
        let blocks: Vec<&Block> = ids.into_iter().flatten().map(|id| &self.blocks[id]).collect();
        for item in items {
            let ends = blocks.iter().filter(|block| block.features.contains(&item.feature));
            if let Some(until_ms) = ends.map(|block| block.until_ms).max() {
                let remaining_ms = until_ms - cluster_ms;
                return Err(Denial::Blocked { feature: item.feature.clone(), remaining_ms });
            }
        }
        Ok(())
    }

    pub(super) fn forget_idle(&mut self, session: SessionId) {
        if let Some(until) = self.idle_until.remove(&session) {
            self.idle_ends.remove(&(until, session));
        }
    }
}

impl Ledger {
    /// Notes when a checkout ends that no session keeps.
    pub(super) fn remember_stay(&mut self, id: CheckoutId, checkout: &Checkout) {
        match checkout.stay {
            Stay::Live => {}
            Stay::Lingering { until_ms } => {
                self.stays.linger_ends.insert((until_ms, id));
                self.stays.lingering.entry(desk(&checkout.holder)).or_default().insert(id);
            }
            Stay::Borrowed { until_ms, .. } => {
                self.stays.borrow_ends.insert((until_ms, id));
            }
        }
    }

    pub(super) fn forget_stay(&mut self, id: CheckoutId, checkout: &Checkout) {
        match checkout.stay {
            Stay::Live => {}
            Stay::Lingering { until_ms } => {
                self.stays.linger_ends.remove(&(until_ms, id));
                let desk = desk(&checkout.holder);
                let ids = self.stays.lingering.get_mut(&desk).expect("noted when it was returned");
                ids.remove(&id);
                if ids.is_empty() {
                    self.stays.lingering.remove(&desk);
                }
            }
            Stay::Borrowed { until_ms, .. } => {
                self.stays.borrow_ends.remove(&(until_ms, id));
            }
        }
    }

    /// Counts a claim of the checkout as out on loan, or not any more.
    pub(super) fn count_borrowed(
        &mut self,
        pool: PoolId,
        checkout: &Checkout,
        claim: Claim<'_>,
        out: bool,
    ) {
        if matches!(checkout.stay, Stay::Borrowed { .. }) {
            self.pools.count_borrowed(pool, claim, out);
        }
    }

    /// Does what is due by now.
    pub(super) fn end_stays(&mut self) {
        let (date_ms, cluster_ms) = (self.meta.at.date_ms, self.meta.at.cluster_ms);
        while let Some(&(until, id)) = self.stays.borrow_ends.first()
            && until <= date_ms
        {
            self.release(id, EndReason::BorrowEnded);
        }
        while let Some(&(until, id)) = self.stays.linger_ends.first()
            && until <= cluster_ms
        {
            self.release(id, EndReason::Lingered);
        }
        while let Some(&(until, session)) = self.stays.idle_ends.first()
            && until <= cluster_ms
        {
            self.reclaim_idle(session);
        }
        if !self.stays.blocks.is_empty() {
            let over = self.stays.blocks.iter().filter(|(_, block)| block.until_ms <= cluster_ms);
            for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
                self.stays.unblock(id);
                self.records.touch(RecordKey::Block(id));
            }
        }
    }

    /// Returns a checkout: what lingers stays taken for the longest of its
    /// items' times, the rest comes back at once.
    pub(super) fn let_go(&mut self, id: CheckoutId, reason: EndReason) {
        let checkout = &self.checkouts[&id];
        let linger_ms = |pool: PoolId| {
            let rule = self.rules.of(pool).and_then(|rules| rules.linger);
            let of_line = self.pools.held(pool).key.terms.linger_ms;
            of_line.max(rule.map_or(0, |(_, ms)| ms))
        };
        let longest = checkout.items.iter().map(|item| linger_ms(item.pool)).max().unwrap_or(0);
        if longest == 0 {
            return self.release(id, reason);
        }
        let until_ms = self.meta.at.cluster_ms.saturating_add(longest);
        let stays: Vec<bool> = checkout.items.iter().map(|item| linger_ms(item.pool) > 0).collect();
        let before = checkout.clone();
        let touched = self.touched(&before);
        for (pool, claim) in before.claims(id) {
            if !stays[claim.id.item] {
                self.give_back(pool, claim);
            }
        }
        let mut after = before.clone();
        let mut keep = stays.iter();
        after.items.retain_mut(|_| *keep.next().expect("one for each"));
        after.stay = Stay::Lingering { until_ms };
        // Claims are numbered by their items, of which some are gone.
        if after.items.len() < before.items.len() {
            let kept: Vec<_> =
                before.claims(id).filter(|(_, claim)| stays[claim.id.item]).collect();
            for ((pool, old), (_, new)) in kept.into_iter().zip(after.claims(id)) {
                if old.id != new.id {
                    let shift = self.pools.add(pool, new);
                    self.rules.shift(pool, &shift);
                    self.give_back(pool, old);
                }
            }
        }
        let session = after.session;
        let items = self.granted_items(&after);
        // The same holder may be waiting for them in another session.
        if !self.queue.is_empty() {
            self.freed.features.extend(items.iter().map(|item| item.feature.clone()));
        }
        self.remember_stay(id, &after);
        self.checkouts.insert(id, after);
        self.records.touch(RecordKey::Checkout(id));
        if let Some(open) = self.sessions.get_mut(&session) {
            open.checkouts.remove(id);
            if open.idle_since_ms.is_some() {
                self.schedule_idle(session);
            }
        }
        let lingers = Happening::Lingering { session, checkout: id, items, until_ms };
        self.happened_to(&before.holder, touched, lingers);
    }

    /// What lingers of these features for the same holder, who may have it back; and
    /// which of it is exactly what he asks for.
    pub(super) fn lingering_for(
        &self,
        holder: &Holder,
        items: &[Item],
    ) -> (Vec<CheckoutId>, Vec<CheckoutId>) {
        if self.stays.lingering.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let ids = self.stays.lingering.get(&desk(holder)).into_iter().flatten();
        let mut his = Vec::new();
        let mut same = Vec::new();
        for id in ids {
            let held = self.granted_items(&self.checkouts[id]);
            let wants = |feature: &FeatureName| items.iter().any(|item| item.feature == *feature);
            if held.iter().any(|held| wants(&held.feature)) {
                let had: Vec<_> = held.iter().map(|held| (&held.feature, held.seats)).collect();
                let asks: Vec<_> = items.iter().map(|item| (&item.feature, item.seats)).collect();
                if had == asks {
                    same.push(*id);
                }
                his.push(*id);
            }
        }
        (his, same)
    }

    /// What would be answered if these lingering seats had come back. They have
    /// not: who is denied has ended nothing.
    pub(super) fn as_if_returned<T>(
        &mut self,
        lingering: &[CheckoutId],
        ask: impl FnOnce(&Self) -> T,
    ) -> T {
        self.lift(lingering, true);
        let answer = ask(self);
        self.lift(lingering, false);
        answer
    }

    /// Counts lingering seats as free, or as held again.
    fn lift(&mut self, lingering: &[CheckoutId], free: bool) {
        for id in lingering {
            for (pool, claim) in self.checkouts[id].claims(*id) {
                // A withdrawn pool serves nobody, and would vanish with its last
                // seat.
                if self.pools.held(pool).withdrawn {
                    continue;
                }
                let shift = match free {
                    true => self.pools.give_back(pool, claim).0,
                    false => self.pools.add(pool, claim),
                };
                self.rules.shift(pool, &shift);
            }
        }
    }

    /// They come back for good: their holder has taken others for them.
    pub(super) fn end_lingering(&mut self, lingering: Vec<CheckoutId>) {
        for id in lingering {
            self.release(id, EndReason::Lingered);
        }
    }

    pub(super) fn idle(&mut self, session: SessionId, since_ms: Option<u64>) -> Answer {
        let now_ms = self.meta.at.cluster_ms;
        let Some(open) = self.sessions.get_mut(&session) else {
            return Err(Denial::SessionUnknown { session });
        };
        open.idle_since_ms = since_ms.map(|since| since.min(now_ms));
        self.records.touch(RecordKey::Session(session));
        self.schedule_idle(session);
        Ok(Outcome::Noted)
    }

    /// Who asks for seats is not idle.
    pub(super) fn active(&mut self, session: SessionId) {
        let open = self.sessions.get_mut(&session).expect("it was granted something");
        if open.idle_since_ms.take().is_some() {
            self.records.touch(RecordKey::Session(session));
            self.schedule_idle(session);
        }
    }

    /// After how long of idleness the checkout is taken back: the shortest of
    /// its items' times.
    fn idle_timeout_ms(&self, id: CheckoutId) -> Option<u64> {
        let pools = self.checkouts[&id].items.iter().map(|item| item.pool);
        let rules = pools.filter_map(|pool| self.rules.of(pool)?.idle);
        rules.map(|(_, ms)| ms).min()
    }

    pub(super) fn schedule_idle(&mut self, session: SessionId) {
        self.stays.forget_idle(session);
        let Some(open) = self.sessions.get(&session) else { return };
        let Some(since_ms) = open.idle_since_ms else { return };
        let shortest = open.checkouts.iter().filter_map(|id| self.idle_timeout_ms(*id)).min();
        if let Some(ms) = shortest {
            let until_ms = since_ms.saturating_add(ms);
            self.stays.idle_ends.insert((until_ms, session));
            self.stays.idle_until.insert(session, until_ms);
        }
    }

    /// Takes back what the session has not used for too long.
    fn reclaim_idle(&mut self, session: SessionId) {
        let open = &self.sessions[&session];
        let since_ms = open.idle_since_ms.expect("it is idle");
        let idle_ms = self.meta.at.cluster_ms - since_ms;
        let over = open.checkouts.iter().copied();
        let over: Vec<CheckoutId> =
            over.filter(|id| self.idle_timeout_ms(*id).is_some_and(|ms| ms <= idle_ms)).collect();
        // Not to be looked at after each of them.
        self.sessions.get_mut(&session).expect("it is open").idle_since_ms = None;
        for id in over {
            self.release(id, EndReason::Idle);
        }
        self.sessions.get_mut(&session).expect("it stays open").idle_since_ms = Some(since_ms);
        self.schedule_idle(session);
    }

    pub(super) fn revoke(&mut self, id: CheckoutId, reason: &Label, block_ms: u64) -> Answer {
        let Some(checkout) = self.checkouts.get(&id) else {
            return Err(Denial::CheckoutUnknown { checkout: id });
        };
        if matches!(checkout.stay, Stay::Borrowed { .. }) {
            return Err(Denial::BorrowedAway { checkout: id });
        }
        if block_ms > 0 && self.stays.blocks.len() >= BLOCKS_MAX {
            return Err(Denial::LimitReached { what: Bound::Blocks, max: BLOCKS_MAX as u64 });
        }
        let (session, checkout) = (checkout.session, checkout.clone());
        if block_ms > 0 {
            let features = self.granted_items(&checkout).into_iter().map(|item| item.feature);
            let block = Block {
                user: checkout.holder.user.clone(),
                host: checkout.holder.host.clone(),
                features: features.collect(),
                until_ms: self.meta.at.cluster_ms.saturating_add(block_ms),
            };
            self.stays.restore_block(id, block);
            self.records.touch(RecordKey::Block(id));
        }
        let (holder, reason) = (checkout.holder.clone(), reason.clone());
        self.happened_to(
            &holder,
            [],
            Happening::Revoked { session, checkout: id, reason, block_ms },
        );
        self.release(id, EndReason::Revoked);
        Ok(Outcome::Returned { was_held: true })
    }

    pub(super) fn mark_lost(&mut self, id: CheckoutId) -> Answer {
        let Some(checkout) = self.checkouts.get_mut(&id) else {
            return Err(Denial::CheckoutUnknown { checkout: id });
        };
        let Stay::Borrowed { lost, .. } = &mut checkout.stay else {
            return Err(Denial::NotBorrowed { checkout: id });
        };
        if !core::mem::replace(lost, true) {
            let (session, holder) = (checkout.session, checkout.holder.clone());
            self.records.touch(RecordKey::Checkout(id));
            self.happened_to(&holder, [], Happening::MarkedLost { session, checkout: id });
        }
        Ok(Outcome::Noted)
    }
}
