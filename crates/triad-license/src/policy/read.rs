//! The policy as written, and then checked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::Timestamp;
use toml::Spanned;
use toml::value::Datetime;
use triad_ledger::names::{FeatureName, Label, NameError, Version};
use triad_ledger::policy::{
    FeatureSelector, GROUPS_MAX, GroupName, HostMembers, MEMBERS_MAX, Network, Policy, RULES_MAX,
    Rule, RuleId, RuleKind, Subject,
};

use super::raw::{RawBounds, RawMembers, RawPolicy, RawRule};
use super::tables::{Need, TABLES, Table, ValueKey};
use super::{Findings, POLICY_BYTES_MAX, Places, PolicyDocument, period};
use crate::dates::{Day, Zone};
use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Severity, Source};
use crate::error::printable;
use crate::suggest::nearest;

/// Keys that are not the name of a rule's table, for the hint after a
/// misspelt one.
const OTHER_KEYS: [&str; 25] = [
    "case",
    "zone",
    "groups",
    "host_groups",
    "lease",
    "heartbeat",
    "feature",
    "version",
    "vendor_string",
    "expires",
    "hostid",
    "user",
    "host",
    "display",
    "project",
    "group",
    "host_group",
    "internet",
    "each",
    "seats",
    "level",
    "after",
    "period",
    "min",
    "max",
];
const SUBJECT_HELP: &str =
    "one of user, host, display, project, group, host_group, internet = \"...\"";

pub(super) fn read(text: &str) -> Result<PolicyDocument, Vec<Diagnostic>> {
    let source = Source::new(text);
    if text.len() > POLICY_BYTES_MAX {
        let message =
            format!("the policy has {} bytes, at most {POLICY_BYTES_MAX} are allowed", text.len());
        let help = "leave some rules out";
        return Err(vec![source.diagnostic(Severity::Error, "too-large", 0..0, message, help)]);
    }
    let raw: RawPolicy = match toml::from_str(text) {
        Ok(raw) => raw,
        Err(error) => return Err(vec![malformed(&source, text, &error)]),
    };
    let mut reader =
        Reader { findings: Findings::new(&source), doubts: Findings::new(&source), zone: None };
    let document = reader.policy(&raw, text, &source);
    let (errors, doubts) = (reader.findings.list, reader.doubts.list);
    if errors.is_empty() { Ok(PolicyDocument { doubts, ..document }) } else { Err(errors) }
}

fn malformed(source: &Source<'_>, text: &str, error: &toml::de::Error) -> Diagnostic {
    let span = error.span().unwrap_or(0..0);
    let key = text.get(span.clone()).unwrap_or_default().trim();
    let message = error.message();
    let known = TABLES.iter().map(|table| table.name).chain(OTHER_KEYS);
    let help = if !message.starts_with("unknown field") {
        String::new()
    } else if let Some(name) = nearest(key, known).filter(|name| *name != key) {
        format!("did you mean `{name}`?")
    } else if matches!(key, "case" | "zone") {
        format!("`{key}` stands above the first [table]")
    } else {
        String::new()
    };
    // The list of all keys that the parser appends is longer than any screen.
    let message = printable(message.split(", expected one of").next().unwrap_or(message));
    source.diagnostic(Severity::Error, "malformed", span, message, help)
}

/// Collects findings on its way through the document.
struct Reader<'a> {
    findings: Findings<'a>,
    doubts: Findings<'a>,
    zone: Option<Zone>,
}

impl Reader<'_> {
    fn policy(&mut self, raw: &RawPolicy, text: &str, source: &Source<'_>) -> PolicyDocument {
        let mut policy = Policy { text: text.to_owned(), ..Policy::default() };
        policy.case_insensitive = self.case(raw.case.as_ref());
        self.zone = self.zone(raw.zone.as_ref());
        let mut group_places = BTreeMap::new();
        let mut host_group_places = BTreeMap::new();
        self.check_group_counts(raw);
        for (name, members) in &raw.groups {
            let Some(group) = self.named(name, GroupName::parse) else { continue };
            let members = self.members(name.get_ref(), members);
            group_places.insert(group.clone(), name.span());
            policy.groups.insert(group, members);
        }
        for (name, members) in &raw.host_groups {
            let Some(group) = self.named(name, GroupName::parse) else { continue };
            let members = self.host_members(name.get_ref(), members);
            host_group_places.insert(group.clone(), name.span());
            policy.host_groups.insert(group, members);
        }
        let mut rules = self.rules(raw, &policy);
        // Rules are counted as they stand in the document, whatever their kind.
        rules.sort_by_key(|(_, places)| places.head.start);
        if let Some((_, places)) = rules.get(RULES_MAX) {
            let message = format!("{} rules; at most {RULES_MAX} are allowed", rules.len());
            self.findings.error("too-many", places.head.clone(), message, "name groups instead");
            rules.truncate(RULES_MAX);
        }
        let mut all_places = Vec::with_capacity(rules.len());
        for (number, (mut rule, places)) in (1..).zip(rules) {
            let line = u32::try_from(source.line_at(places.head.start)).unwrap_or(u32::MAX);
            rule.id = RuleId { number, line };
            policy.rules.push(rule);
            all_places.push(places);
        }
        PolicyDocument {
            policy,
            doubts: Vec::new(),
            places: all_places,
            group_places,
            host_group_places,
        }
    }

    fn case(&mut self, raw: Option<&Spanned<String>>) -> bool {
        match raw.map(|case| (case.get_ref().as_str(), case.span())) {
            None | Some(("exact", _)) => false,
            Some(("ignore", _)) => true,
            Some((_, span)) => {
                let message = "`case` is neither \"exact\" nor \"ignore\"";
                self.findings.error("bad-value", span, message, "write one of the two");
                false
            }
        }
    }

    fn zone(&mut self, raw: Option<&Spanned<String>>) -> Option<Zone> {
        let raw = raw?;
        let zone = Zone::parse(raw.get_ref());
        if zone.is_none() {
            let help = "write an IANA name such as \"Europe/Berlin\"";
            self.findings.error("bad-value", raw.span(), "no such time zone", help);
        }
        zone
    }

    fn check_group_counts(&mut self, raw: &RawPolicy) {
        let groups = raw.groups.len() + raw.host_groups.len();
        let members = raw.groups.values().chain(raw.host_groups.values()).map(Vec::len);
        for (found, max, what) in
            [(groups, GROUPS_MAX, "groups"), (members.sum(), MEMBERS_MAX, "members of groups")]
        {
            if found > max {
                let message = format!("{found} {what}; at most {max} are allowed");
                self.findings.error("too-many", 0..0, message, "leave some out");
            }
        }
    }

    fn members(&mut self, group: &str, raw: &RawMembers) -> BTreeSet<Label> {
        let mut members = BTreeSet::new();
        for name in raw {
            let Some(label) = self.label(name) else { continue };
            if label.as_str().contains('*') {
                let help = "names are compared whole; list the users";
                self.doubts.warning("wildcard", name.span(), "`*` is no wildcard here", help);
            }
            if !members.insert(label) {
                self.twice(group, name);
            }
        }
        members
    }

    fn host_members(&mut self, group: &str, raw: &RawMembers) -> HostMembers {
        let mut members = HostMembers::default();
        let mut seen = BTreeSet::new();
        for name in raw {
            if !seen.insert(name.get_ref()) {
                self.twice(group, name);
                continue;
            }
            match network(name.get_ref()) {
                Some(Ok(network)) => members.networks.push(network),
                Some(Err(reason)) => self.misnamed(name.span(), &reason),
                None => members.names.extend(self.label(name)),
            }
        }
        members
    }

    fn twice(&mut self, group: &str, name: &Spanned<String>) {
        let name_text = printable(name.get_ref());
        let message = format!("{name_text:?} stands twice in group {:?}", printable(group));
        self.doubts.warning("member-twice", name.span(), message, "it counts once; remove one");
    }

    fn rules(&mut self, raw: &RawPolicy, policy: &Policy) -> Vec<(Rule, Places)> {
        let mut rules = Vec::new();
        for (table, raw_rules) in TABLES.iter().zip(raw.tables()) {
            for raw_rule in raw_rules {
                rules.extend(self.rule(table, raw_rule, policy));
            }
        }
        if let Some(raw) = &raw.lease {
            rules.extend(self.bounds(raw, |min, max| RuleKind::LeaseBoundsMs { min, max }));
        }
        if let Some(raw) = &raw.heartbeat {
            rules.extend(self.bounds(raw, |min, max| RuleKind::HeartbeatBoundsMs { min, max }));
        }
        rules
    }

    fn bounds(
        &mut self,
        raw: &Spanned<RawBounds>,
        kind: fn(u64, u64) -> RuleKind,
    ) -> Option<(Rule, Places)> {
        let (min, max) = (&raw.get_ref().min, &raw.get_ref().max);
        let (min_ms, max_ms) = (self.period(min), self.period(max));
        let (min_ms, max_ms) = (min_ms?, max_ms?);
        if min_ms == 0 || min_ms > max_ms {
            let message = format!("`min` is {}, `max` is {}", min.get_ref(), max.get_ref());
            let help = "`min` is more than 0 and not more than `max`";
            self.findings.error("bad-value", min.span(), message, help);
            return None;
        }
        let rule = Rule {
            id: RuleId { number: 0, line: 0 },
            selector: None,
            kind: kind(min_ms, max_ms),
            subject: Subject::Anyone,
        };
        Some((rule, Places { head: raw.span(), value: Some(min.span()), ..Places::default() }))
    }

    fn rule(
        &mut self,
        table: &Table,
        raw: &Spanned<RawRule>,
        policy: &Policy,
    ) -> Option<(Rule, Places)> {
        let (head, raw) = (raw.span(), raw.get_ref());
        let selector = self.selector(table, raw, &head);
        let subject = self.subject(table, raw, &head, policy);
        let kind = self.kind(table, raw, &head);
        let span = |key: &Option<Spanned<String>>| key.as_ref().map(Spanned::span);
        let places = Places {
            feature: span(&raw.feature),
            subject: raw.subjects().into_iter().find_map(|(_, key)| span(key)),
            value: raw.values().into_iter().find_map(|(_, value)| value),
            head,
        };
        let id = RuleId { number: 0, line: 0 };
        Some((Rule { id, selector: selector?, kind: kind?, subject: subject? }, places))
    }

    /// `Some(None)`: every feature.
    fn selector(
        &mut self,
        table: &Table,
        raw: &RawRule,
        head: &Range<usize>,
    ) -> Option<Option<FeatureSelector>> {
        let parts = [
            ("version", raw.version.as_ref().map(Spanned::span)),
            ("vendor_string", raw.vendor_string.as_ref().map(Spanned::span)),
            ("expires", raw.expires.as_ref().map(Spanned::span)),
            ("hostid", raw.hostid.as_ref().map(Spanned::span)),
        ];
        let Some(feature) = &raw.feature else {
            if table.feature == Need::Required {
                self.missing(table, "feature", head, "feature = \"...\"");
                return None;
            }
            for (key, span) in parts {
                if let Some(span) = span {
                    let message = format!("`{key}` chooses a pool of a feature that is not named");
                    self.findings.error("missing-key", span, message, "add feature = \"...\"");
                    return None;
                }
            }
            return Some(None);
        };
        if table.feature == Need::Never {
            let help = match table.name.strip_suffix("_all") {
                Some(other) => format!("write [[{other}]] for one feature"),
                None => "remove it".to_owned(),
            };
            self.extra(table, "feature", feature.span(), &help);
            return None;
        }
        let mut selector = FeatureSelector::all_of(self.named(feature, FeatureName::parse)?);
        if let Some(version) = &raw.version {
            selector.version = Some(self.named(version, Version::parse)?);
        }
        if let Some(text) = &raw.vendor_string {
            selector.vendor_string = Some(self.named(text, Label::parse)?);
        }
        if let Some(hostid) = &raw.hostid {
            selector.hostid = Some(self.label(hostid)?);
        }
        if let Some(expires) = &raw.expires {
            selector.expires_ms = Some(self.expires_ms(expires)?);
        }
        Some(Some(selector))
    }

    /// A day counts in the zone of the document; an instant is taken as it is.
    fn expires_ms(&mut self, raw: &Spanned<Datetime>) -> Option<u64> {
        let zone = self.zone.clone().unwrap_or_else(Zone::utc);
        let ends_ms = match raw.get_ref() {
            Datetime { date: Some(date), time: None, offset: None } => {
                Day::from_toml(*date).and_then(|day| zone.ends_ms(day))
            }
            instant @ Datetime { offset: Some(_), .. } => {
                let instant = instant.to_string().parse::<Timestamp>().ok();
                instant.and_then(|at| u64::try_from(at.as_millisecond()).ok())
            }
            _ => None,
        };
        if ends_ms.is_none() {
            let help = "write the last day, such as 2026-12-31";
            self.findings.error("bad-value", raw.span(), "not a day from 1970 on", help);
        }
        ends_ms
    }

    fn subject(
        &mut self,
        table: &Table,
        raw: &RawRule,
        head: &Range<usize>,
        policy: &Policy,
    ) -> Option<Subject> {
        let mut given = raw.subjects().into_iter().filter_map(|(k, v)| Some((k, v.as_ref()?)));
        let Some((key, value)) = given.next() else {
            if table.subject == Need::Required {
                self.missing(table, "subject", head, SUBJECT_HELP);
                return None;
            }
            return Some(Subject::Anyone);
        };
        if table.subject == Need::Never {
            self.extra(table, key, value.span(), "it holds for everybody; remove it");
            return None;
        }
        if let Some((second, value)) = given.next() {
            let message = format!("both `{key}` and `{second}`; a rule is about one of them");
            let help = "write a rule for each";
            self.findings.error("two-subjects", value.span(), message, help);
            return None;
        }
        match key {
            "each" => self.each(table, value),
            "user" => self.label(value).map(Subject::User),
            "host" => self.label(value).map(Subject::Host),
            "display" => self.label(value).map(Subject::Display),
            "project" => self.label(value).map(Subject::Project),
            "internet" => self.named(value, Network::parse).map(Subject::Internet),
            "group" => self.group(value, policy).map(Subject::Group),
            _ => self.host_group(value, policy).map(Subject::HostGroup),
        }
    }

    /// Everybody for himself: only a MAX counts so.
    fn each(&mut self, table: &Table, value: &Spanned<String>) -> Option<Subject> {
        if table.name != "max" {
            self.extra(table, "each", value.span(), SUBJECT_HELP);
            return None;
        }
        if value.get_ref() != "user" {
            let message = format!("nothing is counted for each {:?}", printable(value.get_ref()));
            self.findings.error("bad-value", value.span(), message, "write each = \"user\"");
            return None;
        }
        Some(Subject::EachUser)
    }

    fn group(&mut self, value: &Spanned<String>, policy: &Policy) -> Option<GroupName> {
        let name = self.named(value, GroupName::parse)?;
        if !policy.groups.contains_key(&name) {
            let there = policy.host_groups.contains_key(&name);
            let other = there.then_some("that is a host group; write host_group = ");
            self.unknown_group("group", value, other, policy.groups.keys());
            return None;
        }
        Some(name)
    }

    fn host_group(&mut self, value: &Spanned<String>, policy: &Policy) -> Option<GroupName> {
        let name = self.named(value, GroupName::parse)?;
        if !policy.host_groups.contains_key(&name) {
            let there = policy.groups.contains_key(&name);
            let other = there.then_some("that is a group of users; write group = ");
            self.unknown_group("host group", value, other, policy.host_groups.keys());
            return None;
        }
        Some(name)
    }

    fn unknown_group<'n>(
        &mut self,
        what: &str,
        value: &Spanned<String>,
        other: Option<&str>,
        known: impl Iterator<Item = &'n GroupName>,
    ) {
        // Groups are many: nothing is looked up for findings beyond the bound.
        if self.findings.list.len() >= DIAGNOSTICS_MAX {
            return;
        }
        let written = printable(value.get_ref());
        let help = match (other, nearest(value.get_ref(), known.map(GroupName::as_str))) {
            (Some(other), _) => format!("{other}{written:?}"),
            (None, Some(name)) => format!("did you mean {:?}?", printable(name)),
            (None, None) => {
                let table = if what == "group" { "[groups]" } else { "[host_groups]" };
                format!("define it under {table}")
            }
        };
        let message = format!("no {what} is called {written:?}");
        self.findings.error("unknown-group", value.span(), message, help);
    }

    fn kind(&mut self, table: &Table, raw: &RawRule, head: &Range<usize>) -> Option<RuleKind> {
        for (key, span) in raw.values() {
            if let Some(span) = span
                && table.value != Some(key)
            {
                let help = match table.value {
                    Some(wanted) => format!("write `{}`", wanted.as_str()),
                    None => "remove it".to_owned(),
                };
                self.extra(table, key.as_str(), span, &help);
                return None;
            }
        }
        let Some(key) = table.value else { return (table.kind)(0) };
        let (value, span) = match key {
            ValueKey::Seats => raw.seats.as_ref().map(|n| (Some(*n.get_ref()), n.span())),
            ValueKey::Level => raw.level.as_ref().map(|n| (Some(*n.get_ref()), n.span())),
            ValueKey::After => raw.after.as_ref().map(|text| (self.period(text), text.span())),
            ValueKey::Period => raw.period.as_ref().map(|text| (self.period(text), text.span())),
        }
        .or_else(|| {
            let example = if key.is_period() { "\"30m\"" } else { "5" };
            self.missing(table, key.as_str(), head, &format!("{} = {example}", key.as_str()));
            None
        })?;
        let kind = (table.kind)(value?);
        if kind.is_none() {
            let message = format!("`{}` is out of range for [[{}]]", key.as_str(), table.name);
            let help = "write more than 0, and at most 4294967295";
            self.findings.error("bad-value", span, message, help);
        }
        kind
    }

    fn period(&mut self, raw: &Spanned<String>) -> Option<u64> {
        let period_ms = period::parse(raw.get_ref());
        if period_ms.is_none() {
            let message = format!("{:?} is no length of time", printable(raw.get_ref()));
            let help = "write digits and one of ms, s, m, h, d, such as \"30m\"; at most \"3650d\"";
            self.findings.error("bad-value", raw.span(), message, help);
        }
        period_ms
    }

    fn named<T>(
        &mut self,
        value: &Spanned<String>,
        parse: impl FnOnce(&str) -> Result<T, NameError>,
    ) -> Option<T> {
        match parse(value.get_ref()) {
            Ok(good) => Some(good),
            Err(reason) => {
                self.misnamed(value.span(), &reason);
                None
            }
        }
    }

    fn label(&mut self, value: &Spanned<String>) -> Option<Label> {
        self.named(
            value,
            |text| {
                if text.is_empty() { Err(NameError::Empty) } else { Label::parse(text) }
            },
        )
    }

    fn misnamed(&mut self, span: Range<usize>, reason: &NameError) {
        self.findings.error("bad-name", span, reason.to_string(), "correct it");
    }

    fn missing(&mut self, table: &Table, key: &str, head: &Range<usize>, help: &str) {
        let message = format!("[[{}]] needs a `{key}`", table.name);
        self.findings.error("missing-key", head.clone(), message, format!("add {help}"));
    }

    fn extra(&mut self, table: &Table, key: &str, span: Range<usize>, help: &str) {
        let message = format!("[[{}]] takes no `{key}`", table.name);
        self.findings.error("extra-key", span, message, help);
    }
}

/// The network that a member of a host group means; `None`: it is a name.
fn network(text: &str) -> Option<Result<Network, NameError>> {
    let network = Network::parse(text);
    let meant = network.is_ok() || text.contains(['/', '*']);
    meant.then_some(network)
}
