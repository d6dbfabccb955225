//! Beginning anew from a saved ledger. It knows nothing of what was granted after it
//! was saved, and clients may believe in that until their leases have ended. So
//! nothing is granted before then; what the ledger knows to be held is held on.

use std::path::Path;
use std::time::Duration;

use triad_ledger::Command;
use triad_proto::v1::{Reason, Refusal};
use triad_raft::disk::{Disk, RealDisk};
use triad_raft::{RestoreError, Saved, lay_down};

use crate::config::Config;
use crate::node::Node;
use crate::serve::NEWBORN;

/// The file that marks a data directory as that of a node that begins with a saved
/// ledger. It stays until the new epoch is in the log.
pub(crate) const RESTORED: &str = "restored";

/// Lays a saved ledger down in the data directory of the node with this
/// configuration, which must have none. The node then is a cluster of its own.
///
/// # Errors
///
/// See [`RestoreError`].
pub fn restore(config: &Config, bytes: &[u8]) -> Result<Saved, RestoreError> {
    let own = &config.nodes[&config.node_id].member;
    let (data_dir, disk) = (&config.data_dir, RealDisk);
    let cluster_id = config.cluster_id.as_str();
    let saved = lay_down(&disk, data_dir, bytes, cluster_id, (config.node_id, own.clone()))?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| RestoreError::Disk { path, source }
    };
    let mark = data_dir.join(RESTORED);
    let written = disk.create(&mark).and_then(|file| {
        file.write_at(b"This node begins with a saved ledger. It removes this file.\n", 0)?;
        file.sync_data()
    });
    written.map_err(failed(&mark))?;
    let newborn = data_dir.join(NEWBORN);
    if newborn.exists() {
        disk.remove(&newborn).map_err(failed(&newborn))?;
    }
    disk.sync_dir(data_dir).map_err(failed(data_dir))?;
    Ok(saved)
}

/// Begins the epoch of a ledger that was restored, before anybody is served by it.
/// Whoever waited for seats is told to ask again: nobody is served meanwhile.
pub(crate) async fn before_serving(node: &Node) -> bool {
    let mark = node.config.data_dir.join(RESTORED);
    if !mark.exists() {
        return true;
    }
    let (epoch, waiting) = node.consensus.read(|ledger| {
        let waiting: Vec<_> = ledger.waiting().map(|(_, w)| (w.session, w.request)).collect();
        (ledger.epoch(), waiting)
    });
    let cancel = |(session, request)| Command::Cancel { session, request, answered: false };
    let mut commands: Vec<_> = waiting.into_iter().map(cancel).collect();
    // Even ones are those of servers that serve by right.
    let epoch = (epoch / 2 + 1) * 2;
    commands.push(Command::BeginEpoch { epoch, adopted: 0, restored: true });
    if let Err(refusal) = node.propose(commands).await {
        tracing::warn!(%refusal, "the epoch of the restored ledger cannot begin");
        return false;
    }
    if let Err(error) = std::fs::remove_file(&mark) {
        tracing::warn!(%error, mark = %mark.display(), "the mark stays; the epoch begins again");
    }
    tracing::warn!(epoch, "serving from a restored ledger");
    true
}

impl Node {
    /// For how much longer nothing is granted, because clients may believe in seats
    /// that a restored ledger does not know.
    pub(crate) fn restoring_for(&self) -> Option<Duration> {
        // Not by the date, which one clock alone could move.
        let begun_ms = self.consensus.read(triad_ledger::Ledger::restored_ms)?;
        // What the configuration said at the start, and what the ledger knew of: nobody
        // shortens this meanwhile.
        let longest_ms = *self.longest_lease_ms.get_or_init(|| {
            let known = self.consensus.read(|ledger| {
                ledger.sessions(None).map(|(_, session)| session.lease_ms).max().unwrap_or(0)
            });
            known.max(self.config.sessions.lease_max.as_millis() as u64)
        });
        let ends_ms = begun_ms + longest_ms;
        let left_ms = ends_ms.saturating_sub(self.consensus.cluster_ms());
        (left_ms > 0).then(|| Duration::from_millis(left_ms))
    }

    /// Whether anything may be granted yet.
    pub(crate) fn may_grant(&self) -> Result<(), Refusal> {
        let Some(left) = self.restoring_for() else { return Ok(()) };
        let message = format!(
            "restored from a snapshot: nothing is granted for another {} s, until every lease of \
             before has ended",
            left.as_secs() + 1
        );
        Err(Refusal::because(Reason::NotReady, message).retry_after(left))
    }
}
