//! The policy, ready for use: which rules there are for each pool, whom they
//! mean, and how much of each is used up.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::net::IpAddr;

use crate::command::Holder;
use crate::names::{FeatureName, Label, PoolId};
use crate::policy::{FeatureSelector, HostMembers, Policy, RuleId, RuleKind, Subject};
use crate::pools::{Pool, PoolKey, Pools, Shift};
use crate::reservations::{Held, Kept, Reservations, Reserved, Room};
use crate::shares::Weight;

/// The policy in force, and what follows from it. Everything but the policy
/// itself is derived, from it, the pools and what is held.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rulebook {
    policy: Option<Policy>,
    /// The same, with its names folded if their case does not matter.
    folded: Policy,
    pools: BTreeMap<PoolId, PoolRules>,
    reservations: BTreeMap<FeatureName, Reservations>,
    /// Seats held by the subject of each rule; counted for MAX only.
    used: Vec<u64>,
    /// The same for each user, of rules that count each for himself.
    used_each: BTreeMap<(usize, Label), u64>,
    spans_features: bool,
}

/// The rules for one pool, by their place in the policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolRules {
    exclude: Vec<usize>,
    /// The rules for the feature and those for everything: one list.
    include: Vec<usize>,
    pub(crate) max: Vec<usize>,
    /// The reservations about the pool: their places among those of the feature,
    /// and their rules.
    reserve: Vec<(usize, usize)>,
    exclude_borrow: Vec<usize>,
    include_borrow: Vec<usize>,
    priority: Vec<usize>,
    pub(crate) lowwater: Option<(usize, u64)>,
    pub(crate) borrow_max: Option<(usize, u64)>,
    pub(crate) linger: Option<(usize, u64)>,
    pub(crate) idle: Option<(usize, u64)>,
    pub(crate) overdraft_max: Option<(usize, u64)>,
    users: Option<BTreeSet<Label>>,
    hosts: Option<BTreeSet<Label>>,
    /// Seats held by those for whom something is reserved, by the places of the
    /// reservations that they may draw from.
    held: Draws,
}

/// Seats held, by the reservations of a pool that their holders may draw from.
pub(crate) type Draws = BTreeMap<Vec<usize>, u64>;

/// All that a rulebook counts, for tests.
type Counted<'a> = (&'a [u64], &'a BTreeMap<(usize, Label), u64>, Vec<(PoolId, &'a Draws)>);

/// Whose group alone is to count, as if all others had returned what they hold;
/// `None`: all count.
pub(crate) type Alone<'a> = Option<&'a Holder>;

/// A holder, as the rules see him.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    user: Label,
    host: Label,
    display: Label,
    project: Label,
    address: Option<IpAddr>,
}

/// Who is in and who is out, for those who explain it.
#[derive(Default)]
pub(crate) struct Lists {
    pub(crate) exclude: Vec<(usize, bool)>,
    pub(crate) include: Vec<(usize, bool)>,
}

/// What is kept of a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remaining {
    pub(crate) for_others: u64,
    pub(crate) for_holder: u64,
    /// The first rule that keeps something for others.
    pub(crate) rule: Option<usize>,
}

impl Rulebook {
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref()
    }

    pub(crate) fn rule_id(&self, rule: usize) -> RuleId {
        self.folded.rules[rule].id
    }

    pub(crate) fn subject(&self, rule: usize) -> &Subject {
        &self.policy.as_ref().expect("a rule is of a policy").rules[rule].subject
    }

    pub(crate) fn of(&self, pool: PoolId) -> Option<&PoolRules> {
        self.pools.get(&pool)
    }

    /// Puts a policy in force; [`Rulebook::compile`] is to follow.
    pub(crate) fn set(&mut self, policy: Policy) {
        self.folded = policy.clone();
        self.folded.text.clear();
        self.spans_features = policy
            .rules
            .iter()
            .any(|rule| rule.selector.is_none() && matches!(rule.kind, RuleKind::Max(_)));
        if policy.case_insensitive {
            fold_policy(&mut self.folded);
        }
        self.policy = Some(policy);
    }

    /// Sorts the rules by pools. Nothing is counted yet.
    pub(crate) fn compile(&mut self, pools: &mut Pools, date_ms: u64) {
        self.pools.clear();
        self.reservations.clear();
        self.used = alloc::vec![0; self.folded.rules.len()];
        self.used_each.clear();
        for (_, pool) in pools.iter_mut() {
            pool.overdraft_max = None;
        }
        if self.policy.is_none() {
            return self.name_nobody(pools);
        }
        let (mut everywhere, mut by_feature) = (Vec::new(), BTreeMap::new());
        for (index, rule) in self.folded.rules.iter().enumerate() {
            match &rule.selector {
                None => everywhere.push(index),
                Some(selector) => {
                    let rules: &mut Vec<usize> =
                        by_feature.entry(selector.feature.clone()).or_default();
                    rules.push(index);
                }
            }
        }
        for (id, pool) in pools.iter_mut() {
            let of_feature = by_feature.get(&pool.key.feature).map(Vec::as_slice);
            // Those of the feature come last: they override those for all.
            let rules = everywhere.iter().chain(of_feature.unwrap_or_default());
            let mut sorted = PoolRules::default();
            let mut any = false;
            for &index in rules {
                let rule = &self.folded.rules[index];
                if rule.selector.as_ref().is_none_or(|selector| selects(selector, &pool.key)) {
                    sorted.sort_in(index, rule.kind, &rule.subject);
                    any = true;
                }
            }
            // Of those that say yes or no the first of the document is told.
            let PoolRules { exclude, include, max, .. } = &mut sorted;
            for list in [exclude, include, max] {
                list.sort_unstable();
            }
            pool.overdraft_max = sorted.overdraft_max.map(|(_, max)| max);
            if any {
                self.pools.insert(id, sorted);
            }
        }
        self.name_nobody(pools);
        self.reserve(pools, date_ms, &by_feature, &everywhere);
    }

    /// The names for whom user-based and host-based lines are.
    fn name_nobody(&mut self, pools: &Pools) {
        for (id, pool) in pools.iter() {
            let terms = &pool.key.terms;
            if terms.users_max.is_none() && terms.hosts_max.is_none() {
                continue;
            }
            let rules = self.pools.entry(id).or_default();
            let include = rules.include.iter().map(|rule| &self.folded.rules[*rule]);
            // Who may have everything is not named for this by that.
            let subjects =
                include.filter(|rule| rule.kind == RuleKind::Include).map(|rule| &rule.subject);
            let (mut users, mut hosts) = (BTreeSet::new(), BTreeSet::new());
            let most = |max: Option<crate::names::Seats>| max.map_or(0, |max| max.get() as usize);
            let name = |into: &mut BTreeSet<Label>, max, name: &Label| {
                if into.len() < most(max) {
                    into.insert(name.clone());
                }
            };
            for subject in subjects {
                match subject {
                    Subject::User(user) => name(&mut users, terms.users_max, user),
                    Subject::Group(group) => {
                        let members = self.folded.groups.get(group).into_iter().flatten();
                        members.for_each(|user| name(&mut users, terms.users_max, user));
                    }
                    Subject::Host(host) => name(&mut hosts, terms.hosts_max, host),
                    Subject::HostGroup(group) => {
                        let members = self.folded.host_groups.get(group);
                        let members = members.into_iter().flat_map(|hosts| &hosts.names);
                        members.for_each(|host| name(&mut hosts, terms.hosts_max, host));
                    }
                    _ => {}
                }
            }
            rules.users = terms.users_max.map(|_| users);
            rules.hosts = terms.hosts_max.map(|_| hosts);
        }
    }

    /// The reservations of each feature, for the pools that are valid.
    fn reserve(
        &mut self,
        pools: &Pools,
        date_ms: u64,
        by_feature: &BTreeMap<FeatureName, Vec<usize>>,
        everywhere: &[usize],
    ) {
        for feature in pools.features() {
            let of_feature = by_feature.get(feature).map(Vec::as_slice).unwrap_or_default();
            let mut rules: Vec<usize> = everywhere.iter().chain(of_feature).copied().collect();
            rules.sort_unstable();
            let valid = pools.candidates(feature).filter(|(_, pool)| pool.valid_at(date_ms));
            let valid: Vec<(PoolId, &Pool)> = valid.collect();
            let mut wanted = Vec::new();
            for index in rules {
                let rule = &self.folded.rules[index];
                let RuleKind::Reserve(seats) = rule.kind else { continue };
                let meant = |key| rule.selector.as_ref().is_none_or(|s| selects(s, key));
                let about = valid.iter().enumerate().filter(|(_, (_, pool))| meant(&pool.key));
                let pools = about.map(|(place, _)| place).collect();
                wanted.push(Reserved { rule: index, seats: seats.get().into(), pools });
            }
            if wanted.is_empty() {
                continue;
            }
            let licensed = valid.iter().map(|(id, pool)| (*id, pool.licensed)).collect();
            let reservations = Reservations::new(licensed, wanted);
            if reservations.is_empty() {
                continue;
            }
            for (place, id) in reservations.pools().iter().enumerate() {
                self.pools.entry(*id).or_default().reserve = reservations.about(place).collect();
            }
            self.reservations.insert(feature.clone(), reservations);
        }
    }

    /// Whether a rule counts seats of different features together.
    pub(crate) fn spans_features(&self) -> bool {
        self.spans_features
    }

    /// Whether any rule counts what is held.
    pub(crate) fn counts(&self) -> bool {
        self.pools.values().any(|rules| !rules.max.is_empty() || !rules.reserve.is_empty())
    }

    /// Counts seats that come (or go) for those whom the rules of the pool mean.
    pub(crate) fn weigh(&mut self, pool: PoolId, owner: &Holder, seats: u64, coming: bool) {
        let Some(rules) = self.pools.get_mut(&pool) else { return };
        if seats == 0 || (rules.max.is_empty() && rules.reserve.is_empty()) {
            return;
        }
        let who = who(&self.folded, owner);
        let count = |of: &mut u64| {
            let after = if coming { of.checked_add(seats) } else { of.checked_sub(seats) };
            *of = after.expect("no more seats go than came");
        };
        for &rule in &rules.max {
            let subject = &self.folded.rules[rule].subject;
            if *subject == Subject::EachUser {
                let key = (rule, who.user.clone());
                let used = self.used_each.entry(key.clone()).or_default();
                count(used);
                if *used == 0 {
                    self.used_each.remove(&key);
                }
            } else if meant(&self.folded, subject, &who) {
                count(&mut self.used[rule]);
            }
        }
        let draws = rules.draws_from(&self.folded, &who);
        if !draws.is_empty() {
            let held = rules.held.entry(draws.clone()).or_default();
            count(held);
            if *held == 0 {
                rules.held.remove(&draws);
            }
        }
    }

    /// Counts what changed.
    pub(crate) fn shift(&mut self, pool: PoolId, shift: &Shift) {
        if shift.before == shift.after {
            return;
        }
        let weights = [(&shift.before, false), (&shift.after, true)];
        for (weight, coming) in weights {
            if let Some(weight) = weight {
                self.weigh(pool, &weight.owner, weight.seats, coming);
            }
        }
    }

    /// The same rules, with nothing counted.
    pub(crate) fn emptied(&self) -> Rulebook {
        let mut rules = self.clone();
        rules.used.fill(0);
        rules.used_each.clear();
        rules.pools.values_mut().for_each(|rules| rules.held.clear());
        rules
    }

    pub(crate) fn who(&self, holder: &Holder) -> Who {
        who(&self.folded, holder)
    }

    /// What a rule of the pool counts as held, and how much it allows; `None`
    /// if it does not mean him.
    pub(crate) fn max(&self, of_pool: &PoolRules, rule: usize, who: &Who) -> Option<(u64, u64)> {
        let crate::policy::Rule { kind: RuleKind::Max(max), subject, .. } =
            &self.folded.rules[rule]
        else {
            return None;
        };
        let used = if *subject == Subject::EachUser {
            let his = |rule: &usize| matches!(&self.folded.rules[*rule].subject, Subject::User(user) if *user == who.user);
            if of_pool.max.iter().any(his) {
                return None;
            }
            self.used_each.get(&(rule, who.user.clone())).copied().unwrap_or(0)
        } else if meant(&self.folded, subject, who) {
            self.used[rule]
        } else {
            return None;
        };
        Some((used, u64::from(*max)))
    }

    /// The lists of the pool, each rule with whether it means him.
    pub(crate) fn lists(&self, rules: &PoolRules, who: &Who) -> Lists {
        let sort = |list: &[usize]| {
            let means = |rule: usize| meant(&self.folded, &self.folded.rules[rule].subject, who);
            list.iter().map(|rule| (*rule, means(*rule))).collect()
        };
        Lists { exclude: sort(&rules.exclude), include: sort(&rules.include) }
    }

    /// The rule that excludes him.
    pub(crate) fn excluded(&self, rules: &PoolRules, who: &Who) -> Option<usize> {
        self.first_meant(&rules.exclude, who)
    }

    /// The first rule of the list on which he is missing.
    pub(crate) fn not_included(&self, rules: &PoolRules, who: &Who) -> Option<usize> {
        let first = rules.include.first()?;
        self.first_meant(&rules.include, who).is_none().then_some(*first)
    }

    /// The rule by which he may not borrow.
    pub(crate) fn may_not_borrow(&self, rules: &PoolRules, who: &Who) -> Option<usize> {
        self.first_meant(&rules.exclude_borrow, who).or_else(|| {
            let first = rules.include_borrow.first()?;
            self.first_meant(&rules.include_borrow, who).is_none().then_some(*first)
        })
    }

    /// The first rule of the list that means him.
    fn first_meant(&self, list: &[usize], who: &Who) -> Option<usize> {
        let means = |rule: &&usize| meant(&self.folded, &self.folded.rules[**rule].subject, who);
        list.iter().find(means).copied()
    }

    /// His place in the queue for a pool.
    pub(crate) fn priority(&self, pool: PoolId, who: &Who) -> u32 {
        let rules = self.pools.get(&pool).map(|rules| rules.priority.as_slice());
        let priorities = rules.unwrap_or_default().iter().filter_map(|rule| {
            let rule = &self.folded.rules[*rule];
            match rule.kind {
                RuleKind::Priority(priority) if meant(&self.folded, &rule.subject, who) => {
                    Some(priority)
                }
                _ => None,
            }
        });
        priorities.max().unwrap_or(0)
    }

    /// The seats of a feature that are kept, and where they lie. With `alone`, as
    /// if all but this holder's group had returned what they hold.
    pub(crate) fn kept(&self, pools: &Pools, feature: &FeatureName, alone: Alone<'_>) -> Kept {
        let Some(reservations) = self.reservations.get(feature) else { return Kept::default() };
        let mut own: Vec<(usize, Vec<usize>, u64)> = Vec::new();
        let mut held: Vec<Held<'_>> = Vec::new();
        let mut rooms = Vec::with_capacity(reservations.pools().len());
        for (place, id) in reservations.pools().iter().enumerate() {
            let (pool, rules) = (pools.held(*id), &self.pools[id]);
            let free = match alone {
                None => {
                    let all = rules.held.iter();
                    held.extend(all.map(|(draws_from, seats)| Held {
                        draws_from,
                        pool: place,
                        seats: *seats,
                    }));
                    pool.free()
                }
                Some(holder) => {
                    let group = pools.group_of(*id, holder);
                    let seats = group.as_ref().map_or(0, |weight| weight.seats);
                    if let Some(Weight { owner, seats }) = group {
                        let from = rules.draws_from(&self.folded, &self.who(&owner));
                        own.push((place, from, seats));
                    }
                    pool.lendable().saturating_sub(seats)
                }
            };
            rooms.push(Room { free, licensed: pool.licensed });
        }
        held.extend(own.iter().map(|(pool, draws_from, seats)| Held {
            draws_from,
            pool: *pool,
            seats: *seats,
        }));
        reservations.keep(held, rooms)
    }

    /// What is kept of a pool, for him and for others.
    pub(crate) fn remaining(&self, kept: &Kept, id: PoolId, pool: &Pool, who: &Who) -> Remaining {
        let mut remaining = Remaining::default();
        let Some(rules) = self.pools.get(&id).filter(|rules| rules.reserves()) else {
            return remaining;
        };
        let reservations = &self.reservations[&pool.key.feature];
        let own = rules.draws_from(&self.folded, who);
        for (place, seats) in kept.of(id) {
            if own.contains(&place) {
                remaining.for_holder += seats;
            } else {
                remaining.for_others += seats;
                remaining.rule = remaining.rule.or(Some(reservations.rule(place)));
            }
        }
        remaining
    }

    /// What of the pool is kept for whom: the rule, seats, and how many of them
    /// are held by those they are kept for.
    pub(crate) fn reserved_of(&self, pools: &Pools, id: PoolId) -> Vec<(usize, u64, u64)> {
        let Some(pool) = pools.pool(id) else { return Vec::new() };
        let feature = &pool.key.feature;
        let Some(reservations) = self.reservations.get(feature) else { return Vec::new() };
        let kept = self.kept(pools, feature, None);
        let mut of_pool: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
        kept.of(id).for_each(|(place, seats)| of_pool.entry(place).or_default().0 += seats);
        for (place, seats) in kept.drawn_of(id) {
            let (kept, drawn) = of_pool.entry(place).or_default();
            *kept += seats;
            *drawn += seats;
        }
        let in_words = |(place, (kept, drawn))| (reservations.rule(place), kept, drawn);
        of_pool.into_iter().map(in_words).collect()
    }

    /// Whether seats of the feature are reserved.
    pub(crate) fn reserves(&self, feature: &FeatureName) -> bool {
        self.reservations.contains_key(feature)
    }

    /// The lease that he gets for the one that he asks for.
    pub(crate) fn lease_ms(&self, holder: &Holder, asked_ms: u64) -> u64 {
        let Some(_) = self.policy else { return asked_ms };
        let who = self.who(holder);
        let mut lease_ms = asked_ms;
        for rule in &self.folded.rules {
            if let RuleKind::LeaseBoundsMs { min, max } = rule.kind
                && meant(&self.folded, &rule.subject, &who)
            {
                lease_ms = asked_ms.min(max).max(min);
            }
        }
        lease_ms
    }

    /// The longest lease that somebody gets though he asks for less; 0: nobody does.
    pub(crate) fn longest_lease_min_ms(&self) -> u64 {
        let longest = self.folded.rules.iter().filter_map(|rule| match rule.kind {
            RuleKind::LeaseBoundsMs { min, .. } => Some(min),
            _ => None,
        });
        longest.max().unwrap_or(0)
    }

    /// How often clients are told to send a heartbeat, at least and at most.
    pub(crate) fn heartbeat_bounds_ms(&self) -> Option<(u64, u64)> {
        // The later of two counts.
        self.folded.rules.iter().rev().find_map(|rule| match rule.kind {
            RuleKind::HeartbeatBoundsMs { min, max } => Some((min, max)),
            _ => None,
        })
    }

    /// For tests: equal if the same was counted.
    pub(crate) fn counted(&self) -> Counted<'_> {
        let held = self.pools.iter().map(|(id, rules)| (*id, &rules.held));
        (&self.used, &self.used_each, held.filter(|(_, held)| !held.is_empty()).collect())
    }
}

impl PoolRules {
    fn sort_in(&mut self, index: usize, kind: RuleKind, _subject: &Subject) {
        match kind {
            RuleKind::Include | RuleKind::IncludeAll => self.include.push(index),
            RuleKind::Exclude | RuleKind::ExcludeAll => self.exclude.push(index),
            RuleKind::IncludeBorrow => self.include_borrow.push(index),
            RuleKind::ExcludeBorrow => self.exclude_borrow.push(index),
            RuleKind::Max(_) => self.max.push(index),
            RuleKind::LingerMs(ms) => self.linger = Some((index, ms)),
            RuleKind::IdleTimeoutMs(ms) => self.idle = Some((index, ms)),
            // One for the feature itself comes later and overrides it.
            RuleKind::IdleTimeoutAllMs(ms) => self.idle = Some((index, ms)),
            RuleKind::BorrowLowwater(seats) => self.lowwater = Some((index, seats.into())),
            RuleKind::MaxBorrowMs(ms) => self.borrow_max = Some((index, ms)),
            RuleKind::MaxOverdraft(seats) => self.overdraft_max = Some((index, seats.into())),
            RuleKind::Priority(_) => self.priority.push(index),
            // Laid on the pools together, see `Rulebook::reserve`.
            RuleKind::Reserve(_) => {}
            RuleKind::LeaseBoundsMs { .. } | RuleKind::HeartbeatBoundsMs { .. } => {}
        }
    }

    /// The reservations that are for him.
    fn draws_from(&self, policy: &Policy, who: &Who) -> Vec<usize> {
        let reserved = self.reserve.iter();
        let own = reserved.filter(|(_, rule)| meant(policy, &policy.rules[*rule].subject, who));
        own.map(|(place, _)| *place).collect()
    }

    pub(crate) fn reserves(&self) -> bool {
        !self.reserve.is_empty()
    }

    /// Whether the line's names let him in; `None` if it has no names.
    pub(crate) fn named(&self, who: &Who) -> Option<Named> {
        let of = |names: &Option<BTreeSet<Label>>, name: &Label| {
            names.as_ref().map(|names| match names.contains(name) {
                _ if names.is_empty() => Named::Nobody,
                true => Named::Yes,
                false => Named::No,
            })
        };
        let both = [of(&self.users, &who.user), of(&self.hosts, &who.host)];
        both.into_iter().flatten().max()
    }
}

/// Whether a user-based or host-based line is for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    Yes,
    No,
    /// There are no names at all.
    Nobody,
}

fn selects(selector: &FeatureSelector, key: &PoolKey) -> bool {
    let FeatureSelector { feature, version, vendor_string, expires_ms, hostid } = selector;
    *feature == key.feature
        && version.is_none_or(|version| version == key.version)
        && vendor_string.as_ref().is_none_or(|text| *text == key.vendor_string)
        && expires_ms.is_none_or(|at| key.expires_ms == Some(at))
        && hostid.as_ref().is_none_or(|id| key.terms.hostids.contains(id))
}

fn who(policy: &Policy, holder: &Holder) -> Who {
    let fold = |label: &Label| {
        if policy.case_insensitive { label.to_ascii_lowercase() } else { label.clone() }
    };
    Who {
        user: fold(&holder.user),
        host: fold(&holder.host),
        display: fold(&holder.display),
        project: fold(&holder.project),
        address: holder.address,
    }
}

fn meant(policy: &Policy, subject: &Subject, who: &Who) -> bool {
    match subject {
        Subject::Anyone | Subject::EachUser => true,
        Subject::User(user) => *user == who.user,
        Subject::Host(host) => *host == who.host,
        Subject::Display(display) => *display == who.display,
        Subject::Project(project) => *project == who.project,
        Subject::Group(group) => {
            policy.groups.get(group).is_some_and(|users| users.contains(&who.user))
        }
        Subject::HostGroup(group) => policy.host_groups.get(group).is_some_and(|hosts| {
            hosts.names.contains(&who.host)
                || who.address.is_some_and(|a| hosts.networks.iter().any(|n| n.contains(a)))
        }),
        Subject::Internet(network) => who.address.is_some_and(|a| network.contains(a)),
    }
}

fn fold_policy(policy: &mut Policy) {
    let fold = |label: &mut Label| *label = label.to_ascii_lowercase();
    let fold_set = |names: &mut BTreeSet<Label>| {
        *names = names.iter().map(Label::to_ascii_lowercase).collect();
    };
    policy.groups.values_mut().for_each(fold_set);
    for HostMembers { names, .. } in policy.host_groups.values_mut() {
        fold_set(names);
    }
    for rule in &mut policy.rules {
        match &mut rule.subject {
            Subject::User(name)
            | Subject::Host(name)
            | Subject::Display(name)
            | Subject::Project(name) => fold(name),
            _ => {}
        }
    }
}

/// The seats of a pool that may be lent, for those who look at one.
impl Pool {
    /// Seats bought, and as many beyond them as license and policy allow.
    pub fn lendable(&self) -> u64 {
        self.licensed + self.overdraft.min(self.overdraft_max.unwrap_or(u64::MAX))
    }
}
