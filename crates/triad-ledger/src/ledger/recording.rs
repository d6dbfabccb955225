//! The ledger as records: written out, read in, and checked against itself.

use super::*;
use crate::codec::counted;
use crate::table::RecordHash;
use crate::tokens::{TOKENS_MAX, TokenId};

/// The highest number that is believed of a counter. No ledger comes so far,
/// and behind it counting goes on safely.
const COUNT_MAX: u64 = u64::MAX / 2;
/// The same for pools, which have shorter numbers.
const POOL_COUNT_MAX: u32 = u32::MAX / 2;

/// Writing out and reading in.
impl Ledger {
    /// The records that changed since this was last asked, in key order. Call
    /// it regularly: what changed is remembered until then.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut records = core::mem::take(&mut self.records);
        self.meta.last_pool = self.pools.last_id;
        records.forget(self.sessions.take_removed());
        records.forget(self.checkouts.take_removed());
        records.forget(self.ended.take_removed());
        let changes = records.drain(self, Self::encode, Self::hash_mut);
        self.records = records;
        changes
    }

    fn hash_mut(&mut self, key: &RecordKey) -> Option<&mut RecordHash> {
        match key {
            RecordKey::Session(id) => self.sessions.hash_mut(id),
            RecordKey::Checkout(id) => self.checkouts.hash_mut(id),
            RecordKey::Ended(number) => self.ended.hash_mut(*number),
            _ => None,
        }
    }

    /// The hash of the whole ledger as of the last [`Ledger::take_changes`].
    pub fn state_hash(&self) -> StateHash {
        self.records.sum()
    }

    /// Every record, in key order: a snapshot. A ledger to which nothing was
    /// applied has none.
    pub fn records(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let keys = core::iter::once(RecordKey::Meta)
            .chain(self.licenses.keys().cloned().map(RecordKey::License))
            .chain(self.pools.iter().map(|(id, _)| RecordKey::Pool(id)))
            .chain(self.sessions.keys().copied().map(RecordKey::Session))
            .chain(self.checkouts.keys().copied().map(RecordKey::Checkout))
            .chain(self.ended.numbers().map(RecordKey::Ended))
            .chain(core::iter::once(RecordKey::Policy))
            .chain(self.queue.iter().map(|(ticket, _)| RecordKey::Waiting(ticket)))
            .chain(self.stays.blocks().map(|(id, _)| RecordKey::Block(id)))
            .chain(self.tokens.iter().map(|(id, _)| RecordKey::Token(id)));
        keys.filter_map(|key| Some((key.to_bytes(), self.encode(&key)?)))
    }

    fn encode(&self, key: &RecordKey) -> Option<Vec<u8>> {
        Some(match key {
            // Nothing was applied yet: the same as no record.
            RecordKey::Meta if self.meta == Meta::default() => return None,
            RecordKey::Meta => {
                codec::encode_meta(&Meta { last_pool: self.pools.last_id, ..self.meta.clone() })
            }
            RecordKey::License(id) => codec::encode_license(self.licenses.get(id)?),
            RecordKey::Pool(id) => codec::encode_pool(self.pools.pool(*id)?),
            RecordKey::Session(id) => codec::encode_session(self.sessions.get(id)?),
            RecordKey::Checkout(id) => codec::encode_checkout(self.checkouts.get(id)?),
            RecordKey::Ended(number) => codec::encode_ended(self.ended.session(*number)?),
            RecordKey::Policy => codec::encode_policy(self.rules.policy()?),
            RecordKey::Waiting(ticket) => codec::encode_waiting(self.queue.get(*ticket)?),
            RecordKey::Block(id) => codec::encode_block(self.stays.block(*id)?),
            RecordKey::Token(id) => codec::encode_token(self.tokens.get(*id)?),
        })
    }

    /// The ledger that these records are of, in any order.
    ///
    /// # Errors
    ///
    /// A record that cannot be read, or records that do not belong together.
    pub fn from_records(
        records: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>,
    ) -> Result<Ledger, CodecError> {
        let mut ledger = Ledger::default();
        let (mut any, mut meta) = (false, false);
        for (key, value) in records {
            any = true;
            let record = RecordKey::from_bytes(&key).ok_or(CodecError::Key)?;
            match &record {
                RecordKey::Meta => {
                    ledger.meta = codec::decode_meta(&value)?;
                    meta = true;
                }
                RecordKey::License(id) => {
                    ledger.licenses.insert(id.clone(), codec::decode_license(&value)?);
                }
                RecordKey::Pool(id) => ledger.pools.restore(*id, codec::decode_pool(&value)?),
                RecordKey::Session(id) => {
                    let mut session = codec::decode_session(&value)?;
                    ledger.labels.share(Arc::make_mut(&mut session.holder));
                    if session.silent_since_ms.is_some() {
                        ledger.suspects.insert(*id);
                    }
                    ledger.sessions.insert(*id, session);
                }
                RecordKey::Checkout(id) => {
                    ledger.checkouts.insert(*id, codec::decode_checkout(&value)?);
                }
                RecordKey::Policy => ledger.rules.set(codec::decode_policy(&value)?),
                RecordKey::Waiting(ticket) => {
                    if !ledger.queue.join(*ticket, codec::decode_waiting(&value)?) {
                        return Err(CodecError::Orphan);
                    }
                }
                RecordKey::Block(id) => {
                    ledger.stays.restore_block(*id, codec::decode_block(&value)?)
                }
                RecordKey::Token(id) => {
                    let token = codec::decode_token(&value)?;
                    if TokenId::of(&token.hash) != *id {
                        return Err(CodecError::Key);
                    }
                    ledger.tokens.insert(token);
                }
                RecordKey::Ended(number) => {
                    if !ledger.ended.restore(*number, codec::decode_ended(&value)?) {
                        return Err(CodecError::Ended);
                    }
                }
            }
            ledger.records.touch(record);
        }
        if any && !meta {
            return Err(CodecError::NoMeta);
        }
        counted("administrator tokens", ledger.tokens.len(), 0..=TOKENS_MAX)?;
        if ledger.sessions.keys().any(|id| ledger.ended.contains(*id)) {
            return Err(CodecError::Ended);
        }
        ledger.pools.last_id = ledger.meta.last_pool;
        if !ledger.is_counted() {
            return Err(CodecError::Counters);
        }
        if ledger.queue.iter().any(|(_, waits)| !ledger.sessions.contains_key(&waits.session)) {
            return Err(CodecError::Orphan);
        }
        ledger.restore_held()?;
        ledger.pools.index();
        ledger.pools.note_superseding(ledger.licenses.values());
        ledger.follow_rules();
        // Brings the hash up to date; nothing of this needs to be written out.
        ledger.take_changes();
        Ok(ledger)
    }

    /// Whether every number in the records was given out before, so that none
    /// is given out twice, and none is near the end of its type.
    fn is_counted(&self) -> bool {
        let checkouts = self.checkouts.keys().copied().chain(self.stays.blocks().map(|(id, _)| id));
        let last_checkout = checkouts.map(|id| id.0).max().unwrap_or(0);
        let last_pool = self.pools.iter().map(|(id, _)| id.0).max().unwrap_or(0);
        let last_ticket = self.queue.iter().map(|(ticket, _)| ticket).max().unwrap_or(0);
        let last_end = self.ended.numbers().last().unwrap_or(0);
        let meta = &self.meta;
        let counters = [meta.last_checkout, meta.last_ticket, meta.last_event, last_end];
        last_checkout <= meta.last_checkout
            && last_pool <= meta.last_pool
            && last_ticket <= meta.last_ticket
            && meta.last_pool <= POOL_COUNT_MAX
            && counters.into_iter().all(|counter| counter <= COUNT_MAX)
    }

    /// Counts what the restored checkouts hold.
    fn restore_held(&mut self) -> Result<(), CodecError> {
        for (id, checkout) in self.checkouts.iter_mut() {
            if checkout.stay == Stay::Live {
                let open = self.sessions.get_mut(&checkout.session).ok_or(CodecError::Orphan)?;
                open.checkouts.insert(*id);
                checkout.holder = open.holder.clone();
            }
            for (pool, claim) in checkout.claims(*id) {
                if self.pools.pool(pool).is_none() {
                    return Err(CodecError::Orphan);
                }
                self.pools.add(pool, claim);
            }
        }
        let checkouts = core::mem::take(&mut self.checkouts);
        for (id, checkout) in checkouts.iter() {
            for (pool, claim) in checkout.claims(*id) {
                self.count_borrowed(pool, checkout, claim, true);
            }
            self.remember_stay(*id, checkout);
        }
        self.checkouts = checkouts;
        for (_, open) in self.sessions.iter_mut() {
            open.receipts.share(|items| self.pools.shared(items));
        }
        Ok(())
    }

    /// Panics unless the books balance: what each pool and session counts is
    /// what the checkouts say. For tests and for the node's self-check.
    pub fn assert_balanced(&self) {
        let mut fresh = self.pools.emptied();
        let mut live = 0;
        for (id, checkout) in self.checkouts.iter() {
            if checkout.stay == Stay::Live {
                let open = self.sessions.get(&checkout.session);
                assert!(
                    open.is_some_and(|open| open.checkouts.contains(*id)),
                    "{id:?} is an orphan"
                );
                live += 1;
            }
            for (pool, claim) in checkout.claims(*id) {
                assert!(fresh.pool(pool).is_some(), "seats of unknown pools: {pool:?}");
                fresh.add(pool, claim);
                if matches!(checkout.stay, Stay::Borrowed { .. }) {
                    fresh.count_borrowed(pool, claim, true);
                }
            }
        }
        for (id, pool) in self.pools.iter() {
            let counted = fresh.pool(id).map(|pool| (pool.held, pool.borrowed));
            assert_eq!(Some((pool.held, pool.borrowed)), counted, "{id:?} miscounts");
        }
        let by_session: usize = self.sessions.values().map(|open| open.checkouts.len()).sum();
        assert_eq!(by_session, live);
        let marked = self.sessions.iter().filter(|(_, open)| open.silent_since_ms.is_some());
        assert!(marked.map(|(id, _)| id).eq(&self.suspects), "the suspects are others");
        if self.rules.counts() {
            let mut rules = self.rules.emptied();
            for (pool, weight) in self.weights() {
                rules.weigh(pool, &weight.owner, weight.seats, true);
            }
            assert_eq!(rules.counted(), self.rules.counted(), "the rules miscount");
        }
        self.assert_nobody_waits_in_vain();
    }
}
