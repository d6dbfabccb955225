//! Suspects: sessions whose leader missed their heartbeats, marked in the log with
//! since when. Heartbeats themselves are never written; but one of a suspect is
//! acknowledged only after its mark is gone from the log. So whoever leads next
//! knows of each suspect how much of its lease is over, and a failover does not
//! keep the seats of a dead client for another lease.

use super::*;

impl Ledger {
    /// How many sessions are marked. Their time runs in cluster time, which a
    /// leader then writes down now and then, lest it begin anew with the next.
    pub fn suspect_count(&self) -> usize {
        self.suspects.len()
    }

    /// The leader of `term` has not heard of the session since `since_ms`. Void
    /// under any other term, whose leader may have heard and acknowledged it.
    pub(super) fn suspect(&mut self, id: SessionId, term: u64, since_ms: u64) -> Answer {
        if term != self.meta.at.term {
            return Ok(Outcome::Void);
        }
        let Some(open) = self.sessions.get_mut(&id) else {
            return Err(Denial::SessionUnknown { session: id });
        };
        open.silent_since_ms = Some(since_ms.min(self.meta.at.cluster_ms));
        self.suspects.insert(id);
        self.records.touch(RecordKey::Session(id));
        Ok(Outcome::Noted)
    }

    /// It was heard again.
    pub(super) fn unsuspect(&mut self, id: SessionId) -> Answer {
        let Some(open) = self.sessions.get_mut(&id) else {
            return Err(Denial::SessionUnknown { session: id });
        };
        if open.silent_since_ms.take().is_some() {
            self.suspects.remove(&id);
            self.records.touch(RecordKey::Session(id));
        }
        Ok(Outcome::Noted)
    }

    /// Another server may have heard any of them meanwhile.
    pub(super) fn unsuspect_all(&mut self) {
        for id in core::mem::take(&mut self.suspects) {
            if let Some(open) = self.sessions.get_mut(&id) {
                open.silent_since_ms = None;
                self.records.touch(RecordKey::Session(id));
            }
        }
    }
}
