//! The log as openraft knows it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::entries::EntryReader;
use super::error::LogError;
use super::queue::{Answer, Command, QUEUED_KIB_MAX, Shared, Writer};
use super::record;
use super::state::Position;
use super::view::{Piece, View};
use super::writer::{Log, LogOptions};
use crate::disk::Disk;
use crate::types::{
    Entry, EntryError, LogId, TypeConfig, Vote, decode_entry, decode_log_id, decode_vote,
    encode_entry, encode_log_id, encode_vote,
};

/// The entries that one message to a peer carries: long enough to catch up quickly, short enough
/// that a heartbeat is not held up behind it.
const LIMITED_READ_BYTES: usize = 1024 * 1024;

/// A handle on the log of this node, for openraft. All handles show the same log; one writer
/// serves them in order. The first failure is final: every later call fails with it, and the
/// node must stop.
#[derive(Clone, Debug)]
pub struct LogStore {
    shared: Arc<Shared>,
    on_disk: EntryReader,
    door: Arc<Door>,
    entry_max_bytes: usize,
}

/// The way to the writer.
#[derive(Debug)]
enum Door {
    Thread(Sender<Command>),
    Inline(Arc<Inline>),
}

/// The writer of a simulation: each call does its own work, unless the disk is slow. Then
/// everything queues, in order, until the disk is done with what came first.
struct Inline {
    writer: Mutex<Writer>,
    disk: Arc<dyn Disk>,
    behind: Mutex<Behind>,
}

/// What a slow disk has not done yet.
#[derive(Default)]
struct Behind {
    queue: Vec<Command>,
    is_working: bool,
}

/// How often it is looked whether a slow sync is over.
const SYNC_LOOK: Duration = Duration::from_millis(5);

impl Debug for Inline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inline").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Inline {
    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().expect("nothing panics while it writes")
    }

    fn behind(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().expect("nothing panics while it queues")
    }

    fn send(self: &Arc<Self>, command: Command) {
        let mut behind = self.behind();
        if behind.is_working {
            return behind.queue.push(command);
        }
        if self.disk.sync_delay().is_zero() {
            return self.write(vec![command]);
        }
        behind.queue.push(command);
        behind.is_working = true;
        tokio::spawn(self.clone().catch_up());
    }

    fn write(&self, commands: Vec<Command>) {
        let mut writer = self.writer();
        commands.into_iter().for_each(|command| writer.take(command));
        writer.finish();
    }

    async fn catch_up(self: Arc<Self>) {
        loop {
            let begun = Instant::now();
            while begun.elapsed() < self.disk.sync_delay() {
                sleep(SYNC_LOOK).await;
            }
            let mut behind = self.behind();
            let commands = std::mem::take(&mut behind.queue);
            behind.is_working = !commands.is_empty();
            if !behind.is_working {
                return;
            }
            drop(behind);
            self.write(commands);
        }
    }
}

impl LogStore {
    /// Opens the log and proves all of it; see [`Log::open`]. With `inline` there is no thread:
    /// each call does its own disk work, and nothing is sealed but by [`LogStore::seal`].
    pub fn open(
        disk: Arc<dyn Disk>,
        mut options: LogOptions,
        inline: bool,
    ) -> Result<Self, LogError> {
        options.prepare_in_background &= !inline;
        let folder = options.folder.clone();
        let log = Log::open(disk.clone(), options)?;
        let (on_disk, entry_max_bytes) = (log.reader(), log.entry_max_bytes());
        let shared = Arc::new(Shared::new(read_view(&log)?));
        let writer = Writer::new(log, shared.clone());
        let door = match inline {
            true => {
                let (writer, behind) = (Mutex::new(writer), Mutex::default());
                Door::Inline(Arc::new(Inline { writer, disk, behind }))
            }
            false => {
                let (sender, queue) = mpsc::channel();
                let thread = thread::Builder::new().name("triad-log".into());
                thread
                    .spawn(move || writer.run(&queue))
                    .map_err(|error| LogError::disk("start the writer", &folder, error))?;
                Door::Thread(sender)
            }
        };
        Ok(Self { shared, on_disk, door: Arc::new(door), entry_max_bytes })
    }

    /// The first failure, if there was one.
    pub fn failure(&self) -> Option<LogError> {
        self.shared.failure.borrow().clone()
    }

    /// Waits for the first failure. The node must then exit with an error: what it holds in
    /// memory may be more than what is on its disk. Cancel safe.
    pub async fn failed(&self) -> LogError {
        let mut failure = self.shared.failure.subscribe();
        let failure = failure.wait_for(Option::is_some).await;
        let failure = failure.expect("this handle keeps the sender").clone();
        failure.expect("a failure was waited for")
    }

    /// The longest encoded entry in bytes.
    pub fn entry_max_bytes(&self) -> usize {
        self.entry_max_bytes
    }

    /// Records that everything written so far is durable. The thread does so by itself after
    /// some idle time; an inline log only when told.
    pub async fn seal(&self) -> Result<(), LogError> {
        self.ask(Command::Seal).await
    }

    /// Seals the log, closes it and frees its folder, after everything asked before. Every later
    /// call fails.
    pub async fn close(&self) -> Result<(), LogError> {
        self.ask(Command::Close).await
    }

    async fn ask(&self, command: impl FnOnce(Answer) -> Command) -> Result<(), LogError> {
        let (answer, outcome) = oneshot::channel();
        self.send(command(answer))?;
        outcome.await.unwrap_or_else(|_| Err(self.closed()))
    }

    fn send(&self, command: Command) -> Result<(), LogError> {
        match &*self.door {
            Door::Thread(sender) => sender.send(command).map_err(|_| self.closed()),
            Door::Inline(inline) => {
                inline.send(command);
                self.failure().map_or(Ok(()), Err)
            }
        }
    }

    fn closed(&self) -> LogError {
        self.failure().unwrap_or(LogError::Closed)
    }

    fn check(&self) -> Result<(), LogError> {
        self.failure().map_or(Ok(()), Err)
    }

    /// Whether every entry from `first` on can be read; a part at a time.
    pub(crate) fn check_readable(&self, first: u64) -> Result<(), LogError> {
        let mut next = first;
        loop {
            let entries = self.read(next..u64::MAX, LIMITED_READ_BYTES)?;
            let Some(last) = entries.last() else { return Ok(()) };
            next = last.log_id.index() + 1;
        }
    }

    /// Drops what another leader's entries took the place of, where the image knows and the log does
    /// not yet: the image may be on the disk before them, and a power cut in between leaves the
    /// entries from before. `applied` was committed, so no entry of an earlier term at its index or
    /// behind it ever can be.
    ///
    /// A vote is synced before any entry of its term. So a log whose vote is older than `applied` is
    /// an older log, and is left as it is, to be refused. Returns the first index dropped.
    ///
    /// # Errors
    ///
    /// The log cannot be read or written.
    pub(crate) async fn drop_overruled(&mut self, applied: LogId) -> io::Result<Option<u64>> {
        let (last, purged, vote) = {
            let view = self.shared.view();
            (view.last, view.purged, view.vote)
        };
        let index = applied.index();
        let is_overruled = last.is_some_and(|last| last < applied && last.index() >= index);
        let term = applied.committed_leader_id().term;
        if !is_overruled || vote.is_none_or(|vote| vote.leader_id.term < term) {
            return Ok(None);
        }
        let before = self.read(index.saturating_sub(1)..index, usize::MAX)?;
        let before = before.first().map(|entry| entry.log_id).or(purged);
        self.truncate_after(before).await?;
        self.seal().await?;
        Ok(Some(index))
    }

    /// Cold entries are read in place: they are few, short and mostly in the kernel's cache.
    fn read(&self, range: std::ops::Range<u64>, bytes_max: usize) -> Result<Vec<Entry>, LogError> {
        self.check()?;
        let pieces = self.shared.view().pieces(range, bytes_max, &self.on_disk);
        let entry = |piece| match piece {
            Piece::Recent(entry) => Ok(entry),
            Piece::OnDisk(found) => decode(&found.read()?, "a log entry", decode_entry),
        };
        pieces.into_iter().map(entry).collect()
    }
}

/// What a log holds when it was just opened.
fn read_view(log: &Log) -> Result<View, LogError> {
    let log_id = |position: &Position| decode(&position.log_id, "a log id", decode_log_id);
    let purged = log.purged().map(log_id).transpose()?;
    let (first, last) = match log.bounds() {
        Some((first, next)) => {
            let bytes = log.reader().read(next - 1)?.expect("the last entry is in bounds");
            let last = decode(&bytes, "the last log entry", decode_entry)?;
            (first, Some(last.log_id))
        }
        None => (purged.map_or(0, |purged| purged.index() + 1), purged),
    };
    let mut view = View::new(first, last, purged);
    view.committed = log.committed().map(log_id).transpose()?;
    view.vote = log.vote().map(|vote| decode(vote, "the vote", decode_vote)).transpose()?;
    Ok(view)
}

fn decode<T>(
    bytes: &[u8],
    what: &str,
    decoder: impl FnOnce(&[u8]) -> Result<T, EntryError>,
) -> Result<T, LogError> {
    decoder(bytes).map_err(|error| {
        let (what, reason) = (what.to_owned(), error.to_string());
        match error.is_newer() {
            true => LogError::Newer { what, reason },
            false => LogError::Undecodable { what, reason },
        }
    })
}

fn position(log_id: &LogId) -> Position {
    Position { index: log_id.index(), log_id: encode_log_id(log_id) }
}

/// A range as start and exclusive end.
fn half_open(range: &impl RangeBounds<u64>) -> std::ops::Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&end) => end.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        Ok(self.read(half_open(&range), usize::MAX)?)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        Ok(self.read(start..end, LIMITED_READ_BYTES)?)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.check()?;
        Ok(self.shared.view().vote)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        self.check()?;
        let view = self.shared.view();
        Ok(LogState { last_purged_log_id: view.purged, last_log_id: view.last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = encode_vote(vote);
        self.ask(|answer| Command::Vote(bytes, answer)).await?;
        self.shared.view().vote = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.check()?;
        if let Some(committed) = committed {
            let mut view = self.shared.view();
            view.committed = Some(committed);
            view.unwritten_commit = Some(position(&committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.check()?;
        Ok(self.shared.view().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter();
        let mut encoded = Vec::with_capacity(entries.size_hint().0);
        let mut recent = Vec::with_capacity(entries.size_hint().0);
        let mut bytes = 0;
        for entry in entries {
            let index = entry.log_id.index();
            let payload = encode_entry(&entry);
            if payload.len() > self.entry_max_bytes {
                let (length_bytes, length_max_bytes) = (payload.len(), self.entry_max_bytes);
                return Err(LogError::TooLarge { index, length_bytes, length_max_bytes }.into());
            }
            let length_bytes = record::length_bytes(payload.len());
            bytes += length_bytes;
            encoded.push((index, payload));
            recent.push((entry, length_bytes));
        }
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(QUEUED_KIB_MAX);
        // Given back by the writer, once the entries are durable.
        self.shared.room.acquire_many(kib).await.map_err(|_| self.closed())?.forget();
        let ordinal = self.shared.view().append(recent.into_iter())?;
        self.send(Command::Append { entries: encoded, ordinal, kib, callback })?;
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        self.check()?;
        let from = self.shared.view().truncate(last_log_id);
        if let Some(from) = from {
            self.send(Command::Truncate(from))?;
        }
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.check()?;
        let is_new = self.shared.view().purge(log_id);
        if is_new {
            self.send(Command::Purge(position(&log_id)))?;
        }
        Ok(())
    }
}
