//! Altered, zeroed, cut and missing files: found, or harmless, and never a panic (P8).

use std::path::PathBuf;

use super::torn_disk::{Image, TornDisk};
use super::{Contents, OWNER, open, payload, position};
use crate::log::LogError;
use crate::log::record::{self, Header, Kind};

/// A sealed log of several segments with everything in it, and its contents.
fn sealed() -> (Image, Contents) {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    for index in 0..40 {
        log.append(index, &payload(index, 0)).unwrap();
        if index % 3 == 0 {
            log.flush().unwrap();
        }
        if index == 20 {
            log.truncate(15).unwrap();
            break;
        }
    }
    for index in 15..45 {
        log.append(index, &payload(index, 1)).unwrap();
        log.commit(position(index - 2));
        log.flush().unwrap();
    }
    log.save_vote(b"a vote".to_vec()).unwrap();
    log.purge(position(18)).unwrap();
    log.append(45, b"the last acknowledged entry").unwrap();
    let contents = {
        log.flush().unwrap();
        Contents::of(&log)
    };
    log.close().unwrap();
    let image = disk.image();
    assert!(image.len() >= 4, "several segments: {:?}", image.keys());
    (image, contents)
}

/// Opens an altered log: it is refused, naming a file, or holds exactly what it held.
fn is_found(image: &Image, contents: &Contents, what: &str) -> bool {
    match open(&TornDisk::from_image(image)) {
        Ok(log) => {
            assert_eq!(&Contents::of(&log), contents, "{what}");
            false
        }
        Err(error) => {
            assert!(error.to_string().contains("/log/"), "{what}: {error}");
            true
        }
    }
}

fn used_bytes(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

#[test]
fn every_altered_byte_is_found_or_harmless() {
    let (image, contents) = sealed();
    let mut found = 0;
    for (path, bytes) in &image {
        let used = used_bytes(bytes);
        // Every byte near a start or an end, and a sample of the rest.
        for place in (0..bytes.len()).filter(|place| {
            let in_header = place % 4096 < 128;
            in_header || place.abs_diff(used) < 128 || place % 5 == 0
        }) {
            let mut altered = image.clone();
            altered.get_mut(path).unwrap()[place] ^= 1 << (place % 8);
            found += usize::from(is_found(&altered, &contents, &format!("{path:?} {place}")));
        }
    }
    assert!(found > 1000, "{found}");
}

#[test]
fn every_zeroed_sector_is_found_or_harmless() {
    let (image, contents) = sealed();
    for (path, bytes) in &image {
        for start in (0..bytes.len()).step_by(512) {
            let mut altered = image.clone();
            let sector = &mut altered.get_mut(path).unwrap()[start..start + 512];
            let was_used = sector.iter().any(|&byte| byte != 0);
            sector.fill(0);
            let found = is_found(&altered, &contents, &format!("{path:?} {start}"));
            let is_segment = path.extension().is_some();
            assert_eq!(found, was_used && is_segment, "{path:?} {start}");
        }
    }
}

#[test]
fn every_cut_and_every_missing_file_is_found() {
    let (image, contents) = sealed();
    for (path, bytes) in &image {
        for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1]) {
            let mut altered = image.clone();
            altered.get_mut(path).unwrap().truncate(length);
            assert!(is_found(&altered, &contents, "cut"), "{path:?} cut to {length}");
        }
        let mut longer = image.clone();
        longer.get_mut(path).unwrap().push(0);
        assert!(is_found(&longer, &contents, "longer"), "{path:?}");
        let mut missing = image.clone();
        missing.remove(path);
        assert!(is_found(&missing, &contents, "missing"), "{path:?}");
    }
}

#[test]
fn foreign_swapped_and_old_files_are_found() {
    let (image, contents) = sealed();
    let mut foreign = image.clone();
    foreign.insert(PathBuf::from("/log/notes.txt"), Vec::new());
    assert!(is_found(&foreign, &contents, "foreign file"));

    let segments: Vec<_> = image.keys().filter(|path| path.extension().is_some()).collect();
    let mut swapped = image.clone();
    swapped.insert(segments[1].clone(), image[segments[0]].clone());
    assert!(is_found(&swapped, &contents, "swapped"));

    // An older copy of the last segment, as a restored backup would bring it.
    let disk = TornDisk::from_image(&image);
    let mut log = open(&disk).unwrap();
    log.append(46, b"newer").unwrap();
    log.close().unwrap();
    let mut old = disk.image();
    let last = segments[segments.len() - 1];
    old.insert(last.clone(), image[last].clone());
    assert!(is_found(&old, &contents, "old segment"));
}

#[test]
fn the_error_names_the_file_the_place_and_the_remedy() {
    let (mut image, _) = sealed();
    let path = image.keys().find(|path| path.extension().is_some()).unwrap().clone();
    image.get_mut(&path).unwrap()[4096 + 50] ^= 1;
    let error = open(&TornDisk::from_image(&image)).unwrap_err();
    let LogError::Damaged { offset: 4096, .. } = &error else { panic!("{error}") };
    let text = error.to_string();
    assert!(text.contains(path.to_str().unwrap()), "{text}");
    assert!(text.contains("triad node replace"), "{text}");
}

#[test]
fn an_unsealed_torn_tail_is_cut_but_not_if_a_later_write_follows() {
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    for index in 0..4 {
        log.append(index, &payload(index, 0)).unwrap();
        log.flush().unwrap();
    }
    drop(log);
    let image = disk.image();
    let path = image.keys().find(|path| path.extension().is_some()).unwrap().clone();
    let used = used_bytes(&image[&path]);

    let mut torn = image.clone();
    torn.get_mut(&path).unwrap()[used - 20..used].fill(0);
    let disk = TornDisk::from_image(&torn);
    for _ in 0..2 {
        let log = open(&disk).unwrap();
        assert_eq!(log.bounds(), Some((0, 3)));
    }
    assert!(used_bytes(&disk.image()[&path]) < used - 20, "the torn rest is zeroed");

    // The third entry was synced before the fourth was written, and the fourth says so.
    let third =
        4096 + (0..2).map(|i| (40 + payload(i, 0).len()).next_multiple_of(8)).sum::<usize>();
    let mut altered = image.clone();
    altered.get_mut(&path).unwrap()[third + 41] ^= 4;
    let error = open(&TornDisk::from_image(&altered)).unwrap_err();
    assert!(matches!(error, LogError::Damaged { index: Some(2), .. }), "{error}");
}

#[test]
fn a_record_that_no_log_can_have_is_refused_whatever_its_checksum_says() {
    let salt = crc32c::crc32c_append(crc32c::crc32c(&OWNER), &1u32.to_le_bytes());
    let disk = TornDisk::default();
    open(&disk).unwrap().close().unwrap();
    let image = disk.image();
    let path = image.keys().find(|path| path.extension().is_some()).unwrap().clone();
    let kinds = [Kind::Entry, Kind::Truncate, Kind::Jump, Kind::Committed];
    let far = kinds.map(|kind| (kind, u64::MAX, 0));
    for (kind, index, payload_bytes) in far.into_iter().chain([(Kind::Committed, 1, 2000)]) {
        let header = Header { kind, index, number: 1, durable: 0 };
        let mut written = Vec::new();
        record::encode(salt, header, &vec![1; payload_bytes], &mut written);
        let mut altered = image.clone();
        let segment = altered.get_mut(&path).unwrap();
        segment.splice(4096..4096 + written.len(), written);
        let error = open(&TornDisk::from_image(&altered)).unwrap_err();
        assert!(matches!(error, LogError::Damaged { offset: 4096, .. }), "{kind:?}: {error}");
    }
}

#[test]
fn a_log_without_entries_goes_on_where_it_was_purged() {
    let salt = crc32c::crc32c_append(crc32c::crc32c(&OWNER), &1u32.to_le_bytes());
    let disk = TornDisk::default();
    let mut log = open(&disk).unwrap();
    log.purge(position(10)).unwrap();
    log.close().unwrap();
    let image = disk.image();
    let path = image.keys().find(|path| path.extension().is_some()).unwrap().clone();
    for index in [11, 12] {
        let header = Header { kind: Kind::Truncate, index, number: 1, durable: 0 };
        let mut written = Vec::new();
        record::encode(salt, header, &[], &mut written);
        let mut altered = image.clone();
        altered.get_mut(&path).unwrap().splice(4096..4096 + written.len(), written);
        match open(&TornDisk::from_image(&altered)) {
            Ok(log) => assert_eq!((index, log.next_index()), (11, Some(11))),
            Err(error) => assert!(index == 12 && error.to_string().contains("entry 11"), "{error}"),
        }
    }
}
