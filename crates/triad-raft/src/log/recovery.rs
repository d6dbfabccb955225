//! Opening a log: every byte is read and proven, and only a torn, unacknowledged tail is cut.
//!
//! At most one write is in flight at a time, and each record carries the number of the last
//! record that was synced before it. So after a power cut the bad bytes belong to that one
//! write, and no intact record behind them can say that they were durable. If one does, or if
//! the log ends below the sealed mark, acknowledged bytes are gone and the log is refused.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::entries::{Entries, Location};
use super::error::{Damage, LogError};
use super::record::{self, Kind, Record};
use super::segment::{self, Maker, RECORDS_OFFSET, Segment, UNFINISHED_SUFFIX};
use super::state::{self, COUNT_MAX, FIELD_BYTES_MAX, Position, State, StateFile};

/// The lock file's name.
pub(super) const LOCK_NAME: &str = "lock";

/// One segment in use, as far as purging must know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub segment: u32,
    pub first_record: u64,
    /// The highest index of any entry ever written to it, dropped ones included.
    pub highest_index: Option<u64>,
}

/// A log that was read and proven.
#[derive(Debug)]
pub(super) struct Recovered {
    pub state: StateFile,
    pub entries: Entries,
    pub spans: VecDeque<Span>,
    /// The segment that is appended to, and where.
    pub current: Arc<Segment>,
    pub tail: u32,
    pub next_number: u64,
    /// The index that the next entry record must have; any, in a log without entries.
    pub continues_at: Option<u64>,
    /// A segment that was prepared and not yet used.
    pub spare: Option<Segment>,
}

/// Opens the log in `maker.folder`, or makes it where `create` allows that.
pub(super) fn open(maker: &Maker, create: bool) -> Result<Recovered, LogError> {
    let names = list(maker)?;
    let state_file = match names.state {
        true => StateFile::open(&maker.disk, &maker.folder, maker.owner)?,
        false => make(maker, &names.segments, create)?,
    };
    let state = &state_file.state;
    let (first, last) = (state.first_segment, state.last_segment);
    let spare = take_spare(maker, &names.segments, last)?;

    let mut scan = Scan::new(state);
    let mut tail = RECORDS_OFFSET;
    for number in first..=last {
        if !names.segments.contains(&number) && names.state {
            let path = segment::path(&maker.folder, number);
            return Err(LogError::damaged(&path, 0, None, Damage::Missing));
        }
        let (segment, bytes) = maker.open(number)?;
        let segment = Arc::new(segment);
        tail = scan.records(&segment, &bytes)?;
        scan.rest(&segment, &bytes, tail, number == last)?;
        if number == last {
            scan.prove_end()?;
            secure_tail(&segment, &bytes, tail, scan.unsynced.front().copied())?;
        }
        scan.current = Some(segment);
    }
    remove_leftovers(maker, &names, first)?;
    let Scan { entries, spans, committed, next_number, continues_at, current, .. } = scan;
    let mut state_file = state_file;
    state_file.state.committed = committed;
    state_file.state.durable = next_number - 1;
    state_file.save()?;
    let current = current.expect("a log has at least one segment");
    let state = state_file;
    Ok(Recovered { state, entries, spans, current, tail, next_number, continues_at, spare })
}

/// What lies in the folder.
struct Names {
    state: bool,
    segments: Vec<u32>,
    unfinished: Vec<PathBuf>,
}

fn list(maker: &Maker) -> Result<Names, LogError> {
    let folder = &maker.folder;
    let names = maker
        .disk
        .list(folder)
        .map_err(|error| LogError::disk("list the log's folder", folder, error))?;
    let mut found = Names { state: false, segments: Vec::new(), unfinished: Vec::new() };
    for name in names {
        if name == state::NAME {
            found.state = true;
        } else if let Some(number) = segment::number_of(&name) {
            found.segments.push(number);
        } else if name.ends_with(UNFINISHED_SUFFIX) {
            found.unfinished.push(folder.join(name));
        } else if name != LOCK_NAME {
            let path = folder.join(name);
            return Err(LogError::damaged(&path, 0, None, Damage::Unexpected));
        }
    }
    Ok(found)
}

/// Makes a new log. Its state file comes last, so a folder without one is either new, or its
/// making was cut short (then its only segment is untouched), or it lost its state.
fn make(maker: &Maker, segments: &[u32], create: bool) -> Result<StateFile, LogError> {
    let untouched = match segments {
        [] => true,
        [1] => is_zero(&maker.open(1)?.1[RECORDS_OFFSET as usize..]),
        _ => false,
    };
    if !create || !untouched {
        let path = maker.folder.join(state::NAME);
        return Err(LogError::damaged(&path, 0, None, Damage::Missing));
    }
    maker.make(1)?;
    let state = State { first_segment: 1, first_record: 1, last_segment: 1, ..State::default() };
    StateFile::create(&maker.disk, &maker.folder, maker.owner, state)
}

/// The prepared segment behind the last one. It was never written to, or the state is too old.
fn take_spare(maker: &Maker, segments: &[u32], last: u32) -> Result<Option<Segment>, LogError> {
    let Some(&highest) = segments.iter().max().filter(|&&highest| highest > last) else {
        return Ok(None);
    };
    let unexpected = || {
        let path = segment::path(&maker.folder, highest);
        LogError::damaged(&path, 0, None, Damage::Unexpected)
    };
    if highest != last + 1 {
        return Err(unexpected());
    }
    let (segment, bytes) = maker.open(highest)?;
    match is_zero(&bytes[RECORDS_OFFSET as usize..]) {
        true => Ok(Some(segment)),
        false => Err(unexpected()),
    }
}

/// Makes sure that the tail is on the disk and not only in the kernel's cache: what was read may
/// have been written by a process that was killed before its sync, or whose sync failed. So the
/// last write is repeated, the torn rest is zeroed, and both are synced.
fn secure_tail(
    segment: &Segment,
    bytes: &[u8],
    tail: u32,
    unsynced: Option<(u64, u32)>,
) -> Result<(), LogError> {
    let failed = |action| move |error| LogError::disk(action, &segment.path, error);
    if let Some((_, start)) = unsynced {
        segment
            .file
            .write_at(&bytes[start as usize..tail as usize], start.into())
            .map_err(failed("repeat the last write"))?;
    }
    let torn_bytes = length_without_zeros(&bytes[tail as usize..]);
    if torn_bytes > 0 {
        tracing::warn!(
            file = %segment.path.display(), offset = tail, length_bytes = torn_bytes,
            "cut an unacknowledged write that was torn"
        );
        segment
            .file
            .write_at(&vec![0; torn_bytes], tail.into())
            .map_err(failed("zero a torn write"))?;
    }
    segment.file.sync_data().map_err(failed("sync a segment"))
}

/// Removes what an interrupted purge or preparation has left.
fn remove_leftovers(maker: &Maker, names: &Names, first: u32) -> Result<(), LogError> {
    let purged = names.segments.iter().filter(|&&number| number < first);
    let mut leftovers: Vec<PathBuf> =
        purged.map(|&number| segment::path(&maker.folder, number)).collect();
    leftovers.extend(names.unfinished.iter().cloned());
    for path in &leftovers {
        match maker.disk.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(LogError::disk("remove a leftover file", path, error));
            }
            _ => {}
        }
    }
    let folder = &maker.folder;
    maker
        .disk
        .sync_dir(folder)
        .map_err(|error| LogError::disk("sync the log's folder", folder, error))
}

/// Reading all records in order.
struct Scan {
    purged_index: Option<u64>,
    entries: Entries,
    spans: VecDeque<Span>,
    committed: Option<Position>,
    next_number: u64,
    continues_at: Option<u64>,
    /// The highest number known to have been synced, from any source.
    durable: u64,
    /// Number and offset of the records of this segment that nothing yet says were synced.
    unsynced: VecDeque<(u64, u32)>,
    current: Option<Arc<Segment>>,
    /// Where the last intact record ends: what is missing is missing there.
    end: (PathBuf, u32),
}

impl Scan {
    fn new(state: &State) -> Self {
        Self {
            purged_index: state.purged.as_ref().map(|purged| purged.index),
            entries: Entries::default(),
            spans: VecDeque::new(),
            committed: state.committed.clone(),
            next_number: state.first_record,
            continues_at: None,
            durable: state.durable,
            unsynced: VecDeque::new(),
            current: None,
            end: (PathBuf::new(), RECORDS_OFFSET),
        }
    }

    /// Reads the intact records of a segment and returns where they end.
    fn records(&mut self, segment: &Arc<Segment>, bytes: &[u8]) -> Result<u32, LogError> {
        self.entries.add_segment(segment.clone());
        let first_record = self.next_number;
        let number = segment.number;
        self.spans.push_back(Span { segment: number, first_record, highest_index: None });
        // The segments before it were synced before it was begun.
        self.unsynced.clear();
        if self.end.0.as_os_str().is_empty() {
            self.end.0 = segment.path.clone();
        }
        let mut offset = RECORDS_OFFSET;
        while let Some(record) = record::decode(segment.salt, &bytes[offset as usize..]) {
            self.record(segment, offset, &record)?;
            offset += u32::try_from(record.length_bytes).expect("a record fits a segment");
            self.end = (segment.path.clone(), offset);
        }
        Ok(offset)
    }

    fn record(
        &mut self,
        segment: &Segment,
        offset: u32,
        record: &Record<'_>,
    ) -> Result<(), LogError> {
        let header = &record.header;
        let gap = |expected: String, found: String| {
            let what = Damage::Gap { expected, found };
            LogError::damaged(&segment.path, offset.into(), Some(header.index), what)
        };
        if header.number != self.next_number {
            let expected = format!("record {}", self.next_number);
            return Err(gap(expected, format!("record {}", header.number)));
        }
        if header.index > COUNT_MAX {
            let expected = format!("an index up to {COUNT_MAX}");
            return Err(gap(expected, header.index.to_string()));
        }
        let continues_at = self.continues_at.unwrap_or(header.index);
        match header.kind {
            Kind::Entry => {
                if header.index != continues_at {
                    let expected = format!("entry {continues_at}");
                    return Err(gap(expected, format!("entry {}", header.index)));
                }
                let length_bytes = record.length_bytes as u32;
                let location = Location { segment: segment.number, offset, length_bytes };
                self.entries.push(header.index, location);
                let span = self.spans.back_mut().expect("a record lies in a segment");
                span.highest_index = span.highest_index.max(Some(header.index));
                self.continues_at = Some(header.index + 1);
            }
            Kind::Truncate => {
                if header.index > continues_at {
                    let expected = format!("a truncation at {continues_at} or before");
                    return Err(gap(expected, format!("one at {}", header.index)));
                }
                self.entries.truncate(header.index);
                self.continues_at = Some(header.index);
            }
            Kind::Jump => {
                if self.purged_index.is_none_or(|purged| purged + 1 < header.index) {
                    let expected = format!("entry {continues_at}");
                    return Err(gap(expected, format!("a jump to {}", header.index)));
                }
                self.entries.clear();
                self.continues_at = Some(header.index);
            }
            Kind::Committed => {
                if record.payload.len() > FIELD_BYTES_MAX {
                    let expected = format!("a log id of up to {FIELD_BYTES_MAX} bytes");
                    return Err(gap(expected, format!("{} bytes", record.payload.len())));
                }
                let known = self.committed.as_ref().map(|committed| committed.index);
                if known <= Some(header.index) {
                    let log_id = record.payload.to_vec();
                    self.committed = Some(Position { index: header.index, log_id });
                }
            }
        }
        self.durable = self.durable.max(header.durable);
        self.unsynced.push_back((header.number, offset));
        while self.unsynced.front().is_some_and(|&(number, _)| number <= self.durable) {
            self.unsynced.pop_front();
        }
        self.next_number += 1;
        Ok(())
    }

    /// Judges the bytes behind the last intact record of a segment.
    fn rest(
        &mut self,
        segment: &Segment,
        bytes: &[u8],
        tail: u32,
        is_last: bool,
    ) -> Result<(), LogError> {
        let rest = &bytes[tail as usize..];
        if is_zero(rest) {
            return Ok(());
        }
        let later = record::durable_in_rubble(segment.salt, rest, self.next_number - 1);
        let was_durable = later.is_some_and(|durable| durable >= self.next_number);
        // A segment is synced before the next one is begun, so nothing in it can be torn.
        if was_durable || !is_last {
            return Err(LogError::damaged(
                &segment.path,
                tail.into(),
                self.continues_at,
                Damage::Checksum,
            ));
        }
        Ok(())
    }

    /// Proves that nothing is missing at the end, and drops what is purged.
    fn prove_end(&mut self) -> Result<(), LogError> {
        let (path, offset) = &self.end;
        let next = self.next_number;
        if self.durable >= next {
            let what = Damage::Lost { durable: self.durable, next };
            return Err(LogError::damaged(path, (*offset).into(), self.continues_at, what));
        }
        if let Some(purged) = self.purged_index {
            self.entries.purge(purged);
            // Without entries it is the next one that must follow the purged ones.
            let first = self.entries.first().or(self.continues_at);
            if let Some(first) = first.filter(|&first| first > purged + 1) {
                let what = Damage::Gap {
                    expected: format!("entry {}", purged + 1),
                    found: format!("entry {first}"),
                };
                return Err(LogError::damaged(path, 0, Some(purged + 1), what));
            }
        }
        Ok(())
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    length_without_zeros(bytes) == 0
}

/// The length without the zeros at the end, mostly megabytes: compared by the
/// page, which a start is not held up by.
fn length_without_zeros(bytes: &[u8]) -> usize {
    static ZEROS: [u8; 4096] = [0; 4096];
    let mut end = bytes.len();
    while end > 0 {
        let start = end.saturating_sub(ZEROS.len());
        let page = &bytes[start..end];
        if *page != ZEROS[..page.len()] {
            let last = page.iter().rposition(|&byte| byte != 0);
            return last.map_or(start, |last| start + last + 1);
        }
        end = start;
    }
    0
}
