//! What the nodes' own words come to: one verdict on the cluster.

use std::collections::BTreeMap;

use triad_proto::v1::{NodeStatus, PairPhase, PairStatus, Role, StatusResponse};

use crate::concerns::{Concern, Severity, concerns};
use crate::duration::show_ms;
use crate::exit::Exit;

/// What one node said, or why it said nothing.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Where it was asked.
    pub address: String,
    /// Its status, or what was met instead.
    pub outcome: Result<StatusResponse, String>,
}

/// How the cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Every node does its part.
    Healthy,
    /// Seats are granted, but something is missing or wrong.
    Degraded,
    /// Nodes answer, but none leads: checkouts are refused.
    NoQuorum,
    /// Nobody answers.
    Unreachable,
}

impl Level {
    /// How `triad status` ends.
    pub fn exit(self) -> Exit {
        match self {
            Level::Healthy => Exit::Ok,
            Level::Degraded => Exit::Degraded,
            Level::NoQuorum => Exit::NoQuorum,
            Level::Unreachable => Exit::Unreachable,
        }
    }

    /// For a person: the first word of the first line.
    pub fn word(self) -> &'static str {
        match self {
            Level::Healthy => "Healthy",
            Level::Degraded => "Degraded",
            Level::NoQuorum => "No quorum",
            Level::Unreachable => "Unreachable",
        }
    }

    /// For a program.
    pub fn name(self) -> &'static str {
        match self {
            Level::Healthy => "HEALTHY",
            Level::Degraded => "DEGRADED",
            Level::NoQuorum => "NO_QUORUM",
            Level::Unreachable => "UNREACHABLE",
        }
    }
}

/// Whether nodes that stand at the same index have the same ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledgers {
    /// No two nodes stood at the same index when they were asked.
    NotCompared,
    /// So many nodes at this index have equal ledgers.
    Equal {
        /// How many.
        nodes: usize,
        /// Where in the log.
        index: u64,
    },
    /// At this index ledgers differ. This must not happen.
    Differ {
        /// Where in the log.
        index: u64,
    },
}

/// The verdict on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// In one word.
    pub level: Level,
    /// What follows that word on the first line.
    pub sentence: String,
    /// The comparison of the ledgers.
    pub ledgers: Ledgers,
    /// What somebody should look at, the worst first.
    pub concerns: Vec<Concern>,
}

impl Verdict {
    /// The sentence about the nodes alone, without the concern that it ends with where all
    /// of them are there.
    pub fn about_nodes(&self) -> &str {
        let worst = self.concerns.first().map(Concern::line).unwrap_or_default();
        let bare = self.sentence.strip_suffix(&worst).and_then(|text| text.strip_suffix("; "));
        bare.unwrap_or(&self.sentence)
    }

    /// Whether the nodes are there, whatever else somebody should look at.
    pub fn are_nodes_well(&self) -> bool {
        self.level == Level::Healthy || self.about_nodes() != self.sentence
    }
}

/// The verdict that the answers come to. Of two answers of one node the first
/// counts.
pub fn verdict(answers: &[Answer]) -> Verdict {
    let mut verdict = quorum_verdict(answers);
    let statuses = statuses(answers);
    if let Some(view) = best_view(&statuses) {
        verdict.concerns = concerns(view, &statuses, answers);
    }
    // All nodes are there, but something is wrong with one of them.
    let worst = verdict.concerns.first().filter(|worst| worst.severity >= Severity::Warn);
    if let Some(worst) = worst
        && verdict.level == Level::Healthy
    {
        verdict.level = Level::Degraded;
        verdict.sentence.push_str("; ");
        verdict.sentence.push_str(&worst.line());
    }
    verdict
}

/// Who is there, and whether they serve.
fn quorum_verdict(answers: &[Answer]) -> Verdict {
    let statuses = statuses(answers);
    let concerns = Vec::new();
    let ledgers = compare(&statuses);
    let Some(view) = best_view(&statuses) else {
        let count = answers.len();
        let servers = if count == 1 {
            "the server does not answer".to_owned()
        } else {
            format!("none of {count} servers answers")
        };
        return Verdict { level: Level::Unreachable, sentence: servers, ledgers, concerns };
    };
    if let Some((level, sentence)) = pair_verdict(&statuses) {
        return Verdict { level, sentence, ledgers, concerns };
    }
    let voters: Vec<&NodeStatus> = view.nodes.iter().filter(|node| votes(node)).collect();
    let total = voters.len().max(1);
    if !serves(view) {
        let answering = statuses.len();
        let answer = if answering == 1 { "answers" } else { "answer" };
        let freshness = view.freshness.unwrap_or_default();
        let sentence = format!(
            "{answering} of {total} nodes {answer}; checkouts are refused (STALE by {})",
            show_ms(freshness.stale_ms)
        );
        return Verdict { level: Level::NoQuorum, sentence, ledgers, concerns };
    }
    // A node is well when it answers us and the leader reaches it. Only the
    // leader knows whom it reaches.
    let answers_us = |node: &NodeStatus| statuses.iter().any(|s| s.node_id == node.node_id);
    let reached = |node: &NodeStatus| !is_cut_off(view, node);
    let well = voters.iter().filter(|node| answers_us(node) && reached(node)).count();
    let leader = view.nodes.iter().find(|node| node.node_id == view.leader_id);
    let leader =
        leader.map_or_else(|| format!("node {}", view.leader_id), |node| node.name.clone());
    let differ = matches!(ledgers, Ledgers::Differ { .. });
    let level = if well == total && !differ { Level::Healthy } else { Level::Degraded };
    let spare = if differ {
        "the ledgers DIFFER, keep the nodes' logs and ask for help".to_owned()
    } else {
        survivable(well, total)
    };
    let sentence = format!("{well} of {total} nodes, leader {leader}; {spare}");
    Verdict { level, sentence, ledgers, concerns }
}

/// How a main server and its back-up are; `None` for nodes that agree.
fn pair_verdict(statuses: &[&StatusResponse]) -> Option<(Level, String)> {
    let in_phase = |phase: PairPhase| {
        let stands =
            |status: &&&StatusResponse| status.pair.as_ref().map(PairStatus::phase) == Some(phase);
        statuses.iter().find(stands).copied()
    };
    let first = statuses.iter().find_map(|status| status.pair.as_ref())?;
    let own = |status: &StatusResponse| {
        let node = status.nodes.iter().find(|node| node.node_id == status.node_id);
        node.map_or_else(|| format!("node {}", status.node_id), |node| node.name.clone())
    };
    let partner = |status: &StatusResponse| {
        status.pair.as_ref().map_or(String::new(), |pair| pair.partner_name.clone())
    };
    if let Some(main) = in_phase(PairPhase::Main) {
        let backup = partner(main);
        if in_phase(PairPhase::Alone).is_some() {
            return Some((
                Level::Degraded,
                format!(
                    "{} and its back-up {backup} both serve: they do not reach each other",
                    own(main)
                ),
            ));
        }
        let follows = main.nodes.iter().any(|node| node.role() == Role::Learner && node.reachable);
        return Some(match in_phase(PairPhase::Following) {
            Some(_) if follows => (
                Level::Healthy,
                format!(
                    "main {} serves, back-up {backup} follows; one failure is survivable",
                    own(main)
                ),
            ),
            _ => (
                Level::Degraded,
                format!(
                    "main {} serves, back-up {backup} does not follow; the next failure stops checkouts",
                    own(main)
                ),
            ),
        });
    }
    if let Some(alone) = in_phase(PairPhase::Alone) {
        let pair = alone.pair.as_ref()?;
        let left_ms = pair.serves_until_ms.saturating_sub(alone.date_ms);
        return Some((
            Level::Degraded,
            format!(
                "back-up {} serves in the place of {}, for {} at most",
                own(alone),
                partner(alone),
                show_ms(left_ms)
            ),
        ));
    }
    let sentence = match (in_phase(PairPhase::Over), in_phase(PairPhase::Following)) {
        (Some(over), _) => format!(
            "back-up {} has served for as long as the publisher allows; start {}",
            own(over),
            partner(over)
        ),
        (None, Some(following)) => format!(
            "main {} is silent; back-up {} serves as soon as a client asks",
            partner(following),
            own(following)
        ),
        _ => format!("the main server asks its back-up {} before it serves", first.partner_name),
    };
    Some((Level::NoQuorum, sentence))
}

/// The statuses that came, one for each node, the first of each.
pub fn statuses(answers: &[Answer]) -> Vec<&StatusResponse> {
    let mut seen = Vec::new();
    let mut statuses = Vec::new();
    for status in answers.iter().filter_map(|answer| answer.outcome.as_ref().ok()) {
        if !seen.contains(&status.node_id) {
            seen.push(status.node_id);
            statuses.push(status);
        }
    }
    statuses
}

/// The status that knows most: the leader's own of the highest term, then
/// that of a node which follows a leader, then the least stale.
pub fn best_view<'a>(statuses: &[&'a StatusResponse]) -> Option<&'a StatusResponse> {
    statuses.iter().copied().max_by_key(|status| {
        let follows = status.has_quorum && status.leader_id != 0;
        let stale_ms = status.freshness.unwrap_or_default().stale_ms;
        (follows, if follows { status.term } else { 0 }, leads(status), std::cmp::Reverse(stale_ms))
    })
}

/// Whether the view is that of the leader itself.
pub fn leads(view: &StatusResponse) -> bool {
    view.has_quorum && view.leader_id == view.node_id
}

/// Whether the leader, whose view this is, does not reach the node.
pub fn is_cut_off(view: &StatusResponse, node: &NodeStatus) -> bool {
    leads(view) && !node.reachable && node.node_id != view.node_id
}

/// Whether a leader grants. The leader's own word needs the confirmation that
/// came with it: in the first moments without its followers it still believes.
fn serves(view: &StatusResponse) -> bool {
    let confirmed = !leads(view) || view.freshness.is_some_and(|freshness| freshness.linearizable);
    view.has_quorum && view.leader_id != 0 && confirmed
}

fn votes(node: &NodeStatus) -> bool {
    node.role() != Role::Learner
}

fn survivable(well: usize, total: usize) -> String {
    let quorum = total / 2 + 1;
    if well < quorum {
        // They reach each other, or nobody would lead; we do not reach them.
        return "fewer answer here than a quorum needs".to_owned();
    }
    match (well - quorum, well == total) {
        // One node alone is whole, and still nothing may happen to it.
        (0, true) => "no failure is survivable".to_owned(),
        (0, false) => "the next failure stops checkouts".to_owned(),
        (1, _) => "one more failure is survivable".to_owned(),
        (more, _) => format!("{more} more failures are survivable"),
    }
}

fn compare(statuses: &[&StatusResponse]) -> Ledgers {
    let mut hashes: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for status in statuses.iter().filter(|status| !status.state_hash.is_empty()) {
        let index = status.freshness.unwrap_or_default().index;
        hashes.entry(index).or_default().push(&status.state_hash);
    }
    let differ = |hashes: &[&str]| hashes.iter().any(|hash| *hash != hashes[0]);
    if let Some((index, _)) = hashes.iter().find(|(_, hashes)| differ(hashes)) {
        return Ledgers::Differ { index: *index };
    }
    let most = hashes.iter().max_by_key(|(_, hashes)| hashes.len());
    match most {
        Some((index, hashes)) if hashes.len() > 1 => {
            Ledgers::Equal { nodes: hashes.len(), index: *index }
        }
        _ => Ledgers::NotCompared,
    }
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::Freshness;

    use super::*;

    /// What node `id` of `total` says when `leader` leads and reaches `reached`.
    fn says(id: u64, total: u64, leader: u64, reached: &[u64]) -> Answer {
        let nodes = (1..=total).map(|node| NodeStatus {
            node_id: node,
            name: format!("lic-{}", char::from(b'a' + node as u8 - 1)),
            role: if node == leader { Role::Leader.into() } else { Role::Follower.into() },
            reachable: reached.contains(&node),
            ..NodeStatus::default()
        });
        let status = StatusResponse {
            freshness: Some(Freshness {
                linearizable: id == leader,
                stale_ms: if leader == 0 { 4_200 } else { 0 },
                index: 10,
                term: 7,
            }),
            node_id: id,
            leader_id: leader,
            term: 7,
            nodes: nodes.collect(),
            has_quorum: leader != 0,
            state_hash: "aa".into(),
            ..StatusResponse::default()
        };
        Answer { address: format!("{id}:1"), outcome: Ok(status) }
    }

    fn silent(id: u64) -> Answer {
        Answer { address: format!("{id}:1"), outcome: Err("refused".into()) }
    }

    #[track_caller]
    fn expect(answers: &[Answer], level: Level, sentence: &str) {
        let verdict = verdict(answers);
        assert_eq!((verdict.level, verdict.sentence.as_str()), (level, sentence));
    }

    #[test]
    fn the_verdicts() {
        let all = [1, 2, 3];
        expect(
            &[says(1, 3, 2, &all), says(2, 3, 2, &all), says(3, 3, 2, &all)],
            Level::Healthy,
            "3 of 3 nodes, leader lic-b; one more failure is survivable",
        );
        expect(
            &[says(1, 3, 2, &all), says(2, 3, 2, &[1, 2]), silent(3)],
            Level::Degraded,
            "2 of 3 nodes, leader lic-b; the next failure stops checkouts",
        );
        expect(
            &[says(1, 3, 0, &[1]), silent(2), silent(3)],
            Level::NoQuorum,
            "1 of 3 nodes answers; checkouts are refused (STALE by 4.2 s)",
        );
        expect(
            &[says(1, 3, 0, &[1]), says(2, 3, 0, &[2]), silent(3)],
            Level::NoQuorum,
            "2 of 3 nodes answer; checkouts are refused (STALE by 4.2 s)",
        );
        expect(&[silent(1), silent(2), silent(3)], Level::Unreachable, "none of 3 servers answers");
        expect(&[silent(1)], Level::Unreachable, "the server does not answer");
        expect(
            &[says(1, 1, 1, &[1])],
            Level::Healthy,
            "1 of 1 nodes, leader lic-a; no failure is survivable",
        );
        let five = [1, 2, 3, 4, 5];
        let answers: Vec<_> = five.map(|id| says(id, 5, 1, &five)).to_vec();
        expect(
            &answers,
            Level::Healthy,
            "5 of 5 nodes, leader lic-a; 2 more failures are survivable",
        );
        let four: Vec<_> = answers[..4].iter().cloned().chain([silent(5)]).collect();
        expect(
            &four,
            Level::Degraded,
            "4 of 5 nodes, leader lic-a; one more failure is survivable",
        );
    }

    #[test]
    fn a_node_that_answers_but_is_cut_off_from_the_leader_is_not_well() {
        expect(
            &[says(1, 3, 1, &[1, 2]), says(2, 3, 1, &[1, 2]), says(3, 3, 0, &[3])],
            Level::Degraded,
            "2 of 3 nodes, leader lic-a; the next failure stops checkouts",
        );
    }

    #[test]
    fn followers_do_not_know_whom_the_leader_reaches() {
        expect(
            &[silent(1), says(2, 3, 1, &[1, 2]), says(3, 3, 1, &[1, 3])],
            Level::Degraded,
            "2 of 3 nodes, leader lic-a; the next failure stops checkouts",
        );
    }

    #[test]
    fn a_leader_that_just_lost_its_followers_is_not_believed() {
        let mut alone = says(1, 3, 1, &[1, 2, 3]);
        let status = alone.outcome.as_mut().unwrap();
        status.freshness.as_mut().unwrap().linearizable = false;
        status.freshness.as_mut().unwrap().stale_ms = 500;
        expect(
            &[alone, silent(2), silent(3)],
            Level::NoQuorum,
            "1 of 3 nodes answers; checkouts are refused (STALE by 500 ms)",
        );
    }

    #[test]
    fn a_follower_alone_can_only_tell_that_there_is_a_leader() {
        expect(
            &[silent(1), says(2, 3, 1, &[1, 2]), silent(3)],
            Level::Degraded,
            "1 of 3 nodes, leader lic-a; fewer answer here than a quorum needs",
        );
    }

    #[test]
    fn one_node_under_two_addresses_counts_once() {
        let all = [1, 2, 3];
        expect(
            &[says(1, 3, 1, &all), says(1, 3, 1, &all), says(2, 3, 1, &all), silent(3)],
            Level::Degraded,
            "2 of 3 nodes, leader lic-a; the next failure stops checkouts",
        );
    }

    #[test]
    fn the_leader_of_the_higher_term_is_believed() {
        let mut old = says(1, 3, 1, &[1, 2, 3]);
        old.outcome.as_mut().unwrap().term = 6;
        let new = [says(2, 3, 2, &[2, 3]), says(3, 3, 2, &[2, 3])];
        let answers: Vec<_> = [old].into_iter().chain(new).collect();
        expect(
            &answers,
            Level::Degraded,
            "2 of 3 nodes, leader lic-b; the next failure stops checkouts",
        );
    }

    #[test]
    fn ledgers_are_compared_at_one_index_only() {
        let all = [1, 2, 3];
        let mut answers = [1, 2, 3].map(|id| says(id, 3, 1, &all));
        assert_eq!(verdict(&answers).ledgers, Ledgers::Equal { nodes: 3, index: 10 });
        let other = answers[2].outcome.as_mut().unwrap();
        other.state_hash = "bb".into();
        other.freshness.as_mut().unwrap().index = 11;
        assert_eq!(verdict(&answers).ledgers, Ledgers::Equal { nodes: 2, index: 10 });
        assert_eq!(verdict(&answers[1..]).ledgers, Ledgers::NotCompared);
        assert_eq!(verdict(&answers).level, Level::Healthy);

        answers[2].outcome.as_mut().unwrap().freshness.as_mut().unwrap().index = 10;
        let verdict = verdict(&answers);
        assert_eq!(
            (verdict.level, verdict.ledgers),
            (Level::Degraded, Ledgers::Differ { index: 10 })
        );
        assert!(verdict.sentence.contains("DIFFER"), "{}", verdict.sentence);
    }
}
