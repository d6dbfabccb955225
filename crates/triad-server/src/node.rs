//! One node, as its services see it: consensus, the sessions of its leadership,
//! and how it says no.

use std::future::{Future, pending};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use triad_ledger::names::{CheckoutId, FeatureName, SessionId};
use triad_ledger::{Checkout, Command, Denial, Event, Grant, Happening, Ledger};
use triad_proto::net::PeerClosed;
use triad_proto::v1;
use triad_proto::v1::{Reason, Refusal};
use triad_raft::{Committed, Consensus, Leadership, ProposeError};

use crate::config::{Config, SessionTimes};
use crate::convert;
use crate::meters::Meters;
use crate::mutation::{self, Mutation};
use crate::news::{NewsDesk, NewsSender};
use crate::pair::Pair;
use crate::rotation::Certificates;
use crate::sessions::{Heard, Left, Mark, SESSIONS_PER_ADDRESS_MAX, Sessions, StreamId};
use crate::tokens::Telling;
use crate::traces::Traces;
use crate::vitals::Gauges;

/// How long a request may take before its outcome is called unknown. Far
/// longer than a commit, shorter than a client's patience.
pub(crate) const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Who asks for a session while it is being decided who leads waits for at most this: less
/// than what a client that was sent away by another node waits for this one.
const UNDECIDED_MAX: Duration = Duration::from_millis(150);
/// A client that resets a stream and then closes its connection does it in one go: what comes
/// later is something else.
const CLOSE_WAIT: Duration = Duration::from_secs(1);
/// Without a leader for this long, a node says that there is no quorum rather
/// than that it does not lead.
const LEADERLESS_MAX: Duration = Duration::from_secs(1);
/// Beats in a lease at least, whatever the policy says of their interval.
const BEATS_PER_LEASE_MIN: u32 = 3;
/// Who reads the history from the disk at once; the next wait. A disk that hangs
/// holds so many threads and no more.
const READING_MAX: usize = 4;
/// Holders that are named to somebody who was denied.
const HOLDERS_TOLD_MAX: usize = 3;
/// Among so many names is looked for the one that was meant.
const SUGGESTED_FROM_MAX: usize = 1_000;
/// Checkouts that are looked at to find them: the oldest of all.
const HOLDERS_LOOKED_AT_MAX: usize = 1_000;
/// What to wait before asking a node again that knows no leader.
const RETRY_ELECTING: Duration = Duration::from_millis(50);
/// What to wait before asking an overloaded node again.
const RETRY_OVERLOADED: Duration = Duration::from_millis(500);
/// What an address with too many sessions is to wait: some of them end.
const RETRY_CROWDED: Duration = Duration::from_secs(10);

/// The clocks at the moment of an answer. The ledger's own stand still while
/// nothing happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) cluster_ms: u64,
    pub(crate) date_ms: u64,
}

impl Now {
    /// Not before what the ledger has seen.
    pub(crate) fn of(self, ledger: &Ledger) -> Now {
        let at = ledger.at();
        Now {
            cluster_ms: self.cluster_ms.max(at.cluster_ms),
            date_ms: self.date_ms.max(at.date_ms),
        }
    }
}

/// The sessions of this node's current leadership.
struct Leading {
    term: u64,
    sessions: Sessions,
}

/// A session that was heard and that the log says is silent.
#[derive(Clone, Copy, Debug)]
#[must_use = "it is not to be acknowledged before the log says that it was heard"]
pub(crate) struct Suspicion {
    session: SessionId,
    /// The term in which it is known by this mark.
    term: u64,
    mark: Mark,
}

/// Who is told of everything that happens.
#[derive(Clone)]
pub(crate) struct Listeners {
    pub(crate) desk: Arc<NewsDesk>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) traces: Arc<Traces>,
    /// Counts the licenses that came into force.
    pub(crate) installed: watch::Sender<u64>,
}

impl Listeners {
    pub(crate) fn report(&self, events: &[Event]) {
        let is_license = |event: &&Event| matches!(event.what, Happening::Installed { .. });
        let installed = events.iter().filter(is_license).count() as u64;
        if installed > 0 {
            self.installed.send_modify(|count| *count += installed);
        }
        self.traces.report(events);
        self.meters.report(events);
        self.desk.report(events);
    }
}

/// What all services of a node share.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) consensus: Consensus,
    leading: Mutex<Option<Leading>>,
    pub(crate) desk: Arc<NewsDesk>,
    /// What this node counts of its own doings.
    pub(crate) meters: Arc<Meters>,
    /// Takes the spans of what this node does.
    pub(crate) traces: Arc<Traces>,
    /// Signs borrow tokens; `None` without TLS, where nobody could check them.
    /// `None` without TLS.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// The configuration, with what was changed of it since the start.
    in_force: RwLock<Arc<Config>>,
    /// The longest lease that a client may still believe in where this node began
    /// with a restored ledger.
    pub(crate) longest_lease_ms: OnceLock<u64>,
    next_stream: AtomicU64,
    /// Whether this node leads.
    leads: watch::Sender<bool>,
    /// Counts the licenses that came into force.
    installed: watch::Sender<u64>,
    /// Since when no leader is known.
    leaderless: watch::Receiver<Option<Instant>>,
    stopping: watch::Receiver<bool>,
    /// Set where this is a main server or its back-up.
    pub(crate) pair: Option<Arc<Pair>>,
    pub(crate) telling: Arc<Telling>,
    /// The place of the one who saves the ledger.
    pub(crate) saving: Arc<Semaphore>,
    /// Places for those who read the history from the disk.
    pub(crate) reading: Arc<Semaphore>,
    /// What the node remembers of itself; see [`crate::vitals`].
    pub(crate) gauges: Gauges,
}

impl Node {
    pub(crate) fn new(
        config: Config,
        consensus: Consensus,
        listeners: Listeners,
        certificates: Option<Arc<Certificates>>,
        stopping: watch::Receiver<bool>,
        pair: Option<Arc<Pair>>,
        telling: Telling,
    ) -> Arc<Self> {
        let Listeners { desk, meters, traces, installed } = listeners;
        let (announce, leaderless) = watch::channel(Some(Instant::now()));
        let node = Arc::new(Node {
            consensus,
            leading: Mutex::new(None),
            desk,
            meters,
            traces,
            certificates,
            in_force: RwLock::new(Arc::new(config.clone())),
            longest_lease_ms: OnceLock::new(),
            next_stream: AtomicU64::new(1),
            leads: watch::channel(false).0,
            installed,
            leaderless,
            stopping,
            pair,
            telling: Arc::new(telling),
            saving: Arc::new(Semaphore::new(1)),
            reading: Arc::new(Semaphore::new(READING_MAX)),
            gauges: Gauges::new(Instant::now()),
            config,
        });
        let mut leadership = node.consensus.watch_leadership();
        let (meters, traces) = (node.meters.clone(), node.traces.clone());
        let own = node.consensus.node_id();
        tokio::spawn(async move {
            while leadership.changed().await.is_ok() {
                let now = *leadership.borrow_and_update();
                meters.led_by(now, Instant::now());
                traces.led_by(now, own, Instant::now());
                let known = now.leader.is_some();
                announce.send_if_modified(|since| {
                    let before = *since;
                    *since = (!known).then(|| before.unwrap_or_else(Instant::now));
                    before != *since
                });
            }
        });
        node
    }

    /// A session that the leader's table does not have, or ends. That is the last word for a
    /// client, so a leader that nobody follows may not say it: the next one may have opened it.
    fn unknown_here(&self, session: SessionId) -> Refusal {
        match self.consensus.quorum_is_fresh() {
            true => self.session_unknown(session),
            false => self.no_quorum(),
        }
    }

    /// How long a session is kept after its socket was closed, as this leader does it;
    /// `None` if it does not lead.
    pub(crate) fn disconnect_grace(&self) -> Option<Duration> {
        self.leading().as_ref().map(|leading| leading.sessions.disconnect_grace_told())
    }

    /// What people call a node.
    pub(crate) fn name_of(&self, node_id: u64) -> String {
        let members = self.consensus.view().members;
        let member = members.into_iter().find(|member| member.node_id == node_id);
        member.map_or_else(|| format!("node {node_id}"), |member| member.member.name)
    }

    pub(crate) fn times(&self) -> SessionTimes {
        self.in_force().sessions
    }

    /// The configuration with what was changed of it since the start.
    pub(crate) fn in_force(&self) -> Arc<Config> {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on this is in force.
    pub(crate) fn put_in_force(&self, config: Config) {
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The clocks now. Not to be asked while the ledger is.
    pub(crate) fn now(&self) -> Now {
        Now { cluster_ms: self.consensus.cluster_ms(), date_ms: self.consensus.date_ms() }
    }

    /// Starts a term of leadership.
    pub(crate) fn lead(&self, term: u64, sessions: Sessions) {
        *self.leading() = Some(Leading { term, sessions });
        self.leads.send_replace(true);
    }

    /// Leadership is over: no session of this node counts any more.
    pub(crate) fn follow(&self) {
        *self.leading() = None;
        self.leads.send_replace(false);
        self.desk.forget_queue();
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

    /// Whether this node leads. While that is being decided this waits, for at most
    /// [`UNDECIDED_MAX`]: whoever comes in the middle of a failover and is sent away then would
    /// only come again, later than he could be served.
    ///
    /// # Errors
    ///
    /// Another node leads, or nobody does.
    ///
    /// # Cancel safety
    ///
    /// Nothing is begun.
    pub(crate) async fn leads_soon(&self) -> Result<(), Refusal> {
        let mut leads = self.leads.subscribe();
        let leading = self.undecided(UNDECIDED_MAX, leads.wait_for(|leads| *leads)).await;
        leading.map(|_| ()).ok_or_else(|| self.not_leader())
    }

    /// Why this node does not lead. Names the leader, if there is one within `patience`.
    pub(crate) async fn not_leader_soon(&self, patience: Duration) -> Refusal {
        self.undecided(patience, pending::<()>()).await;
        self.not_leader()
    }

    /// Waits for something as long as it is not known who leads, or that nobody does.
    async fn undecided<T>(&self, patience: Duration, hoped: impl Future<Output = T>) -> Option<T> {
        let own = self.consensus.node_id();
        let mut leadership = self.consensus.watch_leadership();
        let other = |now: &Leadership| now.leader.is_some_and(|leader| leader != own);
        let patience = match self.leaderless.borrow().as_ref() {
            Some(since) => patience.saturating_sub(since.elapsed()),
            None => patience,
        };
        tokio::select! {
            biased;
            it = hoped => Some(it),
            _ = leadership.wait_for(other) => None,
            () = sleep(patience) => None,
        }
    }

    /// A heartbeat arrived: extends the lease, if a quorum still follows.
    ///
    /// # Errors
    ///
    /// Not the leader, no quorum, or a session that is no more.
    pub(crate) fn heard(
        &self,
        session: SessionId,
        now: Instant,
    ) -> Result<Option<Suspicion>, Refusal> {
        let heard = self.leading().as_mut().map(|leading| {
            let heard = leading.sessions.heard(session, now);
            (leading.term, heard)
        });
        let suspicion = match heard {
            None => return Err(self.not_leader()),
            Some((_, Heard::Unknown | Heard::Ending | Heard::Crowded)) => {
                return Err(self.unknown_here(session));
            }
            Some((term, Heard::Marked(mark))) => Some(Suspicion { session, term, mark }),
            Some((_, Heard::Kept)) => None,
        };
        // Asked last: it must hold at the moment of acknowledging.
        if !self.consensus.quorum_is_fresh() && !mutation::is_on(Mutation::HeartbeatWithoutQuorum) {
            return Err(self.no_quorum());
        }
        Ok(suspicion)
    }

    /// A suspect was heard: when this returns, the log says so, and it may be
    /// acknowledged.
    ///
    /// # Errors
    ///
    /// As [`Node::heard`], and whatever keeps a proposal from being committed.
    ///
    /// # Cancel safety
    ///
    /// It may be committed all the same; the next heartbeat does it again.
    pub(crate) async fn unsuspect(&self, suspicion: Suspicion) -> Result<(), Refusal> {
        let session = suspicion.session;
        let committed = self.propose(vec![Command::Unsuspect { session }]).await?;
        if let Some(Err(denial)) = committed.answers.first() {
            return Err(self.denial(denial));
        }
        self.lift(suspicion);
        match self.heard(session, Instant::now())? {
            None => Ok(()),
            // It was marked again, or by a later leader, before this was committed.
            Some(_) => Err(Refusal::because(Reason::NotReady, "it took too long to be heard")
                .retry_after(RETRY_ELECTING)),
        }
    }

    /// The log no longer says that it is silent.
    pub(crate) fn lift(&self, suspicion: Suspicion) {
        let Suspicion { session, term, mark } = suspicion;
        self.sessions_of(term, |sessions| sessions.unmarked(session, mark));
    }

    /// How often a session with this lease is to be heard: as configured, within
    /// the bounds of the policy, and often enough that two lost beats cost
    /// nothing.
    pub(crate) fn heartbeat(&self, lease: Duration) -> Duration {
        let bounds = self.consensus.read(|ledger| ledger.heartbeat_bounds_ms());
        heartbeat(self.times(), bounds, lease)
    }

    /// A denial in the words of the wire, with who holds what is wanted.
    pub(crate) fn denial(&self, denial: &Denial) -> Refusal {
        let mut refusal = convert::denial(denial);
        let is_taken = matches!(
            refusal.reason(),
            Reason::LicensesExhausted | Reason::AllReserved | Reason::QueueNonempty
        );
        if is_taken && let Ok(feature) = FeatureName::parse(&refusal.feature) {
            let now = self.now();
            let (waiting, holders) = self.consensus.read(|ledger| {
                let holders = longest_holders(ledger, &feature, now);
                (ledger.waiting_for(&feature), holders)
            });
            refusal.waiting = waiting;
            refusal.holders = holders;
        }
        if refusal.reason() == Reason::FeatureUnknown
            && let Some(meant) = self.feature_meant_by(&refusal.feature)
        {
            refusal.remedy = format!("did you mean {meant:?}? {}", refusal.remedy);
        }
        refusal
    }

    /// The licensed feature with the name nearest to this one, if one is near.
    fn feature_meant_by(&self, name: &str) -> Option<String> {
        self.consensus.read(|ledger| {
            let known = ledger.pools().take(SUGGESTED_FROM_MAX);
            let known = known.map(|(_, pool)| pool.key.feature.as_str());
            triad_license::nearest(name, known).map(ToOwned::to_owned)
        })
    }

    /// Whether nobody holds what was granted under this number any more.
    pub(crate) fn has_ended(&self, checkout: CheckoutId) -> bool {
        self.consensus.read(|ledger| ledger.find_checkout(checkout).is_none())
    }

    /// The token that proves a loan without a server; empty where nobody could
    /// check it.
    pub(crate) fn borrow_token(&self, grant: &Grant, until_ms: u64) -> Result<String, Refusal> {
        let Some(certificates) = &self.certificates else { return Ok(String::new()) };
        let signer = certificates.identity();
        let lent = self.consensus.read(|ledger| {
            let checkout = ledger.find_checkout(grant.checkout)?;
            Some((convert::holder_to_wire(&checkout.holder), checkout.since_ms))
        });
        let (holder, from_ms) = lent.ok_or_else(|| {
            // Asked again for a loan that has come back since.
            let checkout = grant.checkout;
            convert::denial(&Denial::CheckoutUnknown { checkout })
        })?;
        let terms = v1::BorrowTerms {
            cluster_id: self.config.cluster_id.to_string(),
            checkout_id: grant.checkout.0,
            holder: Some(holder),
            items: grant.items.iter().map(convert::granted_item).collect(),
            from_ms,
            until_ms,
            node: self.config.nodes[&self.config.node_id].member.name.clone(),
        };
        triad_proto::borrow::seal(&terms, &signer).map_err(|error| {
            Refusal::because(Reason::Internal, format!("the borrow token: {error}"))
        })
    }

    /// Proposes commands and waits for their answers.
    pub(crate) async fn propose(&self, commands: Vec<Command>) -> Result<Committed, Refusal> {
        if mutation::is_on(Mutation::AnswerBeforeCommit) && self.leading_term().is_some() {
            return Ok(self.foretell(commands));
        }
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        self.measured(commands, deadline).await.map_err(|error| self.refusal(&error))
    }

    /// Proposes what a client asks for: only while this node leads, and in the same turn.
    /// A back-up that hands back, or whose time is over, leads in Raft all the same, and
    /// what it granted then, nobody would hear of.
    pub(crate) async fn propose_for_client(
        &self,
        commands: Vec<Command>,
    ) -> Result<Committed, Refusal> {
        self.leading_term().ok_or_else(|| self.not_leader())?;
        self.propose(commands).await
    }

    /// Proposes, and counts what it takes until the answer is there.
    pub(crate) async fn measured(
        &self,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Result<Committed, ProposeError> {
        let began = Instant::now();
        let committed = self.consensus.propose(commands, deadline).await;
        if committed.is_ok() {
            self.meters.commits.add(began.elapsed());
        }
        committed
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
        self.leading_term().ok_or_else(|| self.not_leader())?;
        self.sessions(|sessions| sessions.opening_begins(session));
        let deadline = Instant::now() + PROPOSE_TIMEOUT;
        // Given up here, or unknown: it may be applied yet.
        let outcome = self.measured(commands, deadline).await;
        let is_certain = !matches!(&outcome, Err(error) if error.outcome_unknown());
        if is_certain {
            self.sessions(|sessions| sessions.opening_is_over(session));
        }
        outcome.map_err(|error| {
            if is_certain {
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
            Denial::SessionUnknown { .. } => self.not_open(session),
            _ => {
                self.sessions(|sessions| sessions.not_opened(session));
            }
        }
        self.denial(denial)
    }

    /// The ledger has closed a session, or did not know it: it need not be watched, unless it
    /// was opened again since.
    pub(crate) fn not_open(&self, session: SessionId) {
        if self.consensus.read(|ledger| ledger.session(session).is_none()) {
            self.sessions(|sessions| sessions.not_open(session));
        }
    }

    /// Opens or resumes a session in the table, before the ledger is asked.
    pub(crate) fn opening(
        &self,
        session: SessionId,
        lease: Duration,
        address: Option<IpAddr>,
    ) -> Result<Option<Suspicion>, Refusal> {
        let times = (lease, self.heartbeat(lease));
        let now = Instant::now();
        let heard = self.leading().as_mut().map(|leading| {
            let heard = leading.sessions.opening(session, times, address, now);
            (leading.term, heard)
        });
        match heard {
            None => Err(self.not_leader()),
            Some((_, Heard::Ending | Heard::Unknown)) => Err(self.unknown_here(session)),
            Some((_, Heard::Crowded)) => {
                let message = format!(
                    "the address that this comes from has {SESSIONS_PER_ADDRESS_MAX} sessions \
                     already"
                );
                Err(Refusal::because(Reason::Overloaded, message)
                    .with_remedy("look with `triad sessions` for what opens them without end")
                    .retry_after(RETRY_CROWDED))
            }
            Some((term, Heard::Marked(mark))) => Ok(Some(Suspicion { session, term, mark })),
            Some((_, Heard::Kept)) => Ok(None),
        }
    }

    /// An opening is committed, and with it whatever mark the session had.
    pub(crate) fn opened(&self, session: SessionId, lease: Duration, suspicion: Option<Suspicion>) {
        let times = (lease, self.heartbeat(lease));
        self.sessions(|sessions| sessions.opened(session, times, Instant::now()));
        if let Some(suspicion) = suspicion {
            self.lift(suspicion);
        }
    }

    /// A stream now speaks for a session; its news go there.
    pub(crate) fn attach(&self, session: SessionId, news: NewsSender) -> StreamId {
        let stream = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        tracing::debug!(%session, stream = stream.0, "a stream speaks for the session");
        self.sessions(|sessions| sessions.attach(session, stream));
        self.desk.attach(session, stream, news);
        stream
    }

    /// A stream is over. `closed`: so is its connection, by its client.
    pub(crate) fn detach(&self, session: SessionId, stream: StreamId, closed: bool) {
        let _ = self.end_stream(session, stream, closed);
    }

    /// A stream is over that its client has reset. Who ends in good order resets its streams and
    /// then closes its connection, and the two may be read apart: the close counts all the same.
    pub(crate) fn detach_reset(
        self: &Arc<Self>,
        session: SessionId,
        stream: StreamId,
        connection: Arc<PeerClosed>,
    ) {
        let Some((term, left)) = self.end_stream(session, stream, false) else { return };
        let node = self.clone();
        tokio::spawn(async move {
            if timeout(CLOSE_WAIT, connection.closed()).await.is_ok() {
                let now = Instant::now();
                node.sessions_of(term, |sessions| sessions.closed_after(session, left, now));
            }
        });
    }

    /// Takes a stream off its session. Says in which term, and when, that was left without any,
    /// where it may yet turn out to have been closed.
    fn end_stream(
        &self,
        session: SessionId,
        stream: StreamId,
        closed: bool,
    ) -> Option<(u64, Left)> {
        tracing::debug!(%session, stream = stream.0, closed, "the stream is over");
        let now = Instant::now();
        let left = self.leading().as_mut().and_then(|leading| {
            let left = leading.sessions.detach(session, stream, closed, now)?;
            Some((leading.term, left))
        });
        self.desk.detach(session, stream);
        left
    }

    /// Follows the licenses that come into force.
    pub(crate) fn watch_installed(&self) -> watch::Receiver<u64> {
        self.installed.subscribe()
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
        if let Some(refusal) = self.pair.as_ref().and_then(|pair| pair.refusal(leadership)) {
            return refusal;
        }
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
        let others = self.consensus.view().members.len().saturating_sub(1);
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
            ProposeError::TooLarge { .. } => {
                Refusal::because(Reason::LimitReached, error.to_string())
                    .with_remedy("ask for less at once")
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

/// How often a session with this lease is to be heard: as configured, and within
/// the bounds that the policy sets, ms.
pub(crate) fn heartbeat(
    times: SessionTimes,
    bounds: Option<(u64, u64)>,
    lease: Duration,
) -> Duration {
    let interval = times.heartbeat(lease);
    match bounds {
        Some((min, max)) => {
            let (min, max) = (Duration::from_millis(min), Duration::from_millis(max));
            interval.min(max).max(min).min(lease / BEATS_PER_LEASE_MIN)
        }
        None => interval,
    }
}

/// Who holds a feature longest, among the oldest checkouts.
fn longest_holders(ledger: &Ledger, feature: &FeatureName, now: Now) -> Vec<v1::SeatHolder> {
    let now = now.of(ledger);
    let oldest = ledger.checkouts(CheckoutId(0)).take(HOLDERS_LOOKED_AT_MAX);
    let of_feature = oldest.filter_map(|(_, checkout)| {
        let items = ledger.granted_items(checkout);
        let seats: u64 = items
            .iter()
            .filter(|item| item.feature == *feature)
            .map(|item| u64::from(item.seats.get()))
            .sum();
        (seats > 0).then_some((checkout, seats))
    });
    let told = of_feature.take(HOLDERS_TOLD_MAX).map(|(checkout, seats)| v1::SeatHolder {
        user: checkout.holder.user.to_string(),
        host: checkout.holder.host.to_string(),
        seats,
        held_ms: now.date_ms.saturating_sub(checkout.since_ms),
        idle_ms: idle_ms(ledger, checkout, now),
    });
    told.collect()
}

/// For how long the user of a checkout has been idle; 0 if he is not.
pub(crate) fn idle_ms(ledger: &Ledger, checkout: &Checkout, now: Now) -> u64 {
    let live = checkout.stay == triad_ledger::Stay::Live;
    let session = ledger.session(checkout.session).filter(|_| live);
    let since = session.and_then(|session| session.idle_since_ms);
    since.map_or(0, |since| now.of(ledger).cluster_ms.saturating_sub(since).max(1))
}
