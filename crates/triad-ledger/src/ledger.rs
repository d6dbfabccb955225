//! The ledger: applies commands in order, and keeps count.

mod administering;
mod adopting;
mod explaining;
mod installing;
mod meta;
mod moving;
mod queueing;
mod reading;
mod recording;
mod stays;
mod suspects;
mod telling;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

pub use self::explaining::{Asked, Step, Verdict};
pub(crate) use self::meta::{Epoch, Meta};
pub(crate) use self::stays::Block;
use self::stays::Stays;
use crate::choice::{Asking, Choice};
use crate::codec::{self, CodecError};
use crate::command::{
    Answer, At, CHECKOUTS_MAX, CHECKOUTS_PER_SESSION_MAX, Command, Grant, GrantedItem,
    GrantedTokens, HeldTokens, Holder, Item, Outcome, SESSIONS_MAX, Silence, UNACKNOWLEDGED_MAX,
};
use crate::denial::{Bound, Denial};
use crate::ended::EndedSessions;
use crate::events::{ChainHash, EndReason, Event, Happening, PoolUse};
use crate::few::Few;
use crate::labels::KnownLabels;
use crate::mutation::{self, Mutation};
use crate::names::{
    CheckoutId, FeatureName, LicenseId, PoolId, RequestId, Seats, SessionId, Version,
};
use crate::policy::{Policy, RuleId, Subject};
use crate::pools::{Claim, Pool, Pools};
use crate::queue::{Queue, Waiting};
use crate::record::{Change, RecordKey, Records, StateHash};
use crate::rights::{License, Share};
use crate::rulebook::Rulebook;
use crate::rules::HOLDERS_MOVE;
use crate::sessions::{Receipt, Receipts, Seen, Session};
use crate::shares::ClaimId;
use crate::table::Table;
use crate::tokens::{Actor, Tokens};

/// Seats that a session holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Whose.
    pub session: SessionId,
    /// Since when, ms since 1970 UTC.
    pub since_ms: u64,
    /// What, one per item asked for; without those that do not linger.
    pub items: Few<HeldItem>,
    /// Who has them, or had them last.
    pub holder: Arc<Holder>,
    /// What keeps them.
    pub stay: Stay,
}

/// What keeps a checkout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stay {
    /// Its session.
    #[default]
    Live,
    /// It was returned, and stays for a while.
    Lingering {
        /// Until when, in cluster time.
        until_ms: u64,
    },
    /// It is used without a server; its session may be gone.
    Borrowed {
        /// Until when, ms since 1970 UTC.
        until_ms: u64,
        /// An administrator said so.
        lost: bool,
    },
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
    /// What it takes of another feature.
    pub tokens: Option<HeldTokens>,
}

impl Checkout {
    /// All its claims on pools, in order.
    fn claims(&self, id: CheckoutId) -> impl Iterator<Item = (PoolId, Claim<'_>)> {
        self.items.iter().enumerate().flat_map(move |(item, held)| {
            let claim = |of_token, seats| {
                let id = ClaimId { checkout: id, item, of_token };
                Claim { id, seats, holder: &self.holder }
            };
            let tokens = held.tokens.map(|tokens| (tokens.pool, claim(true, tokens.seats)));
            core::iter::once((held.pool, claim(false, held.seats))).chain(tokens)
        })
    }
}

/// Seats that came back since the queue was last served.
#[derive(Clone, Debug, Default)]
struct Freed {
    /// Policy or rights have changed: some may wait in vain from now on.
    anew: bool,
    all: bool,
    features: BTreeSet<FeatureName>,
}

/// Who holds which seat. See the crate's documentation.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    meta: Meta,
    licenses: BTreeMap<LicenseId, License>,
    pools: Pools,
    sessions: Table<SessionId, Session>,
    ended: EndedSessions,
    /// The sessions that are marked; derived from them.
    suspects: BTreeSet<SessionId>,
    checkouts: Table<CheckoutId, Checkout>,
    rules: Rulebook,
    queue: Queue,
    labels: KnownLabels,
    freed: Freed,
    stays: Stays,
    /// When the next right begins or ends; derived from the pools.
    next_turn_ms: Option<u64>,
    tokens: Tokens,
    /// Who asked for what is being done.
    acting: Option<Actor>,
    records: Records,
    events: Vec<Event>,
    /// One for each.
    encoded_events: Vec<Vec<u8>>,
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
        let answer = self.obey(command);
        self.serve_queue();
        answer
    }

    fn obey(&mut self, command: &Command) -> Answer {
        match command {
            Command::Open { session, holder, lease_ms, resume } => {
                self.open(*session, holder, *lease_ms, *resume)
            }
            Command::Checkout { session, request, answered_through, items, wait } => {
                self.once(*session, *request, *answered_through, |ledger, remembered| {
                    if !remembered {
                        let max = UNACKNOWLEDGED_MAX as u64;
                        return Err(Denial::LimitReached { what: Bound::Unacknowledged, max });
                    }
                    ledger.checkout(*session, *request, items, *wait)
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
            Command::End { term, .. }
                if *term != self.meta.at.term && !mutation::is_on(Mutation::EndWithoutTerm) =>
            {
                Ok(Outcome::Void)
            }
            Command::End { session, silence, .. } => {
                Ok(self.end(*session, EndReason::Silent(*silence)))
            }
            Command::Suspect { session, term, since_ms } => {
                self.suspect(*session, *term, *since_ms)
            }
            Command::Unsuspect { session } => self.unsuspect(*session),
            Command::Install { license } => self.install(license),
            Command::SetPolicy { policy } => self.set_policy(policy),
            Command::Borrow { session, request, answered_through, items, until_ms } => {
                self.once(*session, *request, *answered_through, |ledger, remembered| {
                    if !remembered {
                        let max = UNACKNOWLEDGED_MAX as u64;
                        return Err(Denial::LimitReached { what: Bound::Unacknowledged, max });
                    }
                    ledger.borrow(*session, items, *until_ms)
                })
            }
            Command::Cancel { session, request, answered } => {
                Ok(self.cancel(*session, *request, *answered))
            }
            Command::Idle { session, since_ms } => self.idle(*session, *since_ms),
            Command::Revoke { checkout, reason, block_ms } => {
                self.revoke(*checkout, reason, *block_ms)
            }
            Command::MarkLost { checkout } => self.mark_lost(*checkout),
            Command::BeginEpoch { epoch, adopted, restored } => {
                Ok(self.begin_epoch(*epoch, *adopted, *restored))
            }
            Command::Adopt { takeover } => self.adopt(takeover),
            Command::FoundToken { hash } => Ok(self.found_token(*hash)),
            Command::CreateToken { hash, role, label, expires_ms } => {
                self.create_token(*hash, *role, label, *expires_ms)
            }
            Command::RevokeToken { token } => self.revoke_token(*token),
            Command::NoteUse { token } => self.note_use(*token),
            Command::NoteDeed { what } => {
                self.happened(Happening::Administered { what: what.clone() });
                Ok(Outcome::Noted)
            }
            Command::By { token, command } => self.obey_for(*token, command),
            Command::RaiseRules { rules } => Ok(self.raise_rules(*rules)),
            Command::Tick | Command::Compare { .. } => Ok(Outcome::Noted),
        }
    }

    /// Moves both clocks on, never back, and does what has come due.
    fn advance(&mut self, at: At) {
        let before_ms = self.meta.at.date_ms;
        let now = &mut self.meta.at;
        now.index = at.index;
        now.term = at.term;
        now.cluster_ms = now.cluster_ms.max(at.cluster_ms);
        now.date_ms = now.date_ms.max(at.date_ms);
        self.records.touch(RecordKey::Meta);
        if self.next_turn_ms.is_some_and(|turn| turn <= self.meta.at.date_ms) {
            self.turn(before_ms);
        }
        self.end_stays();
        self.end_waits();
        self.serve_queue();
    }

    /// Rights begin or end, since `before_ms`.
    fn turn(&mut self, before_ms: u64) {
        let begun = self.pools.next_superseding_ms(before_ms);
        let supersedes = begun.is_some_and(|begun| begun <= self.meta.at.date_ms);
        let rebuilt = if supersedes {
            self.rebuild_pools()
        } else {
            self.follow_rules();
            if self.rules() >= HOLDERS_MOVE {
                // The renewal of what was withdrawn may have begun.
                self.move_withdrawn();
            }
            Vec::new()
        };
        self.expire();
        if supersedes {
            self.line_up();
            self.announce_superseding(before_ms, &rebuilt);
        }
        (self.freed.anew, self.freed.all) = (true, true);
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
            Seen::Before(_) if mutation::is_on(Mutation::ForgetReceipts) => decide(self, true),
            Seen::Before(answer) => match self.queue.ticket(session, request) {
                // Acknowledged or not, it waits, and is told its place of now.
                Some(ticket) => Ok(Outcome::Queued { position: self.queue.position(ticket) }),
                None => answer,
            },
            Seen::Full => decide(self, false),
            Seen::New => {
                let answer = decide(self, true);
                if let Some(open) = self.sessions.get_mut(&session) {
                    let receipt = Receipt::of(&answer, |items| self.pools.shared(items));
                    open.receipts.remember(request, receipt);
                }
                answer
            }
        }
    }

    fn open(&mut self, id: SessionId, holder: &Holder, lease_ms: u64, resume: bool) -> Answer {
        if let Some(open) = self.sessions.get(&id) {
            if !open.holder.is_same(holder) {
                return Err(Denial::SessionTaken {
                    session: id,
                    holder_user: open.holder.user.clone(),
                    holder_host: open.holder.host.clone(),
                });
            }
            let checkouts = open.checkouts.iter().copied().collect();
            let lease_ms = open.lease_ms;
            self.unsuspect(id)?;
            return Ok(Outcome::Opened { lease_ms, checkouts });
        }
        if resume || self.ended.contains(id) {
            return Err(Denial::SessionUnknown { session: id });
        }
        if self.sessions.len() >= SESSIONS_MAX {
            return Err(Denial::LimitReached { what: Bound::Sessions, max: SESSIONS_MAX as u64 });
        }
        let lease_ms = self.rules.lease_ms(holder, lease_ms);
        let mut own = holder.clone();
        self.labels.share(&mut own);
        let session = Session {
            holder: Arc::new(own),
            lease_ms,
            opened_ms: self.meta.at.date_ms,
            checkouts: Default::default(),
            idle_since_ms: None,
            silent_since_ms: None,
            receipts: Receipts::default(),
        };
        self.sessions.insert(id, session);
        self.records.touch(RecordKey::Session(id));
        self.happened(Happening::Opened { session: id, holder: holder.clone() });
        Ok(Outcome::Opened { lease_ms, checkouts: Vec::new() })
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

    fn asking<'a>(&'a self, holder: &'a Arc<Holder>) -> Asking<'a> {
        let (pools, rules, date_ms) = (&self.pools, &self.rules, self.meta.at.date_ms);
        Asking { pools, rules, holder, date_ms, borrow_until_ms: None, alone: false }
    }

    /// Takes the seats that were chosen.
    fn grant(
        &mut self,
        session: SessionId,
        items: &[Item],
        choices: &[Choice],
        stay: Stay,
    ) -> Grant {
        self.meta.last_checkout += 1;
        let id = CheckoutId(self.meta.last_checkout);
        let open = self.sessions.get_mut(&session).expect("a granted session is open");
        let holder = open.holder.clone();
        if stay == Stay::Live {
            open.checkouts.insert(id);
        }
        let held = items.iter().zip(choices).map(|(item, choice)| HeldItem {
            pool: choice.seats.pool,
            seats: item.seats,
            version: item.version,
            tokens: choice.tokens.map(|taken| HeldTokens { pool: taken.pool, seats: taken.seats }),
        });
        let since_ms = self.meta.at.date_ms;
        let checkout = Checkout { session, since_ms, items: held.collect(), holder, stay };
        for (pool, claim) in checkout.claims(id) {
            let shift = self.pools.take(pool, claim);
            self.rules.shift(pool, &shift);
            // Who draws from which reservation is settled anew with each seat
            // that is taken, and may leave more for others; and whoever shares
            // the seat needs none of his own any more.
            if !self.queue.is_empty() && self.out_of_turn_is_possible(pool) {
                self.freed.features.insert(self.pools.held(pool).key.feature.clone());
            }
        }
        let granted = self.granted_items(&checkout);
        self.checkouts.insert(id, checkout);
        self.records.touch(RecordKey::Checkout(id));
        Grant { checkout: id, items: granted }
    }

    /// Whether some may pass others in the line for this pool.
    fn out_of_turn_is_possible(&self, pool: PoolId) -> bool {
        let terms = &self.pools.held(pool).key.terms;
        let costs_nothing = terms.uncounted || terms.share != Share::NOTHING;
        costs_nothing || self.rules.reserves(&self.pools.held(pool).key.feature)
    }

    fn granted_item(&self, item: &HeldItem) -> GrantedItem {
        let HeldItem { pool, seats, tokens, .. } = *item;
        let key = &self.pools.held(pool).key;
        let tokens = tokens.map(|HeldTokens { pool, seats }| {
            let feature = self.pools.held(pool).key.feature.clone();
            GrantedTokens { pool, feature, seats }
        });
        GrantedItem {
            pool,
            feature: key.feature.clone(),
            seats,
            version: key.version,
            expires_ms: key.expires_ms,
            vendor_string: key.vendor_string.clone(),
            tokens,
        }
    }

    fn checkin(&mut self, session: SessionId, id: CheckoutId) -> Outcome {
        // Another session's checkout is none of this one's business, unless it
        // was borrowed from the same desk.
        let Some(open) = self.sessions.get(&session) else {
            return Outcome::Returned { was_held: false };
        };
        if open.checkouts.contains(id) {
            self.let_go(id, EndReason::Closed);
            return Outcome::Returned { was_held: true };
        }
        let borrowed = self.checkouts.get(&id).is_some_and(|checkout| {
            matches!(checkout.stay, Stay::Borrowed { .. })
                && checkout.holder.user == open.holder.user
                && checkout.holder.host == open.holder.host
        });
        if borrowed {
            self.release(id, EndReason::Closed);
        }
        Outcome::Returned { was_held: borrowed }
    }

    /// Gives one claim back.
    fn give_back(&mut self, pool: PoolId, claim: Claim<'_>) {
        if !self.queue.is_empty() {
            self.freed.features.insert(self.pools.held(pool).key.feature.clone());
            // Under a MAX over all features this may be what others wait for.
            self.freed.all |= self.rules.spans_features();
        }
        let (shift, gone) = self.pools.give_back(pool, claim);
        self.rules.shift(pool, &shift);
        if gone {
            self.records.touch(RecordKey::Pool(pool));
            self.next_turn_ms = self.pools.next_turn_ms(self.meta.at.date_ms);
        }
    }

    /// Ends one checkout and returns its seats.
    fn release(&mut self, id: CheckoutId, reason: EndReason) {
        let removed = self.checkouts.remove_written(&id);
        let (checkout, was_written) = removed.expect("only what is held is released");
        let touched = self.touched(&checkout);
        for (pool, claim) in checkout.claims(id) {
            self.count_borrowed(pool, &checkout, claim, false);
            self.give_back(pool, claim);
        }
        self.forget_stay(id, &checkout);
        if let Some(open) = self.sessions.get_mut(&checkout.session) {
            open.checkouts.remove(id);
            if open.idle_since_ms.is_some() {
                self.schedule_idle(checkout.session);
            }
        }
        self.records.gone(RecordKey::Checkout(id), was_written);
        let returned = Happening::Returned { session: checkout.session, checkout: id, reason };
        self.happened_to(&checkout.holder, touched, returned);
    }

    /// Ends a session, everything it holds and everything it waits for. What
    /// it has borrowed stays.
    fn end(&mut self, id: SessionId, reason: EndReason) -> Outcome {
        let Some(open) = self.sessions.get_mut(&id) else {
            return Outcome::Ended { was_open: false };
        };
        // Not to be looked at after each of what it returns.
        open.idle_since_ms = None;
        self.stays.forget_idle(id);
        let open = &self.sessions[&id];
        let mut held: Vec<CheckoutId> = open.checkouts.iter().copied().collect();
        if mutation::is_on(Mutation::LoansEndWithSession) {
            let own = self.checkouts.iter().filter(|(_, checkout)| checkout.session == id);
            held = own.map(|(id, _)| *id).collect();
        }
        let checkouts = held.len() as u64;
        for checkout in held {
            self.let_go(checkout, reason);
        }
        for ticket in self.queue.of_session(id) {
            let Waiting { items, lines, .. } = self.queue.leave(ticket);
            self.records.touch(RecordKey::Waiting(ticket));
            if !mutation::is_on(Mutation::LostWakeup) {
                self.freed.features.extend(lines);
            }
            // The one final outcome of this request.
            let feature = items.first().expect("a request has items").feature.clone();
            let denial = Denial::Cancelled { feature };
            let holder = self.sessions[&id].holder.clone();
            self.happened_to(&holder, [], Happening::Denied { session: id, items, denial });
        }
        let open = self.sessions.remove(&id).expect("it was open a moment ago");
        self.stays.forget_idle(id);
        self.suspects.remove(&id);
        self.records.touch(RecordKey::Session(id));
        let (number, forgotten) = self.ended.remember(id);
        for number in forgotten.into_iter().chain([number]) {
            self.records.touch(RecordKey::Ended(number));
        }
        let holder = Holder::clone(&open.holder);
        self.happened(Happening::Ended { session: id, holder, reason, checkouts });
        Outcome::Ended { was_open: true }
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
    use std::vec;

    use super::*;
    use crate::names::FeatureName;

    const ANN: SessionId = SessionId([1; 16]);

    /// Two seats of cad, one of them held as checkout 1.
    fn one_of_two_held() -> Ledger {
        let feature = FeatureName::parse("cad").expect("good");
        let license = License::of_two("cad");
        let holder = Holder::default();
        let items = vec![Item { feature, version: Version::default(), seats: Seats::MIN }];
        let (request, answered_through) = (RequestId(1), RequestId(0));
        let commands = [
            Command::Install { license },
            Command::Open { session: ANN, holder, lease_ms: 1, resume: false },
            Command::Checkout { session: ANN, request, answered_through, items, wait: None },
        ];
        let mut ledger = Ledger::default();
        for command in &commands {
            ledger.apply(At::default(), command).expect("nothing to deny");
        }
        ledger.assert_balanced();
        ledger
    }

    fn someone() -> ClaimId {
        ClaimId { checkout: CheckoutId(9), item: 0, of_token: false }
    }

    #[test]
    #[should_panic(expected = "oversold: 3 of 2 seats of cad held")]
    fn taking_more_than_exists_stops_the_node() {
        let seats = Seats::new(2).expect("not zero");
        let (id, holder) = (someone(), Arc::default());
        one_of_two_held().pools.take(PoolId(1), Claim { id, seats, holder: &holder });
    }

    #[test]
    #[should_panic(expected = "no more seats return than were held")]
    fn returning_more_than_was_held_stops_the_node() {
        let (id, holder) = (someone(), Arc::default());
        let claim = Claim { id, seats: Seats::MAX, holder: &holder };
        one_of_two_held().pools.give_back(PoolId(1), claim);
    }

    #[test]
    #[should_panic(expected = "PoolId(1) miscounts")]
    fn a_seat_that_nobody_holds_unbalances_the_books() {
        let mut ledger = one_of_two_held();
        let (id, holder) = (someone(), Arc::default());
        ledger.pools.take(PoolId(1), Claim { id, seats: Seats::MIN, holder: &holder });
        ledger.assert_balanced();
    }

    #[test]
    #[should_panic(expected = "CheckoutId(1) is an orphan")]
    fn a_checkout_without_its_session_unbalances_the_books() {
        let mut ledger = one_of_two_held();
        ledger.sessions = Table::default();
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
    #[should_panic(expected = "waits for ever")]
    fn a_request_that_can_never_be_granted_unbalances_the_books() {
        let mut ledger = one_of_two_held();
        let feature = FeatureName::parse("cad").expect("good");
        let seats = Seats::new(2).expect("not zero");
        let items = vec![Item { feature, version: Version::default(), seats }];
        let (request, answered_through) = (RequestId(2), RequestId(1));
        let wait = Some(crate::command::QueueWait { timeout_ms: None, priority: None });
        let command = Command::Checkout { session: ANN, request, answered_through, items, wait };
        let queued = ledger.apply(At::default(), &command);
        assert_eq!(queued, Ok(Outcome::Queued { position: 1 }));
        ledger.assert_balanced();
        ledger.pools.rebuild(core::iter::empty(), 0);
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
