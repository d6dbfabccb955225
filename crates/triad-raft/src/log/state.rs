//! The `state` file: the vote, what is committed and purged, which segments exist, and up to
//! which record the log is sealed.
//!
//! The file holds two copies. A save writes and syncs the one, then the other, and is
//! acknowledged only after both. So an altered copy never takes an acknowledged vote with it
//! (the other copy has it), and a copy torn by a power cut is one that nobody was told about. Two
//! *alternating* slots could not tell these apart: an altered newest slot would look like a torn
//! one, and the node would vote a second time in the same term.

use std::path::PathBuf;
use std::sync::Arc;

use super::error::{Damage, LogError};
use super::record::{read_u32, read_u64};
use super::segment::{Owner, UNFINISHED_SUFFIX};
use crate::disk::{Disk, DiskFile};

/// The name of the file.
pub(super) const NAME: &str = "state";

/// One copy, a page: the two never share a sector.
const COPY_BYTES: usize = 4096;
const FILE_BYTES: u64 = 2 * COPY_BYTES as u64;

/// Votes and log ids are a few dozen bytes; three of this length fit a copy with room to spare.
pub(super) const FIELD_BYTES_MAX: usize = 1024;

/// The highest record and index. No log comes so far, and behind it counting goes on safely; what
/// says more was not written by this program.
pub(super) const COUNT_MAX: u64 = u64::MAX / 2;

const MAGIC: [u8; 8] = *b"TRIADSTA";
const FORMAT: u32 = 1;

/// A log index together with the encoded log id that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The log index.
    pub index: u64,
    /// The encoded log id; this layer does not look inside.
    pub log_id: Vec<u8>,
}

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Counts saves; the higher of two copies is the newer.
    pub generation: u64,
    /// The lowest segment that must exist.
    pub first_segment: u32,
    /// The number of the first record in it.
    pub first_record: u64,
    /// The highest segment that must exist; records are appended to it.
    pub last_segment: u32,
    /// Every record up to this number was synced when this was written.
    pub durable: u64,
    pub purged: Option<Position>,
    pub committed: Option<Position>,
    pub vote: Option<Vec<u8>>,
}

/// The open file and the state in it.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    owner: Owner,
    /// Where the next save writes first: over the copy that is not the newest.
    first_copy: usize,
    /// To be changed at will, and kept by [`StateFile::save`].
    pub state: State,
}

impl StateFile {
    /// Makes the file of a new log. Its existence is what says that the log was made.
    pub fn create(
        disk: &Arc<dyn Disk>,
        folder: &std::path::Path,
        owner: Owner,
        state: State,
    ) -> Result<Self, LogError> {
        let path = folder.join(NAME);
        let unfinished = folder.join(format!("{NAME}{UNFINISHED_SUFFIX}"));
        let failed = |action| {
            let path = &path;
            move |error| LogError::disk(action, path, error)
        };
        let file = disk.create(&unfinished).map_err(failed("create the state"))?;
        let mut made = Self { path: unfinished, file, owner, first_copy: 0, state };
        made.save()?;
        disk.rename(&made.path, &path).map_err(failed("name the state"))?;
        disk.sync_dir(folder).map_err(failed("sync the folder of the state"))?;
        made.file = disk.open(&path).map_err(failed("open the state"))?;
        made.path = path;
        Ok(made)
    }

    /// Opens the file and takes the newest intact copy. Nothing is written yet: the caller saves
    /// once it has proven the segments, which also makes both copies equal again.
    pub fn open(
        disk: &Arc<dyn Disk>,
        folder: &std::path::Path,
        owner: Owner,
    ) -> Result<Self, LogError> {
        let path = folder.join(NAME);
        let failed = |action| {
            let path = &path;
            move |error| LogError::disk(action, path, error)
        };
        let file = disk.open(&path).map_err(failed("open the state"))?;
        let found = file.length().map_err(failed("measure the state"))?;
        if found != FILE_BYTES {
            let what = Damage::Truncated { expected: FILE_BYTES, found };
            return Err(LogError::damaged(&path, found.min(FILE_BYTES), None, what));
        }
        let mut bytes = vec![0; 2 * COPY_BYTES];
        file.read_at(&mut bytes, 0).map_err(failed("read the state"))?;
        let (one, other) = bytes.split_at(COPY_BYTES);
        let copies = [decode(one, owner, &path)?, decode(other, owner, &path)?];
        let generation = |copy: &Option<State>| copy.as_ref().map(|state| state.generation);
        let newest = usize::from(generation(&copies[1]) > generation(&copies[0]));
        let [one, other] = copies;
        let state = if newest == 0 { one } else { other };
        let state = state.ok_or_else(|| LogError::damaged(&path, 0, None, Damage::State))?;
        Ok(Self { path, file, owner, first_copy: 1 - newest, state })
    }

    /// Makes the state durable, in both copies.
    pub fn save(&mut self) -> Result<(), LogError> {
        self.state.generation += 1;
        let copy = encode(&self.state, self.owner);
        for place in [self.first_copy, 1 - self.first_copy] {
            let offset = (place * COPY_BYTES) as u64;
            self.file
                .write_at(&copy, offset)
                .map_err(|error| LogError::disk("write the state", &self.path, error))?;
            self.file
                .sync_data()
                .map_err(|error| LogError::disk("sync the state", &self.path, error))?;
        }
        self.first_copy = 0;
        Ok(())
    }
}

fn encode(state: &State, owner: Owner) -> Vec<u8> {
    let mut copy = Vec::with_capacity(COPY_BYTES);
    copy.extend_from_slice(&[0; 4]);
    copy.extend_from_slice(&MAGIC);
    copy.extend_from_slice(&FORMAT.to_le_bytes());
    copy.extend_from_slice(&owner);
    copy.extend_from_slice(&state.generation.to_le_bytes());
    copy.extend_from_slice(&state.first_record.to_le_bytes());
    copy.extend_from_slice(&state.durable.to_le_bytes());
    copy.extend_from_slice(&state.first_segment.to_le_bytes());
    copy.extend_from_slice(&state.last_segment.to_le_bytes());
    for position in [&state.purged, &state.committed] {
        let index = position.as_ref().map_or(0, |position| position.index);
        copy.extend_from_slice(&index.to_le_bytes());
        put_field(&mut copy, position.as_ref().map(|position| position.log_id.as_slice()));
    }
    put_field(&mut copy, state.vote.as_deref());
    assert!(copy.len() <= COPY_BYTES, "the state fits its copy");
    copy.resize(COPY_BYTES, 0);
    let checksum = crc32c::crc32c(&copy[4..]);
    copy[..4].copy_from_slice(&checksum.to_le_bytes());
    copy
}

/// A length one above the field's own; 0 says that there is none.
fn put_field(copy: &mut Vec<u8>, field: Option<&[u8]>) {
    let length = field.map_or(0, |field| field.len() + 1);
    assert!(length <= FIELD_BYTES_MAX + 1, "votes and log ids are short");
    copy.extend_from_slice(&(length as u32).to_le_bytes());
    copy.extend_from_slice(field.unwrap_or_default());
}

/// Reads one copy; `None` when it is not intact.
fn decode(copy: &[u8], owner: Owner, path: &std::path::Path) -> Result<Option<State>, LogError> {
    if crc32c::crc32c(&copy[4..]) != read_u32(copy, 0) || copy[4..12] != MAGIC {
        return Ok(None);
    }
    let format = read_u32(copy, 12);
    if format != FORMAT {
        return Err(LogError::Version { file: path.into(), found: format, known: FORMAT });
    }
    if copy[16..32] != owner {
        return Err(LogError::Foreign { file: path.into() });
    }
    let mut rest = Fields { copy, offset: 64 };
    let (Some(purged), Some(committed), Some(vote)) =
        (rest.position(), rest.position(), rest.field())
    else {
        return Ok(None);
    };
    let state = State {
        generation: read_u64(copy, 32),
        first_record: read_u64(copy, 40),
        durable: read_u64(copy, 48),
        first_segment: read_u32(copy, 56),
        last_segment: read_u32(copy, 60),
        purged,
        committed,
        vote,
    };
    Ok(state.is_possible().then_some(state))
}

impl State {
    /// Whether a log can be in it. The checksum says only that somebody wrote it.
    fn is_possible(&self) -> bool {
        let index = |position: &Option<Position>| position.as_ref().map_or(0, |p| p.index);
        let counts = [self.first_record, index(&self.purged), index(&self.committed)];
        (1..=self.last_segment).contains(&self.first_segment)
            && self.first_record > 0
            && self.generation < u64::MAX
            && counts.into_iter().all(|count| count <= COUNT_MAX)
    }
}

/// The fields of variable length, in a copy whose checksum was proven. `None`: not such a field.
struct Fields<'a> {
    copy: &'a [u8],
    offset: usize,
}

impl Fields<'_> {
    fn field(&mut self) -> Option<Option<Vec<u8>>> {
        let length = read_u32(self.copy, self.offset) as usize;
        if length > FIELD_BYTES_MAX + 1 {
            return None;
        }
        let start = self.offset + 4;
        let end = start + length.saturating_sub(1);
        self.offset = end;
        Some((length > 0).then(|| self.copy[start..end].to_vec()))
    }

    fn position(&mut self) -> Option<Option<Position>> {
        let index = read_u64(self.copy, self.offset);
        self.offset += 8;
        Some(self.field()?.map(|log_id| Position { index, log_id }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::RealDisk;

    const OWNER: Owner = [3; 16];

    fn sample() -> State {
        State {
            generation: 4,
            first_segment: 2,
            first_record: 70,
            last_segment: 5,
            durable: 99,
            purged: Some(Position { index: 8, log_id: b"eight".to_vec() }),
            committed: None,
            vote: Some(Vec::new()),
        }
    }

    #[test]
    fn a_state_comes_back_as_saved() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        StateFile::create(&disk, folder.path(), OWNER, sample()).unwrap();
        let read = StateFile::open(&disk, folder.path(), OWNER).unwrap().state;
        assert_eq!(read, State { generation: 5, ..sample() });
        let foreign = StateFile::open(&disk, folder.path(), [4; 16]).unwrap_err();
        assert!(matches!(foreign, LogError::Foreign { .. }), "{foreign}");
    }

    #[test]
    fn one_altered_copy_is_replaced_by_the_other_and_two_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        StateFile::create(&disk, folder.path(), OWNER, sample()).unwrap();
        let file = disk.open(&folder.path().join(NAME)).unwrap();
        for copy in [0, 1] {
            file.write_at(b"!", (copy * COPY_BYTES + 300) as u64).unwrap();
            let mut opened = StateFile::open(&disk, folder.path(), OWNER).unwrap();
            assert_eq!(opened.state.vote, Some(Vec::new()));
            opened.save().unwrap();
        }
        file.write_at(b"!", 300).unwrap();
        file.write_at(b"!", 300 + COPY_BYTES as u64).unwrap();
        let refused = StateFile::open(&disk, folder.path(), OWNER).unwrap_err();
        assert!(refused.to_string().contains("both copies"), "{refused}");
        file.set_length(5000).unwrap();
        let refused = StateFile::open(&disk, folder.path(), OWNER).unwrap_err();
        assert!(refused.to_string().contains("TRUNCATED"), "{refused}");
    }

    #[test]
    fn what_no_log_can_be_in_is_refused_whatever_its_checksum_says() {
        let far = Some(Position { index: u64::MAX, log_id: Vec::new() });
        let states = [
            State { first_segment: 6, ..sample() },
            State { first_segment: 0, ..sample() },
            State { first_record: 0, ..sample() },
            State { first_record: u64::MAX, ..sample() },
            State { purged: far.clone(), ..sample() },
            State { committed: far, ..sample() },
        ];
        for state in states {
            let folder = tempfile::tempdir().unwrap();
            let disk: Arc<dyn Disk> = Arc::new(RealDisk);
            StateFile::create(&disk, folder.path(), OWNER, state.clone()).unwrap();
            let refused = StateFile::open(&disk, folder.path(), OWNER).unwrap_err();
            assert!(refused.to_string().contains("both copies"), "{state:?}: {refused}");
        }
    }

    #[test]
    fn a_field_longer_than_its_copy_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        StateFile::create(&disk, folder.path(), OWNER, sample()).unwrap();
        let file = disk.open(&folder.path().join(NAME)).unwrap();
        let mut copy = encode(&sample(), OWNER);
        copy[72..76].copy_from_slice(&u32::MAX.to_le_bytes());
        let checksum = crc32c::crc32c(&copy[4..]);
        copy[..4].copy_from_slice(&checksum.to_le_bytes());
        for place in [0, COPY_BYTES] {
            file.write_at(&copy, place as u64).unwrap();
        }
        let refused = StateFile::open(&disk, folder.path(), OWNER).unwrap_err();
        assert!(refused.to_string().contains("both copies"), "{refused}");
    }
}
