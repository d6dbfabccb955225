//! A ledger that an administrator could keep on paper: who holds how many seats
//! of what, who waits, and what was lent until when. It replays the committed
//! log and says what must have been answered.
//!
//! It knows one license with one counted line for each feature; MAX and
//! PRIORITY for a user or for each user, RESERVE for a user, and IDLE TIMEOUT;
//! no overdraft, linger, sharing, tokens, versions, named users or blocks. It
//! shares no line with `triad-ledger` but the shape of the commands, and is slow
//! where that makes it plain.

use std::collections::{BTreeMap, BTreeSet};

use triad_ledger::names::SessionId;
use triad_ledger::policy::{Policy, RuleKind, Subject};
use triad_ledger::rights::License;
use triad_ledger::{At, Command, QueueWait};
use triad_proto::v1::Reason;

use super::items_of_command;
use super::reply::{Items, Reply};

/// See the module.
#[derive(Clone, Default)]
pub struct Model {
    cluster_ms: u64,
    date_ms: u64,
    license: Option<License>,
    features: BTreeMap<String, Feature>,
    policy: Option<Policy>,
    sessions: BTreeMap<SessionId, Open>,
    ended: BTreeSet<SessionId>,
    held: BTreeMap<u64, Held>,
    last_checkout: u64,
    /// In the order of their arrival.
    waiting: BTreeMap<u64, Waits>,
    last_ticket: u64,
    /// Lines in which somebody may be served since they were last looked at. Who
    /// waits for his own MAX was found to do so when his line was looked at, so
    /// when that is done matters.
    freed: BTreeSet<String>,
    settled: Vec<Settled>,
    /// Some administrator's token is known.
    is_founded: bool,
}

#[derive(Clone)]
struct Feature {
    seats: u64,
    expires_ms: Option<u64>,
    borrow_max_ms: Option<u64>,
}

impl Feature {
    fn ended_between(&self, before_ms: u64, now_ms: u64) -> bool {
        self.expires_ms.is_some_and(|end| before_ms < end && end <= now_ms)
    }
}

#[derive(Clone)]
struct Open {
    user: String,
    host: String,
    idle_since_ms: Option<u64>,
    /// When the ledger was told so; it may be over by then.
    idle_noted_ms: u64,
    acknowledged: u64,
    told: BTreeMap<u64, Reply>,
}

/// Seats that are held.
#[derive(Clone, Debug)]
pub struct Held {
    /// By whom; a loan may outlive it.
    pub session: SessionId,
    /// Of which user.
    pub user: String,
    host: String,
    /// What.
    pub items: Items,
    /// When a loan comes back, ms since 1970 UTC.
    pub lent_until_ms: Option<u64>,
}

#[derive(Clone)]
struct Waits {
    session: SessionId,
    request: u64,
    user: String,
    items: Items,
    priority: u32,
    until_ms: Option<u64>,
    /// It waits for its own MAX, and is in nobody's way.
    held_back: bool,
}

/// The final answer to a request that waited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub request: u64,
    /// What it is told.
    pub reply: Reply,
}

impl Model {
    /// Follows one command; what it must have been answered. Requests that
    /// waited and are answered by it are in [`Model::take_settled`].
    pub fn apply(&mut self, at: At, command: &Command) -> Reply {
        let before_ms = self.date_ms;
        self.cluster_ms = self.cluster_ms.max(at.cluster_ms);
        self.date_ms = self.date_ms.max(at.date_ms);
        self.end_what_is_due(before_ms);
        self.serve();
        let reply = self.obey(at.term, command);
        self.serve();
        reply
    }

    /// The requests that were answered late since this was last asked.
    pub fn take_settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }

    /// Everything that is held, by its number.
    pub fn held(&self) -> &BTreeMap<u64, Held> {
        &self.held
    }

    /// Whether the request waits, and its place in the queue, from 1.
    pub fn place(&self, session: SessionId, request: u64) -> Option<u64> {
        let mut all = self.waiting.iter();
        let (ticket, _) =
            all.find(|(_, waits)| (waits.session, waits.request) == (session, request))?;
        Some(self.position(*ticket))
    }

    /// Something that should have ended by this cluster time, if nothing but the
    /// clock were needed for it.
    pub fn overdue(&self, cluster_ms: u64) -> Option<String> {
        let waits = self.waiting.iter().find_map(|(ticket, waits)| {
            let until = waits.until_ms.filter(|until| *until <= cluster_ms)?;
            Some(format!("request {} (ticket {ticket}) waits until {until}", waits.request))
        });
        let idle = || {
            self.held.iter().find_map(|(id, held)| {
                let open = self.sessions.get(&held.session)?;
                let until = open.idle_since_ms? + self.idle_timeout_ms(&held.items)?;
                let until = until.max(open.idle_noted_ms);
                let is_over = held.lent_until_ms.is_none() && until <= cluster_ms;
                is_over.then(|| format!("checkout {id} lies idle, and ends at {until}"))
            })
        };
        waits.or_else(idle)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Seats of a feature that are held and that are licensed.
    pub fn seats(&self, feature: &str) -> (u64, u64) {
        let licensed = self.features.get(feature).map_or(0, |feature| feature.seats);
        (self.in_use(feature, None), licensed)
    }

    /// The features of the license in force.
    pub fn features(&self) -> impl Iterator<Item = &str> {
        self.features.keys().map(String::as_str)
    }

    /// The number of the last checkout that was granted, to be told what is new
    /// from what is told again.
    pub fn last_checkout(&self) -> u64 {
        self.last_checkout
    }

    /// The sessions that are open.
    pub fn sessions(&self) -> impl Iterator<Item = SessionId> + '_ {
        self.sessions.keys().copied()
    }

    /// Whether the session is open.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.sessions.contains_key(&session)
    }

    fn obey(&mut self, term: u64, command: &Command) -> Reply {
        match command {
            Command::Open { session, holder, resume, .. } => {
                let (user, host) = (holder.user.as_str(), holder.host.as_str());
                self.open(*session, user, host, *resume)
            }
            Command::Checkout { session, request, answered_through, items, wait } => {
                self.once(*session, request.0, answered_through.0, |model| {
                    model.checkout(*session, request.0, items_of_command(items), *wait)
                })
            }
            Command::Checkin { session, request, answered_through, checkout } => {
                self.once(*session, request.0, answered_through.0, |model| {
                    model.give_back(*session, checkout.0)
                })
            }
            Command::Borrow { session, request, answered_through, items, until_ms } => {
                self.once(*session, request.0, answered_through.0, |model| {
                    model.borrow(*session, items_of_command(items), *until_ms)
                })
            }
            Command::Close { session } => self.end(*session),
            Command::End { term: of, .. } if *of != term => Reply::Void,
            Command::End { session, .. } => self.end(*session),
            Command::Suspect { term: of, .. } if *of != term => Reply::Void,
            Command::Suspect { session, .. } | Command::Unsuspect { session } => {
                match self.is_open(*session) {
                    true => Reply::Noted,
                    false => Reply::Denied(Reason::SessionUnknown),
                }
            }
            Command::Cancel { session, request, answered } => {
                self.cancel(*session, request.0, *answered)
            }
            Command::Idle { session, since_ms } => {
                let now_ms = self.cluster_ms;
                let Some(open) = self.sessions.get_mut(session) else {
                    return Reply::Denied(Reason::SessionUnknown);
                };
                open.idle_since_ms = since_ms.map(|since| since.min(now_ms));
                open.idle_noted_ms = now_ms;
                Reply::Noted
            }
            Command::Install { license } => self.install(license),
            Command::SetPolicy { policy } => self.set_policy(policy),
            Command::Revoke { checkout, .. } => match self.held.get(&checkout.0) {
                None => Reply::Denied(Reason::CheckoutUnknown),
                Some(Held { lent_until_ms: Some(_), .. }) => Reply::Denied(Reason::BorrowedAway),
                Some(_) => {
                    self.release(checkout.0);
                    Reply::Returned { was_held: true }
                }
            },
            // Of nodes that agree there are no epochs; those of a pair are checked elsewhere.
            Command::BeginEpoch { .. } | Command::Adopt { .. } => Reply::Noted,
            // Administrators have the rights that they need; who has not is not asked about.
            Command::By { command, .. } => self.obey(term, command),
            // The first token counts, whichever node notes it first.
            Command::FoundToken { .. } => match std::mem::replace(&mut self.is_founded, true) {
                true => Reply::Void,
                false => Reply::Noted,
            },
            Command::CreateToken { .. }
            | Command::RevokeToken { .. }
            | Command::NoteUse { .. }
            | Command::NoteDeed { .. } => Reply::Noted,
            // Which rules are in use is not asked about either.
            Command::RaiseRules { .. } => Reply::Noted,
            Command::MarkLost { .. } | Command::Tick | Command::Compare { .. } => Reply::Noted,
        }
    }

    /// Rights that are over, loans that come back, seats that lie idle, and
    /// requests that have waited long enough.
    fn end_what_is_due(&mut self, before_ms: u64) {
        let (now_ms, date_ms) = (self.cluster_ms, self.date_ms);
        let over = |(name, _): &(String, u64)| {
            let right = self.features.get(name);
            right.and_then(|right| right.expires_ms).is_some_and(|end| end <= date_ms)
        };
        let idle = |id: &u64, held: &Held| {
            let since = self.sessions.get(&held.session).and_then(|open| open.idle_since_ms);
            held.lent_until_ms.is_none()
                && since
                    .zip(self.idle_timeout_ms(&held.items))
                    .is_some_and(|(since, timeout)| since + timeout <= now_ms)
                && self.held.contains_key(id)
        };
        let due = self.held.iter().filter(|(id, held)| {
            // What is lent outlasts its right: its machine may use it.
            (held.lent_until_ms.is_none() && held.items.iter().any(over))
                || held.lent_until_ms.is_some_and(|until| until <= date_ms)
                || idle(id, held)
        });
        for id in due.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.release(id);
        }
        let late = self
            .waiting
            .iter()
            .filter(|(_, waits)| waits.until_ms.is_some_and(|until| until <= now_ms));
        let mut late: Vec<_> = late.map(|(ticket, waits)| (waits.until_ms, *ticket)).collect();
        late.sort_unstable();
        for (_, ticket) in late {
            self.settle(ticket, Reply::Denied(Reason::QueueTimedOut));
        }
        if self.features.values().any(|right| right.ended_between(before_ms, date_ms)) {
            self.rights_have_changed();
        }
    }

    /// Some may wait in vain from now on, and others may be served.
    fn rights_have_changed(&mut self) {
        self.deny_the_hopeless(|model, waits| model.never(&waits.user, &waits.items));
        self.freed.extend(self.features.keys().cloned());
    }

    fn release(&mut self, checkout: u64) {
        if let Some(held) = self.held.remove(&checkout) {
            self.freed.extend(held.items.into_iter().map(|(feature, _)| feature));
        }
    }

    fn is_expired(&self, feature: &str) -> bool {
        let end = self.features.get(feature).and_then(|feature| feature.expires_ms);
        end.is_some_and(|end| end <= self.date_ms)
    }

    /// A request that is asked again gets its first answer, until its client
    /// has said that it has it.
    fn once(
        &mut self,
        session: SessionId,
        request: u64,
        answered_through: u64,
        decide: impl FnOnce(&mut Self) -> Reply,
    ) -> Reply {
        let place = self.place(session, request);
        let Some(open) = self.sessions.get_mut(&session) else {
            return Reply::Denied(Reason::SessionUnknown);
        };
        let before = open.acknowledged;
        if answered_through > before {
            open.acknowledged = answered_through;
            open.told.retain(|told, _| *told <= before || *told > answered_through);
        }
        let known = open.told.contains_key(&request) || request <= open.acknowledged;
        if let Some(place) = place.filter(|_| known) {
            return Reply::Queued { place };
        }
        if let Some(told) = open.told.get(&request) {
            return told.clone();
        }
        if known {
            return Reply::Denied(Reason::RequestForgotten);
        }
        let reply = decide(self);
        if let Some(open) = self.sessions.get_mut(&session) {
            open.told.insert(request, reply.clone());
        }
        reply
    }

    fn open(&mut self, id: SessionId, user: &str, host: &str, resume: bool) -> Reply {
        if let Some(open) = self.sessions.get(&id) {
            if (open.user.as_str(), open.host.as_str()) != (user, host) {
                return Reply::Denied(Reason::SessionTaken);
            }
            let own =
                |(_, held): &(&u64, &Held)| held.session == id && held.lent_until_ms.is_none();
            let checkouts = self.held.iter().filter(own).map(|(id, _)| *id).collect();
            return Reply::Opened { checkouts };
        }
        if resume || self.ended.contains(&id) {
            return Reply::Denied(Reason::SessionUnknown);
        }
        let open = Open {
            user: user.to_owned(),
            host: host.to_owned(),
            idle_since_ms: None,
            idle_noted_ms: 0,
            acknowledged: 0,
            told: BTreeMap::new(),
        };
        self.sessions.insert(id, open);
        Reply::Opened { checkouts: Vec::new() }
    }

    fn end(&mut self, id: SessionId) -> Reply {
        if self.sessions.remove(&id).is_none() {
            return Reply::Ended { was_open: false };
        }
        self.ended.insert(id);
        let own = self.held.iter().filter(|(_, held)| held.session == id);
        let own = own.filter(|(_, held)| held.lent_until_ms.is_none()).map(|(id, _)| *id);
        for checkout in own.collect::<Vec<_>>() {
            self.release(checkout);
        }
        for waits in self.waiting.values().filter(|waits| waits.session == id) {
            self.freed.extend(waits.items.iter().map(|(feature, _)| feature.clone()));
        }
        self.waiting.retain(|_, waits| waits.session != id);
        Reply::Ended { was_open: true }
    }

    fn checkout(
        &mut self,
        session: SessionId,
        request: u64,
        items: Items,
        wait: Option<QueueWait>,
    ) -> Reply {
        let user = self.sessions[&session].user.clone();
        let wait = wait.filter(|wait| wait.timeout_ms != Some(0));
        let own = self.priority(&user, &items);
        let priority = wait.map(|wait| own.min(wait.priority.unwrap_or(u32::MAX)));
        let place = priority.map(|priority| (priority, self.last_ticket + 1));
        let reason = match self.may_have(&user, &items, place) {
            Ok(()) => return self.grant(session, items, None),
            Err(reason) => reason,
        };
        let Some((wait, priority)) = wait.zip(priority).filter(|_| may_pass(reason)) else {
            return Reply::Denied(reason);
        };
        if let Some(never) = self.never(&user, &items) {
            return Reply::Denied(never);
        }
        self.last_ticket += 1;
        let waits = Waits {
            session,
            request,
            user,
            items,
            priority,
            until_ms: wait.timeout_ms.map(|timeout| self.cluster_ms + timeout),
            held_back: reason == Reason::PolicyMax,
        };
        self.waiting.insert(self.last_ticket, waits);
        Reply::Queued { place: self.position(self.last_ticket) }
    }

    fn borrow(&mut self, session: SessionId, items: Items, until_ms: u64) -> Reply {
        let user = self.sessions[&session].user.clone();
        for (name, seats) in &items {
            let Some(feature) = self.features.get(name) else {
                return Reply::Denied(Reason::FeatureUnknown);
            };
            if self.is_expired(name) {
                return Reply::Denied(Reason::FeatureExpired);
            }
            let Some(max_ms) = feature.borrow_max_ms else {
                return Reply::Denied(Reason::BorrowOff);
            };
            let left_ms = feature.expires_ms.map_or(u64::MAX, |end| end - self.date_ms);
            if until_ms.saturating_sub(self.date_ms) > max_ms.min(left_ms) {
                return Reply::Denied(Reason::BorrowTooLong);
            }
            if let Err(reason) = self.room_for(&user, name, *seats) {
                return Reply::Denied(reason);
            }
        }
        match self.may_have(&user, &items, None) {
            Ok(()) => self.grant(session, items, Some(until_ms)),
            Err(reason) => Reply::Denied(reason),
        }
    }

    fn grant(&mut self, session: SessionId, items: Items, lent_until_ms: Option<u64>) -> Reply {
        self.last_checkout += 1;
        let checkout = self.last_checkout;
        let open = self.sessions.get_mut(&session).expect("who is granted seats is there");
        if lent_until_ms.is_none() {
            open.idle_since_ms = None;
        }
        let (user, host) = (open.user.clone(), open.host.clone());
        for (feature, _) in &items {
            // Who draws from a reservation is reckoned anew, and may leave more.
            if self.is_reserved(feature) {
                self.freed.insert(feature.clone());
            }
        }
        let held = Held { session, user, host, items: items.clone(), lent_until_ms };
        self.held.insert(checkout, held);
        match lent_until_ms {
            None => Reply::Granted { checkout, items },
            Some(until_ms) => Reply::Borrowed { checkout, items, until_ms },
        }
    }

    fn give_back(&mut self, session: SessionId, checkout: u64) -> Reply {
        let open = &self.sessions[&session];
        let was_held = self.held.get(&checkout).is_some_and(|held| match held.lent_until_ms {
            None => held.session == session,
            Some(_) => held.user == open.user && held.host == open.host,
        });
        if was_held {
            self.release(checkout);
        }
        Reply::Returned { was_held }
    }

    fn cancel(&mut self, session: SessionId, request: u64, answered: bool) -> Reply {
        if answered {
            if let Some(open) = self.sessions.get_mut(&session)
                && request <= open.acknowledged
            {
                open.told.remove(&request);
            }
            return Reply::Cancelled { was_queued: false };
        }
        let mut all = self.waiting.iter();
        let ticket = all.find(|(_, waits)| (waits.session, waits.request) == (session, request));
        let Some((&ticket, _)) = ticket else {
            return Reply::Cancelled { was_queued: false };
        };
        self.settle(ticket, Reply::Denied(Reason::Cancelled));
        Reply::Cancelled { was_queued: true }
    }

    fn install(&mut self, license: &License) -> Reply {
        if let Some(old) = &self.license {
            if (old.serial, &old.text) == (license.serial, &license.text) {
                return Reply::InForce { changed: false, overage: self.overage() };
            }
            if old.serial >= license.serial {
                return Reply::Denied(Reason::LicenseSuperseded);
            }
        }
        self.license = Some(license.clone());
        let feature = |line: &triad_ledger::rights::Line| Feature {
            seats: line.seats.into(),
            expires_ms: line.expires_ms,
            borrow_max_ms: line.terms.borrow_max_ms,
        };
        let lines = license.lines.iter();
        self.features =
            lines.map(|line| (line.feature.as_str().to_owned(), feature(line))).collect();
        self.rights_have_changed();
        Reply::InForce { changed: true, overage: self.overage() }
    }

    fn set_policy(&mut self, policy: &Policy) -> Reply {
        if let Some(old) = &self.policy {
            if old == policy {
                return Reply::InForce { changed: false, overage: 0 };
            }
            if old.version >= policy.version {
                return Reply::Denied(Reason::PolicySuperseded);
            }
        }
        self.policy = Some(policy.clone());
        self.rights_have_changed();
        Reply::InForce { changed: true, overage: 0 }
    }

    fn overage(&self) -> u64 {
        let beyond = |(name, feature): (&String, &Feature)| {
            self.in_use(name, None).saturating_sub(feature.seats)
        };
        self.features.iter().map(beyond).sum()
    }

    /// Seats of a feature that are held, by everybody or by one user.
    fn in_use(&self, feature: &str, user: Option<&str>) -> u64 {
        let his = self.held.values().filter(|held| user.is_none_or(|user| held.user == user));
        let items = his.flat_map(|held| &held.items);
        items.filter(|(name, _)| name == feature).map(|(_, seats)| seats).sum()
    }

    /// What the rules of the policy say of a feature, each with whom it means.
    fn rules<'a>(
        &'a self,
        feature: &'a str,
    ) -> impl DoubleEndedIterator<Item = (RuleKind, &'a Subject)> + 'a {
        let rules = self.policy.iter().flat_map(|policy| &policy.rules);
        let about = move |rule: &&triad_ledger::policy::Rule| {
            rule.selector.as_ref().is_none_or(|about| about.feature.as_str() == feature)
        };
        rules.filter(about).map(|rule| (rule.kind, &rule.subject))
    }

    /// The seats that the policy keeps of a feature: for whom, and how many. What
    /// the license has no seats for is not kept; the first come first.
    fn reserved(&self, feature: &str) -> Vec<(String, u64)> {
        let mut left = self.features.get(feature).map_or(0, |feature| feature.seats);
        let mut reserved = Vec::new();
        for (kind, subject) in self.rules(feature) {
            if let (RuleKind::Reserve(seats), Subject::User(user)) = (kind, subject) {
                let seats = u64::from(seats.get()).min(left);
                left -= seats;
                reserved.push((user.as_str().to_owned(), seats));
            }
        }
        reserved
    }

    /// Of what lies free, how much is kept for this user and how much for others;
    /// `alone`: if nobody held anything.
    fn kept(&self, feature: &str, user: &str, alone: bool) -> (u64, u64) {
        let licensed = self.features.get(feature).map_or(0, |feature| feature.seats);
        let in_use = |who: Option<&str>| if alone { 0 } else { self.in_use(feature, who) };
        let mut free = licensed.saturating_sub(in_use(None));
        let (mut for_user, mut for_others) = (0, 0);
        for (whose, seats) in self.reserved(feature) {
            let left = seats.saturating_sub(in_use(Some(&whose))).min(free);
            free -= left;
            if whose == user { for_user += left } else { for_others += left }
        }
        (for_user, for_others)
    }

    fn max(&self, feature: &str, user: &str) -> Option<u64> {
        let mut of_user = None;
        let mut of_each = None;
        for (kind, subject) in self.rules(feature) {
            match (kind, subject) {
                (RuleKind::Max(max), Subject::User(whose)) if whose.as_str() == user => {
                    of_user = Some(u64::from(max));
                }
                (RuleKind::Max(max), Subject::EachUser) => of_each = Some(u64::from(max)),
                _ => {}
            }
        }
        of_user.or(of_each)
    }

    fn priority(&self, user: &str, items: &Items) -> u32 {
        let of_item = |(feature, _): &(String, u64)| {
            let mut found = 0;
            for (kind, subject) in self.rules(feature) {
                if let (RuleKind::Priority(priority), Subject::User(whose)) = (kind, subject)
                    && whose.as_str() == user
                {
                    found = priority;
                }
            }
            found
        };
        items.iter().map(of_item).max().unwrap_or(0)
    }

    fn idle_timeout_ms(&self, items: &Items) -> Option<u64> {
        let of_item = |(feature, _): &(String, u64)| {
            let mut timeouts = self.rules(feature).filter_map(|(kind, _)| match kind {
                RuleKind::IdleTimeoutMs(ms) => Some(ms),
                _ => None,
            });
            timeouts.next_back()
        };
        items.iter().filter_map(of_item).min()
    }

    /// Whether so many seats of a feature are there for this user, queue aside.
    fn room_for(&self, user: &str, feature: &str, seats: u64) -> Result<(), Reason> {
        let Some(right) = self.features.get(feature) else {
            return Err(Reason::FeatureUnknown);
        };
        if self.is_expired(feature) {
            return Err(Reason::FeatureExpired);
        }
        let free = right.seats.saturating_sub(self.in_use(feature, None));
        let (_, for_others) = self.kept(feature, user, false);
        if seats > free.saturating_sub(for_others) {
            return Err(match () {
                () if seats > right.seats => Reason::CountExceedsTotal,
                () if seats <= free => Reason::AllReserved,
                () => Reason::LicensesExhausted,
            });
        }
        let max = self.max(feature, user).unwrap_or(u64::MAX);
        if self.in_use(feature, Some(user)) + seats > max {
            return Err(Reason::PolicyMax);
        }
        Ok(())
    }

    /// Whether all of it is there, and nobody waits for it who comes first: at
    /// this place in the queue, or behind everybody.
    fn may_have(&self, user: &str, items: &Items, at: Option<(u32, u64)>) -> Result<(), Reason> {
        for (feature, seats) in items {
            self.room_for(user, feature, *seats)?;
        }
        for (feature, seats) in items {
            let (for_user, _) = self.kept(feature, user, false);
            let first = self.waiting.iter().any(|(ticket, waits)| {
                let before = at.is_none_or(|at| goes_before((waits.priority, *ticket), at));
                before && !waits.held_back && wants(&waits.items, feature)
            });
            if first && for_user < *seats {
                return Err(Reason::QueueNonempty);
            }
        }
        Ok(())
    }

    /// Why waiting is of no use: it could not be granted if nobody held anything.
    fn never(&self, user: &str, items: &Items) -> Option<Reason> {
        for (feature, seats) in items {
            let Some(right) = self.features.get(feature) else {
                return Some(Reason::FeatureUnknown);
            };
            if self.is_expired(feature) {
                return Some(Reason::FeatureExpired);
            }
            if *seats > right.seats {
                return Some(Reason::CountExceedsTotal);
            }
            let (_, for_others) = self.kept(feature, user, true);
            if *seats > right.seats.saturating_sub(for_others) {
                return Some(Reason::AllReserved);
            }
            if *seats > self.max(feature, user).unwrap_or(u64::MAX) {
                return Some(Reason::PolicyMax);
            }
        }
        None
    }

    /// Tells those who would wait for ever.
    fn deny_the_hopeless(&mut self, why: impl Fn(&Self, &Waits) -> Option<Reason>) {
        let hopeless = |(ticket, waits): (&u64, &Waits)| Some((*ticket, why(self, waits)?));
        for (ticket, reason) in self.waiting.iter().filter_map(hopeless).collect::<Vec<_>>() {
            self.settle(ticket, Reply::Denied(reason));
        }
    }

    fn settle(&mut self, ticket: u64, reply: Reply) {
        let waits = self.waiting.remove(&ticket).expect("it waits");
        let Waits { session, request, items, .. } = waits;
        self.freed.extend(items.into_iter().map(|(feature, _)| feature));
        let open = self.sessions.get_mut(&session).expect("who waits is there");
        open.told.insert(request, reply.clone());
        self.settled.push(Settled { session, request, reply });
    }

    fn position(&self, ticket: u64) -> u64 {
        let own = &self.waiting[&ticket];
        let place = (own.priority, ticket);
        let ahead = |(feature, _): &(String, u64)| {
            let before = self.waiting.iter().filter(|(other, waits)| {
                goes_before((waits.priority, **other), place) && wants(&waits.items, feature)
            });
            before.count() as u64
        };
        1 + own.items.iter().map(ahead).max().unwrap_or(0)
    }

    fn is_reserved(&self, feature: &str) -> bool {
        self.reserved(feature).iter().any(|(_, seats)| *seats > 0)
    }

    /// Grants what is free to those who wait for it: line by line, in the order
    /// of each, until nobody can be served.
    fn serve(&mut self) {
        if self.waiting.is_empty() {
            self.freed.clear();
        }
        while let Some(feature) = self.freed.pop_first() {
            let line = self.waiting.iter().filter(|(_, waits)| wants(&waits.items, &feature));
            let mut line: Vec<_> = line.map(|(ticket, waits)| (waits.priority, *ticket)).collect();
            line.sort_by_key(|(priority, ticket)| (std::cmp::Reverse(*priority), *ticket));
            let passing = self.is_reserved(&feature);
            for place in line {
                if !self.look_at(place) && !passing {
                    break;
                }
            }
        }
    }

    /// False if it waits for a seat, and so do those behind it.
    fn look_at(&mut self, place: (u32, u64)) -> bool {
        let (_, ticket) = place;
        let waits = self.waiting[&ticket].clone();
        let reason = match self.may_have(&waits.user, &waits.items, Some(place)) {
            Ok(()) => {
                let reply = self.grant(waits.session, waits.items, None);
                self.settle(ticket, reply);
                return true;
            }
            Err(reason) => reason,
        };
        let never = self.never(&waits.user, &waits.items);
        if let Some(reason) = never.or((!may_pass(reason)).then_some(reason)) {
            self.settle(ticket, Reply::Denied(reason));
            return true;
        }
        let held_back = reason == Reason::PolicyMax;
        self.waiting.get_mut(&ticket).expect("it waits").held_back = held_back;
        if held_back && !waits.held_back {
            // It has stepped aside: those behind it are to be looked at.
            self.freed.extend(waits.items.into_iter().map(|(feature, _)| feature));
        }
        held_back
    }
}

fn wants(items: &Items, feature: &str) -> bool {
    items.iter().any(|(name, _)| name == feature)
}

fn goes_before(one: (u32, u64), other: (u32, u64)) -> bool {
    one.0 > other.0 || (one.0 == other.0 && one.1 < other.1)
}

fn may_pass(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::LicensesExhausted | Reason::AllReserved | Reason::QueueNonempty | Reason::PolicyMax
    )
}
