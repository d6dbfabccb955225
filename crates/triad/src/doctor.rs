//! `triad doctor`: looks at everything that can be wrong with a cluster, from the
//! names of its hosts to its license, and says of each what mends it.

mod bundle;
mod node;

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use triad_proto::net::{Network as _, TcpNetwork};
use triad_proto::v1::StatusResponse;

use crate::args::watching::DoctorArguments;
use crate::clock;
use crate::cluster::Cluster;
use crate::concerns::{Concern, Severity, ending, right_ending, rules_in_use};
use crate::duration::show_ms;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{GREEN, PLAIN, RED, YELLOW};
use crate::settings::Settings;
use crate::text::{bytes, counted, printable};
use crate::verdict::{Answer, Ledgers, Level, Verdict, best_view, statuses, verdict};

/// A name that does not resolve, or a port that does not answer, within this time
/// will not within any that a user would wait for.
const REACH_TIMEOUT: Duration = Duration::from_secs(2);
/// Leases and license days do not depend on this machine's clock, but logs do.
const OWN_SKEW_MAX_MS: u64 = 5_000;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The group it belongs to: `dns`, `ports`, `tls` ...
    pub about: &'static str,
    /// `None`: it is well.
    pub severity: Option<Severity>,
    /// What was seen. Not yet safe to print.
    pub what: String,
    /// What mends it; empty where there is nothing to mend.
    pub remedy: String,
}

impl Finding {
    /// It is well.
    pub fn well(about: &'static str, what: impl Into<String>) -> Self {
        Finding { about, severity: None, what: what.into(), remedy: String::new() }
    }

    /// It is not.
    pub fn ill(
        about: &'static str,
        severity: Severity,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding { about, severity: Some(severity), what: what.into(), remedy: remedy.into() }
    }

    fn word(&self) -> &'static str {
        self.severity.map_or("ok", Severity::word)
    }
}

/// Looks at everything, and writes it down for support if wanted.
pub async fn run(settings: &Settings, arguments: &DoctorArguments) -> Result<Exit, Failure> {
    let mut findings = Vec::new();
    if let Some(config) = &arguments.config {
        findings.extend(node::look(config, clock::now()).await);
    }
    let mut answers = Vec::new();
    let level = match Cluster::new(settings) {
        // Without servers there is still a node to look at.
        Err(Failure::Usage { .. }) if arguments.config.is_some() && !settings.names_servers() => {
            Level::Healthy
        }
        Err(failure) => return Err(failure),
        Ok(cluster) => {
            for address in settings.servers()? {
                findings.extend(reach(&address).await);
            }
            answers = cluster.statuses().await;
            let verdict = verdict(&answers);
            findings.extend(judge(&answers, &verdict, clock::now_ms()));
            verdict.level
        }
    };
    let exit = exit_of(level, &findings);
    let value = json!({
        "findings": findings.iter().map(as_json).collect::<Vec<_>>(),
        "exitCode": exit.code(),
    });
    settings.output.answer(&value, || as_text(&findings))?;
    if let Some(file) = &arguments.bundle {
        bundle::write(settings, file, arguments.config.as_deref(), &value, &answers).await?;
        settings.output.notice(&format!("written: {}\n", file.display()));
    }
    Ok(exit)
}

fn exit_of(level: Level, findings: &[Finding]) -> Exit {
    let worst = findings.iter().filter_map(|finding| finding.severity).max();
    match (level, worst) {
        (Level::NoQuorum | Level::Unreachable, _) => level.exit(),
        (_, Some(Severity::Err | Severity::Warn)) => Exit::Degraded,
        _ => level.exit(),
    }
}

/// Whether a name resolves, and its port answers.
async fn reach(address: &str) -> Vec<Finding> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let resolved = match timeout(REACH_TIMEOUT, resolve(address)).await {
        Err(_) => Err("no answer from the name service".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(found)) => Ok(found),
    };
    let found = match resolved {
        Ok(found) if !found.is_empty() => found,
        other => {
            let why = other.err().unwrap_or_else(|| "it has no address".to_owned());
            let remedy =
                format!("put {host} into DNS or /etc/hosts: `getent hosts {host}` must name it");
            return vec![Finding::ill("dns", Severity::Err, format!("{host}: {why}"), remedy)];
        }
    };
    let ips: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
    let name = Finding::well("dns", format!("{host} is {}", ips.join(", ")));
    let port = match timeout(REACH_TIMEOUT, TcpNetwork::new().connect(address)).await {
        Ok(Ok(_)) => Finding::well("ports", format!("{address} answers")),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Finding::ill(
            "ports",
            Severity::Err,
            format!("{address}: nothing listens there"),
            "start the node there: `systemctl start triad`; or name the port of `listen.clients`",
        ),
        Ok(Err(error)) => Finding::ill(
            "ports",
            Severity::Err,
            format!("{address}: {error}"),
            "see that the machine runs and is reached: `ping`, `ip route get`",
        ),
        Err(_) => Finding::ill(
            "ports",
            Severity::Err,
            format!("{address}: no answer within {}", show_ms(REACH_TIMEOUT.as_millis() as u64)),
            "let the clients' port through the firewalls on the way: `nft list ruleset` there",
        ),
    };
    vec![name, port]
}

/// The addresses of a host. The system's resolver waits, so it does so apart.
async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let address = address.to_owned();
    let found = spawn_blocking(move || address.to_socket_addrs().map(Iterator::collect)).await;
    found.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// What the nodes' own words come to.
fn judge(answers: &[Answer], verdict: &Verdict, now_ms: u64) -> Vec<Finding> {
    let mut findings = Vec::new();
    for answer in answers {
        if let Err(error) = &answer.outcome {
            // Ports have been tried; what is left is who answers there.
            let is_tls = error.contains("certificate") || error.contains("TLS");
            if is_tls {
                findings.push(Finding::ill(
                    "tls",
                    Severity::Err,
                    format!("{}: {error}", answer.address),
                    "give the ca.pem of this cluster with --ca; a node's certificate is issued \
                     anew with `triad cert`",
                ));
            }
        }
    }
    let heard = statuses(answers);
    let Some(view) = best_view(&heard) else {
        findings.push(Finding::ill(
            "quorum",
            Severity::Err,
            verdict.sentence.clone(),
            "start the nodes, and name their client ports with --servers",
        ));
        return findings;
    };
    findings.push(quorum(verdict));
    findings.push(ledgers(verdict, view, heard.len()));
    findings.extend(verdict.concerns.iter().map(of_concern));
    findings.extend(well(view, &heard, &verdict.concerns));
    findings.extend(license(view, &verdict.concerns));
    // Without a quorum the cluster's date stands still.
    if verdict.level != Level::NoQuorum {
        findings.extend(own_clock(view, now_ms));
    }
    findings
}

fn quorum(verdict: &Verdict) -> Finding {
    match verdict.level {
        Level::NoQuorum => Finding::ill(
            "quorum",
            Severity::Err,
            verdict.sentence.clone(),
            "start the nodes that are missing, or open the peers' port (27071) between the nodes",
        ),
        // What else is wrong has a row of its own.
        _ if verdict.are_nodes_well() => Finding::well("quorum", verdict.about_nodes()),
        _ => Finding::ill(
            "quorum",
            match verdict.ledgers {
                Ledgers::Differ { .. } => Severity::Err,
                Ledgers::Equal { .. } | Ledgers::NotCompared => Severity::Warn,
            },
            verdict.sentence.clone(),
            "start the nodes that are missing, and let this machine and the peers reach them",
        ),
    }
}

/// `heard`: how many nodes answered.
fn ledgers(verdict: &Verdict, view: &StatusResponse, heard: usize) -> Finding {
    match verdict.ledgers {
        Ledgers::Differ { index } => Finding::ill(
            "ledgers",
            Severity::Err,
            format!("the ledgers differ at entry {index}"),
            "stop nothing and remove nothing: send the archive of `triad doctor --bundle FILE`",
        ),
        Ledgers::Equal { nodes, index } => {
            Finding::well("ledgers", format!("equal on {nodes} nodes at entry {index}"))
        }
        Ledgers::NotCompared => Finding::well(
            "ledgers",
            match (view.nodes.len(), heard) {
                (0 | 1, _) => "there is one, and nothing to compare it with",
                (_, 0 | 1) => "one node answers, and its ledger was compared with no other",
                _ => "no two nodes stood at one entry; ask again to compare",
            },
        ),
    }
}

fn of_concern(concern: &Concern) -> Finding {
    Finding::ill(concern.about, concern.severity, concern.line(), concern.remedy.clone())
}

/// What is well: said, so that a silence is never taken for it.
fn well(view: &StatusResponse, heard: &[&StatusResponse], concerns: &[Concern]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_fine = |about: &str| concerns.iter().all(|concern| concern.about != about);
    let vitals = || heard.iter().filter_map(|status| status.vitals.as_ref());
    let skews = view.nodes.iter().filter_map(|node| node.clock_skew_ms);
    if let Some(worst) = skews.map(i64::unsigned_abs).max().filter(|_| is_fine("clocks")) {
        findings.push(Finding::well("clocks", format!("{} apart at most", show_ms(worst))));
    }
    let least = vitals().filter_map(|vitals| vitals.disk_free_bytes).min();
    if let Some(free) = least.filter(|_| is_fine("disk")) {
        findings.push(Finding::well("disk", format!("at least {} free", bytes(free))));
    }
    let ends = vitals().map(|vitals| vitals.certificate_expires_ms).filter(|ends| *ends > 0).min();
    if let Some(ends) = ends.filter(|_| is_fine("certificates")) {
        let what = format!("the first {}", ending(ends, view.date_ms));
        findings.push(Finding::well("certificates", what));
    }
    if is_fine("versions") {
        let what = format!("all run {}, rules {}", view.version, rules_in_use(heard));
        findings.push(Finding::well("versions", what));
    }
    let held =
        format!("{}, {}", counted(view.sessions, "session"), counted(view.checkouts, "checkout"));
    findings.push(Finding::well("load", held));
    findings
}

/// What is licensed, where that is not a concern already.
fn license(view: &StatusResponse, concerns: &[Concern]) -> Option<Finding> {
    if concerns.iter().any(|concern| concern.about == "license") {
        return None;
    }
    let vitals = view.vitals.clone().unwrap_or_default();
    Some(match (vitals.rights_in_force, vitals.license_expires_ms) {
        (Some(0), _) => Finding::ill(
            "license",
            Severity::Warn,
            "none is in force: nothing is granted",
            "put one in force: `triad license apply FILE`",
        ),
        (_, 0) => Finding::well("license", "none in force ends"),
        (_, ends_ms) => {
            Finding::well("license", format!("the first {}", right_ending(ends_ms, view.date_ms)))
        }
    })
}

fn own_clock(view: &StatusResponse, now_ms: u64) -> Option<Finding> {
    let skew_ms = now_ms.abs_diff(view.date_ms);
    (skew_ms > OWN_SKEW_MAX_MS).then(|| {
        Finding::ill(
            "clocks",
            Severity::Note,
            format!("this machine's clock is {} off the cluster's date", show_ms(skew_ms)),
            "nothing depends on it but what this machine writes; `timedatectl set-ntp true`",
        )
    })
}

fn as_json(finding: &Finding) -> serde_json::Value {
    let Finding { about, what, remedy, .. } = finding;
    json!({ "about": about, "result": finding.word(), "what": what, "remedy": remedy })
}

fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let color = match finding.severity {
            None => GREEN,
            Some(Severity::Err) => RED,
            Some(Severity::Warn) => YELLOW,
            Some(Severity::Note) => "",
        };
        let plain = if color.is_empty() { "" } else { PLAIN };
        let (word, about) = (finding.word(), finding.about);
        let what = printable(&finding.what);
        let _ = writeln!(text, "{color}{word:<4}{plain}  {about:<12}  {what}");
        if !finding.remedy.is_empty() {
            let _ = writeln!(text, "{:20}{}", "", printable(&finding.remedy));
        }
    }
    let ill = findings.iter().filter(|f| f.severity >= Some(Severity::Warn)).count();
    let _ = match ill {
        0 => writeln!(text, "\nnothing is wrong"),
        ill => writeln!(text, "\n{} to mend", counted(ill as u64, "thing")),
    };
    text
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::{Freshness, NodeStatus, Vitals};

    use super::*;

    #[tokio::test]
    async fn a_name_that_is_none_and_a_port_where_nothing_listens_are_told_apart() {
        let found = reach("no-such-host.invalid:27070").await;
        assert_eq!((found[0].about, found[0].severity), ("dns", Some(Severity::Err)));
        assert!(found[0].remedy.contains("/etc/hosts"), "{found:?}");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        assert_eq!(reach(&address).await[1].severity, None);
        drop(listener);
        let found = reach(&address).await;
        assert_eq!((found[1].about, found[1].severity), ("ports", Some(Severity::Err)));
        assert!(found[1].remedy.contains("systemctl start triad"), "{found:?}");
    }

    #[test]
    fn every_failure_comes_with_the_line_that_mends_it() {
        let silent = [Answer { address: "a:1".into(), outcome: Err("bad certificate".into()) }];
        let found = judge(&silent, &verdict(&silent), 0);
        assert_eq!(found.iter().map(|f| f.about).collect::<Vec<_>>(), ["tls", "quorum"]);
        assert!(found.iter().all(|finding| !finding.remedy.is_empty()));
        assert_eq!(exit_of(Level::Unreachable, &found), Exit::Unreachable);
        assert_eq!(exit_of(Level::Healthy, &found), Exit::Degraded);
        assert_eq!(exit_of(Level::Healthy, &[Finding::well("dns", "x")]), Exit::Ok);
    }

    const NOW_MS: u64 = 1_795_442_709_000;

    /// What a node says of a cluster of so many, all there, which it leads if that has a quorum.
    fn says(nodes: u64, has_quorum: bool) -> StatusResponse {
        let node = |node_id| NodeStatus {
            node_id,
            name: format!("lic-{node_id}"),
            reachable: true,
            ..NodeStatus::default()
        };
        StatusResponse {
            freshness: Some(Freshness { linearizable: has_quorum, ..Freshness::default() }),
            node_id: 1,
            leader_id: u64::from(has_quorum),
            has_quorum,
            nodes: (1..=nodes).map(node).collect(),
            date_ms: NOW_MS - 3_600_000,
            vitals: Some(Vitals { rights_in_force: Some(1), ..Vitals::default() }),
            ..StatusResponse::default()
        }
    }

    /// What is found, by its group: severity and words.
    fn found(status: &StatusResponse, about: &str) -> Option<(Option<Severity>, String)> {
        let answers = [Answer { address: "lic-1:1".into(), outcome: Ok(status.clone()) }];
        let findings = judge(&answers, &verdict(&answers), NOW_MS);
        let found = findings.into_iter().find(|finding| finding.about == about)?;
        assert!(found.severity.is_none() || !found.remedy.is_empty(), "{found:?}");
        Some((found.severity, found.what))
    }

    #[test]
    fn no_license_is_something_to_mend() {
        let mut status = says(1, true);
        assert_eq!(found(&status, "license").unwrap().0, None);
        status.vitals.as_mut().unwrap().rights_in_force = Some(0);
        let told = "none is in force: nothing is granted".to_owned();
        assert_eq!(found(&status, "license"), Some((Some(Severity::Warn), told)));
    }

    #[test]
    fn the_row_of_the_quorum_is_as_bad_as_its_words() {
        let one = "1 of 1 nodes, leader lic-1; no failure is survivable".to_owned();
        let mut status = says(1, true);
        assert_eq!(found(&status, "quorum"), Some((None, one.clone())));
        // What is wrong besides has a row of its own.
        status.vitals.as_mut().unwrap().disk_free_bytes = Some(200 << 20);
        assert_eq!(found(&status, "quorum"), Some((None, one)));
        assert_eq!(found(&status, "disk").unwrap().0, Some(Severity::Warn));
        let (severity, what) = found(&says(3, true), "quorum").unwrap();
        assert_eq!(severity, Some(Severity::Warn), "{what}");
        assert_eq!(found(&says(3, false), "quorum").unwrap().0, Some(Severity::Err));
    }

    #[test]
    fn a_ledger_that_is_alone_is_not_to_be_compared_again() {
        let told = |nodes| found(&says(nodes, true), "ledgers").unwrap().1;
        assert_eq!(told(1), "there is one, and nothing to compare it with");
        assert_eq!(told(3), "one node answers, and its ledger was compared with no other");
    }

    #[test]
    fn a_date_that_stands_still_is_nothing_to_compare_clocks_with() {
        let told = found(&says(1, true), "clocks").unwrap().1;
        assert_eq!(told, "this machine's clock is 1 h off the cluster's date");
        assert_eq!(found(&says(3, false), "clocks"), None);
    }
}
