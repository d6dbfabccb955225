//! Epochs, and taking over what a back-up granted meanwhile. Nobody loses a seat
//! by it: what both servers granted is held beyond the rights until enough seats
//! have come back.

use super::*;
use crate::sessions::CheckoutIds;
use crate::takeover::{EPOCH_MAX, EPOCH_NUMBERS, Takeover};

impl Ledger {
    /// The epoch: 0 from the founding on, and one more each time that a server
    /// begins to serve in the place of another or is back.
    pub fn epoch(&self) -> u64 {
        self.meta.epoch.number
    }

    /// Where this epoch began: the date, the last checkout and the last event
    /// before it.
    pub fn epoch_begun(&self) -> (u64, CheckoutId, u64) {
        let epoch = &self.meta.epoch;
        (epoch.begun_ms, CheckoutId(epoch.last_checkout), epoch.last_event)
    }

    /// The cluster time at which this ledger was last restored from a saved one, ms.
    pub fn restored_ms(&self) -> Option<u64> {
        self.meta.epoch.restored_ms
    }

    /// The highest epoch of a back-up whose grants are held here, all of them.
    pub fn adopted_epoch(&self) -> u64 {
        self.meta.epoch.adopted
    }

    /// Begins an epoch, and notes what was taken over. What is not newer is void.
    pub(super) fn begin_epoch(&mut self, epoch: u64, adopted: u64, restored: bool) -> Outcome {
        if adopted > self.meta.epoch.adopted && adopted <= EPOCH_MAX {
            self.meta.epoch.adopted = adopted;
        }
        if epoch <= self.meta.epoch.number || epoch > EPOCH_MAX {
            return Outcome::Void;
        }
        self.unsuspect_all();
        let before = self.meta.epoch;
        // A back-up that goes on, in an epoch of its own, with what it began in another.
        let goes_on = before.number % 2 == 1 && epoch % 2 == 1;
        self.meta.epoch = Epoch {
            number: epoch,
            adopted: before.adopted,
            begun_ms: self.meta.at.date_ms,
            restored_ms: restored
                .then_some(self.meta.at.cluster_ms)
                .or(self.meta.epoch.restored_ms),
            last_checkout: self.meta.last_checkout,
            last_event: self.meta.last_event,
        };
        if goes_on {
            self.meta.epoch = Epoch { number: epoch, ..before };
        }
        let first = epoch * EPOCH_NUMBERS;
        self.meta.last_checkout = self.meta.last_checkout.max(first);
        self.meta.last_ticket = self.meta.last_ticket.max(first);
        self.happened(Happening::EpochBegun { epoch });
        Outcome::Noted
    }

    /// Takes over a part of what was granted in the epoch of a back-up. Done twice
    /// it is done once. An epoch of our own has begun before: what it says of the
    /// last checkout before it tells apart what the back-up knows and we do not.
    pub(super) fn adopt(&mut self, takeover: &Takeover) -> Answer {
        if takeover.epoch <= self.meta.epoch.adopted {
            return Ok(Outcome::Void);
        }
        // Back-ups number in odd epochs; of those we have taken over nothing is new to us.
        let (adopted, theirs) = (self.meta.epoch.adopted, takeover.epoch);
        let is_theirs = |number: u64| number % 2 == 1 && adopted < number && number <= theirs;
        // Of numbers below those: what we had written and not kept when we fell.
        let fallen = self.meta.epoch.last_checkout + 1..theirs * EPOCH_NUMBERS;
        let is_theirs = |id: &CheckoutId| is_theirs(id.0 / EPOCH_NUMBERS) || fallen.contains(&id.0);
        for id in &takeover.released {
            if self.checkouts.contains_key(id) {
                self.release(*id, EndReason::Closed);
            }
        }
        let mut adopted = 0;
        for (id, session) in &takeover.sessions {
            let is_new = !self.sessions.contains_key(id);
            self.adopt_session(*id, session, is_new);
            for checkout in &session.checkouts {
                // What had been granted before and is not here any more was given
                // back by a client that stayed.
                if is_new || is_theirs(checkout) {
                    adopted += u64::from(self.adopt_checkout(*checkout, takeover));
                }
            }
            self.forget_settled(*id);
        }
        let away = takeover.checkouts.iter().filter(|(_, checkout)| checkout.stay != Stay::Live);
        for (id, _) in away {
            if is_theirs(id) {
                adopted += u64::from(self.adopt_checkout(*id, takeover));
            }
        }
        Ok(Outcome::Adopted { checkouts: adopted, overage: self.pools.overage() })
    }

    fn adopt_session(&mut self, id: SessionId, theirs: &Session, is_new: bool) {
        if is_new {
            if let Some(number) = self.ended.forget(id) {
                self.records.touch(RecordKey::Ended(number));
            }
            let session = Session {
                checkouts: CheckoutIds::default(),
                idle_since_ms: None,
                silent_since_ms: None,
                ..theirs.clone()
            };
            let holder = Holder::clone(&session.holder);
            self.sessions.insert(id, session);
            self.happened(Happening::Opened { session: id, holder });
        } else if let Some(ours) = self.sessions.get_mut(&id) {
            let queue = &self.queue;
            ours.receipts.join(&theirs.receipts, |request| queue.ticket(id, request).is_some());
            // Its client was active there, or says so again.
            self.active(id);
        }
        self.records.touch(RecordKey::Session(id));
    }

    /// A request that waits has its answer when the back-up gave it one. One that
    /// waited there only is asked again by its client, and is new then.
    fn forget_settled(&mut self, id: SessionId) {
        let open = &self.sessions[&id];
        let final_answers = open.receipts.answers.iter().filter(|(_, receipt)| receipt.is_final());
        let settled: Vec<u64> =
            final_answers.filter_map(|(request, _)| self.queue.ticket(id, request)).collect();
        for ticket in settled {
            let waiting = self.queue.leave(ticket);
            self.records.touch(RecordKey::Waiting(ticket));
            self.freed.features.extend(waiting.lines);
        }
        let queue = &self.queue;
        let open = self.sessions.get_mut(&id).expect("it is open");
        open.receipts
            .answers
            .retain(|request, receipt| receipt.is_final() || queue.ticket(id, request).is_some());
    }

    /// Whether it was not here and is now.
    fn adopt_checkout(&mut self, id: CheckoutId, takeover: &Takeover) -> bool {
        let Some(theirs) = takeover.checkouts.get(&id) else { return false };
        if self.checkouts.contains_key(&id) {
            return false;
        }
        let is_over = match &theirs.stay {
            Stay::Live => false,
            // It would linger anew each time that it is taken over.
            Stay::Lingering { .. } => true,
            Stay::Borrowed { until_ms, .. } => *until_ms <= self.meta.at.date_ms,
        };
        if is_over {
            return false;
        }
        let mut checkout = theirs.clone();
        let holder = self.sessions.get(&checkout.session).map(|open| open.holder.clone());
        checkout.holder = holder.unwrap_or(checkout.holder);
        checkout.items.retain_mut(|item| {
            let Some(pool) = self.pool_like(item.pool, takeover) else { return false };
            item.pool = pool;
            if let Some(tokens) = &mut item.tokens {
                let Some(pool) = self.pool_like(tokens.pool, takeover) else { return false };
                tokens.pool = pool;
            }
            true
        });
        if checkout.items.is_empty() {
            return false;
        }
        if checkout.stay == Stay::Live {
            let Some(open) = self.sessions.get_mut(&checkout.session) else { return false };
            open.checkouts.insert(id);
        }
        for (pool, claim) in checkout.claims(id) {
            let shift = self.pools.add(pool, claim);
            self.rules.shift(pool, &shift);
            self.count_borrowed(pool, &checkout, claim, true);
            // Who waits may share this seat, and reservations are drawn anew.
            if !self.queue.is_empty() {
                self.freed.features.insert(self.pools.held(pool).key.feature.clone());
            }
        }
        self.remember_stay(id, &checkout);
        let touched = self.touched(&checkout);
        let (session, items) = (checkout.session, self.granted_items(&checkout));
        let holder = checkout.holder.clone();
        self.checkouts.insert(id, checkout);
        self.records.touch(RecordKey::Checkout(id));
        let adopted = Happening::Adopted { session, checkout: id, items };
        self.happened_to(&holder, touched, adopted);
        true
    }

    /// The pool of the back-up as it is here: the same, or one of the same feature
    /// where the licenses were changed meanwhile.
    fn pool_like(&self, id: PoolId, takeover: &Takeover) -> Option<PoolId> {
        let feature = takeover.pools.get(&id)?;
        if self.pools.pool(id).is_some_and(|pool| pool.key.feature == *feature) {
            return Some(id);
        }
        // The one that lasts longest; or one that is withdrawn and held, as this is then.
        let lent = self.pools.candidates(feature).last().map(|(id, _)| id);
        lent.or_else(|| {
            self.pools.iter().find(|(_, p)| p.key.feature == *feature).map(|(id, _)| id)
        })
    }
}
