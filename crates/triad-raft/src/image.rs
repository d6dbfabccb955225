//! The image: the ledger's records and the usage history on disk, written
//! behind the log, so that a restart replays only the log's tail.
//!
//! The log is the truth. The image may lag, and nothing is acknowledged on its
//! strength; but the log is purged only up to what the image holds durably.

mod events;
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
mod forgery;
mod opening;
mod segments;
mod whole;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tokio::sync::{mpsc, oneshot, watch};
use triad_ledger::{ChainHash, Change, StateHash};

use self::events::Events;
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
pub use self::forgery::{forge_event, forge_ledger};
use self::opening::open_store;
#[cfg(fuzzing)]
pub(crate) use self::segments::fuzz_block;
pub(crate) use self::whole::WholeImage;
use crate::history::{EventStore, Kept, Part, Retention};
use crate::rules::REMEDY;
use crate::types::{
    LogId, StoredMembership, decode_log_id, decode_membership, encode_log_id, encode_membership,
};

/// Batches waiting for the disk. More are not made: what changes meanwhile
/// waits in the ledger, where a record that changes twice counts once.
const BATCHES_WAITING_MAX: usize = 2;
/// What was written stays in sled's memory, outside of its cache, until the store is opened
/// anew: so that is done each time this much was written. It takes a moment, in which
/// batches wait, and nobody waits for a batch.
const WRITTEN_BYTES_MAX: usize = 12 << 20;
/// What sled's memory holds of a record besides its key and its value.
const RECORD_BYTES: usize = 48;

/// One step of the image, written whole or not at all.
#[derive(Clone, Debug)]
pub(crate) struct ImageBatch {
    /// The last entry whose effects are in.
    pub(crate) applied: LogId,
    pub(crate) membership: StoredMembership,
    /// The ledger's hash after that entry: the check on everything at once.
    pub(crate) hash: StateHash,
    pub(crate) changes: Vec<Change>,
    /// Encoded events with their sequence numbers.
    pub(crate) events: Vec<Kept>,
    /// The last event that the ledger knows of, and the chain's head after it.
    pub(crate) last_event: (u64, ChainHash),
}

/// What an image holds.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) hash: StateHash,
    pub(crate) records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store cannot be opened, read or written.
    #[error(
        "{}: {source}; check this disk and the files in it, then start the node again, or see \
         docs/how-to/replace-a-node.md",
        path.display()
    )]
    Store {
        /// The image's folder.
        path: PathBuf,
        /// What the store said.
        source: std::io::Error,
    },
    /// What is in it is not what was written. It is not served.
    #[error(
        "{}: the ledger image is damaged ({what}) and is not served; the other nodes go on \
         without this one, see docs/how-to/replace-a-node.md",
        path.display()
    )]
    Damaged {
        /// The image's folder.
        path: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// It is whole, and of newer rules than this program knows.
    #[error("{}: {what}; {REMEDY}", path.display())]
    Newer {
        /// The image's folder, or the snapshot's file.
        path: PathBuf,
        /// By what it is known.
        what: String,
    },
    /// It is whole, but of another cluster: whatever is in it, it is not this
    /// cluster's ledger.
    #[error(
        "{}: this file belongs to cluster {found}, this node to cluster {own}; check data_dir, or \
         restore this node, see docs/how-to/replace-a-node.md",
        path.display()
    )]
    Foreign {
        /// The image's folder, or the snapshot's file.
        path: PathBuf,
        /// The cluster whose it is.
        found: String,
        /// The cluster of this node.
        own: String,
    },
}

impl ImageError {
    /// Refuses what is another cluster's.
    pub(crate) fn unless_own(path: &Path, found: &str, own: &str) -> Result<(), Self> {
        if found == own {
            return Ok(());
        }
        let found = if found.is_empty() { "none" } else { found };
        let (found, own) = (found.to_owned(), own.to_owned());
        Err(ImageError::Foreign { path: path.to_owned(), found, own })
    }
}

/// A place to keep an image. sled in production; something that can forget in
/// simulation.
pub(crate) trait Image: Send + 'static {
    /// Its folder.
    fn path(&self) -> &Path;
    /// Reads everything, checking every record.
    fn load(&mut self) -> Result<Loaded, ImageError>;
    /// Adds a batch; durable when this returns.
    fn write(&mut self, batch: &ImageBatch) -> Result<(), ImageError>;
    /// Makes the image this and nothing else, apart from the history; durable
    /// when this returns. Interrupted, it leaves an image that `load` refuses,
    /// so the caller keeps the source until then.
    fn replace(&mut self, batch: &ImageBatch) -> Result<(), ImageError>;
    /// The events in it, to be read while others are written.
    fn events(&self) -> Arc<dyn EventStore>;
    /// Adds a part of the history that is missing; durable when this returns.
    fn fill(&mut self, part: &Part) -> Result<(), ImageError>;
}

/// What changes is written with all that shares its leaf: records of sessions are spread over
/// all leaves, so a leaf is small.
const LEAF_RECORDS: usize = 128;

type Db = sled::Db<LEAF_RECORDS>;

/// The image: the records in sled, one tree, keys by kind, every value with a checksum; and the
/// events in files beside them.
pub(crate) struct SledImage {
    path: PathBuf,
    cluster_id: String,
    /// `None` while it is opened anew, or if that failed.
    db: Option<Db>,
    events: Arc<Events>,
    retention: Retention,
    /// Since the store was opened.
    written_bytes: usize,
}

const META: &[u8] = b"m";
const RECORD: u8 = b'r';
#[derive(Clone, PartialEq, prost::Message)]
struct MetaMessage {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(bytes = "vec", tag = "2")]
    applied: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    membership: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    hash: Vec<u8>,
    #[prost(string, tag = "5")]
    cluster_id: String,
}

/// The layout of the image; another number is another layout.
const FORMAT: u32 = 2;

/// What the store says of itself, unless it is empty.
fn meta(db: &Db, path: &Path) -> Result<Option<MetaMessage>, ImageError> {
    let damaged = |what: String| ImageError::Damaged { path: path.to_owned(), what };
    let Some(meta) = db.get(META).map_err(|error| failed(path.to_owned(), error))? else {
        return Ok(None);
    };
    let meta = unseal(path, META, &meta)?;
    let meta: MetaMessage =
        prost::Message::decode(meta.as_slice()).map_err(|error| damaged(error.to_string()))?;
    match meta.format {
        FORMAT => Ok(Some(meta)),
        found => Err(damaged(format!("format {found} found, {FORMAT} known"))),
    }
}

impl SledImage {
    pub(crate) fn open(
        path: &Path,
        cluster_id: &str,
        retention: Retention,
    ) -> Result<Self, ImageError> {
        let db = open_store(path)?;
        let meta = meta(&db, path)?;
        if let Some(meta) = &meta {
            ImageError::unless_own(path, &meta.cluster_id, cluster_id)?;
        }
        let path = path.to_owned();
        let events = Arc::new(Events::open(path.clone(), cluster_id, &db)?);
        let (cluster_id, db) = (cluster_id.to_owned(), Some(db));
        Ok(SledImage { path, cluster_id, db, events, retention, written_bytes: 0 })
    }

    fn db(&self) -> Result<&Db, ImageError> {
        let closed = || self.store(io::Error::other("the store could not be opened anew"));
        self.db.as_ref().ok_or_else(closed)
    }

    /// Lets go of the memory that holds what was written.
    fn open_anew(&mut self) -> Result<(), ImageError> {
        self.db = None;
        self.db = Some(open_store(&self.path)?);
        self.written_bytes = 0;
        Ok(())
    }

    fn damaged(&self, what: impl fmt::Display) -> ImageError {
        ImageError::Damaged { path: self.path.clone(), what: what.to_string() }
    }

    fn store(&self, source: std::io::Error) -> ImageError {
        failed(self.path.clone(), source)
    }

    fn commit(&self, batch: sled::Batch) -> Result<(), ImageError> {
        let db = self.db()?;
        db.apply_batch(batch).map_err(|e| self.store(e))?;
        db.flush().map_err(|e| self.store(e))?;
        Ok(())
    }

    /// So much was written.
    fn wrote(&mut self, sizes: impl Iterator<Item = usize>) -> Result<(), ImageError> {
        self.written_bytes += sizes.map(|bytes| bytes + RECORD_BYTES).sum::<usize>();
        if self.written_bytes > WRITTEN_BYTES_MAX { self.open_anew() } else { Ok(()) }
    }

    fn unseal(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, ImageError> {
        unseal(&self.path, key, value)
    }

    fn batch(&self, batch: &ImageBatch) -> sled::Batch {
        let mut out = sled::Batch::default();
        for change in &batch.changes {
            let key = prefixed(RECORD, &change.key);
            match &change.value {
                Some(value) => out.insert(key.as_slice(), seal(&key, value)),
                None => out.remove(key.as_slice()),
            }
        }
        let meta = MetaMessage {
            format: FORMAT,
            applied: encode_log_id(&batch.applied),
            membership: encode_membership(&batch.membership),
            hash: batch.hash.0.to_vec(),
            cluster_id: self.cluster_id.clone(),
        };
        out.insert(META, seal(META, &prost::Message::encode_to_vec(&meta)));
        out
    }
}

/// sled says "invalid data" and "unexpected end" where its files are damaged,
/// and begins with the place in its own source, which helps nobody.
fn failed(path: PathBuf, source: io::Error) -> ImageError {
    let text = source.to_string();
    let what = text.rsplit(" -> ").next().unwrap_or(&text).to_owned();
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            ImageError::Damaged { path, what }
        }
        kind => ImageError::Store { path, source: io::Error::new(kind, what) },
    }
}

impl Image for SledImage {
    fn path(&self) -> &Path {
        &self.path
    }

    fn load(&mut self) -> Result<Loaded, ImageError> {
        let Some(meta) = meta(self.db()?, &self.path)? else {
            return match self.db()?.is_empty().map_err(|e| self.store(e))? {
                true => Ok(Loaded::default()),
                false => Err(self.damaged("records, but no record of what they are")),
            };
        };
        let mut loaded = Loaded {
            applied: Some(decode_log_id(&meta.applied).map_err(|e| self.damaged(e))?),
            membership: decode_membership(&meta.membership).map_err(|e| self.damaged(e))?,
            hash: StateHash(meta.hash.try_into().map_err(|_| self.damaged("hash"))?),
            records: Vec::new(),
        };
        for record in self.db()?.scan_prefix([RECORD]) {
            let (key, value) = record.map_err(|e| self.store(e))?;
            let value = self.unseal(&key, &value)?;
            loaded.records.push((key[1..].to_vec(), value));
        }
        Ok(loaded)
    }

    fn write(&mut self, batch: &ImageBatch) -> Result<(), ImageError> {
        let mut out = self.batch(batch);
        let pending = self.events.add(&mut out, batch, self.retention)?;
        self.commit(out)?;
        self.events.are_now(pending);
        let size = |change: &Change| change.key.len() + change.value.as_ref().map_or(0, Vec::len);
        self.wrote(batch.changes.iter().map(size))
    }

    fn replace(&mut self, batch: &ImageBatch) -> Result<(), ImageError> {
        let mut old: BTreeMap<Vec<u8>, ()> = BTreeMap::new();
        for record in self.db()?.scan_prefix([RECORD]) {
            let (key, _) = record.map_err(|e| self.store(e))?;
            old.insert(key[1..].to_vec(), ());
        }
        for change in &batch.changes {
            old.remove(&change.key);
        }
        let gone = old.into_keys().map(|key| Change { key, value: None });
        let mut batch = batch.clone();
        batch.changes.extend(gone);
        self.write(&batch)
    }

    fn events(&self) -> Arc<dyn EventStore> {
        self.events.clone()
    }

    fn fill(&mut self, part: &Part) -> Result<(), ImageError> {
        let mut out = sled::Batch::default();
        let pending = self.events.fill(&mut out, part)?;
        self.commit(out)?;
        self.events.are_now(pending);
        Ok(())
    }
}

fn unseal(path: &Path, key: &[u8], value: &[u8]) -> Result<Vec<u8>, ImageError> {
    let damaged = |what: String| ImageError::Damaged { path: path.to_owned(), what };
    let (content, crc) = value
        .split_last_chunk::<4>()
        .ok_or_else(|| damaged("a record without a checksum".to_owned()))?;
    if checksum(key, content) != u32::from_le_bytes(*crc) {
        return Err(damaged(format!("checksum of record {}", hex(key))));
    }
    Ok(content.to_vec())
}

fn prefixed(kind: u8, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(kind);
    out.extend_from_slice(key);
    out
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 4);
    out.extend_from_slice(value);
    out.extend_from_slice(&checksum(key, value).to_le_bytes());
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

enum Job {
    Write(ImageBatch),
    Replace(ImageBatch, oneshot::Sender<()>),
    Fill(Part, oneshot::Sender<()>),
    /// Everything before this is durable when it is answered.
    Settle(oneshot::Sender<()>),
}

/// The thread that writes the image, seen from the state machine.
#[derive(Clone, Debug)]
pub(crate) struct ImageWriter {
    jobs: mpsc::Sender<Job>,
    failure: watch::Receiver<Option<Arc<ImageError>>>,
}

/// The writer has failed; the node must stop.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ImageFailed(String);

impl ImageWriter {
    /// Starts the thread; `inline`, in simulation, a task does the work.
    pub(crate) fn start(image: impl Image, inline: bool) -> std::io::Result<Self> {
        let (jobs, mut queue) = mpsc::channel(BATCHES_WAITING_MAX);
        let (failed, failure) = watch::channel(None);
        let mut work = Work { image, failed };
        if inline {
            tokio::spawn(async move {
                while let Some(job) = queue.recv().await
                    && work.take(job)
                {}
            });
        } else {
            let run = move || {
                while let Some(job) = queue.blocking_recv()
                    && work.take(job)
                {}
            };
            thread::Builder::new().name("image".into()).spawn(run)?;
        }
        Ok(ImageWriter { jobs, failure })
    }

    /// True if a batch would be taken now.
    pub(crate) fn is_ready(&self) -> bool {
        self.jobs.capacity() > 0
    }

    /// Hands over a batch. Waits while the disk is behind.
    pub(crate) async fn write(&self, batch: ImageBatch) -> Result<(), ImageFailed> {
        self.jobs.send(Job::Write(batch)).await.map_err(|_| self.failed())
    }

    /// Replaces the image; durable when this returns.
    pub(crate) async fn replace(&self, batch: ImageBatch) -> Result<(), ImageFailed> {
        let (done, wait) = oneshot::channel();
        self.jobs.send(Job::Replace(batch, done)).await.map_err(|_| self.failed())?;
        wait.await.map_err(|_| self.failed())
    }

    /// Adds a part of the history; durable when this returns.
    pub(crate) async fn fill(&self, part: Part) -> Result<(), ImageFailed> {
        let (done, wait) = oneshot::channel();
        self.jobs.send(Job::Fill(part, done)).await.map_err(|_| self.failed())?;
        wait.await.map_err(|_| self.failed())
    }

    /// Waits until everything handed over is durable.
    pub(crate) async fn settle(&self) -> Result<(), ImageFailed> {
        let (done, wait) = oneshot::channel();
        self.jobs.send(Job::Settle(done)).await.map_err(|_| self.failed())?;
        wait.await.map_err(|_| self.failed())
    }

    /// Resolves when the writer has failed.
    pub(crate) async fn failure(&self) -> Arc<ImageError> {
        let mut failure = self.failure.clone();
        let found = failure.wait_for(Option::is_some).await.map(|found| found.clone());
        match found {
            Ok(error) => error.expect("waited for"),
            // The node is going away.
            Err(_) => std::future::pending().await,
        }
    }

    fn failed(&self) -> ImageFailed {
        let failure = self.failure.borrow();
        ImageFailed(failure.as_ref().map_or("the image is closed".into(), |e| e.to_string()))
    }
}

/// The one that writes.
struct Work<I> {
    image: I,
    failed: watch::Sender<Option<Arc<ImageError>>>,
}

impl<I: Image> Work<I> {
    /// Does one job; false if it failed.
    fn take(&mut self, job: Job) -> bool {
        // sled panics on some damage where it should report. Nothing of it is used afterwards.
        let work = std::panic::AssertUnwindSafe(|| match job {
            Job::Write(batch) => (self.image.write(&batch), None),
            Job::Replace(batch, done) => (self.image.replace(&batch), Some(done)),
            Job::Fill(part, done) => (self.image.fill(&part), Some(done)),
            Job::Settle(done) => (Ok(()), Some(done)),
        });
        let (result, done) = std::panic::catch_unwind(work).unwrap_or_else(|_| {
            let what = "the store does not understand what it finds".to_owned();
            (Err(ImageError::Damaged { path: self.image.path().to_owned(), what }), None)
        });
        if let Err(error) = result {
            // A write that failed once is not tried again: what the disk did
            // with it is unknown.
            tracing::error!(%error, "the ledger image cannot be written");
            self.failed.send_replace(Some(Arc::new(error)));
            return false;
        }
        if let Some(done) = done {
            let _ = done.send(());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use openraft::vote::RaftLeaderId;

    use super::*;
    use crate::types::LeaderId;

    fn batch(index: u64, changes: &[(&[u8], Option<&[u8]>)]) -> ImageBatch {
        let change = |(key, value): &(&[u8], Option<&[u8]>)| Change {
            key: key.to_vec(),
            value: value.map(<[u8]>::to_vec),
        };
        ImageBatch {
            applied: LogId::new(LeaderId::new(1, 1), index),
            membership: StoredMembership::default(),
            hash: StateHash([index as u8; 16]),
            changes: changes.iter().map(change).collect(),
            events: Vec::new(),
            last_event: (0, ChainHash::default()),
        }
    }

    #[test]
    fn what_was_written_is_there_after_reopening() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut image =
            SledImage::open(folder.path(), "tc-1", Retention::default()).expect("opens");
        assert!(image.load().expect("empty").applied.is_none());
        image.write(&batch(1, &[(b"a", Some(b"1")), (b"b", Some(b"2"))])).expect("written");
        image.write(&batch(2, &[(b"a", None), (b"c", Some(b"3"))])).expect("written");
        drop(image);
        let mut image =
            SledImage::open(folder.path(), "tc-1", Retention::default()).expect("opens");
        let loaded = image.load().expect("whole");
        assert_eq!(loaded.applied.map(|id| id.index()), Some(2));
        assert_eq!(loaded.hash, StateHash([2; 16]));
        let records = [(b"b".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"3".to_vec())];
        assert_eq!(loaded.records, records);
        image.replace(&batch(9, &[(b"z", Some(b"9"))])).expect("replaced");
        assert_eq!(image.load().expect("whole").records, [(b"z".to_vec(), b"9".to_vec())]);
    }

    /// P2: sled does not sync the settings of a store that it makes. Those that are empty since are
    /// written anew; others that are no settings are damage.
    #[test]
    fn settings_that_a_power_cut_took_are_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SledImage::open(folder.path(), "tc-1", Retention::default());
        let mut image = open().expect("opens");
        image.write(&batch(1, &[(b"a", Some(b"1"))])).expect("written");
        drop(image);
        let settings = folder.path().join("durability_cookie");
        std::fs::write(&settings, b"").expect("taken");
        let mut image = open().expect("opens");
        assert_eq!(image.load().expect("whole").records, [(b"a".to_vec(), b"1".to_vec())]);
        drop(image);
        std::fs::write(&settings, [0; 64]).expect("altered");
        assert!(matches!(open(), Err(ImageError::Damaged { .. })));
    }

    #[test]
    fn an_altered_record_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut image =
            SledImage::open(folder.path(), "tc-1", Retention::default()).expect("opens");
        image.write(&batch(1, &[(b"a", Some(b"1"))])).expect("written");
        image.db().expect("open").insert(b"ra", b"2xxxx").expect("altered");
        assert!(matches!(image.load(), Err(ImageError::Damaged { .. })));
    }

    #[test]
    fn the_image_of_another_cluster_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut image =
            SledImage::open(folder.path(), "tc-1", Retention::default()).expect("opens");
        image.write(&batch(1, &[(b"a", Some(b"1"))])).expect("written");
        drop(image);
        let image = SledImage::open(folder.path(), "tc-2", Retention::default());
        let error = image.err().expect("it is not ours").to_string();
        assert!(error.contains("belongs to cluster tc-1, this node to cluster tc-2"), "{error}");
    }

    /// A store that panics on what it finds, as sled does on some damage.
    struct Panicking(SledImage);

    impl Image for Panicking {
        fn path(&self) -> &Path {
            self.0.path()
        }

        fn load(&mut self) -> Result<Loaded, ImageError> {
            self.0.load()
        }

        fn write(&mut self, _batch: &ImageBatch) -> Result<(), ImageError> {
            panic!("this is what a damaged store does");
        }

        fn replace(&mut self, batch: &ImageBatch) -> Result<(), ImageError> {
            self.0.replace(batch)
        }

        fn events(&self) -> Arc<dyn EventStore> {
            self.0.events()
        }

        fn fill(&mut self, part: &Part) -> Result<(), ImageError> {
            self.0.fill(part)
        }
    }

    #[tokio::test]
    async fn a_store_that_panics_has_failed() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = SledImage::open(folder.path(), "tc-1", Retention::default()).expect("opens");
        let writer = ImageWriter::start(Panicking(image), false).expect("started");
        writer.write(batch(1, &[])).await.expect("handed over");
        let error = writer.failure().await.to_string();
        assert!(error.contains(&folder.path().display().to_string()), "{error}");
        writer.settle().await.expect_err("nothing is durable any more");
    }

    /// Many more records than are kept in memory, changed and removed at random: they are as they
    /// were after each time that the store is opened anew, and while it is open.
    #[test]
    fn what_is_let_go_of_is_not_lost() {
        use rand::rngs::StdRng;
        use rand::{RngExt, SeedableRng};
        const KEYS: u32 = 60_000;
        let folder = tempfile::tempdir().expect("a folder");
        let open = || SledImage::open(folder.path(), "tc-1", Retention::default()).expect("opens");
        let mut image = open();
        let mut dice = StdRng::seed_from_u64(7);
        let mut model: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for index in 1..=60 {
            let mut changes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
            for _ in 0..2_000 {
                let key = dice.random_range(0..KEYS).to_be_bytes().to_vec();
                let length = dice.random_range(0..600);
                let value = (0..length).map(|_| dice.random::<u8>()).collect();
                changes.insert(key, dice.random_ratio(3, 4).then_some(value));
            }
            for (key, value) in &changes {
                match value {
                    Some(value) => model.insert(key.clone(), value.clone()),
                    None => model.remove(key),
                };
            }
            let changes: Vec<(&[u8], Option<&[u8]>)> =
                changes.iter().map(|(key, value)| (&**key, value.as_deref())).collect();
            image.write(&batch(index, &changes)).expect("written");
            if index % 20 == 0 {
                drop(image);
                image = open();
            }
            if index % 10 == 5 || index % 20 == 0 {
                let records = image.load().expect("whole").records;
                assert!(records.into_iter().eq(model.clone()), "after batch {index}");
            }
        }
    }

    /// P2: a machine that loses power while the store is opened, or just after, has it whole at the
    /// next start, and at the one after that; whether or not the disk heard what was removed.
    #[test]
    fn an_opening_that_was_broken_off_is_made_up_for() {
        for are_back in [false, true] {
            let folder = tempfile::tempdir().expect("a folder");
            let metadata = folder.path().join("metadata");
            let files = || {
                let listed = std::fs::read_dir(&metadata).expect("there");
                let files = listed.map(|entry| entry.expect("listed").path());
                let files = files.map(|path| (path.clone(), std::fs::read(path).expect("read")));
                files.collect::<BTreeMap<_, _>>()
            };
            let open =
                || SledImage::open(folder.path(), "tc-1", Retention::default()).expect("opens");
            let mut image = open();
            image.write(&batch(1, &[(b"a", Some(b"1")), (b"b", Some(b"2"))])).expect("written");
            drop(image);
            let before = files();
            drop(open());
            let after = files();
            let is_new_log = |path: &&PathBuf| {
                path.to_string_lossy().contains("/log_") && !before.contains_key(*path)
            };
            let logs: Vec<_> = after.keys().filter(is_new_log).collect();
            assert_eq!(logs.len(), 1, "{logs:?}");
            std::fs::remove_file(logs[0]).expect("removed");
            for (path, bytes) in before.iter().filter(|_| are_back) {
                std::fs::write(path, bytes).expect("back");
            }
            for _ in 0..3 {
                let mut image = open();
                let records = image.load().expect("whole").records;
                let expected = [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())];
                assert_eq!(records, expected);
            }
        }
    }

    /// What was written does not pile up in memory, and readers do not notice that it is let go of.
    #[test]
    fn the_history_is_read_while_the_store_is_opened_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let keep_all = Retention { max_age_ms: None, max_bytes: None };
        let mut image = SledImage::open(folder.path(), "tc-1", keep_all).expect("opens");
        let history = image.events();
        let (written, mut anew) = (AtomicU64::new(0), 0);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let mut after = 0;
                while after < 600_000 {
                    let through = written.load(Ordering::Acquire);
                    let events = history.read(after, through, 5_000).expect("readable");
                    let numbers: Vec<u64> = events.iter().map(|(number, _)| *number).collect();
                    assert_eq!(
                        numbers,
                        (after + 1..=through.min(after + 5_000)).collect::<Vec<_>>()
                    );
                    let is_whole = |(n, event): &Kept| event[..] == [*n as u8; 30];
                    assert!(events.iter().all(is_whole));
                    after += numbers.len() as u64;
                }
            });
            for index in 1..=60 {
                let last = index * 10_000;
                let events = (last - 9_999..=last).map(|n| (n, vec![n as u8; 30].into()));
                let last_event = (last, ChainHash::default());
                let before = image.written_bytes;
                let value = vec![index as u8; 4 << 20];
                let changes: &[(&[u8], Option<&[u8]>)] = &[(b"a", Some(&value))];
                let batch =
                    ImageBatch { events: events.collect(), last_event, ..batch(index, changes) };
                image.write(&batch).expect("written");
                assert!(image.written_bytes <= WRITTEN_BYTES_MAX);
                anew += u32::from(image.written_bytes < before);
                written.store(last, Ordering::Release);
            }
            reading.join().expect("it reads all");
        });
        assert!(anew >= 2, "{anew}");
    }
}
