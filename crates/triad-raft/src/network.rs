//! The way out to the peers: Raft's messages over gRPC, one HTTP/2 connection
//! per peer.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryFutureExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{
    Backoff, NetBackoff, NetSnapshot, NetStreamAppend, NetTransferLeader, NetVote, RPCOption,
    RaftNetworkFactory,
};
use openraft::raft::{
    AppendEntriesRequest, SnapshotResponse, StreamAppendError, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use triad_ledger::StateHash;
use triad_proto::net::{
    ChannelParameters, ClientTls, Connector, SharedNetwork, Traffic, channel_lazy,
};
use triad_proto::v1;
use triad_proto::v1::peer_service_client::PeerServiceClient;
use triad_proto::v1::{Reason, Refusal};

use crate::answers::UnderWay;
use crate::clock::PeerClocks;
use crate::comparison::Hashes;
use crate::confirmed::Confirmed;
use crate::filling::part_from_wire;
use crate::health::{DiskHealth, Health};
use crate::history::Part;
use crate::membership::Removed;
use crate::rules::PeerRules;
use crate::snapshot::SnapshotFrames;
use crate::types::{
    Member, TypeConfig, Vote, entry_to_wire, log_id_from_wire, log_id_to_wire, membership_to_wire,
    vote_from_wire, vote_to_wire,
};

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFrames>;

/// The metadata by which peers recognise each other, beside their certificates.
pub(crate) const CLUSTER_KEY: &str = "triad-cluster";
pub(crate) const FROM_KEY: &str = "triad-from";
pub(crate) const TO_KEY: &str = "triad-to";

/// How long a connection to a peer may take, TLS included. Longer than a round
/// trip on any network that carries a cluster, shorter than patience.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest message between peers: a full append.
pub(crate) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// A peer that is away is tried again this often: it may come back any moment,
/// and a refused connection costs nothing.
const BACKOFF: [Duration; 4] = [
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
];
/// Installing a snapshot may take a while: a million records.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);

/// Who this node is, and how it reaches others.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) cluster_id: Arc<str>,
    pub(crate) node_id: u64,
    pub(crate) network: SharedNetwork,
    /// `None`: no TLS, on loopback.
    pub(crate) tls: Option<ClientTls>,
    pub(crate) clocks: Arc<PeerClocks>,
    pub(crate) removed: Removed,
    health: Arc<Health>,
    pub(crate) confirmed: Arc<Confirmed>,
    pub(crate) rules: Arc<PeerRules>,
    pub(crate) hashes: Arc<Hashes>,
    channels: Arc<Mutex<BTreeMap<(u64, String), Channel>>>,
}

impl Peers {
    pub(crate) fn new(
        cluster_id: Arc<str>,
        node_id: u64,
        network: SharedNetwork,
        tls: Option<ClientTls>,
        clocks: Arc<PeerClocks>,
        health: Arc<Health>,
    ) -> Self {
        Peers {
            cluster_id,
            node_id,
            network,
            tls,
            clocks,
            removed: Removed::default(),
            health,
            confirmed: Arc::default(),
            rules: Arc::default(),
            hashes: Arc::default(),
            channels: Arc::default(),
        }
    }

    /// A part of a peer's history.
    pub(crate) async fn fetch_history(
        &self,
        target: u64,
        address: &str,
        after_sequence: u64,
    ) -> Result<Part, tonic::Status> {
        let peer = self.client(target, address);
        let request = peer.request(v1::FetchHistoryRequest { after_sequence });
        part_from_wire(peer.client.clone().fetch_history(request).await?.into_inner())
    }

    /// The way to a peer; it connects when first used, and again after a loss.
    fn client(&self, target: u64, address: &str) -> PeerClient {
        let mut channels = self.channels.lock().expect("no panic while held");
        let key = (target, address.to_owned());
        let channel = channels.entry(key).or_insert_with(|| {
            let tls = self.tls.as_ref().map(|tls| tls.for_node(target));
            let connector =
                Connector::new(self.network.clone(), tls).with_connect_timeout(CONNECT_TIMEOUT);
            let parameters = ChannelParameters {
                host_port: address.to_owned(),
                connector,
                traffic: Traffic::Peers,
                call_timeout: None,
            };
            channel_lazy(parameters).expect("peer addresses are checked with the configuration")
        });
        PeerClient {
            client: PeerServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX),
            cluster_id: self.cluster_id.clone(),
            from: self.node_id,
            to: target,
            clocks: self.clocks.clone(),
            health: self.health.clone(),
            hashes: self.hashes.clone(),
            failures: 0,
            removed: self.removed.clone(),
            confirmed: self.confirmed.clone(),
            rules: self.rules.clone(),
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Peers {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &Member) -> PeerClient {
        self.client(target, &node.peer_address)
    }
}

/// One peer, as Raft sees it.
pub(crate) struct PeerClient {
    client: PeerServiceClient<Channel>,
    cluster_id: Arc<str>,
    from: u64,
    to: u64,
    clocks: Arc<PeerClocks>,
    health: Arc<Health>,
    hashes: Arc<Hashes>,
    /// How often in a row no stream could be opened.
    failures: usize,
    removed: Removed,
    confirmed: Arc<Confirmed>,
    rules: Arc<PeerRules>,
}

/// Between two attempts to send the whole ledger to a peer.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(1);
/// The same, where nothing is heard of the peer.
const SNAPSHOT_PAUSE_MAX: Duration = Duration::from_secs(5);

impl PeerClient {
    /// Notes whether a stream could be opened, and pauses if not. Raft's own
    /// pauses are taken while a stream is being fed, so without this a peer whose
    /// port refuses would be dialled a thousand times a second.
    async fn pause_if_away(&mut self, opened: Result<(), &RPCError<TypeConfig>>) {
        let Err(error) = opened else {
            if std::mem::take(&mut self.failures) > 0 {
                tracing::info!(node = self.to, "the peer is reached again");
            }
            return;
        };
        if self.failures == 0 {
            tracing::warn!(node = self.to, %error, "the peer cannot be reached");
        }
        let pause = BACKOFF[self.failures.min(BACKOFF.len() - 1)];
        self.failures += 1;
        tokio::time::sleep(pause).await;
    }

    /// Raft asks for the whole ledger before each attempt to send it, which takes a
    /// large one a while in which nothing else is done: not five times a second
    /// to a peer that is away.
    async fn until_worth_a_snapshot(&self) {
        let began = Instant::now();
        loop {
            tokio::time::sleep(SNAPSHOT_PAUSE).await;
            let now = Instant::now();
            if self.health.is_heard(self.to, now) || now - began >= SNAPSHOT_PAUSE_MAX {
                return;
            }
        }
    }

    fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let metadata = request.metadata_mut();
        let cluster = MetadataValue::try_from(&*self.cluster_id);
        metadata.insert(CLUSTER_KEY, cluster.expect("a cluster id is plain ASCII"));
        metadata.insert(FROM_KEY, MetadataValue::from(self.from));
        metadata.insert(TO_KEY, MetadataValue::from(self.to));
        request
    }

    async fn call<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, RPCError<TypeConfig>> {
        match timeout(limit, call).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                let refusal = Refusal::from_status(&status);
                if refusal.reason() == Reason::NodeRemoved {
                    self.removed.note(refusal.leader_term);
                }
                Err(unreachable(&status))
            }
            Err(_) => {
                let what = format!("node {} did not answer in {limit:?}", self.to);
                Err(RPCError::Unreachable(Unreachable::from_string(what)))
            }
        }
    }
}

fn unreachable(status: &tonic::Status) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::from_string(status.message()))
}

impl NetBackoff<TypeConfig> for PeerClient {
    fn backoff(&self) -> Option<Backoff> {
        let last = BACKOFF[BACKOFF.len() - 1];
        Some(Backoff::new(BACKOFF.into_iter().chain(std::iter::repeat(last))))
    }
}

impl NetStreamAppend<TypeConfig> for PeerClient {
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RPCError<TypeConfig>>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            let (confirmed, peer) = (self.confirmed.clone(), self.to);
            // One stream belongs to one leadership.
            let led_by = Arc::new(OnceLock::new());
            let vote = led_by.clone();
            let under_way = Arc::new(UnderWay::default());
            let sent = under_way.clone();
            let request = self.request(input.map(move |request| {
                sent.sent(&request);
                let vote = *vote.get_or_init(|| request.vote);
                append_to_wire(request, confirmed.index(peer, &vote))
            }));
            let mut client = self.client.clone();
            let opening = client
                .append(request)
                .inspect_ok(|response| self.rules.heard(peer, response.metadata()));
            let opened = self.call(option.hard_ttl(), opening).await;
            self.pause_if_away(opened.as_ref().map(|_| ())).await;
            let responses = opened?;
            let (clocks, confirmed) = (self.clocks.clone(), self.confirmed.clone());
            let (health, hashes) = (self.health.clone(), self.hashes.clone());
            let result = move |response: Result<v1::AppendResponse, Status>| match response {
                Ok(response) => {
                    let now = Instant::now();
                    clocks.heard(peer, response.wall_ms, now);
                    let sync = Duration::from_micros(response.sync_us);
                    let (is_full, is_drained) = (response.disk_full, response.drained);
                    let disk = DiskHealth { sync, is_full, is_drained };
                    health.heard(peer, disk, now);
                    if let Ok(hash) = <[u8; 16]>::try_from(&*response.compared_hash) {
                        hashes.heard(peer, (response.compared_index, StateHash(hash)));
                    }
                    let result = append_result(response)?;
                    let result = remembered(result, peer, led_by.get(), &confirmed)?;
                    let is_last = match &result {
                        Ok(matching) => under_way.answered(matching.as_ref()),
                        Err(_) => true,
                    };
                    Ok(is_last.then_some(result))
                }
                Err(status) => Err(RPCError::Network(NetworkError::from_string(status.message()))),
            };
            let results = responses.map(result).filter_map(|result| ready(result.transpose()));
            let results: AppendResults<'s> = Box::pin(results);
            Ok(results)
        })
    }
}

type AppendResults<'s> =
    BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>>>;

/// Passes an answer on, unless the peer has forgotten what it confirmed: Raft
/// would take that for a defect of its own, and end this node, which is well.
fn remembered(
    result: StreamAppendResult<TypeConfig>,
    peer: u64,
    led_by: Option<&Vote>,
    confirmed: &Confirmed,
) -> Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>> {
    let Some(vote) = led_by else { return Ok(result) };
    match &result {
        Ok(Some(id)) => confirmed.note(peer, *vote, id.index()),
        Err(StreamAppendError::Conflict(id)) if id.index() <= confirmed.index(peer, vote) => {
            let what = format!(
                "node {peer} confirmed entry {} and does not have entry {}; its data was put back \
                 to an older state, and it must not take part",
                confirmed.index(peer, vote),
                id.index()
            );
            tracing::error!("{what}");
            return Err(RPCError::Unreachable(Unreachable::from_string(what)));
        }
        _ => {}
    }
    Ok(result)
}

fn append_to_wire(
    request: AppendEntriesRequest<TypeConfig>,
    confirmed_index: u64,
) -> v1::AppendRequest {
    v1::AppendRequest {
        vote: Some(vote_to_wire(&request.vote)),
        previous: request.prev_log_id.as_ref().map(log_id_to_wire),
        entries: request.entries.iter().map(entry_to_wire).collect(),
        committed: request.leader_commit.as_ref().map(log_id_to_wire),
        confirmed_index,
    }
}

fn append_result(
    response: v1::AppendResponse,
) -> Result<StreamAppendResult<TypeConfig>, RPCError<TypeConfig>> {
    use v1::append_response::Outcome;
    match response.outcome {
        Some(Outcome::Matched(matched)) => Ok(Ok(matched.id.map(log_id_from_wire))),
        Some(Outcome::Conflict(id)) => Ok(Err(StreamAppendError::Conflict(log_id_from_wire(id)))),
        Some(Outcome::HigherVote(vote)) => {
            Ok(Err(StreamAppendError::HigherVote(vote_from_wire(vote))))
        }
        None => Err(RPCError::Network(NetworkError::from_string("an append without an outcome"))),
    }
}

impl NetVote<TypeConfig> for PeerClient {
    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = v1::VoteRequest {
            vote: Some(vote_to_wire(&rpc.vote)),
            last_log: rpc.last_log_id.as_ref().map(log_id_to_wire),
            transfer: rpc.leadership_transfer,
        };
        let mut client = self.client.clone();
        let answer = self.call(option.hard_ttl(), client.vote(self.request(message))).await?;
        vote_response(answer.vote, answer.last_log, answer.granted)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = v1::PreVoteRequest {
            vote: Some(vote_to_wire(&rpc.vote)),
            last_log: rpc.last_log_id.as_ref().map(log_id_to_wire),
        };
        let mut client = self.client.clone();
        let answer = self.call(option.hard_ttl(), client.pre_vote(self.request(message))).await?;
        vote_response(answer.vote, answer.last_log, answer.granted)
    }
}

fn vote_response(
    vote: Option<v1::VoteRecord>,
    last_log: Option<v1::LogId>,
    granted: bool,
) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
    let missing = || RPCError::Network(NetworkError::from_string("a vote answer without a vote"));
    let vote = vote_from_wire(vote.ok_or_else(missing)?);
    Ok(VoteResponse::new(vote, last_log.map(log_id_from_wire), granted))
}

impl NetSnapshot<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotFrames;

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        use v1::install_snapshot_request::Part;
        let header = v1::SnapshotHeader {
            vote: Some(vote_to_wire(&vote)),
            last_log: snapshot.meta.last_log_id.as_ref().map(log_id_to_wire),
            membership_log: snapshot.meta.last_membership.log_id().as_ref().map(log_id_to_wire),
            membership: Some(membership_to_wire(snapshot.meta.last_membership.membership())),
            bytes_total: snapshot.snapshot.len_bytes() as u64,
        };
        let parts = std::iter::once(Part::Header(header))
            .chain(snapshot.snapshot.0.into_iter().map(Part::Chunk))
            .map(|part| v1::InstallSnapshotRequest { part: Some(part) });
        let mut client = self.client.clone();
        let request = self.request(futures::stream::iter(parts));
        let sending = self.call(SNAPSHOT_TIMEOUT, client.install_snapshot(request));
        let mut cancel = pin!(cancel);
        let answer = tokio::select! {
            answer = sending => answer,
            closed = &mut cancel => return Err(StreamingError::Closed(closed)),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                tokio::select! {
                    () = self.until_worth_a_snapshot() => return Err(error.into()),
                    closed = &mut cancel => return Err(StreamingError::Closed(closed)),
                }
            }
        };
        let vote = answer.vote.ok_or_else(|| {
            StreamingError::Network(NetworkError::from_string("a snapshot answer without a vote"))
        })?;
        Ok(SnapshotResponse::new(vote_from_wire(vote)))
    }
}

impl NetTransferLeader<TypeConfig> for PeerClient {
    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let message = v1::TakeLeadershipRequest {
            from_leader: Some(vote_to_wire(req.from_leader())),
            to_node_id: *req.to_node_id(),
            last_log: req.last_log_id().map(log_id_to_wire),
        };
        let mut client = self.client.clone();
        let answer =
            self.call(option.hard_ttl(), client.take_leadership(self.request(message))).await?;
        if answer.accepted {
            return Ok(Ok(()));
        }
        // What it says is only logged; openraft tries again or waits.
        let actual = answer.vote.map(vote_from_wire).unwrap_or(*req.from_leader());
        let expected = *req.from_leader();
        Ok(Err(openraft::raft::TransferLeaderError::VoteChanged { expected, actual }))
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use triad_proto::net::{Connection, Listener, Network};

    use super::*;
    use crate::clock::SystemClock;
    use crate::disk::RealDisk;

    /// A network on which every port refuses.
    #[derive(Debug, Default)]
    struct Refusing(AtomicUsize);

    impl Network for Refusing {
        fn bind<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            unreachable!("nobody listens")
        }

        fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_is_away_is_dialled_now_and_then_and_not_without_pause() {
        let network = Arc::new(Refusing::default());
        let clocks = Arc::new(PeerClocks::new(Box::new(SystemClock)));
        let health = Health::new(Arc::new(RealDisk), "/nowhere".into(), true);
        let peers = Peers::new("tc-1".into(), 1, network.clone(), None, clocks, Arc::new(health));
        let mut peer = peers.client(2, "127.0.0.1:1");
        let trying = async {
            loop {
                let option = RPCOption::new(Duration::from_millis(50));
                let opened = peer.stream_append(futures::stream::pending(), option).await;
                assert!(opened.is_err());
            }
        };
        let _ = timeout(Duration::from_secs(10), trying).await;
        let dials = network.0.load(Ordering::Relaxed);
        assert!((20..=80).contains(&dials), "{dials} dials in 10 s");
    }
}
