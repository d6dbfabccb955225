//! A follower that goes on alone: the back-up of a pair, when its main server is
//! silent. Its log gets an entry that says that it is the only one who votes.
//!
//! Consensus knows nothing of such a step and would never take it by itself: the
//! main may still be there and go on as well. What the two do apart is brought
//! together by the ledger (`Command::Adopt`), not by the log. So the two logs are
//! never mixed: a node that goes on alone listens to no peer, and when it is done
//! it begins anew with an empty log.

use std::collections::{BTreeMap, BTreeSet};

use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::vote::RaftLeaderId;
use openraft::{EntryPayload, Membership};

use crate::consensus::StartError;
use crate::log::LogStore;
use crate::machine::Machine;
use crate::types::{Entry, LeaderId, LogId, StoredMembership, Vote};

/// Writes that entry, unless it is there. Everything in the log before it counts as agreed.
///
/// # Errors
///
/// The log cannot be read or written; the node has not followed anybody.
pub(crate) async fn go_on(
    log: &LogStore,
    machine: &Machine,
    node_id: u64,
) -> Result<(), StartError> {
    let raft = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    let mut log = log.clone();
    let state = log.get_log_state().await.map_err(|error| raft(&error))?;
    let members = members(&mut log, machine).await?;
    if members.membership().voter_ids().eq([node_id]) {
        return Ok(());
    }
    let own = members.membership().get_node(&node_id).cloned();
    let own = own.ok_or_else(|| {
        StartError::Raft(
            "this node has followed no main server yet, and has nothing to go on with".into(),
        )
    })?;
    let last = state.last_log_id.ok_or_else(|| StartError::Raft("the log is empty".to_owned()))?;
    let vote = log.read_vote().await.map_err(|error| raft(&error))?;
    let term = vote.map_or(0, |vote| vote.leader_id.term).max(last.committed_leader_id().term) + 1;
    // The vote first: whoever led before is not followed any more.
    log.save_vote(&Vote::new(term, node_id)).await.map_err(|error| raft(&error))?;
    let alone = Membership::new(vec![BTreeSet::from([node_id])], BTreeMap::from([(node_id, own)]))
        .map_err(|error| raft(&error))?;
    let id = LogId::new(LeaderId::new(term, node_id).to_committed(), last.index() + 1);
    let entry = Entry::new(id, EntryPayload::Membership(alone));
    log.blocking_append([entry]).await.map_err(|error| raft(&error))?;
    tracing::warn!(term, index = id.index(), "going on alone in the place of the main server");
    Ok(())
}

/// Who takes part by the newest entry that says so.
async fn members(log: &mut LogStore, machine: &Machine) -> Result<StoredMembership, StartError> {
    let raft = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    let (applied, mut newest) = {
        let shared = machine.shared();
        let state = shared.state();
        (state.applied, state.membership.clone())
    };
    let first = applied.map_or(0, |id| id.index() + 1);
    let entries = log.try_get_log_entries(first..).await.map_err(|error| raft(&error))?;
    for entry in entries {
        if let EntryPayload::Membership(members) = &entry.payload {
            newest = StoredMembership::new(Some(entry.log_id()), members.clone());
        }
    }
    Ok(newest)
}
