//! Any files as a log: refused with the name of one, or a log that can be read, goes on, and is
//! the same after it was opened again (P8); or one whose numbers are used up, which takes no more.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use triad_fuzz::log_files::{FOLDER, LogFiles, OWNER};
use triad_fuzz::torn_disk::TornDisk;
use triad_raft::log::{Log, LogError, LogOptions, LogStore};

fuzz_target!(|files: LogFiles<'_>| {
    let image = files.image();
    // For consensus the votes, log ids and entries in it must be readable too.
    let _ = LogStore::open(Arc::new(TornDisk::from_image(&image)), options(), true);
    let disk = TornDisk::from_image(&image);
    let mut log = match open(&disk) {
        Ok(log) => log,
        Err(error) => return assert!(error.to_string().contains(FOLDER), "{error}"),
    };
    let mut entries = entries(&log);
    let next = log.next_index().unwrap_or(1);
    match log.append(next, b"the next") {
        Err(LogError::UsedUp) => return,
        appended => appended.expect("the disk is well"),
    }
    log.flush().expect("the disk is well");
    log.close().expect("the disk is well");
    entries.push(b"the next".to_vec());
    let log = open(&disk).expect("what it wrote itself");
    assert_eq!(self::entries(&log), entries);
    assert_eq!(log.next_index(), Some(next + 1));
});

fn open(disk: &TornDisk) -> Result<Log, LogError> {
    Log::open(Arc::new(disk.clone()), options())
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 8192,
        prepare_in_background: false,
        ..LogOptions::new(FOLDER, OWNER)
    }
}

fn entries(log: &Log) -> Vec<Vec<u8>> {
    let (first, next) = log.bounds().unwrap_or_default();
    let reader = log.reader();
    let read = |index| reader.read(index).expect("it was proven").expect("it is in bounds");
    (first..next).map(read).collect()
}
