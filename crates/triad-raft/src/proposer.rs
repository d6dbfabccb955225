//! How commands become log entries: gathered while the entry before is on its
//! way, stamped with both times, and answered one by one.

use std::sync::{Arc, Mutex};

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader, RaftError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use triad_ledger::{Command, encode_commands};

use crate::clock::{PeerClocks, TermClock};
use crate::comparison::{Hashes, Point};
use crate::consensus::{Committed, ProposeError};
use crate::machine::Shared;
use crate::peers::Raft;
use crate::types::{Proposal, Stamp, TypeConfig};
use crate::work::{Work, WorkSink};

/// Commands in one log entry. A batch of this size takes a few milliseconds
/// to apply.
const BATCH_COMMANDS_MAX: usize = 1_024;
/// A log entry must fit a log segment and a message between peers. Checkouts
/// are counted at their largest; a license is proposed on its own.
const BATCH_BYTES_MAX: usize = 2 << 20;
/// What an entry has besides its commands: its times, its id, a comparison.
const ENVELOPE_BYTES_MAX: usize = 256;

/// Commands that are committed together, and who waits for their answers.
pub(crate) struct Request {
    pub(crate) commands: Vec<Command>,
    pub(crate) reply: oneshot::Sender<Result<Committed, ProposeError>>,
}

/// The two times as this node would stamp them, from where the log stood when
/// the term began for it.
pub(crate) struct Timekeeper {
    raft: Raft,
    shared: Arc<Shared>,
    clocks: Arc<PeerClocks>,
    is_backup: bool,
    term: Mutex<Option<TermKept>>,
}

/// A term's clock. Until the ledger has applied an entry of the term, more entries of
/// earlier ones may come, and the clock begins where the last of them ends.
#[derive(Clone, Copy)]
struct TermKept {
    term: u64,
    clock: TermClock,
    is_whole: bool,
}

impl Timekeeper {
    pub(crate) fn new(
        raft: Raft,
        shared: Arc<Shared>,
        clocks: Arc<PeerClocks>,
        is_backup: bool,
    ) -> Self {
        Timekeeper { raft, shared, clocks, is_backup, term: Mutex::new(None) }
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let now = Instant::now();
        let term = self.raft.server_metrics().borrow_watched().vote.leader_id.term;
        let mut kept = self.term.lock().expect("no panic while held");
        let mut of_term = kept.filter(|kept| kept.term == term);
        // The ledger is asked until it is whole, and not with every batch.
        if of_term.is_none_or(|kept| !kept.is_whole) {
            let is_single = self.is_single();
            let state = self.shared.state();
            let is_whole = state.applied.is_some_and(|id| id.committed_leader_id().term == term);
            let begun = of_term.filter(|kept| !kept.clock.begins_before(state.stamp));
            let clock = begun.map(|kept| kept.clock);
            let clock = clock.unwrap_or_else(|| TermClock::new(state.stamp, is_single, now));
            of_term = Some(TermKept { term, clock, is_whole });
        }
        let mut of_term = of_term.expect("just set");
        let stamp = of_term.clock.stamp(now, &self.clocks);
        *kept = Some(of_term);
        stamp
    }

    /// A back-up that goes on alone is one of two.
    fn is_single(&self) -> bool {
        let metrics = self.raft.metrics();
        let nodes = metrics.borrow_watched().membership_config.nodes().count();
        nodes == 1 && !self.is_backup
    }
}

/// Gathers requests into entries. While one entry is on its way to the disks
/// the next gathers, so that the batch grows with the load.
pub(crate) struct Proposer {
    raft: Raft,
    shared: Arc<Shared>,
    timekeeper: Arc<Timekeeper>,
    /// What the others' ledgers were.
    hashes: Arc<Hashes>,
    /// The last point of comparison that we announced.
    compared: u64,
    /// The newest point that the others have not told of, and our term.
    undecided: Option<(u64, Point)>,
    work: Option<WorkSink>,
}

impl Proposer {
    pub(crate) fn new(
        raft: Raft,
        shared: Arc<Shared>,
        timekeeper: Arc<Timekeeper>,
        hashes: Arc<Hashes>,
        work: Option<WorkSink>,
    ) -> Self {
        Proposer { raft, shared, timekeeper, hashes, compared: 0, undecided: None, work }
    }

    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut waiting: Vec<Request> = Vec::new();
        while queue.recv_many(&mut waiting, BATCH_COMMANDS_MAX).await > 0 {
            while !waiting.is_empty() {
                let (batch, commands) = gather(&mut waiting);
                if !commands.is_empty() {
                    self.propose(batch, commands).await;
                }
            }
        }
    }

    async fn propose(&mut self, batch: Vec<(Request, usize)>, mut commands: Vec<Command>) {
        let began = Instant::now();
        let (requests, count) = (batch.len(), commands.len());
        commands.extend(self.comparison());
        let proposal = Proposal::new(self.timekeeper.stamp(), commands);
        let written = self.raft.client_write(proposal).await;
        if let Some(work) = &self.work {
            let id = written.as_ref().ok().map(|response| response.log_id);
            let entry = id.map(|id| (id.committed_leader_id().term, id.index()));
            work(began, Work::Batch { requests, commands: count, entry });
        }
        match written {
            Ok(response) => {
                let id = response.log_id;
                let mut answers = response.data.0.into_iter();
                for (request, count) in batch {
                    let committed = Committed {
                        term: id.committed_leader_id().term,
                        index: id.index(),
                        answers: answers.by_ref().take(count).collect(),
                    };
                    let _ = request.reply.send(Ok(committed));
                }
            }
            Err(error) => {
                let error = propose_error(&error);
                for (request, _) in batch {
                    let _ = request.reply.send(Err(error.clone()));
                }
            }
        }
    }

    /// The newest point at which all nodes compare their ledgers, if it is not stated yet, with
    /// the hash that a majority of the voters has there. Nobody, this node included, is right
    /// against it. Where there is none by the next point, this node's own is stated: of two
    /// that differ one stops, and no quorum is left to serve with either.
    fn comparison(&mut self) -> Option<Command> {
        let newest = {
            let state = self.shared.state();
            state.hashes.last_key_value().map(|(index, hash)| (*index, *hash))?
        };
        if newest.0 <= self.compared {
            return None;
        }
        let (term, agreed) = {
            let metrics = self.raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let voters = metrics.membership_config.membership().voter_ids();
            (metrics.vote.leader_id.term, self.hashes.agreed((metrics.id, newest), voters))
        };
        let waited_for = self.undecided.filter(|(in_term, _)| *in_term == term);
        let overdue = waited_for.map(|(_, point)| point).filter(|(index, _)| *index < newest.0);
        self.undecided = agreed.is_none().then_some((term, newest));
        let (index, hash) = agreed.or(overdue)?;
        self.compared = index;
        Some(Command::Compare { index, hash })
    }
}

/// Takes as many requests as fit one entry. Whoever has given up meanwhile is
/// left out: nothing was applied for them.
fn gather(waiting: &mut Vec<Request>) -> (Vec<(Request, usize)>, Vec<Command>) {
    let (mut requests, mut commands, mut bytes) = (0, 0, 0);
    let mut taken = 0;
    for request in waiting.iter() {
        let size: usize = request.commands.iter().map(size_bytes).sum();
        let full = commands + request.commands.len() > BATCH_COMMANDS_MAX
            || bytes + size > BATCH_BYTES_MAX;
        if taken > 0 && full {
            break;
        }
        taken += 1;
        if !request.reply.is_closed() {
            requests += 1;
            commands += request.commands.len();
            bytes += size;
        }
    }
    let mut batch = Vec::with_capacity(requests);
    // And a comparison, at times.
    let mut all = Vec::with_capacity(commands + 1);
    for mut request in waiting.drain(..taken) {
        if !request.reply.is_closed() {
            let own = std::mem::take(&mut request.commands);
            batch.push((request, own.len()));
            all.extend(own);
        }
    }
    (batch, all)
}

/// Refuses what no entry of the log has room for: Raft takes one that cannot be written for a
/// broken disk.
pub(crate) fn check_size(commands: &[Command], entry_max_bytes: usize) -> Result<(), ProposeError> {
    let guessed: usize = commands.iter().map(size_bytes).sum();
    if guessed <= BATCH_BYTES_MAX {
        return Ok(());
    }
    let bytes = encode_commands(commands).len();
    let max_bytes = entry_max_bytes.saturating_sub(ENVELOPE_BYTES_MAX);
    if bytes > max_bytes { Err(ProposeError::TooLarge { bytes, max_bytes }) } else { Ok(()) }
}

/// A generous guess at a command's bytes.
fn size_bytes(command: &Command) -> usize {
    match command {
        Command::SetPolicy { policy } => policy.text.len() * 2 + policy.rules.len() * 512,
        Command::Checkout { items, .. } | Command::Borrow { items, .. } => 64 + items.len() * 96,
        Command::Open { .. } => 8_192,
        // Lines may name a thousand hosts each, and answers be of any size: they are measured.
        Command::Install { .. } | Command::Adopt { .. } => BATCH_BYTES_MAX + 1,
        Command::By { command, .. } => 64 + size_bytes(command),
        Command::Revoke { .. } | Command::CreateToken { .. } | Command::NoteDeed { .. } => 512,
        _ => 64,
    }
}

fn propose_error(error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(ForwardToLeader { .. })) => {
            ProposeError::NotLeader
        }
        RaftError::APIError(_) => ProposeError::Unknown,
        RaftError::Fatal(_) => ProposeError::Stopped,
    }
}
