//! Tests of asking a cluster, against nodes that say what the test tells them.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tonic::{Request, Response};
use triad_proto::net::{AcceptLimits, Listener, Network as _, accept_loop, server as tonic_server};
use triad_proto::v1;
use triad_proto::v1::admin_service_server::{AdminService, AdminServiceServer};
use triad_proto::v1::{
    ApplyLicenseRequest, ApplyLicenseResponse, ListCheckoutsRequest, ListCheckoutsResponse,
    ListFeaturesRequest, ListFeaturesResponse, ListLicensesRequest, ListLicensesResponse,
    ListSessionsRequest, ListSessionsResponse, NodeStatus, StatusResponse, TransferLeaderRequest,
    TransferLeaderResponse,
};

use super::*;

/// A node with one status. It leads when that says so, and sends writes to
/// `hint` when it does not.
#[derive(Clone, Default)]
pub struct Node {
    status: StatusResponse,
    hint: String,
    /// What it takes to say how it is.
    slowness: Duration,
    tokens: Arc<Mutex<Vec<String>>>,
    cut_off: Arc<AtomicBool>,
    /// What it answers to those who ask for events; nothing, if it cannot be
    /// asked. Whoever is asked once takes its successor's place.
    tellers: Arc<Mutex<VecDeque<Teller>>>,
}

type Events = tonic::codegen::BoxStream<v1::ListEventsResponse>;
type Teller = Arc<dyn Fn(v1::ListEventsRequest) -> Events + Send + Sync>;

impl Node {
    pub fn new(node_id: u64, leader_id: u64, index: u64) -> Self {
        let freshness = Freshness {
            linearizable: node_id == leader_id,
            stale_ms: 70,
            index,
            ..Freshness::default()
        };
        let status = StatusResponse {
            node_id,
            leader_id,
            has_quorum: leader_id != 0,
            freshness: Some(freshness),
            ..StatusResponse::default()
        };
        Node { status, ..Node::default() }
    }

    /// The same, telling events.
    pub fn tells(
        self,
        teller: impl Fn(v1::ListEventsRequest) -> Events + Send + Sync + 'static,
    ) -> Self {
        self.tellers.lock().unwrap().push_back(Arc::new(teller));
        self
    }

    /// From the second question for events on, another answers.
    pub fn is_replaced_by(&self, next: &Node) {
        let next = next.tellers.lock().unwrap().clone();
        self.tellers.lock().unwrap().extend(next);
    }

    /// From now on it says that it has no quorum.
    pub fn loses_its_quorum(&self) {
        self.cut_off.store(true, Ordering::SeqCst);
    }

    /// The same, knowing where node `node_id` listens.
    fn knows(mut self, node_id: u64, client_address: &str) -> Self {
        let client_address = client_address.to_owned();
        self.status.nodes.push(NodeStatus { node_id, client_address, ..NodeStatus::default() });
        self
    }

    /// Serves until the test ends; says where.
    pub async fn serve(&self) -> String {
        let listener = TcpNetwork::new().bind("127.0.0.1:0").await.unwrap();
        self.serve_on(listener)
    }

    fn serve_on(&self, listener: Box<dyn Listener>) -> String {
        let address = listener.local_addr().unwrap().to_string();
        let incoming = accept_loop(listener, None, AcceptLimits::clients());
        let router =
            tonic_server(Traffic::Clients).add_service(AdminServiceServer::new(self.clone()));
        tokio::spawn(router.serve_with_incoming(incoming));
        address
    }
}

#[tonic::async_trait]
impl AdminService for Node {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        tokio::time::sleep(self.slowness).await;
        let cut_off = self.cut_off.load(Ordering::SeqCst);
        let has_quorum = self.status.has_quorum && !cut_off;
        Ok(Response::new(StatusResponse { has_quorum, ..self.status.clone() }))
    }

    async fn list_features(
        &self,
        _: Request<ListFeaturesRequest>,
    ) -> Result<Response<ListFeaturesResponse>, Status> {
        let freshness = self.status.freshness;
        Ok(Response::new(ListFeaturesResponse { freshness, ..Default::default() }))
    }

    async fn list_sessions(
        &self,
        _: Request<ListSessionsRequest>,
    ) -> Result<Response<ListSessionsResponse>, Status> {
        Err(Refusal::because(Reason::NotAuthenticated, "no token").into())
    }

    async fn list_checkouts(
        &self,
        _: Request<ListCheckoutsRequest>,
    ) -> Result<Response<ListCheckoutsResponse>, Status> {
        std::future::pending().await
    }

    async fn list_licenses(
        &self,
        _: Request<ListLicensesRequest>,
    ) -> Result<Response<ListLicensesResponse>, Status> {
        Ok(Response::new(ListLicensesResponse::default()))
    }

    async fn apply_license(
        &self,
        request: Request<ApplyLicenseRequest>,
    ) -> Result<Response<ApplyLicenseResponse>, Status> {
        if !self.hint.is_empty() {
            let leader_address = self.hint.clone();
            let refusal = Refusal::because(Reason::NotLeader, "another leads");
            return Err(Refusal { leader_address, ..refusal }.into());
        }
        let token = request.metadata().get("authorization").unwrap().to_str().unwrap();
        self.tokens.lock().unwrap().push(token.to_owned());
        Ok(Response::new(ApplyLicenseResponse { changed: true, ..Default::default() }))
    }

    async fn transfer_leader(
        &self,
        _: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        Ok(Response::new(TransferLeaderResponse::default()))
    }

    async fn get_policy(
        &self,
        _: Request<v1::GetPolicyRequest>,
    ) -> Result<Response<v1::GetPolicyResponse>, Status> {
        Err(not_asked())
    }

    async fn check_policy(
        &self,
        _: Request<v1::CheckPolicyRequest>,
    ) -> Result<Response<v1::CheckPolicyResponse>, Status> {
        Err(not_asked())
    }

    async fn apply_policy(
        &self,
        _: Request<v1::ApplyPolicyRequest>,
    ) -> Result<Response<v1::ApplyPolicyResponse>, Status> {
        Err(not_asked())
    }

    async fn explain(
        &self,
        _: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        Err(not_asked())
    }

    async fn list_queue(
        &self,
        _: Request<v1::ListQueueRequest>,
    ) -> Result<Response<v1::ListQueueResponse>, Status> {
        Err(not_asked())
    }

    async fn revoke_checkout(
        &self,
        _: Request<v1::RevokeCheckoutRequest>,
    ) -> Result<Response<v1::RevokeCheckoutResponse>, Status> {
        Err(not_asked())
    }

    async fn mark_lost(
        &self,
        _: Request<v1::MarkLostRequest>,
    ) -> Result<Response<v1::MarkLostResponse>, Status> {
        Err(not_asked())
    }

    async fn verify_history(
        &self,
        _: Request<v1::VerifyHistoryRequest>,
    ) -> Result<Response<v1::VerifyHistoryResponse>, Status> {
        Err(not_asked())
    }

    async fn create_token(
        &self,
        _: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        Err(not_asked())
    }

    async fn list_tokens(
        &self,
        _: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        Err(not_asked())
    }

    async fn revoke_token(
        &self,
        _: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        Err(not_asked())
    }

    async fn who_am_i(
        &self,
        _: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        Err(not_asked())
    }

    async fn drain_node(
        &self,
        _: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::DrainNodeResponse>, Status> {
        Err(not_asked())
    }

    type SaveSnapshotStream = tonic::codegen::BoxStream<v1::SaveSnapshotResponse>;

    async fn save_snapshot(
        &self,
        _: Request<v1::SaveSnapshotRequest>,
    ) -> Result<Response<Self::SaveSnapshotStream>, Status> {
        Err(not_asked())
    }

    type ChangeMembersStream = tonic::codegen::BoxStream<v1::ChangeMembersResponse>;

    async fn change_members(
        &self,
        _: Request<v1::ChangeMembersRequest>,
    ) -> Result<Response<Self::ChangeMembersStream>, Status> {
        Err(not_asked())
    }

    type ListEventsStream = Events;

    async fn list_events(
        &self,
        request: Request<v1::ListEventsRequest>,
    ) -> Result<Response<Self::ListEventsStream>, Status> {
        let mut tellers = self.tellers.lock().unwrap();
        let teller = match tellers.len() {
            0 => return Err(not_asked()),
            1 => tellers[0].clone(),
            _ => tellers.pop_front().unwrap(),
        };
        Ok(Response::new(teller(request.into_inner())))
    }
}

/// Of calls that these tests make none of.
fn not_asked() -> Status {
    Status::unimplemented("not asked here")
}

pub fn cluster(servers: &[&str], timeout: Duration) -> Cluster {
    let network = Arc::new(TcpNetwork::with_connect_timeout(timeout));
    Cluster {
        servers: servers.iter().map(|server| server.to_string()).collect(),
        connector: Connector::new(network, None),
        authorization: Some("Bearer tat_1".parse().unwrap()),
        timeout,
        deadline: Instant::now() + timeout,
        heard: AtomicUsize::new(0),
    }
}

pub const LONG: Duration = Duration::from_secs(20);

/// An address where nothing listens.
async fn dead() -> String {
    let listener = TcpNetwork::new().bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn features(cluster: &Cluster) -> Result<Read<ListFeaturesResponse>, Failure> {
    let request = ListFeaturesRequest::default();
    cluster
        .read(async |admin: &mut Admin| {
            Ok(admin.list_features(request.clone()).await?.into_inner())
        })
        .await
}

async fn apply(cluster: &Cluster) -> Result<Read<ApplyLicenseResponse>, Failure> {
    let request = ApplyLicenseRequest::default();
    cluster
        .write(async |admin: &mut Admin| {
            Ok(admin.apply_license(request.clone()).await?.into_inner())
        })
        .await
}

#[tokio::test]
async fn status_asks_everybody_and_those_that_they_name() {
    let (third, gone) = (Node::new(3, 1, 9).serve().await, dead().await);
    let first = Node::new(1, 1, 9).knows(2, &gone).knows(3, &third).serve().await;
    let answers = cluster(&[&first, &gone], LONG).statuses().await;
    let heard: Vec<_> = answers
        .iter()
        .map(|answer| (answer.address.as_str(), answer.outcome.as_ref().ok().map(|s| s.node_id)))
        .collect();
    let expected = [(first.as_str(), Some(1)), (gone.as_str(), None), (third.as_str(), Some(3))];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn nodes_that_swallow_packets_do_not_outlast_the_time_given() {
    let (_mute, [b, c]) = mute().await;
    let a = Node::new(1, 0, 9).serve().await;
    let began = Instant::now();
    let given = Duration::from_millis(400);
    let answers = cluster(&[&a, &b, &c], given).statuses().await;
    assert_eq!(answers.iter().filter(|answer| answer.outcome.is_ok()).count(), 1);
    assert_eq!(answers.len(), 3);
    assert!(began.elapsed() < given * 10, "{:?}", began.elapsed());
    let Err(failure) = features(&cluster(&[&b, &c], given)).await else { panic!() };
    assert!(matches!(failure, Failure::Unreachable(tried) if tried.len() == 2));
}

/// Two that take connections and are as silent as processes that were stopped.
async fn mute() -> ([Box<dyn Listener>; 2], [String; 2]) {
    let network = TcpNetwork::new();
    let mute =
        [network.bind("127.0.0.1:0").await.unwrap(), network.bind("127.0.0.1:0").await.unwrap()];
    let addresses = [&mute[0], &mute[1]].map(|mute| mute.local_addr().unwrap().to_string());
    (mute, addresses)
}

#[tokio::test]
async fn silent_nodes_leave_time_for_the_stale_answer_of_another() {
    let (_mute, [b, c]) = mute().await;
    let a = Node::new(1, 0, 9).serve().await;
    let given = Duration::from_millis(1_000);
    let cluster = cluster(&[&a, &b, &c], given);
    let read = features(&cluster).await.unwrap();
    assert_eq!(read.address, a);
    assert!(stale_warning(read.answer.freshness.as_ref(), &read.address).is_some());
    assert!(cluster.deadline > Instant::now(), "no time was left for the call");
}

#[tokio::test]
async fn nodes_that_answered_are_there_when_the_time_is_over() {
    let slowness = Duration::from_millis(300);
    let slow = Node { slowness, ..Node::new(1, 0, 9) }.serve().await;
    // Long enough for one look at who leads, and not for two.
    let cluster = cluster(&[&slow], slowness * 8 / 5);
    features(&cluster).await.unwrap();
    let Err(failure) = apply(&cluster).await else { panic!() };
    assert!(matches!(failure, Failure::NoLeader { answering: 1 }), "{failure}");
}

#[tokio::test]
async fn reads_go_to_the_leader_even_if_nobody_named_it() {
    let leader = Node::new(2, 2, 9).serve().await;
    let follower = Node::new(1, 2, 9).knows(2, &leader).serve().await;
    let gone = dead().await;
    let read = features(&cluster(&[&gone, &follower], LONG)).await.unwrap();
    assert_eq!(read.address, leader);
    assert_eq!(stale_warning(read.answer.freshness.as_ref(), &read.address), None);
}

#[tokio::test]
async fn without_a_leader_the_newest_answer_is_given_and_called_stale() {
    let older = Node::new(1, 0, 8).serve().await;
    let newer = Node::new(3, 0, 9).serve().await;
    let read = features(&cluster(&[&older, &newer], LONG)).await.unwrap();
    assert_eq!(read.address, newer);
    let warning = stale_warning(read.answer.freshness.as_ref(), &read.address).unwrap();
    assert!(warning.starts_with("STALE by 70 ms"), "{warning}");
}

#[tokio::test]
async fn writes_go_to_a_leader_or_nowhere() {
    let follower = Node::new(1, 0, 8).serve().await;
    let cluster = cluster(&[&follower], Duration::from_millis(300));
    let Err(failure) = apply(&cluster).await else { panic!() };
    assert!(matches!(failure, Failure::NoLeader { answering: 1 }), "{failure}");
}

#[tokio::test]
async fn writes_follow_the_hint_and_carry_the_token() {
    let leader = Node::new(2, 2, 9);
    let address = leader.serve().await;
    let former = Node { hint: address.clone(), ..Node::new(1, 1, 9) }.serve().await;
    let read = apply(&cluster(&[&former], LONG)).await.unwrap();
    assert_eq!(read.address, address);
    assert_eq!(*leader.tokens.lock().unwrap(), ["Bearer tat_1"]);
}

#[tokio::test]
async fn a_circle_of_hints_ends() {
    let listener = TcpNetwork::new().bind("127.0.0.1:0").await.unwrap();
    let hint = listener.local_addr().unwrap().to_string();
    let address = Node { hint, ..Node::new(1, 1, 9) }.serve_on(listener);
    let Err(failure) = apply(&cluster(&[&address], LONG)).await else { panic!() };
    assert!(matches!(failure, Failure::NoLeader { .. }), "{failure}");
}

#[tokio::test]
async fn a_hint_to_a_dead_node_is_named() {
    let gone = dead().await;
    let looping = Node { hint: gone.clone(), ..Node::new(1, 1, 9) }.serve().await;
    let Err(failure) = apply(&cluster(&[&looping], LONG)).await else { panic!() };
    assert!(matches!(failure, Failure::Unreachable(tried) if tried[0].0 == gone));
}

#[tokio::test]
async fn a_refusal_keeps_its_reason_and_a_silent_call_its_deadline() {
    let node = Node::new(1, 1, 9).serve().await;
    let sessions = async |admin: &mut Admin| {
        Ok(admin.list_sessions(ListSessionsRequest::default()).await?.into_inner())
    };
    let Err(failure) = cluster(&[&node], LONG).read(sessions).await else { panic!() };
    assert_eq!(failure.reason(), Some(Reason::NotAuthenticated));
    let checkouts = async |admin: &mut Admin| {
        Ok(admin.list_checkouts(ListCheckoutsRequest::default()).await?.into_inner())
    };
    let short = Duration::from_millis(300);
    let Err(failure) = cluster(&[&node], short).read(checkouts).await else { panic!() };
    assert_eq!(failure.reason(), Some(Reason::Deadline), "{failure}");
}
