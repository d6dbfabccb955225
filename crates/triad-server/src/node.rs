//! One node, as its services see it: consensus, the sessions of its leadership,
//! and how it says no.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use triad_ledger::names::SessionId;
use triad_ledger::{Command, Denial, EndReason, Event, Happening};
use triad_proto::v1;
use triad_proto::v1::session_event::Event as SessionNews;
use triad_proto::v1::{Reason, Refusal};
use triad_raft::{Committed, Consensus, ProposeError};

use crate::config::{Config, SessionTimes};
use crate::convert;
use crate::mutation::{self, Mutation};
use crate::sessions::{Heard, Sessions, StreamId};

/// How long a request may take before its outcome is called unknown. Far
/// longer than a commit, shorter than a client's patience.
pub(crate) const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Without a leader for this long, a node says that there is no quorum rather
/// than that it does not lead.
const LEADERLESS_MAX: Duration = Duration::from_secs(1);
/// News that wait on one stream: every checkout of a session may end at once.
pub(crate) const NEWS_WAITING_MAX: usize = triad_ledger::CHECKOUTS_PER_SESSION_MAX + 64;
/// What to wait before asking a node again that knows no leader.
const RETRY_ELECTING: Duration = Duration::from_millis(50);
/// What to wait before asking an overloaded node again.
const RETRY_OVERLOADED: Duration = Duration::from_millis(500);

/// The streams that are open, for news that did not come as an answer.
#[derive(Default)]
struct Streams {
    by_session: HashMap<SessionId, Vec<(StreamId, mpsc::Sender<SessionNews>)>>,
}

/// The sessions of this node's current leadership.
struct Leading {
    term: u64,
    sessions: Sessions,
}

/// What all services of a node share.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) consensus: Consensus,
    leading: Mutex<Option<Leading>>,
    streams: Arc<NewsDesk>,
    next_stream: AtomicU64,
    /// Since when no leader is known.
    leaderless: watch::Receiver<Option<Instant>>,
    stopping: watch::Receiver<bool>,
}

/// Hands events of the ledger to the streams they concern.
#[derive(Default)]
pub(crate) struct NewsDesk(Mutex<Streams>);

impl NewsDesk {
    /// Called by the state machine for everything that happened. Only a leader
    /// has streams, so elsewhere this costs nothing.
    pub(crate) fn report(&self, events: &[Event]) {
        let streams = self.0.lock().expect("no panic while held");
        if streams.by_session.is_empty() {
            return;
        }
        for event in events {
            let (session, ended) = match &event.what {
                Happening::Ended { session, reason, .. } => (session, (0, *reason)),
                Happening::Returned { session, checkout, reason }
                    if matches!(
                        reason,
                        EndReason::Expired | EndReason::Idle | EndReason::Revoked
                    ) =>
                {
                    (session, (checkout.0, *reason))
                }
                _ => continue,
            };
            for (_, news) in streams.by_session.get(session).into_iter().flatten() {
                let reason = convert::end_reason(ended.1);
                let ended = v1::Ended {
                    checkout_id: ended.0,
                    reason: reason.into(),
                    message: String::new(),
                };
                // A client that does not read learns it when it comes back.
                let _ = news.try_send(SessionNews::Ended(ended));
            }
        }
    }
}

impl Node {
    pub(crate) fn new(
        config: Config,
        consensus: Consensus,
        streams: Arc<NewsDesk>,
        stopping: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let (announce, leaderless) = watch::channel(Some(Instant::now()));
        let node = Arc::new(Node {
            config,
            consensus,
            leading: Mutex::new(None),
            streams,
            next_stream: AtomicU64::new(1),
            leaderless,
            stopping,
        });
        let mut leadership = node.consensus.watch_leadership();
        tokio::spawn(async move {
            while leadership.changed().await.is_ok() {
                let known = leadership.borrow_and_update().leader.is_some();
                announce.send_if_modified(|since| {
                    let before = *since;
                    *since = (!known).then(|| before.unwrap_or_else(Instant::now));
                    before != *since
                });
            }
        });
        node
    }

    pub(crate) fn times(&self) -> SessionTimes {
        self.config.sessions
    }

    /// Starts a term of leadership.
    pub(crate) fn lead(&self, term: u64, sessions: Sessions) {
        *self.leading() = Some(Leading { term, sessions });
    }

    /// Leadership is over: no session of this node counts any more.
    pub(crate) fn follow(&self) {
        *self.leading() = None;
    }

    fn leading(&self) -> MutexGuard<'_, Option<Leading>> {
        self.leading.lock().expect("no panic while held")
    }

    /// Asks the session table, if this node leads.
    pub(crate) fn sessions<T>(&self, ask: impl FnOnce(&mut Sessions) -> T) -> Option<T> {
        self.leading().as_mut().map(|leading| ask(&mut leading.sessions))
    }

    /// Asks the session table of one term, if this node still leads in it.
    pub(crate) fn sessions_of<T>(
        &self,
        term: u64,
        ask: impl FnOnce(&mut Sessions) -> T,
    ) -> Option<T> {
        let mut leading = self.leading();
        let same = leading.as_mut().filter(|leading| leading.term == term);
        same.map(|leading| ask(&mut leading.sessions))
    }

    /// The term in which this node leads.
    pub(crate) fn leading_term(&self) -> Option<u64> {
        self.leading().as_ref().map(|leading| leading.term)
    }

    /// A heartbeat arrived: extends the lease, if a quorum still follows.
    ///
    /// # Errors
    ///
    /// Not the leader, no quorum, or a session that is no more.
    pub(crate) fn heard(&self, session: SessionId, now: Instant) -> Result<(), Refusal> {
        let heard = self.sessions(|sessions| sessions.heard(session, now));
        match heard {
            None => Err(self.not_leader()),
            Some(Heard::Unknown | Heard::Ending) => Err(self.session_unknown(session)),
            // Asked last: it must hold at the moment of acknowledging.
            Some(Heard::Kept)
                if !self.consensus.quorum_is_fresh()
                    && !mutation::is_on(Mutation::HeartbeatWithoutQuorum) =>
            {
                Err(self.no_quorum())
            }
            Some(Heard::Kept) => Ok(()),
        }
    }

    /// Proposes commands and waits for their answers.
    pub(crate) async fn propose(&self, commands: Vec<Command>) -> Result<Committed, Refusal> {
        if mutation::is_on(Mutation::AnswerBeforeCommit) && self.leading_term().is_some() {
            return Ok(self.foretell(commands));
        }
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        self.consensus.propose(commands, deadline).await.map_err(|error| self.refusal(&error))
    }

    /// A seeded bug: says what the answers are going to be, and proposes after.
    fn foretell(&self, commands: Vec<Command>) -> Committed {
        let (at, answers) = self.consensus.read(|ledger| {
            let mut ledger = ledger.clone();
            let at = ledger.at();
            (at, commands.iter().map(|command| ledger.apply(at, command)).collect())
        });
        let consensus = self.consensus.clone();
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        tokio::spawn(async move { consensus.propose(commands, deadline).await });
        Committed { term: at.term, index: at.index, answers }
    }

    /// Proposes commands that open a session. If they were certainly not
    /// applied, the session need not be watched.
    pub(crate) async fn propose_opening(
        &self,
        session: SessionId,
        commands: Vec<Command>,
    ) -> Result<Committed, Refusal> {
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        self.consensus.propose(commands, deadline).await.map_err(|error| {
            if !error.outcome_unknown() {
                self.sessions(|sessions| sessions.not_opened(session));
            }
            self.refusal(&error)
        })
    }

    /// The ledger denied an opening.
    pub(crate) fn opening_denied(&self, session: SessionId, denial: &Denial) -> Refusal {
        match denial {
            // Somebody else's: it goes on being watched.
            Denial::SessionTaken { .. } => {}
            Denial::SessionUnknown { .. } => {
                self.sessions(|sessions| sessions.ended(session));
            }
            _ => {
                self.sessions(|sessions| sessions.not_opened(session));
            }
        }
        convert::denial(denial)
    }

    /// Opens or resumes a session in the table, before the ledger is asked.
    pub(crate) fn opening(&self, session: SessionId, lease: Duration) -> Result<(), Refusal> {
        let now = Instant::now();
        match self.sessions(|sessions| sessions.opening(session, lease, now)) {
            None => Err(self.not_leader()),
            Some(Heard::Ending | Heard::Unknown) => Err(self.session_unknown(session)),
            Some(Heard::Kept) => Ok(()),
        }
    }

    /// A stream now speaks for a session; its news go there.
    pub(crate) fn attach(&self, session: SessionId, news: mpsc::Sender<SessionNews>) -> StreamId {
        let stream = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        self.sessions(|sessions| sessions.attach(session, stream));
        let mut streams = self.streams.0.lock().expect("no panic while held");
        streams.by_session.entry(session).or_default().push((stream, news));
        stream
    }

    /// A stream is over.
    pub(crate) fn detach(&self, session: SessionId, stream: StreamId, closed: bool) {
        let now = Instant::now();
        self.sessions(|sessions| sessions.detach(session, stream, closed, now));
        let mut streams = self.streams.0.lock().expect("no panic while held");
        if let Some(open) = streams.by_session.get_mut(&session) {
            open.retain(|(other, _)| *other != stream);
            if open.is_empty() {
                streams.by_session.remove(&session);
            }
        }
    }

    /// Follows whether this node is stopping.
    pub(crate) fn watch_stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    pub(crate) fn session_unknown(&self, session: SessionId) -> Refusal {
        convert::denial(&triad_ledger::Denial::SessionUnknown { session })
    }

    /// This node does not lead. Says who does, or that nobody can.
    pub(crate) fn not_leader(&self) -> Refusal {
        let leadership = self.consensus.leadership();
        let own = self.consensus.node_id();
        let other = leadership.leader.filter(|leader| *leader != own);
        if let Some(leader) = other
            && let Some(address) = self.consensus.client_address(leader)
        {
            let message = format!("node {own} does not lead, node {leader} at {address} does");
            return Refusal {
                leader_address: address,
                leader_id: leader,
                leader_term: leadership.term,
                retryable: true,
                ..Refusal::because(Reason::NotLeader, message)
            };
        }
        if self.leaderless_for() > LEADERLESS_MAX {
            return self.no_quorum();
        }
        Refusal::because(Reason::NotLeader, format!("node {own} does not lead, nobody does yet"))
            .retry_after(RETRY_ELECTING)
    }

    /// For how long no leader has been known.
    pub(crate) fn leaderless_for(&self) -> Duration {
        self.leaderless.borrow().map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Nobody can commit anything from here.
    pub(crate) fn no_quorum(&self) -> Refusal {
        let others = self.config.nodes.len() - 1;
        let message = format!(
            "no quorum: node {} reaches too few of the {others} other nodes, nothing is granted",
            self.consensus.node_id(),
        );
        Refusal::because(Reason::NoQuorum, message)
            .with_remedy("see \"triad status\"; start the missing nodes or mend the network")
            .retry_after(RETRY_OVERLOADED)
    }

    /// Why a proposal got no answer, in the words of the wire.
    pub(crate) fn refusal(&self, error: &ProposeError) -> Refusal {
        match error {
            ProposeError::NotLeader => self.not_leader(),
            ProposeError::NoQuorum => self.no_quorum(),
            ProposeError::Overloaded => {
                let message = "too many requests are waiting on this node";
                Refusal::because(Reason::Overloaded, message).retry_after(RETRY_OVERLOADED)
            }
            ProposeError::Unknown if !self.consensus.quorum_is_fresh() => self.no_quorum(),
            ProposeError::Unknown => {
                let message = "no answer in time, it is unknown whether the request was applied";
                Refusal::because(Reason::Deadline, message)
                    .with_remedy("ask again with the same request id")
                    .retry_after(RETRY_ELECTING)
            }
            ProposeError::Stopped => Refusal::because(Reason::NotReady, "the node is stopping")
                .retry_after(RETRY_ELECTING),
        }
    }
}
