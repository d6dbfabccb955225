//! Consensus: one node's part in the agreement of three. Commands go in, are
//! committed in batches, and come back with the ledger's answer.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::RaftError;
use openraft::storage::RaftLogStorage;
use openraft::{Config, Instant as _, SnapshotPolicy};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use triad_ledger::{Answer, Command, Ledger, StateHash, rules_known};
use triad_proto::net::{ClientTls, SharedNetwork};
use triad_proto::v1::peer_service_server::PeerServiceServer;

use crate::alone;
use crate::clock::{PeerClocks, WallClock};
use crate::confirmed::{Confirmed, Memory};
use crate::death;
use crate::disk::Disk;
use crate::filling;
use crate::handover;
use crate::health::{DiskHealth, Health};
use crate::heard::Heard;
use crate::histogram::Counted;
use crate::history::{History, Retention};
use crate::image::{ImageError, ImageWriter, SledImage, WholeImage};
use crate::leadership::{self, Leadership};
use crate::log::{LogError, LogOptions, LogStore};
use crate::machine::{EventSink, Machine, Shared};
use crate::membership::{self, Removed};
use crate::network::{MESSAGE_BYTES_MAX, Peers};
use crate::peers::{Raft, Service};
use crate::proposer::{self, Proposer, Request, Timekeeper};
use crate::rules::{self, Outdated, PeerRules};
use crate::runtime;
use crate::saved;
use crate::simulation::Simulation;
use crate::types::{LogId, Member};
use crate::work::WorkSink;

/// Requests waiting to be proposed. At 100,000 commands a second this is a
/// sixth of a second; longer queues only make everybody late.
const REQUESTS_WAITING_MAX: usize = 16_384;
/// After this many entries the image becomes a snapshot point, so that the log
/// before it may be purged; half as many are kept behind it, for a peer that
/// was away for a while.
pub const SNAPSHOT_ENTRIES_DEFAULT: u64 = 20_000;
/// Entries are purged so many at a time, where so many are kept at all.
const PURGE_ENTRIES: u64 = 1_000;
/// A peer this far behind is sent a snapshot instead of entries.
const LAG_MAX: u64 = 100_000;
/// How long stopping waits for the image to have everything.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long stopping waits for Raft, and then for the image.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest quorum lease: for so long after it last heard from a quorum a
/// leader may acknowledge heartbeats of sessions. A new leader adds this bound,
/// not its own setting, to every lease, so nodes need not agree on settings.
pub const QUORUM_LEASE_MAX: Duration = Duration::from_secs(2);

/// Raft's clockwork. The election timeout is drawn between the two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How often the leader says that it is there, ms.
    pub heartbeat_ms: u64,
    /// The shortest silence after which a follower stands for election, ms.
    pub election_min_ms: u64,
    /// The longest, ms; at most [`QUORUM_LEASE_MAX`] / 2.
    pub election_max_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing { heartbeat_ms: 50, election_min_ms: 150, election_max_ms: 300 }
    }
}

/// Where a node's data comes from. Only one that never ran may start with an
/// empty log: one that lost its data would vote without memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It has run before, and its log is there.
    Kept,
    /// It has never run, and founds the cluster with the others.
    Founding,
    /// It has never run, and waits to be taken into a cluster that serves.
    Joining,
    /// It has followed the main server of a pair, and goes on alone from what it
    /// has: the others are told nothing and are not listened to.
    Alone,
    /// It has never run, and begins a cluster of its own with a saved ledger.
    Restored,
}

/// What a node needs to take part.
pub struct Options {
    /// The cluster's id; files and peers of another are refused.
    pub cluster_id: String,
    /// This node.
    pub node_id: u64,
    /// All nodes that form the cluster, this one included.
    pub members: BTreeMap<u64, Member>,
    /// Where the log and the image are kept.
    pub data_dir: PathBuf,
    /// Where the node's data comes from.
    pub origin: Origin,
    /// Raft's clockwork.
    pub timing: Timing,
    /// Stand for election as soon as the leader's process is seen to be dead.
    pub death_notice: bool,
    /// How much of the usage history is kept.
    pub retention: Retention,
    /// Entries between snapshot points; see [`SNAPSHOT_ENTRIES_DEFAULT`].
    pub snapshot_entries: u64,
    /// How peers are reached.
    pub network: SharedNetwork,
    /// How peers prove who they are; `None` for no TLS, on loopback only.
    pub peer_tls: Option<ClientTls>,
    /// The node's wall clock.
    pub wall_clock: Box<dyn WallClock>,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Told of every event right after it was applied.
    pub events: EventSink,
    /// Told of batches and snapshots, if anybody wants to know.
    pub work: Option<WorkSink>,
    /// Set where the node runs in a simulation.
    pub simulation: Option<Simulation>,
}

/// Why a node could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Raft itself.
    #[error("consensus cannot start: {0}")]
    Raft(String),
}

/// Why a proposal was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead. Nothing was applied.
    #[error("this node does not lead")]
    NotLeader,
    /// This node leads but has not heard from a quorum. Nothing was applied.
    #[error("no quorum")]
    NoQuorum,
    /// Too many requests wait. Nothing was applied.
    #[error("too many requests wait")]
    Overloaded,
    /// It does not fit an entry of the log. Nothing was applied.
    #[error("{bytes} bytes do not fit an entry of the log, which has room for {max_bytes}")]
    TooLarge {
        /// What was asked for takes so many.
        bytes: usize,
        /// As much fits.
        max_bytes: usize,
    },
    /// No answer in time, or leadership was lost on the way. Whether it was
    /// applied is unknown; asking again with the same request id is safe.
    #[error("no answer in time, the outcome is unknown")]
    Unknown,
    /// The node is stopping. Whether it was applied is unknown.
    #[error("the node is stopping")]
    Stopped,
}

impl ProposeError {
    /// Whether the commands may have been applied all the same.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, ProposeError::Unknown | ProposeError::Stopped)
    }
}

/// The answers to commands that were committed together.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The Raft term of the entry.
    pub term: u64,
    /// Its log index.
    pub index: u64,
    /// One answer per command, in order.
    pub answers: Vec<Answer>,
}

/// A node as this node sees it.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// The node.
    pub node_id: u64,
    /// Its names and addresses.
    pub member: Member,
    /// It votes; otherwise it only learns.
    pub is_voter: bool,
    /// Seen by the leader: the last entry known to be on it.
    pub matched_index: Option<u64>,
    /// Seen by the leader: how long ago it last answered.
    pub answered_ago: Option<Duration>,
    /// Its wall clock less ours, ms.
    pub clock_offset_ms: Option<i64>,
    /// The newest rules that it can apply, as it said last. Of other nodes only their
    /// leader knows.
    pub rules: Option<u32>,
    /// It is drained, as it said lately. Of other nodes only their leader knows.
    pub is_drained: bool,
}

/// A node that has not answered the leader for this long counts as away.
const ANSWER_AGE_MAX: Duration = Duration::from_secs(1);

impl MemberView {
    /// Seen by the leader: whether it has answered lately.
    pub fn answers(&self) -> bool {
        self.answered_ago.is_some_and(|ago| ago <= ANSWER_AGE_MAX)
    }
}

/// The cluster as this node sees it.
#[derive(Clone, Debug)]
pub struct ClusterView {
    /// Who leads.
    pub leadership: Leadership,
    /// The last entry in this node's log.
    pub last_index: u64,
    /// The last entry that its ledger has applied.
    pub applied_index: u64,
    /// Every node.
    pub members: Vec<MemberView>,
    /// On the leader: how long ago a quorum last confirmed it.
    pub quorum_ago: Option<Duration>,
}

/// One node's part in the agreement. Cheap to clone.
#[derive(Clone)]
pub struct Consensus(Arc<Inner>);

/// [`Consensus`], unless the node is gone.
pub(crate) struct WeakConsensus(Weak<Inner>);

impl WeakConsensus {
    /// The node, if it is still there.
    pub(crate) fn upgrade(&self) -> Option<Consensus> {
        self.0.upgrade().map(Consensus)
    }
}

struct Inner {
    node_id: u64,
    raft: Raft,
    shared: Arc<Shared>,
    log: LogStore,
    image: ImageWriter,
    history: History,
    memory: Arc<Memory>,
    outdated: Arc<Outdated>,
    removed: Removed,
    confirmed: Arc<Confirmed>,
    peer_rules: Arc<PeerRules>,
    clocks: Arc<PeerClocks>,
    timekeeper: Arc<Timekeeper>,
    health: Arc<Health>,
    quorum_lease: Duration,
    requests: mpsc::Sender<Request>,
    leadership: watch::Receiver<Leadership>,
}

impl Consensus {
    /// Opens the node's data, checks all of it, and takes part. The service is
    /// to be served on the peer port.
    ///
    /// # Errors
    ///
    /// Damaged or foreign data: the node does not start on it.
    pub async fn start(
        mut options: Options,
    ) -> Result<
        (Self, PeerServiceServer<impl triad_proto::v1::peer_service_server::PeerService>),
        StartError,
    > {
        let owner = owner(&options.cluster_id, options.node_id);
        let log_folder = options.data_dir.join("log");
        let mut log_options = LogOptions::new(log_folder, owner);
        log_options.create =
            matches!(options.origin, Origin::Founding | Origin::Joining | Origin::Restored);
        if let Some(simulation) = &options.simulation {
            log_options.segment_bytes = simulation.segment_bytes;
        }
        let inline = options.simulation.is_some();
        let health = Health::new(options.disk.clone(), options.data_dir.clone(), inline);
        let health = Arc::new(health);
        let mut log = LogStore::open(health.measured(), log_options, inline)?;
        let image_folder = options.data_dir.join("image");
        let mut machine = open_machine(&image_folder, &mut options)?;
        machine.work = options.work.clone();
        let (shared, image, history) = (machine.shared(), machine.image(), machine.history());
        check_reach(&log, &shared, &image_folder).await?;
        check_readable(&mut log, &shared).await?;
        match options.origin {
            Origin::Alone => alone::go_on(&log, &machine, options.node_id).await?,
            Origin::Restored => saved::begin(&log, &machine, options.node_id).await?,
            Origin::Kept | Origin::Founding | Origin::Joining => {}
        }

        let cluster_id: Arc<str> = options.cluster_id.into();
        let clocks = Arc::new(PeerClocks::new(options.wall_clock));
        let certified = options.peer_tls.is_some();
        let network = options.network.clone();
        let peers = Peers::new(
            cluster_id.clone(),
            options.node_id,
            options.network,
            options.peer_tls,
            clocks.clone(),
            health.clone(),
        );
        let (removed, confirmed) = (peers.removed.clone(), peers.confirmed.clone());
        let (peer_rules, hashes) = (peers.rules.clone(), peers.hashes.clone());
        let config = config(&cluster_id, options.timing, options.snapshot_entries)?;
        let fetching = peers.clone();
        let seed = options.simulation.as_ref().map(|simulation| simulation.seed);
        let raft = Raft::new(options.node_id, config, peers, log.clone(), machine);
        let raft = runtime::seeded(seed, raft).await;
        let raft = raft.map_err(|error| StartError::Raft(error.to_string()))?;
        shared.started();
        if options.origin == Origin::Founding {
            // Every founding node proposes the same members. Where two of them
            // do it at once, one's first entry wins like any other conflict, so
            // it does not matter which do it, or in which order they start.
            match raft.initialize(options.members).await {
                // Another node was faster.
                Ok(()) | Err(RaftError::APIError(_)) => {}
                Err(error) => return Err(StartError::Raft(error.to_string())),
            }
        }

        let (lost, notices) = mpsc::channel(4);
        if options.death_notice {
            let own = (options.node_id, health.clone());
            tokio::spawn(death::watch(raft.clone(), own, network, notices));
        }
        let quorum_lease =
            Duration::from_millis(2 * options.timing.election_max_ms).min(QUORUM_LEASE_MAX);
        let heard = Arc::new(Heard::new(quorum_lease));
        let (announce, leadership) = watch::channel(Leadership::default());
        tokio::spawn(leadership::follow(raft.clone(), options.node_id, heard.clone(), announce));
        tokio::spawn(membership::complete_changes(raft.clone(), leadership.clone()));
        let (requests, queue) = mpsc::channel(REQUESTS_WAITING_MAX);
        let is_backup = options.origin == Origin::Alone;
        let timekeeper = Timekeeper::new(raft.clone(), shared.clone(), clocks.clone(), is_backup);
        let timekeeper = Arc::new(timekeeper);
        let keeper = timekeeper.clone();
        let proposer = Proposer::new(raft.clone(), shared.clone(), keeper, hashes, options.work);
        tokio::spawn(proposer.run(queue));

        let (memory, outdated) = (Arc::new(Memory::new()), Arc::new(Outdated::new()));
        let service = Service {
            raft: raft.clone(),
            cluster_id,
            node_id: options.node_id,
            clocks: clocks.clone(),
            heard,
            health: health.clone(),
            memory: memory.clone(),
            outdated: outdated.clone(),
            certified,
            lost,
            history: history.clone(),
            points: shared.points(),
            is_alone: options.origin == Origin::Alone,
        };
        let filling =
            filling::run(raft.clone(), options.node_id, fetching, history.store(), image.clone());
        tokio::spawn(filling);
        let service = PeerServiceServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        let inner = Inner {
            node_id: options.node_id,
            raft,
            shared,
            log,
            image,
            history,
            memory,
            outdated,
            removed,
            confirmed,
            peer_rules,
            clocks,
            timekeeper,
            health,
            quorum_lease,
            requests,
            leadership,
        };
        let consensus = Consensus(Arc::new(inner));
        tokio::spawn(handover::run(consensus.downgrade()));
        Ok((consensus, service))
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.0.shared
    }

    /// For a task that must not keep the node alive.
    pub(crate) fn downgrade(&self) -> WeakConsensus {
        WeakConsensus(Arc::downgrade(&self.0))
    }

    /// This node.
    pub fn node_id(&self) -> u64 {
        self.0.node_id
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.0.raft
    }

    pub(crate) fn peer_rules(&self) -> &PeerRules {
        &self.0.peer_rules
    }

    pub(crate) fn confirmed(&self) -> &Confirmed {
        &self.0.confirmed
    }

    /// Proposes commands that are committed together, and waits for their
    /// answers. Dropping the future leaves the outcome unknown.
    ///
    /// # Errors
    ///
    /// See [`ProposeError`]; `outcome_unknown` tells whether it may have been
    /// applied.
    pub async fn propose(
        &self,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Committed, ProposeError> {
        if !self.leadership().serving {
            return Err(ProposeError::NotLeader);
        }
        if !self.quorum_is_fresh() {
            return Err(ProposeError::NoQuorum);
        }
        proposer::check_size(&commands, self.0.log.entry_max_bytes())?;
        let (reply, answer) = oneshot::channel();
        match self.0.requests.try_send(Request { commands, reply }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(ProposeError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(ProposeError::Stopped),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ProposeError::Stopped),
            Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Asks the ledger as it stands on this node. The closure must be short:
    /// nothing is applied meanwhile.
    pub fn read<T>(&self, question: impl FnOnce(&Ledger) -> T) -> T {
        question(&self.0.shared.state().ledger)
    }

    /// The usage history that this node keeps.
    pub fn history(&self) -> History {
        self.0.history.clone()
    }

    /// The hash of this node's ledger, and the log index it is of.
    pub fn state_hash(&self) -> (u64, StateHash) {
        let mut state = self.0.shared.state();
        let index = state.ledger.at().index;
        (index, state.settle())
    }

    /// Waits until this node's ledger has applied everything that was
    /// committed when this was called, as confirmed by a quorum.
    ///
    /// # Errors
    ///
    /// The node does not lead, or cannot reach a quorum before the deadline.
    pub async fn read_barrier(&self, deadline: Instant) -> Result<(), ProposeError> {
        let confirmed = self.0.raft.ensure_linearizable(leadership::read_policy());
        match timeout_at(deadline, confirmed).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(RaftError::APIError(error))) => Err(match error {
                openraft::errors::LinearizableReadError::ForwardToLeader(_) => {
                    ProposeError::NotLeader
                }
                openraft::errors::LinearizableReadError::QuorumNotEnough(_) => {
                    ProposeError::NoQuorum
                }
            }),
            Ok(Err(RaftError::Fatal(_))) => Err(ProposeError::Stopped),
            Err(_) => Err(ProposeError::NoQuorum),
        }
    }

    /// Who leads.
    pub fn leadership(&self) -> Leadership {
        *self.0.leadership.borrow()
    }

    /// Who leads, from now on.
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.clone()
    }

    /// Where a node listens for clients.
    pub fn client_address(&self, node_id: u64) -> Option<String> {
        let metrics = self.0.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        Some(metrics.membership_config.get_node(&node_id)?.client_address.clone())
    }

    /// True while this leader may acknowledge heartbeats: a quorum confirmed it
    /// within the quorum lease, counted from when the confirmed message was
    /// *sent*.
    pub fn quorum_is_fresh(&self) -> bool {
        // The members are looked at only where the clock says no: this is asked
        // with every heartbeat.
        self.quorum_ago().is_some_and(|ago| ago < self.0.quorum_lease) || self.leads_alone()
    }

    /// Cluster time as this node would stamp it now, ms.
    pub fn cluster_ms(&self) -> u64 {
        self.0.timekeeper.stamp().cluster_ms
    }

    /// The date, by the nodes' clocks, ms since 1970 UTC.
    pub fn date_ms(&self) -> u64 {
        self.0.timekeeper.stamp().date_ms
    }

    /// What this node's own clock on the wall shows, ms since 1970 UTC. It
    /// decides nothing alone.
    pub fn wall_ms(&self) -> u64 {
        self.0.clocks.wall_ms()
    }

    fn quorum_ago(&self) -> Option<Duration> {
        let metrics = self.0.raft.data_metrics();
        metrics.borrow_watched().last_quorum_acked.as_ref().map(|at| at.elapsed())
    }

    /// A cluster of one is its own quorum.
    fn leads_alone(&self) -> bool {
        self.leadership().leader == Some(self.0.node_id)
            && self.0.raft.voter_ids().eq([self.0.node_id])
    }

    /// The cluster as this node sees it.
    pub fn view(&self) -> ClusterView {
        let metrics = self.0.raft.metrics();
        let metrics = metrics.borrow_watched();
        let now = Instant::now();
        let offsets = self.0.clocks.offsets(now);
        let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
        let last_index = metrics.last_log_index.unwrap_or(0);
        let member = |(id, member): (&u64, &Member)| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(id));
            let answered = metrics.heartbeat.as_ref().and_then(|all| all.get(id));
            MemberView {
                node_id: *id,
                member: member.clone(),
                is_voter: voters.contains(id),
                matched_index: matched.and_then(|id| id.as_ref()).map(|id| id.index()),
                answered_ago: answered.and_then(|at| at.as_ref()).map(|at| at.elapsed()),
                clock_offset_ms: offsets.get(id).copied(),
                rules: match *id == self.0.node_id {
                    true => Some(rules_known()),
                    false => self.0.peer_rules.of(*id),
                },
                is_drained: match *id == self.0.node_id {
                    true => self.is_drained(),
                    false => self.0.health.is_peer_drained(*id, now),
                },
            }
        };
        ClusterView {
            leadership: self.leadership(),
            last_index,
            applied_index: metrics.last_applied.as_ref().map_or(0, |id| id.index()),
            members: metrics.membership_config.nodes().map(member).collect(),
            quorum_ago: metrics.last_quorum_acked.as_ref().map(|at| at.elapsed()),
        }
    }

    /// The newest rules that every node can apply, those included that only learn;
    /// `None` while one of them has not said so lately. For the leader alone.
    pub fn common_rules(&self) -> Option<u32> {
        let own = self.0.node_id;
        let members = self.view().members;
        let said = members.iter().map(|m| m.rules.filter(|_| m.node_id == own || m.answers()));
        rules::common(said)
    }

    /// What it took to write the log down, each time.
    pub fn sync_times(&self) -> Counted {
        self.0.health.sync_times()
    }

    /// Room on the disk of this node's data, bytes; `None` where the disk does
    /// not say. Blocks for the system.
    pub fn disk_free_bytes(&self) -> Option<u64> {
        self.0.health.free_bytes(Instant::now())
    }

    /// Whether this node leads no more from now on: it does not stand for election
    /// while another can win it, and takes no leadership that is handed to it. It
    /// goes on to vote. It is forgotten with the process.
    pub fn drain(&self, drained: bool) {
        self.0.health.drain(drained);
        self.0.raft.runtime_config().elect(!drained);
    }

    pub(crate) fn health(&self) -> &Health {
        &self.0.health
    }

    /// Whether it stands for election when the leader is silent.
    pub(crate) fn may_stand(&self, may: bool) {
        self.0.raft.runtime_config().elect(may);
    }

    /// See [`Consensus::drain`].
    pub fn is_drained(&self) -> bool {
        self.0.health.is_drained()
    }

    /// Whether a peer has said lately that it is not to lead.
    pub(crate) fn is_unfit(&self, peer: u64) -> bool {
        self.0.health.is_unfit(peer, Instant::now())
    }

    /// How this node's disk does.
    pub(crate) fn disk_health(&self, now: Instant) -> DiskHealth {
        self.0.health.own(now)
    }

    /// A peer whose disk is so much healthier that it should lead instead.
    pub(crate) fn healthier(&self, now: Instant) -> Option<(u64, DiskHealth)> {
        let voters: Vec<u64> = self.0.raft.voter_ids().collect();
        self.0.health.healthier(&voters, now)
    }

    /// Resolves when the node must stop: its disk failed, its ledger differs,
    /// its log lacks what it confirmed, it is too old for its cluster, it was removed from the cluster, or
    /// consensus died. The process must then exit with an error.
    pub async fn failure(&self) -> String {
        let mut metrics = self.0.raft.server_metrics();
        let dead = async {
            loop {
                if let Err(fatal) = self.0.raft.is_initialized().await {
                    return fatal.to_string();
                }
                if metrics.changed().await.is_err() {
                    return "consensus stopped".to_owned();
                }
            }
        };
        tokio::select! {
            error = self.0.log.failed() => error.to_string(),
            error = self.0.image.failure() => error.to_string(),
            forgotten = self.0.memory.forgotten() => forgotten.to_string(),
            outdated = self.0.outdated.found() => outdated,
            () = self.0.removed.for_good(&self.0.raft) => {
                "another node took this node's place, or it was removed: it takes part no longer. \
                 Stop it for good, and remove its data"
                    .to_owned()
            }
            error = dead => error,
        }
    }

    /// Stops taking part and closes the data.
    pub async fn stop(&self) {
        // Flushing the image now spares the next start the replay.
        let index = |id: &Option<LogId>| id.as_ref().map_or(0, |id| id.index());
        let mut metrics = self.0.raft.metrics();
        let applied = index(&metrics.borrow_watched().last_applied);
        let _ = self.0.raft.trigger().snapshot().await;
        let flushed = async {
            while index(&metrics.borrow_watched().snapshot) < applied {
                if metrics.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(FLUSH_TIMEOUT, flushed).await;
        let _ = timeout(STOP_TIMEOUT, self.0.raft.shutdown()).await;
        let _ = timeout(STOP_TIMEOUT, self.0.image.settle()).await;
        let _ = self.0.log.close().await;
    }
}

fn open_machine(image_folder: &Path, options: &mut Options) -> Result<Machine, ImageError> {
    let snapshots = options.data_dir.join("snapshot");
    let disk = options.disk.clone();
    let events = std::mem::replace(&mut options.events, Box::new(|_| {}));
    match &options.simulation {
        None => {
            let image = SledImage::open(image_folder, &options.cluster_id, options.retention)?;
            Machine::open(image, disk, &snapshots, &options.cluster_id, events, None)
        }
        Some(simulation) => {
            let image = WholeImage::open(disk.clone(), image_folder)?;
            let observer = Some(simulation.observer.clone());
            Machine::open(image, disk, &snapshots, &options.cluster_id, events, observer)
        }
    }
}

/// The log must reach back to where the image ends. It does, unless the image
/// was lost or an older one was put in its place.
async fn check_reach(
    log: &LogStore,
    shared: &Shared,
    image_folder: &Path,
) -> Result<(), StartError> {
    let state = log.clone().get_log_state().await;
    let state = state.map_err(|error| StartError::Raft(error.to_string()))?;
    let index = |id: Option<crate::types::LogId>| id.map_or(0, |id| id.index());
    let (purged, applied) = (index(state.last_purged_log_id), index(shared.state().applied));
    if purged <= applied {
        return Ok(());
    }
    let what = format!("it ends at entry {applied}, and the log was purged up to entry {purged}");
    Err(ImageError::Damaged { path: image_folder.to_owned(), what }.into())
}

/// Everything that the ledger has yet to apply is of rules that this program knows.
/// Raft would find out as well, but after the node has said that it is ready. Entries
/// that it will never apply, since others took their place, are dropped before.
async fn check_readable(log: &mut LogStore, shared: &Shared) -> Result<(), StartError> {
    let applied = shared.state().applied;
    if let Some(applied) = applied {
        let dropped = log.drop_overruled(applied).await;
        let dropped = dropped.map_err(|error| StartError::Raft(error.to_string()))?;
        if let Some(index) = dropped {
            tracing::warn!(index, "dropped entries that the ledger knows to be overruled");
        }
    }
    Ok(log.check_readable(applied.map_or(0, |id| id.index() + 1))?)
}

/// Whose files these are.
pub(crate) fn owner(cluster_id: &str, node_id: u64) -> [u8; 16] {
    let mut owner = [0; 16];
    let digits = cluster_id.bytes().filter(u8::is_ascii_hexdigit).take(8);
    for (byte, digit) in owner.iter_mut().zip(digits) {
        *byte = digit;
    }
    owner[8..].copy_from_slice(&node_id.to_be_bytes());
    owner
}

fn config(
    cluster_id: &str,
    timing: Timing,
    snapshot_entries: u64,
) -> Result<Arc<Config>, StartError> {
    let entries_kept = snapshot_entries / 2;
    let config = Config {
        cluster_name: cluster_id.to_owned(),
        heartbeat_interval: timing.heartbeat_ms,
        election_timeout_min: timing.election_min_ms,
        election_timeout_max: timing.election_max_ms,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(snapshot_entries),
        max_in_snapshot_log_to_keep: entries_kept,
        replication_lag_threshold: LAG_MAX,
        purge_batch_size: PURGE_ENTRIES.min(entries_kept),
        broadcast_submitted_on_append: Some(true),
        enable_pre_vote: Some(true),
        // A restarted leader stands for election like everyone else: sessions
        // that it promised leases before must get new ones in a new term.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    config.validate().map(Arc::new).map_err(|error| StartError::Raft(error.to_string()))
}
