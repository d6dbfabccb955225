//! The session's task: keeps one stream to the leader, sends heartbeats, sends
//! requests again until they are answered, and says what may be believed.
//!
//! Nothing in it waits for the wire: what cannot be sent now is sent later, so
//! that the clock is looked at whatever the network does.

mod closed;
mod grants;
mod idle;
mod late;
mod loans;
mod past;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
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
use crate::client::{Belief, EndMark};
use crate::connections::Connections;
use crate::error::Error;
use crate::lease::{Lease, State};
use crate::mutation::{self, Mutation};
use crate::process::Lost;
use crate::queue::Place;
use crate::requests::{Queueing, Requests, Waiting, too_many_requests};
use crate::route::{NotFound, OpenStream, Openings, Search, find_leader};
use crate::witness::Witness;

use self::idle::Idleness;
use self::past::Ending;

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
/// A stream that lived shorter than this did not end the search for good.
const STREAM_LIFE_MIN: Duration = Duration::from_millis(250);
/// How often a full stream is tried again.
const OUTBOX_INTERVAL: Duration = Duration::from_millis(20);
/// How long to wait for the server to confirm the end of the session.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Checkouts that ended before we heard of their grant.
const EARLY_ENDS_MAX: usize = 1_024;

/// What the application asks of the task. The queue is as long as the
/// application's own calls: one per checkout that waits or is returned.
pub(crate) enum Ask {
    /// Seats, please.
    Take {
        items: Vec<v1::Item>,
        deadline: Instant,
        reply: oneshot::Sender<Result<Held, Error>>,
        queue: Option<Queueing>,
    },
    /// A request that waits in the queue is not wanted any more.
    GiveUp { ticket: u64 },
    /// Here they are back.
    GiveBack { id: u64, epoch: u64, reply: Option<oneshot::Sender<Result<bool, Error>>> },
    /// Seats to be used without a server, please.
    Borrow {
        items: Vec<v1::Item>,
        end: v1::borrow::End,
        deadline: Instant,
        reply: oneshot::Sender<Result<v1::BorrowGrant, Error>>,
    },
    /// Borrowed seats are back.
    Return { id: u64, reply: Option<oneshot::Sender<Result<bool, Error>>> },
    /// Since when the user is idle.
    Idle { since: Option<Instant> },
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

/// What is known of seats that are held.
struct Seats {
    ended: EndMark,
    granted: Granted,
}

/// Where and when seats were granted.
struct Granted {
    /// By the leader of this stream.
    by: Leader,
    /// At this index of its log.
    index: u64,
    heard_at: Instant,
}

/// Which node leads, and in which term. A node that leads in a term has one log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leader {
    node_id: u64,
    term: u64,
}

impl Granted {
    /// Whether a stream that is open now says nothing of it: it was granted meanwhile, on the stream
    /// before, by the same leader, after that one had counted what the session holds.
    fn is_newer_than(&self, open: &OpenStream) -> bool {
        let counted = open.opened.position.unwrap_or_default().index;
        self.heard_at >= open.opened_sent && self.by == leader(open) && self.index > counted
    }
}

fn leader(open: &OpenStream) -> Leader {
    Leader { node_id: open.opened.node_id, term: open.term }
}

/// A node that is silent while others have answered is waited for as long as so
/// many pauses: at first 160 ms, since during an election the answers change
/// quickly, then longer and longer, since a leader to whom everybody comes at
/// once is slow, and would never be done with clients that give up and come
/// again.
const STRAGGLER_PAUSES: u32 = 8;
/// Deaths told and not heard yet: more than a cluster has nodes.
const DEATHS_WAITING_MAX: usize = 16;

type Searching = Pin<Box<dyn Future<Output = Result<OpenStream, NotFound>> + Send>>;

pub(crate) struct Session {
    settings: Arc<Settings>,
    belief: watch::Sender<Belief>,
    announce: watch::Sender<State>,
    random: StdRng,
    id: [u8; 16],
    /// Those sent under this id.
    openings: Openings,
    /// Counts the sessions of this client; seats of an earlier one are gone.
    epoch: u64,
    /// `None` until the session has been opened once.
    lease: Option<Lease>,
    stream: Option<Stream>,
    search: Option<Searching>,
    /// What searches began and did not finish.
    connections: Connections,
    search_at: Instant,
    search_pause: Duration,
    /// Where the leader was last said to be.
    hint: Option<String>,
    /// The leader whose socket was closed without a word.
    closed_by: Option<Lost>,
    /// The nodes whose process is dead, from the search under way.
    deaths: (mpsc::Sender<String>, mpsc::Receiver<String>),
    requests: Requests,
    next_beat: u64,
    held: HashMap<u64, Seats>,
    idleness: Idleness,
    /// The ids of sessions before this one that a leader may still have.
    past: Vec<[u8; 16]>,
    ending: Option<Ending>,
    early_ends: BTreeMap<u64, String>,
    last_refusal: Refusal,
    closing: Option<Closing>,
}

/// The application is done; the ledger is still to be told.
struct Closing {
    reply: Option<oneshot::Sender<()>>,
    deadline: Instant,
    /// On the current stream.
    is_said: bool,
}

/// The stream in use.
struct Stream {
    open: OpenStream,
    session_id: [u8; 16],
    witness: Option<Arc<dyn Witness>>,
    opened_at: Instant,
    heartbeat: Duration,
    next_beat_at: Instant,
    /// Heartbeats sent and not acknowledged, by number.
    beats: BTreeMap<u64, Instant>,
    /// Since when the server owes us an answer.
    owed_since: Option<Instant>,
    /// The last message did not fit: there is more to send.
    full: bool,
}

impl Session {
    pub(crate) fn new(
        settings: Settings,
        announce: watch::Sender<State>,
        belief: watch::Sender<Belief>,
        mut random: StdRng,
    ) -> Self {
        let id = random_id(&mut random);
        Session {
            connections: Connections::new(settings.connections.clone()),
            settings: Arc::new(settings),
            belief,
            announce,
            random,
            id,
            openings: Openings::default(),
            epoch: 1,
            lease: None,
            stream: None,
            search: None,
            search_at: Instant::now(),
            search_pause: SEARCH_PAUSE_FIRST,
            hint: None,
            closed_by: None,
            deaths: mpsc::channel(DEATHS_WAITING_MAX),
            requests: Requests::new(),
            next_beat: 1,
            held: HashMap::new(),
            idleness: Idleness::default(),
            past: Vec::new(),
            ending: None,
            early_ends: BTreeMap::new(),
            last_refusal: Refusal::because(Reason::NodeUnreachable, "no node was reached yet"),
            closing: None,
        }
    }

    /// Runs until the application has let go of everything and the ledger knows
    /// it, or cannot be told.
    pub(crate) async fn run(mut self, mut asks: mpsc::UnboundedReceiver<Ask>) {
        loop {
            let now = Instant::now();
            if self.is_done(now) {
                break;
            }
            self.look_at_the_time(now);
            self.search_if_needed(now);
            self.send_what_fits(now);
            self.say_close(now);
            let wake = self.wake_at(now);
            tokio::select! {
                biased;
                found = awaited(&mut self.search) => self.found(found),
                // After the search, which hears of them, and in the same turn: with ten
                // thousand clients in one process the next turn may come too late.
                Some(address) = self.deaths.1.recv() => self.died(&address, Instant::now()),
                event = next_event(&mut self.stream) => {
                    let now = Instant::now();
                    match event {
                        Ok(Some(message)) => self.take_events(message, now),
                        Ok(None) => self.stream_ended(None, now),
                        Err(status) => self.stream_ended(Some(&status), now),
                    }
                }
                ask = asks.recv(), if self.closing.is_none() => match ask {
                    Some(Ask::Close { reply }) => self.close(Some(reply)),
                    Some(ask) => self.take_ask(ask),
                    // The last handle was dropped.
                    None => self.close(None),
                },
                () = awaited(&mut self.ending) => self.ending = None,
                () = sleep_until(wake) => {}
            }
        }
        // What is not known to be over is not believed in either.
        self.lease = None;
        self.say(State::Idle);
        if let Some(reply) = self.closing.and_then(|closing| closing.reply) {
            let _ = reply.send(());
        }
    }

    fn found(&mut self, found: Result<OpenStream, NotFound>) {
        self.search = None;
        match found {
            Ok(open) => self.opened(open, Instant::now()),
            Err(not_found) => self.not_found(not_found, Instant::now()),
        }
    }

    /// The next session is another one.
    fn draw_id(&mut self) {
        self.id = random_id(&mut self.random);
        self.openings = Openings::default();
    }

    /// Does what is due: gives up on requests, on the lease, sends heartbeats.
    fn look_at_the_time(&mut self, now: Instant) {
        self.give_up_late(now);
        self.requests.forget_unwanted();
        self.ask_whether_it_died(now);
        if self.lease.as_ref().is_some_and(|lease| lease.deadline() <= now) {
            self.give_up(now);
        }
        let beat = self.next_beat;
        if let Some(stream) = &mut self.stream
            && stream.next_beat_at <= now
        {
            stream.next_beat_at = now + stream.heartbeat;
            // A stream whose queue is full is suspect anyway.
            if stream.send(vec![Call::Beat(v1::Beat { beat })], now) {
                self.next_beat += 1;
                stream.beats.insert(beat, now);
            }
        }
        self.announce_state(now);
    }

    fn announce_state(&mut self, now: Instant) {
        if self.closing.is_some() {
            // Nobody is to hear of a session that is opened only to be ended.
            return;
        }
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
        // The deadline goes with the state, so that whoever asks can look at
        // the clock even if this task is kept from running.
        let lease = self.lease.as_ref();
        let (until, over_at) = (lease.map(Lease::deadline), lease.map(Lease::over_at));
        let believe = || self.belief.send_replace(Belief { until, over_at });
        // Whoever asks between the two is told the worse.
        if until.is_some() {
            believe();
        }
        let changed = self.announce.send_if_modified(|before| {
            let changed = *before != state;
            *before = state.clone();
            changed
        });
        if until.is_none() {
            believe();
        }
        if changed && let Some(callback) = &self.settings.on_state {
            callback(&state);
        }
    }

    /// The session, and every seat of it, may be somebody else's from now on.
    /// What is still wanted is asked for again under a new session.
    fn lose(&mut self, reason: &str, now: Instant) {
        self.lease = None;
        self.stream = None;
        self.end_search();
        self.search_at = now;
        self.draw_id();
        self.epoch += 1;
        self.closed_by = None;
        self.early_ends.clear();
        for (_, seats) in self.held.drain() {
            let _ = seats.ended.set(reason.to_owned());
        }
        self.requests.start_over(reason, now);
        self.idleness.begin_session();
        if self.closing.is_none() {
            self.say(State::Lost { reason: reason.to_owned() });
        }
    }

    /// A search runs while there is no stream and one is needed, or while the
    /// stream is suspect.
    fn search_if_needed(&mut self, now: Instant) {
        let suspect = match &self.stream {
            Some(stream) => stream.owed_since.is_some_and(|since| now - since >= PATIENCE),
            None if self.closing.is_some() => self.may_be_open(),
            None => self.lease.is_some() || !self.requests.is_empty(),
        };
        if !suspect && self.search.is_none() {
            // Nobody is looked for: what the last search left is not needed.
            self.connections.clear();
        }
        if !suspect || self.search.is_some() || now < self.search_at {
            return;
        }
        let is_dead = |stream: &&Stream| {
            let lease = self.lease.as_ref().zip(stream.owed_since);
            lease.is_some_and(|(lease, since)| lease.path_may_be_dead(since, now))
        };
        let alive = self.stream.as_ref().filter(|stream| !is_dead(stream));
        let avoid = alive.map(|stream| stream.open.address.clone());
        let closed_by = self.closed_by.iter().map(|by| by.address.clone());
        let mut servers: Vec<String> = closed_by.chain(self.hint.take()).collect();
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
        let search = Search {
            servers,
            avoid,
            open,
            openings: self.openings.clone(),
            straggler_wait: self.search_pause * STRAGGLER_PAUSES,
            deaths: self.deaths.0.clone(),
            lost: self.closed_by.clone(),
        };
        let (settings, connections) = (self.settings.clone(), self.connections.again());
        self.search =
            Some(Box::pin(
                async move { find_leader(&settings.dialer, &connections, search).await },
            ));
    }

    fn end_search(&mut self) {
        self.search = None;
        self.connections.clear();
    }

    fn opened(&mut self, mut open: OpenStream, now: Instant) {
        self.end_search();
        if let Some(witness) = &self.settings.witness {
            witness.heard(&self.id, &Event::Opened(open.opened.clone()));
        }
        let ms = Duration::from_millis;
        let (lease, grace) = (ms(open.opened.lease_ms), ms(open.opened.disconnect_grace_ms));
        let heartbeat = ms(open.opened.heartbeat_interval_ms.max(10));
        match &mut self.lease {
            Some(held) => held.resumed(open.opened_sent, grace),
            None => self.lease = Some(Lease::opened(open.opened_sent, lease, grace)),
        }
        self.end_past(&open.channel);
        if let Some(lost) = self.closed_by.take() {
            lost.is_followed_by(&open.address, open.term);
        }
        // What the server does not name was ended while we were away.
        let kept: HashSet<u64> = open.opened.checkout_ids.iter().copied().collect();
        self.held.retain(|id, seats| {
            let keep = kept.contains(id)
                || seats.granted.is_newer_than(&open)
                || mutation::is_on(Mutation::KeptThoughEnded);
            if !keep {
                let _ = seats.ended.set("the server ended the checkout meanwhile".into());
            }
            keep
        });
        self.last_refusal = late::nobody_after(&open.address);
        let first_events = std::mem::take(&mut open.first_events);
        self.stream = Some(Stream {
            open,
            session_id: self.id,
            witness: self.settings.witness.clone(),
            opened_at: now,
            heartbeat,
            // At once: so the server knows that we have its answer.
            next_beat_at: now,
            beats: BTreeMap::new(),
            owed_since: None,
            full: false,
        });
        self.requests.resend(now);
        if kept.iter().any(|id| !self.held.contains_key(id)) {
            // Granted, and not heard of yet.
            self.idleness.granted();
        }
        self.idleness.begin_stream();
        if let Some(closing) = &mut self.closing {
            closing.is_said = false;
        }
        self.announce_state(now);
        // Wakes whoever waits for the loss of one checkout.
        self.announce.send_modify(|_| {});
        let epoch = self.epoch;
        for event in first_events {
            if self.epoch == epoch {
                self.take_event(event, now);
            }
        }
    }

    fn not_found(&mut self, not_found: NotFound, now: Instant) {
        let reason = not_found.refusal.reason();
        if let (Some(by), Some(lease)) = (&self.closed_by, &mut self.lease) {
            // A leader of a later term: what the one before still ends is void.
            let later = not_found.hint.as_ref().is_some_and(|(named, _)| *named > by.term);
            if later {
                lease.leader_is_gone(now);
            }
        }
        if reason == Reason::SessionUnknown {
            // Somebody leads, and answers: what comes next is another session, and soon.
            self.search_pause = SEARCH_PAUSE_FIRST;
        }
        self.search_again_later(now);
        if reason == Reason::SessionUnknown {
            if self.lease.is_some() {
                self.lose("the server ended the session", now);
            } else {
                // It was opened and ended without our hearing of either. The id
                // of an ended session is not opened again: draw another.
                self.draw_id();
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
                | Reason::LimitReached
                | Reason::Internal
        );
        if hopeless && self.lease.is_none() {
            // The server will not have us: nobody need wait for the deadline.
            self.requests.refuse_all(&Error::denied(self.last_refusal.clone()));
        }
    }

    fn search_again_later(&mut self, now: Instant) {
        let pause = self.search_pause;
        self.search_pause = (pause * 2).min(SEARCH_PAUSE_MAX);
        self.search_at = now + self.random.random_range(pause / 2..=pause);
    }

    /// The stream is over. Why decides what may be believed.
    fn stream_ended(&mut self, status: Option<&tonic::Status>, now: Instant) {
        let Some(stream) = self.stream.take() else { return };
        // It did not ask this node, which may be the one that says what died.
        self.search = None;
        match status.and_then(Refusal::typed) {
            Some(farewell) => {
                if !farewell.leader_address.is_empty() {
                    self.hint = Some(farewell.leader_address.clone());
                }
                self.last_refusal = farewell;
            }
            None => {
                // Until we know what died, process or path, the shorter term counts.
                if let Some(lease) = &mut self.lease {
                    lease.closed(now);
                }
                self.last_refusal = late::nobody_after(&stream.open.address);
                let (term, opened_at) = (stream.open.term, stream.opened_at);
                self.closed_by = Some(Lost { term, address: stream.open.address, opened_at });
                // What was said of it before is of an earlier process.
                while self.deaths.1.try_recv().is_ok() {}
            }
        }
        if now - stream.opened_at >= STREAM_LIFE_MIN {
            self.search_pause = SEARCH_PAUSE_FIRST;
            self.search_at = now;
        } else {
            self.search_again_later(now);
        }
        self.announce_state(now);
    }

    fn take_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Take { reply, .. } if self.requests.is_full() => {
                let _ = reply.send(Err(too_many_requests()));
            }
            Ask::Borrow { reply, .. } if self.requests.is_full() => {
                let _ = reply.send(Err(too_many_requests()));
            }
            Ask::Take { items, deadline, reply, queue } => {
                self.idleness.asks_for_seats();
                let reply = Some(reply);
                self.requests.add(Waiting::Take { items, deadline, reply, queue });
            }
            Ask::Borrow { items, end, deadline, reply } => {
                self.idleness.asks_for_seats();
                let reply = Some(reply);
                self.requests.add(Waiting::Borrow { items, end, deadline, reply });
            }
            Ask::GiveUp { ticket } => self.requests.give_up(ticket),
            Ask::Return { id, reply } => self.return_loan(id, reply),
            Ask::Idle { since } => self.idleness.set(since),
            Ask::GiveBack { id, epoch, reply } if epoch == self.epoch => {
                self.held.remove(&id);
                self.requests.add(Waiting::GiveBack { id, reply });
            }
            Ask::GiveBack { reply, .. } => {
                if let Some(reply) = reply {
                    let reason = "it belonged to an earlier session";
                    let _ = reply.send(Err(Error::Lost(reason.into())));
                }
            }
            Ask::Close { .. } => unreachable!("handled by the loop"),
        }
    }

    /// Puts on the wire what the window and the stream have room for.
    fn send_what_fits(&mut self, now: Instant) {
        let Some(stream) = &mut self.stream else { return };
        stream.full = false;
        // Before the requests: what is granted after it says that the user is active.
        if let Some(idle) = self.idleness.word(now) {
            match stream.say(vec![Call::Idle(idle)]) {
                true => self.idleness.said(now),
                false => stream.full = true,
            }
        }
        while self.ending.is_none() && self.requests.has_unsent() {
            let calls = self.requests.next_message();
            if !stream.send(calls.clone(), now) {
                self.requests.unsend(&calls);
                stream.full = true;
                return;
            }
        }
    }

    fn take_events(&mut self, message: v1::SessionResponse, now: Instant) {
        let epoch = self.epoch;
        for event in message.events.into_iter().filter_map(|event| event.event) {
            self.take_event(event, now);
            if self.epoch != epoch {
                // The rest is about a session that is no more.
                return;
            }
        }
        self.settle_debts(now);
    }

    fn take_event(&mut self, event: Event, now: Instant) {
        if let Some(witness) = &self.settings.witness {
            witness.heard(&self.id, &event);
        }
        match event {
            Event::Beat(v1::BeatAcknowledged { beat }) => self.beat_acknowledged(beat),
            Event::Taken(taken) => self.taken(taken, now),
            Event::GivenBack(given_back) => {
                if let Some(waiting) = self.requests.answered(given_back.request_id) {
                    waiting.returned(given_back.was_held);
                }
            }
            Event::Queued(queued) => {
                let estimate = Duration::from_millis(queued.estimate_ms);
                let estimate = Some(estimate).filter(|estimate| !estimate.is_zero());
                self.requests.queued(queued.request_id, Place { place: queued.place, estimate });
            }
            Event::Borrowed(borrowed) => self.borrowed(borrowed),
            Event::Ended(v1::Ended { checkout_id: 0, message, .. }) => {
                if self.closing.is_some() {
                    // As we asked.
                    self.lease = None;
                    self.stream = None;
                    self.end_search();
                    self.draw_id();
                } else if message.is_empty() {
                    self.lose("the server ended the session", now);
                } else {
                    self.lose(&message, now);
                }
            }
            Event::Ended(v1::Ended { checkout_id, reason, message }) => {
                self.checkout_ended(checkout_id, reason, &message);
            }
            Event::Moving(v1::Moving { to_address }) => {
                self.hint = Some(to_address).filter(|address| !address.is_empty());
            }
            Event::Opened(_) => {}
        }
    }

    fn beat_acknowledged(&mut self, beat: u64) {
        let Some(stream) = &mut self.stream else { return };
        if let Some(sent) = stream.beats.remove(&beat) {
            stream.beats = stream.beats.split_off(&beat);
            if let Some(lease) = &mut self.lease {
                match mutation::is_on(Mutation::LeaseFromAcknowledgement) {
                    true => lease.acknowledged(Instant::now()),
                    false => lease.acknowledged(sent),
                }
            }
        }
    }

    /// Whether the server still owes us an answer, and since when.
    fn settle_debts(&mut self, now: Instant) {
        let Some(stream) = &mut self.stream else { return };
        let oldest_beat = stream.beats.values().next().copied();
        // It has just answered something; what else waits, waits from now on.
        let requests = self.requests.are_owed().then_some(now);
        stream.owed_since = match (requests, oldest_beat) {
            (Some(now), Some(beat)) => Some(now.min(beat)),
            (requests, beat) => requests.or(beat),
        };
        if stream.owed_since.is_none() {
            // Whatever made us look elsewhere is over.
            self.search = None;
        }
        if now - stream.opened_at >= STREAM_LIFE_MIN {
            self.search_pause = SEARCH_PAUSE_FIRST;
        }
    }

    fn wake_at(&self, now: Instant) -> Instant {
        // Often enough that nothing depends on an exact list of causes.
        let mut wake = now + Duration::from_secs(1);
        let mut at = |time: Option<Instant>| {
            wake = time.filter(|time| *time > now).map_or(wake, |time| wake.min(time));
        };
        at(self.lease.as_ref().map(Lease::deadline));
        at(self.requests.deadline());
        at(self.closing.as_ref().map(|closing| closing.deadline));
        if let Some(stream) = &self.stream {
            at(Some(stream.next_beat_at));
            at(stream.owed_since.map(|since| since + PATIENCE));
            at(stream.beats.values().next().map(|sent| *sent + PATIENCE));
            at(stream.full.then_some(now + OUTBOX_INTERVAL));
            at(self.idleness.next_word_at());
        }
        if self.search.is_none() {
            at(Some(self.search_at));
        }
        wake
    }
}

impl Stream {
    /// Puts calls on the wire that are to be answered; false if there is no room
    /// for them.
    fn send(&mut self, calls: Vec<Call>, now: Instant) -> bool {
        // A word about a request is not answered by itself.
        if calls.iter().any(|call| !matches!(call, Call::Cancel(_))) {
            self.owed_since.get_or_insert(now);
        }
        self.say(calls)
    }

    /// Puts calls on the wire; false if there is no room for them.
    fn say(&mut self, calls: Vec<Call>) -> bool {
        let Ok(room) = self.open.calls.try_reserve() else { return false };
        if let Some(witness) = &self.witness {
            calls.iter().for_each(|call| witness.said(&self.session_id, call));
        }
        let calls = calls.into_iter().map(|call| v1::SessionCall { call: Some(call) }).collect();
        room.send(v1::SessionRequest { calls });
        true
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

/// What is under way, if anything is.
async fn awaited<F: Future + Unpin>(under_way: &mut Option<F>) -> F::Output {
    match under_way {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// An id that nobody else draws or guesses.
fn random_id(random: &mut StdRng) -> [u8; 16] {
    let mut id = [0; 16];
    random.fill_bytes(&mut id);
    id
}
