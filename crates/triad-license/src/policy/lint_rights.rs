//! A policy against what is licensed: rules about features that nobody
//! granted, and numbers that can never be reached.

use std::collections::BTreeMap;
use std::ops::Range;

use triad_ledger::policy::{FeatureSelector, Rule, RuleKind};
use triad_ledger::rights::Line;

use super::diff::selector;
use super::lint::Lint;
use super::period;
use crate::diagnostic::DIAGNOSTICS_MAX;
use crate::error::printable;
use crate::suggest::nearest;

impl Lint<'_> {
    /// Rules about what is not licensed, or not in such numbers.
    pub(super) fn rights(&mut self, lines: &[Line]) {
        let mut features: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in lines {
            features.entry(line.feature.as_str()).or_default().push(line);
        }
        let mut reserved: BTreeMap<String, u64> = BTreeMap::new();
        for (rule, places) in self.rules.clone() {
            // Features are many: nothing is looked up for findings beyond the bound.
            if self.findings.list.len() >= DIAGNOSTICS_MAX {
                return;
            }
            let Some(chosen) = &rule.selector else { continue };
            let span = places.feature.clone().unwrap_or(places.head.clone());
            let feature = chosen.feature.as_str();
            let Some(lines) = features.get(feature) else {
                let help = match nearest(feature, features.keys().copied()) {
                    Some(name) => format!("did you mean {name:?}?"),
                    None => "the rule never applies".to_owned(),
                };
                let message = format!("no license grants {feature:?}");
                self.findings.warning("not-licensed", span, message, help);
                continue;
            };
            let pools: Vec<&Line> = lines.iter().copied().filter(|l| chooses(chosen, l)).collect();
            if pools.is_empty() {
                let message = format!("no license has such a pool: {}", selector(chosen));
                let help = format!("the rule never applies; licensed: {}", listed(lines));
                self.findings.warning("not-licensed", span, message, help);
                continue;
            }
            let at = places.value.clone().unwrap_or(span);
            self.numbers(rule, at, &pools, lines, &mut reserved);
        }
    }

    /// The number of one rule against its pools and all lines of the feature.
    fn numbers(
        &mut self,
        rule: &Rule,
        at: Range<usize>,
        pools: &[&Line],
        lines: &[&Line],
        reserved: &mut BTreeMap<String, u64>,
    ) {
        let seats = seats_of(pools);
        let overdraft: u64 = pools.iter().map(|line| u64::from(line.overdraft)).sum();
        let borrow_ms = pools.iter().filter_map(|line| line.terms.borrow_max_ms).max();
        let name = rule.selector.as_ref().map(selector).unwrap_or_default();
        let borrowing = matches!(
            rule.kind,
            RuleKind::IncludeBorrow
                | RuleKind::ExcludeBorrow
                | RuleKind::BorrowLowwater(_)
                | RuleKind::MaxBorrowMs(_)
        );
        if borrowing && borrow_ms.is_none() {
            let message = format!("no license lets {name} be borrowed");
            self.findings.warning("not-borrowable", at, message, "the rule never applies");
            return;
        }
        match (rule.kind, seats, borrow_ms) {
            (RuleKind::Max(max), Some(seats), _) if u64::from(max) > seats + overdraft => {
                let message = format!("at most {max}, and there are {seats} seats of {name}");
                let help = "the rule never applies; lower the number";
                self.findings.warning("above-seats", at, message, help);
            }
            (RuleKind::Reserve(count), Some(_), _) => {
                let mut scopes = vec![(name, seats)];
                if let Some(chosen) = rule.selector.as_ref().filter(|s| !s.is_whole_feature()) {
                    scopes.push((chosen.feature.to_string(), seats_of(lines)));
                }
                for (scope, seats) in scopes {
                    let sum = reserved.entry(scope.clone()).or_default();
                    *sum += u64::from(count.get());
                    if let Some(seats) = seats.filter(|seats| *sum > *seats) {
                        let message = format!(
                            "with this rule {sum} of {seats} seats of {scope} are reserved"
                        );
                        let help = "reservations above the seats are not kept; lower them";
                        self.findings.warning("above-seats", at.clone(), message, help);
                    }
                }
            }
            (RuleKind::BorrowLowwater(keep), Some(seats), _) if u64::from(keep) >= seats => {
                let message = format!("{keep} of {seats} seats of {name} are never borrowed");
                self.findings.warning("above-seats", at, message, "so nothing is");
            }
            (RuleKind::MaxBorrowMs(max_ms), _, Some(borrow_ms)) if max_ms >= borrow_ms => {
                let licensed = period::show(borrow_ms);
                let message = format!("the license lets {name} be borrowed for {licensed}");
                let help = "the rule never applies; lower it";
                self.findings.warning("no-effect", at, message, help);
            }
            (RuleKind::MaxOverdraft(max), _, _) if u64::from(max) >= overdraft => {
                let message = format!("the license has an overdraft of {overdraft} for {name}");
                let help = "the rule never applies; lower it";
                self.findings.warning("no-effect", at, message, help);
            }
            (RuleKind::Reserve(_), None, _) | (RuleKind::Max(_), None, _) => {
                let message = format!("{name} is not counted");
                self.findings.warning("no-effect", at, message, "the rule never applies");
            }
            _ => {}
        }
    }
}

/// Whether a line belongs to the pools that a rule chooses.
fn chooses(chosen: &FeatureSelector, line: &Line) -> bool {
    chosen.version.is_none_or(|version| version == line.version)
        && chosen.vendor_string.as_ref().is_none_or(|text| *text == line.vendor_string)
        && chosen.expires_ms.is_none_or(|at| Some(at) == line.expires_ms)
        && chosen.hostid.as_ref().is_none_or(|hostid| line.terms.hostids.contains(hostid))
}

/// All seats; `None` if some of the lines are not counted.
fn seats_of(lines: &[&Line]) -> Option<u64> {
    lines.iter().map(|line| (!line.terms.uncounted).then_some(u64::from(line.seats))).sum()
}

/// The pools of a feature, for who named another.
fn listed(lines: &[&Line]) -> String {
    const LISTED_MAX: usize = 4;
    let pool = |line: &&Line| {
        let mut text = format!("version {}", line.version);
        if !line.vendor_string.as_str().is_empty() {
            text.push_str(&format!(", vendor_string {:?}", printable(line.vendor_string.as_str())));
        }
        text
    };
    let more = if lines.len() > LISTED_MAX { "; ..." } else { "" };
    let shown: Vec<String> = lines.iter().take(LISTED_MAX).map(pool).collect();
    format!("{}{more}", shown.join("; "))
}
