//! `triad audit verify`: every node proves the history that it keeps, and no
//! two differ.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use triad_proto::v1::{NodeStatus, VerifyHistoryRequest, VerifyHistoryResponse};

use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{GREEN, PLAIN, RED, YELLOW};
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};
use crate::text::{counted, printable, printable_lines};

/// A node reads all that it keeps: gigabytes, after some years.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Enough of a hash to see by eye that two are equal.
const CHAIN_LETTERS: usize = 12;
/// So many faults of a node are told; the others are counted.
const FAULTS_TOLD: usize = 10;

/// Asks all nodes.
pub async fn verify(settings: &Settings) -> Result<Exit, Failure> {
    let cluster = Cluster::within(settings, settings.timeout_or(TIMEOUT))?;
    let asked = cluster
        .each(async |admin: &mut Admin| {
            Ok(admin.verify_history(VerifyHistoryRequest {}).await?.into_inner())
        })
        .await;
    let statuses: Vec<_> = asked.iter().filter_map(|(node, _)| node.outcome.clone().ok()).collect();
    let mut nodes: Vec<Node> = Vec::new();
    let mut refused = None;
    for (node, answer) in asked {
        // A node that is silent is known by those that are not.
        let is_it = |known: &&NodeStatus| match &node.outcome {
            Ok(status) => known.node_id == status.node_id,
            Err(_) => known.client_address == node.address,
        };
        let known = statuses.iter().flat_map(|status| &status.nodes).find(is_it);
        let name = known.map(|known| known.name.clone());
        // A node may be named by two addresses.
        let id = node.outcome.as_ref().map_or(0, |status| status.node_id);
        if id != 0 && nodes.iter().any(|known| known.id == id) {
            continue;
        }
        let (proof, error) = match answer {
            Ok(proof) => (Some(proof), None),
            Err(failure) => {
                let error = node.outcome.err().unwrap_or_else(|| failure.to_string());
                refused = refused.or(Some(failure));
                (None, Some(error))
            }
        };
        nodes.push(Node {
            id,
            name: name.unwrap_or_default(),
            address: node.address,
            proof,
            error,
        });
    }
    // That nobody answers, or that none knows the token, is one failure.
    if let Some(failure) = refused.filter(|_| nodes.iter().all(|node| node.proof.is_none())) {
        return Err(failure);
    }
    let audit = Audit::of(nodes);
    let value = serde_json::json!({
        "verdict": audit.verdict(),
        "exitCode": audit.exit().code(),
        "nodes": audit.nodes,
    });
    settings.output.list_below(&audit.told(), &value, &audit.nodes, || audit.table())?;
    Ok(audit.exit())
}

/// What one node said.
#[derive(Clone, Debug, Serialize)]
struct Node {
    #[serde(skip)]
    id: u64,
    name: String,
    address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<VerifyHistoryResponse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What all nodes said, and what it comes to.
struct Audit {
    nodes: Vec<Node>,
    /// Events at which nodes stand whose chains differ.
    differing: Vec<u64>,
    /// The event at which most nodes stand with equal chains, and how many.
    agreeing: (u64, usize),
}

impl Audit {
    fn of(nodes: Vec<Node>) -> Self {
        let mut heads: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
        for proof in nodes.iter().filter_map(|node| node.proof.as_ref()) {
            heads.entry(proof.last_sequence).or_default().push(&proof.chain);
        }
        let differ = |chains: &[&str]| chains.iter().any(|chain| *chain != chains[0]);
        let differing =
            heads.iter().filter(|(_, chains)| differ(chains)).map(|(at, _)| *at).collect();
        let agreeing = heads.iter().filter(|(_, chains)| !differ(chains));
        let agreeing = agreeing.map(|(at, chains)| (*at, chains.len()));
        let agreeing = agreeing.max_by_key(|(at, count)| (*count, *at)).unwrap_or((0, 0));
        Audit { differing, agreeing, nodes }
    }

    fn faulty(&self) -> Vec<&Node> {
        let is_faulty = |proof: &VerifyHistoryResponse| !proof.faults.is_empty();
        self.nodes.iter().filter(|node| node.proof.as_ref().is_some_and(is_faulty)).collect()
    }

    fn silent(&self) -> Vec<&Node> {
        self.nodes.iter().filter(|node| node.proof.is_none()).collect()
    }

    fn exit(&self) -> Exit {
        if !self.faulty().is_empty() || !self.differing.is_empty() {
            Exit::Error
        } else if !self.silent().is_empty() {
            Exit::Degraded
        } else {
            Exit::Ok
        }
    }

    /// The first line.
    fn verdict(&self) -> String {
        let names =
            |nodes: &[&Node]| nodes.iter().map(|n| n.called()).collect::<Vec<_>>().join(", ");
        let (faulty, silent) = (self.faulty(), self.silent());
        if let Some(at) = self.differing.first() {
            return format!("FAULTY: the histories of two nodes differ at event {at}");
        }
        if !faulty.is_empty() {
            return format!("FAULTY: the history of {} does not fit", names(&faulty));
        }
        let (total, good) = (self.nodes.len(), self.nodes.len() - silent.len());
        let equal = match self.agreeing {
            (_, 0 | 1) => "no two stood at the same event to be compared".to_owned(),
            (at, count) => format!("{count} are equal at event {at}"),
        };
        let sound = format!("{good} of {total} histories are whole, {equal}");
        match silent.is_empty() {
            true => format!("Sound: {sound}"),
            false => format!("Incomplete: {sound}; not asked: {}", names(&silent)),
        }
    }

    /// The verdict, and what is behind it, above the table.
    fn told(&self) -> String {
        let color = match self.exit() {
            Exit::Ok => GREEN,
            Exit::Degraded => YELLOW,
            _ => RED,
        };
        let verdict = self.verdict();
        let (word, rest) = verdict.split_once(':').unwrap_or((&verdict, ""));
        let mut text = format!("{color}{word}{PLAIN}:{}\n", printable_lines(rest));
        for node in self.faulty() {
            let faults = node.proof.as_ref().map_or(&[][..], |proof| &proof.faults);
            for fault in faults.iter().take(FAULTS_TOLD) {
                text.push_str(&format!("  {}: {}\n", node.called(), printable_lines(fault)));
            }
            if let more @ 1.. = faults.len().saturating_sub(FAULTS_TOLD) {
                let more = counted(more as u64, "more fault");
                text.push_str(&format!("  {}: {more}, see -o json\n", node.called()));
            }
        }
        for node in self.silent() {
            let error = node.error.as_deref().unwrap_or_default();
            text.push_str(&format!("  {}: {}\n", node.called(), printable_lines(error)));
        }
        text + "\n"
    }

    fn table(&self) -> Table {
        let columns = [
            Column::text("NODE"),
            Column::text("VERDICT"),
            Column::number("FROM EVENT"),
            Column::number("TO EVENT"),
            Column::instant("FROM"),
            Column::instant("TO"),
            Column::text("CHAIN"),
            Column::number("CHANGES CHECKED"),
            Column::text("REMARK"),
        ];
        let mut table = Table::new(&columns);
        for node in &self.nodes {
            let Some(proof) = &node.proof else {
                let (empty, called) = (|| Cell::None, node.called());
                let cells = [called.into(), "not asked".into(), empty(), empty(), empty()];
                let [a, b, c, d, e] = cells;
                table.add([a, b, c, d, e, empty(), empty(), empty(), empty()]);
                continue;
            };
            table.add([
                node.called().into(),
                self.verdict_on(proof).into(),
                Cell::unless_zero(proof.first_sequence),
                Cell::unless_zero(proof.last_sequence),
                Cell::unless_zero(proof.first_date_ms),
                Cell::unless_zero(proof.last_date_ms),
                proof.chain.chars().take(CHAIN_LETTERS).collect::<String>().into(),
                proof.changes_checked.into(),
                remark(proof).into(),
            ]);
        }
        table
    }

    fn verdict_on(&self, proof: &VerifyHistoryResponse) -> &'static str {
        match (proof.faults.is_empty(), self.differing.contains(&proof.last_sequence)) {
            (false, _) => "FAULTY",
            (true, true) => "DIFFERS",
            (true, false) => "whole",
        }
    }
}

impl Node {
    fn called(&self) -> String {
        printable(if self.name.is_empty() { &self.address } else { &self.name })
    }
}

fn remark(proof: &VerifyHistoryResponse) -> String {
    let mut remarks = Vec::new();
    if proof.trimmed {
        remarks.push("older events were removed by age or size".to_owned());
    }
    if proof.recounted_from_sequence > proof.first_sequence {
        remarks.push(format!("use recounted from event {}", proof.recounted_from_sequence));
    }
    remarks.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, last_sequence: u64, chain: &str) -> Node {
        let proof = VerifyHistoryResponse {
            first_sequence: 1,
            last_sequence,
            first_date_ms: 1_795_392_000_000,
            last_date_ms: 1_795_442_709_000,
            chain: chain.into(),
            changes_checked: 40,
            ..VerifyHistoryResponse::default()
        };
        let (name, address) = (name.to_owned(), format!("{name}:27070"));
        Node { id: 1, name, address, proof: Some(proof), error: None }
    }

    fn silent(name: &str) -> Node {
        Node { proof: None, error: Some("refused\x1b".into()), ..node(name, 0, "") }
    }

    #[test]
    fn three_equal_histories_are_sound() {
        let chain = "3f0c9a5be1d2a740";
        let audit = Audit::of(vec![node("a", 90, chain), node("b", 90, chain), node("c", 91, "4")]);
        assert_eq!(audit.exit(), Exit::Ok);
        let sound = "Sound: 3 of 3 histories are whole, 2 are equal at event 90";
        assert_eq!(audit.verdict(), sound);
        let expected = "\
NODE  VERDICT  FROM EVENT  TO EVENT  FROM                  TO                    CHAIN         CHANGES CHECKED  REMARK
a     whole    1           90        2026-11-23 00:00:00Z  2026-11-23 14:05:09Z  3f0c9a5be1d2  40               -
b     whole    1           90        2026-11-23 00:00:00Z  2026-11-23 14:05:09Z  3f0c9a5be1d2  40               -
c     whole    1           91        2026-11-23 00:00:00Z  2026-11-23 14:05:09Z  4             40               -
";
        assert_eq!(audit.table().render(), expected);
    }

    #[test]
    fn two_that_differ_at_the_same_event_are_an_alarm() {
        let audit = Audit::of(vec![node("a", 90, "3f"), node("b", 90, "40"), silent("c")]);
        assert_eq!(audit.exit(), Exit::Error);
        assert!(audit.told().contains("the histories of two nodes differ at event 90"));
        assert!(audit.table().render().contains("DIFFERS"));
    }

    #[test]
    fn a_fault_is_told_with_its_node_and_too_many_are_counted() {
        let mut bad = node("b", 90, "3f");
        let faults = (0..12).map(|n| format!("event {n} is \x1bmissing")).collect();
        bad.proof.as_mut().unwrap().faults = faults;
        let audit = Audit::of(vec![node("a", 90, "3f"), bad]);
        assert_eq!(audit.exit(), Exit::Error);
        let told = audit.told();
        assert!(told.contains("FAULTY\x1b[0m: the history of b does not fit\n"), "{told:?}");
        assert!(told.contains("  b: event 9 is \\u{1b}missing\n  b: 2 more faults, see -o json"));
    }

    #[test]
    fn a_node_that_was_not_asked_leaves_it_open() {
        let audit = Audit::of(vec![node("a", 90, "3f"), silent("c")]);
        assert_eq!(audit.exit(), Exit::Degraded);
        let told = audit.told();
        assert!(told.contains("Incomplete"), "{told:?}");
        assert!(told.contains("not asked: c\n  c: refused\\u{1b}\n"), "{told:?}");
    }
}
