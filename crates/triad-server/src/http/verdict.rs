//! How the cluster is, as this node knows it: one word, one sentence, how old
//! that is, and what is to be seen to.

use triad_proto::v1;
use triad_raft::ClusterView;

use super::words::{bytes, count, day, last_day, length};
use crate::node::Node;
use crate::vitals::{Rights, Vitals};

/// Rights and certificates that end within this time are spoken of.
const SOON_MS: u64 = 30 * 86_400_000;
/// Clocks that differ by more are spoken of.
const SKEW_MAX_MS: u64 = 5_000;
/// Disks with less room are spoken of.
const ROOM_MIN_BYTES: u64 = 1 << 30;

/// After this whoever misses a license has asked for it, and what denies it is no news.
const ENDED_NEWS_MS: u64 = 30 * 86_400_000;
/// Features that are named where more have ended.
const ENDED_NAMED_MAX: usize = 3;

/// See the module's documentation.
pub(super) struct Verdict {
    /// The name of a class: `good`, `wait` or `bad`.
    pub(super) tone: &'static str,
    pub(super) word: &'static str,
    pub(super) sentence: String,
    /// How old what is shown is, and whose word it is.
    pub(super) age: String,
    /// The leader's pages, where this node does not lead.
    pub(super) leader_href: String,
    pub(super) warnings: Vec<String>,
}

impl Node {
    /// How the cluster is, for pages that show what was read with this freshness.
    pub(super) fn verdict(&self, freshness: &v1::Freshness) -> Verdict {
        let view = self.consensus.view();
        let (mut tone, mut word, sentence) = self.judged(&view);
        let vitals = self.vitals();
        let now_ms = self.consensus.date_ms();
        let ended = vitals.rights.ended.first();
        let lately = ended.is_some_and(|(_, at_ms)| at_ms.saturating_add(ENDED_NEWS_MS) >= now_ms);
        let denies = lately || self.restoring_for().is_some();
        if tone == "good" && denies {
            (tone, word) = ("wait", "Degraded");
        }
        Verdict {
            tone,
            word,
            sentence,
            age: self.age(&view, freshness),
            leader_href: self.leader_pages().unwrap_or_default(),
            warnings: self.to_be_seen_to(&vitals),
        }
    }

    fn judged(&self, view: &ClusterView) -> (&'static str, &'static str, String) {
        let own = self.consensus.node_id();
        let voters: Vec<_> = view.members.iter().filter(|member| member.is_voter).collect();
        let total = voters.len() as u64;
        let Some(leader) = view.leadership.leader else {
            let gone = length(self.leaderless_for().as_millis() as u64);
            let sentence = format!(
                "No node has led for {gone}: checkouts are refused. Holders keep their seats \
                 until their leases end. Start the missing nodes or mend the network."
            );
            return ("bad", "No quorum", sentence);
        };
        let name = self.name_of(leader);
        if leader != own {
            let sentence = format!("{name} leads and grants seats; this node follows it.");
            return ("good", "Serving", sentence);
        }
        if !self.is_ready() {
            let sentence = format!(
                "{name} leads, but reaches too few of the other nodes: checkouts are refused."
            );
            return ("bad", "No quorum", sentence);
        }
        let answering = voters.iter().filter(|m| m.node_id == own || m.answers()).count() as u64;
        let spare = answering.saturating_sub(total / 2 + 1);
        let nodes = format!("{answering} of {}, leader {name}", count(total, "node", "nodes"));
        let more = match spare {
            _ if total == 1 => "; there is no other node to take over".to_owned(),
            0 => "; the next failure stops checkouts".to_owned(),
            1 => "; one more failure is survivable".to_owned(),
            spare => format!("; {spare} more failures are survivable"),
        };
        match answering == total {
            true => ("good", "Healthy", nodes + &more),
            false => ("wait", "Degraded", nodes + &more),
        }
    }

    fn age(&self, view: &ClusterView, freshness: &v1::Freshness) -> String {
        if freshness.linearizable {
            return "What is shown is confirmed by a quorum.".to_owned();
        }
        let age = length(freshness.stale_ms);
        match view.leadership.leader {
            Some(leader) if leader != self.consensus.node_id() => {
                format!("This is {}'s own copy of the ledger.", self.config.name)
                    + &format!(" It follows {} within a heartbeat.", self.name_of(leader))
            }
            _ => format!("STALE: this is what {} knew {age} ago.", self.config.name),
        }
    }

    /// Where another node that leads has its pages.
    pub(super) fn leader_pages(&self) -> Option<String> {
        let own = self.consensus.node_id();
        let leader = self.consensus.leadership().leader.filter(|leader| *leader != own)?;
        self.pages_of(leader)
    }

    /// Where a node has its pages, if the configuration says so.
    pub(super) fn pages_of(&self, node_id: u64) -> Option<String> {
        let http = self.config.nodes.get(&node_id)?.http.as_ref()?;
        let scheme = if self.config.tls.is_some() { "https" } else { "http" };
        Some(format!("{scheme}://{http}/"))
    }

    fn to_be_seen_to(&self, vitals: &Vitals) -> Vec<String> {
        let mut warnings = self.warnings();
        if let Some(left) = self.restoring_for() {
            let left = length(left.as_millis() as u64);
            warnings.push(format!("Nothing is granted for another {left} after the restore."));
        }
        let now_ms = self.consensus.date_ms();
        let left = |ends_ms: u64| match ends_ms.checked_sub(now_ms) {
            None => format!("ended on {}", day(ends_ms)),
            Some(left_ms) => format!("ends on {}, in {}", day(ends_ms), length(left_ms)),
        };
        let soon = |ends_ms: &u64| *ends_ms < now_ms.saturating_add(SOON_MS);
        warnings.extend(ended(&vitals.rights));
        let first = vitals.rights.first_to_end.as_ref().filter(|(_, ends_ms)| soon(ends_ms));
        if let Some((feature, ends_ms)) = first {
            let ends = match ends_ms.checked_sub(now_ms) {
                None => "has ended".to_owned(),
                Some(left_ms) => format!("ends in {}", length(left_ms)),
            };
            let last_day = last_day(*ends_ms);
            warnings.push(format!("The license of {feature} {ends}, last day {last_day}."));
        }
        if let Some(ends_ms) = vitals.certificate_expires_ms.filter(soon) {
            warnings.push(format!("The certificate of this node {}.", left(ends_ms)));
        }
        if let Some(free) = vitals.disk_free_bytes.filter(|free| *free < ROOM_MIN_BYTES) {
            warnings.push(format!("The disk of this node has {} left.", bytes(free)));
        }
        warnings.extend(self.unraised());
        for member in self.consensus.view().members {
            let skew_ms = crate::vitals::skew_ms(&self.consensus, &member).unwrap_or(0);
            if skew_ms.unsigned_abs() > SKEW_MAX_MS {
                let skew = length(skew_ms.unsigned_abs());
                warnings.push(format!("The clock of {} is wrong by {skew}.", member.member.name));
            }
        }
        warnings
    }
}

/// That nobody is granted some features any more, because their rights are over.
fn ended(rights: &Rights) -> Option<String> {
    let (first, ended_ms) = rights.ended.first()?;
    let others = rights.ended.len() - 1;
    if others == 0 {
        return Some(format!(
            "The license of {first} has ended, last day {}, and nothing in force replaces it: \
             nobody is granted it.",
            last_day(*ended_ms)
        ));
    }
    let named: Vec<&str> =
        rights.ended.iter().take(ENDED_NAMED_MAX).map(|(feature, _)| feature.as_str()).collect();
    let more = rights.ended.len() - named.len();
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    Some(format!(
        "The licenses of {} features have ended, and nothing in force replaces them: {}{more}.",
        rights.ended.len(),
        named.join(", ")
    ))
}
