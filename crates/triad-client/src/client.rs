//! The client and the checkout: what an application holds in its hands.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use triad_proto::v1;
use triad_proto::v1::{Reason, Refusal};

use crate::borrow::{BorrowEnd, Borrowed};
use crate::builder::{ClientBuilder, Settings};
use crate::error::Error;
use crate::lease::State;
use crate::queue::{Ticket, Wait};
use crate::requests::Queueing;
use crate::session::{Ask, Held, Session};

/// The most items in one checkout, as the server bounds it.
const ITEMS_MAX: usize = 64;
/// The longest feature name, as the server bounds it.
const NAME_BYTES_MAX: usize = 64;

/// What the session's task last knew: until when the seats are certainly ours.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Belief {
    pub(crate) until: Option<Instant>,
    /// When nothing that the task may still hear makes that longer.
    pub(crate) over_at: Option<Instant>,
}

/// The state of a session, judged by the clock at the moment of asking and not
/// by when the session's task last ran.
#[derive(Clone)]
struct Watch {
    states: watch::Receiver<State>,
    belief: watch::Receiver<Belief>,
}

impl Watch {
    fn state(&self) -> State {
        let until = self.belief.borrow().until;
        if until.is_some_and(|until| Instant::now() >= until) {
            return State::Lost { reason: "no heartbeat was acknowledged in time".into() };
        }
        match self.states.borrow().clone() {
            // Its task was ended with its runtime: nobody sends heartbeats.
            State::Held | State::Reconnecting { .. } if self.is_closed() => {
                State::Lost { reason: "the client is closed".into() }
            }
            state => state,
        }
    }

    /// The session's task is over.
    fn is_closed(&self) -> bool {
        self.states.has_changed().is_err()
    }
}

/// A connection to a cluster, with one session. Cheap to clone; the session
/// ends when the last clone and the last checkout are dropped.
#[derive(Clone)]
pub struct Client {
    asks: mpsc::UnboundedSender<Ask>,
    watch: Watch,
    checkout_timeout: Duration,
    tickets: Arc<AtomicU64>,
}

/// Seats of one feature that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The feature.
    pub feature: String,
    /// The version needed; empty for any.
    pub version: String,
    /// How many seats, at least 1.
    pub seats: u32,
}

impl Client {
    /// Starts setting up a client.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn start(settings: Settings, random: StdRng) -> Self {
        let (asks, queue) = mpsc::unbounded_channel();
        let (announce, states) = watch::channel(State::Idle);
        let (believe, belief) = watch::channel(Belief::default());
        let checkout_timeout = settings.checkout_timeout;
        tokio::spawn(Session::new(settings, announce, believe, random).run(queue));
        let tickets = Arc::new(AtomicU64::new(1));
        Client { asks, watch: Watch { states, belief }, checkout_timeout, tickets }
    }

    /// Checks out `seats` seats of `feature`, in at least `version`. They are
    /// held until the [`Checkout`] is dropped.
    ///
    /// Dropping the future is safe: seats that are granted after all are
    /// returned.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] with the reason; [`Error::Unavailable`] if nobody could
    /// answer in time.
    pub async fn checkout(
        &self,
        feature: &str,
        version: &str,
        seats: u32,
    ) -> Result<Checkout, Error> {
        let item = Item { feature: feature.into(), version: version.into(), seats };
        self.checkout_all(vec![item]).await
    }

    /// Checks out several features at once: all of them or none.
    ///
    /// # Errors
    ///
    /// As [`Client::checkout`].
    pub async fn checkout_all(&self, items: Vec<Item>) -> Result<Checkout, Error> {
        let mut answer = self.take(items, None)?;
        answer.wait().await.map(|held| self.holding(held))
    }

    /// Asks for seats, and waits for them in the queue if they are taken. The
    /// [`Ticket`] says where the request stands, through failovers too; dropping
    /// it gives the request up.
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] at once for what no server would accept.
    pub fn queue(&self, items: Vec<Item>, wait: Wait) -> Result<Ticket, Error> {
        let number = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (told, places) = watch::channel(None);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let queue = Queueing {
            ticket: number,
            priority: wait.priority,
            // What has no end that a clock can show has none.
            until: wait.timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            timeout_ms: wait.timeout.map_or(0, |timeout| millis(timeout).max(1)),
            places: told,
            is_queued: false,
            has_waited: false,
            is_cancelled: false,
        };
        let answer = self.take(items, Some(queue))?;
        Ok(Ticket { number, answer, places, client: self.clone(), is_over: false })
    }

    fn take(&self, items: Vec<Item>, queue: Option<Queueing>) -> Result<Answer, Error> {
        well_formed(&items)?;
        let (reply, answer) = oneshot::channel();
        let items = items.into_iter().map(wire).collect();
        let deadline = Instant::now() + self.checkout_timeout;
        self.asks.send(Ask::Take { items, deadline, reply, queue }).map_err(|_| Error::Closed)?;
        Ok(Answer { answer, asks: self.asks.clone() })
    }

    pub(crate) fn holding(&self, held: Held) -> Checkout {
        let (asks, watch) = (Some(self.asks.clone()), self.watch.clone());
        Checkout { held, asks, watch, timeout: self.checkout_timeout }
    }

    pub(crate) fn ask(&self, ask: Ask) {
        // Nobody listens any more if the session is over.
        let _ = self.asks.send(ask);
    }

    /// Borrows seats, to be used without a server until `end`. They belong to no
    /// session, and come back at the end or by [`Client::return_borrowed`].
    ///
    /// Dropping the future is safe as long as the session lasts: what is lent after
    /// all is returned.
    ///
    /// # Errors
    ///
    /// As [`Client::checkout`]. If it was asked for, and no answer came in time or
    /// the session was lost before, nobody here can know whether seats were lent:
    /// [`Error::Unavailable`] says so. A late answer is returned as long as the
    /// session lasts; otherwise what was lent is out until its end, or until somebody
    /// returns it. Look at `triad borrow list` before borrowing again, or it may be
    /// lent twice.
    pub async fn borrow(&self, items: Vec<Item>, end: BorrowEnd) -> Result<Borrowed, Error> {
        well_formed(&items)?;
        let (reply, answer) = oneshot::channel();
        let mut answer = LoanAnswer { answer, asks: self.asks.clone() };
        let ask = Ask::Borrow {
            items: items.into_iter().map(wire).collect(),
            end: end.to_wire(),
            deadline: Instant::now() + self.checkout_timeout,
            reply,
        };
        self.asks.send(ask).map_err(|_| Error::Closed)?;
        (&mut answer.answer).await.map_err(|_| Error::Closed)?.map(Borrowed::of)
    }

    /// Returns borrowed seats before their end; only the same user on the same
    /// host can. False if they were not out on loan any more.
    ///
    /// # Errors
    ///
    /// [`Error::Unavailable`] if nobody answered in time: they may be returned
    /// or not; ask again.
    pub async fn return_borrowed(&self, checkout_id: u64) -> Result<bool, Error> {
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Return { id: checkout_id, reply: Some(reply) };
        self.asks.send(ask).map_err(|_| Error::Closed)?;
        match within(self.checkout_timeout, answer).await {
            Some(answer) => answer.map_err(|_| Error::Closed)?,
            None => {
                let message = "nobody answered in time whether the seats are returned";
                Err(Error::unavailable(Refusal::because(Reason::Deadline, message)))
            }
        }
    }

    /// Says that the user has been idle for so long: seats that are not used may
    /// be taken back by the site's policy. Heartbeats go on. Say it as often as you
    /// like: the server is told what changed, by a second at least, and once a second
    /// at most.
    pub fn set_idle(&self, idle: Duration) {
        let now = Instant::now();
        self.ask(Ask::Idle { since: Some(now.checked_sub(idle).unwrap_or(now)) });
    }

    /// Says that the user is active again. Asking for seats says so too.
    pub fn set_active(&self) {
        self.ask(Ask::Idle { since: None });
    }

    /// The state of the session, from now on.
    pub fn states(&self) -> watch::Receiver<State> {
        self.watch.states.clone()
    }

    /// The state of the session now.
    pub fn state(&self) -> State {
        self.watch.state()
    }

    /// Ends the session, also one whose opening was not answered yet: every seat is
    /// returned. Waits for the answer, 2 s at most, and no longer than a checkout. A
    /// session whose end nobody heard of by then lasts for its lease.
    pub async fn close(self) {
        let (reply, done) = oneshot::channel();
        if self.asks.send(Ask::Close { reply }).is_ok() {
            let _ = within(self.checkout_timeout, done).await;
        }
    }
}

/// Seats that are held. Dropping it returns them.
pub struct Checkout {
    held: Held,
    /// Taken when the seats are given back.
    asks: Option<mpsc::UnboundedSender<Ask>>,
    watch: Watch,
    /// How long its return is waited for.
    timeout: Duration,
}

impl Checkout {
    /// The ledger's number for this checkout.
    pub fn id(&self) -> u64 {
        self.held.id
    }

    /// What is held.
    pub fn items(&self) -> &[v1::GrantedItem] {
        &self.held.items
    }

    /// Whether it is held: the state of the session, or lost if this checkout
    /// alone was ended.
    pub fn state(&self) -> State {
        match self.held.ended.get() {
            Some(reason) => State::Lost { reason: reason.clone() },
            None if self.watch.is_closed() => State::Lost { reason: "the client is closed".into() },
            None => self.watch.state(),
        }
    }

    /// Waits until the seats are lost, and says why. A program that must not
    /// run without a seat waits for this beside its work. By the clock, too: it
    /// ends also where the session's task is kept from running. Cancel safe.
    pub async fn lost(&self) -> String {
        let mut states = self.watch.states.clone();
        loop {
            states.borrow_and_update();
            if let State::Lost { reason } = self.state() {
                return reason;
            }
            let over_at = self.watch.belief.borrow().over_at;
            tokio::select! {
                biased;
                changed = states.changed() => if changed.is_err() {
                    return "the client is closed".into();
                },
                // It is looked at again: a heartbeat may have been acknowledged meanwhile.
                () = passed(over_at) => {}
            }
        }
    }

    /// Returns the seats and waits until the ledger has them, no longer than a
    /// checkout. Dropping the future is safe: they are returned.
    ///
    /// # Errors
    ///
    /// Nobody confirmed it in time ([`Error::Unavailable`]), or the session was lost
    /// or the client closed meanwhile. The seats come back by themselves all the
    /// same: the client goes on returning them, and they are free at the latest when
    /// the session ends. There is nothing for the application to do.
    pub async fn give_back(mut self) -> Result<(), Error> {
        let Some(asks) = self.asks.take() else { return Ok(()) };
        let (reply, done) = oneshot::channel();
        let ask = Ask::GiveBack { id: self.held.id, epoch: self.held.epoch, reply: Some(reply) };
        asks.send(ask).map_err(|_| Error::Closed)?;
        match within(self.timeout, done).await {
            Some(done) => done.map_err(|_| Error::Closed)?.map(|_| ()),
            None => {
                let message = "nobody confirmed in time that the seats are returned";
                Err(Error::unavailable(Refusal::because(Reason::Deadline, message)))
            }
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(asks) = self.asks.take() {
            // Nobody listens any more if the session is over.
            let (id, epoch) = (self.held.id, self.held.epoch);
            let _ = asks.send(Ask::GiveBack { id, epoch, reply: None });
        }
    }
}

impl std::fmt::Debug for Checkout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Checkout").field("id", &self.held.id).finish_non_exhaustive()
    }
}

/// An answer that is awaited. Given up, it returns what was granted all the
/// same.
pub(crate) struct Answer {
    answer: oneshot::Receiver<Result<Held, Error>>,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Answer {
    /// Cancel safe.
    pub(crate) async fn wait(&mut self) -> Result<Held, Error> {
        (&mut self.answer).await.map_err(|_| Error::Closed)?
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(held)) = self.answer.try_recv() {
            let ask = Ask::GiveBack { id: held.id, epoch: held.epoch, reply: None };
            let _ = self.asks.send(ask);
        }
    }
}

/// As [`Answer`], for a loan.
struct LoanAnswer {
    answer: oneshot::Receiver<Result<v1::BorrowGrant, Error>>,
    asks: mpsc::UnboundedSender<Ask>,
}

impl Drop for LoanAnswer {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(v1::BorrowGrant { grant: Some(grant), .. })) = self.answer.try_recv() {
            let _ = self.asks.send(Ask::Return { id: grant.checkout_id, reply: None });
        }
    }
}

/// Ends at that moment, if there is one; outside a tokio runtime never, for only that has timers.
async fn passed(at: Option<Instant>) {
    match at.filter(|_| Handle::try_current().is_ok()) {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What an answer is, if it comes in this time; outside a tokio runtime whenever it comes.
async fn within<F: Future + Unpin>(most: Duration, mut answer: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        answer = &mut answer => Some(answer),
        () = passed(Some(Instant::now() + most)) => None,
    }
}

fn wire(item: Item) -> v1::Item {
    v1::Item { feature: item.feature, version: item.version, seats: item.seats }
}

/// Says at once what the server would say, and spares it requests that would
/// not even fit a message.
fn well_formed(items: &[Item]) -> Result<(), Error> {
    let invalid =
        |message: String| Err(Error::denied(Refusal::because(Reason::InvalidRequest, message)));
    if items.is_empty() || items.len() > ITEMS_MAX {
        return invalid(format!("items: {} given, 1 to {ITEMS_MAX} allowed", items.len()));
    }
    for (n, item) in items.iter().enumerate() {
        for (field, text) in [("feature", &item.feature), ("version", &item.version)] {
            if text.len() > NAME_BYTES_MAX {
                let bytes = text.len();
                return invalid(format!(
                    "items[{n}].{field}: it is {bytes} bytes long, at most {NAME_BYTES_MAX} are \
                     allowed"
                ));
            }
        }
        if item.seats == 0 {
            return invalid(format!("items[{n}].seats: 0 given, at least 1 wanted"));
        }
    }
    Ok(())
}

/// A mark on a checkout that was ended alone.
pub(crate) type EndMark = Arc<OnceLock<String>>;

#[cfg(test)]
mod tests {
    use super::*;

    fn item(feature: &str, seats: u32) -> Item {
        Item { feature: feature.into(), version: String::new(), seats }
    }

    #[test]
    fn what_is_malformed_is_refused_here() {
        let message = |items: &[Item]| well_formed(items).expect_err("malformed").to_string();
        assert!(well_formed(&[item("solver", 1)]).is_ok());
        assert_eq!(message(&[]), "items: 0 given, 1 to 64 allowed");
        assert_eq!(message(&[item("solver", 0)]), "items[0].seats: 0 given, at least 1 wanted");
        let long = message(&[item("a", 1), item(&"x".repeat(1 << 20), 1)]);
        assert!(long.starts_with("items[1].feature: it is 1048576 bytes long"), "{long}");
    }

    fn checkout(asks: mpsc::UnboundedSender<Ask>, watch: Watch) -> Checkout {
        let held = Held { id: 7, epoch: 1, items: Vec::new(), ended: EndMark::default() };
        Checkout { held, asks: Some(asks), watch, timeout: Duration::from_secs(10) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_loss_is_seen_by_the_clock_though_nobody_says_it() {
        let start = Instant::now();
        let at = |seconds| Some(start + Duration::from_secs(seconds));
        let (_says_nothing, states) = watch::channel(State::Held);
        let (believe, belief) = watch::channel(Belief { until: at(30), over_at: at(31) });
        let (asks, _queue) = mpsc::unbounded_channel();
        let seat = checkout(asks, Watch { states, belief });
        let mut lost = std::pin::pin!(seat.lost());
        let is_lost_within = Duration::from_secs(30);
        assert!(tokio::time::timeout(is_lost_within, &mut lost).await.is_err());
        believe.send_replace(Belief { until: at(60), over_at: at(60) });
        assert!(tokio::time::timeout(is_lost_within / 2, &mut lost).await.is_err());
        assert_eq!(lost.await, "no heartbeat was acknowledged in time");
        assert!(at(60).is_some_and(|end| Instant::now() >= end));
    }

    #[tokio::test(start_paused = true)]
    async fn a_return_is_not_waited_for_longer_than_a_checkout() {
        let (_says_nothing, states) = watch::channel(State::Held);
        let (_believe, belief) = watch::channel(Belief::default());
        let (asks, mut queue) = mpsc::unbounded_channel();
        let seat = checkout(asks, Watch { states, belief });
        let error = seat.give_back().await.expect_err("nobody answers");
        assert_eq!(error.reason(), Some(Reason::Deadline), "{error}");
        assert!(matches!(queue.try_recv(), Ok(Ask::GiveBack { id: 7, .. })));
        assert!(queue.try_recv().is_err(), "it is returned once");
    }
}
