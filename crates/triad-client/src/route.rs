//! Finding the leader: dial everybody, follow hints, open or resume the session
//! on whoever leads.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use triad_proto::net::{ClientTls, SharedNetwork, io_error_kind};
use triad_proto::v1;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::{Reason, Refusal};

use crate::connections::{Connected, Connections};
use crate::process::{Lost, Turn};

/// How long one node gets before the next is dialled as well. A dead node
/// costs a checkout at most this.
const STAGGER: Duration = Duration::from_millis(40);
/// How long a node gets whose host has answered: it lives, or stands still. To
/// dial the others sooner costs three handshakes instead of one, just when many
/// are under way.
const STAGGER_REACHED: Duration = Duration::from_millis(250);
/// How long a node may take to answer on a connection that stands.
const OPEN_TIMEOUT: Duration = Duration::from_secs(3);
/// Hints followed in one search: enough for a leadership that moves twice.
const HINTS_MAX: usize = 8;
/// Messages waiting to be sent on a stream.
const CALLS_WAITING_MAX: usize = 256;

/// How nodes are reached.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) network: SharedNetwork,
    pub(crate) tls: Option<ClientTls>,
}

/// A stream on which the session is open.
pub(crate) struct OpenStream {
    pub(crate) address: String,
    /// The connection that it is on.
    pub(crate) channel: Channel,
    /// The term in which that node leads.
    pub(crate) term: u64,
    pub(crate) calls: mpsc::Sender<v1::SessionRequest>,
    pub(crate) events: Streaming<v1::SessionResponse>,
    /// What came with the opening, besides `opened`.
    pub(crate) first_events: Vec<Event>,
    pub(crate) opened: v1::Opened,
    pub(crate) opened_sent: Instant,
}

/// Counts the openings of one session that were sent and may have been taken: a leader that
/// nobody heard of may have the session open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Openings(Arc<AtomicU32>);

impl Openings {
    pub(crate) fn are_unanswered(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn sent(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The node that was asked has not opened it.
    fn refused(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Nobody opened the session.
#[derive(Debug)]
pub(crate) struct NotFound {
    /// The most telling answer.
    pub(crate) refusal: Refusal,
    /// The leader that was named in the highest term, and that term.
    pub(crate) hint: Option<(u64, String)>,
}

/// Whom to ask, and for what.
pub(crate) struct Search {
    /// In this order.
    pub(crate) servers: Vec<String>,
    /// Is not dialled: a stream to it is open already.
    pub(crate) avoid: Option<String>,
    pub(crate) open: v1::Open,
    pub(crate) openings: Openings,
    /// Once one node has answered, a silent one gets this before the search is called off.
    pub(crate) straggler_wait: Duration,
    /// Is told at once of a node whose port refuses: the others may take longer to answer than a
    /// seat can wait for that.
    pub(crate) deaths: mpsc::Sender<String>,
    /// The leader whose successor is looked for, by those who lost it.
    pub(crate) lost: Option<Lost>,
}

/// Dials the servers in order, a little apart, and follows hints, until one node
/// opens the session.
/// Cancel safe: what was begun of `connections` is there for the next search.
pub(crate) async fn find_leader(
    dialer: &Dialer,
    connections: &Connections,
    search: Search,
) -> Result<OpenStream, NotFound> {
    let Search { servers, avoid, open, openings, straggler_wait, deaths, lost } = search;
    let mut waiting: std::collections::VecDeque<String> = servers.into();
    let mut tried: BTreeSet<String> = avoid.into_iter().collect();
    let mut attempts = FuturesUnordered::new();
    let mut reaches = FuturesUnordered::new();
    let mut not_found = NotFound {
        refusal: Refusal::because(Reason::NodeUnreachable, "no node could be reached"),
        hint: None,
    };
    let mut told = telling(&not_found.refusal);
    let mut hints = 0;
    let mut next_start = Instant::now();
    let mut give_up_at: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            Some((address, result)) = attempts.next(), if !attempts.is_empty() => {
                next_start = Instant::now();
                match result {
                    Ok(stream) => return Ok(stream),
                    Err(Failed { refusal, dead, typed }) => {
                        if typed {
                            give_up_at = Some(next_start + straggler_wait);
                        }
                        if dead {
                            // Full means that it was said often enough.
                            let _ = deaths.try_send(address);
                        }
                        let hint = refusal.leader_address.clone();
                        if !hint.is_empty() {
                            let named = Some((refusal.leader_term, hint.clone()));
                            not_found.hint = not_found.hint.take().max(named);
                            if !tried.contains(&hint) && hints < HINTS_MAX {
                                hints += 1;
                                waiting.retain(|address| *address != hint);
                                waiting.push_front(hint);
                            }
                        }
                        let is_last_word = typed && is_final(&refusal);
                        // What something on the way says, tells nothing of the cluster.
                        let telling = if typed { telling(&refusal) } else { telling(&refusal).min(1) };
                        if telling >= told {
                            (not_found.refusal, told) = (refusal, telling);
                        }
                        if is_last_word {
                            return Err(not_found);
                        }
                    }
                }
            }
            Some(is_reached) = reaches.next(), if !reaches.is_empty() => {
                if is_reached {
                    next_start = next_start.max(Instant::now() + STAGGER_REACHED);
                }
            }
            () = until(next_start), if !waiting.is_empty() => {
                next_start = Instant::now() + STAGGER;
                let address = waiting.pop_front().expect("just asked");
                if tried.insert(address.clone()) {
                    let connecting = connections.to(dialer, &address);
                    let mut reached = connecting.reached.clone();
                    // An error: it was not, and the attempt says so.
                    reaches.push(async move { reached.wait_for(|is| *is).await.is_ok() });
                    let turn = Turn { connecting, lost: lost.as_ref(), network: &dialer.network };
                    attempts.push(attempt(connections, turn, address, &open, &openings));
                }
            }
            () = stragglers(give_up_at), if waiting.is_empty() && !attempts.is_empty() => {
                return Err(not_found);
            }
            else => return Err(not_found),
        }
    }
}

/// At once if that is past: a timer would wait for the next turn of the runtime, which
/// with ten thousand clients in one process is a second away.
async fn until(at: Instant) {
    if Instant::now() < at {
        sleep_until(at).await;
    }
}

async fn stragglers(give_up_at: Option<Instant>) {
    match give_up_at {
        Some(at) => until(at).await,
        None => std::future::pending().await,
    }
}

/// Which of several answers to report.
fn telling(refusal: &Refusal) -> u8 {
    match refusal.reason() {
        Reason::NodeUnreachable => 0,
        Reason::Deadline | Reason::NotReady => 1,
        Reason::NotLeader => 2,
        // A back-up whose time is over says nothing of the main server, and a node that
        // was removed nothing of the others.
        Reason::NoQuorum | Reason::Overloaded | Reason::FailoverOver | Reason::NodeRemoved => 3,
        _ => 4,
    }
}

/// An answer that no other node will improve on.
fn is_final(refusal: &Refusal) -> bool {
    telling(refusal) == 4
}

#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) refusal: Refusal,
    /// The port refused the connection.
    pub(crate) dead: bool,
    /// The node itself said so, and not something on the way.
    pub(crate) typed: bool,
}

impl Failed {
    pub(crate) fn because(refusal: Refusal) -> Self {
        Failed { refusal, dead: false, typed: false }
    }

    fn said(status: &tonic::Status) -> Self {
        let typed = Refusal::typed(status).is_some();
        // A connection that was closed is opened again by whoever uses it.
        let dead = !typed && io_error_kind(status) == Some(io::ErrorKind::ConnectionRefused);
        Failed { refusal: Refusal::from_status(status), dead, typed }
    }

    fn silent(address: &str, time: Duration) -> Self {
        let message = format!("{address} did not answer within {time:?}");
        Failed::because(Refusal::because(Reason::NodeUnreachable, message))
    }
}

async fn attempt(
    connections: &Connections,
    turn: Turn<'_>,
    address: String,
    open: &v1::Open,
    openings: &Openings,
) -> (String, Result<OpenStream, Failed>) {
    let opening = async {
        let Connected { channel, .. } = turn.connected(&address).await?;
        timeout(OPEN_TIMEOUT, open_on(channel, address.clone(), open.clone(), openings))
            .await
            .unwrap_or_else(|_| Err(Failed::silent(&address, OPEN_TIMEOUT)))
    };
    let result = opening.await;
    if result.as_ref().is_err_and(|failed| !failed.typed) {
        connections.forget(&address);
    }
    (address, result)
}

async fn open_on(
    channel: Channel,
    address: String,
    open: v1::Open,
    openings: &Openings,
) -> Result<OpenStream, Failed> {
    let (calls, to_send) = mpsc::channel(CALLS_WAITING_MAX);
    let opened_sent = Instant::now();
    let first =
        v1::SessionRequest { calls: vec![v1::SessionCall { call: Some(Call::Open(open)) }] };
    calls.try_send(first).expect("a new channel has room");
    let mut client = LicensingServiceClient::new(channel.clone());
    openings.sent();
    let answer = client.session(ReceiverStream::new(to_send)).await.map_err(|status| {
        let failed = Failed::said(&status);
        if failed.typed {
            // Before it has read anything.
            openings.refused();
        }
        failed
    })?;
    let refused = |status: tonic::Status| {
        let failed = Failed::said(&status);
        if failed.typed && !may_be_written(&failed.refusal) {
            openings.refused();
        }
        failed
    };
    let mut events = answer.into_inner();
    let message = events.message().await.map_err(refused)?;
    let mut first_events = message.into_iter().flat_map(|m| m.events).filter_map(|e| e.event);
    match first_events.next() {
        Some(Event::Opened(opened)) => Ok(OpenStream {
            address,
            channel,
            term: opened.position.map_or(0, |position| position.term),
            calls,
            first_events: first_events.collect(),
            events,
            opened,
            opened_sent,
        }),
        // The session is over, or moves; the status that follows says why.
        _ => match events.message().await {
            Err(status) => Err(refused(status)),
            Ok(_) => {
                let message = format!("{address} closed the stream without a word");
                Err(Failed::because(Refusal::because(Reason::NodeUnreachable, message)))
            }
        },
    }
}

/// Whether a node that had read the opening may have written it, says its refusal: it ran out of
/// time, lost its followers or its office, or was stopped.
fn may_be_written(refusal: &Refusal) -> bool {
    use Reason::{Deadline, NoQuorum, NotLeader, NotReady};
    matches!(refusal.reason(), Deadline | NoQuorum | NotLeader | NotReady)
}
