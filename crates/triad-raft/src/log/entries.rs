//! Where each entry lies on disk, and reading it back with its checksum proven.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use super::error::{Damage, LogError};
use super::record::{self, Kind};
use super::segment::Segment;

/// The place of one entry's record. Twelve bytes, because a lagging log may hold millions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location {
    pub segment: u32,
    pub offset: u32,
    pub length_bytes: u32,
}

/// All entries on disk, in one unbroken run of indexes.
#[derive(Debug, Default)]
pub(super) struct Entries {
    first: u64,
    locations: VecDeque<Location>,
    segments: BTreeMap<u32, Arc<Segment>>,
}

impl Entries {
    /// The index of the first entry, if there is any.
    pub fn first(&self) -> Option<u64> {
        (!self.locations.is_empty()).then_some(self.first)
    }

    /// The index after the last entry, if there is any.
    pub fn next(&self) -> Option<u64> {
        (!self.locations.is_empty()).then(|| self.first + self.locations.len() as u64)
    }

    /// Adds the entry that follows the last one.
    pub fn push(&mut self, index: u64, location: Location) {
        match self.next() {
            Some(next) => assert_eq!(next, index, "entries follow each other"),
            None => self.first = index,
        }
        self.locations.push_back(location);
    }

    /// Drops the entries from `index` on.
    pub fn truncate(&mut self, index: u64) {
        let kept = index.saturating_sub(self.first);
        self.locations.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
    }

    /// Drops the entries up to `index`, inclusive.
    pub fn purge(&mut self, index: u64) {
        while self.first().is_some_and(|first| first <= index) {
            self.locations.pop_front();
            self.first += 1;
        }
    }

    /// Drops all entries.
    pub fn clear(&mut self) {
        self.locations.clear();
    }

    /// Makes a segment readable.
    pub fn add_segment(&mut self, segment: Arc<Segment>) {
        self.segments.insert(segment.number, segment);
    }

    /// Forgets a removed segment; reads that hold it already go on.
    pub fn remove_segment(&mut self, number: u32) {
        self.segments.remove(&number);
    }

    fn locate(&self, index: u64) -> Option<Found> {
        let place = usize::try_from(index.checked_sub(self.first)?).ok()?;
        let location = *self.locations.get(place)?;
        let segment = self.segments.get(&location.segment);
        let segment = segment.expect("the segment of every entry is open").clone();
        Some(Found { index, location, segment })
    }
}

/// Reads entries while the log goes on writing. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EntryReader {
    entries: Arc<Mutex<Entries>>,
}

impl EntryReader {
    pub(super) fn new(entries: Entries) -> Self {
        Self { entries: Arc::new(Mutex::new(entries)) }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().expect("nothing panics while it holds the entries")
    }

    /// Where the entry at `index` lies; `None` when the synced log does not have it.
    pub(super) fn locate(&self, index: u64) -> Option<Found> {
        self.lock().locate(index)
    }

    /// The payload of the entry at `index`; `None` when the synced log does not have it.
    pub fn read(&self, index: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.locate(index).map(|found| found.read()).transpose()
    }
}

/// An entry that was found; reading it needs no lock.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub index: u64,
    location: Location,
    segment: Arc<Segment>,
}

impl Found {
    /// The bytes of the record on disk.
    pub fn length_bytes(&self) -> usize {
        self.location.length_bytes as usize
    }

    /// Reads the payload and proves its checksum once more: the disk may have changed since.
    pub fn read(&self) -> Result<Vec<u8>, LogError> {
        let segment = &self.segment;
        let offset = u64::from(self.location.offset);
        let mut bytes = vec![0; self.location.length_bytes as usize];
        segment
            .file
            .read_at(&mut bytes, offset)
            .map_err(|error| LogError::disk("read an entry", &segment.path, error))?;
        let record = record::decode(segment.salt, &bytes).filter(|record| {
            record.header.kind == Kind::Entry && record.header.index == self.index
        });
        let payload = record.map(|record| record.payload.len()).ok_or_else(|| {
            LogError::damaged(&segment.path, offset, Some(self.index), Damage::Checksum)
        })?;
        bytes.truncate(record::HEADER_BYTES + payload);
        bytes.drain(..record::HEADER_BYTES);
        Ok(bytes)
    }
}
