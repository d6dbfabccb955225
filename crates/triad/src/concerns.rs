//! What is wrong with a cluster, or soon will be: each with the line that mends
//! it. Said by `status`, `check`, `doctor` and `top` alike.

use std::collections::BTreeSet;

use triad_proto::v1::{NodeStatus, StatusResponse, Vitals};

use crate::duration::show_ms;
use crate::text::{bytes, day, last_day};
use crate::verdict::{Answer, is_cut_off, leads};

const DAY_MS: u64 = 86_400_000;
/// There is time to renew a certificate at leisure.
const CERTIFICATE_WARN_MS: u64 = 30 * DAY_MS;
/// There no longer is.
const CERTIFICATE_ERR_MS: u64 = 7 * DAY_MS;
/// Ordering a license takes a few weeks.
const LICENSE_NOTE_MS: u64 = 30 * DAY_MS;
/// Whoever has not ordered by now is late.
const LICENSE_WARN_MS: u64 = 7 * DAY_MS;
/// After this whoever misses a license has asked for it; one that is left to end may stay ended.
const ENDED_ERR_MS: u64 = 30 * DAY_MS;
/// Features whose licenses have ended that are named.
const ENDED_NAMED_MAX: usize = 3;
const ORDER: &str = "ask the publisher for the next one, then `triad license apply FILE`";
/// One wrong clock is outvoted, but the second would not be.
const SKEW_WARN_MS: u64 = 5_000;
/// A day of usage history, the log and the image, with room to spare.
const DISK_WARN_BYTES: u64 = 256 << 20;
/// From here on a node hands leadership over, and refuses what it cannot keep.
const DISK_ERR_BYTES: u64 = 32 << 20;
/// A follower that is busy trails by hundreds, one that is in trouble by more.
const LAG_WARN_ENTRIES: u64 = 10_000;
/// The rules of the first version, which says nothing of rules.
const RULES_MIN: u32 = 1;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing; the cluster itself is well.
    Note,
    /// The cluster serves, and somebody should look at it in the next days.
    Warn,
    /// Somebody should look at it now.
    Err,
}

impl Severity {
    /// For people and programs alike.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Note => "NOTE",
            Severity::Warn => "WARN",
            Severity::Err => "ERR",
        }
    }
}

/// Something that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Concern {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `nodes`, `clocks`, `disk`, `license` ...
    pub about: &'static str,
    /// Which node, or empty for the cluster. Not yet safe to print.
    pub node: String,
    /// What is wrong. Not yet safe to print.
    pub what: String,
    /// What mends it; empty where there is nothing to be done.
    pub remedy: String,
}

/// Takes a concern of one node: how bad, about what, what it is, and what mends it.
trait Adding: FnMut(Severity, &'static str, String, &str) {}
impl<F: FnMut(Severity, &'static str, String, &str)> Adding for F {}

impl Concern {
    /// On one line, without the remedy.
    pub fn line(&self) -> String {
        match self.node.as_str() {
            "" => self.what.clone(),
            node => format!("{node}: {}", self.what),
        }
    }
}

/// What is wrong with the nodes of `view`, the worst first. `heard` are the
/// nodes' own words, one for each.
pub fn concerns(
    view: &StatusResponse,
    heard: &[&StatusResponse],
    answers: &[Answer],
) -> Vec<Concern> {
    let mut concerns = Vec::new();
    for node in &view.nodes {
        let own = heard.iter().find(|status| status.node_id == node.node_id);
        let mut add = |severity, about, what: String, remedy: &str| {
            let (node, remedy) = (node.name.clone(), remedy.to_owned());
            concerns.push(Concern { severity, about, node, what, remedy });
        };
        match own {
            None => silent(node, answers, &mut add),
            Some(_) if is_cut_off(view, node) => add(
                Severity::Err,
                "nodes",
                "it answers, but the leader does not reach it".to_owned(),
                "let the peers' ports through between the nodes: `triad doctor` tries each",
            ),
            Some(_) => {}
        }
        if leads(view) {
            follows(node, &mut add);
        }
        if let Some(own) = own {
            for warning in &own.warnings {
                add(Severity::Note, "nodes", warning.clone(), "");
            }
            if let Some(vitals) = &own.vitals {
                keeps(vitals, view.date_ms, &mut add);
            }
        }
    }
    concerns.extend(restoring(view));
    concerns.extend(ended(view));
    concerns.extend(license(view));
    concerns.extend(versions(heard));
    concerns.extend(rules(view, heard));
    concerns.sort_by_key(|concern| std::cmp::Reverse(concern.severity));
    concerns
}

/// A concern of the whole cluster.
fn of_all(severity: Severity, about: &'static str, what: String, remedy: &str) -> Concern {
    Concern { severity, about, node: String::new(), what, remedy: remedy.to_owned() }
}

fn silent(node: &NodeStatus, answers: &[Answer], add: &mut impl Adding) {
    let asked = answers.iter().find(|answer| answer.address == node.client_address);
    let met = asked.and_then(|answer| answer.outcome.as_ref().err());
    let met = met.map_or("it was not asked in time", String::as_str);
    add(
        Severity::Err,
        "nodes",
        format!("no answer from {}: {met}", node.client_address),
        "start it there with `systemctl start triad`, or see `triad doctor`; a machine that is \
         lost is replaced with `triad node replace`",
    );
}

fn follows(node: &NodeStatus, add: &mut impl Adding) {
    if node.lag > LAG_WARN_ENTRIES && node.reachable {
        add(
            Severity::Warn,
            "lag",
            format!("it trails the leader by {} entries", node.lag),
            "look at its disk and its network; it catches up by itself once they are fast enough",
        );
    }
    if let Some(skew_ms) = node.clock_skew_ms.filter(|skew| skew.unsigned_abs() > SKEW_WARN_MS) {
        let side = if skew_ms > 0 { "fast" } else { "slow" };
        add(
            Severity::Warn,
            "clocks",
            format!("its clock is {} {side}", show_ms(skew_ms.unsigned_abs())),
            "set it there: `timedatectl set-ntp true`, then `chronyc makestep`",
        );
    }
}

fn keeps(vitals: &Vitals, date_ms: u64, add: &mut impl Adding) {
    let ends_ms = vitals.certificate_expires_ms;
    if ends_ms > 0 && ends_ms < date_ms.saturating_add(CERTIFICATE_WARN_MS) {
        let near = ends_ms < date_ms.saturating_add(CERTIFICATE_ERR_MS);
        let severity = if near { Severity::Err } else { Severity::Warn };
        let what = format!("its certificate {}", ending(ends_ms, date_ms));
        add(severity, "certificates", what, "issue another: `triad cert renew`");
    }
    if let Some(free) = vitals.disk_free_bytes.filter(|free| *free < DISK_WARN_BYTES) {
        let severity = if free < DISK_ERR_BYTES { Severity::Err } else { Severity::Warn };
        add(
            severity,
            "disk",
            format!("its disk has {} left", bytes(free)),
            "make room on the disk of its data_dir, or keep less history: [history] keep_days",
        );
    }
}

fn license(view: &StatusResponse) -> Option<Concern> {
    let vitals = view.vitals.as_ref()?;
    let ends_ms = vitals.license_expires_ms;
    let soon = ends_ms > 0 && ends_ms < view.date_ms.saturating_add(LICENSE_NOTE_MS);
    let near = ends_ms < view.date_ms.saturating_add(LICENSE_WARN_MS);
    let severity = if near { Severity::Warn } else { Severity::Note };
    soon.then(|| {
        let ending = right_ending(ends_ms, view.date_ms);
        let what = format!("the license of {} {ending}", vitals.license_expires_feature);
        of_all(severity, "license", what, ORDER)
    })
}

/// Features that nobody is granted any more, told as loudly as the one that ended last.
fn ended(view: &StatusResponse) -> Option<Concern> {
    let vitals = view.vitals.as_ref()?;
    let first = vitals.ended_features.first()?;
    let total = vitals.ended_features_total.max(vitals.ended_features.len() as u64);
    let what = if total == 1 {
        let ended = right_ending(first.ended_ms, view.date_ms);
        format!(
            "the license of {} {ended}, and nothing in force replaces it: nobody is granted it",
            first.feature
        )
    } else {
        let named = vitals.ended_features.iter().take(ENDED_NAMED_MAX);
        let named: Vec<&str> = named.map(|ended| ended.feature.as_str()).collect();
        let more = match total - named.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!(
            "the licenses of {total} features have ended, and nothing in force replaces them: \
             {}{more}",
            named.join(", ")
        )
    };
    let is_old = first.ended_ms.saturating_add(ENDED_ERR_MS) < view.date_ms;
    let severity = if is_old { Severity::Note } else { Severity::Err };
    Some(of_all(severity, "license", what, ORDER))
}

/// The time after a restore.
fn restoring(view: &StatusResponse) -> Option<Concern> {
    (view.restoring_ms > 0).then(|| {
        let left = show_ms(view.restoring_ms.next_multiple_of(1_000));
        let what = format!("nothing is granted for another {left} after the restore");
        let remedy = "wait: until then clients may believe in seats that the restored ledger \
                      does not know";
        of_all(Severity::Warn, "seats", what, remedy)
    })
}

fn versions(heard: &[&StatusResponse]) -> Option<Concern> {
    let versions: BTreeSet<&str> = heard.iter().map(|status| status.version.as_str()).collect();
    (versions.len() > 1).then(|| {
        let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
        let what = format!("the nodes run different versions: {versions}");
        of_all(Severity::Note, "versions", what, "upgrade the others too, one after the other")
    })
}

/// The rules of the log that are in use.
pub fn rules_in_use(heard: &[&StatusResponse]) -> u32 {
    heard.iter().map(|status| status.rules).max().unwrap_or(0).max(RULES_MIN)
}

/// The newest rules that a node can apply: by its own word, or else by its leader's.
fn rules_known(node: &NodeStatus, heard: &[&StatusResponse]) -> Option<u32> {
    let said = |status: &StatusResponse| {
        let of_it = status.nodes.iter().find(|known| known.node_id == node.node_id);
        of_it.map_or(0, |known| known.rules)
    };
    match heard.iter().find(|status| status.node_id == node.node_id) {
        // One that says nothing of it is of the first version.
        Some(own) => Some(said(own).max(RULES_MIN)),
        None => Some(node.rules).filter(|rules| *rules > 0),
    }
}

/// An upgrade that is not finished.
fn rules(view: &StatusResponse, heard: &[&StatusResponse]) -> Option<Concern> {
    let in_use = rules_in_use(heard);
    let newest = view.nodes.iter().filter_map(|node| rules_known(node, heard)).max()?;
    let older = |node: &&NodeStatus| rules_known(node, heard).is_some_and(|known| known < newest);
    let older: Vec<&str> = view.nodes.iter().filter(older).map(|node| node.name.as_str()).collect();
    (in_use < newest && !older.is_empty()).then(|| {
        let what = format!(
            "rules {in_use} of {newest}: {} still {} an older version",
            older.join(", "),
            if older.len() == 1 { "runs" } else { "run" }
        );
        let remedy = "upgrade that host too: newer rules are used once every node knows them";
        of_all(Severity::Note, "versions", what, remedy)
    })
}

/// `ends in 12 d 3 h, 2026-12-10`; or that it has ended.
pub fn ending(ends_ms: u64, date_ms: u64) -> String {
    let day = day(ends_ms);
    match ends_ms.checked_sub(date_ms) {
        Some(left_ms) if left_ms > 0 => format!("ends in {}, {day}", show_ms(left_ms)),
        _ => format!("ended on {day}"),
    }
}

/// The same of a right, by the last day that its license names: `ends in 12 d 3 h, last day
/// 2026-12-09`.
pub fn right_ending(ends_ms: u64, date_ms: u64) -> String {
    let day = last_day(ends_ms);
    match ends_ms.checked_sub(date_ms) {
        Some(left_ms) if left_ms > 0 => format!("ends in {}, last day {day}", show_ms(left_ms)),
        _ => format!("has ended, last day {day}"),
    }
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::{EndedFeature, Freshness, Role};

    use super::*;

    const NOW_MS: u64 = 1_795_442_709_000;

    fn healthy() -> StatusResponse {
        let node = |node_id, name: &str, role: Role| NodeStatus {
            node_id,
            name: name.into(),
            client_address: format!("{name}:1"),
            role: role.into(),
            reachable: true,
            clock_skew_ms: Some(-3),
            ..NodeStatus::default()
        };
        StatusResponse {
            freshness: Some(Freshness { linearizable: true, ..Freshness::default() }),
            node_id: 1,
            leader_id: 1,
            has_quorum: true,
            nodes: vec![node(1, "lic-a", Role::Leader), node(2, "lic-b", Role::Follower)],
            date_ms: NOW_MS,
            version: "0.1.0".into(),
            vitals: Some(Vitals {
                certificate_expires_ms: NOW_MS + 400 * DAY_MS,
                license_expires_ms: NOW_MS + 90 * DAY_MS,
                license_expires_feature: "solver".into(),
                disk_free_bytes: Some(9 << 30),
                ..Vitals::default()
            }),
            ..StatusResponse::default()
        }
    }

    fn told(change: impl FnOnce(&mut StatusResponse, &mut StatusResponse)) -> Vec<String> {
        let mut leader = healthy();
        let mut follower = StatusResponse { node_id: 2, ..healthy() };
        change(&mut leader, &mut follower);
        let answers = [(1, &leader), (2, &follower)].map(|(id, status)| Answer {
            address: format!("lic-{}:1", ["", "a", "b"][id]),
            outcome: Ok(status.clone()),
        });
        let found = concerns(&leader, &[&leader, &follower], &answers);
        found.iter().map(|found| format!("{} {}", found.severity.word(), found.line())).collect()
    }

    fn vitals(status: &mut StatusResponse) -> &mut Vitals {
        status.vitals.as_mut().unwrap()
    }

    #[test]
    fn a_healthy_cluster_is_no_concern() {
        assert_eq!(told(|_, _| {}), [""; 0]);
    }

    #[test]
    fn each_trouble_is_named_the_worst_first() {
        let all = told(|leader, follower| {
            leader.nodes[1].clock_skew_ms = Some(-3_600_000);
            leader.nodes[1].lag = 20_000;
            vitals(leader).license_expires_ms = NOW_MS + 3 * DAY_MS;
            vitals(follower).certificate_expires_ms = NOW_MS + 2 * DAY_MS;
            vitals(follower).disk_free_bytes = Some(200 << 20);
            follower.version = "0.2.0".into();
            follower.warnings.push("TLS is off".into());
        });
        let expected = [
            "ERR lic-b: its certificate ends in 2 d, 2026-11-25",
            "WARN lic-b: it trails the leader by 20000 entries",
            "WARN lic-b: its clock is 1 h slow",
            "WARN lic-b: its disk has 200 MiB left",
            "WARN the license of solver ends in 3 d, last day 2026-11-26",
            "NOTE lic-b: TLS is off",
            "NOTE the nodes run different versions: 0.1.0, 0.2.0",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn a_license_that_is_over_is_told_until_another_is_in_force() {
        let ended = |feature: &str, days| EndedFeature {
            feature: feature.into(),
            ended_ms: NOW_MS - days * DAY_MS,
        };
        let found = told(|leader, _| {
            vitals(leader).license_expires_ms = NOW_MS + 7 * DAY_MS;
            vitals(leader).ended_features = vec![ended("mill", 8)];
            vitals(leader).ended_features_total = 1;
        });
        let expected = [
            "ERR the license of mill has ended, last day 2026-11-15, and nothing in force replaces \
             it: nobody is granted it",
            "NOTE the license of solver ends in 7 d, last day 2026-11-30",
        ];
        assert_eq!(found, expected);
        let found = told(|leader, _| {
            vitals(leader).ended_features = ["a", "b", "c", "d"].map(|name| ended(name, 1)).into();
            vitals(leader).ended_features_total = 30;
        });
        let expected = "ERR the licenses of 30 features have ended, and nothing in force replaces \
                        them: a, b, c and 27 more";
        assert_eq!(found, [expected]);
        let severity = |days| {
            let found = told(|leader, _| {
                vitals(leader).ended_features = vec![ended("mill", days), ended("lathe", 900)];
            });
            found[0].split(' ').next().unwrap().to_owned()
        };
        assert_eq!(severity(30), "ERR");
        assert_eq!(severity(31), "NOTE", "it may have been left to end");
    }

    #[test]
    fn the_time_after_a_restore_is_no_health() {
        let found = told(|leader, _| leader.restoring_ms = 598_100);
        assert_eq!(found, ["WARN nothing is granted for another 9 min 59 s after the restore"]);
    }

    #[test]
    fn an_upgrade_that_is_not_finished_names_who_is_behind() {
        let knows = |status: &mut StatusResponse, rules: [u32; 2]| {
            status.nodes.iter_mut().zip(rules).for_each(|(node, rules)| node.rules = rules);
        };
        let found = told(|leader, follower| {
            (leader.rules, follower.rules) = (1, 1);
            knows(leader, [2, 1]);
            knows(follower, [0, 1]);
        });
        assert_eq!(found, ["NOTE rules 1 of 2: lic-b still runs an older version"]);
        // The first version says nothing of it at all.
        let found = told(|leader, _| {
            leader.rules = 1;
            knows(leader, [2, 0]);
        });
        assert_eq!(found, ["NOTE rules 1 of 2: lic-b still runs an older version"]);
        let found = told(|leader, follower| {
            (leader.rules, follower.rules) = (1, 1);
            knows(leader, [2, 2]);
            knows(follower, [0, 2]);
        });
        assert_eq!(found, [""; 0], "the leader is about to raise them");
    }

    #[test]
    fn every_trouble_comes_with_what_mends_it() {
        let mut leader = healthy();
        vitals(&mut leader).certificate_expires_ms = NOW_MS - 1;
        vitals(&mut leader).disk_free_bytes = Some(1 << 20);
        leader.nodes[1].reachable = false;
        let answers = [Answer { address: "lic-b:1".into(), outcome: Err("refused".into()) }];
        let found = concerns(&leader, &[&leader], &answers);
        let lines: Vec<_> = found.iter().map(Concern::line).collect();
        let expected = [
            "lic-a: its certificate ended on 2026-11-23",
            "lic-a: its disk has 1 MiB left",
            "lic-b: no answer from lic-b:1: refused",
        ];
        assert_eq!(lines, expected);
        assert!(found.iter().all(|found| !found.remedy.is_empty()), "{found:?}");
    }
}
