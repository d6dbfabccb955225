//! The state machine: hands committed entries to the ledger, in order, and
//! what changed to the image.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{Stream, StreamExt};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use tokio::sync::watch;
use tokio::time::Instant;
use triad_ledger::{At, Change, Command, Event, Ledger, StateHash};

use crate::comparison::Point;
use crate::disk::Disk;
use crate::history::{EventStore, History, Tail};
use crate::image::{Image, ImageBatch, ImageError, ImageWriter};
use crate::mutation::{self, Mutation};
use crate::simulation::{Observed, Observer};
use crate::snapshot::SnapshotFrames;
use crate::types::{Applied, Entry, LogId, Stamp, StoredMembership, TypeConfig};
use crate::work::{Work, WorkSink};

type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFrames>;

/// The image follows after this many commands, or when the last one is this
/// old: often enough that a restart replays little, seldom enough that a record
/// that changes a hundred times is written once.
const FLUSH_COMMANDS: usize = 8_192;
const FLUSH_INTERVAL: Duration = Duration::from_millis(500);
/// Events waiting for the image. Past this, applying waits for the disk.
const EVENTS_WAITING_MAX: usize = 100_000;
/// Every so many entries the nodes compare their ledgers.
pub(crate) const COMPARE_INTERVAL: u64 = 1_024;
/// How many of its own hashes a node remembers for the comparison.
const HASHES_KEPT: usize = 64;

/// Told of everything that happened, in order, right after it was applied. It
/// must not block.
pub type EventSink = Box<dyn Fn(&[Event]) + Send + Sync>;

/// The ledger and where it stands.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    pub(crate) stamp: Stamp,
    /// This node's hashes at the last points of comparison.
    pub(crate) hashes: BTreeMap<u64, StateHash>,
    /// Changed since the last batch for the image.
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Events that the image may not have yet.
    pub(crate) tail: Tail,
    commands: usize,
}

impl State {
    /// Brings the hash up to date and keeps what changed for the image.
    pub(crate) fn settle(&mut self) -> StateHash {
        for Change { key, value } in self.ledger.take_changes() {
            self.changes.insert(key, value);
        }
        self.ledger.state_hash()
    }

    /// What the image is to be given; it has the events up to `written`.
    fn batch(&mut self, written: u64) -> Option<ImageBatch> {
        let hash = self.settle();
        self.commands = 0;
        let changes = std::mem::take(&mut self.changes);
        Some(ImageBatch {
            applied: self.applied?,
            membership: self.membership.clone(),
            hash,
            changes: changes.into_iter().map(|(key, value)| Change { key, value }).collect(),
            events: self.tail.hand_over(written),
            last_event: self.ledger.last_event(),
        })
    }
}

/// What the state machine and the rest of the node share. The lock is held for
/// the time of one entry, or of one question, and never across an await.
pub(crate) struct Shared {
    state: Mutex<State>,
    sink: EventSink,
    observer: Option<Arc<dyn Observer>>,
    started: AtomicBool,
    newest: watch::Sender<u64>,
    point: watch::Sender<Option<Point>>,
}

impl Shared {
    /// The number of the newest event, from now on.
    pub(crate) fn newest_event(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// The newest point of comparison that this node has passed.
    pub(crate) fn points(&self) -> watch::Receiver<Option<Point>> {
        self.point.subscribe()
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("a ledger that panicked is not continued")
    }

    /// From now on a snapshot is for a peer, not for our own start.
    pub(crate) fn started(&self) {
        self.started.store(true, Ordering::Relaxed);
    }
}

/// A node whose ledger is not what the nodes agreed that it was.
#[derive(Debug, thiserror::Error)]
#[error(
    "this node's ledger differs from that of the others at log index {index} ({own} here, \
     {agreed} there): it stops rather than serve; keep its data, and see \
     docs/how-to/replace-a-node.md"
)]
pub(crate) struct Diverged {
    index: u64,
    own: StateHash,
    agreed: StateHash,
}

/// The state machine, owned by Raft.
pub(crate) struct Machine {
    shared: Arc<Shared>,
    image: ImageWriter,
    events: Arc<dyn EventStore>,
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    cluster_id: String,
    /// What the image held when it was read.
    loaded: (Option<LogId>, StoredMembership),
    last_flush: Instant,
    /// Told of snapshots, if anybody wants to know.
    pub(crate) work: Option<WorkSink>,
}

pub(crate) const PENDING: &str = "pending.snapshot";
const INCOMING: &str = "incoming.snapshot";

impl Machine {
    /// Reads the image, finishes an interrupted snapshot installation, and
    /// checks that the ledger is the one that was written.
    pub(crate) fn open(
        mut image: impl Image,
        disk: Arc<dyn Disk>,
        folder: &Path,
        cluster_id: &str,
        sink: EventSink,
        observer: Option<Arc<dyn Observer>>,
    ) -> Result<Self, ImageError> {
        let store = |source| ImageError::Store { path: folder.to_owned(), source };
        disk.create_dir(folder).map_err(store)?;
        if disk.list(folder).map_err(store)?.iter().any(|name| name == PENDING) {
            let bytes = read_file(&*disk, &folder.join(PENDING))
                .map_err(|source| ImageError::Store { path: folder.join(PENDING), source })?;
            let opened = SnapshotFrames::open(&bytes).map_err(|error| {
                let (path, what) = (folder.join(PENDING), error.to_string());
                match error.is_newer() {
                    true => ImageError::Newer { path, what },
                    false => ImageError::Damaged { path, what },
                }
            })?;
            ImageError::unless_own(&folder.join(PENDING), &opened.cluster_id, cluster_id)?;
            image.replace(&opened.image().1)?;
            disk.remove(&folder.join(PENDING)).map_err(store)?;
            disk.sync_dir(folder).map_err(store)?;
        }
        let loaded = image.load()?;
        let damaged = |what: String| ImageError::Damaged { path: folder.to_owned(), what };
        let ledger =
            Ledger::from_records(loaded.records).map_err(|error| match error.is_newer() {
                true => ImageError::Newer { path: folder.to_owned(), what: error.to_string() },
                false => damaged(error.to_string()),
            })?;
        if loaded.applied.is_some() && ledger.state_hash() != loaded.hash {
            let what = format!("hash {} found, {} written", ledger.state_hash(), loaded.hash);
            return Err(damaged(what));
        }
        let events = image.events();
        let image = ImageWriter::start(image, observer.is_some()).map_err(store)?;
        let stamp = Stamp { cluster_ms: ledger.at().cluster_ms, date_ms: ledger.at().date_ms };
        let state = State {
            ledger,
            applied: loaded.applied,
            membership: loaded.membership.clone(),
            stamp,
            ..State::default()
        };
        let started = AtomicBool::new(false);
        let (newest, _) = watch::channel(state.ledger.last_event().0);
        let (point, _) = watch::channel(None);
        let shared = Shared { state: Mutex::new(state), sink, observer, started, newest, point };
        Ok(Machine {
            shared: Arc::new(shared),
            image,
            events,
            disk,
            folder: folder.to_owned(),
            cluster_id: cluster_id.to_owned(),
            loaded: (loaded.applied, loaded.membership),
            last_flush: Instant::now(),
            work: None,
        })
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }

    pub(crate) fn image(&self) -> ImageWriter {
        self.image.clone()
    }

    pub(crate) fn history(&self) -> History {
        History::new(self.shared.clone(), self.events.clone())
    }

    fn apply_entry(&self, entry: &Entry) -> Result<Applied, Diverged> {
        let mut state = self.shared.state();
        let id = entry.log_id();
        let mut applied = Applied::default();
        match &entry.payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                state.membership = StoredMembership::new(Some(id), membership.clone());
            }
            EntryPayload::Normal(proposal) => {
                let at = At {
                    index: id.index(),
                    term: id.committed_leader_id().term,
                    cluster_ms: proposal.stamp.cluster_ms,
                    date_ms: proposal.stamp.date_ms,
                };
                applied.0.reserve(proposal.commands.len());
                for command in &*proposal.commands {
                    if let Command::Compare { index, hash } = command {
                        state.compare(*index, *hash)?;
                    }
                    applied.0.push(state.ledger.apply(at, command));
                }
                state.commands += proposal.commands.len();
                let now = state.ledger.at();
                state.stamp = Stamp { cluster_ms: now.cluster_ms, date_ms: now.date_ms };
            }
        }
        state.applied = Some(id);
        if id.index().is_multiple_of(COMPARE_INTERVAL) {
            let hash = state.settle();
            state.hashes.insert(id.index(), hash);
            self.shared.point.send_replace(Some((id.index(), hash)));
            while state.hashes.len() > HASHES_KEPT {
                state.hashes.pop_first();
            }
        }
        let (events, encoded) = state.ledger.take_encoded_events();
        for (event, encoded) in events.iter().zip(encoded) {
            state.tail.push(event.sequence, encoded);
        }
        if let Some(observer) = &self.shared.observer {
            let (stamp, commands) = match &entry.payload {
                EntryPayload::Normal(proposal) => (proposal.stamp, &*proposal.commands),
                EntryPayload::Blank | EntryPayload::Membership(_) => (Stamp::default(), &[][..]),
            };
            let Stamp { cluster_ms, date_ms } = stamp;
            let (term, index) = (id.committed_leader_id().term, id.index());
            let at = At { index, term, cluster_ms, date_ms };
            let (answers, events, hash) = (&*applied.0, &*events, state.settle());
            observer.applied(&Observed { at, commands, answers, events, hash });
        }
        drop(state);
        if let Some(last) = events.last() {
            (self.shared.sink)(&events);
            self.shared.newest.send_replace(last.sequence);
        }
        Ok(applied)
    }

    /// Applies an entry. An error stops Raft, and with it the node.
    fn apply_or_stop(&self, entry: &Entry) -> Result<Applied, String> {
        // A ledger that broke one of its own rules panics. Caught here, that ends
        // the process, and not only the task that met it.
        let applied = catch_unwind(AssertUnwindSafe(|| self.apply_entry(entry)));
        let stop = match applied {
            Ok(Ok(applied)) => return Ok(applied),
            Ok(Err(diverged)) => diverged.to_string(),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
                let index = entry.log_id().index();
                format!(
                    "the ledger breaks a rule of its own at log index {index} ({}): this node \
                     stops rather than serve; this is a defect of Triad, keep its data and \
                     report it",
                    text.unwrap_or("no reason given")
                )
            }
        };
        tracing::error!("{stop}");
        Err(stop)
    }

    async fn flush_if_due(&mut self) -> io::Result<()> {
        let due = {
            let state = self.shared.state();
            let full = state.tail.waiting() >= EVENTS_WAITING_MAX;
            let due = state.commands >= FLUSH_COMMANDS
                || (state.commands > 0 && self.last_flush.elapsed() >= FLUSH_INTERVAL);
            full || (due && self.image.is_ready())
        };
        if due { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.last_flush = Instant::now();
        // Before the ledger is held: nobody waits for a disk then.
        let written = self.events.bounds().last;
        let batch = self.shared.state().batch(written);
        match batch {
            Some(batch) => self.image.write(batch).await.map_err(io::Error::other),
            None => Ok(()),
        }
    }
}

impl State {
    fn compare(&self, index: u64, agreed: StateHash) -> Result<(), Diverged> {
        match self.hashes.get(&index) {
            Some(own) if *own != agreed => Err(Diverged { index, own: *own, agreed }),
            // Equal, or this node restarted since and did not pass that point.
            _ => Ok(()),
        }
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotFrames;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let state = self.shared.state();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let applied = self.apply_or_stop(&entry).map_err(io::Error::other)?;
            if let Some(responder) = responder {
                responder.send(applied);
            }
        }
        self.flush_if_due().await
    }

    /// Called in order with `apply`, so what is handed to the image here is the
    /// ledger as it stands, and nothing older can follow.
    async fn get_snapshot_builder(&mut self) -> Builder {
        let began = Instant::now();
        let flushed = match mutation::is_on(Mutation::PurgeBeyondImage) {
            true => Ok(()),
            false => self.flush().await,
        };
        let state = self.shared.state();
        let meta =
            SnapshotMeta { last_log_id: state.applied, last_membership: state.membership.clone() };
        let (image, work) = (self.image.clone(), self.work.clone());
        Builder { image, meta, flushed: Some(flushed), began, work }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFrames,
    ) -> Result<(), io::Error> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let began = Instant::now();
        let opened =
            SnapshotFrames::open(&snapshot.0.concat()).map_err(|e| invalid(e.to_string()))?;
        if Some(opened.applied) != meta.last_log_id {
            return Err(invalid("a snapshot of another position than announced".into()));
        }
        // Kept beside until the image has it all: an interruption finds it
        // at the next start and begins again.
        let (incoming, pending) = (self.folder.join(INCOMING), self.folder.join(PENDING));
        let file = self.disk.create(&incoming)?;
        let mut offset = 0;
        for frame in &snapshot.0 {
            file.write_at(frame, offset)?;
            offset += frame.len() as u64;
        }
        file.sync_data()?;
        // Its name too, or the name of an earlier try could be what is renamed.
        self.disk.sync_dir(&self.folder)?;
        self.disk.rename(&incoming, &pending)?;
        self.disk.sync_dir(&self.folder)?;

        let index = opened.applied.index();
        let (ledger, batch) = opened.image();
        {
            let mut state = self.shared.state();
            let at = ledger.at();
            *state = State {
                ledger,
                applied: Some(batch.applied),
                membership: batch.membership.clone(),
                stamp: Stamp { cluster_ms: at.cluster_ms, date_ms: at.date_ms },
                ..State::default()
            };
        }
        if let Some(observer) = &self.shared.observer {
            observer.installed(index, batch.hash);
        }
        self.image.replace(batch).await.map_err(io::Error::other)?;
        self.disk.remove(&pending)?;
        self.disk.sync_dir(&self.folder)?;
        if let Some(work) = &self.work {
            work(began, Work::Installed { index, bytes: snapshot.len_bytes() });
        }
        tracing::info!(index, "the ledger was replaced by a snapshot from the leader");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        if !self.shared.started.load(Ordering::Relaxed) {
            // At the start Raft asks only how far the image goes.
            let (Some(last), membership) = self.loaded.clone() else { return Ok(None) };
            let meta = SnapshotMeta { last_log_id: Some(last), last_membership: membership };
            return Ok(Some(Snapshot { meta, snapshot: SnapshotFrames::default() }));
        }
        let began = Instant::now();
        let mut state = self.shared.state();
        state.settle();
        let Some(applied) = state.applied else { return Ok(None) };
        let meta =
            SnapshotMeta { last_log_id: Some(applied), last_membership: state.membership.clone() };
        let snapshot =
            SnapshotFrames::of(&self.cluster_id, &state.ledger, &applied, &state.membership);
        drop(state);
        if let Some(work) = &self.work {
            work(began, Work::Encoded { index: applied.index(), bytes: snapshot.len_bytes() });
        }
        Ok(Some(Snapshot { meta, snapshot }))
    }
}

/// Waits until the image holds everything up to a position, so that the log
/// before it may go.
pub(crate) struct Builder {
    image: ImageWriter,
    meta: SnapshotMeta,
    flushed: Option<io::Result<()>>,
    began: Instant,
    work: Option<WorkSink>,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFrames;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        self.flushed.take().unwrap_or(Ok(()))?;
        self.image.settle().await.map_err(io::Error::other)?;
        if let Some((work, last)) = self.work.as_ref().zip(self.meta.last_log_id) {
            work(self.began, Work::Flushed { index: last.index() });
        }
        Ok(Snapshot { meta: self.meta.clone(), snapshot: SnapshotFrames::default() })
    }
}

fn read_file(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path)?;
    let mut bytes = vec![0; file.length()? as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("folder", &self.folder).finish_non_exhaustive()
    }
}
