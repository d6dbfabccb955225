//! Which request a peer's answer is taken for.
//!
//! Raft counts an answer for every request under way that it covers, by log id, and
//! dates it by the last of them. A request without entries, which only carries the
//! commit index, ends where the one before it ended: so the answer to the older one
//! would count for the newer, which perhaps never arrived. A leader that nobody
//! follows any more would take that for a quorum (P6). Hence an answer is kept back
//! while a later request is under way that it would be taken for; the answer to that
//! one says the same.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use openraft::raft::AppendEntriesRequest;

use crate::types::{LogId, TypeConfig};

/// The requests of one stream that wait for their answers, by the log id at which
/// each ends. A peer answers one after the other.
#[derive(Debug, Default)]
pub(crate) struct UnderWay(Mutex<VecDeque<Option<LogId>>>);

impl UnderWay {
    /// A request goes on its way.
    pub(crate) fn sent(&self, request: &AppendEntriesRequest<TypeConfig>) {
        let last = request.entries.last().map(|entry| entry.log_id);
        self.ends().push_back(last.or(request.prev_log_id));
    }

    /// The next request was answered: the peer has everything up to there. False if
    /// that is to be kept back.
    pub(crate) fn answered(&self, matching: Option<&LogId>) -> bool {
        let mut ends = self.ends();
        ends.pop_front();
        ends.front().is_none_or(|later| matching < later.as_ref())
    }

    fn ends(&self) -> MutexGuard<'_, VecDeque<Option<LogId>>> {
        self.0.lock().expect("no panic while held")
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId;
    use openraft::vote::leader_id_adv::LeaderId;

    use super::*;
    use crate::types::Vote;

    fn id(index: u64) -> LogId {
        LogId::new(LeaderId::new(1, 1).to_committed(), index)
    }

    /// Carries a commit index and nothing else.
    fn empty(previous: u64) -> AppendEntriesRequest<TypeConfig> {
        AppendEntriesRequest {
            vote: Vote::new_committed(1, 1),
            prev_log_id: Some(id(previous)),
            leader_commit: Some(id(previous)),
            entries: Vec::new(),
        }
    }

    /// P6.
    #[test]
    fn an_answer_is_not_taken_for_a_later_request() {
        let under_way = UnderWay::default();
        under_way.sent(&empty(8));
        under_way.sent(&empty(8));
        assert!(!under_way.answered(Some(&id(8))), "the second is not answered yet");
        assert!(under_way.answered(Some(&id(8))));
    }

    #[test]
    fn an_answer_that_covers_no_later_request_is_passed_on() {
        let under_way = UnderWay::default();
        under_way.sent(&empty(8));
        under_way.sent(&empty(9));
        assert!(under_way.answered(Some(&id(8))));
        assert!(under_way.answered(Some(&id(9))));
    }
}
