//! Asking a cluster as an administrator: all nodes for their status, the
//! leader for everything else, and any node for a stale answer when nobody
//! leads. Nothing here outlasts the time the user gave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use triad_proto::net::{ChannelParameters, Connector, TcpNetwork, Traffic, channel};
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_proto::v1::{Freshness, PairPhase, Reason, Refusal, StatusRequest, StatusResponse};

use crate::duration::show_ms;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::verdict::{Answer, leads};

/// A client of one node's administration, with the token in every call.
pub type Admin = AdminServiceClient<InterceptedService<Channel, Bearer>>;

/// After the first answer the others get this long: a node that is there
/// answers as fast as its neighbour, and one that is gone shall not make
/// everybody wait for the whole timeout. Whoever reads keeps half of the time that
/// is left then for the answer itself, so that silent nodes cost no more than that.
const STRAGGLERS_WAIT: Duration = Duration::from_millis(1_500);

/// An election takes less than half a second. While nodes answer and none
/// leads, a read waits this long for one before it takes a stale answer.
const ELECTION_WAIT: Duration = Duration::from_secs(1);

/// Between two rounds of asking who leads.
const ELECTION_PAUSE: Duration = Duration::from_millis(100);

/// How often a call is sent on to another leader. More means that the nodes
/// send us in a circle.
const REDIRECTS_MAX: usize = 4;

/// The nodes of one cluster, by the addresses the user gave.
pub struct Cluster {
    servers: Vec<String>,
    connector: Connector,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
    deadline: Instant,
    /// How many nodes answered when they were last asked who leads.
    heard: AtomicUsize,
}

/// An answer, and the address it came from.
pub struct Read<T> {
    /// What the node said.
    pub answer: T,
    /// Which node.
    pub address: String,
}

/// Adds the token to a call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: tonic::Request<()>) -> Result<tonic::Request<()>, Status> {
        if let Some(authorization) = &self.0 {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(request)
    }
}

/// One node that was asked for its status.
struct Asked {
    answer: Answer,
    admin: Option<Admin>,
}

/// Whom to ask.
pub struct Target {
    /// A client of it.
    pub admin: Admin,
    /// Where it is.
    pub address: String,
    /// What it said of itself when it was asked; not of a node that another
    /// has named.
    pub status: StatusResponse,
}

impl Cluster {
    /// The cluster that the options name. The time given to all its answers
    /// together begins now.
    pub fn new(settings: &Settings) -> Result<Self, Failure> {
        Self::within(settings, settings.timeout())
    }

    /// The same with a time of its own.
    pub fn within(settings: &Settings, timeout: Duration) -> Result<Self, Failure> {
        let servers = settings.servers()?;
        let network = Arc::new(TcpNetwork::with_connect_timeout(timeout));
        let connector = Connector::new(network, settings.tls()?).with_connect_timeout(timeout);
        let authorization = settings.authorization()?;
        Ok(Cluster {
            servers,
            connector,
            authorization,
            timeout,
            deadline: Instant::now() + timeout,
            heard: AtomicUsize::new(0),
        })
    }

    /// Gives the next answers the whole time again.
    pub fn begin_anew(&mut self) {
        self.deadline = Instant::now() + self.timeout;
    }

    /// When the time for answers is over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What every node says of itself: those that the user named, and those
    /// that they name.
    pub async fn statuses(&self) -> Vec<Answer> {
        let mut asking = FuturesUnordered::new();
        let mut asked: BTreeSet<String> = self.servers.iter().cloned().collect();
        asking.extend(self.servers.iter().cloned().map(|address| self.ask(address)));
        let mut answers: Vec<Answer> = Vec::new();
        let mut deadline = self.deadline;
        while let Ok(Some(Asked { answer, .. })) = timeout_at(deadline, asking.next()).await {
            if let Ok(status) = &answer.outcome {
                let stragglers = Instant::now() + STRAGGLERS_WAIT;
                if answers.iter().all(|answer| answer.outcome.is_err()) {
                    deadline = self.deadline.min(stragglers);
                }
                for address in status.nodes.iter().map(|node| &node.client_address) {
                    if !address.is_empty() && asked.insert(address.clone()) {
                        asking.push(self.ask(address.clone()));
                    }
                }
            }
            answers.push(answer);
        }
        drop(asking);
        for address in asked {
            if answers.iter().all(|answer| answer.address != address) {
                answers.push(Answer { address, outcome: Err("no answer in time".to_owned()) });
            }
        }
        let place = |address: &String| self.servers.iter().position(|server| server == address);
        answers.sort_by_key(|answer| {
            (place(&answer.address).unwrap_or(usize::MAX), answer.address.clone())
        });
        answers
    }

    /// After a change that a main server takes from nobody: warns if the node at this address,
    /// which made it, is a back-up.
    pub async fn warn_if_alone(&self, settings: &Settings, address: &str) {
        let Asked { answer, .. } = self.ask(address.to_owned()).await;
        let pair = answer.outcome.ok().and_then(|status| status.pair);
        if pair.is_some_and(|pair| pair.phase() == PairPhase::Alone) {
            settings.output.warn(
                "a back-up serves alone: its main server will not know of this; do it again when \
                 the main is back",
            );
        }
    }

    /// Asks the leader, or, when nobody leads, the node that knows most.
    pub async fn read<T>(
        &self,
        call: impl AsyncFn(&mut Admin) -> Result<T, Status>,
    ) -> Result<Read<T>, Failure> {
        let target = self.reader().await?;
        self.call(target, call).await
    }

    /// The leader, or, when nobody leads, the node that knows most.
    pub async fn reader(&self) -> Result<Target, Failure> {
        match self.leader(ELECTION_WAIT.min(self.timeout / 2)).await {
            Ok(leader) => Ok(leader),
            Err(Leaderless { stale: Some(target), .. }) => Ok(target),
            Err(leaderless) => Err(leaderless.failure()),
        }
    }

    /// Asks every node the same thing: those that the user named, and those that
    /// they name. In the order of [`Cluster::statuses`].
    pub async fn each<T>(
        &self,
        call: impl AsyncFn(&mut Admin) -> Result<T, Status>,
    ) -> Vec<(Answer, Result<T, Failure>)> {
        let nodes = self.statuses().await;
        let asking = nodes.into_iter().map(async |node| {
            let answer = self.ask_node(&node, &call).await;
            (node, answer)
        });
        futures::future::join_all(asking).await
    }

    async fn ask_node<T>(
        &self,
        node: &Answer,
        call: &impl AsyncFn(&mut Admin) -> Result<T, Status>,
    ) -> Result<T, Failure> {
        let address = &node.address;
        let unreachable =
            |error: &String| Failure::Unreachable(vec![(address.clone(), error.clone())]);
        if let Err(error) = &node.outcome {
            return Err(unreachable(error));
        }
        let mut admin = self.open(address).await.map_err(|error| unreachable(&error))?;
        match timeout_at(self.deadline, call(&mut admin)).await {
            Err(_) => Err(self.timed_out(address.clone())),
            Ok(answer) => answer.map_err(|status| Failure::refused(Refusal::from_status(&status))),
        }
    }

    /// Asks one node and nobody else.
    pub async fn at<T>(
        &self,
        address: &str,
        call: impl AsyncFn(&mut Admin) -> Result<T, Status>,
    ) -> Result<T, Failure> {
        let address = address.to_owned();
        let outcome = Ok(StatusResponse::default());
        self.ask_node(&Answer { address, outcome }, &call).await
    }

    /// Asks the leader and nobody else.
    pub async fn write<T>(
        &self,
        call: impl AsyncFn(&mut Admin) -> Result<T, Status>,
    ) -> Result<Read<T>, Failure> {
        loop {
            let leader = self.leader(self.timeout / 2).await.map_err(Leaderless::failure)?;
            let answer = self.call(leader, &call).await;
            let next = Instant::now() + ELECTION_PAUSE;
            match answer {
                // It leads no more, or not yet, and nobody else does: it has done
                // nothing.
                Err(failure)
                    if failure.reason() == Some(Reason::NotLeader) && next < self.deadline =>
                {
                    tokio::time::sleep_until(next).await;
                }
                answer => return answer,
            }
        }
    }

    /// Calls, and follows the word of a node that it does not lead.
    async fn call<T>(
        &self,
        mut target: Target,
        call: impl AsyncFn(&mut Admin) -> Result<T, Status>,
    ) -> Result<Read<T>, Failure> {
        for _ in 0..REDIRECTS_MAX {
            let Target { mut admin, address, .. } = target;
            let called = timeout_at(self.deadline, call(&mut admin)).await;
            let status = match called {
                Err(_) => return Err(self.timed_out(address)),
                Ok(Ok(answer)) => return Ok(Read { answer, address }),
                Ok(Err(status)) => status,
            };
            let refusal = Refusal::from_status(&status);
            if refusal.reason() != Reason::NotLeader || refusal.leader_address.is_empty() {
                return Err(Failure::refused(refusal));
            }
            let address = refusal.leader_address;
            let admin = self
                .open(&address)
                .await
                .map_err(|error| Failure::Unreachable(vec![(address.clone(), error)]))?;
            target = Target { admin, address, status: StatusResponse::default() };
        }
        Err(Failure::NoLeader { answering: self.servers.len() })
    }

    /// Finds the leader within `patience`.
    async fn leader(&self, patience: Duration) -> Result<Target, Leaderless> {
        let patient_until = (Instant::now() + patience).min(self.deadline);
        loop {
            let began = Instant::now();
            let found = self.ask_for_leader().await;
            let mut leaderless = match found {
                Ok(leader) => return Ok(leader),
                Err(leaderless) => leaderless,
            };
            let ended = Instant::now();
            match leaderless.answering {
                // Who has answered before is there, and was not given the time.
                0 if ended >= self.deadline => leaderless.answering = self.heard.load(Relaxed),
                answering => self.heard.store(answering, Relaxed),
            }
            let next = ended + ELECTION_PAUSE;
            // Another round, and after it the call itself.
            let needed = next + 2 * (ended - began);
            let is_over = next >= patient_until || needed >= self.deadline;
            if leaderless.stale.is_none() || is_over {
                return Err(leaderless);
            }
            tokio::time::sleep_until(next).await;
        }
    }

    /// Asks all nodes at once who leads, and stops at the first that does.
    async fn ask_for_leader(&self) -> Result<Target, Leaderless> {
        let mut asking = FuturesUnordered::new();
        let mut asked: BTreeSet<String> = self.servers.iter().cloned().collect();
        asking.extend(self.servers.iter().cloned().map(|address| self.ask(address)));
        let mut leaderless = Leaderless::default();
        let mut newest_index = 0;
        let mut deadline = self.deadline;
        while let Ok(Some(Asked { answer, admin })) = timeout_at(deadline, asking.next()).await {
            let (address, status) = (answer.address, answer.outcome);
            let (status, admin) = match (status, admin) {
                (Ok(status), Some(admin)) => (status, admin),
                (status, _) => {
                    leaderless.failed.push((address, status.err().unwrap_or_default()));
                    continue;
                }
            };
            if leads(&status) {
                return Ok(Target { admin, address, status });
            }
            if leaderless.answering == 0 {
                let left = self.deadline.saturating_duration_since(Instant::now());
                deadline = Instant::now() + STRAGGLERS_WAIT.min(left / 2);
            }
            leaderless.answering += 1;
            // The leader may be one that the user did not name.
            let leader = status.nodes.iter().find(|node| node.node_id == status.leader_id);
            if let Some(address) = leader.map(|node| node.client_address.clone())
                && !address.is_empty()
                && asked.insert(address.clone())
            {
                asking.push(self.ask(address));
            }
            let index = status.freshness.unwrap_or_default().index;
            if leaderless.stale.is_none() || index > newest_index {
                newest_index = index;
                leaderless.stale = Some(Target { admin, address, status });
            }
        }
        if leaderless.answering == 0 {
            for address in &self.servers {
                if leaderless.failed.iter().all(|(failed, _)| failed != address) {
                    leaderless.failed.push((address.clone(), "no answer in time".to_owned()));
                }
            }
        }
        Err(leaderless)
    }

    /// Asks one node for its status. Ends by the deadline.
    async fn ask(&self, address: String) -> Asked {
        let asking = async {
            let mut admin = self.open(&address).await?;
            let status = admin.status(StatusRequest {}).await.map_err(|status| {
                let refusal = Refusal::from_status(&status);
                format!("{refusal}")
            })?;
            Ok((admin, status.into_inner()))
        };
        let asked = timeout_at(self.deadline, asking).await;
        match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok((admin, status)) => {
                Asked { answer: Answer { address, outcome: Ok(status) }, admin: Some(admin) }
            }
            Err(error) => Asked { answer: Answer { address, outcome: Err(error) }, admin: None },
        }
    }

    async fn open(&self, address: &str) -> Result<Admin, String> {
        let parameters = ChannelParameters {
            host_port: address.to_owned(),
            connector: self.connector.clone(),
            traffic: Traffic::Clients,
            // Each call ends by the deadline; a second timer would only race it.
            call_timeout: None,
        };
        let opened = timeout_at(self.deadline, channel(parameters)).await;
        let channel = opened
            .map_err(|_| "no connection in time".to_owned())?
            .map_err(|error| error.to_string())?;
        Ok(AdminServiceClient::with_interceptor(channel, Bearer(self.authorization.clone())))
    }

    /// That a node did not answer in time.
    pub fn timed_out(&self, address: String) -> Failure {
        Failure::TimedOut { address, timeout: self.timeout }
    }
}

/// What was met instead of a leader.
#[derive(Default)]
struct Leaderless {
    answering: usize,
    failed: Vec<(String, String)>,
    /// The node whose ledger reaches furthest.
    stale: Option<Target>,
}

impl Leaderless {
    fn failure(self) -> Failure {
        match self.answering {
            0 => Failure::Unreachable(self.failed),
            answering => Failure::NoLeader { answering },
        }
    }
}

/// The warning that belongs to an answer which may be out of date.
pub fn stale_warning(freshness: Option<&Freshness>, address: &str) -> Option<String> {
    let freshness = freshness.filter(|freshness| !freshness.linearizable)?;
    Some(format!(
        "STALE by {}: {address} answered, which no quorum confirms",
        show_ms(freshness.stale_ms)
    ))
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
pub mod tests;
