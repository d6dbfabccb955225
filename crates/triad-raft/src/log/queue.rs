//! The one writer of the log: takes what is queued, makes it durable together, answers in order.
//!
//! On a real node it is a thread of its own. In simulation the same steps run inside the call
//! that asks for them.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openraft::storage::IOFlushed;
use tokio::sync::{Semaphore, oneshot, watch};

use super::error::LogError;
use super::state::Position;
use super::view::View;
use super::writer::Log;
use crate::mutation::{self, Mutation};
use crate::types::TypeConfig;

/// After this long without work the log is sealed: rarely enough to cost a busy node nothing,
/// soon enough that hardly a last record stays unsealed.
const SEAL_AFTER: Duration = Duration::from_millis(100);

/// One write is begun at the latest with this much: more would only delay the first answers.
const GATHERED_BYTES_MAX: usize = 1024 * 1024;

/// Queued and not yet durable, in KiB; whoever has more to append waits. Several seconds of
/// work for a slow disk.
pub(super) const QUEUED_KIB_MAX: u32 = 64 * 1024;

/// What the writer can be asked to do.
pub(super) enum Command {
    /// Append entries, encoded; `ordinal` is the view's, `kib` the room they took in the queue.
    Append { entries: Vec<(u64, Vec<u8>)>, ordinal: u64, kib: u32, callback: IOFlushed<TypeConfig> },
    /// Drop the entries from this index on.
    Truncate(u64),
    /// Drop the entries up to this position.
    Purge(Position),
    /// Keep a vote, and say when it is durable.
    Vote(Vec<u8>, Answer),
    /// Seal the log now.
    Seal(Answer),
    /// Seal and close the log.
    Close(Answer),
}

/// Where the outcome of a command goes.
pub(super) type Answer = oneshot::Sender<Result<(), LogError>>;

/// What the writer shares with the handles of the log.
#[derive(Debug)]
pub(super) struct Shared {
    view: Mutex<View>,
    /// The first failure. It is final.
    pub failure: watch::Sender<Option<LogError>>,
    /// Room in the queue, in KiB.
    pub room: Semaphore,
}

impl Shared {
    pub fn new(view: View) -> Self {
        Self {
            view: Mutex::new(view),
            failure: watch::Sender::new(None),
            room: Semaphore::new(QUEUED_KIB_MAX as usize),
        }
    }

    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("nothing panics while it holds the view")
    }

    fn fail(&self, error: &LogError) {
        self.failure.send_if_modified(|failure| {
            let is_first = failure.is_none();
            failure.get_or_insert_with(|| error.clone());
            is_first
        });
        self.room.close();
    }
}

/// The owner of the log.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` once closed.
    log: Option<Log>,
    shared: Arc<Shared>,
    /// Appends that the next flush makes durable.
    waiting: Vec<Waiting>,
}

struct Waiting {
    ordinal: u64,
    kib: u32,
    callback: IOFlushed<TypeConfig>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("ordinal", &self.ordinal).finish_non_exhaustive()
    }
}

impl Writer {
    pub fn new(log: Log, shared: Arc<Shared>) -> Self {
        Self { log: Some(log), shared, waiting: Vec::new() }
    }

    /// Serves the queue until the log is closed or its last handle is gone.
    pub fn run(mut self, queue: &Receiver<Command>) {
        while self.log.is_some() {
            let is_sealed = self.log.as_ref().is_none_or(Log::is_sealed);
            let is_idle = is_sealed || self.shared.failure.borrow().is_some();
            let command = match is_idle {
                true => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => queue.recv_timeout(SEAL_AFTER),
            };
            match command {
                Ok(command) => {
                    self.take(command);
                    while self.has_room()
                        && let Ok(command) = queue.try_recv()
                    {
                        self.take(command);
                    }
                    self.finish();
                }
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.seal();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = self.close();
                }
            }
        }
        // Whoever was queued behind the close is told.
        while let Ok(command) = queue.try_recv() {
            self.take(command);
            self.finish();
        }
    }

    fn has_room(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.gathered_bytes() < GATHERED_BYTES_MAX)
    }

    /// Takes one command. Appends and truncations are only gathered: [`Writer::finish`] makes
    /// them durable.
    pub fn take(&mut self, command: Command) {
        match command {
            Command::Append { entries, ordinal, kib, callback } => {
                self.waiting.push(Waiting { ordinal, kib, callback });
                let _ = self.with_log(|log| {
                    entries.iter().try_for_each(|(index, payload)| log.append(*index, payload))
                });
            }
            Command::Truncate(from) => {
                let _ = self.with_log(|log| log.truncate(from));
            }
            Command::Purge(position) => {
                let _ = self.with_log(|log| log.purge(position));
            }
            Command::Vote(vote, answer) => {
                self.finish();
                if mutation::is_on(Mutation::ForgetVote) {
                    let _ = answer.send(Ok(()));
                    return;
                }
                let _ = answer.send(self.with_log(|log| log.save_vote(vote)));
            }
            Command::Seal(answer) => {
                self.finish();
                let _ = answer.send(self.seal());
            }
            Command::Close(answer) => {
                self.finish();
                let _ = answer.send(self.close());
            }
        }
    }

    /// Makes everything taken durable and says so, in order.
    pub fn finish(&mut self) {
        self.pass_commit();
        if mutation::is_on(Mutation::AnswerBeforeSync) {
            for waiting in self.waiting.drain(..) {
                self.shared.room.add_permits(waiting.kib as usize);
                waiting.callback.io_completed(Ok(()));
            }
            return;
        }
        let outcome = self.with_log(Log::flush);
        if let Some(last) = self.waiting.last().filter(|_| outcome.is_ok()) {
            self.shared.view().flushed(last.ordinal);
        }
        for waiting in self.waiting.drain(..) {
            self.shared.room.add_permits(waiting.kib as usize);
            waiting.callback.io_completed(outcome.clone().map_err(Into::into));
        }
    }

    fn seal(&mut self) -> Result<(), LogError> {
        self.pass_commit();
        self.with_log(Log::seal)
    }

    fn close(&mut self) -> Result<(), LogError> {
        let sealed = self.seal();
        self.log = None;
        // From here on nobody gets in, also before the queue itself is gone.
        self.shared.room.close();
        sealed
    }

    /// The mark must not be durable before the entry that it names: Raft commits what it has
    /// handed over, which may wait in the queue still, and a log that is committed beyond its end
    /// is not opened again.
    fn pass_commit(&mut self) {
        let Some(log) = self.log.as_mut() else { return };
        let next = log.next_index();
        let is_there = |commit: &mut Position| next.is_some_and(|next| commit.index < next);
        let commit = self.shared.view().unwritten_commit.take_if(is_there);
        if let Some(commit) = commit {
            log.commit(commit);
        }
    }

    fn with_log(
        &mut self,
        step: impl FnOnce(&mut Log) -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let log = self.log.as_mut().ok_or(LogError::Closed)?;
        step(log).inspect_err(|error| self.shared.fail(error))
    }
}
