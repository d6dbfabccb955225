//! openraft's own conformance suite, on a real disk, with the thread and inline.

use std::io;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, StorageError};

use super::{OWNER, options};
use crate::disk::RealDisk;
use crate::log::{LogOptions, LogStore};
use crate::types::{LogId, StoredMembership, TypeConfig};

type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
type Snapshot = openraft::alias::SnapshotOf<TypeConfig, Vec<u8>>;

/// The least that the suite calls a state machine: it knows where it is.
#[derive(Clone, Debug, Default)]
struct Machine {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMeta>,
}

/// The suite expects a built snapshot to become the current one, so both share a machine.
#[derive(Clone, Debug, Default)]
struct SharedMachine(Arc<std::sync::Mutex<Machine>>);

impl RaftSnapshotBuilder<TypeConfig> for SharedMachine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let mut machine = self.0.lock().unwrap();
        let meta = SnapshotMeta {
            last_log_id: machine.applied,
            last_membership: machine.membership.clone(),
        };
        machine.snapshot = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: Vec::new() })
    }
}

impl RaftStateMachine<TypeConfig> for SharedMachine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let machine = self.0.lock().unwrap();
        Ok((machine.applied, machine.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some((entry, _)) = entries.try_next().await? {
            let mut machine = self.0.lock().unwrap();
            machine.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                machine.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _: Vec<u8>) -> io::Result<()> {
        let mut machine = self.0.lock().unwrap();
        machine.applied = meta.last_log_id;
        machine.membership = meta.last_membership.clone();
        machine.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let meta = self.0.lock().unwrap().snapshot.clone();
        Ok(meta.map(|meta| Snapshot { meta, snapshot: Vec::new() }))
    }
}

struct Builder {
    inline: bool,
}

impl StoreBuilder<TypeConfig, LogStore, SharedMachine, tempfile::TempDir> for Builder {
    async fn build(
        &self,
    ) -> Result<(tempfile::TempDir, LogStore, SharedMachine), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().unwrap();
        let options = LogOptions {
            segment_bytes: options().segment_bytes,
            ..LogOptions::new(folder.path().join("log"), OWNER)
        };
        let store = LogStore::open(Arc::new(RealDisk), options, self.inline).unwrap();
        Ok((folder, store, SharedMachine::default()))
    }
}

#[tokio::test(start_paused = true)]
async fn the_log_conforms_with_its_thread() {
    Suite::test_all(Builder { inline: false }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_log_conforms_inline() {
    Suite::test_all(Builder { inline: true }).await.unwrap();
}
