//! The session's task: keeps one stream to the leader, sends heartbeats, sends
//! requests again until they are answered, and says what may be believed.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use triad_proto::v1;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::session_event::Event;
use triad_proto::v1::{Reason, Refusal};

use crate::builder::Settings;
use crate::client::EndMark;
use crate::error::Error;
use crate::lease::{Lease, State};
use crate::route::{NotFound, OpenStream, find_leader};

/// The protocol that this library speaks.
const PROTOCOL_VERSION: u32 = 1;
/// An answer that takes longer makes the stream suspect: the other nodes are
/// asked whether somebody else leads, while we go on waiting.
const PATIENCE: Duration = Duration::from_millis(500);
/// The first and the longest pause between two searches for the leader. Each is
/// drawn from half to all of it, so that ten thousand clients do not come at
/// once.
const SEARCH_PAUSE_FIRST: Duration = Duration::from_millis(20);
const SEARCH_PAUSE_MAX: Duration = Duration::from_millis(1_000);
/// Requests waiting for an answer. The server takes fewer at a time.
const REQUESTS_WAITING_MAX: usize = 1_024;
/// How long to wait for the server to confirm the end of the session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the application asks of the task. The queue is as long as the
/// application's own calls: one per checkout that waits or is returned.
pub(crate) enum Ask {
    /// Seats, please.
    Take { items: Vec<v1::Item>, deadline: Instant, reply: oneshot::Sender<Result<Held, Error>> },
    /// Here they are back.
    GiveBack { id: u64, epoch: u64, reply: Option<oneshot::Sender<Result<(), Error>>> },
    /// End the session.
    Close { reply: oneshot::Sender<()> },
}

/// Seats that were granted.
pub(crate) struct Held {
    pub(crate) id: u64,
    /// Which session of this client they belong to.
    pub(crate) epoch: u64,
    pub(crate) items: Vec<v1::GrantedItem>,
    /// Set when they are lost.
    pub(crate) ended: EndMark,
}

/// A request without an answer yet.
enum Waiting {
    Take {
        items: Vec<v1::Item>,
        deadline: Instant,
        /// `None` once the application has given up: what is granted then is
        /// returned.
        reply: Option<oneshot::Sender<Result<Held, Error>>>,
    },
    GiveBack {
        id: u64,
        reply: Option<oneshot::Sender<Result<(), Error>>>,
    },
}

type Search = Pin<Box<dyn Future<Output = Result<OpenStream, NotFound>> + Send>>;

pub(crate) struct Session {
    settings: Arc<Settings>,
    announce: watch::Sender<State>,
    random: StdRng,
    id: [u8; 16],
    /// Counts the sessions of this client; seats of an earlier one are gone.
    epoch: u64,
    /// `None` until the session has been opened once.
    lease: Option<Lease>,
    stream: Option<Stream>,
    search: Option<Search>,
    search_at: Instant,
    search_pause: Duration,
    /// Where the leader was last said to be.
    hint: Option<String>,
    /// The leader whose kernel closed our socket, and its term.
    closed_by: Option<(u64, String)>,
    requests: BTreeMap<u64, Waiting>,
    next_request: u64,
    next_beat: u64,
    held: HashMap<u64, EndMark>,
    last_refusal: Refusal,
    closing: Option<oneshot::Sender<()>>,
}

/// The stream in use.
struct Stream {
    open: OpenStream,
    heartbeat: Duration,
    next_beat_at: Instant,
    /// Heartbeats sent and not acknowledged, by number.
    beats: BTreeMap<u64, Instant>,
    /// Since when the server owes us an answer.
    owed_since: Option<Instant>,
}

impl Session {
    pub(crate) fn new(
        settings: Settings,
        announce: watch::Sender<State>,
        mut random: StdRng,
    ) -> Self {
        let now = Instant::now();
        let id = random_id(&mut random);
        Session {
            settings: Arc::new(settings),
            announce,
            random,
            id,
            epoch: 1,
            lease: None,
            stream: None,
            search: None,
            search_at: now,
            search_pause: SEARCH_PAUSE_FIRST,
            hint: None,
            closed_by: None,
            requests: BTreeMap::new(),
            next_request: 1,
            next_beat: 1,
            held: HashMap::new(),
            last_refusal: Refusal::because(Reason::NodeUnreachable, "no node was reached yet"),
            closing: None,
        }
    }

    /// Runs until the application has let go of everything.
    pub(crate) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        loop {
            let now = Instant::now();
            self.look_at_the_time(now);
            self.search_if_needed(now);
            let wake = self.wake_at(now);
            tokio::select! {
                ask = asks.recv(), if self.closing.is_none() => match ask {
                    Some(Ask::Close { reply }) => {
                        if !self.close().await {
                            return;
                        }
                        self.closing = Some(reply);
                    }
                    Some(ask) => self.take_ask(ask).await,
                    // The last handle was dropped.
                    None => {
                        if !self.close().await {
                            return;
                        }
                        self.closing = Some(oneshot::channel().0);
                    }
                },
                event = next_event(&mut self.stream) => {
                    let now = Instant::now();
                    match event {
                        Ok(Some(message)) => {
                            for event in message.events.into_iter().filter_map(|e| e.event) {
                                self.take_event(event, now).await;
                            }
                        }
                        Ok(None) => self.stream_ended(None, now),
                        Err(status) => self.stream_ended(Some(status), now),
                    }
                }
                found = searched(&mut self.search) => self.searched(found, Instant::now()).await,
                () = sleep_until(wake) => {}
            }
            if self.closing.is_some() && (self.stream.is_none() || Instant::now() >= self.search_at)
            {
                return;
            }
        }
    }

    /// Does what is due: gives up on requests, on the lease, sends heartbeats.
    fn look_at_the_time(&mut self, now: Instant) {
        self.give_up_late_requests(now);
        if self.lease.as_ref().is_some_and(|lease| lease.deadline() <= now) {
            self.lose("no heartbeat was acknowledged for a whole lease", now);
        }
        let beat = self.next_beat;
        if let Some(stream) = &mut self.stream
            && stream.next_beat_at <= now
            && self.closing.is_none()
        {
            stream.next_beat_at = now + stream.heartbeat;
            // A stream whose queue is full is suspect anyway.
            if stream.send(Call::Beat(v1::Beat { beat }), now) {
                self.next_beat += 1;
                stream.beats.insert(beat, now);
            }
        }
        self.announce_state(now);
    }

    fn give_up_late_requests(&mut self, now: Instant) {
        for waiting in self.requests.values_mut() {
            if let Waiting::Take { deadline, reply, .. } = waiting
                && *deadline <= now
                && let Some(reply) = reply.take()
            {
                let _ = reply.send(Err(Error::unavailable(self.last_refusal.clone())));
            }
        }
        if self.lease.is_none() && self.stream.is_none() {
            // Nothing was ever sent for them.
            self.requests.retain(|_, waiting| match waiting {
                Waiting::Take { reply, .. } => reply.is_some(),
                Waiting::GiveBack { .. } => true,
            });
        }
    }

    fn announce_state(&mut self, now: Instant) {
        let Some(lease) = &self.lease else { return };
        let acknowledged = self.stream.as_ref().is_some_and(|stream| {
            stream.beats.values().next().is_none_or(|sent| now - *sent < PATIENCE)
        });
        self.say(match acknowledged {
            true => State::Held,
            false => State::Reconnecting { deadline: lease.deadline() },
        });
    }

    fn say(&self, state: State) {
        let changed = self.announce.send_if_modified(|before| {
            let changed = *before != state;
            *before = state.clone();
            changed
        });
        if changed && let Some(callback) = &self.settings.on_state {
            callback(&state);
        }
    }

    /// The session, and every seat of it, may be somebody else's from now on.
    /// What is still wanted is asked for again under a new session.
    fn lose(&mut self, reason: &str, now: Instant) {
        self.lease = None;
        self.stream = None;
        self.search = None;
        self.search_at = now;
        self.id = random_id(&mut self.random);
        self.epoch += 1;
        self.closed_by = None;
        for (_, mark) in self.held.drain() {
            let _ = mark.set(reason.to_owned());
        }
        let requests = std::mem::take(&mut self.requests);
        self.next_request = 1;
        for waiting in requests.into_values() {
            match waiting {
                Waiting::GiveBack { reply: Some(reply), .. } => {
                    let _ = reply.send(Err(Error::Lost(reason.to_owned())));
                }
                Waiting::Take { reply: Some(_), .. } => {
                    self.requests.insert(self.next_request, waiting);
                    self.next_request += 1;
                }
                Waiting::GiveBack { .. } | Waiting::Take { .. } => {}
            }
        }
        self.say(State::Lost { reason: reason.to_owned() });
    }

    /// A search runs while there is no stream and one is needed, or while the
    /// stream is suspect.
    fn search_if_needed(&mut self, now: Instant) {
        let suspect = match &self.stream {
            Some(stream) => stream.owed_since.is_some_and(|since| now - since >= PATIENCE),
            None => self.lease.is_some() || !self.requests.is_empty(),
        };
        if !suspect || self.search.is_some() || now < self.search_at || self.closing.is_some() {
            return;
        }
        let avoid = self.stream.as_ref().map(|stream| stream.open.address.clone());
        let mut servers: Vec<String> = self.hint.take().into_iter().collect();
        for server in &self.settings.servers {
            if !servers.contains(server) {
                servers.push(server.clone());
            }
        }
        let open = v1::Open {
            session_id: self.id.to_vec(),
            holder: Some(self.settings.holder.clone()),
            lease_ms: self.settings.lease.as_millis() as u64,
            protocol_version: PROTOCOL_VERSION,
            resume: self.lease.is_some(),
            beat: self.next_beat,
        };
        self.next_beat += 1;
        let settings = self.settings.clone();
        self.search =
            Some(Box::pin(
                async move { find_leader(&settings.dialer, servers, avoid, open).await },
            ));
    }

    async fn searched(&mut self, found: Result<OpenStream, NotFound>, now: Instant) {
        self.search = None;
        match found {
            Ok(open) => self.opened(open, now).await,
            Err(not_found) => self.not_found(not_found, now),
        }
    }

    async fn opened(&mut self, mut open: OpenStream, now: Instant) {
        let lease = Duration::from_millis(open.opened.lease_ms);
        let grace = Duration::from_millis(open.opened.disconnect_grace_ms);
        let heartbeat = Duration::from_millis(open.opened.heartbeat_interval_ms.max(10));
        match &mut self.lease {
            Some(held) => held.acknowledged(open.opened_sent),
            None => self.lease = Some(Lease::opened(open.opened_sent, lease, grace)),
        }
        self.search_pause = SEARCH_PAUSE_FIRST;
        self.closed_by = None;
        let first_events = std::mem::take(&mut open.first_events);
        self.stream = Some(Stream {
            open,
            heartbeat,
            next_beat_at: now + heartbeat,
            beats: BTreeMap::new(),
            owed_since: None,
        });
        self.announce_state(now);
        // Whatever has no answer is asked again, under the same number.
        let calls: Vec<Call> = self.requests.keys().copied().map(|id| self.call(id)).collect();
        self.send_all(calls, now).await;
        for event in first_events {
            self.take_event(event, now).await;
        }
    }

    fn not_found(&mut self, not_found: NotFound, now: Instant) {
        let reason = not_found.refusal.reason();
        if let (Some((term, by)), Some(lease)) = (&self.closed_by, &mut self.lease) {
            // A leader of a later term: what the one before still ends is void.
            let later = not_found.hint.as_ref().is_some_and(|(named, _)| named > term);
            if later || not_found.dead.contains(by) {
                lease.leader_is_gone();
            }
        }
        if reason == Reason::SessionUnknown {
            if self.lease.is_some() {
                self.lose("the server ended the session", now);
            } else {
                // It was opened and ended without our hearing of either. The id
                // of an ended session is not opened again: draw another.
                self.id = random_id(&mut self.random);
                self.search_at = now;
            }
            return;
        }
        self.last_refusal = not_found.refusal;
        let hopeless = !matches!(
            reason,
            Reason::NodeUnreachable
                | Reason::NotLeader
                | Reason::NotReady
                | Reason::NoQuorum
                | Reason::Deadline
                | Reason::Overloaded
        );
        if hopeless && self.lease.is_none() {
            // The server will not have us: nobody need wait for the deadline.
            for waiting in std::mem::take(&mut self.requests).into_values() {
                if let Waiting::Take { reply: Some(reply), .. } = waiting {
                    let _ = reply.send(Err(Error::denied(self.last_refusal.clone())));
                }
            }
        }
        let pause = self.search_pause;
        self.search_pause = (pause * 2).min(SEARCH_PAUSE_MAX);
        self.search_at = now + self.random.random_range(pause / 2..=pause);
    }

    /// The stream is over. Why decides what may be believed.
    fn stream_ended(&mut self, status: Option<tonic::Status>, now: Instant) {
        let Some(stream) = self.stream.take() else { return };
        let refusal = status.as_ref().map(Refusal::from_status);
        let said = refusal.as_ref().is_some_and(|r| r.reason() != Reason::NodeUnreachable);
        let closed = stream.open.connection.closed().is_some_and(|closed| closed.is_closed());
        if let Some(refusal) = refusal {
            if !refusal.leader_address.is_empty() {
                self.hint = Some(refusal.leader_address.clone());
            }
            self.last_refusal = refusal;
        }
        if closed && !said {
            // Not a word, only a closed socket: the process died, or somebody
            // cut us off. Until we know which, believe the shorter term.
            if let Some(lease) = &mut self.lease {
                lease.closed(now);
            }
            let term = stream.open.opened.position.map_or(0, |position| position.term);
            self.closed_by = Some((term, stream.open.address.clone()));
        }
        self.search_at = now;
        self.announce_state(now);
    }

    async fn take_ask(&mut self, ask: Ask) {
        let now = Instant::now();
        let waiting = match ask {
            Ask::Take { reply, .. } if self.requests.len() >= REQUESTS_WAITING_MAX => {
                let message = format!("{REQUESTS_WAITING_MAX} requests wait for an answer already");
                let refusal = Refusal::because(Reason::Overloaded, message);
                let _ = reply.send(Err(Error::unavailable(refusal)));
                return;
            }
            Ask::Take { items, deadline, reply } => {
                Waiting::Take { items, deadline, reply: Some(reply) }
            }
            Ask::GiveBack { id, epoch, reply } => {
                self.held.remove(&id);
                if epoch != self.epoch {
                    if let Some(reply) = reply {
                        let _ = reply
                            .send(Err(Error::Lost("it belonged to an earlier session".into())));
                    }
                    return;
                }
                Waiting::GiveBack { id, reply }
            }
            Ask::Close { .. } => unreachable!("handled by the loop"),
        };
        let request = self.next_request;
        self.next_request += 1;
        self.requests.insert(request, waiting);
        if self.stream.is_some() {
            let call = self.call(request);
            self.send_all(vec![call], now).await;
        }
    }

    fn call(&self, request_id: u64) -> Call {
        let oldest = self.requests.keys().next().copied().unwrap_or(self.next_request);
        let answered_through = oldest - 1;
        match &self.requests[&request_id] {
            Waiting::Take { items, .. } => {
                Call::Take(v1::Take { request_id, answered_through, items: items.clone() })
            }
            Waiting::GiveBack { id, .. } => {
                Call::GiveBack(v1::GiveBack { request_id, answered_through, checkout_id: *id })
            }
        }
    }

    async fn send_all(&mut self, calls: Vec<Call>, now: Instant) {
        let Some(stream) = &mut self.stream else { return };
        if calls.is_empty() {
            return;
        }
        let calls = calls.into_iter().map(|call| v1::SessionCall { call: Some(call) }).collect();
        stream.owed_since.get_or_insert(now);
        // A stream that is gone is noticed where it is read.
        let _ = stream.open.calls.send(v1::SessionRequest { calls }).await;
    }

    async fn take_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Beat(v1::BeatAcknowledged { beat }) => self.beat_acknowledged(beat),
            Event::Taken(taken) => self.taken(taken, now).await,
            Event::GivenBack(given_back) => {
                let waiting = self.requests.remove(&given_back.request_id);
                if let Some(Waiting::GiveBack { reply: Some(reply), .. }) = waiting {
                    let _ = reply.send(Ok(()));
                }
            }
            Event::Ended(v1::Ended { checkout_id: 0, message, .. }) => {
                if self.closing.is_none() {
                    let reason = match message.as_str() {
                        "" => "the server ended the session".to_owned(),
                        _ => message,
                    };
                    self.lose(&reason, now);
                } else {
                    // As we asked; the loop ends for want of a stream.
                    self.lease = None;
                    self.stream = None;
                    self.say(State::Idle);
                }
            }
            Event::Ended(v1::Ended { checkout_id, reason, .. }) => {
                if let Some(mark) = self.held.remove(&checkout_id) {
                    let reason = v1::EndReason::try_from(reason).unwrap_or_default();
                    let name = reason.as_str_name().trim_start_matches("END_REASON_");
                    let _ = mark.set(format!("the server ended the checkout: {name}"));
                    // Wakes whoever waits for a loss.
                    self.announce.send_modify(|_| {});
                }
            }
            Event::Moving(v1::Moving { to_address }) => {
                self.hint = Some(to_address).filter(|address| !address.is_empty());
            }
            Event::Opened(_) => {}
        }
        self.settle_debts();
    }

    fn beat_acknowledged(&mut self, beat: u64) {
        let Some(stream) = &mut self.stream else { return };
        if let Some(sent) = stream.beats.remove(&beat) {
            stream.beats = stream.beats.split_off(&beat);
            if let Some(lease) = &mut self.lease {
                lease.acknowledged(sent);
            }
        }
    }

    /// Whether the server still owes us an answer, and since when.
    fn settle_debts(&mut self) {
        let waiting = !self.requests.is_empty();
        if let Some(stream) = &mut self.stream {
            let oldest_beat = stream.beats.values().next().copied();
            let since = stream.owed_since.filter(|_| waiting);
            stream.owed_since = match (since.map(|_| Instant::now()), oldest_beat) {
                (Some(answered), Some(beat)) => Some(answered.min(beat)),
                (some, other) => some.or(other),
            };
            if stream.owed_since.is_none() {
                // Whatever made us look elsewhere is over.
                self.search = None;
            }
        }
    }

    async fn taken(&mut self, taken: v1::Taken, now: Instant) {
        use v1::taken::Outcome;
        let Some(Waiting::Take { reply, .. }) = self.requests.remove(&taken.request_id) else {
            return;
        };
        match taken.outcome {
            Some(Outcome::Grant(grant)) => {
                let ended: EndMark = Arc::new(OnceLock::new());
                let (id, epoch) = (grant.checkout_id, self.epoch);
                let held = Held { id, epoch, items: grant.items, ended: ended.clone() };
                let kept = reply.is_some_and(|reply| reply.send(Ok(held)).is_ok());
                if kept {
                    self.held.insert(id, ended);
                } else {
                    // Granted to nobody: the application has given up.
                    let request = self.next_request;
                    self.next_request += 1;
                    self.requests.insert(request, Waiting::GiveBack { id, reply: None });
                    let call = self.call(request);
                    self.send_all(vec![call], now).await;
                }
            }
            Some(Outcome::Denial(denial)) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(Error::denied(denial)));
                }
            }
            None => {}
        }
    }

    /// Says goodbye. False if there is nothing to wait for.
    async fn close(&mut self) -> bool {
        let now = Instant::now();
        for waiting in std::mem::take(&mut self.requests).into_values() {
            if let Waiting::Take { reply: Some(reply), .. } = waiting {
                let _ = reply.send(Err(Error::Closed));
            }
        }
        self.search = None;
        if self.stream.is_none() {
            return false;
        }
        self.send_all(vec![Call::Close(v1::Close {})], now).await;
        // From here on it is the deadline for the answer.
        self.search_at = now + CLOSE_TIMEOUT;
        true
    }

    fn wake_at(&self, now: Instant) -> Instant {
        // Often enough that nothing depends on an exact list of causes.
        let mut wake = now + Duration::from_secs(1);
        let mut at = |time: Option<Instant>| wake = time.map_or(wake, |time| wake.min(time));
        at(self.lease.as_ref().map(Lease::deadline));
        at(self.stream.as_ref().map(|stream| stream.next_beat_at));
        at(self.stream.as_ref().and_then(|s| s.owed_since).map(|since| since + PATIENCE));
        let deadlines = self.requests.values().filter_map(|waiting| match waiting {
            Waiting::Take { deadline, reply: Some(_), .. } => Some(*deadline),
            Waiting::Take { .. } | Waiting::GiveBack { .. } => None,
        });
        at(deadlines.min());
        if self.search.is_none() {
            at(Some(self.search_at).filter(|at| *at > now));
        }
        wake.max(now + Duration::from_millis(1))
    }
}

impl Stream {
    /// Puts a call on the wire; false if the queue is full.
    fn send(&mut self, call: Call, now: Instant) -> bool {
        self.owed_since.get_or_insert(now);
        let calls = vec![v1::SessionCall { call: Some(call) }];
        self.open.calls.try_send(v1::SessionRequest { calls }).is_ok()
    }
}

async fn next_event(
    stream: &mut Option<Stream>,
) -> Result<Option<v1::SessionResponse>, tonic::Status> {
    match stream {
        Some(stream) => stream.open.events.message().await,
        None => std::future::pending().await,
    }
}

async fn searched(search: &mut Option<Search>) -> Result<OpenStream, NotFound> {
    match search {
        Some(search) => search.await,
        None => std::future::pending().await,
    }
}

/// An id that nobody else draws or guesses.
fn random_id(random: &mut StdRng) -> [u8; 16] {
    let mut id = [0; 16];
    random.fill_bytes(&mut id);
    id
}
