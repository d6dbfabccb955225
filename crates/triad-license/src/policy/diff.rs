//! What changes from one policy to another, in lines that can be read aloud.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use triad_ledger::policy::{FeatureSelector, Policy, Rule, RuleKind};

use super::tables::{ValueKey, name_of, value_of};
use super::{period, render};
use crate::error::printable;

/// A change of a group names so many members; the rest is counted.
const NAMES_MAX: usize = 20;

/// What `new` changes: a line with `+` for what is added, `-` for what is
/// gone and `~` for what is different. Rules that moved without changing any
/// answer are no change.
pub fn diff_policies(old: &Policy, new: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    if old.case_insensitive != new.case_insensitive {
        let word = |ignored: bool| if ignored { "ignore" } else { "exact" };
        let (from, to) = (word(old.case_insensitive), word(new.case_insensitive));
        lines.push(format!("~ case: {from} -> {to}"));
    }
    diff_groups("group", &user_groups(old), &user_groups(new), &mut lines);
    diff_groups("host_group", &host_groups(old), &host_groups(new), &mut lines);
    diff_rules(old, new, &mut lines);
    lines
}

/// A rule on one line, such as `max solver group cfd: 5 seats`.
pub fn rule_in_words(rule: &Rule) -> String {
    let (about, value) = (about(rule), value(&rule.kind));
    if value.is_empty() { about } else { format!("{about}: {value}") }
}

type Groups = BTreeMap<String, Vec<String>>;

fn user_groups(policy: &Policy) -> Groups {
    let groups = policy.groups.iter();
    groups
        .map(|(name, members)| {
            let mut all: Vec<String> = members.iter().map(|m| printable(m.as_str())).collect();
            all.sort();
            (printable(name.as_str()), all)
        })
        .collect()
}

fn host_groups(policy: &Policy) -> Groups {
    let groups = policy.host_groups.iter();
    groups
        .map(|(name, members)| {
            let names = members.names.iter().map(|m| printable(m.as_str()));
            let mut all: Vec<String> =
                names.chain(members.networks.iter().map(ToString::to_string)).collect();
            all.sort();
            (printable(name.as_str()), all)
        })
        .collect()
}

fn diff_groups(what: &str, old: &Groups, new: &Groups, lines: &mut Vec<String>) {
    for (name, members) in old {
        let Some(others) = new.get(name) else {
            lines.push(format!("- {what} {name}: {}", listed(members)));
            continue;
        };
        // Both lists are sorted.
        let missing = |from: &[String], these: &[String]| -> Vec<String> {
            from.iter().filter(|name| these.binary_search(name).is_err()).cloned().collect()
        };
        let (added, gone) = (missing(others, members), missing(members, others));
        let mut changes = Vec::new();
        if !added.is_empty() {
            changes.push(format!("+ {}", listed(&added)));
        }
        if !gone.is_empty() {
            changes.push(format!("- {}", listed(&gone)));
        }
        if !changes.is_empty() {
            lines.push(format!("~ {what} {name}: {}", changes.join("; ")));
        }
    }
    for (name, members) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        lines.push(format!("+ {what} {name}: {}", listed(members)));
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() {
        return "(empty)".to_owned();
    }
    let mut text = names[..names.len().min(NAMES_MAX)].join(", ");
    if names.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", names.len() - NAMES_MAX));
    }
    text
}

/// The values of all rules about the same thing, in their order.
fn diff_rules(old: &Policy, new: &Policy, lines: &mut Vec<String>) {
    let mut order = Vec::new();
    let mut both: BTreeMap<String, [Vec<String>; 2]> = BTreeMap::new();
    for (side, policy) in [old, new].into_iter().enumerate() {
        for rule in &policy.rules {
            let values = match both.entry(about(rule)) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    order.push(entry.key().clone());
                    entry.insert(Default::default())
                }
            };
            values[side].push(value(&rule.kind));
        }
    }
    for about in order {
        let [from, to] = &both[&about];
        if from == to {
            continue;
        }
        let told = |values: &[String]| match values {
            [value] if !value.is_empty() => format!(": {value}"),
            [_] => String::new(),
            [value, ..] if value.is_empty() => format!(": {} times", values.len()),
            _ => format!(": {}", values.join(", then ")),
        };
        lines.push(match (from.is_empty(), to.is_empty()) {
            (true, _) => format!("+ {about}{}", told(to)),
            (_, true) => format!("- {about}{}", told(from)),
            _ => {
                let shown = |values: &[String]| match told(values).strip_prefix(": ") {
                    Some(told) => told.to_owned(),
                    None => "once".to_owned(),
                };
                format!("~ {about}: {} -> {}", shown(from), shown(to))
            }
        });
    }
}

/// What a rule is about, without its value.
pub(super) fn about(rule: &Rule) -> String {
    let mut words = vec![name_of(&rule.kind).to_owned()];
    words.extend(rule.selector.as_ref().map(selector));
    if let Some((key, value)) = render::subject(&rule.subject) {
        words.push(format!("{key} {}", printable(&value)));
    }
    words.join(" ")
}

/// A feature, or some of its pools.
pub(super) fn selector(selector: &FeatureSelector) -> String {
    let mut parts = Vec::new();
    parts.extend(selector.version.map(|version| format!("version {version}")));
    let text = |text: &str| format!("{:?}", printable(text));
    let vendor_string = selector.vendor_string.as_ref();
    parts.extend(vendor_string.map(|label| format!("vendor_string {}", text(label.as_str()))));
    parts.extend(selector.expires_ms.map(|ms| format!("expires {}", render::ends(ms))));
    parts.extend(selector.hostid.as_ref().map(|id| format!("hostid {}", printable(id.as_str()))));
    let feature = selector.feature.as_str();
    if parts.is_empty() { feature.to_owned() } else { format!("{feature}({})", parts.join(", ")) }
}

/// The value of a rule in words; empty if it has none.
pub(super) fn value(kind: &RuleKind) -> String {
    if let RuleKind::LeaseBoundsMs { min, max } | RuleKind::HeartbeatBoundsMs { min, max } = kind {
        return format!("{} to {}", period::show(*min), period::show(*max));
    }
    match value_of(kind) {
        None => String::new(),
        Some((ValueKey::Seats, count)) if count == "1" => "1 seat".to_owned(),
        Some((ValueKey::Seats, count)) => format!("{count} seats"),
        Some((ValueKey::After, period)) => format!("after {period}"),
        Some((ValueKey::Period, period)) => period,
        Some((ValueKey::Level, level)) => format!("level {level}"),
    }
}
