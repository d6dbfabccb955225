//! What the log looks like to its readers: bounds, marks, and the newest entries in memory.
//!
//! An entry is readable here as soon as it is appended, long before it is durable. What has
//! fallen out of memory is on disk, and [`EntryReader`] knows where.

use std::collections::VecDeque;
use std::ops::Range;

use super::entries::{EntryReader, Found};
use super::error::LogError;
use super::state::Position;
use crate::types::{Entry, LogId, Vote};

/// Entries kept in memory, by their bytes on disk: some seconds of a busy cluster, so that a
/// follower that keeps up, and the ledger, never read the disk.
const RECENT_BYTES_MAX: usize = 1024 * 1024;

/// The log as its readers see it. Every change is made here first and queued after.
#[derive(Debug)]
pub(super) struct View {
    /// The lowest index that may be read.
    first: u64,
    pub last: Option<LogId>,
    pub purged: Option<LogId>,
    pub vote: Option<Vote>,
    pub committed: Option<LogId>,
    /// The commit mark for the next flush.
    pub unwritten_commit: Option<Position>,
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    /// Entries from here on are in `recent`.
    recent_first: u64,
    appended: u64,
    flushed: u64,
}

#[derive(Debug)]
struct Recent {
    entry: Entry,
    length_bytes: usize,
    /// Which append brought it. An index does not tell: it may be truncated and come again.
    ordinal: u64,
}

/// An entry of a range: at hand, or to be read.
#[derive(Debug)]
pub(super) enum Piece {
    Recent(Entry),
    OnDisk(Found),
}

impl View {
    /// The view of a log that was just opened; nothing of it is in memory yet.
    pub fn new(first: u64, last: Option<LogId>, purged: Option<LogId>) -> Self {
        let next = last.map_or(first, |last| last.index() + 1);
        Self {
            first,
            last,
            purged,
            vote: None,
            committed: None,
            unwritten_commit: None,
            recent: VecDeque::new(),
            recent_bytes: 0,
            recent_first: next,
            appended: 0,
            flushed: 0,
        }
    }

    fn next(&self) -> u64 {
        self.last.map_or(self.first, |last| last.index() + 1)
    }

    /// Adds entries, each with its bytes on disk, and returns the ordinal of this append.
    pub fn append(
        &mut self,
        entries: impl Iterator<Item = (Entry, usize)>,
    ) -> Result<u64, LogError> {
        self.appended += 1;
        for (entry, length_bytes) in entries {
            let index = entry.log_id.index();
            match self.last {
                Some(last) if last.index() + 1 != index => {
                    let next = last.index() + 1;
                    return Err(LogError::OutOfOrder { action: "append", index, next });
                }
                Some(_) => {}
                None => self.first = index,
            }
            if self.recent.is_empty() {
                self.recent_first = index;
            }
            self.last = Some(entry.log_id);
            self.recent_bytes += length_bytes;
            self.recent.push_back(Recent { entry, length_bytes, ordinal: self.appended });
        }
        Ok(self.appended)
    }

    /// Drops the entries after `last` and returns the first index dropped, if there is one.
    pub fn truncate(&mut self, last: Option<LogId>) -> Option<u64> {
        let from = last.map_or(self.first, |last| last.index() + 1);
        if from >= self.next() {
            return None;
        }
        while self.recent.back().is_some_and(|recent| recent.entry.log_id.index() >= from) {
            let dropped = self.recent.pop_back().expect("the back was just seen");
            self.recent_bytes -= dropped.length_bytes;
        }
        self.recent_first = self.recent_first.min(from);
        self.last = last.or(self.purged);
        Some(from)
    }

    /// Drops the entries up to `purged`; false when they were dropped before.
    pub fn purge(&mut self, purged: LogId) -> bool {
        let index = purged.index();
        if self.purged.is_some_and(|known| known.index() >= index) {
            return false;
        }
        while self.recent.front().is_some_and(|recent| recent.entry.log_id.index() <= index) {
            self.forget_oldest();
        }
        self.purged = Some(purged);
        self.first = index + 1;
        self.recent_first = self.recent_first.max(self.first);
        if self.last.is_none_or(|last| last.index() < index) {
            self.last = Some(purged);
        }
        true
    }

    /// Notes that all appends up to `ordinal` are on disk, and frees memory.
    pub fn flushed(&mut self, ordinal: u64) {
        self.flushed = ordinal;
        while self.recent_bytes > RECENT_BYTES_MAX
            && self.recent.front().is_some_and(|recent| recent.ordinal <= self.flushed)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.recent.pop_front() {
            self.recent_bytes -= oldest.length_bytes;
            self.recent_first = oldest.entry.log_id.index() + 1;
        }
    }

    /// The entries of `range` that the log has, as of now. At least one, then no more than
    /// `bytes_max` of them.
    pub fn pieces(&self, range: Range<u64>, bytes_max: usize, on_disk: &EntryReader) -> Vec<Piece> {
        let range = range.start.max(self.first)..range.end.min(self.next());
        let mut pieces = Vec::new();
        let mut bytes = 0;
        for index in range {
            let (piece, length_bytes) = match index.checked_sub(self.recent_first) {
                Some(place) => {
                    let recent = &self.recent[place as usize];
                    (Piece::Recent(recent.entry.clone()), recent.length_bytes)
                }
                None => {
                    let found = on_disk.locate(index);
                    let found = found.expect("what is not in memory is on disk");
                    let length_bytes = found.length_bytes();
                    (Piece::OnDisk(found), length_bytes)
                }
            };
            bytes += length_bytes;
            if bytes > bytes_max && !pieces.is_empty() {
                break;
            }
            pieces.push(piece);
        }
        pieces
    }
}
