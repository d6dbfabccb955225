//! The two times of the cluster: cluster time for durations, and the date for
//! license dates. Both are stamped on entries by the leader, and neither runs
//! backwards.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::mutation::{self, Mutation};
use crate::types::Stamp;

/// Where a node's wall clock is read. The system's in production; something
/// that can lie in tests.
pub trait WallClock: Send + Sync + fmt::Debug + 'static {
    /// Milliseconds since 1970-01-01 UTC.
    fn wall_ms(&self) -> u64;
}

/// The machine's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    #[allow(clippy::disallowed_methods)] // This is the one place.
    fn wall_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_millis() as u64
    }
}

impl<T: WallClock + ?Sized> WallClock for Arc<T> {
    fn wall_ms(&self) -> u64 {
        (**self).wall_ms()
    }
}

/// How long a peer's clock reading counts. What a peer showed before that may have
/// been wrong, and mended since; together with another clock that is wrong now it
/// would outvote the one that is right. The log's own reckoning is better.
const READING_AGE_MAX: Duration = Duration::from_secs(5);

/// What this node knows of the peers' wall clocks.
#[derive(Debug)]
pub(crate) struct PeerClocks {
    wall: Box<dyn WallClock>,
    readings: Mutex<BTreeMap<u64, Reading>>,
}

/// What a peer's clock showed, and when that was on our monotonic clock. Our
/// own wall clock has no part in it: it may be the one that jumps.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall_ms: u64,
    at: Instant,
}

impl Reading {
    /// What the peer's clock shows by now.
    fn wall_ms(&self, now: Instant) -> u64 {
        self.wall_ms + (now - self.at).as_millis() as u64
    }
}

impl PeerClocks {
    pub(crate) fn new(wall: Box<dyn WallClock>) -> Self {
        PeerClocks { wall, readings: Mutex::default() }
    }

    pub(crate) fn wall_ms(&self) -> u64 {
        self.wall.wall_ms()
    }

    /// Notes what a peer's clock showed just now.
    pub(crate) fn heard(&self, peer: u64, wall_ms: u64, now: Instant) {
        let reading = Reading { wall_ms, at: now };
        self.readings.lock().expect("no panic while held").insert(peer, reading);
    }

    /// What the peers' clocks show, where that was heard lately enough to count.
    fn peers_ms(&self, now: Instant) -> BTreeMap<u64, u64> {
        let readings = self.readings.lock().expect("no panic while held");
        let fresh = readings.iter().filter(|(_, r)| now - r.at <= READING_AGE_MAX);
        fresh.map(|(peer, reading)| (*peer, reading.wall_ms(now))).collect()
    }

    /// The peers' clocks less ours.
    pub(crate) fn offsets(&self, now: Instant) -> BTreeMap<u64, i64> {
        let own_ms = self.wall_ms();
        let offset = |peer_ms: u64| peer_ms.wrapping_sub(own_ms) as i64;
        self.peers_ms(now).into_iter().map(|(peer, peer_ms)| (peer, offset(peer_ms))).collect()
    }
}

/// The leader's time keeping in one term: where the log stood when the term
/// began, and when that was on this node's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TermClock {
    began: Instant,
    log: Stamp,
    /// No other node belongs to this cluster, so nobody's clock is asked but ours.
    is_single: bool,
}

impl TermClock {
    /// Starts from the last stamp of the log.
    pub(crate) fn new(log: Stamp, is_single: bool, now: Instant) -> Self {
        TermClock { began: now, log, is_single }
    }

    /// Whether the log has gone on since the stamp from which this began.
    pub(crate) fn begins_before(&self, log: Stamp) -> bool {
        self.log.cluster_ms < log.cluster_ms
    }

    /// The stamp for an entry proposed now.
    pub(crate) fn stamp(&mut self, now: Instant, clocks: &PeerClocks) -> Stamp {
        let elapsed_ms = (now - self.began).as_millis() as u64;
        let mut peers_ms: Vec<u64> = clocks.peers_ms(now).into_values().collect();
        if mutation::is_on(Mutation::OwnClockIsDate) {
            peers_ms = vec![clocks.wall_ms(); 2];
        }
        // What the date would be if only the log were asked. A new log has no
        // opinion.
        let log_ms = (self.log.date_ms > 0).then_some(self.log.date_ms + elapsed_ms);
        let has_majority = peers_ms.len() >= 2;
        let own_ms = clocks.wall_ms();
        let date_ms = match log_ms {
            Some(log_ms) if self.is_single && peers_ms.is_empty() => own_ms.max(log_ms),
            _ => date(own_ms, peers_ms, log_ms),
        };
        if log_ms.is_none() && has_majority {
            // From here on two clocks of three are enough, in the first term too.
            self.log.date_ms = date_ms.saturating_sub(elapsed_ms);
        }
        Stamp { cluster_ms: self.log.cluster_ms + elapsed_ms, date_ms }
    }
}

/// The date that one wrong clock cannot move: the median of the nodes' clocks.
/// With only two clocks the log's own reckoning is the third; with only one, the
/// log is believed where it has an opinion.
fn date(own_ms: u64, peers_ms: Vec<u64>, log_ms: Option<u64>) -> u64 {
    let mut clocks = peers_ms;
    clocks.push(own_ms);
    if clocks.len().is_multiple_of(2) {
        clocks.extend(log_ms);
    } else if clocks.len() == 1 {
        return log_ms.unwrap_or(own_ms);
    }
    clocks.sort_unstable();
    // With an even number the lower of the middle two: nothing ends early.
    clocks[(clocks.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn one_wrong_clock_of_three_moves_nothing() {
        let now = 1_000 * HOUR;
        for wrong in [-(HOUR as i64), HOUR as i64, 87_600 * HOUR as i64] {
            // The leader's own clock is right, a peer's is wrong.
            let wrong = now.saturating_add_signed(wrong);
            assert_eq!(date(now, vec![now, wrong], Some(now)), now, "{wrong}");
            // The leader's own clock is wrong.
            assert_eq!(date(wrong, vec![now, now], Some(now)), now, "{wrong}");
        }
    }

    /// A wall clock that jumps.
    #[derive(Debug)]
    struct Jumping(Arc<AtomicU64>);

    impl WallClock for Jumping {
        fn wall_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn the_leaders_clock_jumps_after_the_peers_were_heard() {
        let start = 1_000 * HOUR;
        let own = Arc::new(AtomicU64::new(start));
        let clocks = PeerClocks::new(Box::new(Jumping(own.clone())));
        let now = Instant::now();
        let log = Stamp { cluster_ms: 0, date_ms: start };
        let mut term = TermClock::new(log, false, now);
        clocks.heard(2, start, now);
        clocks.heard(3, start, now);
        own.store(start + 87_600 * HOUR, Ordering::Relaxed);
        let later = now + Duration::from_millis(20);
        assert_eq!(term.stamp(later, &clocks).date_ms, start + 20);
        let offset = 20 - 87_600 * HOUR as i64;
        assert_eq!(clocks.offsets(later), BTreeMap::from([(2, offset), (3, offset)]));
    }

    #[test]
    fn what_a_peer_showed_long_ago_is_no_opinion() {
        let start = 1_000 * HOUR;
        let own = Arc::new(AtomicU64::new(start));
        let clocks = PeerClocks::new(Box::new(Jumping(own.clone())));
        let now = Instant::now();
        let log = Stamp { cluster_ms: 0, date_ms: start };
        let mut term = TermClock::new(log, false, now);
        // One was wrong when it was last heard; another is wrong now.
        clocks.heard(2, start + HOUR, now);
        let later = now + Duration::from_secs(10);
        clocks.heard(3, start + HOUR, later);
        own.store(start + 10_000, Ordering::Relaxed);
        assert_eq!(term.stamp(later, &clocks).date_ms, start + 10_000);
    }

    #[test]
    fn in_the_first_term_two_clocks_are_enough_once_three_agreed() {
        let start = 1_000 * HOUR;
        let own = Arc::new(AtomicU64::new(start));
        let clocks = PeerClocks::new(Box::new(Jumping(own.clone())));
        let now = Instant::now();
        let mut term = TermClock::new(Stamp { cluster_ms: 0, date_ms: 0 }, false, now);
        clocks.heard(2, start, now);
        clocks.heard(3, start, now);
        assert_eq!(term.stamp(now, &clocks).date_ms, start);
        // One goes away, and another is turned back.
        let later = now + Duration::from_secs(10);
        clocks.heard(2, start - HOUR, later);
        own.store(start + 10_000, Ordering::Relaxed);
        assert_eq!(term.stamp(later, &clocks).date_ms, start + 10_000);
    }

    #[test]
    fn a_single_server_that_was_off_for_a_week_knows_the_date() {
        let start = 1_000 * HOUR;
        let own = Arc::new(AtomicU64::new(start + 168 * HOUR));
        let clocks = PeerClocks::new(Box::new(Jumping(own.clone())));
        let now = Instant::now();
        let log = Stamp { cluster_ms: 0, date_ms: start };
        let mut single = TermClock::new(log, true, now);
        assert_eq!(single.stamp(now, &clocks).date_ms, start + 168 * HOUR);
        // Turned back, its date goes on all the same.
        own.store(0, Ordering::Relaxed);
        assert_eq!(single.stamp(now + Duration::from_secs(1), &clocks).date_ms, start + 1_000);
        // One of several that has heard of no other waits for the others.
        let mut of_three = TermClock::new(log, false, now);
        own.store(start + 168 * HOUR, Ordering::Relaxed);
        assert_eq!(of_three.stamp(now, &clocks).date_ms, start);
    }

    #[test]
    fn with_two_clocks_the_log_decides() {
        let now = 1_000 * HOUR;
        assert_eq!(date(now, vec![now + HOUR], Some(now + 5)), now + 5);
        assert_eq!(date(now + HOUR, vec![now], Some(now + 5)), now + 5);
        // A new log: the earlier one, so that nothing ends early.
        assert_eq!(date(now, vec![now + HOUR], None), now);
    }

    #[test]
    fn alone_the_log_goes_on_by_itself() {
        assert_eq!(date(99 * HOUR, Vec::new(), Some(HOUR)), HOUR);
        assert_eq!(date(99 * HOUR, Vec::new(), None), 99 * HOUR);
    }
}
