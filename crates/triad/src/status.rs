//! `triad status`: the verdict, then each node, then what they hold.

use std::fmt::Write as _;

use serde_json::json;
use triad_proto::v1::{NodeStatus, Role, StatusResponse};

use crate::cluster::Cluster;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{GREEN, PLAIN, RED, YELLOW};
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};
use crate::text::{counted, instant, printable};
use crate::verdict::{
    Answer, Ledgers, Level, Verdict, best_view, is_cut_off, leads, statuses, verdict,
};

/// Asks every node and says what it comes to.
pub async fn run(settings: &Settings) -> Result<Exit, Failure> {
    let answers = Cluster::new(settings)?.statuses().await;
    let verdict = verdict(&answers);
    settings.output.answer(&as_json(&verdict, &answers), || as_text(&verdict, &answers))?;
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
        "nodes": nodes,
    })
}

fn as_text(verdict: &Verdict, answers: &[Answer]) -> String {
    let color = match verdict.level {
        Level::Healthy => GREEN,
        Level::Degraded => YELLOW,
        Level::NoQuorum | Level::Unreachable => RED,
    };
    let word = verdict.level.word();
    let mut text = format!("{color}{word}{PLAIN}: {}\n", printable(&verdict.sentence));
    let heard = statuses(answers);
    if let Some(view) = best_view(&heard) {
        let _ = write!(text, "\n{}", node_table(view, &heard, answers).render());
        let _ = write!(text, "\n{}", holdings(view, verdict.ledgers));
    }
    for answer in answers {
        if let Err(error) = &answer.outcome {
            let _ = writeln!(text, "{}: {}", printable(&answer.address), printable(error));
        }
    }
    for (name, warning) in warnings(&heard) {
        let _ = writeln!(text, "warning: {}: {}", printable(&name), printable(warning));
    }
    text
}

fn node_table(view: &StatusResponse, heard: &[&StatusResponse], answers: &[Answer]) -> Table {
    let columns = ["NODE", "ROLE", "TERM", "INDEX", "LAG", "CLOCK", "ADDRESS", "VERSION"];
    let mut table = Table::new(&columns.map(Column::text));
    for node in &view.nodes {
        let own = heard.iter().find(|status| status.node_id == node.node_id);
        let row = match own {
            Some(own) => answering_row(view, node, own),
            None => silent_row(node, answers),
        };
        table.add(row.map(Cell::from));
    }
    table
}

fn answering_row(view: &StatusResponse, node: &NodeStatus, own: &StatusResponse) -> [String; 8] {
    let own_role = own.nodes.iter().find(|other| other.node_id == own.node_id);
    let mut role = role_name(own_role.map_or(Role::Unspecified, NodeStatus::role)).to_owned();
    if is_cut_off(view, node) {
        role.push_str(", cut off");
    }
    [
        node.name.clone(),
        role,
        own.term.to_string(),
        own.freshness.unwrap_or_default().index.to_string(),
        if leads(view) { node.lag.to_string() } else { String::new() },
        match node.clock_offset_ms {
            0 => String::new(),
            offset_ms => format!("{offset_ms:+} ms"),
        },
        node.client_address.clone(),
        own.version.clone(),
    ]
}

fn silent_row(node: &NodeStatus, answers: &[Answer]) -> [String; 8] {
    let asked = answers.iter().any(|answer| answer.address == node.client_address);
    let role = if asked { "unreachable" } else { "no answer" };
    let empty = String::new;
    let address = node.client_address.clone();
    [node.name.clone(), role.to_owned(), empty(), empty(), empty(), empty(), address, empty()]
}

fn holdings(view: &StatusResponse, ledgers: Ledgers) -> String {
    let ledgers = match ledgers {
        Ledgers::NotCompared => "ledgers not compared, no two stood at one index".to_owned(),
        Ledgers::Equal { nodes, index } => format!("ledgers equal on {nodes} nodes at {index}"),
        Ledgers::Differ { index } => format!("{RED}ledgers DIFFER{PLAIN} at {index}"),
    };
    format!(
        "{}, {}; {ledgers}\ncluster {}, date {}\n",
        counted(view.sessions, "session"),
        counted(view.checkouts, "checkout"),
        printable(&view.cluster_id),
        instant(view.date_ms),
    )
}

fn warnings<'a>(heard: &[&'a StatusResponse]) -> Vec<(String, &'a str)> {
    let mut warnings = Vec::new();
    for status in heard {
        let own = status.nodes.iter().find(|node| node.node_id == status.node_id);
        let name = own.map_or_else(|| format!("node {}", status.node_id), |own| own.name.clone());
        warnings.extend(status.warnings.iter().map(|text| (name.clone(), text.as_str())));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::Freshness;

    use super::*;

    fn node(node_id: u64, name: &str, role: Role) -> NodeStatus {
        NodeStatus {
            node_id,
            name: name.into(),
            client_address: format!("{name}:27070"),
            role: role.into(),
            reachable: role != Role::Unreachable,
            clock_offset_ms: 3 - node_id as i64,
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
        let text = as_text(&verdict(&answers), &answers);
        let expected = "\
\x1b[1;33mDegraded\x1b[0m: 2 of 3 nodes, leader lic-a; the next failure stops checkouts

NODE   ROLE         TERM  INDEX  LAG  CLOCK  ADDRESS      VERSION
lic-a  leader       7     1204   0    +2 ms  lic-a:27070  0.1.0
lic-b  unreachable  -     -      -    -      lic-b:27070  -
lic-c  follower     7     1203   0    -      lic-c:27070  0.1.0

1 session, 40 checkouts; ledgers not compared, no two stood at one index
cluster tc-1, date -
lic-b:27070: connection refused
warning: lic-a: disk is slow\\u{1b}[31m
";
        assert_eq!(text, expected);
        let json = as_json(&verdict(&answers), &answers);
        assert_eq!(json["verdict"], "DEGRADED");
        assert_eq!(json["exitCode"], 3);
        assert_eq!(json["nodes"][0]["status"]["freshness"]["index"], "1204");
        assert_eq!(json["nodes"][1]["error"], "connection refused");
    }
}
