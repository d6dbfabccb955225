//! The ledger: applies commands in order, and keeps count.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::codec::{self, CodecError};
use crate::command::{
    Answer, At, CHECKOUTS_MAX, CHECKOUTS_PER_SESSION_MAX, Command, Grant, GrantedItem, Holder,
    ITEMS_MAX, Item, Outcome, SESSIONS_MAX, Silence, UNACKNOWLEDGED_MAX,
};
use crate::denial::{Bound, Denial};
use crate::ended::EndedSessions;
use crate::events::{ChainHash, EndReason, Event, Happening};
use crate::names::{CheckoutId, LicenseId, PoolId, RequestId, Seats, SessionId, Version};
use crate::pools::{Pool, Pools};
use crate::record::{Change, RecordKey, Records, StateHash};
use crate::rights::{LICENSES_MAX, LINES_MAX, License};
use crate::sessions::{Receipts, Seen, Session};

/// Seats that a session holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Whose.
    pub session: SessionId,
    /// Since when, ms since 1970 UTC.
    pub since_ms: u64,
    /// What, one per item asked for.
    pub items: Vec<HeldItem>,
}

/// Seats of one pool that are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldItem {
    /// The pool they count against.
    pub pool: PoolId,
    /// How many.
    pub seats: Seats,
    /// The version that was asked for; it decides which pool may take over.
    pub version: Version,
}

/// Where one item of a checkout moves to.
struct Place {
    /// Which item, counted from 0.
    item: usize,
    pool: PoolId,
}

/// The counters and clocks that belong to no record of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) at: At,
    pub(crate) last_checkout: u64,
    pub(crate) last_pool: u32,
    pub(crate) last_event: u64,
    pub(crate) chain: ChainHash,
}

/// Who holds which seat. See the crate's documentation.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    meta: Meta,
    licenses: BTreeMap<LicenseId, License>,
    pools: Pools,
    sessions: BTreeMap<SessionId, Session>,
    ended: EndedSessions,
    checkouts: BTreeMap<CheckoutId, Checkout>,
    /// When the next right ends; derived from the pools.
    next_expiry_ms: Option<u64>,
    records: Records,
    events: Vec<Event>,
}

impl Ledger {
    /// Applies one committed command.
    ///
    /// # Panics
    ///
    /// If the ledger is about to grant more seats than exist. Such a ledger is
    /// not to be continued.
    pub fn apply(&mut self, at: At, command: &Command) -> Answer {
        self.advance(at);
        match command {
            Command::Open { session, holder, lease_ms, resume } => {
                self.open(*session, holder, *lease_ms, *resume)
            }
            Command::Checkout { session, request, answered_through, items } => {
                self.once(*session, *request, *answered_through, |ledger, remembered| {
                    if !remembered {
                        let max = UNACKNOWLEDGED_MAX as u64;
                        return Err(Denial::LimitReached { what: Bound::Unacknowledged, max });
                    }
                    ledger.checkout(*session, items)
                })
            }
            Command::Checkin { session, request, answered_through, checkout } => {
                // A return takes no room and needs no memory: done twice it is
                // done once. So a client with too many answers outstanding can
                // still give back what it holds.
                self.once(*session, *request, *answered_through, |ledger, _| {
                    Ok(ledger.checkin(*session, *checkout))
                })
            }
            Command::Close { session } => Ok(self.end(*session, EndReason::Closed)),
            // Another leader has promised this session a new lease since.
            Command::End { term, .. } if *term != at.term => Ok(Outcome::Void),
            Command::End { session, silence, .. } => {
                Ok(self.end(*session, EndReason::Silent(*silence)))
            }
            Command::Install { license } => self.install(license),
            Command::Tick | Command::Compare { .. } => Ok(Outcome::Noted),
        }
    }

    /// Moves both clocks on, never back, and does what has come due.
    fn advance(&mut self, at: At) {
        let now = &mut self.meta.at;
        now.index = at.index;
        now.term = at.term;
        now.cluster_ms = now.cluster_ms.max(at.cluster_ms);
        now.date_ms = now.date_ms.max(at.date_ms);
        self.records.touch(RecordKey::Meta);
        if self.next_expiry_ms.is_some_and(|expiry| expiry <= self.meta.at.date_ms) {
            self.expire();
        }
    }

    /// Answers a request once: asked again, it gets the first answer. `decide`
    /// is told whether its answer will be remembered.
    fn once(
        &mut self,
        session: SessionId,
        request: RequestId,
        answered_through: RequestId,
        decide: impl FnOnce(&mut Self, bool) -> Answer,
    ) -> Answer {
        let Some(open) = self.sessions.get_mut(&session) else {
            return Err(Denial::SessionUnknown { session });
        };
        self.records.touch(RecordKey::Session(session));
        match open.receipts.look_up(request, answered_through) {
            Seen::Before(answer) => answer,
            Seen::Full => decide(self, false),
            Seen::New => {
                let answer = decide(self, true);
                if let Some(open) = self.sessions.get_mut(&session) {
                    open.receipts.remember(request, answer.clone());
                }
                answer
            }
        }
    }

    fn open(&mut self, id: SessionId, holder: &Holder, lease_ms: u64, resume: bool) -> Answer {
        if let Some(open) = self.sessions.get(&id) {
            if open.holder != *holder {
                return Err(Denial::SessionTaken {
                    session: id,
                    holder_user: open.holder.user.clone(),
                    holder_host: open.holder.host.clone(),
                });
            }
            let checkouts = open.checkouts.iter().copied().collect();
            return Ok(Outcome::Opened { lease_ms: open.lease_ms, checkouts });
        }
        if resume || self.ended.contains(id) {
            return Err(Denial::SessionUnknown { session: id });
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(Denial::LimitReached { what: Bound::Sessions, max: SESSIONS_MAX as u64 });
        }
        let session = Session {
            holder: holder.clone(),
            lease_ms,
            opened_ms: self.meta.at.date_ms,
            checkouts: Default::default(),
            receipts: Receipts::default(),
        };
        self.sessions.insert(id, session);
        self.records.touch(RecordKey::Session(id));
        self.happened(Happening::Opened { session: id, holder: holder.clone() });
        Ok(Outcome::Opened { lease_ms, checkouts: Vec::new() })
    }

    fn checkout(&mut self, session: SessionId, items: &[Item]) -> Answer {
        let answer = self.room_for_checkout(session).and_then(|()| self.choose(items));
        match answer {
            Ok(pools) => Ok(Outcome::Granted(self.grant(session, items, &pools))),
            Err(denial) => {
                let denied =
                    Happening::Denied { session, items: items.to_vec(), denial: denial.clone() };
                self.happened(denied);
                Err(denial)
            }
        }
    }

    fn room_for_checkout(&self, session: SessionId) -> Result<(), Denial> {
        let held = self.sessions.get(&session).map_or(0, |open| open.checkouts.len());
        let (what, max) = if held >= CHECKOUTS_PER_SESSION_MAX {
            (Bound::CheckoutsPerSession, CHECKOUTS_PER_SESSION_MAX)
        } else if self.checkouts.len() >= CHECKOUTS_MAX {
            (Bound::Checkouts, CHECKOUTS_MAX)
        } else {
            return Ok(());
        };
        Err(Denial::LimitReached { what, max: max as u64 })
    }

    /// A pool for every item, or the denial of the first that has none. Nothing
    /// is taken before all are found.
    fn choose(&self, items: &[Item]) -> Result<Vec<PoolId>, Denial> {
        debug_assert!((1..=ITEMS_MAX).contains(&items.len()));
        let mut taken: Vec<(PoolId, Seats)> = Vec::with_capacity(items.len());
        for item in items {
            let pool = self.pools.choose(item, &taken, self.meta.at.date_ms)?;
            taken.push((pool, item.seats));
        }
        Ok(taken.into_iter().map(|(pool, _)| pool).collect())
    }

    fn grant(&mut self, session: SessionId, items: &[Item], pools: &[PoolId]) -> Grant {
        self.meta.last_checkout += 1;
        let id = CheckoutId(self.meta.last_checkout);
        let mut held = Vec::with_capacity(items.len());
        let mut granted = Vec::with_capacity(items.len());
        for (item, &pool) in items.iter().zip(pools) {
            self.pools.take(pool, item.seats);
            held.push(HeldItem { pool, seats: item.seats, version: item.version });
            granted.push(self.granted_item(pool, item.seats));
        }
        let since_ms = self.meta.at.date_ms;
        self.checkouts.insert(id, Checkout { session, since_ms, items: held });
        self.records.touch(RecordKey::Checkout(id));
        let open = self.sessions.get_mut(&session).expect("a granted session is open");
        open.checkouts.insert(id);
        self.happened(Happening::Granted { session, checkout: id, items: granted.clone() });
        Grant { checkout: id, items: granted }
    }

    fn granted_item(&self, pool: PoolId, seats: Seats) -> GrantedItem {
        let key = &self.pools.pool(pool).expect("held seats belong to a pool").key;
        GrantedItem {
            pool,
            feature: key.feature.clone(),
            seats,
            version: key.version,
            expires_ms: key.expires_ms,
            vendor_string: key.vendor_string.clone(),
        }
    }

    fn checkin(&mut self, session: SessionId, checkout: CheckoutId) -> Outcome {
        // Another session's checkout is none of this one's business.
        let open = self.sessions.get(&session);
        let was_held = open.is_some_and(|open| open.checkouts.contains(&checkout));
        if was_held {
            self.release(checkout, EndReason::Closed);
        }
        Outcome::Returned { was_held }
    }

    /// Ends one checkout and returns its seats.
    fn release(&mut self, id: CheckoutId, reason: EndReason) {
        let checkout = self.checkouts.remove(&id).expect("only what is held is released");
        for item in &checkout.items {
            if self.pools.give_back(item.pool, item.seats) {
                self.records.touch(RecordKey::Pool(item.pool));
                self.next_expiry_ms = self.pools.next_expiry_ms(self.meta.at.date_ms);
            }
        }
        if let Some(open) = self.sessions.get_mut(&checkout.session) {
            open.checkouts.remove(&id);
        }
        self.records.touch(RecordKey::Checkout(id));
        self.happened(Happening::Returned { session: checkout.session, checkout: id, reason });
    }

    /// Ends a session and everything it holds.
    fn end(&mut self, id: SessionId, reason: EndReason) -> Outcome {
        let Some(open) = self.sessions.remove(&id) else {
            return Outcome::Ended { was_open: false };
        };
        let checkouts = open.checkouts.len() as u64;
        for checkout in open.checkouts {
            self.release(checkout, reason);
        }
        self.records.touch(RecordKey::Session(id));
        let (number, forgotten) = self.ended.remember(id);
        for number in forgotten.into_iter().chain([number]) {
            self.records.touch(RecordKey::Ended(number));
        }
        self.happened(Happening::Ended { session: id, holder: open.holder, reason, checkouts });
        Outcome::Ended { was_open: true }
    }

    /// A license may shrink below what is already held: nobody is evicted, and
    /// nothing more is granted until enough seats have come back.
    fn install(&mut self, license: &License) -> Answer {
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
        for pool in self.pools.rebuild(self.licenses.values()) {
            self.records.touch(RecordKey::Pool(pool));
        }
        self.move_withdrawn();
        self.next_expiry_ms = self.pools.next_expiry_ms(self.meta.at.date_ms);
        self.expire();
        let overage = self.pools.overage();
        let (license, serial) = (license.id.clone(), license.serial);
        self.happened(Happening::Installed { license, serial, overage });
        Ok(Outcome::Installed { changed: true, overage })
    }

    /// Moves what is held of withdrawn pools to others of the same feature, so
    /// that a renewal interrupts nobody. What finds no place stays.
    fn move_withdrawn(&mut self) {
        let withdrawn = self.pools.iter().filter(|(_, pool)| pool.withdrawn);
        let left: BTreeSet<PoolId> = withdrawn.map(|(id, _)| id).collect();
        for id in self.holding(&left) {
            let places = self.places(&self.checkouts[&id], &left, true);
            self.move_items(id, places.into_iter().flatten());
        }
    }

    /// Ends what is held of rights that are over, unless other pools of the
    /// feature have room for it. A checkout moves whole or ends, so that none
    /// that ends has taken room from one that could have gone on. The oldest
    /// choose first; what an ended one gives back serves those after it.
    fn expire(&mut self) {
        let date_ms = self.meta.at.date_ms;
        let over = self.pools.over_at(date_ms);
        for id in self.holding(&over) {
            let places = self.places(&self.checkouts[&id], &over, false);
            if places.iter().all(Option::is_some) {
                self.move_items(id, places.into_iter().flatten());
            } else {
                self.release(id, EndReason::Expired);
            }
        }
        self.next_expiry_ms = self.pools.next_expiry_ms(date_ms);
    }

    /// The checkouts that hold seats of these pools, the oldest first.
    fn holding(&self, pools: &BTreeSet<PoolId>) -> Vec<CheckoutId> {
        if pools.is_empty() {
            return Vec::new();
        }
        let holds = |checkout: &Checkout| checkout.items.iter().any(|i| pools.contains(&i.pool));
        let holding = self.checkouts.iter().filter(|(_, checkout)| holds(checkout));
        holding.map(|(id, _)| *id).collect()
    }

    /// Where each item that the checkout holds of the pools `left` may live on,
    /// `None` if nowhere. Nothing is moved yet.
    fn places(
        &self,
        checkout: &Checkout,
        left: &BTreeSet<PoolId>,
        overdraw: bool,
    ) -> Vec<Option<Place>> {
        let date_ms = self.meta.at.date_ms;
        let mut taken: Vec<(PoolId, Seats)> = Vec::new();
        let leaving = checkout.items.iter().enumerate().filter(|(_, i)| left.contains(&i.pool));
        let place = |(item, held): (usize, &HeldItem)| {
            let pool = self.pools.refuge(held, &taken, date_ms, overdraw)?;
            taken.push((pool, held.seats));
            Some(Place { item, pool })
        };
        leaving.map(place).collect()
    }

    fn move_items(&mut self, id: CheckoutId, places: impl Iterator<Item = Place>) {
        let mut places = places.peekable();
        if places.peek().is_none() {
            return;
        }
        let checkout = self.checkouts.get_mut(&id).expect("only what is held is moved");
        for Place { item, pool } in places {
            let held = &mut checkout.items[item];
            let from = core::mem::replace(&mut held.pool, pool);
            if self.pools.shift(from, pool, held.seats) {
                self.records.touch(RecordKey::Pool(from));
            }
        }
        self.records.touch(RecordKey::Checkout(id));
        let checkout = &self.checkouts[&id];
        let (session, items) = (checkout.session, self.granted_items(checkout));
        self.happened(Happening::Moved { session, checkout: id, items });
    }

    fn happened(&mut self, what: Happening) {
        self.meta.last_event += 1;
        let event = Event { sequence: self.meta.last_event, at: self.meta.at, what };
        self.meta.chain = self.meta.chain.extend(&codec::encode_event(&event));
        self.events.push(event);
    }
}

/// Reading.
impl Ledger {
    /// The last stamp applied, with both clocks as the ledger keeps them.
    pub fn at(&self) -> At {
        self.meta.at
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

    /// What a checkout holds, in the words of a grant.
    pub fn granted_items(&self, checkout: &Checkout) -> Vec<GrantedItem> {
        checkout.items.iter().map(|item| self.granted_item(item.pool, item.seats)).collect()
    }

    /// The date at which something comes due, so that the leader lets time
    /// pass then.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.next_expiry_ms
    }

    /// The head of the event chain.
    pub fn chain(&self) -> ChainHash {
        self.meta.chain
    }

    /// What happened since this was last asked, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }
}

/// Writing out and reading in.
impl Ledger {
    /// The records that changed since this was last asked, in key order. Call
    /// it regularly: what changed is remembered until then.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut records = core::mem::take(&mut self.records);
        self.meta.last_pool = self.pools.last_id;
        let changes = records.drain(|key| self.encode(key));
        self.records = records;
        changes
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
            .chain(self.ended.numbers().map(RecordKey::Ended));
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
                    ledger.sessions.insert(*id, codec::decode_session(&value)?);
                }
                RecordKey::Checkout(id) => {
                    ledger.checkouts.insert(*id, codec::decode_checkout(&value)?);
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
        if ledger.sessions.keys().any(|id| ledger.ended.contains(*id)) {
            return Err(CodecError::Ended);
        }
        ledger.pools.last_id = ledger.meta.last_pool;
        for (id, checkout) in &ledger.checkouts {
            let open = ledger.sessions.get_mut(&checkout.session);
            open.ok_or(CodecError::Orphan)?.checkouts.insert(*id);
            for item in &checkout.items {
                if !ledger.pools.restore_held(item.pool, item.seats) {
                    return Err(CodecError::Orphan);
                }
            }
        }
        ledger.pools.index();
        ledger.next_expiry_ms = ledger.pools.next_expiry_ms(ledger.meta.at.date_ms);
        // Brings the hash up to date; nothing of this needs to be written out.
        ledger.take_changes();
        Ok(ledger)
    }

    /// Panics unless the books balance: what each pool and session counts is
    /// what the checkouts say. For tests and for the node's self-check.
    pub fn assert_balanced(&self) {
        let mut held: BTreeMap<PoolId, u64> = BTreeMap::new();
        for (id, checkout) in &self.checkouts {
            let open = self.sessions.get(&checkout.session);
            assert!(open.is_some_and(|open| open.checkouts.contains(id)), "{id:?} is an orphan");
            for item in &checkout.items {
                *held.entry(item.pool).or_default() += u64::from(item.seats.get());
            }
        }
        for (id, pool) in self.pools.iter() {
            assert_eq!(pool.held, held.remove(&id).unwrap_or(0), "{id:?} miscounts");
        }
        assert!(held.is_empty(), "seats of unknown pools: {held:?}");
        let by_session: usize = self.sessions.values().map(|open| open.checkouts.len()).sum();
        assert_eq!(by_session, self.checkouts.len());
    }
}

/// The silence that ended a session, in the words of an end.
impl From<Silence> for EndReason {
    fn from(silence: Silence) -> Self {
        EndReason::Silent(silence)
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use std::vec;

    use super::*;
    use crate::names::{FeatureName, Label};
    use crate::rights::{About, Line, Terms};

    const ANN: SessionId = SessionId([1; 16]);

    /// Two seats of cad, one of them held as checkout 1.
    fn one_of_two_held() -> Ledger {
        let feature = FeatureName::parse("cad").expect("good");
        let line = Line {
            feature: feature.clone(),
            version: Version::default(),
            seats: 2,
            overdraft: 0,
            starts_ms: None,
            expires_ms: None,
            vendor_string: Label::default(),
            terms: Terms::default(),
            about: About::default(),
        };
        let license = License {
            id: LicenseId::parse("acme").expect("good"),
            publisher: Label::default(),
            serial: 1,
            text: String::new(),
            lines: vec![line],
        };
        let holder = Holder::default();
        let items = vec![Item { feature, version: Version::default(), seats: Seats::MIN }];
        let (request, answered_through) = (RequestId(1), RequestId(0));
        let commands = [
            Command::Install { license },
            Command::Open { session: ANN, holder, lease_ms: 1, resume: false },
            Command::Checkout { session: ANN, request, answered_through, items },
        ];
        let mut ledger = Ledger::default();
        for command in &commands {
            ledger.apply(At::default(), command).expect("nothing to deny");
        }
        ledger.assert_balanced();
        ledger
    }

    #[test]
    #[should_panic(expected = "oversold: 3 of 2 seats of cad held")]
    fn taking_more_than_exists_stops_the_node() {
        one_of_two_held().pools.take(PoolId(1), Seats::new(2).expect("not zero"));
    }

    #[test]
    #[should_panic(expected = "no more seats return than were held")]
    fn returning_more_than_was_held_stops_the_node() {
        one_of_two_held().pools.give_back(PoolId(1), Seats::MAX);
    }

    #[test]
    #[should_panic(expected = "PoolId(1) miscounts")]
    fn a_seat_that_nobody_holds_unbalances_the_books() {
        let mut ledger = one_of_two_held();
        ledger.pools.take(PoolId(1), Seats::MIN);
        ledger.assert_balanced();
    }

    #[test]
    #[should_panic(expected = "CheckoutId(1) is an orphan")]
    fn a_checkout_without_its_session_unbalances_the_books() {
        let mut ledger = one_of_two_held();
        ledger.sessions.clear();
        ledger.assert_balanced();
    }

    #[test]
    #[should_panic(expected = "seats of unknown pools")]
    fn a_checkout_without_its_pool_unbalances_the_books() {
        let mut ledger = one_of_two_held();
        ledger.pools = Pools::default();
        ledger.assert_balanced();
    }

    #[test]
    #[should_panic(expected = "left == right")]
    fn a_session_that_lists_too_much_unbalances_the_books() {
        let mut ledger = one_of_two_held();
        let open = ledger.sessions.get_mut(&ANN).expect("ann is open");
        open.checkouts.insert(CheckoutId(2));
        ledger.assert_balanced();
    }
}
