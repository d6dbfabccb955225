//! What the log promises, tried: order, reopening, limits, damage, power cuts.

mod damage;
mod power_cuts;
mod rules;
mod store;
mod suite;
mod torn_disk;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Log, LogError, LogOptions, Position};
use torn_disk::TornDisk;

const OWNER: [u8; 16] = [7; 16];

/// Everything a log holds, as its owner sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contents {
    entries: BTreeMap<u64, Vec<u8>>,
    next: Option<u64>,
    vote: Option<Vec<u8>>,
    purged: Option<u64>,
}

impl Contents {
    fn of(log: &Log) -> Self {
        let reader = log.reader();
        let (first, next) = log.bounds().unwrap_or_default();
        let entry = |index| (index, reader.read(index).unwrap().unwrap());
        Self {
            entries: (first..next).map(entry).collect(),
            next: log.next_index(),
            vote: log.vote().map(<[u8]>::to_vec),
            purged: log.purged().map(|purged| purged.index),
        }
    }
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 8192,
        prepare_in_background: false,
        ..LogOptions::new("/log", OWNER)
    }
}

fn open(disk: &TornDisk) -> Result<Log, LogError> {
    Log::open(Arc::new(disk.clone()), options())
}

fn position(index: u64) -> Position {
    Position { index, log_id: format!("id of {index}").into_bytes() }
}

/// The payload of an entry: a few bytes to a few sectors, and different in each life.
fn payload(index: u64, life: u64) -> Vec<u8> {
    let length = 8 + (index * 37 + life * 11) % 900;
    (0..length).map(|place| (index + life + place) as u8 | 1).collect()
}
