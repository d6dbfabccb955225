//! A checker that knows the promises and not the ledger: it watches commands,
//! answers, events and pools go by, and says which promise was broken. Its
//! numbers are those of the design.

use std::collections::{BTreeMap, BTreeSet};

use triad_ledger::names::{CheckoutId, FeatureName, Label, PoolId, RequestId, SessionId};
use triad_ledger::policy::{Policy, RuleKind, Subject};
use triad_ledger::rights::Share;
use triad_ledger::{
    Answer, At, Auditor, ChainHash, Command, Denial, EndReason, Event, GrantedItem, Happening,
    Holder, Outcome, Pool, PoolUse, Role, TokenId, encode_event,
};

/// One entry of the log, and what came of it.
#[derive(Clone)]
pub struct Step {
    pub at: At,
    pub command: Command,
    pub answer: Answer,
    pub events: Vec<Event>,
    pub pools: BTreeMap<PoolId, Pool>,
}

/// What was seen so far.
#[derive(Default)]
pub struct History {
    sequence: u64,
    last: At,
    pools: BTreeMap<PoolId, Pool>,
    open: BTreeSet<SessionId>,
    ended: BTreeSet<SessionId>,
    told: BTreeMap<(SessionId, RequestId), Answer>,
    /// Everything granted and not returned: whose, and which seats.
    held: BTreeMap<CheckoutId, (SessionId, Vec<GrantedItem>)>,
    /// What no session keeps: it lingers or is borrowed.
    away: BTreeSet<CheckoutId>,
    /// Until when what lingers does, in cluster time.
    lingers: BTreeMap<CheckoutId, u64>,
    waiting: BTreeSet<(SessionId, RequestId)>,
    last_checkout: u64,
    policy: Option<Policy>,
    audit: Audited,
    /// The tokens that are known: what they are good for, and until when.
    tokens: BTreeMap<TokenId, (Role, Option<u64>)>,
    date_ms: u64,
    /// The rules in use; of those before the second nothing here depends.
    rules: u32,
}

/// The auditor of the history, who is to find nothing.
struct Audited(Auditor);

impl Default for Audited {
    fn default() -> Self {
        Audited(Auditor::new(0, ChainHash::default()))
    }
}

impl History {
    /// Takes one step into account.
    ///
    /// # Errors
    ///
    /// The promise that it breaks.
    pub fn observe(&mut self, step: &Step) -> Result<(), String> {
        let obeyed = match &step.command {
            Command::By { command, .. } => command,
            command => command,
        };
        if let (Command::RaiseRules { rules }, Ok(_)) = (obeyed, &step.answer) {
            self.rules = self.rules.max(*rules);
        }
        for event in &step.events {
            self.check_order(event)?;
            self.account(step, event)?;
        }
        self.check_never_oversold(step)?;
        self.check_asked_by(step)?;
        self.check_exactly_once(step)?;
        self.check_held(step)?;
        self.check_own_right_first(step)?;
        self.check_audit(step)?;
        self.pools = step.pools.clone();
        Ok(())
    }

    /// What the events say of the pools is how they stand, and who reads the
    /// events alone comes to the same count.
    fn check_audit(&mut self, step: &Step) -> Result<(), String> {
        let mut last: BTreeMap<PoolId, &PoolUse> = BTreeMap::new();
        for event in &step.events {
            self.audit.0.observe(&encode_event(event));
            last.extend(event.pools.iter().map(|stands| (stands.pool, stands)));
        }
        for (id, stands) in last {
            let held = step.pools.get(&id).map_or(0, |pool| pool.held);
            if stands.held != held {
                return Err(format!("event says {stands:?}, {held} are held"));
            }
        }
        let faults = self.audit.0.faults();
        if faults.is_empty() { Ok(()) } else { Err(format!("audit: {faults:?}")) }
    }

    /// Nothing is done for somebody whose token is not known, not good for it or over,
    /// and what is done bears its name.
    fn check_asked_by(&mut self, step: &Step) -> Result<(), String> {
        self.date_ms = self.date_ms.max(step.at.date_ms);
        let date_ms = self.date_ms;
        match &step.command {
            Command::By { token, command } => {
                let needed = match **command {
                    Command::NoteDeed { .. } if self.rules < 2 => Role::Viewer,
                    Command::NoteDeed { .. } | Command::Revoke { .. } => Role::Operator,
                    _ => Role::Admin,
                };
                let may = self.tokens.get(token).is_some_and(|(role, expires_ms)| {
                    *role >= needed && expires_ms.is_none_or(|end| date_ms < end)
                });
                let refused = matches!(
                    step.answer,
                    Err(Denial::TokenUnknown { token: of }
                        | Denial::TokenExpired { token: of }
                        | Denial::RoleNeeded { token: of, .. }) if of == *token
                );
                // To take away a token that is not there is no question of rights.
                let gone = matches!(**command, Command::RevokeToken { token: of } if of == *token);
                if may == refused && !gone {
                    return Err(format!("{token} may: {may}, and was answered {:?}", step.answer));
                }
                let acts = |event: &&Event| match event.what {
                    Happening::Administered { .. }
                    | Happening::TokenCreated { .. }
                    | Happening::TokenRevoked { .. }
                    | Happening::Revoked { .. } => true,
                    _ => event.by.is_some(),
                };
                for event in step.events.iter().filter(acts) {
                    if !may || event.by.as_ref().map(|actor| actor.token) != Some(*token) {
                        return Err(format!("asked by {token}, done as {:?}", event.by));
                    }
                }
            }
            _ if step.events.iter().any(|event| event.by.is_some()) => {
                return Err("nobody asked, and a name is under it".to_owned());
            }
            _ => {}
        }
        if let Command::FoundToken { hash } = &step.command
            && self.tokens.is_empty()
        {
            self.tokens.insert(TokenId::of(hash), (Role::Admin, None));
        }
        for event in &step.events {
            match &event.what {
                Happening::TokenCreated { token, role, expires_ms, .. } => {
                    self.tokens.insert(*token, (*role, *expires_ms));
                }
                Happening::TokenRevoked { token, .. } => {
                    let last = (Role::Admin, None);
                    let revoked = self.tokens.remove(token);
                    if revoked == Some(last) && !self.tokens.values().any(|token| *token == last) {
                        return Err("nobody is left who may administer".to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// P9: events are counted without gaps, and time does not run backwards.
    fn check_order(&mut self, event: &Event) -> Result<(), String> {
        self.sequence += 1;
        if event.sequence != self.sequence {
            return Err(format!("event {} instead of {}", event.sequence, self.sequence));
        }
        let At { index, cluster_ms, date_ms, .. } = event.at;
        let last = self.last;
        if index < last.index || cluster_ms < last.cluster_ms || date_ms < last.date_ms {
            return Err(format!("P9: {:?} came after {last:?}", event.at));
        }
        self.last = event.at;
        Ok(())
    }

    fn account(&mut self, step: &Step, event: &Event) -> Result<(), String> {
        match &event.what {
            Happening::Opened { session, .. } => {
                if !self.open.insert(*session) {
                    return Err(format!("{session:?} was opened twice"));
                }
                if self.ended.contains(session) {
                    return Err(format!("P3: {session:?} was opened again after its end"));
                }
            }
            Happening::Ended { session, .. } => {
                if !self.open.remove(session) {
                    return Err(format!("{session:?} ended and was not open"));
                }
                if let Command::End { term, .. } = step.command
                    && term != step.at.term
                {
                    return Err(format!("P4: {session:?} was ended by a leader of term {term}"));
                }
                let left = self
                    .held
                    .iter()
                    .find(|(id, (whose, _))| whose == session && !self.away.contains(*id));
                if let Some((id, _)) = left {
                    return Err(format!("{id:?} outlives its session"));
                }
                self.ended.insert(*session);
            }
            Happening::Granted { session, checkout, items } => {
                if !self.open.contains(session) {
                    return Err(format!("P4: {checkout:?} was granted to a session not open"));
                }
                if checkout.0 <= self.last_checkout {
                    return Err(format!("P3: {checkout:?} was granted before"));
                }
                self.last_checkout = checkout.0;
                self.held.insert(*checkout, (*session, items.clone()));
            }
            Happening::Moved { session, checkout, items } => {
                let seats = |items: &[GrantedItem]| -> Vec<_> {
                    items.iter().map(|item| (item.feature.clone(), item.seats)).collect()
                };
                self.check_terms(step, event, *checkout, items)?;
                let held = self.held.get_mut(checkout);
                match held
                    .filter(|(whose, before)| whose == session && seats(before) == seats(items))
                {
                    Some((_, held)) if held != items => held.clone_from(items),
                    before => {
                        return Err(format!("{checkout:?} moved from {before:?} to {items:?}"));
                    }
                }
            }
            Happening::Returned { session, checkout, reason } => {
                if *reason == EndReason::Lingered {
                    self.check_linger(step, event, *checkout)?;
                }
                let whose = self.held.remove(checkout).map(|(whose, _)| whose);
                if whose != Some(*session) {
                    return Err(format!("{checkout:?} returned, held by {whose:?}"));
                }
            }
            Happening::Borrowed { session, checkout, items, .. } => {
                if !self.open.contains(session) || checkout.0 <= self.last_checkout {
                    return Err(format!("P3: {checkout:?} was borrowed by nobody, or twice"));
                }
                self.last_checkout = checkout.0;
                self.away.insert(*checkout);
                self.held.insert(*checkout, (*session, items.clone()));
            }
            Happening::Lingering { session, checkout, items, until_ms } => {
                self.lingers.insert(*checkout, *until_ms);
                let Some((whose, held)) = self.held.get_mut(checkout) else {
                    return Err(format!("{checkout:?} lingers and was not held"));
                };
                if whose != session || items.iter().any(|item| !held.contains(item)) {
                    return Err(format!("{checkout:?} lingers as {items:?}, held {held:?}"));
                }
                held.clone_from(items);
                self.away.insert(*checkout);
            }
            Happening::Queued { session, request, .. } => {
                if !self.waiting.insert((*session, *request)) {
                    return Err(format!("{session:?} waits twice for {request:?}"));
                }
            }
            Happening::Settled { session, request, answer } => {
                if !self.waiting.remove(&(*session, *request)) {
                    return Err(format!("{session:?} did not wait for {request:?}"));
                }
                self.told.insert((*session, *request), answer.clone());
            }
            Happening::PolicySet { .. } => {
                if let Command::SetPolicy { policy } = &step.command {
                    self.policy = Some(policy.clone());
                }
            }
            Happening::Denied { .. }
            | Happening::Installed { .. }
            | Happening::Revoked { .. }
            | Happening::EpochBegun { .. }
            | Happening::Adopted { .. }
            | Happening::MarkedLost { .. }
            | Happening::TokenCreated { .. }
            | Happening::TokenRevoked { .. }
            | Happening::TokenUsed { .. }
            | Happening::Administered { .. } => {}
        }
        Ok(())
    }

    /// What moves comes to no line that is sold to others: to other hosts, or to
    /// users whom the policy names.
    fn check_terms(
        &self,
        step: &Step,
        event: &Event,
        checkout: CheckoutId,
        items: &[GrantedItem],
    ) -> Result<(), String> {
        let before = self.held.get(&checkout).map_or(&[][..], |(_, items)| items);
        let stayed = |pool| before.iter().any(|item| item.pool == pool);
        let holder = event.whose().ok_or("moved, and nobody's")?;
        let new = items.iter().filter(|item| !stayed(item.pool));
        for pool in new.filter_map(|item| step.pools.get(&item.pool)) {
            let terms = &pool.key.terms;
            let here = |id| holder.hostids.contains(id);
            let host = terms.hostids.is_empty() || terms.hostids.iter().any(here);
            let user = terms.users_max.is_none() || self.names(&pool.key.feature, holder);
            if !host || !user {
                return Err(format!("{checkout:?} of {} moved to {pool:?}", holder.user));
            }
        }
        Ok(())
    }

    /// Whether an INCLUDE of the feature has the user's name.
    fn names(&self, feature: &FeatureName, holder: &Holder) -> bool {
        let Some(policy) = &self.policy else { return false };
        let same = |name: &Label| name.as_str().eq_ignore_ascii_case(holder.user.as_str());
        policy.rules.iter().any(|rule| {
            let about = rule.selector.as_ref().is_none_or(|chosen| chosen.feature == *feature);
            let named = match &rule.subject {
                Subject::User(user) => same(user),
                Subject::Group(group) => {
                    policy.groups.get(group).is_some_and(|users| users.iter().any(same))
                }
                _ => false,
            };
            rule.kind == RuleKind::Include && about && named
        })
    }

    /// A seat lingers for as long as was said, unless its holder gets others for
    /// it in the same moment.
    fn check_linger(
        &mut self,
        step: &Step,
        ends: &Event,
        checkout: CheckoutId,
    ) -> Result<(), String> {
        let until_ms = self.lingers.remove(&checkout).ok_or("it did not linger")?;
        let desk = |event: &Event| {
            event.whose().map(|h| (h.user.clone(), h.host.clone(), h.display.clone()))
        };
        let granted = step.events.iter().filter(|event| {
            matches!(event.what, Happening::Granted { .. } | Happening::Borrowed { .. })
        });
        let mut later = granted.filter(|event| event.sequence > ends.sequence);
        if until_ms > ends.at.cluster_ms && !later.any(|event| desk(event) == desk(ends)) {
            return Err(format!("{checkout:?} lingered until {until_ms} ms, and was cut short"));
        }
        Ok(())
    }

    /// P1: nothing is granted from a pool that it leaves beyond its count, and
    /// only a license makes the excess grow, or its beginning.
    fn check_never_oversold(&self, step: &Step) -> Result<(), String> {
        // What the passing of time has freed is granted before a license that
        // comes at the same moment counts: then the pools are the old ones, or
        // those that another license has made of them, which begins by the clock.
        let is_license = |event: &Event| matches!(event.what, Happening::Installed { .. });
        let first = step.events.iter().position(is_license);
        let last = step.events.iter().rposition(is_license).unwrap_or(0);
        for (place, event) in step.events.iter().enumerate() {
            let Happening::Granted { items, .. } = &event.what else { continue };
            if place < last {
                let rebuilt = first.is_some_and(|first| first < place);
                let known = |item: &GrantedItem| {
                    rebuilt || self.pools.get(&item.pool).is_some_and(|pool| !pool.withdrawn)
                };
                if !items.iter().all(known) {
                    return Err(format!("P1: {items:?} granted from no pool"));
                }
                continue;
            }
            for item in items {
                let pool = step.pools.get(&item.pool).ok_or("P1: granted from no pool")?;
                let sold = pool.key.terms.uncounted || pool.held <= pool.total();
                // A seat that is shared takes none, however overdrawn the pool.
                let shared = pool.key.terms.share != Share::NOTHING;
                if !(sold || shared) || pool.withdrawn {
                    return Err(format!("P1: oversold: granted from {pool:?}"));
                }
            }
        }
        let excess = |pool: &Pool| {
            let beyond = pool.held.saturating_sub(pool.total());
            if pool.key.terms.uncounted { 0 } else { beyond }
        };
        let installed = first.is_some();
        for (id, pool) in &step.pools {
            if pool.borrowed > pool.held {
                return Err(format!("{id:?} lent more than is held: {pool:?}"));
            }
            let before = self.pools.get(id).map_or(0, excess);
            // A renewal that begins by the clock has to bear what it renews.
            let begins = pool
                .key
                .starts_ms
                .is_some_and(|starts| self.date_ms < starts && starts <= step.at.date_ms);
            if excess(pool) > before && !installed && !begins {
                return Err(format!("P1: oversold: {id:?} without a license, {pool:?}"));
            }
        }
        Ok(())
    }

    /// P3: a request that was answered gets that answer, until it is forgotten
    /// on the client's own word; and then it gets no seat.
    fn check_exactly_once(&mut self, step: &Step) -> Result<(), String> {
        let (Command::Checkout { session, request, .. }
        | Command::Borrow { session, request, .. }
        | Command::Checkin { session, request, .. }) = &step.command
        else {
            return Ok(());
        };
        let decided = !matches!(
            step.answer,
            Err(Denial::SessionUnknown { .. }
                | Denial::RequestForgotten { .. }
                | Denial::LimitReached { .. })
                | Ok(Outcome::Queued { .. })
        );
        let known = self.told.get(&(*session, *request));
        if let Some(first) = known {
            // What the queue gives to others at the same moment is no answer.
            let acted = step.events.iter().any(|event| match &event.what {
                Happening::Granted { session: to, .. } | Happening::Denied { session: to, .. } => {
                    to == session && !settles(step, *session)
                }
                _ => false,
            });
            if acted || (decided && *first != step.answer) {
                return Err(format!("P3: first {first:?}, again {:?}", step.answer));
            }
        } else if decided {
            self.told.insert((*session, *request), step.answer.clone());
        }
        Ok(())
    }

    /// Who may use a pool that is not counted takes no seat of another; as long
    /// as no policy keeps him from it.
    fn check_own_right_first(&self, step: &Step) -> Result<(), String> {
        let (Command::Checkout { items, .. }, Ok(Outcome::Granted(grant))) =
            (&step.command, &step.answer)
        else {
            return Ok(());
        };
        let theirs = |event: &&Event| matches!(&event.what, Happening::Granted { checkout, .. } if *checkout == grant.checkout);
        let Some(holder) = step.events.iter().find(theirs).and_then(Event::whose) else {
            return Ok(());
        };
        for (item, granted) in items.iter().zip(&grant.items).filter(|_| self.policy.is_none()) {
            let own = step.pools.iter().find(|(_, pool)| {
                let terms = &pool.key.terms;
                let named = terms.users_max.or(terms.hosts_max).is_some();
                let here = |id| holder.hostids.contains(id);
                pool.key.feature == item.feature
                    && pool.key.version >= item.version
                    && pool.valid_at(self.last.date_ms)
                    && (terms.uncounted && terms.consumes.is_none() && !named)
                    && (terms.hostids.is_empty() || terms.hostids.iter().any(here))
            });
            let counted =
                step.pools.get(&granted.pool).is_some_and(|pool| !pool.key.terms.uncounted);
            if let (Some((id, _)), true) = (own, counted) {
                return Err(format!("{granted:?} was granted, and {id:?} is not counted"));
            }
        }
        Ok(())
    }

    /// What the events say is held is what the pools count. Of what is shared
    /// they do not say enough.
    fn check_held(&self, step: &Step) -> Result<(), String> {
        let plain = |pool: &Pool| pool.key.terms.share == Share::NOTHING;
        if !step.pools.values().all(plain) {
            return Ok(());
        }
        let mut by_events: BTreeMap<PoolId, u64> = BTreeMap::new();
        for item in self.held.values().flat_map(|(_, items)| items) {
            let tokens = item.tokens.as_ref().map(|tokens| (tokens.pool, tokens.seats));
            for (pool, seats) in [(item.pool, item.seats)].into_iter().chain(tokens) {
                *by_events.entry(pool).or_default() += u64::from(seats.get());
            }
        }
        let held = step.pools.iter().filter(|(_, pool)| pool.held > 0);
        let by_pools: BTreeMap<PoolId, u64> = held.map(|(id, pool)| (*id, pool.held)).collect();
        if by_events != by_pools {
            return Err(format!("events say {by_events:?}, pools {by_pools:?}"));
        }
        Ok(())
    }
}

/// Whether the step settles a request of this session that waited.
fn settles(step: &Step, session: SessionId) -> bool {
    step.events.iter().any(
        |event| matches!(&event.what, Happening::Settled { session: to, .. } if *to == session),
    )
}
