//! Whether the nodes' ledgers are the same: every so many entries each node knows the
//! hash of its own, the followers tell the leader, and what most of them have is stated
//! in the log. Whoever has another stops, be it the leader.
//!
//! If the leader's own were stated, one wrong ledger would stop the two that are right.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use triad_ledger::StateHash;

/// An index of the log, and the hash of a ledger that has applied the entry there.
pub(crate) type Point = (u64, StateHash);

/// The newest point that each of the other nodes has told of.
#[derive(Debug, Default)]
pub(crate) struct Hashes(Mutex<BTreeMap<u64, Point>>);

impl Hashes {
    /// A peer tells of its ledger.
    pub(crate) fn heard(&self, peer: u64, point: Point) {
        self.lock().insert(peer, point);
    }

    /// The point with the hash that a majority of the voters has there, if one has said so.
    pub(crate) fn agreed(
        &self,
        (own, (index, own_hash)): (u64, Point),
        voters: impl Iterator<Item = u64>,
    ) -> Option<Point> {
        let peers = self.lock();
        let hash_of = |voter: u64| match voter == own {
            true => Some(own_hash),
            false => peers.get(&voter).filter(|(at, _)| *at == index).map(|(_, hash)| *hash),
        };
        let said: Vec<Option<StateHash>> = voters.map(hash_of).collect();
        let is_agreed = |hash: &StateHash| {
            said.iter().filter(|of| **of == Some(*hash)).count() > said.len() / 2
        };
        said.iter().flatten().find(|hash| is_agreed(hash)).map(|hash| (index, *hash))
    }

    /// A map is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Point>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one stream to the leader has told of this node's ledger.
pub(crate) struct Told(watch::Receiver<Option<Point>>);

impl Told {
    /// Nothing yet; the newest point is news.
    pub(crate) fn new(mut points: watch::Receiver<Option<Point>>) -> Self {
        points.mark_changed();
        Told(points)
    }

    /// The newest point, if it was not told of before.
    pub(crate) fn news(&mut self) -> Option<Point> {
        self.0.has_changed().is_ok_and(|changed| changed).then(|| *self.0.borrow_and_update())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: StateHash = StateHash([1; 16]);
    const THERE: StateHash = StateHash([2; 16]);

    fn agreed(peers: &[(u64, Point)], voters: u64) -> Option<Point> {
        let hashes = Hashes::default();
        for (peer, point) in peers {
            hashes.heard(*peer, *point);
        }
        hashes.agreed((1, (1_024, HERE)), 1..=voters)
    }

    #[test]
    fn what_most_voters_have_is_agreed_and_nobody_is_right_against_it() {
        assert_eq!(agreed(&[], 1), Some((1_024, HERE)), "alone");
        assert_eq!(agreed(&[], 3), None);
        assert_eq!(agreed(&[(2, (1_024, HERE))], 3), Some((1_024, HERE)));
        assert_eq!(agreed(&[(2, (1_024, THERE))], 3), None, "one says this, one that");
        let both = [(2, (1_024, THERE)), (3, (1_024, THERE))];
        assert_eq!(agreed(&both, 3), Some((1_024, THERE)), "the leader is wrong");
        let older = [(2, (1_024, THERE)), (3, (0, THERE))];
        assert_eq!(agreed(&older, 3), None, "of another point");
        let learner = [(4, (1_024, HERE)), (3, (1_024, THERE))];
        assert_eq!(agreed(&learner, 3), None, "who does not vote does not count");
    }

    #[test]
    fn a_point_is_told_of_once_on_each_stream() {
        let (points, _) = watch::channel(None);
        let mut told = Told::new(points.subscribe());
        assert_eq!(told.news(), None);
        points.send_replace(Some((1_024, HERE)));
        assert_eq!(told.news(), Some((1_024, HERE)));
        assert_eq!(told.news(), None);
        assert_eq!(Told::new(points.subscribe()).news(), Some((1_024, HERE)));
    }
}
