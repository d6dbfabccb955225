//! One segment file: its name, its header, and how it is made before it is used.
//!
//! A segment is written full of zeros and synced before its name appears, so that an append
//! changes no metadata and its fdatasync is a single write to the device. A finished segment is
//! removed, never used again, so that bytes of another life cannot show up in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{Damage, LogError};
use super::record::{self, read_u32};
use crate::disk::{Disk, DiskFile};

/// Where the records begin. A page of its own for the header: no append ever rewrites it.
pub(super) const RECORDS_OFFSET: u32 = 4096;

/// The smallest segment: a header and one more page.
pub(super) const SEGMENT_BYTES_MIN: u32 = 2 * RECORDS_OFFSET;

/// The largest segment; offsets are u32, and an open reads a segment into memory.
pub(super) const SEGMENT_BYTES_MAX: u32 = 1 << 30;

/// Zeros are written and synced in pieces, so that an fdatasync of the segment in use never
/// waits behind megabytes of them.
const ZERO_PIECE_BYTES: usize = 512 * 1024;

const MAGIC: [u8; 8] = *b"TRIADLOG";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 44;

/// Names a file that is not finished; found at open, it is removed.
pub(super) const UNFINISHED_SUFFIX: &str = ".new";

/// The identity a log is bound to (cluster and node); files of another owner are refused.
pub type Owner = [u8; 16];

/// A segment file that is ready for reading and writing.
#[derive(Debug)]
pub(super) struct Segment {
    pub number: u32,
    pub path: PathBuf,
    pub file: Box<dyn DiskFile>,
    pub salt: u32,
    pub length_bytes: u32,
}

/// Everything needed to make a segment, on whichever thread.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    pub disk: Arc<dyn Disk>,
    pub folder: PathBuf,
    pub owner: Owner,
    pub length_bytes: u32,
}

impl Maker {
    /// Makes segment `number`, durable and full of zeros.
    pub fn make(&self, number: u32) -> Result<Segment, LogError> {
        let path = path(&self.folder, number);
        let unfinished = self.folder.join(format!("{}{UNFINISHED_SUFFIX}", name(number)));
        let disk = |action| {
            let unfinished = &unfinished;
            move |error| LogError::disk(action, unfinished, error)
        };
        let file = self.disk.create(&unfinished).map_err(disk("create the next segment"))?;
        let length_bytes = self.length_bytes as usize;
        let mut piece = vec![0; ZERO_PIECE_BYTES.min(length_bytes)];
        piece[..HEADER_BYTES].copy_from_slice(&header(self.owner, number, self.length_bytes));
        for start in (0..length_bytes).step_by(ZERO_PIECE_BYTES) {
            let length = ZERO_PIECE_BYTES.min(length_bytes - start);
            file.write_at(&piece[..length], start as u64)
                .map_err(disk("write the next segment"))?;
            file.sync_data().map_err(disk("sync the next segment"))?;
            piece[..HEADER_BYTES].fill(0);
        }
        drop(file);
        self.disk.rename(&unfinished, &path).map_err(disk("name the next segment"))?;
        self.disk.sync_dir(&self.folder).map_err(disk("sync the folder of the next segment"))?;
        let file = self
            .disk
            .open(&path)
            .map_err(|error| LogError::disk("open the next segment", &path, error))?;
        let salt = salt(self.owner, number);
        Ok(Segment { number, path, file, salt, length_bytes: self.length_bytes })
    }

    /// Opens segment `number` and proves its length and header. Its bytes are returned too.
    pub fn open(&self, number: u32) -> Result<(Segment, Vec<u8>), LogError> {
        let path = path(&self.folder, number);
        let disk = |action| {
            let path = &path;
            move |error| LogError::disk(action, path, error)
        };
        let file = self.disk.open(&path).map_err(disk("open a segment"))?;
        let found = file.length().map_err(disk("measure a segment"))?;
        let truncated = |expected: u32| {
            let what = Damage::Truncated { expected: expected.into(), found };
            LogError::damaged(&path, found.min(expected.into()), None, what)
        };
        if found < SEGMENT_BYTES_MIN.into() {
            return Err(truncated(self.length_bytes));
        }
        let mut start = [0; HEADER_BYTES];
        file.read_at(&mut start, 0).map_err(disk("read a segment"))?;
        let length_bytes = check_header(&path, &start, self.owner, number)?;
        if found != u64::from(length_bytes) {
            return Err(truncated(length_bytes));
        }
        let mut bytes = vec![0; length_bytes as usize];
        file.read_at(&mut bytes, 0).map_err(disk("read a segment"))?;
        let salt = salt(self.owner, number);
        Ok((Segment { number, path, file, salt, length_bytes }, bytes))
    }
}

/// The path of segment `number`.
pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(name(number))
}

fn name(number: u32) -> String {
    format!("{number:010}.segment")
}

/// The number in a segment's file name; `None` for any other name.
pub(super) fn number_of(file_name: &str) -> Option<u32> {
    let number = file_name.strip_suffix(".segment")?.parse().ok()?;
    (name(number) == file_name).then_some(number)
}

/// Mixed into each checksum, so that a record is valid in its own segment only.
fn salt(owner: Owner, number: u32) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&owner), &number.to_le_bytes())
}

fn header(owner: Owner, number: u32, length_bytes: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[4..12].copy_from_slice(&MAGIC);
    header[12..16].copy_from_slice(&FORMAT.to_le_bytes());
    header[16..32].copy_from_slice(&owner);
    header[32..36].copy_from_slice(&number.to_le_bytes());
    header[36..40].copy_from_slice(&length_bytes.to_le_bytes());
    let checksum = crc32c::crc32c(&header[4..]);
    header[..4].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Proves a header and returns the length the file was made with.
fn check_header(
    path: &Path,
    header: &[u8; HEADER_BYTES],
    owner: Owner,
    number: u32,
) -> Result<u32, LogError> {
    let altered = || LogError::damaged(path, 0, None, Damage::Header);
    if crc32c::crc32c(&header[4..]) != read_u32(header, 0) || header[4..12] != MAGIC {
        return Err(altered());
    }
    let format = read_u32(header, 12);
    if format != FORMAT {
        return Err(LogError::Version { file: path.into(), found: format, known: FORMAT });
    }
    if header[16..32] != owner {
        return Err(LogError::Foreign { file: path.into() });
    }
    let length_bytes = read_u32(header, 36);
    let possible = (SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&length_bytes);
    if read_u32(header, 32) != number || !possible {
        return Err(altered());
    }
    Ok(length_bytes)
}

/// The longest payload that fits a segment of this length.
pub(super) fn payload_max_bytes(length_bytes: u32) -> usize {
    (length_bytes - RECORDS_OFFSET) as usize - record::HEADER_BYTES
}
