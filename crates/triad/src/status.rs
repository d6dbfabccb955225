//! `triad status`: the verdict, then each node, then what they hold.

use std::fmt::Write as _;

use serde_json::json;
use triad_proto::v1::{NodeStatus, Role, StatusResponse};

use crate::args::OutputFormat;
use crate::cluster::Cluster;
use crate::concerns::{Concern, Severity, right_ending, rules_in_use};
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{GREEN, PLAIN, RED, YELLOW};
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};
use crate::text::{bytes, counted, instant, printable};
use crate::verdict::{
    Answer, Ledgers, Level, Verdict, best_view, is_cut_off, leads, statuses, verdict,
};

/// Asks every node and says what it comes to.
pub async fn run(settings: &Settings) -> Result<Exit, Failure> {
    let answers = Cluster::new(settings)?.statuses().await;
    let verdict = verdict(&answers);
    let wide = settings.output.format() == OutputFormat::Wide;
    settings.output.answer(&as_json(&verdict, &answers), || as_text(&verdict, &answers, wide))?;
    Ok(verdict.level.exit())
}

/// The name of a role in tables.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Unspecified => "-",
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        Role::Unreachable => "unreachable",
    }
}

fn as_json(verdict: &Verdict, answers: &[Answer]) -> serde_json::Value {
    let ledgers = match verdict.ledgers {
        Ledgers::NotCompared => "NOT_COMPARED",
        Ledgers::Equal { .. } => "EQUAL",
        Ledgers::Differ { .. } => "DIFFER",
    };
    let concerns: Vec<_> = verdict.concerns.iter().map(concern_as_json).collect();
    let nodes: Vec<_> = answers
        .iter()
        .map(|answer| match &answer.outcome {
            Ok(status) => json!({ "address": answer.address, "status": status }),
            Err(error) => json!({ "address": answer.address, "error": error }),
        })
        .collect();
    json!({
        "verdict": verdict.level.name(),
        "sentence": format!("{}: {}", verdict.level.word(), verdict.sentence),
        "exitCode": verdict.level.exit().code(),
        "ledgers": ledgers,
        "concerns": concerns,
        "nodes": nodes,
    })
}

/// A concern for programs.
pub fn concern_as_json(concern: &Concern) -> serde_json::Value {
    let Concern { severity, about, node, what, remedy } = concern;
    json!({ "severity": severity.word(), "about": about, "node": node, "what": what, "remedy": remedy })
}

/// The verdict and what is wrong, for people; each line is ended by a line feed.
pub fn headline(verdict: &Verdict) -> String {
    let color = color(verdict.level);
    let word = verdict.level.word();
    let mut text = format!("{color}{word}{PLAIN}: {}\n", printable(&verdict.sentence));
    for concern in &verdict.concerns {
        let (color, word) = match concern.severity {
            Severity::Err => (RED, "ERR "),
            Severity::Warn => (YELLOW, "WARN"),
            Severity::Note => ("", "NOTE"),
        };
        let plain = if color.is_empty() { "" } else { PLAIN };
        let _ = writeln!(text, "  {color}{word}{plain}  {}", printable(&concern.line()));
        if !concern.remedy.is_empty() {
            let _ = writeln!(text, "        {}", printable(&concern.remedy));
        }
    }
    text
}

/// The colour of a level.
pub fn color(level: Level) -> &'static str {
    match level {
        Level::Healthy => GREEN,
        Level::Degraded => YELLOW,
        Level::NoQuorum | Level::Unreachable => RED,
    }
}

fn as_text(verdict: &Verdict, answers: &[Answer], wide: bool) -> String {
    let mut text = headline(verdict);
    let heard = statuses(answers);
    let Some(view) = best_view(&heard) else {
        for answer in answers {
            if let Err(error) = &answer.outcome {
                let _ = writeln!(text, "{}: {}", printable(&answer.address), printable(error));
            }
        }
        return text;
    };
    let _ = write!(text, "\n{}", node_table(view, &heard, answers).for_people(wide));
    let rules = rules_in_use(&heard);
    let _ = write!(text, "\n{}", holdings(view, verdict.ledgers, rules));
    // Of the nodes that nobody names the addresses are all that is known.
    let known = |address: &str| view.nodes.iter().any(|node| node.client_address == address);
    for answer in answers.iter().filter(|answer| !known(&answer.address)) {
        if let Err(error) = &answer.outcome {
            let _ = writeln!(text, "{}: {}", printable(&answer.address), printable(error));
        }
    }
    text
}

fn node_table(view: &StatusResponse, heard: &[&StatusResponse], answers: &[Answer]) -> Table {
    let columns = [
        Column::text("NODE"),
        Column::text("ROLE"),
        Column::number("TERM"),
        Column::number("INDEX"),
        Column::number("LAG"),
        Column::text("CLOCK"),
        Column::text("CERTIFICATE"),
        Column::text("DISK FREE"),
        Column::length("UPTIME"),
        Column::text("ADDRESS"),
        Column::text("VERSION"),
        Column::text("PEERS").wide(),
    ];
    let mut table = Table::new(&columns);
    for node in &view.nodes {
        let own = heard.iter().find(|status| status.node_id == node.node_id);
        table.add(match own {
            Some(own) => answering_row(view, node, own),
            None => silent_row(node, answers),
        });
    }
    table
}

fn answering_row(view: &StatusResponse, node: &NodeStatus, own: &StatusResponse) -> [Cell; 12] {
    let own_role = own.nodes.iter().find(|other| other.node_id == own.node_id);
    let mut role = role_name(own_role.map_or(Role::Unspecified, NodeStatus::role)).to_owned();
    if is_cut_off(view, node) {
        role.push_str(", cut off");
    }
    let vitals = own.vitals.clone().unwrap_or_default();
    [
        node.name.as_str().into(),
        role.into(),
        own.term.into(),
        own.freshness.unwrap_or_default().index.into(),
        if leads(view) { node.lag.into() } else { Cell::None },
        node.clock_skew_ms.map_or(Cell::None, |skew_ms| format!("{skew_ms:+} ms").into()),
        left(vitals.certificate_expires_ms, view.date_ms).into(),
        vitals.disk_free_bytes.map_or(Cell::None, |free| bytes(free).into()),
        Cell::unless_zero(vitals.uptime_ms),
        node.client_address.as_str().into(),
        own.version.as_str().into(),
        node.peer_address.as_str().into(),
    ]
}

fn silent_row(node: &NodeStatus, answers: &[Answer]) -> [Cell; 12] {
    let asked = answers.iter().any(|answer| answer.address == node.client_address);
    let role = if asked { "unreachable" } else { "no answer" };
    let mut row = [const { Cell::None }; 12];
    row[0] = node.name.as_str().into();
    row[1] = role.into();
    row[9] = node.client_address.as_str().into();
    row[11] = node.peer_address.as_str().into();
    row
}

/// How long something is still good for; empty if it does not end.
fn left(ends_ms: u64, date_ms: u64) -> String {
    match ends_ms.checked_sub(date_ms) {
        _ if ends_ms == 0 => String::new(),
        Some(left_ms) if left_ms > 0 => show_ms(left_ms),
        _ => "ended".to_owned(),
    }
}

fn holdings(view: &StatusResponse, ledgers: Ledgers, rules: u32) -> String {
    let ledgers = match ledgers {
        Ledgers::NotCompared => "ledgers not compared, no two stood at one index".to_owned(),
        Ledgers::Equal { nodes, index } => format!("ledgers equal on {nodes} nodes at {index}"),
        Ledgers::Differ { index } => format!("{RED}ledgers DIFFER{PLAIN} at {index}"),
    };
    let vitals = view.vitals.clone().unwrap_or_default();
    let license = match (vitals.rights_in_force, vitals.license_expires_ms) {
        (Some(0), _) => "no license is in force".to_owned(),
        (_, 0) => "no license in force ends".to_owned(),
        (_, ends_ms) => format!(
            "the first license to end is that of {}: it {}",
            printable(&vitals.license_expires_feature),
            right_ending(ends_ms, view.date_ms)
        ),
    };
    format!(
        "{}, {}; {ledgers}\n{license}\ncluster {}, date {}, rules {rules}\n",
        counted(view.sessions, "session"),
        counted(view.checkouts, "checkout"),
        printable(&view.cluster_id),
        instant(view.date_ms),
    )
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::{Freshness, Vitals};

    use super::*;

    fn node(node_id: u64, name: &str, role: Role) -> NodeStatus {
        NodeStatus {
            node_id,
            name: name.into(),
            client_address: format!("{name}:27070"),
            role: role.into(),
            reachable: role != Role::Unreachable,
            clock_skew_ms: Some(3 - node_id as i64),
            ..NodeStatus::default()
        }
    }

    #[test]
    fn a_degraded_cluster_on_one_screen() {
        let status = StatusResponse {
            freshness: Some(Freshness { linearizable: true, index: 1204, ..Freshness::default() }),
            cluster_id: "tc-1".into(),
            node_id: 1,
            leader_id: 1,
            term: 7,
            nodes: vec![
                node(1, "lic-a", Role::Leader),
                node(2, "lic-b", Role::Unreachable),
                node(3, "lic-c", Role::Follower),
            ],
            has_quorum: true,
            sessions: 1,
            checkouts: 40,
            version: "0.1.0".into(),
            warnings: vec!["disk is slow\x1b[31m".into()],
            date_ms: 1_795_442_709_000,
            vitals: Some(Vitals {
                uptime_ms: 3_600_000,
                certificate_expires_ms: 1_895_442_709_000,
                disk_free_bytes: Some(5 << 30),
                license_expires_ms: 1_995_442_709_000,
                license_expires_feature: "solver".into(),
                ..Vitals::default()
            }),
            ..StatusResponse::default()
        };
        let follower = StatusResponse {
            freshness: Some(Freshness { index: 1203, ..Freshness::default() }),
            node_id: 3,
            warnings: Vec::new(),
            ..status.clone()
        };
        let answer = |address: &str, outcome| Answer { address: address.into(), outcome };
        let answers = [
            answer("lic-a:27070", Ok(status)),
            answer("lic-b:27070", Err("connection refused".into())),
            answer("lic-c:27070", Ok(follower)),
        ];
        let text = as_text(&verdict(&answers), &answers, false);
        let expected = "\
\x1b[1;33mDegraded\x1b[0m: 2 of 3 nodes, leader lic-a; the next failure stops checkouts
  \x1b[1;31mERR \x1b[0m  lic-b: no answer from lic-b:27070: connection refused
        start it there with `systemctl start triad`, or see `triad doctor`; a machine that is lost is replaced with `triad node replace`
  NOTE  lic-a: disk is slow\\u{1b}[31m

NODE   ROLE         TERM  INDEX  LAG  CLOCK  CERTIFICATE  DISK FREE  UPTIME  ADDRESS      VERSION
lic-a  leader       7     1204   0    +2 ms  1157 d 9 h   5 GiB      1 h     lic-a:27070  0.1.0
lic-b  unreachable  -     -      -    -      -            -          -       lic-b:27070  -
lic-c  follower     7     1203   0    +0 ms  1157 d 9 h   5 GiB      1 h     lic-c:27070  0.1.0

1 session, 40 checkouts; ledgers not compared, no two stood at one index
the first license to end is that of solver: it ends in 2314 d 19 h, last day 2033-03-25
cluster tc-1, date 2026-11-23 14:05:09Z, rules 1
";
        assert_eq!(text, expected);
        let json = as_json(&verdict(&answers), &answers);
        assert_eq!(json["verdict"], "DEGRADED");
        assert_eq!(json["exitCode"], 3);
        assert_eq!(json["nodes"][0]["status"]["freshness"]["index"], "1204");
        assert_eq!(json["nodes"][1]["error"], "connection refused");
        assert_eq!(json["concerns"][0]["severity"], "ERR");
        assert_eq!(json["concerns"][0]["node"], "lic-b");
    }

    #[test]
    fn no_license_is_not_one_that_never_ends() {
        let told = |rights_in_force| {
            let vitals = Some(Vitals { rights_in_force, ..Vitals::default() });
            let view = StatusResponse { vitals, ..StatusResponse::default() };
            let text = holdings(&view, Ledgers::NotCompared, 1);
            text.lines().nth(1).unwrap().to_owned()
        };
        assert_eq!(told(Some(0)), "no license is in force");
        assert_eq!(told(Some(2)), "no license in force ends");
        assert_eq!(told(None), "no license in force ends");
    }
}
