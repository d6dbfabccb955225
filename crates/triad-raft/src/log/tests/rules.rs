//! Order, reopening, limits, and what is final.

use std::sync::Arc;

use super::torn_disk::{Dice, TornDisk};
use super::{Contents, OWNER, open, options, payload, position};
use crate::disk::RealDisk;
use crate::log::state::COUNT_MAX;
use crate::log::{Log, LogError, LogOptions};

#[test]
fn entries_vote_and_marks_come_back_after_a_reopen_on_a_real_disk() {
    let folder = tempfile::tempdir().unwrap();
    let options =
        || LogOptions { segment_bytes: 8192, ..LogOptions::new(folder.path().join("log"), OWNER) };
    let disk = || Arc::new(RealDisk);
    let mut log = Log::open(disk(), options()).unwrap();
    for index in 0..100 {
        log.append(index, &payload(index, 0)).unwrap();
        log.flush().unwrap();
    }
    log.save_vote(b"term 3".to_vec()).unwrap();
    log.commit(position(90));
    log.truncate(95).unwrap();
    log.append(95, b"other").unwrap();
    log.purge(position(40)).unwrap();
    let before = Contents::of(&log);
    log.close().unwrap();

    let log = Log::open(disk(), options()).unwrap();
    assert_eq!(Contents::of(&log), before);
    assert_eq!(before.entries[&94], payload(94, 0));
    assert_eq!(before.entries[&95], b"other");
    assert_eq!(log.bounds(), Some((41, 96)));
    assert_eq!(log.committed(), Some(&position(90)));
    let locked = Log::open(disk(), options()).unwrap_err();
    assert!(matches!(locked, LogError::Locked { .. }), "{locked}");
    drop(log);
    let foreign = LogOptions { owner: [8; 16], ..options() };
    let foreign = Log::open(disk(), foreign).unwrap_err();
    assert!(matches!(foreign, LogError::Foreign { .. }), "{foreign}");
}

#[test]
fn one_flush_is_one_write_and_one_sync() {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    let (writes, syncs) = disk.counts();
    for index in 1..=10 {
        log.append(index, b"a grant").unwrap();
    }
    log.commit(position(3));
    log.flush().unwrap();
    assert_eq!(disk.counts(), (writes + 1, syncs + 1));
}

#[test]
fn a_gap_is_refused_and_final() {
    let mut log = open(&TornDisk::default()).unwrap();
    log.append(4, b"first").unwrap();
    let refused = log.append(6, b"third").unwrap_err();
    assert!(matches!(refused, LogError::OutOfOrder { index: 6, next: 5, .. }), "{refused}");
    assert!(log.append(5, b"second").is_err());
}

#[test]
fn the_last_number_is_the_last_that_is_written() {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    log.append(COUNT_MAX - 1, b"last but one").unwrap();
    log.append(COUNT_MAX, b"last").unwrap();
    log.close().unwrap();
    let mut log = open(&disk).unwrap();
    let before = Contents::of(&log);
    let refused = log.append(COUNT_MAX + 1, b"beyond").unwrap_err();
    assert!(matches!(refused, LogError::UsedUp), "{refused}");
    drop(log);
    let mut log = open(&disk).unwrap();
    let refused = log.purge(position(COUNT_MAX + 1)).unwrap_err();
    assert!(matches!(refused, LogError::UsedUp), "{refused}");
    drop(log);
    assert_eq!(Contents::of(&open(&disk).unwrap()), before);
}

#[test]
fn an_entry_of_the_largest_size_fits_and_one_byte_more_is_refused() {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    let largest = vec![5; log.entry_max_bytes()];
    for index in 0..3 {
        log.append(index, &largest).unwrap();
    }
    log.flush().unwrap();
    drop(log);
    let mut log = open(&disk).unwrap();
    assert_eq!(log.reader().read(2).unwrap().unwrap(), largest);
    let refused = log.append(3, &vec![5; largest.len() + 1]).unwrap_err();
    assert!(matches!(refused, LogError::TooLarge { .. }), "{refused}");
}

#[test]
fn a_purge_beyond_the_end_moves_the_end() {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    for index in 0..5 {
        log.append(index, b"old").unwrap();
    }
    log.purge(position(9)).unwrap();
    assert_eq!(log.next_index(), Some(10));
    drop(log);
    let mut log = open(&disk).unwrap();
    assert_eq!(log.next_index(), Some(10));
    log.append(10, b"new").unwrap();
    log.flush().unwrap();
    drop(log);
    let log = open(&disk).unwrap();
    assert_eq!(log.bounds(), Some((10, 11)));
    assert_eq!(log.reader().read(4).unwrap(), None);
}

#[test]
fn purged_segments_are_removed_and_the_spare_one_is_used() {
    let disk = TornDisk::default();
    let background = LogOptions { prepare_in_background: true, ..options() };
    let mut log = Log::open(Arc::new(disk.clone()), background).unwrap();
    for index in 0..200 {
        log.append(index, &payload(index, 0)).unwrap();
        log.flush().unwrap();
    }
    let many = disk.image().len();
    log.purge(position(199)).unwrap();
    log.close().unwrap();
    let left: Vec<_> = disk.image().into_keys().collect();
    assert!(many > 20 && left.len() <= 3, "{many} files, then {left:?}");
    let log = open(&disk).unwrap();
    assert_eq!((log.bounds(), log.next_index()), (None, Some(200)));
}

#[test]
fn a_failed_sync_is_final_even_when_the_disk_works_again() {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    log.append(0, b"kept").unwrap();
    log.flush().unwrap();
    disk.fail_syncs(true);
    log.append(1, b"lost").unwrap();
    let failed = log.flush().unwrap_err().to_string();
    assert!(failed.contains("medium error") && failed.contains(".segment"), "{failed}");
    disk.fail_syncs(false);
    assert_eq!(log.flush().unwrap_err().to_string(), failed);
    assert_eq!(log.append(2, b"no").unwrap_err().to_string(), failed);
    assert_eq!(log.save_vote(vec![1]).unwrap_err().to_string(), failed);
    assert_eq!(log.close().unwrap_err().to_string(), failed);
}

#[test]
fn what_only_the_cache_has_after_a_failed_sync_is_written_again_at_open() {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    log.append(0, b"kept").unwrap();
    log.flush().unwrap();
    disk.fail_syncs(true);
    log.append(1, b"in the cache only").unwrap();
    assert!(log.flush().is_err());
    drop(log);
    disk.fail_syncs(false);
    let log = open(&disk).unwrap();
    let seen = Contents::of(&log);
    assert_eq!(seen.next, Some(2));
    drop(log);
    disk.restart(&mut Dice::new(0));
    assert_eq!(Contents::of(&open(&disk).unwrap()), seen);
}

#[test]
fn a_full_disk_is_told_apart_and_loses_nothing() {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    disk.limit_capacity(8192 * 4);
    let mut acknowledged = 0;
    let full = loop {
        let appended = log.append(acknowledged, &payload(acknowledged, 0));
        match appended.and_then(|()| log.flush()) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    assert!(full.is_full(), "{full}");
    drop(log);
    disk.limit_capacity(usize::MAX);
    let log = open(&disk).unwrap();
    assert!(log.bounds().unwrap().1 >= acknowledged && acknowledged > 10);
}

#[test]
fn a_log_that_must_exist_is_not_made_anew() {
    let disk = TornDisk::default();
    let must_exist = || LogOptions { create: false, ..options() };
    let refused = Log::open(Arc::new(disk.clone()), must_exist()).unwrap_err();
    assert!(refused.is_damage(), "{refused}");
    open(&disk).unwrap();
    Log::open(Arc::new(disk), must_exist()).unwrap();
}
