//! One heartbeat stream: the calls of one session in, its answers and news out.
//!
//! The stream is polled by the connection, so there is no task and no queue
//! between a call and its answer; and a client that does not read its answers
//! is not read from either. When the connection goes, this is dropped, and
//! whether the client's kernel closed it decides what that means.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use futures::future::poll_fn;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, Streaming};
use triad_ledger::names::{CheckoutId, RequestId, SessionId};
use triad_ledger::{Answer, Command, Denial, Outcome};
use triad_proto::net::{ConnectionInfo, PeerClosed};
use triad_proto::v1;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event as News;
use triad_proto::v1::{Reason, Refusal};
use triad_raft::{Committed, Leadership};

use crate::convert;
use crate::guarded::ARRIVAL_TIMEOUT;
use crate::mutation::{self, Mutation};
use crate::news::{NEWS_WAITING_MAX, NewsSender};
use crate::node::Node;
use crate::sessions::StreamId;
use crate::traces;
use crate::under_way::{Answering, UnderWay};

/// Requests of one session under way at once. A client that sends more waits.
const REQUESTS_UNDER_WAY_MAX: usize = 128;
/// A leader that is one no more names the next one, where there is one within this: whoever
/// knows where to go need not ask around. After a planned handover it takes a few milliseconds.
const NEXT_LEADER_WAIT: Duration = Duration::from_millis(50);
/// The version of the protocol that this server speaks.
const PROTOCOL_VERSION: u32 = 1;

/// The state of one stream.
pub(crate) struct SessionStream {
    node: Arc<Node>,
    calls: Streaming<v1::SessionRequest>,
    /// What is left of the message that was read last.
    unread: vec::IntoIter<v1::SessionCall>,
    under_way: UnderWay,
    open: Option<OpenSession>,
    /// The client has said something since, so it knows that it is open.
    is_known: bool,
    news: mpsc::Receiver<Box<News>>,
    news_sender: NewsSender,
    /// What ends the stream from outside. Polled only when one of them is awake: most
    /// of the time there is a call to look at, and none of these.
    endings: FuturesUnordered<Pin<Box<dyn Future<Output = Ending> + Send>>>,
    closed: Option<Arc<PeerClosed>>,
    /// Where the connection came from.
    address: Option<IpAddr>,
    /// What is left to say before the end.
    farewell: Option<Status>,
    hung_up: bool,
    over: bool,
}

struct OpenSession {
    id: SessionId,
    stream: StreamId,
}

/// Why a stream ends that nobody has closed.
enum Ending {
    /// The leadership under which the session was opened is over, or the node stops.
    NotLeader,
    /// Time is up for whoever has opened nothing.
    NotOpened,
}

impl SessionStream {
    pub(crate) fn new(
        node: Arc<Node>,
        calls: Streaming<v1::SessionRequest>,
        connection: Option<&ConnectionInfo>,
    ) -> Self {
        let (news_sender, news) = mpsc::channel(NEWS_WAITING_MAX);
        let endings = FuturesUnordered::new();
        endings.push(told_to_stop(node.watch_stopping()).boxed());
        // Else a stream without a session would cost a place for ever.
        endings.push(sleep(ARRIVAL_TIMEOUT).map(|()| Ending::NotOpened).boxed());
        SessionStream {
            node,
            calls,
            unread: Vec::new().into_iter(),
            under_way: UnderWay::default(),
            open: None,
            is_known: false,
            news,
            news_sender,
            endings,
            closed: connection.map(|info| info.closed.clone()),
            address: connection.map(|info| info.peer.ip()),
            farewell: None,
            hung_up: false,
            over: false,
        }
    }

    /// The answers as a stream.
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<v1::SessionResponse, Status>> + Send + 'static {
        // Boxed: it goes in and out with each message.
        futures::stream::unfold(Box::new(self), |mut stream| async move {
            let item = stream.next().await?;
            Some((item, stream))
        })
    }

    /// The next message: everything that is ready, or the farewell.
    async fn next(&mut self) -> Option<Result<v1::SessionResponse, Status>> {
        if self.over {
            return None;
        }
        let mut out = Vec::new();
        while out.is_empty() {
            if let Some(status) = self.farewell.take() {
                self.over = true;
                return Some(Err(status));
            }
            if let Err(refusal) = self.step(&mut out).await {
                Box::pin(self.say_goodbye(refusal, &mut out)).await;
            }
            if self.over && out.is_empty() {
                return None;
            }
        }
        let events = out.into_iter().map(|event| v1::SessionEvent { event: Some(event) });
        Some(Ok(v1::SessionResponse { events: events.collect() }))
    }

    /// Waits for one thing to happen, then takes along whatever else is ready.
    async fn step(&mut self, out: &mut Vec<News>) -> Result<(), Refusal> {
        if self.hung_up && self.under_way.is_empty() {
            self.over = true;
            return Ok(());
        }
        let reads = self.under_way.len() < REQUESTS_UNDER_WAY_MAX && !self.hung_up;
        tokio::select! {
            biased;
            answered = poll_fn(|cx| self.under_way.poll(cx, out)) => answered?,
            Some(news) = self.news.recv() => self.take_news(*news, out),
            call = next_call(&mut self.unread, &mut self.calls), if reads => {
                self.take_call(call?, out).await?;
                while self.under_way.len() < REQUESTS_UNDER_WAY_MAX && !self.over {
                    let Some(call) = first_of(&mut self.unread) else { break };
                    self.take_call(Some(call), out).await?;
                }
            }
            Some(ending) = self.endings.next() => match ending {
                Ending::NotLeader => return Err(self.node.not_leader()),
                Ending::NotOpened if self.open.is_none() => {
                    let message = format!("no `open` within {ARRIVAL_TIMEOUT:?}");
                    return Err(Refusal::because(Reason::InvalidRequest, message));
                }
                Ending::NotOpened => {}
            },
        }
        Ok(())
    }

    fn take_news(&mut self, news: News, out: &mut Vec<News>) {
        if let News::Ended(ended) = &news
            && ended.checkout_id == 0
        {
            self.over = true;
        }
        out.push(news);
    }

    async fn take_call(&mut self, call: Option<Call>, out: &mut Vec<News>) -> Result<(), Refusal> {
        self.is_known |= self.open.is_some() && call.is_some();
        match call {
            // The client has no more to say, in good order. It hears what it
            // asked for; its lease goes on unless it said `close`, or closes its
            // connection next.
            None => self.hung_up = true,
            Some(Call::Open(open)) => {
                // Boxed, with what else is rare: the stream's future goes in and out with each
                // message, and would be as large as the largest of them.
                let opened = Box::pin(self.open(open)).await?;
                out.push(News::Opened(opened));
            }
            Some(Call::Beat(v1::Beat { beat })) => {
                let acknowledged = News::Beat(v1::BeatAcknowledged { beat });
                match self.node.heard(self.session()?, Instant::now())? {
                    None => out.push(acknowledged),
                    Some(suspicion) => {
                        let node = self.node.clone();
                        self.under_way.push(Box::pin(async move {
                            node.unsuspect(suspicion).await?;
                            Ok(Some(acknowledged))
                        }));
                    }
                }
            }
            Some(Call::Take(take)) => self.take(take)?,
            Some(Call::GiveBack(give_back)) => self.give_back(give_back)?,
            Some(Call::Cancel(cancel)) => self.cancel(cancel)?,
            Some(Call::Borrow(borrow)) => self.borrow(borrow)?,
            Some(Call::Idle(idle)) => self.idle(idle)?,
            Some(Call::Close(v1::Close {})) => {
                let session = self.session()?;
                let commands = vec![Command::Close { session }];
                Box::pin(self.node.propose_for_client(commands)).await?;
                self.node.not_open(session);
                out.push(News::Ended(v1::Ended {
                    checkout_id: 0,
                    reason: v1::EndReason::Closed.into(),
                    message: String::new(),
                }));
                self.over = true;
            }
        }
        Ok(())
    }

    async fn open(&mut self, open: v1::Open) -> Result<v1::Opened, Refusal> {
        if self.open.is_some() {
            let message = "open: the stream has a session already";
            return Err(Refusal::because(Reason::InvalidRequest, message));
        }
        if open.protocol_version > PROTOCOL_VERSION {
            let message = format!(
                "the client speaks protocol version {}, this server speaks {PROTOCOL_VERSION}",
                open.protocol_version
            );
            return Err(Refusal::because(Reason::ProtocolVersion, message));
        }
        let session = convert::session_id(&open.session_id)?;
        let holder = convert::holder(open.holder, self.address)?;
        let lease = self.node.times().lease(Duration::from_millis(open.lease_ms));
        let term = self.node.leading_term().ok_or_else(|| self.node.not_leader())?;
        let suspicion = self.node.opening(session, lease, holder.address)?;
        let lease_ms = lease.as_millis() as u64;
        let command = Command::Open { session, holder, lease_ms, resume: open.resume };
        let committed = self.node.propose_opening(session, vec![command]).await?;
        let lease_ms = match first(&committed)? {
            Ok(Outcome::Opened { lease_ms, .. }) => lease_ms,
            Ok(other) => unreachable!("an opening is not answered {other:?}"),
            Err(denial) => return Err(self.node.opening_denied(session, &denial)),
        };
        let lease = Duration::from_millis(lease_ms);
        self.node.opened(session, lease, suspicion);
        let stream = self.node.attach(session, self.news_sender.clone());
        self.open = Some(OpenSession { id: session, stream });
        self.endings.push(leadership_lost(self.node.consensus.watch_leadership(), term).boxed());
        // Asked after attaching: what ends from now on is told as news.
        let checkouts = self.node.consensus.read(|ledger| {
            let open = ledger.session(session)?;
            let ids = open.checkouts.iter().map(|id| id.0).collect::<Vec<_>>();
            Some((ids, ledger.at().index))
        });
        let Some((checkout_ids, index)) = checkouts else {
            return Err(self.node.session_unknown(session));
        };
        // The opening counts as a heartbeat, under a heartbeat's conditions.
        if !mutation::is_on(Mutation::OpenDoesNotRefresh)
            && let Some(suspicion) = self.node.heard(session, Instant::now())?
        {
            self.node.unsuspect(suspicion).await?;
        }
        // What this leader does, and not what the configuration has said since it leads.
        let grace = self.node.disconnect_grace().ok_or_else(|| self.node.not_leader())?;
        Ok(v1::Opened {
            lease_ms,
            heartbeat_interval_ms: self.node.heartbeat(lease).as_millis() as u64,
            disconnect_grace_ms: grace.as_millis() as u64,
            beat: open.beat,
            position: Some(v1::LogPosition { index, ..position(&committed) }),
            checkout_ids,
            node_id: self.node.consensus.node_id(),
        })
    }

    fn take(&mut self, take: v1::Take) -> Result<(), Refusal> {
        let session = self.session()?;
        let request_id = take.request_id;
        let command = convert::request_id(request_id).and_then(|request| {
            Ok(Command::Checkout {
                session,
                request,
                answered_through: RequestId(take.answered_through),
                items: convert::items(take.items)?,
                wait: convert::wait(take.wait),
            })
        });
        let node = self.node.clone();
        let command = command.and_then(|command| node.may_grant().map(|()| command));
        let answering: Answering = Box::pin(async move {
            use v1::taken::Outcome as Taken;
            // What is malformed is answered, not hung up on: other requests of
            // the session are well.
            let command = match command {
                Ok(command) => command,
                Err(denial) => return Ok(Some(taken(request_id, None, Taken::Denial(denial)))),
            };
            let items = match &command {
                Command::Checkout { items, wait: Some(_), .. } => items.clone(),
                _ => Vec::new(),
            };
            let committed = node.propose_for_client(vec![command]).await?;
            let position = Some(position(&committed));
            let outcome = match first(&committed)? {
                Ok(Outcome::Granted(grant)) => {
                    // The first answer to a request that is asked again may be older
                    // than the end of what it granted, which nobody could be told of.
                    if node.has_ended(grant.checkout) {
                        node.desk.tell_late_end(session, grant.checkout);
                    }
                    Taken::Grant(convert::grant(grant))
                }
                // The final answer is told as news when it comes.
                Ok(Outcome::Queued { position: place }) => {
                    let estimate_ms = node.desk.estimate_ms(&items, place);
                    let queued = v1::Queued { request_id, position, place, estimate_ms };
                    return Ok(Some(News::Queued(queued)));
                }
                Ok(_) => Taken::Denial(convert::request_id_reused()),
                Err(Denial::SessionUnknown { session }) => {
                    return Err(node.session_unknown(session));
                }
                Err(denial) => Taken::Denial(node.denial(&denial)),
            };
            Ok(Some(taken(request_id, position, outcome)))
        });
        let traces = &self.node.traces;
        self.under_way.push(match traces.sampled() {
            Some(context) => traces::checkout(traces.clone(), context, answering),
            None => answering,
        });
        Ok(())
    }

    /// The request itself is answered as news, if it waited until now.
    fn cancel(&mut self, cancel: v1::Cancel) -> Result<(), Refusal> {
        let command = Command::Cancel {
            session: self.session()?,
            request: convert::request_id(cancel.request_id)?,
            answered: cancel.answer_received,
        };
        let node = self.node.clone();
        self.under_way.push(Box::pin(async move {
            node.propose_for_client(vec![command]).await?;
            Ok(None)
        }));
        Ok(())
    }

    fn borrow(&mut self, borrow: v1::Borrow) -> Result<(), Refusal> {
        let session = self.session()?;
        let request_id = borrow.request_id;
        let date_ms = self.node.consensus.date_ms();
        let command = convert::request_id(request_id).and_then(|request| {
            Ok(Command::Borrow {
                session,
                request,
                answered_through: RequestId(borrow.answered_through),
                items: convert::items(borrow.items)?,
                until_ms: convert::borrow_end(borrow.end, date_ms)?,
            })
        });
        let node = self.node.clone();
        let command = command.and_then(|command| node.may_grant().map(|()| command));
        self.under_way.push(Box::pin(async move {
            use v1::borrowed::Outcome as Lent;
            let (position, outcome) = match command {
                Err(denial) => (None, Lent::Denial(denial)),
                Ok(command) => {
                    let committed = node.propose_for_client(vec![command]).await?;
                    let outcome = match first(&committed)? {
                        Ok(Outcome::Borrowed { grant, until_ms }) => {
                            match node.borrow_token(&grant, until_ms) {
                                Ok(token) => Lent::Grant(v1::BorrowGrant {
                                    grant: Some(convert::grant(grant)),
                                    until_ms,
                                    token,
                                }),
                                Err(refusal) => Lent::Denial(refusal),
                            }
                        }
                        Ok(_) => Lent::Denial(convert::request_id_reused()),
                        Err(Denial::SessionUnknown { session }) => {
                            return Err(node.session_unknown(session));
                        }
                        Err(denial) => Lent::Denial(node.denial(&denial)),
                    };
                    (Some(position(&committed)), outcome)
                }
            };
            let outcome = Some(outcome);
            Ok(Some(News::Borrowed(v1::Borrowed { request_id, position, outcome })))
        }));
        Ok(())
    }

    /// Clients send durations, and only the leader makes instants of them.
    fn idle(&mut self, idle: v1::Idle) -> Result<(), Refusal> {
        let session = self.session()?;
        let now_ms = self.node.consensus.cluster_ms();
        let idle_ms = if mutation::is_on(Mutation::IdleFromNow) { 0 } else { idle.idle_ms };
        let since_ms = idle.is_idle.then(|| now_ms.saturating_sub(idle_ms));
        let node = self.node.clone();
        self.under_way.push(Box::pin(async move {
            node.propose_for_client(vec![Command::Idle { session, since_ms }]).await?;
            Ok(None)
        }));
        Ok(())
    }

    fn give_back(&mut self, give_back: v1::GiveBack) -> Result<(), Refusal> {
        let session = self.session()?;
        let request_id = give_back.request_id;
        let command = Command::Checkin {
            session,
            request: convert::request_id(request_id)?,
            answered_through: RequestId(give_back.answered_through),
            checkout: CheckoutId(give_back.checkout_id),
        };
        let node = self.node.clone();
        self.under_way.push(Box::pin(async move {
            let committed = node.propose_for_client(vec![command]).await?;
            let was_held = match first(&committed)? {
                Ok(Outcome::Returned { was_held }) => was_held,
                Ok(_) => return Err(convert::request_id_reused()),
                Err(denial) => return Err(convert::denial(&denial)),
            };
            let position = Some(position(&committed));
            Ok(Some(News::GivenBack(v1::GivenBack { request_id, position, was_held })))
        }));
        Ok(())
    }

    fn session(&self) -> Result<SessionId, Refusal> {
        self.open.as_ref().map(|open| open.id).ok_or_else(|| {
            Refusal::because(Reason::InvalidRequest, "the first call of a stream must be `open`")
        })
    }

    /// The stream ends with a status. A session that moves is told where to;
    /// one that is no more is told so in an event.
    async fn say_goodbye(&mut self, mut refusal: Refusal, out: &mut Vec<News>) {
        match refusal.reason() {
            Reason::NotLeader if self.open.is_some() => {
                if refusal.leader_address.is_empty() {
                    refusal = self.node.not_leader_soon(NEXT_LEADER_WAIT).await;
                }
                out.push(News::Moving(v1::Moving { to_address: refusal.leader_address.clone() }));
            }
            Reason::SessionUnknown => out.push(News::Ended(v1::Ended {
                checkout_id: 0,
                reason: v1::EndReason::Silent.into(),
                message: refusal.message.clone(),
            })),
            _ => {}
        }
        self.farewell = Some(refusal.into_status());
    }
}

impl Drop for SessionStream {
    fn drop(&mut self) {
        let Some(open) = &self.open else { return };
        if mutation::is_on(Mutation::ReleaseOnTimeout) {
            return self.node.detach(open.id, open.stream, true);
        }
        // Who had no answer in time and goes away does not know of this stream, and
        // goes on believing in its lease: that is no sign of its death.
        let Some(connection) = self.closed.take().filter(|_| self.is_known) else {
            return self.node.detach(open.id, open.stream, false);
        };
        let is_closed = connection.is_closed();
        // Whom this node sent away closes its connection because of that. A client that has no
        // more to say is not sent away, though its stream is over.
        let is_sent_away = self.farewell.is_some() || self.over && !self.hung_up;
        if is_closed || is_sent_away {
            return self.node.detach(open.id, open.stream, is_closed);
        }
        self.node.detach_reset(open.id, open.stream, connection);
    }
}

fn first_of(calls: &mut vec::IntoIter<v1::SessionCall>) -> Option<Call> {
    calls.find_map(|call| call.call)
}

/// The next call, from the message read last or from the wire.
async fn next_call(
    unread: &mut vec::IntoIter<v1::SessionCall>,
    calls: &mut Streaming<v1::SessionRequest>,
) -> Result<Option<Call>, Refusal> {
    loop {
        if let Some(call) = first_of(unread) {
            return Ok(Some(call));
        }
        match calls.message().await {
            Ok(Some(message)) => *unread = message.calls.into_iter(),
            Ok(None) => return Ok(None),
            // Its client has reset the stream: it waits for nothing, and is told nothing.
            Err(status) if status.code() == Code::Cancelled => return Ok(None),
            Err(status) => return Err(Refusal::from_status(&status)),
        }
    }
}

/// Resolves when the leadership under which a session was opened is over.
async fn leadership_lost(mut leadership: watch::Receiver<Leadership>, term: u64) -> Ending {
    let over = |now: &Leadership| !now.serving || now.term != term;
    let _ = leadership.wait_for(over).await;
    Ending::NotLeader
}

async fn told_to_stop(mut stopping: watch::Receiver<bool>) -> Ending {
    let _ = stopping.wait_for(|stopping| *stopping).await;
    Ending::NotLeader
}

fn first(committed: &Committed) -> Result<Answer, Refusal> {
    let none = || Refusal::because(Reason::Internal, "a command without an answer");
    committed.answers.first().cloned().ok_or_else(none)
}

fn taken(request_id: u64, position: Option<v1::LogPosition>, outcome: v1::taken::Outcome) -> News {
    News::Taken(v1::Taken { request_id, position, outcome: Some(outcome) })
}

/// Where an answer stands in the log.
pub(crate) fn position(committed: &Committed) -> v1::LogPosition {
    v1::LogPosition { term: committed.term, index: committed.index }
}
