//! The canonical text of a policy: what a document says, written one way.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use triad_ledger::policy::{Policy, Rule, RuleKind, Subject};

use super::{period, tables};
use crate::draft::quoted;

/// A policy as text that reads back as the same rules. Comments, the order of
/// groups and the lines of the rules are not kept; the order of rules is.
pub fn render_policy(policy: &Policy) -> String {
    render_noted(policy, |_| None)
}

/// The same with a comment above each rule that has a note.
pub(crate) fn render_noted(policy: &Policy, note: impl Fn(&Rule) -> Option<String>) -> String {
    let mut text = String::new();
    write(policy, note, &mut text).expect("a string takes any text");
    text
}

fn write(
    policy: &Policy,
    note: impl Fn(&Rule) -> Option<String>,
    text: &mut String,
) -> std::fmt::Result {
    writeln!(text, "case = {}", if policy.case_insensitive { "\"ignore\"" } else { "\"exact\"" })?;
    if !policy.groups.is_empty() {
        writeln!(text, "\n[groups]")?;
    }
    for (name, members) in &policy.groups {
        write_group(text, name.as_str(), members.iter().map(|name| quoted(name.as_str())))?;
    }
    if !policy.host_groups.is_empty() {
        writeln!(text, "\n[host_groups]")?;
    }
    for (name, members) in &policy.host_groups {
        let names = members.names.iter().map(|name| quoted(name.as_str()));
        let networks = members.networks.iter().map(|network| quoted(&network.to_string()));
        write_group(text, name.as_str(), names.chain(networks))?;
    }
    for rule in &policy.rules {
        writeln!(text)?;
        if let Some(note) = note(rule) {
            writeln!(text, "# {note}")?;
        }
        write_rule(text, rule)?;
    }
    Ok(())
}

fn write_group(
    text: &mut String,
    name: &str,
    members: impl Iterator<Item = String>,
) -> std::fmt::Result {
    let plain = !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let name = if plain { name.to_owned() } else { quoted(name) };
    let members: Vec<String> = members.collect();
    let one_line = format!("{name} = [{}]", members.join(", "));
    if one_line.chars().count() <= 100 {
        return writeln!(text, "{one_line}");
    }
    writeln!(text, "{name} = [")?;
    members.iter().try_for_each(|member| writeln!(text, "    {member},"))?;
    writeln!(text, "]")
}

fn write_rule(text: &mut String, rule: &Rule) -> std::fmt::Result {
    let name = tables::name_of(&rule.kind);
    if let RuleKind::LeaseBoundsMs { min, max } | RuleKind::HeartbeatBoundsMs { min, max } =
        rule.kind
    {
        writeln!(text, "[{name}]")?;
        writeln!(text, "min = \"{}\"", period::show(min))?;
        return writeln!(text, "max = \"{}\"", period::show(max));
    }
    writeln!(text, "[[{name}]]")?;
    if let Some(selector) = &rule.selector {
        writeln!(text, "feature = {}", quoted(selector.feature.as_str()))?;
        if let Some(version) = selector.version {
            writeln!(text, "version = \"{version}\"")?;
        }
        if let Some(vendor_string) = &selector.vendor_string {
            writeln!(text, "vendor_string = {}", quoted(vendor_string.as_str()))?;
        }
        if let Some(expires_ms) = selector.expires_ms {
            writeln!(text, "expires = {}", ends(expires_ms))?;
        }
        if let Some(hostid) = &selector.hostid {
            writeln!(text, "hostid = {}", quoted(hostid.as_str()))?;
        }
    }
    if let Some((key, value)) = subject(&rule.subject) {
        writeln!(text, "{key} = {}", quoted(&value))?;
    }
    match tables::value_of(&rule.kind) {
        Some((key, value)) if key.is_period() => writeln!(text, "{} = \"{value}\"", key.as_str()),
        Some((key, value)) => writeln!(text, "{} = {value}", key.as_str()),
        None => Ok(()),
    }
}

/// The key and the value that name a subject; none for everybody.
pub(super) fn subject(subject: &Subject) -> Option<(&'static str, String)> {
    Some(match subject {
        Subject::Anyone => return None,
        Subject::User(name) => ("user", name.to_string()),
        Subject::Host(name) => ("host", name.to_string()),
        Subject::Display(name) => ("display", name.to_string()),
        Subject::Project(name) => ("project", name.to_string()),
        Subject::Group(name) => ("group", name.to_string()),
        Subject::HostGroup(name) => ("host_group", name.to_string()),
        Subject::Internet(network) => ("internet", network.to_string()),
        Subject::EachUser => ("each", "user".to_owned()),
    })
}

/// The last day before this instant in UTC, in which a canonical text counts;
/// the instant itself if it is not the end of such a day.
pub(super) fn ends(expires_ms: u64) -> String {
    let instant =
        i64::try_from(expires_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let at = instant.unwrap_or(Timestamp::MAX);
    let last = Timestamp::from_millisecond(at.as_millisecond() - 1).unwrap_or(at);
    let day = last.to_zoned(TimeZone::UTC).date();
    let whole = day.tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC));
    if whole.is_ok_and(|next| next.timestamp() == at) { day.to_string() } else { at.to_string() }
}
