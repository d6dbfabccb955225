//! The naive ledger: lists, searched from end to end. What is held is one row
//! per item, every count is a sum over the rows, and what a session was told is
//! a list of everything. Slow and plain, and written from the rules.

use std::collections::{BTreeSet, VecDeque};

use triad_ledger::names::{CheckoutId, PoolId, RequestId, Seats, SessionId, Version};
use triad_ledger::policy::{Policy, Rule, RuleId, RuleKind, Subject};
use triad_ledger::rights::{License, Line};
use triad_ledger::{
    Answer, At, Bound, CHECKOUTS_PER_SESSION_MAX, Command, Denial, FreeSeats, Grant, GrantedItem,
    Holder, Item, Ledger, Outcome, UNACKNOWLEDGED_MAX,
};

use crate::mistakes::Mistake;

#[derive(Default)]
pub struct Reference {
    /// The one thing that this ledger gets wrong, to test the testing.
    mistake: Option<Mistake>,
    date_ms: u64,
    licenses: Vec<License>,
    policy: Policy,
    lots: Vec<Lot>,
    lots_ever: u32,
    sessions: Vec<Open>,
    ended: Vec<SessionId>,
    rows: Vec<Row>,
    checkouts_ever: u64,
}

/// Seats counted together.
struct Lot {
    id: PoolId,
    like: Line,
    seats: u64,
    overdraft: u64,
    withdrawn: bool,
}

struct Open {
    id: SessionId,
    holder: Holder,
    lease_ms: u64,
    told: Vec<(RequestId, Answer)>,
    acknowledged: u64,
}

/// One item that is held.
struct Row {
    checkout: u64,
    session: SessionId,
    item: Item,
    lot: PoolId,
    /// It has just moved, and the rest of its checkout has not yet.
    moving: bool,
}

impl Reference {
    pub fn with(mistake: Mistake) -> Self {
        Reference { mistake: Some(mistake), ..Reference::default() }
    }

    pub fn answer(&mut self, at: At, command: &Command) -> Answer {
        let backwards = self.makes(Mistake::DateRunsBack);
        let before = self.date_ms;
        self.date_ms = if backwards { at.date_ms } else { self.date_ms.max(at.date_ms) };
        let lines = || self.licenses.iter().flat_map(|license| &license.lines);
        let begins = |line: &&Line| line.starts_ms > Some(before) && self.has_begun(line);
        let (mut begun, mut others_end) = (false, false);
        for line in lines().filter(begins) {
            (begun, others_end) = (true, others_end || !line.about.supersedes.is_empty());
        }
        if others_end {
            self.recount();
        }
        if begun {
            self.move_withdrawn();
        }
        self.expire();
        match command {
            Command::Open { session, holder, lease_ms, resume } => {
                self.open(*session, holder, *lease_ms, *resume)
            }
            Command::Checkout { session, request, answered_through, items, .. } => {
                let full = Err(Denial::LimitReached {
                    what: Bound::Unacknowledged,
                    max: UNACKNOWLEDGED_MAX as u64,
                });
                self.once(*session, *request, *answered_through, |this, told| {
                    if told { this.checkout(*session, items) } else { full }
                })
            }
            Command::Checkin { session, request, answered_through, checkout } => {
                self.once(*session, *request, *answered_through, |this, _| {
                    let anybody = this.makes(Mistake::ChecksInForOthers);
                    let mine = |row: &Row| {
                        row.checkout == checkout.0 && (anybody || row.session == *session)
                    };
                    let was_held = this.rows.iter().any(mine);
                    this.rows.retain(|row| !mine(row));
                    Ok(Outcome::Returned { was_held })
                })
            }
            Command::Close { session } => Ok(self.end(*session)),
            Command::End { term, .. }
                if *term != at.term && !self.makes(Mistake::HeedsOldLeaders) =>
            {
                Ok(Outcome::Void)
            }
            Command::End { session, .. } => Ok(self.end(*session)),
            Command::Install { license } => self.install(license),
            Command::SetPolicy { policy } => {
                let old = &self.policy;
                if old == policy && *policy != Policy::default() {
                    return Ok(Outcome::PolicySet { changed: false });
                }
                if old.version >= policy.version && *old != Policy::default() {
                    let (in_force, offered) = (old.version, policy.version);
                    return Err(Denial::PolicySuperseded { in_force, offered });
                }
                self.policy = policy.clone();
                Ok(Outcome::PolicySet { changed: true })
            }
            _ => Ok(Outcome::Noted),
        }
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    fn open(&mut self, id: SessionId, holder: &Holder, lease_ms: u64, resume: bool) -> Answer {
        if let Some(open) = self.sessions.iter().find(|open| open.id == id) {
            if open.holder != *holder && !self.makes(Mistake::AnyoneMayResume) {
                let (holder_user, holder_host) =
                    (open.holder.user.clone(), open.holder.host.clone());
                return Err(Denial::SessionTaken { session: id, holder_user, holder_host });
            }
            return Ok(Outcome::Opened { lease_ms: open.lease_ms, checkouts: self.held_by(id) });
        }
        if resume && !self.makes(Mistake::ResumeOpens) {
            return Err(Denial::SessionUnknown { session: id });
        }
        if self.ended.contains(&id) && !self.makes(Mistake::ReopensEnded) {
            return Err(Denial::SessionUnknown { session: id });
        }
        let (holder, told) = (holder.clone(), Vec::new());
        self.sessions.push(Open { id, holder, lease_ms, told, acknowledged: 0 });
        Ok(Outcome::Opened { lease_ms, checkouts: Vec::new() })
    }

    fn held_by(&self, session: SessionId) -> Vec<CheckoutId> {
        let mine = self.rows.iter().filter(|row| row.session == session);
        let numbers: BTreeSet<u64> = mine.map(|row| row.checkout).collect();
        numbers.into_iter().map(CheckoutId).collect()
    }

    fn once(
        &mut self,
        session: SessionId,
        request: RequestId,
        answered_through: RequestId,
        decide: impl FnOnce(&mut Self, bool) -> Answer,
    ) -> Answer {
        let Some(open) = self.sessions.iter_mut().find(|open| open.id == session) else {
            return Err(Denial::SessionUnknown { session });
        };
        open.acknowledged = open.acknowledged.max(answered_through.0);
        if request.0 <= open.acknowledged {
            let answered_through = RequestId(open.acknowledged);
            return Err(Denial::RequestForgotten { request, answered_through });
        }
        if let Some((_, answer)) = open.told.iter().find(|(told, _)| *told == request) {
            return answer.clone();
        }
        let unacknowledged = open.told.iter().filter(|(told, _)| told.0 > open.acknowledged);
        let room = unacknowledged.count() < UNACKNOWLEDGED_MAX;
        let answer = decide(self, room);
        let forgets = !room
            || self.makes(Mistake::ForgetsAnswers)
            || (self.makes(Mistake::ForgetsDenials) && answer.is_err());
        if let Some(open) = self.sessions.iter_mut().find(|open| open.id == session)
            && !forgets
        {
            open.told.push((request, answer.clone()));
        }
        answer
    }

    fn checkout(&mut self, session: SessionId, items: &[Item]) -> Answer {
        if self.held_by(session).len() >= CHECKOUTS_PER_SESSION_MAX {
            let max = CHECKOUTS_PER_SESSION_MAX as u64;
            return Err(Denial::LimitReached { what: Bound::CheckoutsPerSession, max });
        }
        // Each item is taken as it comes; if one is denied, all are put back, and
        // taken in every other way that there is.
        let (before, checkout) = (self.rows.len(), self.checkouts_ever + 1);
        for item in items {
            match self.find(item, session, checkout, &[]) {
                Ok(lot) => self.take(item, session, checkout, lot),
                Err(denial) if self.makes(Mistake::KeepsHalfACheckout) => {
                    self.checkouts_ever = checkout;
                    return Err(denial);
                }
                Err(denial) => {
                    self.rows.truncate(before);
                    if !self.take_somehow(items, session, checkout) {
                        return Err(denial);
                    }
                    break;
                }
            }
        }
        self.checkouts_ever = checkout;
        let taken = self.rows[before..].iter().map(|row| self.in_words(row.lot, &row.item));
        let (checkout, items) = (CheckoutId(checkout), taken.collect());
        Ok(Outcome::Granted(Grant { checkout, items }))
    }

    fn take(&mut self, item: &Item, session: SessionId, checkout: u64, lot: PoolId) {
        let (item, moving) = (item.clone(), false);
        self.rows.push(Row { checkout, session, item, lot, moving });
    }

    fn take_somehow(&mut self, items: &[Item], session: SessionId, checkout: u64) -> bool {
        let Some((item, rest)) = items.split_first() else { return true };
        let (before, mut tried) = (self.rows.len(), Vec::new());
        while let Ok(lot) = self.find(item, session, checkout, &tried) {
            self.take(item, session, checkout, lot);
            if self.take_somehow(rest, session, checkout) {
                return true;
            }
            self.rows.truncate(before);
            tried.push(lot);
        }
        false
    }

    /// The lot that serves the item, of those that were not tried.
    fn find(
        &self,
        item: &Item,
        session: SessionId,
        checkout: u64,
        tried: &[PoolId],
    ) -> Result<PoolId, Denial> {
        let feature = item.feature.clone();
        let licensed: Vec<&Lot> = self.lots_of(item);
        if licensed.is_empty() {
            return Err(Denial::FeatureUnknown { feature });
        }
        let blind = self.makes(Mistake::IgnoresVersions);
        let serving: Vec<_> =
            licensed.iter().filter(|lot| blind || lot.like.version >= item.version).collect();
        if serving.is_empty() {
            let highest = licensed.iter().map(|lot| lot.like.version).max();
            let (wanted, licensed) = (item.version, highest.unwrap_or_default());
            return Err(Denial::VersionNotLicensed { feature, wanted, licensed });
        }
        let begun: Vec<_> = serving.iter().filter(|lot| self.begun(lot)).collect();
        let valid: Vec<_> = begun.iter().filter(|lot| !self.over(lot)).collect();
        if valid.is_empty() {
            let waiting = serving.iter().filter(|lot| !self.begun(lot));
            if let Some(at_ms) = waiting.filter_map(|lot| lot.like.starts_ms).min() {
                return Err(Denial::NotYetValid { feature, at_ms });
            }
            let at_ms = begun.iter().filter_map(|lot| lot.like.expires_ms).max().unwrap_or(0);
            return Err(Denial::Expired { feature, at_ms });
        }
        let wanted = u64::from(item.seats.get());
        // How far each lot goes: excluded, full, over a MAX, not included.
        let me = &self.sessions.iter().find(|open| open.id == session).expect("open").holder;
        let mut open = Vec::new();
        let (mut excluded, mut reserved, mut over_max, mut left_out) = (None, None, None, None);
        let (mut in_use_all, mut total_all, mut kept_all) = (0, 0, 0);
        let mut largest = 0;
        let untried = valid.iter().filter(|lot| !tried.contains(&lot.id));
        for lot in untried.copied().copied().copied() {
            let rules = |kind: fn(&RuleKind) -> bool| self.rules_of(lot, kind);
            if let Some(rule) = self.excluded_by(me, lot) {
                let feature = feature.clone();
                excluded.get_or_insert(Denial::Excluded { feature, rule });
                continue;
            }
            let (kept, by) = self.kept_from(me, lot, &|row| row.checkout == checkout);
            let room = self.free(lot).saturating_sub(kept);
            in_use_all += self.held(lot.id);
            total_all += lot.seats + lot.overdraft;
            largest = largest.max(lot.seats + lot.overdraft);
            if room < wanted {
                open.push(room);
                kept_all += kept;
                if self.free(lot) >= wanted {
                    reserved = reserved.or(by);
                }
                continue;
            }
            let max_rules = rules(|k| matches!(k, RuleKind::Max(_)));
            let used_up = max_rules.iter().find_map(|rule| {
                let RuleKind::Max(max) = rule.kind else { return None };
                let each = rule.subject == Subject::EachUser;
                let his = |row: &&Row| {
                    let of = self.sessions.iter().find(|open| open.id == row.session);
                    !each || of.is_some_and(|open| open.holder.user == me.user)
                };
                let rows = self.rows.iter().filter(|row| self.counted(row, rule));
                let in_use: u64 = rows.filter(his).map(seats_of).sum();
                let own = |rule: &&Rule| rule.subject == Subject::User(me.user.clone());
                let means = self.means(&rule.subject, me) && !(each && max_rules.iter().any(own));
                let over = means && in_use + wanted > u64::from(max);
                over.then_some((in_use, max, rule.id))
            });
            if let Some((in_use, max, rule)) = used_up.filter(|_| !self.makes(Mistake::IgnoresMax))
            {
                let (feature, wanted, max) = (feature.clone(), item.seats, max.into());
                over_max.get_or_insert(Denial::PolicyMax { feature, wanted, in_use, max, rule });
                continue;
            }
            if let Some(rule) = self.left_out_by(me, lot) {
                left_out.get_or_insert(Denial::NotIncluded { feature: feature.clone(), rule });
                continue;
            }
            return Ok(lot.id);
        }
        if let Some(denial) = left_out.or(over_max) {
            return Err(denial);
        }
        if let (true, Some(denial)) = (open.is_empty(), excluded) {
            return Err(denial);
        }
        if largest < wanted {
            return Err(Denial::MoreThanExist { feature, wanted: item.seats, total: largest });
        }
        let (in_use, total, wanted) = (in_use_all, total_all, item.seats);
        if let Some(rule) = reserved {
            let reserved = kept_all;
            return Err(Denial::AllReserved { feature, wanted, in_use, total, reserved, rule });
        }
        let free = FreeSeats {
            pools: open.len() as u32,
            sum: open.iter().sum(),
            largest: open.iter().copied().max().unwrap_or(0),
        };
        Err(Denial::NoSeat { feature, wanted, in_use, total, free })
    }

    fn excluded_by(&self, me: &Holder, lot: &Lot) -> Option<RuleId> {
        let list = self.rules_of(lot, |k| matches!(k, RuleKind::Exclude | RuleKind::ExcludeAll));
        let hit = list.iter().find(|rule| self.means(&rule.subject, me));
        hit.filter(|_| !self.makes(Mistake::IgnoresExclude)).map(|rule| rule.id)
    }

    fn left_out_by(&self, me: &Holder, lot: &Lot) -> Option<RuleId> {
        let list = self.rules_of(lot, |k| matches!(k, RuleKind::Include | RuleKind::IncludeAll));
        let first = list.first().filter(|_| !self.makes(Mistake::IgnoresInclude))?;
        list.iter().all(|rule| !self.means(&rule.subject, me)).then_some(first.id)
    }

    /// The rules of this kind about this lot.
    fn rules_of(&self, lot: &Lot, kind: fn(&RuleKind) -> bool) -> Vec<&Rule> {
        let rules = self.policy.rules.iter().filter(|rule| kind(&rule.kind));
        rules.filter(|rule| about(rule, &lot.like)).collect()
    }

    /// Whether the rule counts the row.
    fn counted(&self, row: &Row, rule: &Rule) -> bool {
        let holder = self.sessions.iter().find(|open| open.id == row.session).map(|o| &o.holder);
        let lot = self.lots.iter().find(|lot| lot.id == row.lot).expect("of a lot");
        about(rule, &lot.like) && holder.is_some_and(|holder| self.means(&rule.subject, holder))
    }

    fn means(&self, subject: &Subject, holder: &Holder) -> bool {
        let address = holder.address.expect("all have one");
        match subject {
            Subject::Anyone | Subject::EachUser => true,
            Subject::User(user) => holder.user == *user,
            Subject::Host(host) => holder.host == *host,
            Subject::Display(display) => holder.display == *display,
            Subject::Project(project) => holder.project == *project,
            Subject::Group(name) => {
                self.policy.groups.get(name).is_some_and(|users| users.contains(&holder.user))
            }
            Subject::HostGroup(name) => self.policy.host_groups.get(name).is_some_and(|hosts| {
                hosts.names.contains(&holder.host)
                    || hosts.networks.iter().any(|network| network.contains(address))
            }),
            Subject::Internet(network) => network.contains(address),
        }
    }

    /// How many free seats of the lot are kept from somebody, and by which rule
    /// first. The rows of what is only `in_the_making` are not held yet.
    fn kept_from(
        &self,
        me: &Holder,
        lot: &Lot,
        in_the_making: &dyn Fn(&Row) -> bool,
    ) -> (u64, Option<RuleId>) {
        let like = Item {
            feature: lot.like.feature.clone(),
            version: Version::default(),
            seats: Seats::MIN,
        };
        let mut lots = self.lots_of(&like);
        lots.retain(|lot| self.begun(lot) && !self.over(lot));
        let reserve = |rule: &Rule| match rule.kind {
            RuleKind::Reserve(seats) => usize::try_from(seats.get()).expect("few"),
            _ => 0,
        };
        let rules: Vec<&Rule> = self.policy.rules.iter().filter(|r| reserve(r) > 0).collect();
        // One entry for each seat that is reserved at all.
        let mut bought: Vec<u64> = lots.iter().map(|lot| lot.seats).collect();
        let wanted: Vec<usize> = rules.iter().map(|rule| reserve(rule)).collect();
        let seats = lay(&rules, &wanted, &lots, bought.clone());
        let mut left: Vec<usize> = (0..rules.len())
            .map(|place| seats.iter().filter(|(rule, _)| *rule == place).count())
            .collect();
        // Who may draw from the fewest draws first.
        let mut draws: Vec<(usize, Vec<usize>, usize)> = Vec::new();
        let known = left.clone();
        for row in self.rows.iter().filter(|row| !in_the_making(row)) {
            let Some(place) = lots.iter().position(|lot| lot.id == row.lot) else { continue };
            let holder =
                &self.sessions.iter().find(|open| open.id == row.session).expect("open").holder;
            let draws_from = |rule: &usize| {
                let rule = (known[*rule] > 0).then_some(rules[*rule]);
                rule.is_some_and(|r| about(r, &lots[place].like) && self.means(&r.subject, holder))
            };
            let own: Vec<usize> = (0..rules.len()).filter(draws_from).collect();
            let one = (own.len(), own, place);
            draws.extend(std::iter::repeat_n(one, row.item.seats.get() as usize));
        }
        draws.sort();
        for (_, own, place) in draws {
            if let Some(rule) = own.into_iter().find(|rule| left[*rule] > 0) {
                left[rule] -= 1;
                bought[place] = bought[place].saturating_sub(1);
            }
        }
        // The rest lies on seats that are free.
        let free = lots.iter().map(|lot| {
            let others = self.rows.iter().filter(|r| r.lot == lot.id && !in_the_making(r));
            (lot.seats + lot.overdraft).saturating_sub(others.map(seats_of).sum())
        });
        let blind = self.makes(Mistake::ReservesWhatIsHeld);
        let room = bought.iter().zip(free).map(
            |(bought, free)| {
                if blind { *bought } else { free.min(*bought) }
            },
        );
        let mut kept = lay(&rules, &left, &lots, room.collect());
        kept.retain(|(rule, place)| {
            lots[*place].id == lot.id && !self.means(&rules[*rule].subject, me)
        });
        if self.makes(Mistake::IgnoresReserve) {
            kept.clear();
        }
        let first = kept.iter().map(|(rule, _)| *rule).min();
        (kept.len() as u64, first.map(|rule| rules[rule].id))
    }

    /// The lots in the order in which they are lent.
    fn lots_of(&self, item: &Item) -> Vec<&Lot> {
        let named = |lot: &&Lot| lot.like.feature == item.feature && !lot.withdrawn;
        let mut lots: Vec<&Lot> = self.lots.iter().filter(named).collect();
        lots.sort_by_key(|lot| {
            let never_ends = lot.like.expires_ms.is_none();
            (never_ends, lot.like.expires_ms, lot.like.version, lot.id)
        });
        if self.makes(Mistake::LendsTheLastingFirst) {
            lots.reverse();
        }
        lots
    }

    fn begun(&self, lot: &Lot) -> bool {
        self.makes(Mistake::IgnoresStarts) || self.has_begun(&lot.like)
    }

    fn has_begun(&self, line: &Line) -> bool {
        line.starts_ms.is_none_or(|starts| self.date_ms >= starts)
    }

    fn over(&self, lot: &Lot) -> bool {
        let late = u64::from(self.makes(Mistake::LastDayTooLong));
        lot.like.expires_ms.is_some_and(|expires| self.date_ms >= expires + late * 3_600_000)
    }

    fn held(&self, lot: PoolId) -> u64 {
        let held = self.rows.iter().filter(|row| row.lot == lot);
        held.map(|row| u64::from(row.item.seats.get())).sum()
    }

    fn free(&self, lot: &Lot) -> u64 {
        let total = lot.seats + lot.overdraft + u64::from(self.makes(Mistake::Oversells));
        let without = if self.makes(Mistake::NoOverdraft) { lot.overdraft } else { 0 };
        (total - without).saturating_sub(self.held(lot.id))
    }

    fn in_words(&self, lot: PoolId, item: &Item) -> GrantedItem {
        let lot = self.lots.iter().find(|known| known.id == lot).expect("found before");
        GrantedItem {
            pool: lot.id,
            feature: item.feature.clone(),
            seats: item.seats,
            version: lot.like.version,
            expires_ms: lot.like.expires_ms,
            vendor_string: lot.like.vendor_string.clone(),
            tokens: None,
        }
    }

    fn end(&mut self, id: SessionId) -> Outcome {
        let was_open = self.sessions.iter().any(|open| open.id == id);
        self.sessions.retain(|open| open.id != id);
        self.ended.extend(was_open.then_some(id));
        if !self.makes(Mistake::EndKeepsSeats) {
            self.rows.retain(|row| row.session != id);
        }
        self.sweep();
        Outcome::Ended { was_open }
    }

    fn install(&mut self, license: &License) -> Answer {
        let old = self.licenses.iter().find(|old| old.id == license.id);
        if let Some(old) = old {
            if (old.serial, &old.text) == (license.serial, &license.text) {
                return Ok(Outcome::Installed { changed: false, overage: self.overage() });
            }
            if license.serial <= old.serial && !self.makes(Mistake::AcceptsOldSerials) {
                let (in_force, offered) = (old.serial, license.serial);
                let license = license.id.clone();
                return Err(Denial::LicenseSuperseded { license, in_force, offered });
            }
        }
        self.licenses.retain(|old| old.id != license.id);
        self.licenses.push(license.clone());
        self.relicense();
        if self.makes(Mistake::EvictsWhenLowered) {
            while let Some(lot) = self
                .lots
                .iter()
                .find(|lot| !lot.withdrawn && self.held(lot.id) > lot.seats + lot.overdraft)
            {
                let last = self.rows.iter().rposition(|row| row.lot == lot.id);
                let evicted = self.rows[last.expect("some are held")].checkout;
                self.rows.retain(|row| row.checkout != evicted);
            }
        }
        self.sweep();
        self.expire();
        Ok(Outcome::Installed { changed: true, overage: self.overage() })
    }

    /// Counts the lines, and moves what is held of those that are gone.
    fn relicense(&mut self) {
        self.recount();
        self.move_withdrawn();
    }

    fn move_withdrawn(&mut self) {
        if !self.makes(Mistake::RenewalStrands) {
            let withdrawn = self.lots.iter().filter(|lot| lot.withdrawn);
            let withdrawn: BTreeSet<PoolId> = withdrawn.map(|lot| lot.id).collect();
            for index in 0..self.rows.len() {
                if withdrawn.contains(&self.rows[index].lot) {
                    self.move_row(index, true);
                }
            }
            self.rows.iter_mut().for_each(|row| row.moving = false);
        }
    }

    /// Counts all lines of all licenses anew.
    fn recount(&mut self) {
        let mut fresh: Vec<Lot> = Vec::new();
        let lines: Vec<&Line> = self.licenses.iter().flat_map(|license| &license.lines).collect();
        let voids = |by: &Line, line: &Line| {
            let begun = self.makes(Mistake::SupersedesTooEarly) || self.has_begun(by);
            let older = line.about.issued_ms < by.about.issued_ms;
            by.about.supersedes.contains(&line.feature) && begun && older
        };
        let void = |line: &Line| {
            !self.makes(Mistake::IgnoresSupersedes) && lines.iter().any(|by| voids(by, line))
        };
        let valid: Vec<Line> =
            lines.iter().filter(|line| !void(line)).map(|line| Line::clone(line)).collect();
        for lot in &mut self.lots {
            (lot.seats, lot.overdraft, lot.withdrawn) = (0, 0, true);
        }
        for line in &valid {
            let known = self.lots.iter_mut().chain(&mut fresh).find(|lot| alike(&lot.like, line));
            if let Some(lot) = known {
                lot.seats += u64::from(line.seats);
                lot.overdraft += u64::from(line.overdraft);
                lot.withdrawn = false;
            } else {
                let (seats, overdraft) = (line.seats.into(), line.overdraft.into());
                let (id, like) = (PoolId(0), line.clone());
                fresh.push(Lot { id, like, seats, overdraft, withdrawn: false });
            }
        }
        fresh.sort_by_key(|lot| {
            let like = lot.like.clone();
            (like.feature, like.version, like.starts_ms, like.expires_ms, like.vendor_string)
        });
        for mut lot in fresh {
            self.lots_ever += 1;
            lot.id = PoolId(self.lots_ever);
            self.lots.push(lot);
        }
        self.sweep();
    }

    /// Withdrawn lots vanish when nobody holds seats of them.
    fn sweep(&mut self) {
        let in_use: BTreeSet<PoolId> = self.rows.iter().map(|row| row.lot).collect();
        self.lots.retain(|lot| !lot.withdrawn || in_use.contains(&lot.id));
    }

    /// Moves one row to another lot, if there is a place for it: at a renewal
    /// whether or not it is free and the policy likes it.
    fn move_row(&mut self, index: usize, overdraw: bool) -> bool {
        let Row { item, lot: from, session, .. } = &self.rows[index];
        let open = self.sessions.iter().find(|open| open.id == *session).expect("it holds");
        let me = &open.holder;
        let asked = !overdraw && !self.makes(Mistake::MovesPastThePolicy);
        let lots = self.lots_of(item);
        let fits = |lot: &&&Lot| {
            let valid = lot.id != *from && self.begun(lot) && !self.over(lot);
            let barred = self.excluded_by(me, lot).or_else(|| self.left_out_by(me, lot));
            valid && lot.like.version >= item.version && !(asked && barred.is_some())
        };
        let roomy = |lot: &&Lot| {
            let (kept, _) = self.kept_from(me, lot, &|row| row.moving);
            let kept = if asked { kept } else { 0 };
            self.free(lot) >= u64::from(item.seats.get()) + kept
        };
        let fitting: Vec<&Lot> = lots.iter().filter(fits).copied().collect();
        let largest = fitting.iter().map(|lot| lot.seats + lot.overdraft).max();
        let crowded =
            fitting.iter().find(|lot| overdraw && Some(lot.seats + lot.overdraft) == largest);
        let to = fitting.iter().copied().find(roomy).or(crowded.copied());
        let to = to.map(|lot| lot.id);
        self.rows[index].lot = to.unwrap_or(self.rows[index].lot);
        self.rows[index].moving = to.is_some();
        to.is_some()
    }

    /// Moves or ends what is held of rights that are over, the oldest first: a
    /// checkout that cannot be moved whole is put back, and ends.
    fn expire(&mut self) {
        let over = self.lots.iter().filter(|lot| self.over(lot));
        let over: BTreeSet<PoolId> = over.map(|lot| lot.id).collect();
        let mut stranded = BTreeSet::new();
        let held = self.rows.iter().filter(|row| over.contains(&row.lot));
        for checkout in held.map(|row| row.checkout).collect::<BTreeSet<_>>() {
            let before: Vec<PoolId> = self.rows.iter().map(|row| row.lot).collect();
            let mut whole = !self.makes(Mistake::ExpiryStrands);
            for index in 0..self.rows.len() {
                let row = &self.rows[index];
                if row.checkout == checkout && over.contains(&row.lot) {
                    whole &= self.move_row(index, false);
                }
            }
            self.rows.iter_mut().for_each(|row| row.moving = false);
            if whole {
                continue;
            }
            if self.makes(Mistake::ExpiryTakesHalf) {
                stranded.insert(checkout);
                continue;
            }
            self.rows.iter_mut().zip(before).for_each(|(row, lot)| row.lot = lot);
            self.rows.retain(|row| row.checkout != checkout);
        }
        self.rows.retain(|row| !stranded.contains(&row.checkout));
        self.sweep();
    }

    fn overage(&self) -> u64 {
        let beyond = |lot: &Lot| self.held(lot.id).saturating_sub(lot.seats + lot.overdraft);
        self.lots.iter().map(beyond).sum()
    }

    /// Says in what the ledger's books differ from these.
    pub fn compare(&mut self, ledger: &Ledger) -> Result<(), String> {
        self.sweep();
        let ours: Vec<_> = self
            .lots
            .iter()
            .map(|lot| {
                let Lot { id, like, seats, overdraft, withdrawn } = lot;
                let held = self.held(*id);
                (*id, &like.feature, like.version, *seats, *overdraft, *withdrawn, held)
            })
            .collect();
        let theirs: Vec<_> = ledger
            .pools()
            .map(|(id, pool)| {
                let (key, held) = (&pool.key, pool.held);
                let counts = (pool.licensed, pool.overdraft, pool.withdrawn);
                (id, &key.feature, key.version, counts.0, counts.1, counts.2, held)
            })
            .collect();
        same("pools", &ours, &theirs)?;

        let mut ours: Vec<_> =
            self.sessions.iter().map(|open| (open.id, self.held_by(open.id))).collect();
        ours.sort();
        let theirs: Vec<_> = ledger
            .sessions(None)
            .map(|(id, session)| (id, session.checkouts.iter().copied().collect()))
            .collect();
        same("sessions", &ours, &theirs)?;

        let ours: Vec<_> = self
            .rows
            .iter()
            .map(|row| (row.checkout, row.session, row.lot, row.item.seats, row.item.version))
            .collect();
        let theirs: Vec<_> = ledger
            .checkouts(CheckoutId(0))
            .flat_map(|(id, checkout)| {
                let items = checkout.items.iter();
                items.map(move |item| (id.0, checkout.session, item.pool, item.seats, item.version))
            })
            .collect();
        same("checkouts", &ours, &theirs)
    }
}

fn seats_of(row: &Row) -> u64 {
    row.item.seats.get().into()
}

fn about(rule: &Rule, line: &Line) -> bool {
    rule.selector.as_ref().is_none_or(|selector| {
        selector.feature == line.feature && selector.version.is_none_or(|v| v == line.version)
    })
}

/// Lays seats of these rules on the lots, one after the other: the rule, and the
/// lot. A seat for which no lot of its rule has room takes the place of another
/// that finds one elsewhere, in as few steps as can be.
fn lay(rules: &[&Rule], seats: &[usize], lots: &[&Lot], mut room: Vec<u64>) -> Vec<(usize, usize)> {
    let mut laid: Vec<(usize, usize)> = Vec::new();
    for (rule, seats) in seats.iter().enumerate() {
        for _ in 0..*seats {
            // Each way is a list of rules and the lots into which they come.
            let mut ways = VecDeque::from([Vec::new()]);
            let mut seen = BTreeSet::new();
            while let Some(way) = ways.pop_front() {
                let end = way.last().map(|(_, lot): &(usize, usize)| *lot);
                if let Some(lot) = end.filter(|lot| room[*lot] > 0) {
                    room[lot] -= 1;
                    for step in way.windows(2) {
                        let moves = (step[1].0, step[0].1);
                        let index = laid.iter().position(|seat| *seat == moves);
                        laid[index.expect("it lay there")] = step[1];
                    }
                    laid.push(way[0]);
                    break;
                }
                let here = laid.iter().filter(|(_, lot)| Some(*lot) == end);
                let mut next: Vec<usize> = here.map(|(rule, _)| *rule).collect();
                next.sort();
                if end.is_none() {
                    next = vec![rule];
                }
                for comes in next {
                    for (place, lot) in lots.iter().enumerate() {
                        if about(rules[comes], &lot.like) && seen.insert(place) {
                            let step = [(comes, place)];
                            ways.push_back(way.iter().copied().chain(step).collect());
                        }
                    }
                }
            }
        }
    }
    laid
}

fn alike(one: &Line, two: &Line) -> bool {
    one.feature == two.feature
        && one.version == two.version
        && one.starts_ms == two.starts_ms
        && one.expires_ms == two.expires_ms
        && one.vendor_string == two.vendor_string
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T) -> Result<(), String> {
    if ours == theirs {
        return Ok(());
    }
    Err(format!("{what}: naive {ours:?}, ledger {theirs:?}"))
}
