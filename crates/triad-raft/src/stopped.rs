//! What a node that does not run has in its log, for audits and tests.

use std::path::Path;
use std::sync::Arc;

use triad_ledger::{At, Command};

use crate::consensus::owner;
use crate::disk::RealDisk;
use crate::log::{Log, LogError, LogOptions};
use crate::types::decode_entry;

/// One entry of a log that holds commands.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its index and term, and when it was proposed.
    pub at: At,
    /// What is in it.
    pub commands: Vec<Command>,
}

/// Reads the log of a node that does not run, in order: every entry that holds
/// commands and was not purged. The last may not have been committed. The log is
/// proved as at a start, and a torn tail is cut.
///
/// # Errors
///
/// The log is damaged, another's, or in use.
pub fn read_log(data_dir: &Path, cluster_id: &str, node_id: u64) -> Result<Vec<Logged>, LogError> {
    let mut options = LogOptions::new(data_dir.join("log"), owner(cluster_id, node_id));
    options.create = false;
    options.prepare_in_background = false;
    let log = Log::open(Arc::new(RealDisk), options)?;
    let (first, next) = log.bounds().unwrap_or_default();
    let reader = log.reader();
    let mut all = Vec::new();
    for index in first..next {
        let bytes = reader.read(index)?.unwrap_or_default();
        let entry = decode_entry(&bytes).map_err(|error| LogError::Undecodable {
            what: format!("log entry {index}"),
            reason: error.to_string(),
        })?;
        let openraft::EntryPayload::Normal(proposal) = entry.payload else { continue };
        let at = At {
            index,
            term: entry.log_id.committed_leader_id().term,
            cluster_ms: proposal.stamp.cluster_ms,
            date_ms: proposal.stamp.date_ms,
        };
        all.push(Logged { at, commands: proposal.commands.to_vec() });
    }
    Ok(all)
}
