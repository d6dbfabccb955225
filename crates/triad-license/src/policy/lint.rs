//! What a policy probably does not mean: findings that do not keep it from
//! being applied.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use triad_ledger::names::Label;
use triad_ledger::policy::{GroupName, Rule, RuleKind, Subject};
use triad_ledger::rights::Line;

use super::diff::{about, selector, value};
use super::{Findings, Places, PolicyDocument, render};
use crate::diagnostic::{DIAGNOSTICS_MAX, Diagnostic, Source};
use crate::error::printable;

pub(super) fn lint(document: &PolicyDocument, licensed: Option<&[Line]>) -> Vec<Diagnostic> {
    let source = Source::new(&document.policy.text);
    let mut lint = Lint {
        document,
        rules: document.policy.rules.iter().zip(&document.places).collect(),
        findings: Findings::new(&source),
    };
    lint.groups();
    lint.spellings();
    lint.doubtful_subjects();
    lint.repeated();
    lint.contradictions();
    lint.borrowers();
    if let Some(lines) = licensed {
        lint.rights(lines);
    }
    let mut found = document.doubts.clone();
    found.append(&mut lint.findings.list);
    found.sort_by_key(|finding| (finding.line, finding.column));
    found.truncate(DIAGNOSTICS_MAX);
    found
}

pub(super) struct Lint<'a> {
    document: &'a PolicyDocument,
    pub(super) rules: Vec<(&'a Rule, &'a Places)>,
    pub(super) findings: Findings<'a>,
}

/// Whom the includes of one feature let in.
#[derive(Default)]
struct Included<'a> {
    subjects: BTreeSet<String>,
    groups: BTreeSet<&'a GroupName>,
}

impl<'a> Lint<'a> {
    /// Groups without members, and groups that no rule names.
    fn groups(&mut self) {
        let policy = &self.document.policy;
        let mut used = BTreeSet::new();
        for rule in &policy.rules {
            match &rule.subject {
                Subject::Group(name) => used.insert(("group", name)),
                Subject::HostGroup(name) => used.insert(("host group", name)),
                _ => false,
            };
        }
        let users = policy.groups.iter().map(|(name, members)| {
            ("group", name, members.is_empty(), &self.document.group_places)
        });
        let hosts = policy.host_groups.iter().map(|(name, members)| {
            let empty = members.names.is_empty() && members.networks.is_empty();
            ("host group", name, empty, &self.document.host_group_places)
        });
        for (what, name, empty, places) in users.chain(hosts) {
            let span = places.get(name).cloned().unwrap_or(0..0);
            let shown = printable(name.as_str());
            if empty {
                let message = format!("{what} {shown:?} is empty");
                let help = "rules about it are about nobody";
                self.findings.warning("empty-group", span, message, help);
            } else if !used.contains(&(what, name)) {
                let message = format!("no rule names {what} {shown:?}");
                self.findings.warning("unused-group", span, message, "remove it, or use it");
            }
        }
    }

    /// The same name in two cases, where case counts.
    fn spellings(&mut self) {
        let policy = &self.document.policy;
        if policy.case_insensitive {
            return;
        }
        let mut seen: BTreeMap<(&str, String), &'a Label> = BTreeMap::new();
        let mut differing: Vec<(&'a Label, &'a Label, Range<usize>)> = Vec::new();
        let mut see = |what: &'static str, name: &'a Label, span: Range<usize>| {
            let first = *seen.entry((what, name.as_str().to_lowercase())).or_insert(name);
            if first != name {
                differing.push((first, name, span));
            }
        };
        let place = |places: &BTreeMap<_, Range<usize>>, name: &_| {
            places.get(name).cloned().unwrap_or(0..0)
        };
        for (group, members) in &policy.groups {
            let span = place(&self.document.group_places, group);
            members.iter().for_each(|name| see("user", name, span.clone()));
        }
        for (group, members) in &policy.host_groups {
            let span = place(&self.document.host_group_places, group);
            members.names.iter().for_each(|name| see("host", name, span.clone()));
        }
        for (rule, places) in &self.rules {
            let span = places.subject.clone().unwrap_or(places.head.clone());
            match &rule.subject {
                Subject::User(name) => see("user", name, span),
                Subject::Host(name) => see("host", name, span),
                _ => {}
            }
        }
        for (first, name, span) in differing {
            let (first, name) = (printable(first.as_str()), printable(name.as_str()));
            let message = format!("{name:?} differs from {first:?} in nothing but its case");
            let help = "both are different names; write one way, or set case = \"ignore\"";
            self.findings.warning("case-differs", span, message, help);
        }
    }

    /// Wildcards where there are none, addresses where names are expected.
    fn doubtful_subjects(&mut self) {
        for (rule, places) in &self.rules {
            let span = places.subject.clone().unwrap_or(places.head.clone());
            let name = match &rule.subject {
                Subject::User(name)
                | Subject::Host(name)
                | Subject::Display(name)
                | Subject::Project(name) => name.as_str(),
                Subject::Internet(network) => {
                    let all = ["0.0.0.0".parse::<IpAddr>(), "255.255.255.255".parse()];
                    if all.into_iter().flatten().all(|address| network.contains(address)) {
                        let help = "every address is one of these";
                        let message = format!("{network} is no network in particular");
                        self.findings.warning("whole-internet", span, message, help);
                    }
                    continue;
                }
                _ => continue,
            };
            if name.contains('*') {
                let help = match rule.subject {
                    Subject::Host(_) => "write internet = for addresses, or a host_group",
                    _ => "names are compared whole; write a group",
                };
                self.findings.warning("wildcard", span, "`*` is no wildcard here", help);
            } else if name.trim() != name {
                let message = format!("{name:?} begins or ends with a blank");
                self.findings.warning("blank", span, message, "no client has such a name");
            } else if matches!(rule.subject, Subject::Host(_)) && name.parse::<IpAddr>().is_ok() {
                let help = format!("write internet = {name:?} to mean the address");
                let message = "an address where the name of a host is expected";
                self.findings.warning("address", span, message, help);
            }
        }
    }

    /// Rules about the same thing: of two values one counts, and reservations
    /// add up.
    fn repeated(&mut self) {
        let mut seen: BTreeMap<String, &Rule> = BTreeMap::new();
        for (rule, places) in &self.rules {
            let key = self.folded(&about(rule));
            let Some(first) = seen.insert(key, rule) else { continue };
            let (at, line) = (places.head.clone(), first.id.line);
            let (was, is) = (value(&first.kind), value(&rule.kind));
            let (code, message, help) = if matches!(rule.kind, RuleKind::Reserve(_)) {
                let message = format!("the same subject has a reservation in line {line}");
                ("duplicate", message, "both are counted; write one with the sum".to_owned())
            } else if was == is {
                ("duplicate", format!("the same rule stands in line {line}"), "remove one".into())
            } else {
                let message = format!("line {line} says {was}, this {is}");
                let help = match rule.kind {
                    RuleKind::Max(_) => "both hold, so the lower counts; remove the other",
                    RuleKind::Priority(_) => "the higher counts; remove the other",
                    _ => "the later rule counts; remove the other",
                };
                ("overruled", message, help.to_owned())
            };
            self.findings.warning(code, at, message, help);
        }
    }

    /// The same subject let in and kept out.
    fn contradictions(&mut self) {
        let mut excluded: BTreeMap<(bool, String, String), &Rule> = BTreeMap::new();
        for (rule, _) in &self.rules {
            let borrow = match rule.kind {
                RuleKind::Exclude | RuleKind::ExcludeAll => false,
                RuleKind::ExcludeBorrow => true,
                _ => continue,
            };
            excluded.insert((borrow, about_feature(rule), self.who(rule)), rule);
        }
        for (rule, places) in &self.rules {
            let (what, borrow) = match rule.kind {
                RuleKind::Include | RuleKind::IncludeAll => ("let in", false),
                RuleKind::IncludeBorrow => ("let borrow", true),
                RuleKind::Reserve(_) => ("given a reservation", false),
                _ => continue,
            };
            let feature = rule.selector.as_ref().map(|s| s.feature.to_string());
            let everything = (false, String::new(), self.who(rule));
            let keys = [
                (borrow, about_feature(rule), self.who(rule)),
                (borrow, feature.unwrap_or_default(), self.who(rule)),
                everything,
            ];
            let Some(other) = keys.iter().find_map(|key| excluded.get(key)) else { continue };
            let message = format!(
                "{} is {what} here and kept out by line {} ({})",
                printable(&rule.subject.to_string()),
                other.id.line,
                about(other),
            );
            let span = places.subject.clone().unwrap_or(places.head.clone());
            let help = "to be kept out counts more, so this rule never applies; remove one";
            self.findings.warning("contradiction", span, message, help);
        }
    }

    /// Who may borrow what he may not have.
    fn borrowers(&mut self) {
        let mut included: BTreeMap<&str, Included<'_>> = BTreeMap::new();
        for (rule, _) in &self.rules {
            if let (RuleKind::Include, Some(selector)) = (rule.kind, &rule.selector) {
                let included = included.entry(selector.feature.as_str()).or_default();
                included.subjects.insert(self.who(rule));
                if let Subject::Group(name) = &rule.subject {
                    included.groups.insert(name);
                }
            }
        }
        let mut groups_of: BTreeMap<String, BTreeSet<&GroupName>> = BTreeMap::new();
        for (name, members) in &self.document.policy.groups {
            for member in members {
                groups_of.entry(self.folded(member.as_str())).or_default().insert(name);
            }
        }
        let none = BTreeSet::new();
        for (rule, places) in &self.rules {
            let (RuleKind::IncludeBorrow, Some(selector)) = (rule.kind, &rule.selector) else {
                continue;
            };
            let feature = selector.feature.as_str();
            let Some(included) = included.get(feature) else { continue };
            let own = match &rule.subject {
                Subject::User(user) => groups_of.get(&self.folded(user.as_str())).unwrap_or(&none),
                _ => &none,
            };
            if included.subjects.contains(&self.who(rule)) || !own.is_disjoint(&included.groups) {
                continue;
            }
            let who = printable(&rule.subject.to_string());
            let message = format!("{who} may borrow {feature}, and no include lets it in");
            let span = places.subject.clone().unwrap_or(places.head.clone());
            let help = "add an [[include]] for the same subject";
            self.findings.warning("borrow-without-include", span, message, help);
        }
    }

    /// The subject, as names are compared.
    fn who(&self, rule: &Rule) -> String {
        let subject = render::subject(&rule.subject);
        self.folded(&subject.map_or(String::new(), |(key, name)| format!("{key} {name}")))
    }

    fn folded(&self, text: &str) -> String {
        if self.document.policy.case_insensitive {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }
    }
}

/// The feature or pool of a rule; empty: everything.
fn about_feature(rule: &Rule) -> String {
    rule.selector.as_ref().map(selector).unwrap_or_default()
}
