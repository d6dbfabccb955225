//! The way in from the peers: the gRPC service that hands their messages to
//! Raft, after asking who they are.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use openraft::raft::{AppendEntriesRequest, StreamAppendError, TransferLeaderRequest, VoteRequest};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};
use triad_proto::net::{ConnectionInfo, PeerClosed};
use triad_proto::v1;
use triad_proto::v1::peer_service_server::PeerService;
use triad_proto::v1::{Reason, Refusal};

use crate::clock::PeerClocks;
use crate::comparison::{Point, Told};
use crate::confirmed::Memory;
use crate::filling::{PART_EVENTS, part_to_wire};
use crate::health::Health;
use crate::heard::Heard;
use crate::history::History;
use crate::machine::Machine;
use crate::membership;
use crate::network::{CLUSTER_KEY, FROM_KEY, TO_KEY};
use crate::rules::{self, Outdated};
use crate::snapshot::{SNAPSHOT_BYTES_MAX, SnapshotFrames};
use crate::types::{
    LogId, StoredMembership, TypeConfig, entry_from_wire, log_id_from_wire, log_id_to_wire,
    membership_from_wire, vote_from_wire, vote_to_wire,
};

pub(crate) type Raft = openraft::Raft<TypeConfig, Machine>;
type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFrames>;

/// Serves the peers of one node.
pub(crate) struct Service {
    pub(crate) raft: Raft,
    pub(crate) cluster_id: Arc<str>,
    pub(crate) node_id: u64,
    pub(crate) clocks: Arc<PeerClocks>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) health: Arc<Health>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) outdated: Arc<Outdated>,
    /// Whether peers prove who they are by certificate.
    pub(crate) certified: bool,
    /// Told of a peer whose connection its kernel closed under an open stream.
    pub(crate) lost: mpsc::Sender<u64>,
    pub(crate) history: History,
    /// The points of comparison that this node passes.
    pub(crate) points: watch::Receiver<Option<Point>>,
    /// This node goes on alone in the place of its main server.
    pub(crate) is_alone: bool,
}

impl Service {
    /// Whoever lacks what this node has cannot win, and there may be nobody else: this node
    /// stands then, although it is drained. A third that has everything may win before it.
    fn has_voted(&self, granted: bool, own: Option<LogId>, theirs: Option<LogId>) {
        if !granted && theirs < own && self.health.is_drained() {
            self.health.want(true);
            self.raft.runtime_config().elect(true);
        }
    }

    /// Who is calling. A peer of another cluster, one that takes us for
    /// another node, or one whose certificate says otherwise is refused.
    fn caller<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let text = |key| request.metadata().get(key).and_then(|value| value.to_str().ok());
        let number = |key| text(key).and_then(|text| text.parse::<u64>().ok());
        let cluster = text(CLUSTER_KEY).unwrap_or("none");
        if cluster != &*self.cluster_id {
            let message = format!(
                "this node belongs to cluster {}, the caller to cluster {}",
                self.cluster_id,
                cluster.chars().take(64).collect::<String>(),
            );
            return Err(wrong_cluster(message));
        }
        if number(TO_KEY) != Some(self.node_id) {
            let taken_for = text(TO_KEY).unwrap_or("none").chars().take(20).collect::<String>();
            let message =
                format!("this is node {}, the caller dialled node {taken_for}", self.node_id);
            return Err(wrong_cluster(message));
        }
        let from = number(FROM_KEY).ok_or_else(|| wrong_cluster("the caller is no node"))?;
        if self.certified {
            let info = request.extensions().get::<ConnectionInfo>();
            let identity = info.and_then(|info| info.identity.as_ref());
            let node =
                identity.and_then(|identity| identity.node.as_ref()).map(|node| node.node_id);
            if node != Some(from) {
                let node = node.map_or("no node".to_owned(), |node| format!("node {node}"));
                let message =
                    format!("the caller says it is node {from}, its certificate says {node}");
                return Err(wrong_cluster(message));
            }
        }
        if self.is_alone {
            let message = format!("node {} serves in the place of the main server", self.node_id);
            return Err(Refusal::because(Reason::NotReady, message).into_status());
        }
        if let Some(leader_term) = membership::leads_without(&self.raft, self.node_id, from) {
            let message = format!("node {from} was replaced or removed, and takes part no longer");
            let refusal = Refusal::because(Reason::NodeRemoved, message)
                .with_remedy("stop that node for good, and remove its data");
            return Err(Refusal { leader_term, ..refusal }.into_status());
        }
        Ok(from)
    }
}

fn wrong_cluster(message: impl Into<String>) -> Status {
    Refusal::because(Reason::WrongCluster, message)
        .with_remedy("compare cluster_id and the [[node]] list in both nodes' triad.toml")
        .into_status()
}

fn missing(what: &str) -> Status {
    Refusal::because(Reason::InvalidRequest, format!("{what} is missing")).into_status()
}

/// Raft has stopped. The node is about to.
fn stopped(error: impl std::fmt::Display) -> Status {
    Refusal::because(Reason::NotReady, format!("the node is stopping: {error}")).into_status()
}

#[tonic::async_trait]
impl PeerService for Service {
    async fn fetch_history(
        &self,
        request: Request<v1::FetchHistoryRequest>,
    ) -> Result<Response<v1::FetchHistoryResponse>, Status> {
        self.caller(&request)?;
        let (history, after) = (self.history.clone(), request.into_inner().after_sequence);
        let part = tokio::task::spawn_blocking(move || history.part(after, PART_EVENTS)).await;
        let part = part.map_err(stopped)?.map_err(stopped)?;
        Ok(Response::new(part_to_wire(part)))
    }

    type AppendStream = BoxStream<'static, Result<v1::AppendResponse, Status>>;

    async fn append(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<Self::AppendStream>, Status> {
        let from = self.caller(&request)?;
        let closed = request.extensions().get::<ConnectionInfo>().map(|info| info.closed.clone());
        let confirmed_index = Arc::new(AtomicU64::new(0));
        let requests = Requests {
            inner: request.into_inner(),
            from,
            confirmed_index: confirmed_index.clone(),
            ended: false,
            closed,
            lost: self.lost.clone(),
            outdated: self.outdated.clone(),
        };
        let (clocks, heard, memory) =
            (self.clocks.clone(), self.heard.clone(), self.memory.clone());
        let health = self.health.clone();
        let mut told = Told::new(self.points.clone());
        let responses = self.raft.stream_append(requests).map(move |result| {
            use v1::append_response::Outcome;
            let now = Instant::now();
            if !matches!(result, Err(_) | Ok(Err(StreamAppendError::HigherVote(_)))) {
                heard.note(from, now);
            }
            let outcome = match result.map_err(stopped)? {
                Ok(id) => Outcome::Matched(v1::Matched { id: id.as_ref().map(log_id_to_wire) }),
                Err(StreamAppendError::Conflict(id)) => {
                    // Raft has accepted the leader, so it knows what it says.
                    memory.conflict(from, confirmed_index.load(Ordering::Relaxed), id.index());
                    Outcome::Conflict(log_id_to_wire(&id))
                }
                Err(StreamAppendError::HigherVote(vote)) => {
                    Outcome::HigherVote(vote_to_wire(&vote))
                }
            };
            let disk = health.own(now);
            let point = told.news();
            Ok(v1::AppendResponse {
                wall_ms: clocks.wall_ms(),
                outcome: Some(outcome),
                sync_us: disk.sync.as_micros() as u64,
                disk_full: disk.is_full,
                drained: disk.is_drained,
                compared_index: point.map_or(0, |(index, _)| index),
                compared_hash: point.map_or_else(Vec::new, |(_, hash)| hash.0.to_vec()),
            })
        });
        let mut response: Response<Self::AppendStream> = Response::new(Box::pin(responses));
        rules::say(response.metadata_mut());
        Ok(response)
    }

    async fn vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        self.caller(&request)?;
        let message = request.into_inner();
        let vote = vote_request(message.vote, message.last_log, message.transfer)?;
        let theirs = vote.last_log_id;
        let answer = self.raft.vote(vote);
        let answer = answer.await.map_err(stopped)?;
        self.has_voted(answer.vote_granted, answer.last_log_id, theirs);
        Ok(Response::new(v1::VoteResponse {
            vote: Some(vote_to_wire(&answer.vote)),
            granted: answer.vote_granted,
            last_log: answer.last_log_id.as_ref().map(log_id_to_wire),
        }))
    }

    async fn pre_vote(
        &self,
        request: Request<v1::PreVoteRequest>,
    ) -> Result<Response<v1::PreVoteResponse>, Status> {
        self.caller(&request)?;
        let message = request.into_inner();
        let vote = vote_request(message.vote, message.last_log, false)?;
        let theirs = vote.last_log_id;
        let answer = self.raft.pre_vote(vote);
        let answer = answer.await.map_err(stopped)?;
        self.has_voted(answer.vote_granted, answer.last_log_id, theirs);
        Ok(Response::new(v1::PreVoteResponse {
            vote: Some(vote_to_wire(&answer.vote)),
            granted: answer.vote_granted,
            last_log: answer.last_log_id.as_ref().map(log_id_to_wire),
        }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<v1::InstallSnapshotRequest>>,
    ) -> Result<Response<v1::InstallSnapshotResponse>, Status> {
        use v1::install_snapshot_request::Part;
        self.caller(&request)?;
        let mut parts = request.into_inner();
        let first = parts.message().await?.and_then(|message| message.part);
        let Some(Part::Header(header)) = first else { return Err(missing("the header")) };
        let vote = vote_from_wire(header.vote.ok_or_else(|| missing("vote"))?);
        let membership = membership_from_wire(header.membership.unwrap_or_default())
            .map_err(|error| missing(&error.to_string()))?;
        let meta = SnapshotMeta {
            last_log_id: header.last_log.map(log_id_from_wire),
            last_membership: StoredMembership::new(
                header.membership_log.map(log_id_from_wire),
                membership,
            ),
        };
        let mut frames = SnapshotFrames::default();
        let mut bytes = 0;
        while let Some(message) = parts.message().await? {
            let Some(Part::Chunk(chunk)) = message.part else { return Err(missing("chunk")) };
            bytes += chunk.len();
            if bytes > SNAPSHOT_BYTES_MAX {
                let what = format!("a snapshot of more than {SNAPSHOT_BYTES_MAX} bytes");
                return Err(Refusal::because(Reason::LimitReached, what).into_status());
            }
            frames.0.push(chunk);
        }
        if bytes as u64 != header.bytes_total {
            return Err(missing("the rest of the snapshot"));
        }
        // Checked before Raft sees it: Raft takes a failed installation for a
        // broken disk.
        SnapshotFrames::open(&frames.0.concat()).map_err(|error| {
            if error.is_newer() {
                self.outdated.note(&error);
            }
            missing(&error.to_string())
        })?;
        let snapshot = Snapshot { meta, snapshot: frames };
        let answer = self.raft.install_full_snapshot(vote, snapshot).await.map_err(stopped)?;
        let vote = Some(vote_to_wire(&answer.vote));
        Ok(Response::new(v1::InstallSnapshotResponse { vote }))
    }

    async fn take_leadership(
        &self,
        request: Request<v1::TakeLeadershipRequest>,
    ) -> Result<Response<v1::TakeLeadershipResponse>, Status> {
        self.caller(&request)?;
        let message = request.into_inner();
        let from = vote_from_wire(message.from_leader.ok_or_else(|| missing("vote"))?);
        if self.health.is_drained() {
            return Ok(Response::new(v1::TakeLeadershipResponse { vote: None, accepted: false }));
        }
        let last_log = message.last_log.map(log_id_from_wire);
        let transfer = TransferLeaderRequest::new(from, message.to_node_id, last_log);
        let answer = self.raft.handle_transfer_leader(transfer).await.map_err(stopped)?;
        let accepted = answer.is_ok();
        Ok(Response::new(v1::TakeLeadershipResponse { vote: None, accepted }))
    }
}

pub(crate) fn vote_request(
    vote: Option<v1::VoteRecord>,
    last_log: Option<v1::LogId>,
    transfer: bool,
) -> Result<VoteRequest<TypeConfig>, Status> {
    let vote = vote_from_wire(vote.ok_or_else(|| missing("vote"))?);
    let mut request = VoteRequest::new(vote, last_log.map(log_id_from_wire));
    request.leadership_transfer = transfer;
    Ok(request)
}

/// The appends of one stream. A clean end is normal; when the peer's kernel
/// closed the connection under it, the peer's process is probably dead.
struct Requests {
    inner: Streaming<v1::AppendRequest>,
    from: u64,
    /// What the leader was told that this node has, as of the last append.
    confirmed_index: Arc<AtomicU64>,
    ended: bool,
    closed: Option<Arc<PeerClosed>>,
    lost: mpsc::Sender<u64>,
    outdated: Arc<Outdated>,
}

impl Stream for Requests {
    type Item = AppendEntriesRequest<TypeConfig>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(next) = self.inner.poll_next_unpin(cx) else { return Poll::Pending };
        let next = match next {
            Some(Ok(message)) => {
                self.confirmed_index.store(message.confirmed_index, Ordering::Relaxed);
                append_from_wire(message)
            }
            // The end, or a broken stream; `drop` tells them apart.
            other => {
                self.ended = other.is_none();
                return Poll::Ready(None);
            }
        };
        if let Err(error) = &next {
            tracing::error!(from = self.from, %error, "an append that cannot be read");
            if error.is_newer() {
                self.outdated.note(error);
            }
        }
        Poll::Ready(next.ok())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        let closed = self.closed.as_ref().is_some_and(|closed| closed.is_closed());
        if !self.ended && closed {
            // Full means that a notice is being looked into already.
            let _ = self.lost.try_send(self.from);
        }
    }
}

pub(crate) fn append_from_wire(
    message: v1::AppendRequest,
) -> Result<AppendEntriesRequest<TypeConfig>, crate::types::EntryError> {
    let vote = message.vote.ok_or(crate::types::EntryError::Missing("vote"))?;
    Ok(AppendEntriesRequest {
        vote: vote_from_wire(vote),
        prev_log_id: message.previous.map(log_id_from_wire),
        entries: message.entries.into_iter().map(entry_from_wire).collect::<Result<_, _>>()?,
        leader_commit: message.committed.map(log_id_from_wire),
    })
}
