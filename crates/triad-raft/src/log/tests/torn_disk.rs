//! A disk in memory that loses power: of everything unsynced it keeps a random part.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{DirectoryLock, Disk, DiskFile};

/// What a device writes in one piece.
const SECTOR_BYTES: usize = 512;

/// Dice for tests, from a seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// All files by path, as an image that can be altered and put back.
pub type Image = BTreeMap<PathBuf, Vec<u8>>;

#[derive(Clone, Debug, Default)]
pub struct TornDisk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<PathBuf, Shared>,
    durable_names: BTreeMap<PathBuf, Shared>,
    unsynced_names: Vec<NameChange>,
    locked: bool,
    /// Operations that still succeed before the power is off.
    power: Option<u64>,
    failing_syncs: bool,
    capacity_bytes: Option<usize>,
    /// Counts, for tests that look at cost.
    writes: usize,
    syncs: usize,
}

type Shared = Arc<Mutex<Content>>;

#[derive(Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    unsynced: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum NameChange {
    Add(PathBuf, Shared),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl TornDisk {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Lets `operations` more succeed; after that the power is off.
    pub fn power_off_after(&self, operations: u64) {
        self.lock().power = Some(operations);
    }

    /// The power comes back: what was synced is there, and of the rest each sector and each name
    /// by the dice.
    pub fn restart(&self, dice: &mut Dice) {
        let inner = &mut *self.lock();
        for change in std::mem::take(&mut inner.unsynced_names) {
            if dice.coin() {
                change.apply(&mut inner.durable_names);
            }
        }
        inner.names = inner.durable_names.clone();
        for content in inner.names.values() {
            content.lock().unwrap().restart(dice);
        }
        inner.power = None;
        assert!(!inner.locked, "the process is gone");
    }

    /// Whether every sync fails from now on.
    pub fn fail_syncs(&self, fail: bool) {
        self.lock().failing_syncs = fail;
    }

    pub fn limit_capacity(&self, bytes: usize) {
        self.lock().capacity_bytes = Some(bytes);
    }

    /// Writes and syncs so far.
    pub fn counts(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.writes, inner.syncs)
    }

    pub fn image(&self) -> Image {
        let inner = self.lock();
        let bytes = |content: &Shared| content.lock().unwrap().live.clone();
        inner.names.iter().map(|(path, content)| (path.clone(), bytes(content))).collect()
    }

    /// A disk that holds exactly this, all of it durable.
    pub fn from_image(image: &Image) -> Self {
        let disk = Self::default();
        let content = |bytes: &Vec<u8>| {
            let (live, durable) = (bytes.clone(), bytes.clone());
            Arc::new(Mutex::new(Content { live, durable, unsynced: BTreeSet::new() }))
        };
        disk.lock().names = image.iter().map(|(path, b)| (path.clone(), content(b))).collect();
        let names = disk.lock().names.clone();
        disk.lock().durable_names = names;
        disk
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<PathBuf, Shared>) {
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

impl Content {
    fn restart(&mut self, dice: &mut Dice) {
        for sector in std::mem::take(&mut self.unsynced) {
            if dice.coin() {
                self.keep(sector);
            }
        }
        self.live = self.durable.clone();
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
        for sector in std::mem::take(&mut self.unsynced) {
            self.keep(sector);
        }
        self.durable.resize(self.live.len(), 0);
    }
}

impl Inner {
    /// Spends one operation.
    fn step(&mut self) -> io::Result<()> {
        match &mut self.power {
            Some(0) => Err(io::Error::other("the power is off")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: NameChange) {
        change.clone().apply(&mut self.names);
        self.unsynced_names.push(change);
    }

    fn find(&self, path: &Path) -> io::Result<Shared> {
        self.names.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for TornDisk {
    fn create_dir(&self, _folder: &Path) -> io::Result<()> {
        self.lock().step()
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut inner = self.lock();
        inner.step()?;
        let inside = inner.names.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.step()?;
        let content = inner.find(path)?;
        Ok(Box::new(TornFile { disk: self.clone(), content }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut inner = self.lock();
        inner.step()?;
        let content = Shared::default();
        inner.change(NameChange::Add(path.to_owned(), content.clone()));
        Ok(Box::new(TornFile { disk: self.clone(), content }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        inner.find(from)?;
        inner.change(NameChange::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        inner.find(path)?;
        inner.change(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn sync_dir(&self, _folder: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        inner.step()?;
        inner.unsynced_names.clear();
        inner.durable_names = inner.names.clone();
        Ok(())
    }

    fn lock_dir(&self, _folder: &Path, _name: &str) -> io::Result<Box<dyn DirectoryLock>> {
        let mut inner = self.lock();
        if inner.locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        inner.locked = true;
        Ok(Box::new(TornLock { disk: self.clone() }))
    }
}

#[derive(Debug)]
struct TornLock {
    disk: TornDisk,
}

impl DirectoryLock for TornLock {}

impl Drop for TornLock {
    fn drop(&mut self) {
        self.disk.lock().locked = false;
    }
}

#[derive(Debug)]
struct TornFile {
    disk: TornDisk,
    content: Shared,
}

impl DiskFile for TornFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.lock().step()?;
        let content = self.content.lock().unwrap();
        let start = offset as usize;
        let bytes = content.live.get(start..start + buffer.len());
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.lock();
        let has_power = inner.step();
        inner.writes += 1;
        let mut content = self.content.lock().unwrap();
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        if content.live.len() < end {
            let taken = |c: &Shared| c.try_lock().map_or(end, |content| content.live.len());
            let used: usize = inner.names.values().map(taken).sum();
            if inner.capacity_bytes.is_some_and(|capacity| used > capacity) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            content.live.resize(end, 0);
        }
        // The write during which the power goes is in the cache like any other.
        content.live[start..end].copy_from_slice(bytes);
        content.unsynced.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
        has_power
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.lock();
        inner.step()?;
        inner.syncs += 1;
        if inner.failing_syncs {
            // As ext4 does it: what could not be written counts as clean from then on.
            self.content.lock().unwrap().unsynced.clear();
            return Err(io::Error::other("medium error"));
        }
        self.content.lock().unwrap().sync();
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        self.disk.lock().step()?;
        Ok(self.content.lock().unwrap().live.len() as u64)
    }

    fn set_length(&self, length_bytes: u64) -> io::Result<()> {
        self.disk.lock().step()?;
        self.content.lock().unwrap().live.resize(length_bytes as usize, 0);
        Ok(())
    }
}
