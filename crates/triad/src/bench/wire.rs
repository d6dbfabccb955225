//! Sessions without the client library: for heartbeats that are sent when a
//! workload says so, or never. The library sends its own, and looks for another
//! leader when nobody answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use triad_proto::net::{ChannelParameters, ClientTls, Connector, SharedNetwork, Traffic, channel};
use triad_proto::v1;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::taken::Outcome;

use crate::failure::Failure;
use crate::settings::Settings;

use super::outstanding::refused;
use super::progress::{Goal, Progress};
use super::site::{OPENING_MAX, Site};

const PROTOCOL_VERSION: u32 = 1;
/// A session says one thing at a time.
const CALLS_WAITING_MAX: usize = 4;
/// How long an answer may take before it is an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the end of a session is waited for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// An open session.
pub struct Session {
    calls: mpsc::Sender<v1::SessionRequest>,
    events: Streaming<v1::SessionResponse>,
    next: u64,
    /// How often the server would like to hear of it.
    pub heartbeat: Duration,
}

/// The way to the leader.
pub struct Way {
    network: SharedNetwork,
    tls: Option<ClientTls>,
    host_port: String,
    /// Empty: every session has a connection of its own.
    shared: Vec<Channel>,
}

impl Way {
    /// To the leader as it is now, over so many connections; 0: each its own.
    pub async fn to_leader(site: &Site, connections: u32) -> Result<Self, Failure> {
        let (network, tls) = site.network();
        let host_port = site.leader_address().await?;
        let mut way = Way { network, tls, host_port, shared: Vec::new() };
        for _ in 0..connections {
            let channel = way.connect().await?;
            way.shared.push(channel);
        }
        Ok(way)
    }

    async fn connect(&self) -> Result<Channel, Failure> {
        let parameters = ChannelParameters {
            host_port: self.host_port.clone(),
            connector: Connector::new(self.network.clone(), self.tls.clone()),
            traffic: Traffic::Clients,
            call_timeout: None,
        };
        let unreachable =
            |error| Failure::Unreachable(vec![(self.host_port.clone(), format!("{error}"))]);
        channel(parameters).await.map_err(unreachable)
    }

    /// The session of client `n`, with a lease of its own.
    async fn open(&self, n: u32, lease: Duration) -> Result<Session, Failure> {
        let channel = match self.shared.get(n as usize % self.shared.len().max(1)) {
            Some(shared) => shared.clone(),
            None => self.connect().await?,
        };
        let mut session_id = [0; 16];
        getrandom::fill(&mut session_id).map_err(Failure::Random)?;
        Session::open(channel, n, session_id, lease).await.map_err(refused)
    }

    /// `count` of them, each handed to `begin` as soon as it is open.
    pub async fn each<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        settings: &Settings,
        count: u32,
        lease: Duration,
        begin: impl Fn(u32, Session) -> F,
    ) -> Result<Vec<T>, Failure> {
        let done = Arc::new(AtomicU64::new(0));
        let goal = Goal::Count(u64::from(count), done.clone());
        let _shown = Progress::begin(settings.output, "sessions open".to_owned(), goal);
        let begin = &begin;
        let open = |n| async move { begin(n, self.open(n, lease).await?).await };
        let opening = stream::iter(0..count).map(open).buffer_unordered(OPENING_MAX);
        let counted = opening.inspect_ok(|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        counted.try_collect().await
    }
}

impl Session {
    async fn open(
        channel: Channel,
        n: u32,
        session_id: [u8; 16],
        lease: Duration,
    ) -> Result<Self, Status> {
        let (calls, mut to_send) = mpsc::channel(CALLS_WAITING_MAX);
        let open = v1::Open {
            session_id: session_id.to_vec(),
            holder: Some(v1::Holder {
                user: format!("bench{n}"),
                host: "bench".into(),
                application: "triad bench".into(),
                ..v1::Holder::default()
            }),
            lease_ms: lease.as_millis() as u64,
            protocol_version: PROTOCOL_VERSION,
            resume: false,
            beat: 1,
        };
        calls.try_send(request(Call::Open(open))).map_err(|_| ended())?;
        let outgoing = stream::poll_fn(move |context| to_send.poll_recv(context));
        let mut client = LicensingServiceClient::new(channel);
        let opening = timeout(ANSWER_TIMEOUT, client.session(outgoing)).await;
        let events = opening.map_err(|_| late())??.into_inner();
        let mut session = Session { calls, events, next: 2, heartbeat: Duration::ZERO };
        let opened = session.until(|event| match event {
            Event::Opened(opened) => Some(opened),
            _ => None,
        });
        let heartbeat_ms = opened.await?.heartbeat_interval_ms;
        Ok(Session { heartbeat: Duration::from_millis(heartbeat_ms.max(1)), ..session })
    }

    /// Takes a seat.
    pub async fn take(&mut self, pool: &str) -> Result<(), Status> {
        let request_id = self.next;
        self.next += 1;
        let item = v1::Item { feature: pool.to_owned(), seats: 1, ..v1::Item::default() };
        let take = v1::Take { request_id, items: vec![item], ..v1::Take::default() };
        self.say(Call::Take(take)).await?;
        let granted = self.until(|event| match event {
            Event::Taken(taken) if taken.request_id == request_id => Some(taken.outcome),
            _ => None,
        });
        match granted.await? {
            Some(Outcome::Denial(denial)) => Err(denial.into_status()),
            _ => Ok(()),
        }
    }

    /// A heartbeat and its answer.
    pub async fn beat(&mut self) -> Result<(), Status> {
        let beat = self.next;
        self.next += 1;
        self.say(Call::Beat(v1::Beat { beat })).await?;
        self.until(|event| match event {
            Event::Beat(answer) if answer.beat >= beat => Some(()),
            _ => None,
        })
        .await
    }

    /// Ends it, and waits until it is.
    pub async fn close(mut self) {
        if self.say(Call::Close(v1::Close {})).await.is_ok() {
            let end = async { while let Ok(Some(_)) = self.events.message().await {} };
            // It ends in any case, at the latest with its lease.
            let _ = timeout(CLOSE_TIMEOUT, end).await;
        }
    }

    async fn say(&self, call: Call) -> Result<(), Status> {
        self.calls.send(request(call)).await.map_err(|_| ended())
    }

    /// What `wanted` makes of the first event that it wants.
    async fn until<T>(&mut self, wanted: impl Fn(Event) -> Option<T>) -> Result<T, Status> {
        let events = &mut self.events;
        let waiting = async {
            loop {
                let response = events.message().await?.ok_or_else(ended)?;
                let mut all = response.events.into_iter().filter_map(|event| event.event);
                if let Some(found) = all.find_map(&wanted) {
                    return Ok(found);
                }
            }
        };
        timeout(ANSWER_TIMEOUT, waiting).await.map_err(|_| late())?
    }
}

fn request(call: Call) -> v1::SessionRequest {
    v1::SessionRequest { calls: vec![v1::SessionCall { call: Some(call) }] }
}

fn ended() -> Status {
    Status::unavailable("the session was ended")
}

fn late() -> Status {
    Status::deadline_exceeded(format!("no answer within {ANSWER_TIMEOUT:?}"))
}
