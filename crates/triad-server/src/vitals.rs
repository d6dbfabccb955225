//! How this node does: everything that status, metrics, health checks and the
//! dashboard tell of one node, read in one place.

use std::time::Duration;

use tokio::time::Instant;
use triad_ledger::Ledger;
use triad_ledger::names::FeatureName;
use triad_proto::v1;
use triad_raft::{Consensus, MemberView};

use crate::node::Node;

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
    /// The first of the rights in force to end, and when, ms since 1970 UTC.
    pub(crate) license_expires: Option<(FeatureName, u64)>,
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
            license_expires: self.consensus.read(|ledger| first_to_end(ledger, date_ms)),
            disk_free_bytes: self.consensus.disk_free_bytes(),
            unapplied: view.last_index.saturating_sub(view.applied_index),
        }
    }
}

impl Vitals {
    /// In the words of the wire.
    pub(crate) fn to_wire(&self) -> v1::Vitals {
        let (feature, license_expires_ms) = match &self.license_expires {
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

fn first_to_end(ledger: &Ledger, date_ms: u64) -> Option<(FeatureName, u64)> {
    let valid = ledger.pools().filter(|(_, pool)| !pool.withdrawn && pool.valid_at(date_ms));
    let ending = valid.filter_map(|(_, pool)| Some((pool, pool.key.expires_ms?)));
    let (pool, ends_ms) = ending.min_by_key(|(pool, ends_ms)| (*ends_ms, &pool.key.feature))?;
    Some((pool.key.feature.clone(), ends_ms))
}
