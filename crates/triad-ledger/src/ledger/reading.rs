//! What the ledger tells of itself, changing nothing.

use super::*;

/// Reading.
impl Ledger {
    /// The last stamp applied, with both clocks as the ledger keeps them.
    pub fn at(&self) -> At {
        self.meta.at
    }

    /// The rules in use, see [`crate::RULES`]. What came with newer ones is neither
    /// done nor asked for.
    pub fn rules(&self) -> u32 {
        self.meta.rules
    }

    /// The licenses in force.
    pub fn licenses(&self) -> impl Iterator<Item = &License> {
        self.licenses.values()
    }

    /// The pools, by id.
    pub fn pools(&self) -> impl Iterator<Item = (PoolId, &Pool)> {
        self.pools.iter()
    }

    /// How many sessions are open.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many checkouts are held.
    pub fn checkout_count(&self) -> usize {
        self.checkouts.len()
    }

    /// The session, if it is open.
    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// The open sessions after `after`, in order of id.
    pub fn sessions(
        &self,
        after: Option<SessionId>,
    ) -> impl Iterator<Item = (SessionId, &Session)> {
        use core::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.sessions.range((from, Bound::Unbounded)).map(|(id, session)| (*id, session))
    }

    /// The checkouts after `after`, in the order in which they were granted.
    pub fn checkouts(&self, after: CheckoutId) -> impl Iterator<Item = (CheckoutId, &Checkout)> {
        use core::ops::Bound;
        let after = (Bound::Excluded(after), Bound::Unbounded);
        self.checkouts.range(after).map(|(id, checkout)| (*id, checkout))
    }

    /// One checkout, if it is held.
    pub fn find_checkout(&self, id: CheckoutId) -> Option<&Checkout> {
        self.checkouts.get(&id)
    }

    /// How often clients are told to send a heartbeat by the policy: at least
    /// and at most, ms. The servers follow it.
    pub fn heartbeat_bounds_ms(&self) -> Option<(u64, u64)> {
        self.rules.heartbeat_bounds_ms()
    }

    /// The longest lease that the policy gives to somebody who asks for less, ms; 0
    /// without such a rule.
    pub fn longest_lease_min_ms(&self) -> u64 {
        self.rules.longest_lease_min_ms()
    }

    /// What a checkout holds, in the words of a grant.
    pub fn granted_items(&self, checkout: &Checkout) -> Vec<GrantedItem> {
        checkout.items.iter().map(|item| self.granted_item(item)).collect()
    }

    /// The date at which something comes due, so that the leader lets time
    /// pass then.
    pub fn next_due_ms(&self) -> Option<u64> {
        let date_ms = self.meta.at.date_ms;
        // By policy, by who waits, or by what is held of a right that its renewal replaces.
        let waited_for =
            self.rules.policy().is_some() || !self.queue.is_empty() || self.rules() >= HOLDERS_MOVE;
        let turn = if waited_for { self.next_turn_ms } else { self.pools.next_expiry_ms(date_ms) };
        let superseding = self.pools.next_superseding_ms(date_ms);
        turn.into_iter().chain(superseding).chain(self.stays.next_borrow_end_ms()).min()
    }

    /// The cluster time at which something comes due, so that the leader lets
    /// time pass then.
    pub fn next_due_cluster_ms(&self) -> Option<u64> {
        self.stays.next_cluster_ms().into_iter().chain(self.queue.next_end_ms()).min()
    }

    /// The policy in force.
    pub fn policy(&self) -> Option<&Policy> {
        self.rules.policy()
    }

    /// Who waits, in the order of arrival: the ticket, and what for.
    pub fn waiting(&self) -> impl Iterator<Item = (u64, &Waiting)> {
        self.queue.iter()
    }

    /// The places of all who wait, by ticket, from 1: of several features the
    /// line that is furthest behind. One look at each line, so it may be asked
    /// for a long queue.
    pub fn queue_positions(&self) -> BTreeMap<u64, u64> {
        self.queue.positions()
    }

    /// How many wait for a feature and would be served before a newcomer.
    pub fn waiting_for(&self, feature: &FeatureName) -> u64 {
        self.queue.ahead(feature, None)
    }

    /// The number of the last event, and the chain's head after it.
    pub fn last_event(&self) -> (u64, ChainHash) {
        (self.meta.last_event, self.meta.chain)
    }

    /// The place of a request that waits, from 1; `None` if it does not.
    pub fn queue_position(&self, session: SessionId, request: RequestId) -> Option<u64> {
        self.queue.ticket(session, request).map(|ticket| self.queue.position(ticket))
    }

    /// The answer that the session was given, or is owed, to a request that it
    /// has not acknowledged.
    pub fn answer(&self, session: SessionId, request: RequestId) -> Option<Answer> {
        self.sessions.get(&session)?.receipts.answers.get(request).map(Receipt::answer)
    }

    /// What is kept of a pool: by which rule, for whom, how many seats, and how
    /// many of them are held by those they are kept for. The others lie on free
    /// seats of this pool.
    pub fn reservations(&self, pool: PoolId) -> impl Iterator<Item = (RuleId, &Subject, u64, u64)> {
        let reserved = self.rules.reserved_of(&self.pools, pool).into_iter();
        reserved.map(|(rule, seats, drawn)| {
            (self.rules.rule_id(rule), self.rules.subject(rule), seats, drawn)
        })
    }

    /// The head of the event chain.
    pub fn chain(&self) -> ChainHash {
        self.meta.chain
    }

    /// What happened since this was last asked, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.encoded_events.clear();
        core::mem::take(&mut self.events)
    }

    /// The same, and each as [`crate::encode_event`] writes it: the chain is made of
    /// that, so it is there already.
    pub fn take_encoded_events(&mut self) -> (Vec<Event>, Vec<Vec<u8>>) {
        let encoded = core::mem::take(&mut self.encoded_events);
        (core::mem::take(&mut self.events), encoded)
    }
}
