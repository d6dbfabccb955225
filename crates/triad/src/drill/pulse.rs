//! A session that holds nothing and beats fast, through a failover: what its
//! heartbeats meet is what those of users meet.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::Streaming;
use triad_proto::net::{ChannelParameters, Connector, TcpNetwork, Traffic, channel_lazy};
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::{Beat, Close, Holder, Open, SessionCall, SessionRequest, SessionResponse};

use crate::failure::Failure;
use crate::myself;
use crate::settings::Settings;

use super::planned::longest_gap;

/// Between two beats: what cannot be seen finer.
const BEAT: Duration = Duration::from_millis(5);
/// A node that does not open a stream in this time is not the one.
const OPEN_TIMEOUT: Duration = Duration::from_millis(500);
/// For all of it: a failover takes less than a second.
const MEASURE_MAX: Duration = Duration::from_secs(15);
const CALLS_WAITING_MAX: usize = 1_024;
/// What our session asks for: it holds nothing, so nothing waits for its end.
const LEASE_MS: u64 = 10_000;

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct Pulse {
    /// The longest time between two answers.
    pub gap: Duration,
    /// How many answers there were.
    pub beats: usize,
}

/// Beats until leadership has moved and all was calm for `calm` after it. Says on
/// `begun` when it was calm for as long at first.
pub fn measure(
    settings: &Settings,
    addresses: Vec<String>,
    calm: Duration,
    begun: oneshot::Sender<()>,
) -> Result<impl Future<Output = Result<Pulse, Failure>>, Failure> {
    let network = Arc::new(TcpNetwork::with_connect_timeout(OPEN_TIMEOUT));
    let connector = Connector::new(network, settings.tls()?).with_connect_timeout(OPEN_TIMEOUT);
    let mut session_id = [0; 16];
    getrandom::fill(&mut session_id).map_err(Failure::Random)?;
    Ok(beat_through(connector, addresses, session_id, calm, begun))
}

async fn beat_through(
    connector: Connector,
    addresses: Vec<String>,
    session_id: [u8; 16],
    calm: Duration,
    begun: oneshot::Sender<()>,
) -> Result<Pulse, Failure> {
    let deadline = Instant::now() + MEASURE_MAX;
    let mut begun = Some(begun);
    let mut answers: Vec<Instant> = Vec::new();
    let mut next = 0;
    // The first stream is that of the old leader, the second that of the new.
    let mut streams = 0;
    while Instant::now() < deadline {
        let address = &addresses[next % addresses.len()];
        next += 1;
        let opened = Stream::open(&connector, address, &session_id, !answers.is_empty());
        let Ok(Some(mut stream)) = timeout_at(Instant::now() + OPEN_TIMEOUT, opened).await else {
            continue;
        };
        streams += 1;
        answers.push(Instant::now());
        let calm_at = Instant::now() + calm;
        let mut number = 1;
        let mut beat_at = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(beat_at) => {
                    number += 1;
                    beat_at += BEAT;
                    if !stream.say(Call::Beat(Beat { beat: number })) {
                        break;
                    }
                }
                heard = stream.events.message() => match heard {
                    Ok(Some(response)) => {
                        let acknowledged = |event: &triad_proto::v1::SessionEvent| {
                            matches!(event.event, Some(Event::Beat(_)))
                        };
                        if response.events.iter().any(acknowledged) {
                            answers.push(Instant::now());
                        }
                    }
                    Ok(None) | Err(_) => break,
                },
            }
            if Instant::now() >= calm_at && begun.is_some() {
                let _ = begun.take().map(|begun| begun.send(()));
            } else if Instant::now() >= calm_at && streams > 1 {
                stream.say(Call::Close(Close {}));
                // The farewell is sent before the stream is dropped.
                let _ = timeout_at(Instant::now() + OPEN_TIMEOUT, stream.events.message()).await;
                return Ok(Pulse { gap: longest_gap(&answers), beats: answers.len() });
            } else if Instant::now() >= deadline {
                break;
            }
        }
    }
    Err(Failure::Serve("leadership did not move while heartbeats were measured".to_owned()))
}

struct Stream {
    calls: mpsc::Sender<SessionRequest>,
    events: Streaming<SessionResponse>,
}

impl Stream {
    /// Opens or resumes the session; `None` where that node does not lead.
    async fn open(
        connector: &Connector,
        address: &str,
        session_id: &[u8; 16],
        resume: bool,
    ) -> Option<Self> {
        let channel = channel_lazy(ChannelParameters {
            host_port: address.to_owned(),
            connector: connector.clone(),
            traffic: Traffic::Clients,
            call_timeout: None,
        })
        .ok()?;
        let (calls, mut to_send) = mpsc::channel::<SessionRequest>(CALLS_WAITING_MAX);
        let open = Open {
            session_id: session_id.to_vec(),
            holder: Some(Holder {
                user: myself::user(),
                host: myself::host(),
                application: "triad drill".to_owned(),
                ..Holder::default()
            }),
            lease_ms: LEASE_MS,
            protocol_version: 1,
            resume,
            beat: 1,
        };
        calls.try_send(request(Call::Open(open))).ok()?;
        let outgoing = futures::stream::poll_fn(move |context| to_send.poll_recv(context));
        let mut client = LicensingServiceClient::new(channel);
        let mut events = client.session(outgoing).await.ok()?.into_inner();
        loop {
            let response = events.message().await.ok()??;
            let opened = |event: &triad_proto::v1::SessionEvent| {
                matches!(event.event, Some(Event::Opened(_)))
            };
            if response.events.iter().any(opened) {
                return Some(Stream { calls, events });
            }
        }
    }

    fn say(&self, call: Call) -> bool {
        self.calls.try_send(request(call)).is_ok()
    }
}

fn request(call: Call) -> SessionRequest {
    SessionRequest { calls: vec![SessionCall { call: Some(call) }] }
}
