//! What a node counts of its own doings, for whoever collects metrics. One of
//! these for each node: nothing here is shared by a process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use triad_ledger::{EndReason, Event, Happening, Silence};
use triad_raft::{Histogram, Leadership};

use crate::convert;

/// Features by name in one counter; what comes after counts as [`OTHERS`].
pub(crate) const FEATURES_MAX: usize = 1_000;
/// Stands for every feature beyond the first thousand.
pub(crate) const OTHERS: &str = "(others)";
/// The pairs of feature and reason that are counted apart: a few reasons for
/// each feature.
const DENIALS_MAX: usize = 4 * FEATURES_MAX;

/// See the module's documentation.
pub(crate) struct Meters {
    /// What happened before this is of another run of the node, and was counted
    /// then. By the date of the cluster, ms since 1970 UTC.
    began_ms: u64,
    /// From a proposal to its answer.
    pub(crate) commits: Histogram,
    /// For how long no leader was known, each time.
    pub(crate) leaderless: Histogram,
    leader_changes: AtomicU64,
    leader: Mutex<Leader>,
    tally: Mutex<Tally>,
}

/// Who led, and since when nobody does.
#[derive(Default)]
struct Leader {
    last: Option<u64>,
    lost: Option<Instant>,
}

/// What happened since this node runs, in counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Checkouts granted, by feature.
    pub(crate) grants: BTreeMap<String, u64>,
    /// Requests denied, by feature and reason. No feature where none is licensed
    /// by the name.
    pub(crate) denials: BTreeMap<(String, &'static str), u64>,
    /// Sessions that ended, by reason.
    pub(crate) ends: BTreeMap<&'static str, u64>,
}

impl Meters {
    pub(crate) fn new(began_ms: u64) -> Self {
        Meters {
            began_ms,
            commits: Histogram::default(),
            leaderless: Histogram::default(),
            leader_changes: AtomicU64::new(0),
            leader: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// Another leads from now on, or nobody.
    pub(crate) fn led_by(&self, leadership: Leadership, now: Instant) {
        let mut leader = lock(&self.leader);
        match leadership.leader {
            None => leader.lost = leader.lost.or(Some(now)),
            Some(id) => {
                if let Some(lost) = leader.lost.take() {
                    self.leaderless.add(now.saturating_duration_since(lost));
                }
                let before = leader.last.replace(id);
                if before.is_some_and(|before| before != id) {
                    self.leader_changes.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// How often another node than before led.
    pub(crate) fn leader_changes(&self) -> u64 {
        self.leader_changes.load(Relaxed)
    }

    /// Counts what happened.
    pub(crate) fn report(&self, events: &[Event]) {
        let new = |event: &&Event| event.at.date_ms >= self.began_ms;
        let mut events = events.iter().filter(new).peekable();
        if events.peek().is_none() {
            return;
        }
        let mut tally = lock(&self.tally);
        for event in events {
            tally.count(&event.what);
        }
    }

    /// What happened so far.
    pub(crate) fn tally(&self) -> Tally {
        lock(&self.tally).clone()
    }
}

impl Tally {
    fn count(&mut self, what: &Happening) {
        match what {
            Happening::Granted { items, .. } | Happening::Borrowed { items, .. } => {
                for item in items {
                    let feature = item.feature.as_str();
                    let is_new = !self.grants.contains_key(feature);
                    let full = is_new && self.grants.len() >= FEATURES_MAX;
                    let feature = if full { OTHERS } else { feature };
                    *self.grants.entry(feature.to_owned()).or_default() += 1;
                }
            }
            Happening::Denied { denial, .. } => {
                let refusal = convert::denial(denial);
                let reason = refusal.reason();
                // Anybody may ask for any name, and would make a series of each.
                let feature = match reason {
                    triad_proto::v1::Reason::FeatureUnknown => String::new(),
                    _ => refusal.feature,
                };
                let mut key = (feature, reason.name());
                if !self.denials.contains_key(&key) && self.denials.len() >= DENIALS_MAX {
                    key.0 = OTHERS.to_owned();
                }
                *self.denials.entry(key).or_default() += 1;
            }
            Happening::Ended { reason, .. } => {
                *self.ends.entry(end_name(*reason)).or_default() += 1;
            }
            _ => {}
        }
    }
}

fn end_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Closed => "closed",
        EndReason::Silent(Silence::Lease) => "lease",
        EndReason::Silent(Silence::Disconnect) => "disconnect",
        _ => "other",
    }
}

/// A count is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use triad_ledger::names::{FeatureName, SessionId};
    use triad_ledger::{At, Denial};

    use super::*;

    fn denied(date_ms: u64, denial: Denial) -> Event {
        let what = Happening::Denied { session: SessionId([1; 16]), items: Vec::new(), denial };
        let at = At { date_ms, ..At::default() };
        Event { sequence: 1, at, holder: None, pools: Vec::new(), by: None, what }
    }

    fn unknown(name: &str) -> Denial {
        Denial::FeatureUnknown { feature: FeatureName::parse(name).expect("good") }
    }

    fn early(name: &str) -> Denial {
        Denial::NotYetValid { feature: FeatureName::parse(name).expect("good"), at_ms: 5 }
    }

    #[test]
    fn whatever_is_asked_for_the_series_are_bounded() {
        let meters = Meters::new(10);
        for n in 0..3 * DENIALS_MAX {
            meters.report(&[denied(10, unknown(&format!("x{n}")))]);
            meters.report(&[denied(10, early(&format!("y{n}")))]);
        }
        let tally = meters.tally();
        assert_eq!(tally.denials.len(), DENIALS_MAX + 1);
        let of = |feature: &str, reason| tally.denials[&(feature.to_owned(), reason)];
        assert_eq!(of("", "FEATURE_UNKNOWN"), 3 * DENIALS_MAX as u64);
        assert_eq!(of(OTHERS, "NOT_YET_VALID"), 2 * DENIALS_MAX as u64 + 1);
        assert_eq!(tally.denials.values().sum::<u64>(), 6 * DENIALS_MAX as u64);
    }

    #[test]
    fn what_an_earlier_run_saw_is_not_counted_again() {
        let meters = Meters::new(10);
        meters.report(&[denied(9, unknown("x")), denied(10, unknown("x"))]);
        assert_eq!(meters.tally().denials.values().sum::<u64>(), 1);
    }

    #[test]
    fn a_failover_is_counted_with_its_length_and_a_first_election_is_none() {
        let meters = Meters::new(0);
        let led_by = |leader, at| {
            meters.led_by(Leadership { term: 1, leader, serving: false }, at);
        };
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        led_by(Some(1), at(0));
        led_by(None, at(100));
        led_by(None, at(200));
        led_by(Some(2), at(400));
        led_by(Some(2), at(500));
        let gaps = meters.leaderless.counted();
        assert_eq!((gaps.count, gaps.sum), (1, Duration::from_millis(300)));
        assert_eq!(meters.leader_changes(), 1);
    }
}
