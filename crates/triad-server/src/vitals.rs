//! How this node does: everything that status, metrics, health checks and the
//! dashboard tell of one node, read in one place.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;
use triad_ledger::Ledger;
use triad_ledger::names::FeatureName;
use triad_proto::v1;
use triad_raft::{Consensus, MemberView};

use crate::node::Node;

/// Features without a right in force that are told by name.
const ENDED_TOLD_MAX: usize = 20;

/// What a node remembers of itself, because nothing else does.
#[derive(Debug)]
pub(crate) struct Gauges {
    started: Instant,
}

impl Gauges {
    /// Of a node that starts now.
    pub(crate) fn new(started: Instant) -> Self {
        Gauges { started }
    }
}

/// How a node itself does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vitals {
    /// For how long it has been running.
    pub(crate) uptime: Duration,
    /// Its wall clock, ms since 1970 UTC.
    pub(crate) wall_ms: u64,
    /// When the first of its certificates ends, ms since 1970 UTC; `None`
    /// without TLS.
    pub(crate) certificate_expires_ms: Option<u64>,
    /// What is licensed, and until when.
    pub(crate) rights: Rights,
    /// Room on the disk of its data; `None` where the disk does not say.
    pub(crate) disk_free_bytes: Option<u64>,
    /// Entries of its log that its ledger has yet to apply.
    pub(crate) unapplied: u64,
}

impl Node {
    /// How this node does.
    pub(crate) fn vitals(&self) -> Vitals {
        let view = self.consensus.view();
        let date_ms = self.consensus.date_ms();
        Vitals {
            uptime: self.gauges.started.elapsed(),
            wall_ms: self.consensus.wall_ms(),
            certificate_expires_ms: self.certificates.as_ref().map(|own| own.expires_ms()),
            rights: self.consensus.read(|ledger| Rights::at(ledger, date_ms)),
            disk_free_bytes: self.consensus.disk_free_bytes(),
            unapplied: view.last_index.saturating_sub(view.applied_index),
        }
    }
}

impl Vitals {
    /// In the words of the wire.
    pub(crate) fn to_wire(&self) -> v1::Vitals {
        let Rights { in_force, first_to_end, ended } = &self.rights;
        let (feature, license_expires_ms) = match first_to_end {
            Some((feature, ms)) => (feature.to_string(), *ms),
            None => (String::new(), 0),
        };
        v1::Vitals {
            uptime_ms: self.uptime.as_millis() as u64,
            wall_ms: self.wall_ms,
            certificate_expires_ms: self.certificate_expires_ms.unwrap_or(0),
            license_expires_ms,
            license_expires_feature: feature,
            disk_free_bytes: self.disk_free_bytes,
            unapplied: self.unapplied,
            ended_features: ended
                .iter()
                .take(ENDED_TOLD_MAX)
                .map(|(feature, ms)| v1::EndedFeature {
                    feature: feature.to_string(),
                    ended_ms: *ms,
                })
                .collect(),
            ended_features_total: ended.len() as u64,
            rights_in_force: Some(*in_force),
        }
    }
}

/// A member's wall clock less the cluster's date, which one wrong clock of three
/// does not move. Only the leader hears the others' clocks.
pub(crate) fn skew_ms(consensus: &Consensus, member: &MemberView) -> Option<i64> {
    let own = consensus.node_id();
    if consensus.leadership().leader != Some(own) {
        return None;
    }
    let offset_ms = if member.node_id == own { 0 } else { member.clock_offset_ms? };
    let wall_ms = consensus.wall_ms().saturating_add_signed(offset_ms);
    Some(wall_ms.wrapping_sub(consensus.date_ms()) as i64)
}

/// What is licensed at a date, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rights {
    /// How many rights are in force.
    pub(crate) in_force: u64,
    /// The first of them to end, and when, ms since 1970 UTC.
    pub(crate) first_to_end: Option<(FeatureName, u64)>,
    /// The features whose rights have all ended, and when the last of each did,
    /// ms since 1970 UTC: the last one first. What a license no longer names is not missed.
    pub(crate) ended: Vec<(FeatureName, u64)>,
}

impl Rights {
    fn at(ledger: &Ledger, date_ms: u64) -> Self {
        let mut rights = Rights::default();
        let mut first: Option<(u64, &FeatureName)> = None;
        let mut ended: BTreeMap<&FeatureName, u64> = BTreeMap::new();
        let is_over = |ends_ms: &u64| *ends_ms <= date_ms;
        for (_, pool) in ledger.pools().filter(|(_, pool)| !pool.withdrawn) {
            let feature = &pool.key.feature;
            if pool.valid_at(date_ms) {
                rights.in_force += 1;
                let own = pool.key.expires_ms.map(|ends_ms| (ends_ms, feature));
                first = first.into_iter().chain(own).min();
            } else if let Some(ends_ms) = pool.key.expires_ms.filter(is_over) {
                let last = ended.entry(feature).or_default();
                *last = ends_ms.max(*last);
            }
        }
        // Seldom is there any, and then few.
        if !ended.is_empty() {
            for (_, pool) in ledger.pools().filter(|(_, pool)| pool.valid_at(date_ms)) {
                ended.remove(&pool.key.feature);
            }
        }
        rights.first_to_end = first.map(|(ends_ms, feature)| (feature.clone(), ends_ms));
        rights.ended = ended.into_iter().map(|(feature, ms)| (feature.clone(), ms)).collect();
        rights.ended.sort_by_key(|(_, ms)| Reverse(*ms));
        rights
    }
}
