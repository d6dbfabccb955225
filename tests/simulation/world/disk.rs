//! A disk that keeps, at a power cut, what was synced, and of the rest each
//! sector and each name by the dice; and that can be full, slow, or damaged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use triad_raft::disk::{DirectoryLock, Disk, DiskFile};

/// What a device writes in one piece.
const SECTOR_BYTES: usize = 512;
/// How often a byte is looked for that is worth altering.
const CORRUPTION_TRIES: usize = 2_000;

#[derive(Clone, Debug, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, Content>,
    durable_names: BTreeMap<PathBuf, Content>,
    unsynced_names: Vec<NameChange>,
    locks: BTreeSet<PathBuf>,
    /// Operations that still succeed before the power goes, and what happens
    /// then.
    fuse: Option<(u64, Box<dyn FnOnce() + Send>)>,
    is_off: bool,
    capacity_bytes: Option<usize>,
    /// How long a sync of the log takes.
    sync_delay: Duration,
    /// The next sync fails, and what it was to keep is gone.
    sync_fails: bool,
    /// A file was synced by a process that had been told that this cannot be.
    goes_on: bool,
    /// Something was refused since the disk was last mended.
    has_failed: bool,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedDisk").field("files", &self.names.len()).finish_non_exhaustive()
    }
}

type Content = Arc<Mutex<Bytes>>;

#[derive(Debug, Default)]
struct Bytes {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: BTreeSet<usize>,
    /// Where what was last synced begins.
    last_synced: usize,
    /// A sync of it failed, and whoever asked for it was told.
    is_broken: bool,
}

#[derive(Clone)]
enum NameChange {
    Add(PathBuf, Content),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<PathBuf, Content>) {
        match self {
            Self::Add(path, content) => {
                names.insert(path, content);
            }
            Self::Remove(path) => {
                names.remove(&path);
            }
            Self::Rename(from, to) => {
                if let Some(content) = names.remove(&from) {
                    names.insert(to, content);
                }
            }
        }
    }
}

fn bytes_of(content: &Content) -> MutexGuard<'_, Bytes> {
    content.lock().expect("no panic while held")
}

impl SimulatedDisk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while held")
    }

    /// Writes a file that is there from the beginning.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let content = Bytes { live: bytes.into(), durable: bytes.into(), ..Bytes::default() };
        let content = Arc::new(Mutex::new(content));
        let mut state = self.state();
        state.names.insert(path.to_owned(), content.clone());
        state.durable_names.insert(path.to_owned(), content);
        let folders = path.ancestors().skip(1).map(Path::to_owned);
        state.folders.extend(folders);
    }

    /// The power goes after so many operations more, in the middle of one.
    pub fn cut_after(&self, operations: u64, then: impl FnOnce() + Send + 'static) {
        self.state().fuse = Some((operations, Box::new(then)));
    }

    /// The power does not go after all, unless it has gone.
    pub fn keep_power(&self) {
        self.state().fuse = None;
    }

    /// Whether the power has gone by itself.
    pub fn is_off(&self) -> bool {
        self.state().is_off
    }

    /// Whether it refused anything since it was last mended.
    pub fn has_failed(&self) -> bool {
        self.state().has_failed
    }

    /// The power was cut: what was not synced is there or not. The process must
    /// be gone.
    pub fn lose_unsynced(&self, dice: &mut StdRng) {
        let state = &mut *self.state();
        for change in std::mem::take(&mut state.unsynced_names) {
            if dice.random() {
                change.apply(&mut state.durable_names);
            }
        }
        state.names = state.durable_names.clone();
        for content in state.names.values() {
            bytes_of(content).lose_unsynced(dice);
        }
        (state.fuse, state.is_off, state.has_failed) = (None, false, false);
        assert!(state.locks.is_empty(), "the process that held the lock is gone");
    }

    /// The disk was exchanged for an empty one.
    pub fn wipe(&self) {
        let state = &mut *self.state();
        state.names.clear();
        state.durable_names.clear();
        state.unsynced_names.clear();
        state.folders.clear();
    }

    /// No room is left but for what has room already; or there is room again.
    pub fn fill(&self, full: bool) {
        let mut state = self.state();
        let used = state.names.values().map(|content| bytes_of(content).live.len()).sum();
        state.capacity_bytes = full.then_some(used);
    }

    /// Syncs take so long from now on.
    pub fn slow_down(&self, sync_delay: Duration) {
        self.state().sync_delay = sync_delay;
    }

    /// The next sync fails, and what it was to keep is gone.
    pub fn fail_next_sync(&self, fails: bool) {
        self.state().sync_fails = fails;
    }

    /// A process has synced a file again after a sync of it had failed.
    pub fn goes_on(&self) -> bool {
        self.state().goes_on
    }

    /// Alters bits of one byte that was synced, most likely of one that means
    /// something, and not of a log's last write. Says where.
    pub fn corrupt(&self, dice: &mut StdRng) -> Option<(PathBuf, usize)> {
        let state = self.state();
        let files: Vec<_> = state.durable_names.iter().collect();
        for _ in 0..CORRUPTION_TRIES {
            let (path, content) = *files.choose(dice)?;
            let mut content = bytes_of(content);
            if content.durable.is_empty() {
                continue;
            }
            let at = dice.random_range(0..content.durable.len());
            // Until something says that it was synced, the last write to a log that is altered looks
            // like one that was torn, and is cut.
            if path.extension().is_some_and(|is| is == "segment") && at >= content.last_synced {
                continue;
            }
            if content.durable[at] == 0 && dice.random_range(0..50) > 0 {
                continue;
            }
            let flipped = dice.random_range(1..=255_u8);
            content.durable[at] ^= flipped;
            if let Some(live) = content.live.get_mut(at) {
                *live ^= flipped;
            }
            return Some((path.clone(), at));
        }
        None
    }

    /// A process begins on it: what was refused before is no excuse any more.
    pub fn forgive(&self) {
        let mut state = self.state();
        state.has_failed = false;
        for content in state.names.values() {
            bytes_of(content).is_broken = false;
        }
    }
}

impl Bytes {
    fn lose_unsynced(&mut self, dice: &mut StdRng) {
        for sector in std::mem::take(&mut self.unsynced) {
            if dice.random() {
                self.keep(sector);
            }
        }
        self.live.clone_from(&self.durable);
    }

    fn keep(&mut self, sector: usize) {
        let start = sector * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(self.live.len());
        if start >= end {
            return;
        }
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&self.live[start..end]);
    }

    fn sync(&mut self) {
        if let Some(first) = self.unsynced.first() {
            self.last_synced = first * SECTOR_BYTES;
        }
        for sector in std::mem::take(&mut self.unsynced) {
            self.keep(sector);
        }
        self.durable.resize(self.live.len(), 0);
    }
}

impl State {
    /// Spends one operation.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.fuse {
            Some((0, _)) => {
                let (_, then) = self.fuse.take().expect("just seen");
                self.is_off = true;
                then();
            }
            Some((left, _)) => *left -= 1,
            None => {}
        }
        if self.is_off {
            self.has_failed = true;
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<Content> {
        self.names.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimulatedDisk {
    fn create_dir(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        // A folder without files in it is of no use to anybody here, so that
        // folders may be durable at once.
        state.folders.extend(folder.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state();
        state.step()?;
        if !state.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().chain(&state.folders);
        let inside = inside.filter(|path| path.parent() == Some(folder));
        let names = inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()));
        let names: BTreeSet<String> = names.collect();
        Ok(names.into_iter().collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.step()?;
        let content = state.find(path)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), content }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.step()?;
        let content = Content::default();
        state.change(NameChange::Add(path.to_owned(), content.clone()));
        Ok(Box::new(SimulatedFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.find(from)?;
        state.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        state.find(path)?;
        state.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step()?;
        let inside = |path: &Path| path.parent() == Some(folder);
        let (synced, rest) = std::mem::take(&mut state.unsynced_names).into_iter().partition(
            |change| match change {
                NameChange::Add(path, _) | NameChange::Remove(path) => inside(path),
                NameChange::Rename(from, _) => inside(from),
            },
        );
        let synced: Vec<NameChange> = synced;
        state.unsynced_names = rest;
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        Ok(())
    }

    fn sync_delay(&self) -> Duration {
        self.state().sync_delay
    }

    fn lock_dir(&self, folder: &Path, _name: &str) -> io::Result<Box<dyn DirectoryLock>> {
        let mut state = self.state();
        if !state.locks.insert(folder.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(Lock { disk: self.clone(), folder: folder.to_owned() }))
    }
}

#[derive(Debug)]
struct Lock {
    disk: SimulatedDisk,
    folder: PathBuf,
}

impl DirectoryLock for Lock {}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.state().locks.remove(&self.folder);
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    content: Content,
}

impl SimulatedFile {
    /// Room for this file to have so many bytes.
    fn make_room(&self, state: &mut State, length: usize) -> io::Result<()> {
        let Some(capacity) = state.capacity_bytes else { return Ok(()) };
        let own = bytes_of(&self.content).live.len();
        let all: usize = state.names.values().map(|content| bytes_of(content).live.len()).sum();
        if length > own && all - own + length > capacity {
            state.has_failed = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl DiskFile for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.state().step()?;
        let content = bytes_of(&self.content);
        let start = offset as usize;
        let bytes = content.live.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let was_off = state.is_off;
        let outcome = state.step();
        if was_off {
            return outcome;
        }
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        self.make_room(&mut state, end)?;
        let mut content = bytes_of(&self.content);
        if content.live.len() < end {
            content.live.resize(end, 0);
        }
        // The write during which the power goes is in the cache like any other.
        content.live[start..end].copy_from_slice(bytes);
        content.unsynced.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        outcome
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        let mut content = bytes_of(&self.content);
        if std::mem::take(&mut state.sync_fails) {
            // As a kernel does: the pages count as clean, and are not on the disk.
            let content = &mut *content;
            content.unsynced.clear();
            content.live.clone_from(&content.durable);
            content.is_broken = true;
            state.has_failed = true;
            return Err(io::Error::other("the sync failed"));
        }
        state.goes_on |= content.is_broken;
        content.sync();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.state().step()?;
        Ok(bytes_of(&self.content).live.len() as u64)
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        state.step()?;
        self.make_room(&mut state, length_bytes as usize)?;
        bytes_of(&self.content).live.resize(length_bytes as usize, 0);
        Ok(())
    }
}
