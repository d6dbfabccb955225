//! The log as openraft's store: reopening, reading back, failing, and power cuts.

use std::path::Path;
use std::sync::Arc;

use openraft::StorageHelper;
use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogReader, RaftLogStorage, RaftLogStorageExt};
use openraft::vote::RaftLeaderId;

use triad_ledger::Ledger;

use super::torn_disk::{Dice, TornDisk};
use super::{OWNER, options};
use crate::disk::{Disk, RealDisk};
use crate::image::{Image, ImageBatch, WholeImage};
use crate::log::view::{Piece, View};
use crate::log::{EntryReader, LogOptions, LogStore};
use crate::machine::Machine;
use crate::types::{Entry, LeaderId, LogId, StoredMembership, Vote};

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, 1), index)
}

fn blank(term: u64, index: u64) -> Entry {
    Entry::new_blank(log_id(term, index))
}

fn ids(entries: &[Entry]) -> Vec<LogId> {
    entries.iter().map(|entry| entry.log_id).collect()
}

#[tokio::test]
async fn everything_is_read_back_from_disk_after_a_reopen() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let options =
            LogOptions { segment_bytes: 8192, ..LogOptions::new(folder.path().join("log"), OWNER) };
        LogStore::open(Arc::new(RealDisk), options, false).unwrap()
    };
    let mut store = open();
    let vote = Vote::new_committed(3, 1);
    for index in 0..300 {
        store.blocking_append([blank(1, index)]).await.unwrap();
    }
    store.truncate_after(Some(log_id(1, 250))).await.unwrap();
    store.blocking_append([blank(2, 251), blank(2, 252)]).await.unwrap();
    store.save_vote(&vote).await.unwrap();
    store.save_committed(Some(log_id(1, 200))).await.unwrap();
    store.purge(log_id(1, 100)).await.unwrap();
    let before = ids(&store.try_get_log_entries(..).await.unwrap());
    store.close().await.unwrap();
    assert!(store.append([blank(2, 253)], openraft::storage::IOFlushed::noop()).await.is_err());

    let mut store = open();
    let state = store.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(log_id(1, 100)));
    assert_eq!(state.last_log_id, Some(log_id(2, 252)));
    assert_eq!(store.read_vote().await.unwrap(), Some(vote));
    assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 200)));
    let after = ids(&store.try_get_log_entries(..).await.unwrap());
    assert_eq!((after.len(), after[149], after[151]), (152, log_id(1, 250), log_id(2, 252)));
    assert_eq!(before, after);
    store.blocking_append([blank(4, 253)]).await.unwrap();
    let mixed = ids(&store.try_get_log_entries(252..=253).await.unwrap());
    assert_eq!(mixed, [log_id(2, 252), log_id(4, 253)]);
}

/// Raft commits what it has handed over, and that may wait in the queue when the
/// process dies.
#[tokio::test]
async fn no_commit_is_durable_before_the_entry_that_it_names() {
    for inline in [false, true] {
        let disk = TornDisk::default();
        let open = || LogStore::open(Arc::new(disk.clone()), options(), inline).unwrap();
        // A thread is only known to be gone when it says so.
        let end = async |store: LogStore| match inline {
            true => drop(store),
            false => store.close().await.unwrap(),
        };
        let mut store = open();
        store.blocking_append([blank(1, 0), blank(1, 1)]).await.unwrap();
        store.save_committed(Some(log_id(1, 3))).await.unwrap();
        store.blocking_append([blank(1, 2)]).await.unwrap();
        end(store).await;
        let mut store = open();
        let last = store.get_log_state().await.unwrap().last_log_id;
        assert_eq!(last, Some(log_id(1, 2)));
        assert!(store.read_committed().await.unwrap() <= last);
        store.save_committed(Some(log_id(1, 3))).await.unwrap();
        store.blocking_append([blank(1, 3)]).await.unwrap();
        end(store).await;
        assert_eq!(open().read_committed().await.unwrap(), Some(log_id(1, 3)));
    }
}

/// A ledger without records that has applied entries up to `applied`, as it was written.
fn machine(disk: &TornDisk, applied: LogId) -> Machine {
    let folder = Path::new("/image");
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut image = WholeImage::open(disk.clone(), folder).unwrap();
    let ledger = Ledger::default();
    let batch = ImageBatch {
        applied,
        membership: StoredMembership::default(),
        hash: ledger.state_hash(),
        changes: Vec::new(),
        events: Vec::new(),
        last_event: ledger.last_event(),
    };
    image.write(&batch).unwrap();
    Machine::open(image, disk, Path::new("/snapshot"), "tc-1", Box::new(|_| {}), None).unwrap()
}

/// P2: the image of a follower had the new leader's entries when power went, and the log not yet
/// that they took the place of the old leader's. Raft would not start on that.
#[tokio::test]
async fn entries_that_the_image_knows_to_be_overruled_are_dropped() {
    for (index, purged) in [(4, None), (1, None), (6, None), (4, Some(2)), (4, Some(3))] {
        let disk = TornDisk::default();
        let open = || LogStore::open(Arc::new(disk.clone()), options(), true).unwrap();
        let mut store = open();
        store.blocking_append((0..7).map(|index| blank(1, index))).await.unwrap();
        store.save_vote(&Vote::new_committed(1, 1)).await.unwrap();
        if let Some(purged) = purged {
            store.purge(log_id(1, purged)).await.unwrap();
        }
        let applied = log_id(2, index);
        let mut machine = machine(&disk, applied);
        // An older log beside a newer image: not to be made to fit.
        assert_eq!(store.drop_overruled(applied).await.unwrap(), None);
        store.save_vote(&Vote::new_committed(2, 1)).await.unwrap();
        // What the log has, or does not reach to, overrules nothing.
        assert_eq!(store.drop_overruled(log_id(1, index)).await.unwrap(), None);
        assert_eq!(store.drop_overruled(log_id(2, 7)).await.unwrap(), None);
        StorageHelper::new(&mut store, &mut machine).get_initial_state().await.unwrap_err();
        assert_eq!(store.drop_overruled(applied).await.unwrap(), Some(index));
        drop(store);
        let mut store = open();
        assert_eq!(store.get_log_state().await.unwrap().last_log_id, Some(log_id(1, index - 1)));
        StorageHelper::new(&mut store, &mut machine).get_initial_state().await.unwrap();
        store.blocking_append([blank(2, index + 1)]).await.unwrap();
        drop(store);
        let state = open().get_log_state().await.unwrap();
        assert_eq!(state.last_purged_log_id, Some(applied));
        assert_eq!(state.last_log_id, Some(log_id(2, index + 1)));
    }
}

#[tokio::test]
async fn a_failed_sync_reaches_everyone_and_stays() {
    for inline in [false, true] {
        let disk = TornDisk::default();
        let mut store = LogStore::open(Arc::new(disk.clone()), options(), inline).unwrap();
        store.blocking_append([blank(1, 0)]).await.unwrap();
        assert!(store.failure().is_none());
        disk.fail_syncs(true);
        let refused = store.blocking_append([blank(1, 1)]).await.unwrap_err().to_string();
        assert!(refused.contains("medium error"), "{refused}");
        disk.fail_syncs(false);
        let failure = store.failed().await.to_string();
        assert!(failure.contains("medium error"), "{failure}");
        let vote = store.save_vote(&Vote::new(2, 1)).await.unwrap_err();
        assert_eq!(vote.to_string(), failure);
        assert!(store.blocking_append([blank(1, 2)]).await.is_err());
        assert!(store.try_get_log_entries(0..1).await.is_err());
        assert!(store.close().await.is_err());
    }
}

#[tokio::test]
async fn what_was_called_back_survives_every_power_cut() {
    for seed in 0..100 {
        let mut dice = Dice::new(seed);
        let disk = TornDisk::default();
        let (mut acknowledged, mut vote) = (0, None);
        for life in 1..5 {
            let open = || LogStore::open(Arc::new(disk.clone()), options(), true);
            let mut store = open().unwrap();
            let state = store.get_log_state().await.unwrap();
            let mut next = state.last_log_id.map_or(0, |last| last.index() + 1);
            assert!(next >= acknowledged, "seed {seed}: {next} of {acknowledged}");
            assert!(store.read_vote().await.unwrap() >= vote, "seed {seed}");
            let entries = store.try_get_log_entries(..).await.unwrap();
            assert_eq!(entries.len() as u64, next, "seed {seed}");
            disk.power_off_after(dice.below(120));
            loop {
                let batch: Vec<_> =
                    (next..next + 1 + dice.below(40)).map(|index| blank(life, index)).collect();
                next += batch.len() as u64;
                if store.blocking_append(batch).await.is_err() {
                    break;
                }
                acknowledged = next;
                let candidate = Vote::new(next, 1);
                if dice.below(6) == 0 {
                    if store.save_vote(&candidate).await.is_err() {
                        break;
                    }
                    vote = Some(candidate);
                }
            }
            drop(store);
            disk.restart(&mut dice);
        }
    }
}

#[test]
fn memory_is_bounded_and_keeps_what_is_not_on_disk() {
    const LARGE_BYTES: usize = 512 * 1024;
    let on_disk = EntryReader::new(Default::default());
    let mut view = View::new(0, None, None);
    let large = |term, indexes: std::ops::Range<u64>| {
        indexes.map(move |index| (blank(term, index), LARGE_BYTES))
    };
    let first = view.append(large(1, 0..4)).unwrap();
    assert_eq!(view.pieces(0..9, usize::MAX, &on_disk).len(), 4);
    assert_eq!(view.pieces(0..9, 2 * LARGE_BYTES, &on_disk).len(), 2);
    assert_eq!(view.pieces(0..9, 1, &on_disk).len(), 1, "never nothing");

    // Truncated and appended again before the flush of the first ones is reported: the new ones
    // have the same indexes, and are not on disk.
    view.truncate(Some(log_id(1, 0)));
    let second = view.append(large(2, 1..5)).unwrap();
    view.flushed(first);
    let pieces = view.pieces(1..9, usize::MAX, &on_disk);
    let is_new = |piece: &Piece| match piece {
        Piece::Recent(entry) => entry.log_id.committed_leader_id() == &LeaderId::new(2, 1),
        Piece::OnDisk(_) => false,
    };
    assert!(pieces.len() == 4 && pieces.iter().all(is_new), "{pieces:?}");
    view.flushed(second);
    assert_eq!(view.pieces(3..9, usize::MAX, &on_disk).len(), 2, "1 MiB is kept");
    let gap = view.append(large(2, 9..10)).unwrap_err();
    assert!(gap.to_string().contains("entry 9"), "{gap}");
}
