//! One start of a node on damaged files, and the judgement on it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;
use triad_proto::v1;
use triad_tests::Cluster;
use triad_tests::node::Ended;

/// How long a node that came up may take to have what its peers have, or to
/// find that it cannot.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(20);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// A refusal tells the administrator what to do with one of these.
const REMEDIES: [&str; 10] = [
    "give the configuration",
    "node replace",
    "replace-a-node.md",
    "triad init",
    "reference/configuration.md",
    "copy ",
    "correct ",
    "check ",
    "restore ",
    "must be",
];
/// Settings that contradict what else is there if they are altered.
const SETTINGS: [&str; 4] = ["cluster_id", "node_id", "data_dir", "publisher_keys"];
/// What nobody should have to read.
const TRACES: [&str; 3] = ["panicked", "RUST_BACKTRACE", "Error {"];

/// How a start on damaged files ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The node did not start, and said why.
    Refused,
    /// The damage did no harm: the node has what its peers have.
    Harmless,
    /// The ledger is right, and the damage to the history is told, not hidden.
    HistoryTold,
}

/// How many ended how.
#[derive(Debug, Default)]
pub struct Tally {
    counts: BTreeMap<(String, Verdict), usize>,
    wrong: Vec<String>,
}

impl Tally {
    /// Counts one.
    pub fn note(&mut self, file: &Path, what: &str, verdict: Result<Verdict, String>) {
        match verdict {
            Ok(verdict) => {
                println!("{what}: {verdict:?}");
                *self.counts.entry((file.display().to_string(), verdict)).or_default() += 1;
            }
            Err(wrong) => {
                println!("{what}: WRONG: {wrong}");
                self.wrong.push(format!("{what}: {wrong}"));
            }
        }
    }

    /// How many ended so.
    pub fn of(&self, verdict: Verdict) -> usize {
        let found = self.counts.iter().filter(|((_, found), _)| *found == verdict);
        found.map(|(_, count)| count).sum()
    }

    /// Shows all of them.
    ///
    /// # Panics
    ///
    /// If one ended as none may.
    pub fn finish(self) {
        for ((file, verdict), count) in &self.counts {
            println!("{count:4} {verdict:?} {file}");
        }
        assert!(self.wrong.is_empty(), "{}", self.wrong.join("\n"));
    }
}

/// What the peers hold while the victim is away. Nobody uses the cluster.
pub struct Truth {
    /// The events, as a whole node tells them.
    pub events: Vec<v1::HistoryEvent>,
}

impl Truth {
    /// Asks a node that is well.
    pub async fn of(cluster: &Cluster, n: usize) -> Self {
        Truth { events: events(cluster, n).await.expect("a whole node tells its history") }
    }
}

/// Starts the node `n` on what is on its disk now, and judges what it does.
/// `named` is what a refusal must name. The node is down again after this.
///
/// # Errors
///
/// What the node did that it must never do.
pub async fn judge(
    cluster: &mut Cluster,
    n: usize,
    truth: &Truth,
    named: &Path,
) -> Result<Verdict, String> {
    let verdict = match cluster.nodes[n].start_or_refuse().await {
        Some(ended) => refused(&ended, named),
        None => came_up(cluster, n, truth, named).await,
    };
    if cluster.nodes[n].runs() {
        cluster.nodes[n].kill9().await;
    }
    verdict
}

fn refused(ended: &Ended, named: &Path) -> Result<Verdict, String> {
    if ended.status.code() != Some(1) {
        return Err(format!("it ended with {}: {}", ended.status, ended.stderr));
    }
    said_well(&ended.stderr, named)
}

/// An error for a person, that names the file and a way out.
fn said_well(text: &str, named: &Path) -> Result<Verdict, String> {
    if let Some(trace) = TRACES.iter().find(|trace| text.contains(**trace)) {
        return Err(format!("{trace:?} is in {text}"));
    }
    let error = text.lines().rfind(|line| line.to_lowercase().contains("error"));
    let error = error.ok_or_else(|| format!("no error in {text}"))?;
    // A good configuration of something else is refused for what it says.
    let names_setting = named.ends_with("triad.toml") && SETTINGS.iter().any(|s| error.contains(s));
    if !names_setting && !error.contains(named.to_str().expect("a plain path")) {
        return Err(format!("{} is not named: {error}", named.display()));
    }
    if !REMEDIES.iter().any(|remedy| error.contains(remedy)) {
        return Err(format!("no remedy: {error}"));
    }
    Ok(Verdict::Refused)
}

async fn came_up(
    cluster: &mut Cluster,
    n: usize,
    truth: &Truth,
    named: &Path,
) -> Result<Verdict, String> {
    let [other, _] = cluster.others(n);
    let deadline = Instant::now() + CATCH_UP_LIMIT;
    let at = |status: v1::StatusResponse| {
        (status.freshness.unwrap_or_default().index, status.state_hash)
    };
    loop {
        if cluster.nodes[n].process_id().is_none() {
            // It found out while it was catching up.
            let log = cluster.nodes[n].log();
            return match cluster.nodes[n].stopped().await.code() {
                Some(1) => said_well(&log, named),
                code => Err(format!("it came up and ended with {code:?}: {log}")),
            };
        }
        let (own, others) = (cluster.look(n).await.map(at), cluster.look(other).await.map(at));
        match (&own, &others) {
            (Ok(own), Ok(others)) if own == others => break,
            (Ok(own), Ok(others)) if own.0 == others.0 => {
                return Err(format!("two ledgers at one index: {own:?} {others:?}"));
            }
            _ if Instant::now() > deadline => {
                return Err(format!("it never had what its peers have: {own:?} {others:?}"));
            }
            _ => tokio::time::sleep(LOOK_INTERVAL).await,
        }
    }
    judge_history(cluster, n, truth).await
}

/// What is told of the history is true, and what is not told is missed by the
/// proof.
async fn judge_history(cluster: &Cluster, n: usize, truth: &Truth) -> Result<Verdict, String> {
    // What is missing may be sent by the peers at any moment, but what the proof
    // does not miss has to be told after it.
    let proof = history_is_whole(cluster, n).await;
    let told = match events(cluster, n).await {
        Ok(told) => told,
        Err(said) if proof.is_ok() => return Err(format!("it is proven whole, and yet {said}")),
        Err(_) => return Ok(Verdict::HistoryTold),
    };
    if let Some(wrong) = told.iter().find(|event| !truth.events.contains(event)) {
        return Err(format!("told an event that never was: {wrong:?}"));
    }
    match (told == truth.events, proof) {
        (true, Ok(())) => Ok(Verdict::Harmless),
        (false, Ok(())) => Err("events are missing, and the proof says nothing".into()),
        (_, Err(_)) => Ok(Verdict::HistoryTold),
    }
}

/// All events that a node tells, unless it says that it cannot tell all of them.
pub async fn events(cluster: &Cluster, n: usize) -> Result<Vec<v1::HistoryEvent>, String> {
    let said = |status: tonic::Status| status.message().to_owned();
    let request = cluster.authorized(v1::ListEventsRequest::default());
    let answers = cluster.admin(n).list_events(request).await.map_err(said)?;
    let mut answers = answers.into_inner();
    let mut events = Vec::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.map_err(said)?;
        if answer.missing > 0 {
            return Err(format!("{} events are missing", answer.missing));
        }
        events.extend(answer.events);
    }
    Ok(events)
}

/// Whether a node proves its history whole, or what it says instead.
pub async fn history_is_whole(cluster: &Cluster, n: usize) -> Result<(), String> {
    let request = cluster.authorized(v1::VerifyHistoryRequest {});
    let proof = cluster.admin(n).verify_history(request).await;
    let proof = proof.map_err(|status| status.message().to_owned())?.into_inner();
    if proof.faults.is_empty() { Ok(()) } else { Err(proof.faults.join("; ")) }
}
