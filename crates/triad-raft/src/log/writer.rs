//! The log itself: appending, truncating, purging, sealing, by one owner and in plain calls.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::entries::{EntryReader, Location};
use super::error::LogError;
use super::record::{self, Header, Kind};
use super::recovery::{self, LOCK_NAME, Recovered, Span};
use super::segment::{
    self, Maker, Owner, RECORDS_OFFSET, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, Segment,
};
use super::spare::Spare;
use super::state::{COUNT_MAX, Position, StateFile};
use crate::disk::{DirectoryLock, Disk};
use crate::mutation::{self, Mutation};

/// Eight MiB: some 20,000 small grants, prepared in a few milliseconds, read at open in as many.
pub const SEGMENT_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The folder of the log; it holds nothing else.
    pub folder: PathBuf,
    /// Cluster and node, digested; files of another owner are refused.
    pub owner: Owner,
    /// The size of new segments, from 8 KiB to 1 GiB; existing ones keep theirs.
    pub segment_bytes: u32,
    /// Whether a new log may be made. False for a node that had one: it must not start empty.
    pub create: bool,
    /// Whether the next segment is prepared by a thread. False in simulation.
    pub prepare_in_background: bool,
}

impl LogOptions {
    /// A log in `folder` with the default segment size, which may be made if it is missing.
    pub fn new(folder: impl Into<PathBuf>, owner: Owner) -> Self {
        Self {
            folder: folder.into(),
            owner,
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            create: true,
            prepare_in_background: true,
        }
    }
}

/// An open log. Appends, truncations and commit marks are gathered in memory and become durable
/// together by [`Log::flush`]. The first error is final: every later call returns it again.
#[derive(Debug)]
pub struct Log {
    maker: Maker,
    state: StateFile,
    entries: EntryReader,
    spans: VecDeque<Span>,
    current: Arc<Segment>,
    /// Where the gathered bytes will go.
    tail: u32,
    gathered: Vec<u8>,
    changes: Vec<Change>,
    next_number: u64,
    durable: u64,
    /// The index that a reader of the records expects next, and the one that really is next.
    continues_at: Option<u64>,
    next: Option<u64>,
    committed_is_new: bool,
    sealed: bool,
    spare: Spare,
    prepare_in_background: bool,
    failure: Option<LogError>,
    _lock: Box<dyn DirectoryLock>,
}

/// What a gathered record does to the entries, once it is durable.
#[derive(Clone, Copy, Debug)]
enum Change {
    Entry(u64, Location),
    Truncate(u64),
    Jump,
}

impl Log {
    /// Opens a log: reads and proves all of it, cuts a torn tail, and syncs what it kept.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, LogError> {
        let folder = options.folder;
        let failed = |action| {
            let folder = &folder;
            move |error| LogError::disk(action, folder, error)
        };
        disk.create_dir(&folder).map_err(failed("make the log's folder"))?;
        let lock = disk.lock_dir(&folder, LOCK_NAME).map_err(|error| match error.kind() {
            std::io::ErrorKind::WouldBlock => LogError::Locked { folder: folder.clone() },
            _ => LogError::disk("lock the log's folder", &folder, error),
        })?;
        let length_bytes = options.segment_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        let maker = Maker { disk, folder, owner: options.owner, length_bytes };
        let Recovered { state, entries, spans, current, tail, next_number, continues_at, spare } =
            recovery::open(&maker, options.create)?;
        let purged_next = state.state.purged.as_ref().map(|purged| purged.index + 1);
        Ok(Self {
            next: continues_at.max(purged_next),
            durable: next_number - 1,
            maker,
            state,
            entries: EntryReader::new(entries),
            spans,
            current,
            tail,
            gathered: Vec::new(),
            changes: Vec::new(),
            next_number,
            continues_at,
            committed_is_new: false,
            sealed: true,
            spare: Spare::new(spare),
            prepare_in_background: options.prepare_in_background,
            failure: None,
            _lock: lock,
        })
    }

    /// Reads the synced entries, also from other threads.
    pub fn reader(&self) -> EntryReader {
        self.entries.clone()
    }

    /// The first and the next index of the synced log; `None` while it has no entries.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        let entries = self.entries.lock();
        entries.first().zip(entries.next())
    }

    /// The index that the next entry must have; `None` in a new log, which takes any.
    pub fn next_index(&self) -> Option<u64> {
        self.next
    }

    /// The saved vote.
    pub fn vote(&self) -> Option<&[u8]> {
        self.state.state.vote.as_deref()
    }

    /// The last commit mark.
    pub fn committed(&self) -> Option<&Position> {
        self.state.state.committed.as_ref()
    }

    /// The last purged position.
    pub fn purged(&self) -> Option<&Position> {
        self.state.state.purged.as_ref()
    }

    /// The longest entry in bytes.
    pub fn entry_max_bytes(&self) -> usize {
        segment::payload_max_bytes(self.maker.length_bytes)
    }

    /// Whether nothing was written since the last seal.
    pub fn is_sealed(&self) -> bool {
        self.sealed && self.gathered.is_empty() && !self.committed_is_new
    }

    /// The bytes gathered for the next flush.
    pub fn gathered_bytes(&self) -> usize {
        self.gathered.len()
    }

    /// Gathers the next entry.
    pub fn append(&mut self, index: u64, payload: &[u8]) -> Result<(), LogError> {
        self.guarded(|log| {
            let next = log.next.unwrap_or(index);
            if index != next {
                return Err(LogError::OutOfOrder { action: "append", index, next });
            }
            let length_max_bytes = log.entry_max_bytes();
            if payload.len() > length_max_bytes {
                let length_bytes = payload.len();
                return Err(LogError::TooLarge { index, length_bytes, length_max_bytes });
            }
            if log.continues_at.is_some_and(|continues_at| continues_at != index) {
                log.gather(Kind::Jump, index, &[])?;
                log.changes.push(Change::Jump);
            }
            let offset = log.gather(Kind::Entry, index, payload)?;
            let length_bytes = record::length_bytes(payload.len()) as u32;
            let location = Location { segment: log.current.number, offset, length_bytes };
            log.changes.push(Change::Entry(index, location));
            let span = log.spans.back_mut().expect("a log has at least one segment");
            span.highest_index = span.highest_index.max(Some(index));
            log.continues_at = Some(index + 1);
            log.next = log.continues_at;
            Ok(())
        })
    }

    /// Drops the entries from `index` on, by a record that says so. Nothing durable is
    /// overwritten: until that record is synced the old entries stand whole, after it they are
    /// gone, and a power cut in between leaves one or the other and never a mixture.
    pub fn truncate(&mut self, index: u64) -> Result<(), LogError> {
        self.guarded(|log| {
            let Some(next) = log.next.filter(|&next| index < next) else { return Ok(()) };
            let first = log.purged().map_or(0, |purged| purged.index + 1);
            if index < first {
                return Err(LogError::OutOfOrder { action: "truncate", index, next });
            }
            log.gather(Kind::Truncate, index, &[])?;
            log.changes.push(Change::Truncate(index));
            log.continues_at = Some(index);
            log.next = log.continues_at;
            Ok(())
        })
    }

    /// Notes up to where the log is committed. It is written along with the next flush or seal.
    pub fn commit(&mut self, committed: Position) {
        if self.committed().is_none_or(|known| known.index < committed.index) {
            self.state.state.committed = Some(committed);
            self.committed_is_new = true;
        }
    }

    /// Makes everything gathered durable, by one write and one fdatasync.
    pub fn flush(&mut self) -> Result<(), LogError> {
        self.guarded(|log| {
            if log.gathered.is_empty() {
                return Ok(());
            }
            log.gather_commit();
            log.write_gathered()?;
            log.prepare_early();
            Ok(())
        })
    }

    /// Makes the vote durable, after everything gathered before it.
    pub fn save_vote(&mut self, vote: Vec<u8>) -> Result<(), LogError> {
        self.guarded(|log| {
            log.write_gathered()?;
            log.state.state.vote = Some(vote);
            log.save_state()
        })
    }

    /// Forgets the entries up to `purged`, which a snapshot stands for, and removes the segments
    /// that hold nothing else. A position beyond the end moves the end there.
    pub fn purge(&mut self, purged: Position) -> Result<(), LogError> {
        self.guarded(|log| {
            let index = purged.index;
            if log.purged().is_some_and(|known| known.index >= index) {
                return Ok(());
            }
            if index > COUNT_MAX {
                return Err(LogError::UsedUp);
            }
            log.write_gathered()?;
            let useless = |span: &Span| span.highest_index.is_none_or(|highest| highest <= index);
            let removable = log.spans.iter().take(log.spans.len() - 1);
            let count = removable.take_while(|span| useless(span)).count();
            let state = &mut log.state.state;
            state.purged = Some(purged);
            state.first_segment = log.spans[count].segment;
            state.first_record = log.spans[count].first_record;
            // The purge point first: a cut between the two leaves files that the next open
            // removes, and never a hole that it cannot explain.
            log.save_state()?;
            log.next = log.next.max(Some(index + 1));
            log.entries.lock().purge(index);
            log.remove_segments(count)
        })
    }

    /// Records that everything written is durable, so that damage even to the very last record
    /// is found. For idle moments and for closing.
    pub fn seal(&mut self) -> Result<(), LogError> {
        self.guarded(|log| {
            log.write_gathered()?;
            match log.is_sealed() {
                true => Ok(()),
                false => log.save_state(),
            }
        })
    }

    /// Seals and closes the log, and frees its folder.
    pub fn close(mut self) -> Result<(), LogError> {
        self.seal()
    }

    /// Runs one step unless a step before it has failed; a failure is remembered for ever.
    fn guarded(
        &mut self,
        step: impl FnOnce(&mut Self) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        step(self).inspect_err(|error| {
            if !mutation::is_on(Mutation::FailedSyncForgotten) {
                self.failure = Some(error.clone());
            }
        })
    }

    /// Adds a record to the gathered bytes and returns its offset in the current segment.
    fn gather(&mut self, kind: Kind, index: u64, payload: &[u8]) -> Result<u32, LogError> {
        // Nothing is written that the next open would refuse.
        if index.max(self.next_number) > COUNT_MAX {
            return Err(LogError::UsedUp);
        }
        if !self.has_room(payload.len()) {
            self.roll()?;
        }
        let offset = self.tail + self.gathered.len() as u32;
        let header = Header { kind, index, number: self.next_number, durable: self.durable };
        record::encode(self.current.salt, header, payload, &mut self.gathered);
        self.next_number += 1;
        Ok(offset)
    }

    /// Lets the commit mark ride along, where it fits.
    fn gather_commit(&mut self) {
        let Some(committed) = self.state.state.committed.as_ref().filter(|_| self.committed_is_new)
        else {
            return;
        };
        if !self.has_room(committed.log_id.len()) {
            return;
        }
        let (kind, index) = (Kind::Committed, committed.index);
        let header = Header { kind, index, number: self.next_number, durable: self.durable };
        record::encode(self.current.salt, header, &committed.log_id, &mut self.gathered);
        self.next_number += 1;
        self.committed_is_new = false;
    }

    fn has_room(&self, payload_bytes: usize) -> bool {
        let used = self.tail as usize + self.gathered.len();
        used + record::length_bytes(payload_bytes) <= self.current.length_bytes as usize
    }

    fn write_gathered(&mut self) -> Result<(), LogError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let segment = &self.current;
        segment
            .file
            .write_at(&self.gathered, self.tail.into())
            .map_err(|error| LogError::disk("append to a segment", &segment.path, error))?;
        if !mutation::is_on(Mutation::SkipFsync) {
            segment
                .file
                .sync_data()
                .map_err(|error| LogError::disk("sync a segment", &segment.path, error))?;
        }
        self.tail += self.gathered.len() as u32;
        self.gathered.clear();
        self.durable = self.next_number - 1;
        self.sealed = false;
        let mut entries = self.entries.lock();
        for change in self.changes.drain(..) {
            match change {
                Change::Entry(index, location) => entries.push(index, location),
                Change::Truncate(index) => entries.truncate(index),
                Change::Jump => entries.clear(),
            }
        }
        Ok(())
    }

    fn save_state(&mut self) -> Result<(), LogError> {
        self.state.state.durable = self.durable;
        self.state.save()?;
        self.sealed = true;
        self.committed_is_new = false;
        Ok(())
    }

    /// Goes on in the next segment. The current one is synced, and the state says so and names
    /// the next one, before anything is written there.
    fn roll(&mut self) -> Result<(), LogError> {
        self.write_gathered()?;
        let number = self.current.number + 1;
        let segment = self.spare.take(&self.maker, number)?;
        assert_eq!(segment.number, number, "segments follow each other");
        self.state.state.last_segment = number;
        self.save_state()?;
        let segment = Arc::new(segment);
        self.entries.lock().add_segment(segment.clone());
        let first_record = self.next_number;
        self.spans.push_back(Span { segment: number, first_record, highest_index: None });
        self.current = segment;
        self.tail = RECORDS_OFFSET;
        Ok(())
    }

    /// Has the next segment prepared while the second half of this one is filled.
    fn prepare_early(&mut self) {
        let is_half_full = self.tail > self.current.length_bytes / 2;
        if is_half_full && self.prepare_in_background {
            self.spare.prepare(&self.maker, self.current.number + 1);
        }
    }

    fn remove_segments(&mut self, count: usize) -> Result<(), LogError> {
        if count == 0 {
            return Ok(());
        }
        for span in self.spans.drain(..count) {
            self.entries.lock().remove_segment(span.segment);
            let path = segment::path(&self.maker.folder, span.segment);
            self.maker
                .disk
                .remove(&path)
                .map_err(|error| LogError::disk("remove a purged segment", &path, error))?;
        }
        let folder = &self.maker.folder;
        self.maker
            .disk
            .sync_dir(folder)
            .map_err(|error| LogError::disk("sync the log's folder", folder, error))
    }
}

impl Drop for Log {
    /// The folder must not be freed while a thread still writes to it.
    fn drop(&mut self) {
        self.spare.wait();
    }
}
