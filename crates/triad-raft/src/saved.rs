//! A ledger outside of its cluster: saved to a file, and the beginning of a new
//! cluster of one.
//!
//! What was agreed on after it was saved is lost, and the votes that were cast are
//! forgotten. So the node that begins with it must be the only one: the others of
//! the old cluster must never run again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use openraft::Membership;
use openraft::storage::{RaftLogReader, RaftLogStorage};
use triad_ledger::Stay;
use triad_ledger::names::CheckoutId;
use triad_ledger::rights::License;

use crate::consensus::{Consensus, StartError};
use crate::disk::Disk;
use crate::history::Part;
use crate::log::LogStore;
use crate::machine::{Machine, PENDING};
use crate::snapshot::SnapshotFrames;
use crate::types::{Member, StoredMembership, Vote};

/// What a saved ledger says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The cluster that it is of.
    pub cluster_id: String,
    /// The last entry of the log that it knows.
    pub index: u64,
    /// The cluster's date at that entry, ms since 1970 UTC.
    pub date_ms: u64,
    /// The epoch of the ledger.
    pub epoch: u64,
    /// Sessions that were open.
    pub sessions: usize,
    /// Checkouts that were held, loans included.
    pub checkouts: usize,
    /// Of them, those that are used without a server.
    pub loans: usize,
    /// The hash of the ledger.
    pub state_hash: String,
    /// The licenses in force.
    pub licenses: Vec<License>,
}

/// Why a saved ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file is something else.
    #[error("it is no snapshot of Triad: it does not begin like one")]
    NoSnapshot,
    /// The file is damaged.
    #[error("it is not a whole snapshot: {0}")]
    Unreadable(String),
    /// It belongs elsewhere.
    #[error("it is of cluster {found}, and this node of {expected}")]
    OtherCluster {
        /// Of which it is.
        found: String,
        /// Of which the node is.
        expected: String,
    },
    /// There is a ledger already.
    #[error("{}: this node has data; nothing is ever restored over it", .0.display())]
    HasData(PathBuf),
    /// The disk.
    #[error("{}: {source}", path.display())]
    Disk {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Consensus {
    /// This node's whole ledger, in pieces that belong one after the other. `None`
    /// of a node that has applied nothing.
    pub fn save(&self, cluster_id: &str) -> Option<Vec<Bytes>> {
        let mut state = self.shared().state();
        state.settle();
        let applied = state.applied?;
        Some(SnapshotFrames::of(cluster_id, &state.ledger, &applied, &state.membership).0)
    }
}

/// Reads a saved ledger whole, and says what it is.
///
/// # Errors
///
/// It is damaged, or is something else.
pub fn look_into(bytes: &[u8]) -> Result<Saved, RestoreError> {
    if !SnapshotFrames::begin_in(bytes) {
        return Err(RestoreError::NoSnapshot);
    }
    let opened = SnapshotFrames::open(bytes);
    let opened = opened.map_err(|error| RestoreError::Unreadable(error.to_string()))?;
    let ledger = &opened.ledger;
    let held = ledger.checkouts(CheckoutId(0));
    let loans = held.filter(|(_, held)| matches!(held.stay, Stay::Borrowed { .. })).count();
    Ok(Saved {
        cluster_id: opened.cluster_id,
        index: opened.applied.index(),
        date_ms: ledger.at().date_ms,
        epoch: ledger.epoch(),
        sessions: ledger.session_count(),
        checkouts: ledger.checkout_count(),
        loans,
        state_hash: ledger.state_hash().to_string(),
        licenses: ledger.licenses().cloned().collect(),
    })
}

/// Lays a saved ledger down in the data directory of a node that has none, as that
/// of a cluster of this node alone.
///
/// # Errors
///
/// See [`RestoreError`]. What is left of it after a failure is no ledger: the caller
/// marks the directory before, and says with `again` that it found such a mark.
pub fn lay_down(
    disk: &dyn Disk,
    data_dir: &Path,
    bytes: &[u8],
    cluster_id: &str,
    (node_id, member): (u64, Member),
    again: bool,
) -> Result<Saved, RestoreError> {
    let saved = look_into(bytes)?;
    if saved.cluster_id != cluster_id {
        let (found, expected) = (saved.cluster_id, cluster_id.to_owned());
        return Err(RestoreError::OtherCluster { found, expected });
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Disk { path, source }
    };
    check_empty(disk, data_dir, again)?;
    let unreadable = |what: String| RestoreError::Unreadable(what);
    let opened = SnapshotFrames::open(bytes).map_err(|error| unreadable(error.to_string()))?;
    let members = opened.membership.membership().nodes().map(|(id, member)| (*id, member));
    let member = Member { ids_through: Member::highest_id(members), ..member };
    let alone =
        Membership::new(vec![BTreeSet::from([node_id])], BTreeMap::from([(node_id, member)]));
    let alone = alone.map_err(|error| unreadable(error.to_string()))?;
    let alone = StoredMembership::new(Some(opened.applied), alone);
    let frames = SnapshotFrames::of(cluster_id, &opened.ledger, &opened.applied, &alone);
    let folder = data_dir.join("snapshot");
    disk.create_dir(&folder).map_err(failed(&folder))?;
    let path = folder.join(PENDING);
    let written = disk.create(&path).and_then(|file| {
        file.write_at(&frames.0.concat(), 0)?;
        file.sync_data()
    });
    written.map_err(failed(&path))?;
    disk.sync_dir(&folder).map_err(failed(&folder))?;
    disk.sync_dir(data_dir).map_err(failed(data_dir))?;
    Ok(saved)
}

/// Refuses a directory with data; a snapshot that was not laid down whole is none.
///
/// # Errors
///
/// There is data, or the disk says nothing.
pub fn check_empty(disk: &dyn Disk, data_dir: &Path, again: bool) -> Result<(), RestoreError> {
    let failed = |source| RestoreError::Disk { path: data_dir.to_owned(), source };
    let is_data = |name: &String| match name.as_str() {
        "log" | "image" => true,
        "snapshot" => !again,
        _ => false,
    };
    match disk.list(data_dir).map_err(failed)?.iter().any(is_data) {
        true => Err(RestoreError::HasData(data_dir.to_owned())),
        false => Ok(()),
    }
}

/// Votes for this node in a term that is higher than any that the saved ledger has
/// seen, unless it has voted since: what comes is newer than what was.
pub(crate) async fn begin(
    log: &LogStore,
    machine: &Machine,
    node_id: u64,
) -> Result<(), StartError> {
    let raft = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
    let mut log = log.clone();
    if log.read_vote().await.map_err(|error| raft(&error))?.is_some() {
        return Ok(());
    }
    if let Some((_, to)) = machine.history().store().bounds().gap {
        // The history is that of the saved ledger's cluster no more: nobody can be asked.
        let begins = Part { first: to + 1, ..Part::default() };
        machine.image().fill(begins).await.map_err(|error| raft(&error))?;
    }
    let applied = machine.shared().state().applied;
    let applied = applied.ok_or_else(|| raft(&"there is no saved ledger to begin with"))?;
    let term = applied.committed_leader_id().term + 1;
    log.save_vote(&Vote::new(term, node_id)).await.map_err(|error| raft(&error))
}
