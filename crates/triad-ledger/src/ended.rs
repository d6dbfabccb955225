//! The sessions that ended lately: an id that was used up is not opened again.
//!
//! A message may arrive twice, and late. Were an ended id free at once, a late
//! copy of its opening and of its first checkout would be granted a seat that
//! no client knows of, and that is lent to nobody until the lease has passed.

use alloc::collections::BTreeSet;

use crate::names::SessionId;
use crate::table::{RecordHash, Table};

/// How many ended sessions are remembered; the oldest is forgotten for the
/// next. A copy is late by the patience of a client or the repair of a network:
/// minutes. So many ends are ten minutes at 160 ends a second, and days at most
/// sites, for some 12 MB of memory and 4 MB of a snapshot. Counted, not timed:
/// a time would be no bound.
pub const ENDED_SESSIONS_MAX: usize = 100_000;

/// The ended sessions, numbered in the order of their ends. Each is a record
/// of its own, so that an end writes one record and removes one, however many
/// are remembered.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndedSessions {
    in_order: Table<u64, SessionId>,
    ids: BTreeSet<SessionId>,
}

impl EndedSessions {
    pub(crate) fn contains(&self, id: SessionId) -> bool {
        self.ids.contains(&id)
    }

    /// The session whose end had this number, if it is remembered.
    pub(crate) fn session(&self, number: u64) -> Option<SessionId> {
        self.in_order.get(&number).copied()
    }

    /// The numbers of the ends that are remembered, the oldest first.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.in_order.keys().copied()
    }

    /// Remembers an end. Returns its number, and the number of the end that is
    /// forgotten for it.
    pub(crate) fn remember(&mut self, id: SessionId) -> (u64, Option<u64>) {
        // Only a new end makes an old one forgotten, so the last number stays
        // until a higher one is there.
        let number = self.in_order.keys().next_back().map_or(1, |last| last + 1);
        self.in_order.insert(number, id);
        self.ids.insert(id);
        if self.in_order.len() <= ENDED_SESSIONS_MAX {
            return (number, None);
        }
        let forgotten = *self.in_order.keys().next().expect("more than the bound is some");
        let id = self.in_order.remove(&forgotten).expect("it is the first");
        self.ids.remove(&id);
        (number, Some(forgotten))
    }

    /// The session is open again, as another server knows it. Returns the number
    /// of its end, if it was remembered.
    pub(crate) fn forget(&mut self, id: SessionId) -> Option<u64> {
        if !self.ids.remove(&id) {
            return None;
        }
        let number = self.in_order.iter().find(|(_, ended)| **ended == id).map(|(n, _)| *n)?;
        self.in_order.remove(&number);
        Some(number)
    }

    /// Puts an end back as it was recorded; `false` if it is there already.
    pub(crate) fn restore(&mut self, number: u64, id: SessionId) -> bool {
        let is_new = self.ids.insert(id) && !self.in_order.contains_key(&number);
        if is_new {
            self.in_order.insert(number, id);
        }
        is_new
    }

    /// [`Table::hash_mut`].
    pub(crate) fn hash_mut(&mut self, number: u64) -> Option<&mut RecordHash> {
        self.in_order.hash_mut(&number)
    }

    /// [`Table::take_removed`].
    pub(crate) fn take_removed(&mut self) -> u128 {
        self.in_order.take_removed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> SessionId {
        SessionId(u128::from(number).to_be_bytes())
    }

    #[test]
    fn the_oldest_end_is_forgotten_for_the_next() {
        let mut ended = EndedSessions::default();
        let bound = ENDED_SESSIONS_MAX as u64;
        for number in 1..=bound {
            assert_eq!(ended.remember(id(number)), (number, None));
        }
        assert!(ended.contains(id(1)));
        assert_eq!(ended.remember(id(bound + 1)), (bound + 1, Some(1)));
        assert!(!ended.contains(id(1)));
        assert!(ended.contains(id(2)) && ended.contains(id(bound + 1)));
        assert_eq!(ended.session(1), None);
        assert_eq!(ended.session(2), Some(id(2)));
        assert!(ended.numbers().eq(2..=bound + 1));
    }

    #[test]
    fn what_was_restored_counts_on() {
        let mut ended = EndedSessions::default();
        assert!(ended.restore(8, id(2)) && ended.restore(7, id(1)));
        assert!(!ended.restore(9, id(1)), "one session ends once");
        assert_eq!(ended.remember(id(3)), (9, None));
    }
}
