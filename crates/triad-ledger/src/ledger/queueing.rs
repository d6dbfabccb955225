//! Requests: granted, denied, or made to wait until seats come free.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{Ledger, Stay};
use crate::choice::{Asking, Choice};
use crate::command::{Answer, Holder, Item, Outcome, QUEUE_MAX, QUEUED_PER_SESSION_MAX, QueueWait};
use crate::denial::{Bound, Denial};
use crate::events::Happening;
use crate::mutation::{self, Mutation};
use crate::names::{CheckoutId, FeatureName, RequestId, SessionId};
use crate::queue::{Place, Waiting};
use crate::record::RecordKey;
use crate::rules::{ANY_POOL_WAITS, OWN_SEAT_LINGERS};
use crate::sessions::Receipt;

/// What came of looking at one who waits.
enum Verdict {
    /// He waits no longer.
    Settled,
    /// He waits for his own group; others may pass.
    HeldBack,
    /// He waits for a seat; so do those behind him.
    Waits,
}

impl Ledger {
    pub(super) fn checkout(
        &mut self,
        session: SessionId,
        request: RequestId,
        items: &[Item],
        wait: Option<QueueWait>,
    ) -> Answer {
        let wait = wait.filter(|wait| wait.timeout_ms != Some(0));
        let priority = wait.map(|wait| self.priority(session, items, wait));
        let place = priority.map(|priority| (Reverse(priority), self.meta.last_ticket + 1));
        let denial = match self.decide(session, items, place, None) {
            Ok(choices) => return Ok(Outcome::Granted(self.grant_live(session, items, &choices))),
            Err(denial) => denial,
        };
        let denial = match wait {
            Some(wait) if self.may_wait(session, items, &denial) => {
                match self.wait(session, request, items, wait, &denial, priority.unwrap_or(0)) {
                    Ok(position) => return Ok(Outcome::Queued { position }),
                    Err(denial) => denial,
                }
            }
            _ => denial,
        };
        self.denied(session, items, &denial);
        Err(denial)
    }

    /// Whether seats may come free that would serve him: of the pool that came closest to it,
    /// or of another that is only full.
    fn may_wait(&self, session: SessionId, items: &[Item], denial: &Denial) -> bool {
        let of_any_pool = || {
            let Some(open) = self.sessions.get(&session) else { return false };
            self.asking(&open.holder).never(items).is_none()
        };
        let any = self.rules() >= ANY_POOL_WAITS && denial.is_of_a_pool();
        denial.may_pass() || (any && of_any_pool())
    }

    /// Notes the final outcome of a request that was denied.
    fn denied(&mut self, session: SessionId, items: &[Item], denial: &Denial) {
        let holder = self.sessions[&session].holder.clone();
        let (items, denial) = (items.to_vec(), denial.clone());
        self.happened_to(&holder, [], Happening::Denied { session, items, denial });
    }

    pub(super) fn borrow(&mut self, session: SessionId, items: &[Item], until_ms: u64) -> Answer {
        match self.decide(session, items, None, Some(until_ms)) {
            Ok(choices) => {
                let stay = Stay::Borrowed { until_ms, lost: false };
                let grant = self.grant(session, items, &choices, stay);
                let checkout = self.checkouts[&grant.checkout].clone();
                self.remember_stay(grant.checkout, &checkout);
                for (pool, claim) in checkout.claims(grant.checkout) {
                    self.count_borrowed(pool, &checkout, claim, true);
                }
                let borrowed = Happening::Borrowed {
                    session,
                    holder: (*checkout.holder).clone(),
                    checkout: grant.checkout,
                    items: grant.items.clone(),
                    until_ms,
                };
                self.happened_with(None, self.touched(&checkout), borrowed);
                Ok(Outcome::Borrowed { grant, until_ms })
            }
            Err(denial) => {
                self.denied(session, items, &denial);
                Err(denial)
            }
        }
    }

    /// The pools for a new request, or why there are none. It does not overtake
    /// those who wait, unless it takes nothing from them or would stand before
    /// them.
    fn decide(
        &mut self,
        session: SessionId,
        items: &[Item],
        place: Option<Place>,
        borrow_until_ms: Option<u64>,
    ) -> Result<Vec<Choice>, Denial> {
        self.room_for_checkout(session)?;
        let holder = self.sessions[&session].holder.clone();
        self.stays.unblocked(&holder, items, self.meta.at.cluster_ms)?;
        let (lingering, same) = self.lingering_for(&holder, items);
        let choices = self.as_if_returned(&lingering, |ledger| {
            let mut asking = ledger.asking(&holder);
            asking.borrow_until_ms = borrow_until_ms;
            ledger.choose_in_turn(asking, items, &same, place)
        })?;
        self.end_lingering(lingering);
        Ok(choices)
    }

    /// The pools for a request at this place in the queue. One of `same`, which lingers, is its
    /// holder's whoever waits, should he get nothing else.
    pub(super) fn choose_in_turn(
        &self,
        asking: Asking<'_>,
        items: &[Item],
        same: &[CheckoutId],
        place: Option<Place>,
    ) -> Result<Vec<Choice>, Denial> {
        let choices = asking.choose(items)?;
        if self.queue.is_empty() || mutation::is_on(Mutation::OvertakeQueue) {
            return Ok(choices);
        }
        if self.rules() < OWN_SEAT_LINGERS && !same.is_empty() {
            return Ok(choices);
        }
        let Err(denial) = self.in_turn(items, &choices, place) else { return Ok(choices) };
        let own = same.iter().find_map(|id| {
            let had = self.checkouts[id].items.iter().map(|item| item.pool);
            asking.choose_from(items, had).ok()
        });
        own.ok_or(denial)
    }

    /// Whether he waits for his own group, and others may pass.
    fn is_held_back(&self, session: SessionId, items: &[Item], denial: &Denial) -> bool {
        if self.rules() < ANY_POOL_WAITS {
            return matches!(denial, Denial::PolicyMax { .. });
        }
        // Who only has to wait for his turn does not look at the pools.
        let may_be = !matches!(denial, Denial::NoSeat { .. } | Denial::QueueNonempty { .. });
        let open = self.sessions.get(&session).filter(|_| may_be);
        open.is_some_and(|open| self.asking(&open.holder).is_held_back(items))
    }

    /// Whether all items may be granted at this place in the queue.
    pub(super) fn in_turn(
        &self,
        items: &[Item],
        choices: &[Choice],
        place: Option<Place>,
    ) -> Result<(), Denial> {
        for (item, choice) in items.iter().zip(choices).filter(|(_, choice)| !choice.out_of_turn) {
            let tokens = choice.tokens.map(|taken| &self.pools.held(taken.pool).key.feature);
            let mut lines = core::iter::once(&item.feature).chain(tokens);
            if let Some(feature) = lines.find(|feature| self.queue.is_blocked(feature, place)) {
                let waiting = self.queue.ahead(feature, place);
                return Err(Denial::QueueNonempty { feature: feature.clone(), waiting });
            }
        }
        Ok(())
    }

    fn grant_live(
        &mut self,
        session: SessionId,
        items: &[Item],
        choices: &[Choice],
    ) -> crate::command::Grant {
        let grant = self.grant(session, items, choices, Stay::Live);
        let (checkout, items) = (grant.checkout, grant.items.clone());
        self.active(session);
        let held = &self.checkouts[&checkout];
        let (holder, touched) = (held.holder.clone(), self.touched(held));
        self.happened_to(&holder, touched, Happening::Granted { session, checkout, items });
        grant
    }

    /// What the policy gives the holder, or less if the client says so.
    fn priority(&self, session: SessionId, items: &[Item], wait: QueueWait) -> u32 {
        let Some(open) = self.sessions.get(&session) else { return 0 };
        let who = self.rules.who(&open.holder);
        let pools = items.iter().flat_map(|item| self.pools.candidates(&item.feature));
        let priority = pools.map(|(id, _)| self.rules.priority(id, &who)).max().unwrap_or(0);
        priority.min(wait.priority.unwrap_or(u32::MAX))
    }

    /// The lines in which a request for these items stands.
    fn lines(&self, items: &[Item]) -> BTreeSet<FeatureName> {
        let mut lines: BTreeSet<FeatureName> = BTreeSet::new();
        for item in items {
            let pools = self.pools.candidates(&item.feature);
            let tokens = pools.filter_map(|(_, pool)| pool.key.terms.consumes.as_ref());
            lines.extend(tokens.map(|cost| cost.feature.clone()));
            lines.insert(item.feature.clone());
        }
        lines
    }

    /// Puts those who wait in the lines that there are under new licenses, with
    /// their old places.
    pub(super) fn line_up(&mut self) {
        let waiting: Vec<_> = self.queue.iter().map(|(t, waits)| (t, waits.clone())).collect();
        for (ticket, waits) in waiting {
            let lines = self.lines(&waits.items);
            if lines != waits.lines {
                self.queue.leave(ticket);
                self.queue.join(ticket, Waiting { lines, ..waits });
                self.records.touch(RecordKey::Waiting(ticket));
            }
        }
    }

    /// Takes a place in the queue.
    fn wait(
        &mut self,
        session: SessionId,
        request: RequestId,
        items: &[Item],
        wait: QueueWait,
        denial: &Denial,
        priority: u32,
    ) -> Result<u64, Denial> {
        let holder = self.sessions[&session].holder.clone();
        let asking = self.asking(&holder);
        if let Some(never) = asking.never(items) {
            return Err(never);
        }
        let of_session = self.queue.of_session(session).len();
        if self.queue.len() >= QUEUE_MAX || of_session >= QUEUED_PER_SESSION_MAX {
            return Err(Denial::LimitReached { what: Bound::Queue, max: QUEUE_MAX as u64 });
        }
        let since_ms = self.meta.at.cluster_ms;
        let waiting = Waiting {
            session,
            request,
            items: items.to_vec(),
            lines: self.lines(items),
            priority,
            since_ms,
            until_ms: wait.timeout_ms.map(|ms| since_ms.saturating_add(ms)),
            held_back: self.is_held_back(session, items, denial),
        };
        self.meta.last_ticket += 1;
        let ticket = self.meta.last_ticket;
        self.queue.join(ticket, waiting);
        self.records.touch(RecordKey::Waiting(ticket));
        let position = self.queue.position(ticket);
        let queued = Happening::Queued { session, request, items: items.to_vec(), position };
        self.happened_to(&holder, [], queued);
        Ok(position)
    }

    /// Tells one who waits his final answer.
    fn settle(&mut self, ticket: u64, answer: Answer) {
        let Waiting { session, request, items, lines, .. } = self.queue.leave(ticket);
        self.records.touch(RecordKey::Waiting(ticket));
        self.freed.features.extend(lines);
        if let Err(denial) = &answer {
            self.denied(session, &items, denial);
        }
        let open = self.sessions.get_mut(&session).expect("who waits has a session");
        if !mutation::is_on(Mutation::LateAnswerForgotten) {
            let receipt = Receipt::of(&answer, |items| self.pools.shared(items));
            open.receipts.remember(request, receipt);
        }
        let holder = open.holder.clone();
        self.records.touch(RecordKey::Session(session));
        self.happened_to(&holder, [], Happening::Settled { session, request, answer });
    }

    pub(super) fn cancel(
        &mut self,
        session: SessionId,
        request: RequestId,
        answered: bool,
    ) -> Outcome {
        if answered {
            if let Some(open) = self.sessions.get_mut(&session) {
                open.receipts.forget(request);
                self.records.touch(RecordKey::Session(session));
            }
            return Outcome::Cancelled { was_queued: false };
        }
        let Some(ticket) = self.queue.ticket(session, request) else {
            return Outcome::Cancelled { was_queued: false };
        };
        let feature = self.first_wanted(ticket);
        self.settle(ticket, Err(Denial::Cancelled { feature }));
        Outcome::Cancelled { was_queued: true }
    }

    fn first_wanted(&self, ticket: u64) -> FeatureName {
        let waiting = self.queue.get(ticket).expect("he waits");
        waiting.items.first().expect("a request has items").feature.clone()
    }

    /// Those who have waited long enough.
    pub(super) fn end_waits(&mut self) {
        for ticket in self.queue.over_at(self.meta.at.cluster_ms) {
            let feature = self.first_wanted(ticket);
            let since_ms = self.queue.get(ticket).map_or(0, |waiting| waiting.since_ms);
            let waited_ms = self.meta.at.cluster_ms - since_ms;
            self.settle(ticket, Err(Denial::QueueTimedOut { feature, waited_ms }));
        }
    }

    /// Grants what came free to those who wait, in their order.
    pub(super) fn serve_queue(&mut self) {
        if self.queue.is_empty() {
            self.freed = Default::default();
            return;
        }
        if core::mem::take(&mut self.freed.anew) {
            self.deny_the_hopeless();
        }
        let all = core::mem::take(&mut self.freed.all);
        if all {
            let features = self.queue.features();
            self.freed.features.extend(features);
        }
        // Who is settled is no longer in the way of others, of all his
        // features: so there may come more to look at, but never without end.
        while let Some(feature) = self.freed.features.pop_first() {
            self.serve(&feature);
        }
    }

    /// Those who would wait for ever, wherever they stand.
    fn deny_the_hopeless(&mut self) {
        let never = |(ticket, waiting): (u64, &Waiting)| {
            let holder = &self.sessions[&waiting.session].holder;
            Some((ticket, self.asking(holder).never(&waiting.items)?))
        };
        for (ticket, denial) in self.queue.iter().filter_map(never).collect::<Vec<_>>() {
            self.settle(ticket, Err(denial));
        }
    }

    fn serve(&mut self, feature: &FeatureName) {
        let mut pools = self.pools.candidates(feature);
        let passing = pools.any(|(id, _)| self.out_of_turn_is_possible(id));
        drop(pools);
        for (priority, ticket) in self.queue.line(feature) {
            match self.look_at((priority, ticket)) {
                Verdict::Settled | Verdict::HeldBack => {}
                // Those behind may have seats of their own; else they wait too.
                Verdict::Waits if passing => {}
                Verdict::Waits => return,
            }
        }
    }

    /// Panics if somebody waits who could be served, or never can be. For tests
    /// and for the node's self-check.
    pub(super) fn assert_nobody_waits_in_vain(&self) {
        for (ticket, waiting) in self.queue.iter() {
            let Some(open) = self.sessions.get(&waiting.session) else {
                panic!("{waiting:?} waits without a session");
            };
            let place = (Reverse(waiting.priority), ticket);
            let choices = match self.lingering_for(&open.holder, &waiting.items) {
                (his, _) if his.is_empty() => self.served(&open.holder, &waiting.items, place),
                (his, _) => self.clone().as_if_returned(&his, |ledger| {
                    ledger.served(&open.holder, &waiting.items, place)
                }),
            };
            assert!(choices.is_err(), "{waiting:?} waits in vain");
            let never = self.asking(&open.holder).never(&waiting.items);
            assert!(never.is_none(), "{waiting:?} waits for ever: {never:?}");
        }
    }

    /// The pools for one who waits, if it is his turn.
    fn served(
        &self,
        holder: &Arc<Holder>,
        items: &[Item],
        place: Place,
    ) -> Result<Vec<Choice>, Denial> {
        let choices = self.asking(holder).choose(items)?;
        self.in_turn(items, &choices, Some(place)).map(|()| choices)
    }

    fn look_at(&mut self, place: Place) -> Verdict {
        let (Reverse(_), ticket) = place;
        let Some(waiting) = self.queue.get(ticket).cloned() else { return Verdict::Settled };
        let Waiting { session, items, lines, .. } = waiting;
        let holder = self.sessions[&session].holder.clone();
        let (lingering, _) = self.lingering_for(&holder, &items);
        let choice = self
            .room_for_checkout(session)
            .and_then(|()| self.stays.unblocked(&holder, &items, self.meta.at.cluster_ms))
            .and_then(|()| {
                self.as_if_returned(&lingering, |ledger| ledger.served(&holder, &items, place))
            });
        match choice {
            Ok(choices) => {
                self.end_lingering(lingering);
                let grant = self.grant_live(session, &items, &choices);
                self.settle(ticket, Ok(Outcome::Granted(grant)));
                Verdict::Settled
            }
            Err(denial) if self.may_wait(session, &items, &denial) => {
                let never = self.asking(&holder).never(&items);
                if let Some(never) = never {
                    self.settle(ticket, Err(never));
                    return Verdict::Settled;
                }
                let held_back = self.is_held_back(session, &items, &denial);
                if self.queue.hold_back(ticket, held_back) {
                    self.records.touch(RecordKey::Waiting(ticket));
                    // Nobody waits for him any more.
                    if held_back {
                        self.freed.features.extend(lines);
                    }
                }
                if held_back { Verdict::HeldBack } else { Verdict::Waits }
            }
            Err(denial) => {
                self.settle(ticket, Err(denial));
                Verdict::Settled
            }
        }
    }
}
