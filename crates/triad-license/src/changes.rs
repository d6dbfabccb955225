//! What changes from one license to another, in lines that can be read aloud.

use std::collections::BTreeMap;

use crate::error::printable;
use crate::show::{FeatureSummary, Summary};

/// What `new` changes: a line with `+` for what is added, `-` for what is
/// gone and `~` for what is different. Lines that only stand elsewhere, and
/// seats that are only written on more lines, are no change. Both may be
/// unverified: this is for looking at.
pub fn diff_licenses(old: &Summary, new: &Summary) -> Vec<String> {
    let mut lines = Vec::new();
    let heads = [
        ("license", &old.license, &new.license),
        ("publisher", &old.publisher, &new.publisher),
        ("serial", &old.serial.to_string(), &new.serial.to_string()),
        ("bound to", &old.binding, &new.binding),
        ("days in", &old.zone, &new.zone),
        ("notice", &old.notice, &new.notice),
    ];
    for (what, from, to) in heads {
        if from != to {
            let shown = |text: &str| {
                if text.is_empty() { "(nothing)".to_owned() } else { printable(text) }
            };
            lines.push(format!("~ {what}: {} -> {}", shown(from), shown(to)));
        }
    }
    let (old, new) = (pools(old), pools(new));
    let names: std::collections::BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    let none = BTreeMap::new();
    for name in names {
        let (from, to) = (old.get(name).unwrap_or(&none), new.get(name).unwrap_or(&none));
        diff_feature(name, from, to, &mut lines);
    }
    lines
}

/// Seats and overdraft of each pool of a feature, by what makes it a pool.
type Pools = BTreeMap<String, (u64, u64)>;

fn pools(summary: &Summary) -> BTreeMap<&str, Pools> {
    let mut features: BTreeMap<&str, Pools> = BTreeMap::new();
    for feature in &summary.features {
        let pools = features.entry(&feature.name).or_default();
        let (seats, overdraft) = pools.entry(pool(feature)).or_default();
        *seats += u64::from(feature.seats);
        *overdraft += u64::from(feature.overdraft);
    }
    features
}

fn pool(feature: &FeatureSummary) -> String {
    let mut words = vec![format!("version {}", feature.version)];
    words.extend(feature.start.as_ref().map(|day| format!("from {day}")));
    words.push(match &feature.expires {
        Some(day) => format!("until {day}"),
        None => "permanent".to_owned(),
    });
    if !feature.vendor_string.is_empty() {
        words.push(format!("vendor string {:?}", printable(&feature.vendor_string)));
    }
    words.extend(feature.terms.iter().map(|term| printable(term)));
    words.join(", ")
}

fn diff_feature(name: &str, old: &Pools, new: &Pools, lines: &mut Vec<String>) {
    for (pool, from) in old {
        if let Some(to) = new.get(pool).filter(|to| *to != from) {
            lines.push(format!("~ {name}, {pool}: {} -> {}", seats(from), seats(to)));
        }
    }
    let gone: Vec<_> = old.iter().filter(|(pool, _)| !new.contains_key(*pool)).collect();
    let added: Vec<_> = new.iter().filter(|(pool, _)| !old.contains_key(*pool)).collect();
    if let ([(from, was)], [(to, is)]) = (&gone[..], &added[..]) {
        let (was, is) = (seats(was), seats(is));
        lines.push(format!("~ {name}: {was}, {from} -> {is}, {to}"));
        return;
    }
    let told = |sign: char, (pool, count): &(&String, &(u64, u64))| {
        format!("{sign} {name}: {}, {pool}", seats(count))
    };
    lines.extend(gone.iter().map(|pool| told('-', pool)));
    lines.extend(added.iter().map(|pool| told('+', pool)));
}

fn seats((seats, overdraft): &(u64, u64)) -> String {
    let noun = if *seats == 1 { "seat" } else { "seats" };
    match (seats, overdraft) {
        (0, 0) => "no count".to_owned(),
        (_, 0) => format!("{seats} {noun}"),
        (_, more) => format!("{seats} (+{more}) {noun}"),
    }
}
