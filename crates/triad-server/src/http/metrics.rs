//! `/metrics`: what each of a node's metrics is called, means, and is now.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use triad_ledger::{Ledger, rules_known};
use triad_raft::{ClusterView, Consensus, MemberView};

use super::Web;
use super::exposition::{Exposition, Kind, Metric};
use super::usage::{self, FeatureUse};
use crate::meters::{FEATURES_MAX, Tally};
use crate::vitals::skew_ms;

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(static $constant: Metric = Metric {
            name: $name,
            kind: Kind::$kind,
            labels: &[$($label),*],
            help: $help,
        };)*
        /// All of them, in the order in which they are told.
        #[cfg(test)]
        pub(super) static ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    BUILD = Gauge "triad_build_info" ["version"] "Always 1; says which version runs.";
    NODE = Gauge "triad_node_info" ["cluster", "id", "node"] "Always 1; says which node this is.";
    READY = Gauge "triad_ready" [] "1 while this node leads with a quorum, or follows a leader that it hears; else 0.";
    TLS = Gauge "triad_tls_enabled" [] "1 if this node speaks TLS; 0 is for benchmarks on loopback.";
    LEADER = Gauge "triad_raft_leader" [] "1 on the node that leads and serves; else 0.";
    LEADER_KNOWN = Gauge "triad_raft_leader_known" [] "1 while this node knows who leads; else 0.";
    TERM = Gauge "triad_raft_term" [] "The term of Raft.";
    RULES = Gauge "triad_rules" [] "The rules of the log that are in use.";
    RULES_KNOWN = Gauge "triad_rules_known" [] "The newest rules that this node can apply; more than triad_rules while an upgrade is unfinished.";
    LAST_INDEX = Gauge "triad_raft_last_index" [] "The last entry in this node's log.";
    APPLIED_INDEX = Gauge "triad_raft_applied_index" [] "The last entry that this node's ledger has applied.";
    QUORUM_AGE = Gauge "triad_raft_quorum_age_seconds" [] "On the leader: how long ago a quorum last confirmed it.";
    VOTERS = Gauge "triad_voters" [] "Nodes that vote.";
    REACHABLE = Gauge "triad_node_reachable" ["node"] "On the leader: 1 for each node that answers it, else 0.";
    LAG = Gauge "triad_node_lag_entries" ["node"] "On the leader: entries of the log that a node does not have yet.";
    SKEW = Gauge "triad_node_clock_skew_seconds" ["node"] "On the leader: a node's clock on the wall less the date of the cluster, which one wrong clock of three does not move.";
    LEADER_CHANGES = Counter "triad_leader_changes_total" [] "How often another node than before began to lead, as this node saw it.";
    LEADERLESS = Histogram "triad_leaderless_seconds" [] "For how long nobody was known to lead, each time; a failover as this node saw it.";
    COMMITS = Histogram "triad_commit_seconds" [] "On the leader: from a proposal to its answer, which is on two of three disks by then.";
    SYNCS = Histogram "triad_log_sync_seconds" [] "What each sync of the log to this node's disk took.";
    SESSIONS = Gauge "triad_sessions" [] "Sessions that are open in the ledger.";
    LEASES = Gauge "triad_leases" [] "On the leader: sessions whose heartbeats it watches.";
    SUSPECTS = Gauge "triad_suspects" [] "Sessions whose heartbeats are missing, two or more, and that are marked so in the ledger.";
    STREAMS = Gauge "triad_session_streams" [] "Streams of sessions that are open to this node.";
    CHECKOUTS = Gauge "triad_checkouts" [] "Checkouts that are held.";
    ENDS = Counter "triad_session_ends_total" ["reason"] "Sessions that ended: closed by the client, lease (nothing heard), disconnect (the process died), other.";
    GRANTS = Counter "triad_grants_total" ["feature"] "Checkouts granted, loans included.";
    DENIALS = Counter "triad_denials_total" ["feature", "reason"] "Requests denied, by reason; no feature where no license names it.";
    LICENSED = Gauge "triad_feature_seats_licensed" ["feature"] "Seats of the rights in force.";
    OVERDRAFT = Gauge "triad_feature_seats_overdraft" ["feature"] "Seats that may be held beyond those licensed.";
    HELD = Gauge "triad_feature_seats_held" ["feature"] "Seats held, lingering and borrowed ones included; where some are counted, only those.";
    BORROWED = Gauge "triad_feature_seats_borrowed" ["feature"] "Seats out on loan, of those held.";
    RESERVED = Gauge "triad_feature_seats_reserved" ["feature"] "Seats that nobody holds and that the policy keeps for somebody.";
    FREE = Gauge "triad_feature_seats_free" ["feature"] "Seats that may be had by whoever is entitled; reserved ones not counted.";
    WAITING = Gauge "triad_feature_queued_requests" ["feature"] "Requests that wait for the feature.";
    EXPIRES = Gauge "triad_feature_expiry_timestamp_seconds" ["feature"] "When the first of its rights in force ends, in seconds since 1970; of a feature without any, when the last one ended; absent if none ends.";
    UNTOLD = Gauge "triad_features_untold" [] "Features beyond the first 1000, which have no series here.";
    LICENSES = Gauge "triad_licenses" [] "Licenses in force.";
    POLICY = Gauge "triad_policy_version" [] "The version of the policy in force; 0 without one.";
    CERTIFICATE = Gauge "triad_certificate_expiry_timestamp_seconds" [] "When this node's certificate or its authority's ends, in seconds since 1970.";
    DISK_FREE = Gauge "triad_disk_free_bytes" [] "Room on the disk of this node's data.";
    HISTORY = Gauge "triad_history_last_event" [] "The number of the last event of the usage history.";
    HISTORY_MISSING = Gauge "triad_history_missing_events" [] "Events that this node lacks and fetches from others.";
    SPANS_SENT = Counter "triad_trace_spans_sent_total" [] "Spans that the collector has taken; 0 where none is configured.";
    SPANS_DROPPED = Counter "triad_trace_spans_dropped_total" [] "Spans that were dropped: the queue was full, or the collector did not take them.";
    DATE = Gauge "triad_date_timestamp_seconds" [] "The date by which licenses are judged, in seconds since 1970.";
}

/// All metrics of this node, now. The ledger is held for one look at its pools.
pub(super) fn text(web: &Web) -> String {
    let node = &web.node;
    let consensus = &node.consensus;
    let view = consensus.view();
    let mut told = Exposition::default();
    let cluster = node.config.cluster_id.as_str();
    let id = node.config.node_id.to_string();
    told.metric(&BUILD).with(&[env!("CARGO_PKG_VERSION")], 1_u64);
    told.metric(&NODE).with(&[cluster, &id, &node.config.name], 1_u64);
    told.metric(&READY).is(node.is_ready());
    told.metric(&TLS).is(node.config.tls.is_some());
    raft(&mut told, consensus, &view);
    told.metric(&LEADER_CHANGES).is(node.meters.leader_changes());
    told.metric(&LEADERLESS).counted(&node.meters.leaderless.counted());
    told.metric(&COMMITS).counted(&node.meters.commits.counted());
    told.metric(&SYNCS).counted(&consensus.sync_times());
    let date_ms = consensus.date_ms();
    let (features, sessions, suspects, checkouts, licenses, policy) = consensus.read(|ledger| {
        let features = usage::by_feature(ledger, date_ms);
        let (sessions, suspects) = (ledger.session_count(), ledger.suspect_count());
        let policy = ledger.policy().map_or(0, |policy| policy.version);
        let licenses = ledger.licenses().count();
        (features, sessions, suspects, ledger.checkout_count(), licenses, policy)
    });
    told.metric(&SESSIONS).is(sessions);
    told.metric(&LEASES).is_some(node.sessions(|sessions| sessions.len()));
    told.metric(&SUSPECTS).is(suspects);
    told.metric(&STREAMS).is(node.desk.streams());
    told.metric(&CHECKOUTS).is(checkouts);
    tally(&mut told, &node.meters.tally());
    seats(&mut told, features.iter().take(FEATURES_MAX));
    told.metric(&UNTOLD).is(features.len().saturating_sub(FEATURES_MAX));
    told.metric(&LICENSES).is(licenses);
    told.metric(&POLICY).is(policy);
    let vitals = node.vitals();
    told.metric(&CERTIFICATE).is_some(vitals.certificate_expires_ms.map(seconds));
    told.metric(&DISK_FREE).is_some(vitals.disk_free_bytes);
    let history = consensus.history().bounds();
    told.metric(&HISTORY).is(history.last);
    told.metric(&HISTORY_MISSING).is(history.missing);
    let traces = &node.traces;
    told.metric(&SPANS_SENT).is(traces.sent.load(Relaxed));
    told.metric(&SPANS_DROPPED).is(traces.dropped.load(Relaxed));
    told.metric(&DATE).is(seconds(date_ms));
    told.into_text()
}

fn raft(told: &mut Exposition, consensus: &Consensus, view: &ClusterView) {
    let own = consensus.node_id();
    let leader = view.leadership.leader;
    told.metric(&LEADER).is(view.leadership.serving);
    told.metric(&LEADER_KNOWN).is(leader.is_some());
    told.metric(&TERM).is(view.leadership.term);
    told.metric(&RULES).is(u64::from(consensus.read(Ledger::rules)));
    told.metric(&RULES_KNOWN).is(u64::from(rules_known()));
    told.metric(&LAST_INDEX).is(view.last_index);
    told.metric(&APPLIED_INDEX).is(view.applied_index);
    told.metric(&QUORUM_AGE).is_some(view.quorum_ago.map(|ago| ago.as_secs_f64()));
    told.metric(&VOTERS).is(view.members.iter().filter(|member| member.is_voter).count());
    // Only the leader knows how the others are.
    let seen: &[MemberView] = if leader == Some(own) { &view.members } else { &[] };
    let mut reachable = told.metric(&REACHABLE);
    for member in seen {
        let answers = member.node_id == own || member.answers();
        reachable.with(&[&member.member.name], answers);
    }
    let mut lag = told.metric(&LAG);
    for member in seen.iter().filter(|member| member.node_id != own) {
        let matched = member.matched_index.unwrap_or(0);
        lag.with(&[&member.member.name], view.last_index.saturating_sub(matched));
    }
    let mut skew = told.metric(&SKEW);
    for member in &view.members {
        if let Some(skew_ms) = skew_ms(consensus, member) {
            skew.with(&[&member.member.name], skew_ms as f64 / 1_000.0);
        }
    }
}

fn tally(told: &mut Exposition, tally: &Tally) {
    let mut ends = told.metric(&ENDS);
    for reason in ["closed", "lease", "disconnect", "other"] {
        ends.with(&[reason], tally.ends.get(reason).copied().unwrap_or(0));
    }
    let mut grants = told.metric(&GRANTS);
    for (feature, count) in &tally.grants {
        grants.with(&[feature], *count);
    }
    let mut denials = told.metric(&DENIALS);
    for ((feature, reason), count) in &tally.denials {
        denials.with(&[feature, reason], *count);
    }
}

fn seats<'a>(
    told: &mut Exposition,
    features: impl Iterator<Item = (&'a String, &'a FeatureUse)> + Clone,
) {
    let mut each = |metric: &'static Metric, value: fn(&FeatureUse) -> u64| {
        let mut samples = told.metric(metric);
        for (name, feature) in features.clone() {
            samples.with(&[name], value(feature));
        }
    };
    each(&LICENSED, |feature| feature.licensed);
    each(&OVERDRAFT, |feature| feature.overdraft);
    each(&HELD, |feature| feature.held);
    each(&BORROWED, |feature| feature.borrowed);
    each(&RESERVED, |feature| feature.reserved);
    each(&FREE, |feature| feature.free);
    each(&WAITING, |feature| feature.waiting);
    let mut expires = told.metric(&EXPIRES);
    for (name, feature) in features {
        if let Some(ends_ms) = feature.ends_ms() {
            expires.with(&[name], seconds(ends_ms));
        }
    }
}

pub(super) fn seconds(ms: u64) -> f64 {
    Duration::from_millis(ms).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::path::Path;

    use super::*;
    use crate::http::flexlm;

    const PAGE: &str = "docs/reference/metrics.md";
    /// Set to write the page anew.
    const WRITE: &str = "TRIAD_WRITE_DOCS";

    fn table(metrics: &[&Metric]) -> String {
        let mut table = "| metric | type | labels | meaning |\n|---|---|---|---|\n".to_owned();
        for Metric { name, kind, labels, help } in metrics {
            let labels = labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>();
            let (kind, labels) = (kind.name(), labels.join(", "));
            writeln!(table, "| `{name}` | {kind} | {labels} | {help} |").expect("it fits");
        }
        table
    }

    /// Between its head and its tail the page is what the code says.
    #[test]
    fn the_page_of_metrics_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
        let page = std::fs::read_to_string(&path).expect("the page");
        let mut now = page.clone();
        for (mark, metrics) in [("metrics", ALL), ("flexlm", flexlm::ALL)] {
            let (begin, end) = (format!("<!-- {mark} -->\n"), format!("<!-- end of {mark} -->"));
            let from = now.find(&begin).expect("the mark") + begin.len();
            let to = now.find(&end).expect("the other mark");
            now.replace_range(from..to, &format!("\n{}\n", table(metrics)));
        }
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, &now).expect("the page can be written");
            return;
        }
        assert!(
            now == page,
            "{PAGE} is not what the code says; write it anew with\n    \
             {WRITE}=1 cargo test -p triad-server the_page_of_metrics"
        );
    }

    #[test]
    fn names_follow_the_convention() {
        for metric in ALL.iter().chain(flexlm::ALL) {
            let Metric { name, kind, help, .. } = metric;
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(*kind != Kind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(help.ends_with('.') && !help.contains(['\n', '\\', '|']), "{name}: {help}");
        }
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        assert!(names.iter().all(|name| name.starts_with("triad_")), "{names:?}");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "two metrics have one name");
    }
}
