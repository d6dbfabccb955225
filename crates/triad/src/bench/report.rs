//! What a benchmark says: one run after the other as JSON, and the lengths of
//! time that were measured as rows.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::table::{Cell, Column, Table};
use crate::text::bytes;

use super::figures::{Errors, Latency};

/// Every key of a run in JSON, and what it means. The page of output is made of
/// this.
#[cfg(test)]
pub const KEYS: [(&str, &str); 37] = [
    ("workload", "as on the command line"),
    ("part", "which part of a workload that has several: `serial`, `clients`"),
    ("tls", "whether connections were encrypted"),
    ("local", "whether the nodes were the benchmark's own"),
    ("clients", "how many clients, or holders"),
    ("connections", "how many connections they had"),
    ("outstanding", "how many others held a seat meanwhile"),
    ("warm_up_s", "how long it ran before it was measured"),
    ("seconds", "how long was measured"),
    ("cycles", "checkouts with their checkins that began and ended in that time"),
    ("cycles_per_s", "the same for each second"),
    ("beats", "heartbeats that were answered"),
    ("beats_per_s", "the same for each second"),
    ("denials", "checkouts that were denied for lack of a seat, and asked for again"),
    ("errors", "what went wrong, in all; with any the exit code is 1"),
    ("errors_by_reason", "the same by the reason of the wire, or `SESSION_LOST`"),
    ("fairness", "Jain's index over the clients' cycles: 1 when all were served alike"),
    ("checkout", "a latency: from the call to the grant"),
    ("checkin", "a latency: from the call to the answer"),
    ("beat", "a latency: from the heartbeat to its answer"),
    ("failover", "a latency: from the fault to the end of the first checkout begun after it"),
    ("freed", "a latency: how long after the last lease had ended the last seat was free"),
    ("resumed", "a latency: from the kill until a client's session was resumed"),
    ("restart", "a latency: from the start of a follower until it had all and said so"),
    ("restart_behind", "the same of a follower that had missed a fifth"),
    ("cold_start", "a latency: from the start of all nodes until a checkout was granted"),
    ("seats_lost", "seats that were held before a failover and not after"),
    ("seats_twice", "seats that a holder had more than its one after a failover"),
    ("seats_left", "seats of its features that were in use afterwards; must be 0"),
    ("sessions_lost", "sessions that ended though they were heard"),
    ("elections", "how often another term began though no node was stopped; should be 0"),
    ("server_cpu_us_per_cycle", "processor time of all nodes for each cycle or heartbeat"),
    ("client_cpu_us_per_cycle", "processor time of the load generator for the same"),
    (
        "disk_bytes_per_cycle",
        "what the disk below the local nodes wrote for the same, all nodes together and whatever else \
         writes to it",
    ),
    ("leader_bytes_per_session", "what the leader's memory grew by for each session"),
    ("syscalls_per_cycle", "the leader's system calls by name, and `total`"),
    (
        "nodes",
        "of local nodes: `name`, `leader`, `cores` that it kept busy, `rss_kib`, `written_bytes` as \
         Linux counts them for a process, `written_bytes_per_cycle`, `data_bytes` of its files",
    ),
];

/// What came of one part of a workload. Absent: not measured by it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Run {
    pub workload: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<&'static str>,
    pub tls: bool,
    pub local: bool,
    pub clients: u32,
    pub connections: u32,
    pub outstanding: u32,
    pub warm_up_s: f64,
    pub seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cycles_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beats_per_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denials: Option<u64>,
    pub errors: u64,
    pub errors_by_reason: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkout: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkin: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beat: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failover: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freed: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_behind: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_start: Option<Latency>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats_lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats_twice: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seats_left: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_us_per_cycle: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cpu_us_per_cycle: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_bytes_per_cycle: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader_bytes_per_session: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syscalls_per_cycle: Option<BTreeMap<String, f64>>,
    pub nodes: Vec<NodeFigures>,
}

/// What one node of our own spent.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NodeFigures {
    pub name: String,
    pub leader: bool,
    pub cores: f64,
    pub rss_kib: u64,
    pub written_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_bytes_per_cycle: Option<f64>,
    pub data_bytes: u64,
}

/// The whole answer as JSON.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub runs: Vec<Run>,
}

impl Run {
    pub fn set_errors(&mut self, errors: &Errors) {
        self.errors_by_reason = errors.by_reason();
        self.errors = self.errors_by_reason.values().sum();
    }

    /// Whether nothing went wrong and nothing was lost or left behind.
    pub fn is_good(&self) -> bool {
        let none = |count: Option<u64>| count.unwrap_or(0) == 0;
        let kept = none(self.seats_lost) && none(self.seats_twice) && none(self.seats_left);
        self.errors == 0 && kept && none(self.sessions_lost)
    }

    /// What was measured, by its name.
    fn latencies(&self) -> impl Iterator<Item = (&'static str, Latency)> {
        [
            ("checkout", self.checkout),
            ("checkin", self.checkin),
            ("beat", self.beat),
            ("failover", self.failover),
            ("freed", self.freed),
            ("resumed", self.resumed),
            ("restart", self.restart),
            ("restart_behind", self.restart_behind),
            ("cold_start", self.cold_start),
        ]
        .into_iter()
        .filter_map(|(name, latency)| Some((name, latency?)))
    }

    fn title(&self) -> String {
        match self.part {
            Some(part) => format!("{} {part}", self.workload),
            None => self.workload.to_owned(),
        }
    }
}

/// A row for each latency of each run.
pub fn table(runs: &[Run]) -> Table {
    let mut table = Table::new(&[
        Column::text("WORKLOAD"),
        Column::number("CLIENTS"),
        Column::text("TLS"),
        Column::text("WHAT"),
        Column::number("COUNT"),
        Column::number("PER S"),
        Column::number("P50 US"),
        Column::number("P99 US"),
        Column::number("P999 US"),
        Column::number("MAX US"),
        Column::number("ERRORS"),
        Column::text("FAIRNESS"),
        Column::number("CPU US"),
        Column::number("CLIENT CPU US").wide(),
        Column::number("CONNECTIONS").wide(),
        Column::number("OUTSTANDING").wide(),
        Column::number("DENIALS").wide(),
    ]);
    for run in runs {
        for (name, latency) in run.latencies() {
            let per_s = match name {
                "checkout" | "checkin" => run.cycles_per_s,
                "beat" => run.beats_per_s,
                _ => None,
            };
            table.add([
                run.title().into(),
                run.clients.into(),
                if run.tls { "on" } else { "off" }.into(),
                name.into(),
                latency.count.into(),
                whole(per_s),
                whole(Some(latency.p50_us)),
                whole(Some(latency.p99_us)),
                whole(Some(latency.p999_us)),
                whole(Some(latency.max_us)),
                run.errors.into(),
                run.fairness.map_or(Cell::None, |index| format!("{index:.3}").into()),
                whole(run.server_cpu_us_per_cycle),
                whole(run.client_cpu_us_per_cycle),
                run.connections.into(),
                run.outstanding.into(),
                run.denials.map_or(Cell::None, Cell::Number),
            ]);
        }
    }
    table
}

fn whole(number: Option<f64>) -> Cell {
    number.map_or(Cell::None, |number| Cell::Number(number.round() as u64))
}

/// What no row says: the nodes, and what went wrong.
pub fn remarks(runs: &[Run]) -> String {
    let mut text = String::new();
    for run in runs {
        if let Some(leader) = run.nodes.iter().find(|node| node.leader) {
            let cores: f64 = run.nodes.iter().map(|node| node.cores).sum();
            let _ = write!(
                text,
                "{}: {cores:.2} cores for {} nodes; the leader {:.2}, {} resident, {} of files, {} \
                 written",
                run.title(),
                run.nodes.len(),
                leader.cores,
                bytes(leader.rss_kib * 1_024),
                bytes(leader.data_bytes),
                bytes(leader.written_bytes),
            );
            if let Some(each) = leader.written_bytes_per_cycle {
                let _ = write!(text, ", {} each", bytes(each.round() as u64));
            }
            if let Some(each) = run.disk_bytes_per_cycle {
                let _ = write!(text, "; the disk {} each", bytes(each.round() as u64));
            }
            text.push('\n');
        }
        if let Some(bytes) = run.leader_bytes_per_session {
            let _ =
                writeln!(text, "{}: the leader grew by {bytes:.0} bytes a session", run.title());
        }
        if let Some(calls) = &run.syscalls_per_cycle {
            let mut calls: Vec<_> = calls.iter().collect();
            calls.sort_by(|a, b| b.1.total_cmp(a.1));
            let told: Vec<_> = calls.iter().map(|(name, n)| format!("{name} {n}")).collect();
            let _ =
                writeln!(text, "{}: the leader's calls a cycle: {}", run.title(), told.join(", "));
        }
        let counts = [
            ("seats were lost", run.seats_lost),
            ("seats were held twice", run.seats_twice),
            ("seats are left behind", run.seats_left),
            ("sessions ended though they were heard", run.sessions_lost),
            ("elections though no node was stopped", run.elections),
        ];
        for (what, count) in counts {
            if let Some(count) = count.filter(|count| *count > 0) {
                let _ = writeln!(text, "{}: {count} {what}", run.title());
            }
        }
        for (reason, count) in &run.errors_by_reason {
            let _ = writeln!(text, "{}: {count} errors {reason}", run.title());
        }
    }
    match text.is_empty() {
        true => text,
        false => text + "\n",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn full() -> Run {
        let latency =
            Some(Latency { count: 2, p50_us: 1.5, p99_us: 2.0, p999_us: 2.0, max_us: 2.4 });
        Run {
            workload: "w2",
            part: Some("serial"),
            clients: 1,
            cycles: Some(2),
            cycles_per_s: Some(3.6),
            beats: Some(1),
            beats_per_s: Some(1.0),
            denials: Some(0),
            fairness: Some(0.98765),
            checkout: latency,
            checkin: latency,
            beat: latency,
            failover: latency,
            freed: latency,
            resumed: latency,
            restart: latency,
            restart_behind: latency,
            cold_start: latency,
            seats_lost: Some(0),
            seats_twice: Some(0),
            seats_left: Some(0),
            sessions_lost: Some(0),
            elections: Some(0),
            server_cpu_us_per_cycle: Some(61.2),
            client_cpu_us_per_cycle: Some(40.0),
            disk_bytes_per_cycle: Some(9_000.0),
            leader_bytes_per_session: Some(1.0),
            syscalls_per_cycle: Some(BTreeMap::new()),
            nodes: vec![NodeFigures { name: "bench-1".into(), ..NodeFigures::default() }],
            ..Run::default()
        }
    }

    #[test]
    fn every_key_is_described_and_every_description_has_its_key() {
        let value = serde_json::to_value(full()).unwrap();
        let keys: BTreeSet<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, KEYS.iter().map(|(key, _)| *key).collect());
    }

    #[test]
    fn a_run_is_good_only_if_nothing_is_wrong() {
        assert!(full().is_good());
        for spoil in [
            |run: &mut Run| run.errors = 1,
            |run: &mut Run| run.seats_lost = Some(1),
            |run: &mut Run| run.seats_twice = Some(1),
            |run: &mut Run| run.seats_left = Some(1),
            |run: &mut Run| run.sessions_lost = Some(1),
        ] {
            let mut run = full();
            spoil(&mut run);
            assert!(!run.is_good(), "{run:?}");
        }
    }

    #[test]
    fn there_is_a_row_for_each_latency() {
        let csv = table(&[full()]).csv();
        assert_eq!(csv.lines().count(), 10, "{csv}");
        assert!(csv.starts_with("workload,clients,tls,what,count,per_s,p50_us,"), "{csv}");
        let first = csv.lines().nth(1).unwrap();
        assert_eq!(first, "w2 serial,1,off,checkout,2,4,2,2,2,2,0,0.988,61,40,0,0,0");
    }
}
