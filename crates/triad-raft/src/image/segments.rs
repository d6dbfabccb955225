//! Files of events, one after the other: what is added is appended and synced, and what is
//! trimmed goes by whole files. A file is a row of blocks, each of some events that were added
//! together, compressed. Which of the events in them count is said by the store beside them,
//! which is written after them: what a file has beyond that was never agreed on, and is written
//! anew.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::ops::{Range, RangeInclusive};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ImageError;
use crate::history::{Bounds, Kept};

/// A file that is as long as this is not appended to.
const FILE_BYTES: u64 = 4 << 20;
/// What stands before the blocks of a file, and the layout with it.
const MAGIC: [u8; 8] = *b"TRIADEV1";
/// A block takes no more events than make this many bytes.
const BLOCK_BYTES: usize = 64 << 10;
/// No block is believed to be longer than this, unpacked: one event may be, but none as long
/// as several entries of the log.
const RAW_BYTES_MAX: usize = 16 << 20;
/// Events of a kind are much alike: the lowest level does.
const COMPRESSION_LEVEL: i32 = 1;
/// What stands before a block: see [`Head`].
const HEAD_BYTES: usize = 16;
const SUFFIX: &str = ".events";
/// Files of which it is remembered where each event begins.
const INDEXED_MAX: usize = 4;

/// The files of one image.
pub(super) struct Segments {
    folder: PathBuf,
    /// Every checksum begins with the cluster's, so that no other cluster's events fit in.
    seed: u32,
    /// By the number of their first event.
    files: BTreeMap<u64, Segment>,
    /// Where the blocks are, of the files that were read last: the newest at the end.
    indexed: VecDeque<(u64, Arc<Vec<Block>>)>,
}

/// A block that is in a file; or, at the end, the place of the next.
#[derive(Clone, Copy)]
struct Block {
    /// The number of its first event.
    first: u64,
    offset: u64,
}

/// What stands before a block, little-endian.
#[derive(Clone, Copy)]
struct Head {
    /// How long it is.
    bytes: u32,
    /// How many events are in it.
    events: u32,
    /// How long they are, with the length of each before it.
    raw_bytes: u32,
    /// Over the cluster, the number of the first event, and all of the block.
    checksum: u32,
}

/// One file.
#[derive(Clone, Copy, Debug)]
struct Segment {
    /// One past the number of its last event.
    next: u64,
    /// How long it is. One of an earlier life of the node counts as full.
    bytes: u64,
}

/// What is to be appended, and the files as they are with it.
pub(super) struct Addition {
    folder: PathBuf,
    files: BTreeMap<u64, Segment>,
    /// Bytes, and where in the file with this first event they belong.
    written: BTreeMap<u64, (u64, Vec<u8>)>,
    /// The block that is not full yet.
    open: Option<OpenBlock>,
    seed: u32,
}

struct OpenBlock {
    /// The file that it belongs to.
    file: u64,
    first: u64,
    events: u32,
    raw: Vec<u8>,
}

impl Segments {
    /// Finds the files that hold these events, and removes those that hold none of them.
    pub(super) fn open(
        folder: PathBuf,
        cluster_id: &str,
        bounds: &Bounds,
    ) -> Result<Self, ImageError> {
        let failed = |path: &Path, source| ImageError::Store { path: path.to_owned(), source };
        let made = fs::create_dir_all(&folder).and_then(|()| match folder.parent() {
            Some(parent) => File::open(parent)?.sync_all(),
            None => Ok(()),
        });
        made.map_err(|error| failed(&folder, error))?;
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, error))? {
            let found = entry.map_err(|error| failed(&folder, error))?.file_name();
            let number = found.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            numbers.extend(number.filter(|number| *found == *name(*number)));
        }
        numbers.sort_unstable();
        let seed = crc32c::crc32c(cluster_id.as_bytes());
        let mut found = Segments { folder, seed, files: BTreeMap::new(), indexed: VecDeque::new() };
        let mut behind = 0;
        for run in runs(bounds) {
            // The first may have been trimmed since.
            let may_begin = behind + 1..=*run.start();
            let Some(&begins) = numbers.iter().rfind(|number| may_begin.contains(number)) else {
                return Err(damaged(&found.path(*run.start()), "it is missing".to_owned()));
            };
            behind = *run.end();
            let mut begins = begins;
            for &number in numbers.iter().filter(|number| run.contains(number)) {
                if number > begins {
                    found.files.insert(begins, Segment { next: number, bytes: FILE_BYTES });
                    begins = number;
                }
            }
            found.files.insert(begins, Segment { next: run.end() + 1, bytes: FILE_BYTES });
        }
        for number in numbers {
            let path = found.path(number);
            if found.files.contains_key(&number) {
                found.check_beginning(&path)?;
            } else {
                fs::remove_file(&path).map_err(|error| failed(&path, error))?;
            }
        }
        Ok(found)
    }

    fn path(&self, first: u64) -> PathBuf {
        self.folder.join(name(first))
    }

    fn check_beginning(&self, path: &Path) -> Result<(), ImageError> {
        let mut magic = [0; MAGIC.len()];
        let file = File::open(path).map_err(|error| unreadable(path, error))?;
        file.read_exact_at(&mut magic, 0).map_err(|error| unreadable(path, error))?;
        match magic == MAGIC {
            true => Ok(()),
            false => Err(damaged(path, "it does not begin like a file of events".to_owned())),
        }
    }

    /// Begins an addition.
    pub(super) fn addition(&self) -> Addition {
        let (folder, files) = (self.folder.clone(), self.files.clone());
        Addition { folder, files, written: BTreeMap::new(), open: None, seed: self.seed }
    }

    /// The additions are durable, and so is what the store says of them: files in which
    /// nothing counts any more are removed.
    pub(super) fn are_now(&mut self, addition: Addition, bounds: &Bounds) {
        self.files = addition.files;
        let kept = runs(bounds);
        let counts = |first: u64, of: &Segment| {
            kept.iter().any(|run| first <= *run.end() && of.next > *run.start())
        };
        let gone: Vec<u64> = self
            .files
            .iter()
            .filter(|(first, of)| !counts(**first, of))
            .map(|(first, _)| *first)
            .collect();
        for first in gone {
            self.files.remove(&first);
            self.indexed.retain(|(indexed, _)| *indexed != first);
            // One that stays is removed at the next opening.
            let _ = fs::remove_file(self.path(first));
        }
    }

    /// Up to `count` events of these, in order. Those that are in no file are left out.
    pub(super) fn read(
        &mut self,
        numbers: RangeInclusive<u64>,
        count: usize,
    ) -> Result<Vec<Kept>, ImageError> {
        let mut events: Vec<Kept> = Vec::new();
        let mut next = *numbers.start();
        while events.len() < count && next <= *numbers.end() {
            let at = self.files.range(..=next).next_back().filter(|(_, of)| of.next > next);
            let Some((&first, of)) = at.or_else(|| self.files.range(next..).next()) else { break };
            let begin = next.max(first);
            let room = (count - events.len()) as u64;
            let end = of.next.min(numbers.end().saturating_add(1)).min(begin.saturating_add(room));
            if begin >= end {
                break;
            }
            self.read_from(first, begin, end, &mut events)?;
            next = end;
        }
        Ok(events)
    }

    /// The events from one number to before another of one file.
    fn read_from(
        &mut self,
        first: u64,
        begin: u64,
        end: u64,
        events: &mut Vec<Kept>,
    ) -> Result<(), ImageError> {
        let path = self.path(first);
        let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
        let blocks = self.index(first, end, &path, &file)?;
        let from = blocks.partition_point(|block| block.first <= begin).saturating_sub(1);
        for pair in blocks[from..].windows(2).take_while(|pair| pair[0].first < end) {
            let [block, after] = [pair[0], pair[1]];
            let mut bytes = vec![0; (after.offset - block.offset) as usize];
            file.read_exact_at(&mut bytes, block.offset)
                .map_err(|error| unreadable(&path, error))?;
            let numbers = block.first..after.first;
            let opened = unpack(self.seed, numbers.clone(), &bytes)
                .ok_or_else(|| damaged(&path, format!("the block of event {}", block.first)))?;
            let wanted = numbers.zip(opened).filter(|(number, _)| (begin..end).contains(number));
            events.extend(wanted);
        }
        Ok(())
    }

    /// Where the blocks of a file are, up to the end of the one with the last event before `end`.
    fn index(
        &mut self,
        first: u64,
        end: u64,
        path: &Path,
        file: &File,
    ) -> Result<Arc<Vec<Block>>, ImageError> {
        let known = self.indexed.iter().position(|(indexed, _)| *indexed == first);
        let known = known.and_then(|at| self.indexed.remove(at));
        let begun = || Arc::new(vec![Block { first, offset: MAGIC.len() as u64 }]);
        let mut all = known.map_or_else(begun, |(_, blocks)| blocks);
        let mut last = *all.last().expect("never empty");
        if last.first < end {
            let blocks = Arc::make_mut(&mut all);
            let length = file.metadata().map_err(|error| unreadable(path, error))?.len();
            let mut bytes = vec![0; length.saturating_sub(last.offset) as usize];
            file.read_exact_at(&mut bytes, last.offset).map_err(|error| unreadable(path, error))?;
            let mut rest = &bytes[..];
            while last.first < end {
                let head = Head::of(rest).filter(|head| head.events > 0);
                let size = head.map_or(usize::MAX, |head| HEAD_BYTES + head.bytes as usize);
                let (Some(head), Some(behind)) = (head, rest.get(size..)) else {
                    return Err(damaged(path, format!("it ends before event {}", last.first)));
                };
                rest = behind;
                let first = last.first.saturating_add(u64::from(head.events));
                last = Block { first, offset: last.offset + size as u64 };
                blocks.push(last);
            }
        }
        self.indexed.push_back((first, all.clone()));
        if self.indexed.len() > INDEXED_MAX {
            self.indexed.pop_front();
        }
        Ok(all)
    }
}

#[cfg(all(feature = "seeded-bugs", debug_assertions))]
impl Segments {
    /// Writes the file of an event anew, with another in its place.
    pub(super) fn rewrite(&mut self, number: u64, event: &[u8]) -> Result<(), ImageError> {
        let at = self.files.range(..=number).next_back().filter(|(_, of)| of.next > number);
        let (&first, &of) = at.expect("the event was read");
        let mut events = Vec::new();
        self.read_from(first, first, of.next, &mut events)?;
        self.indexed.clear();
        let mut addition = Addition { files: BTreeMap::new(), ..self.addition() };
        for (at, kept) in events {
            let event = if at == number { event } else { &kept };
            addition.append(at, event)?;
        }
        addition.write()
    }
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| {
            let word = bytes.get(at * 4..at * 4 + 4)?;
            Some(u32::from_le_bytes(word.try_into().expect("four bytes")))
        };
        let (bytes, events, raw_bytes, checksum) = (word(0)?, word(1)?, word(2)?, word(3)?);
        Some(Head { bytes, events, raw_bytes, checksum })
    }

    fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        let words = [self.bytes, self.events, self.raw_bytes, self.checksum];
        for (place, word) in out.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        out
    }
}

/// The events of a block, if it is whole, and the one with these numbers.
fn unpack(seed: u32, numbers: Range<u64>, block: &[u8]) -> Option<Vec<bytes::Bytes>> {
    let head = Head::of(block)?;
    let packed = &block[HEAD_BYTES..];
    let raw_bytes = head.raw_bytes as usize;
    if checksum(seed, numbers.start, &head, packed) != head.checksum || raw_bytes > RAW_BYTES_MAX {
        return None;
    }
    let raw = zstd::bulk::decompress(packed, raw_bytes).ok()?;
    let mut rest = &raw[..];
    let mut events = Vec::new();
    while let Some((size, behind)) = rest.split_first_chunk::<4>() {
        let (event, behind) = behind.split_at_checked(u32::from_le_bytes(*size) as usize)?;
        events.push(bytes::Bytes::copy_from_slice(event));
        rest = behind;
    }
    (events.len() as u64 == numbers.end - numbers.start).then_some(events)
}

/// A block with this head and a checksum that fits, and what is in it written once more.
#[cfg(fuzzing)]
pub(crate) fn fuzz_block(first: u64, events: u32, raw_bytes: u32, packed: &[u8]) {
    let mut head = Head { bytes: packed.len() as u32, events, raw_bytes, checksum: 0 };
    head.checksum = checksum(0, first, &head, packed);
    let numbers = first..first.saturating_add(u64::from(events));
    let block = [&head.to_bytes()[..], packed].concat();
    let Some(found) = unpack(0, numbers.clone(), &block) else { return };
    let mut raw = Vec::new();
    for event in &found {
        raw.extend_from_slice(&(event.len() as u32).to_le_bytes());
        raw.extend_from_slice(event);
    }
    let again = OpenBlock { file: first, first, events, raw }.pack(0).expect("it is in memory");
    assert_eq!(unpack(0, numbers, &again), Some(found));
}

impl OpenBlock {
    fn pack(self, seed: u32) -> io::Result<Vec<u8>> {
        let packed = zstd::bulk::compress(&self.raw, COMPRESSION_LEVEL)?;
        let (bytes, raw_bytes) = (packed.len() as u32, self.raw.len() as u32);
        let mut head = Head { bytes, events: self.events, raw_bytes, checksum: 0 };
        head.checksum = checksum(seed, self.first, &head, &packed);
        Ok([&head.to_bytes()[..], &packed].concat())
    }
}

impl Addition {
    /// Appends an event: to the file that ends before it, or to a new one.
    pub(super) fn append(&mut self, number: u64, event: &[u8]) -> Result<(), ImageError> {
        let is_full = |open: &OpenBlock| {
            open.raw.len() + event.len() > BLOCK_BYTES
                || open.first + u64::from(open.events) != number
        };
        if self.open.as_ref().is_some_and(is_full) {
            self.close_block()?;
        }
        if self.open.is_none() {
            let before = self.files.range(..number).next_back();
            let fits = before.filter(|(_, of)| of.next == number && of.bytes < FILE_BYTES);
            let file = fits.map_or(number, |(first, _)| *first);
            if fits.is_none() {
                let new = Segment { next: number, bytes: MAGIC.len() as u64 };
                self.files.insert(number, new);
                self.written.insert(number, (0, MAGIC.to_vec()));
            }
            self.open = Some(OpenBlock { file, first: number, events: 0, raw: Vec::new() });
        }
        let open = self.open.as_mut().expect("just made");
        open.events += 1;
        open.raw.extend_from_slice(&(event.len() as u32).to_le_bytes());
        open.raw.extend_from_slice(event);
        self.files.get_mut(&open.file).expect("found or made").next = number + 1;
        Ok(())
    }

    fn failed(&self, source: io::Error) -> ImageError {
        ImageError::Store { path: self.folder.clone(), source }
    }

    fn close_block(&mut self) -> Result<(), ImageError> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let file = open.file;
        let block = open.pack(self.seed).map_err(|error| self.failed(error))?;
        let of = self.files.get_mut(&file).expect("found or made");
        let (_, bytes) = self.written.entry(file).or_insert((of.bytes, Vec::new()));
        of.bytes += block.len() as u64;
        bytes.extend(block);
        Ok(())
    }

    /// Writes what was appended; durable when this returns.
    pub(super) fn write(&mut self) -> Result<(), ImageError> {
        self.close_block()?;
        let mut is_new = false;
        for (first, (offset, bytes)) in std::mem::take(&mut self.written) {
            let path = self.folder.join(name(first));
            let begins = offset == 0;
            is_new |= begins;
            let mut options = File::options();
            let file = options.write(true).create(begins).truncate(begins).open(&path);
            let written = file.and_then(|file| {
                file.write_all_at(&bytes, offset)?;
                file.sync_data()
            });
            written.map_err(|source| ImageError::Store { path, source })?;
        }
        if is_new {
            let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }
}

/// The file that begins with this event.
fn name(first: u64) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The events that count: those before the gap, and those after it.
fn runs(bounds: &Bounds) -> Vec<RangeInclusive<u64>> {
    let runs = match bounds.gap {
        None => vec![bounds.first..=bounds.last],
        Some((from, to)) => vec![bounds.first..=from - 1, (to + 1).max(bounds.first)..=bounds.last],
    };
    runs.into_iter().filter(|run| !run.is_empty()).collect()
}

fn checksum(seed: u32, first: u64, head: &Head, packed: &[u8]) -> u32 {
    let checksum = crc32c::crc32c_append(seed, &first.to_be_bytes());
    let checksum = crc32c::crc32c_append(checksum, &head.to_bytes()[..HEAD_BYTES - 4]);
    crc32c::crc32c_append(checksum, packed)
}

fn damaged(path: &Path, what: String) -> ImageError {
    ImageError::Damaged { path: path.to_owned(), what }
}

/// What cannot be read because it is not there is damage, and not a fault of the disk.
fn unreadable(path: &Path, source: io::Error) -> ImageError {
    match source.kind() {
        io::ErrorKind::NotFound => damaged(path, "it is missing".to_owned()),
        io::ErrorKind::UnexpectedEof => damaged(path, "it is too short".to_owned()),
        _ => ImageError::Store { path: path.to_owned(), source },
    }
}
