//! The queue: who waits for seats, and who goes first.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::command::Item;
use crate::names::{FeatureName, RequestId, SessionId};

/// A request that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose.
    pub session: SessionId,
    /// Which.
    pub request: RequestId,
    /// What it asks for.
    pub items: Vec<Item>,
    /// The lines in which it stands: those of its features, and of the features
    /// whose tokens they take.
    pub lines: BTreeSet<FeatureName>,
    /// Higher goes first.
    pub priority: u32,
    /// Since when, in cluster time.
    pub since_ms: u64,
    /// Until when, in cluster time.
    pub until_ms: Option<u64>,
    /// It waits for its own group's MAX, not for a seat: nobody waits for it.
    pub held_back: bool,
}

/// The order of a queue: by priority, then by arrival.
pub(crate) type Place = (Reverse<u32>, u64);

/// All who wait, by ticket.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queue {
    waiting: BTreeMap<u64, Waiting>,
    by_feature: BTreeMap<FeatureName, BTreeSet<Place>>,
    by_request: BTreeMap<(SessionId, RequestId), u64>,
    by_end: BTreeSet<(u64, u64)>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Waiting)> {
        self.waiting.iter().map(|(ticket, waiting)| (*ticket, waiting))
    }

    pub(crate) fn get(&self, ticket: u64) -> Option<&Waiting> {
        self.waiting.get(&ticket)
    }

    pub(crate) fn ticket(&self, session: SessionId, request: RequestId) -> Option<u64> {
        self.by_request.get(&(session, request)).copied()
    }

    /// The tickets of one session.
    pub(crate) fn of_session(&self, session: SessionId) -> Vec<u64> {
        let all = (session, RequestId(0))..=(session, RequestId(u64::MAX));
        self.by_request.range(all).map(|(_, ticket)| *ticket).collect()
    }

    /// Takes a place in the queue; `false` if there is one already.
    pub(crate) fn join(&mut self, ticket: u64, waiting: Waiting) -> bool {
        for feature in &waiting.lines {
            let places = self.by_feature.entry(feature.clone()).or_default();
            places.insert((Reverse(waiting.priority), ticket));
        }
        self.by_end.extend(waiting.until_ms.map(|until| (until, ticket)));
        let first = self.by_request.insert((waiting.session, waiting.request), ticket);
        first.is_none() && self.waiting.insert(ticket, waiting).is_none()
    }

    pub(crate) fn leave(&mut self, ticket: u64) -> Waiting {
        let waiting = self.waiting.remove(&ticket).expect("only who waits leaves");
        for feature in &waiting.lines {
            let places = self.by_feature.get_mut(feature).expect("a line for each feature");
            places.remove(&(Reverse(waiting.priority), ticket));
            if places.is_empty() {
                self.by_feature.remove(feature);
            }
        }
        if let Some(until) = waiting.until_ms {
            self.by_end.remove(&(until, ticket));
        }
        self.by_request.remove(&(waiting.session, waiting.request));
        waiting
    }

    /// Notes whether somebody waits for his own group. True if that is new.
    pub(crate) fn hold_back(&mut self, ticket: u64, held_back: bool) -> bool {
        let waiting = self.waiting.get_mut(&ticket).expect("only who waits is held back");
        core::mem::replace(&mut waiting.held_back, held_back) != held_back
    }

    /// Who waits for a feature, in order.
    pub(crate) fn line(&self, feature: &FeatureName) -> Vec<Place> {
        self.by_feature.get(feature).into_iter().flatten().copied().collect()
    }

    pub(crate) fn features(&self) -> BTreeSet<FeatureName> {
        self.by_feature.keys().cloned().collect()
    }

    /// How many wait for a seat of a feature before this place; all if there is
    /// none.
    pub(crate) fn ahead(&self, feature: &FeatureName, place: Option<Place>) -> u64 {
        let Some(places) = self.by_feature.get(feature) else { return 0 };
        let before = places.iter().take_while(|other| place.is_none_or(|place| **other < place));
        before.filter(|(_, ticket)| !self.waiting[ticket].held_back).count() as u64
    }

    /// Whether somebody waits for a seat of the feature before this place.
    pub(crate) fn is_blocked(&self, feature: &FeatureName, place: Option<Place>) -> bool {
        let Some(places) = self.by_feature.get(feature) else { return false };
        let mut before = places.iter().take_while(|other| place.is_none_or(|p| **other < p));
        before.any(|(_, ticket)| !self.waiting[ticket].held_back)
    }

    /// The place from 1, in the queue of its features that is furthest behind.
    pub(crate) fn position(&self, ticket: u64) -> u64 {
        let waiting = &self.waiting[&ticket];
        let place = (Reverse(waiting.priority), ticket);
        let count = |feature| {
            let places = self.by_feature.get(feature);
            places.map_or(0, |places: &BTreeSet<Place>| places.range(..place).count() as u64)
        };
        1 + waiting.lines.iter().map(count).max().unwrap_or(0)
    }

    /// The places of all who wait, as [`Queue::position`] would say them one by
    /// one, from one look at each line.
    pub(crate) fn positions(&self) -> BTreeMap<u64, u64> {
        let mut positions: BTreeMap<u64, u64> = BTreeMap::new();
        for places in self.by_feature.values() {
            for ((_, ticket), position) in places.iter().zip(1..) {
                let furthest = positions.entry(*ticket).or_default();
                *furthest = position.max(*furthest);
            }
        }
        positions
    }

    /// Who has waited long enough.
    pub(crate) fn over_at(&self, cluster_ms: u64) -> Vec<u64> {
        let over = self.by_end.iter().take_while(|(until, _)| *until <= cluster_ms);
        over.map(|(_, ticket)| *ticket).collect()
    }

    /// When somebody has waited long enough.
    pub(crate) fn next_end_ms(&self) -> Option<u64> {
        self.by_end.first().map(|(until, _)| *until)
    }
}
