//! The client and the checkout: what an application holds in its hands.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use triad_proto::v1;
use triad_proto::v1::{Reason, Refusal};

use crate::builder::{ClientBuilder, Settings};
use crate::error::Error;
use crate::lease::State;
use crate::session::{Ask, Held, Session};

/// The most items in one checkout, as the server bounds it.
const ITEMS_MAX: usize = 64;
/// The longest feature name, as the server bounds it.
const NAME_BYTES_MAX: usize = 64;

/// What the session's task last knew: until when the seats are certainly ours.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Belief {
    pub(crate) until: Option<Instant>,
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
        self.states.borrow().clone()
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
        Client { asks, watch: Watch { states, belief }, checkout_timeout }
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
        well_formed(&items)?;
        let wire = |item: Item| v1::Item {
            feature: item.feature,
            version: item.version,
            seats: item.seats,
        };
        let (reply, answer) = oneshot::channel();
        let ask = Ask::Take {
            items: items.into_iter().map(wire).collect(),
            deadline: Instant::now() + self.checkout_timeout,
            reply,
        };
        self.asks.send(ask).map_err(|_| Error::Closed)?;
        let mut answer = Answer { answer, asks: &self.asks };
        let held = (&mut answer.answer).await.map_err(|_| Error::Closed)??;
        Ok(Checkout { held, asks: Some(self.asks.clone()), watch: self.watch.clone() })
    }

    /// The state of the session, from now on.
    pub fn states(&self) -> watch::Receiver<State> {
        self.watch.states.clone()
    }

    /// The state of the session now.
    pub fn state(&self) -> State {
        self.watch.state()
    }

    /// Ends the session: every seat is returned. Waits for the answer, at most
    /// as long as a checkout.
    pub async fn close(self) {
        let (reply, done) = oneshot::channel();
        if self.asks.send(Ask::Close { reply }).is_ok() {
            let _ = tokio::time::timeout(self.checkout_timeout, done).await;
        }
    }
}

/// Seats that are held. Dropping it returns them.
pub struct Checkout {
    held: Held,
    /// Taken when the seats are given back.
    asks: Option<mpsc::UnboundedSender<Ask>>,
    watch: Watch,
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
    /// run without a seat waits for this beside its work. Cancel safe.
    pub async fn lost(&self) -> String {
        let mut states = self.watch.states.clone();
        loop {
            states.borrow_and_update();
            if let State::Lost { reason } = self.state() {
                return reason;
            }
            if states.changed().await.is_err() {
                return "the client is closed".into();
            }
        }
    }

    /// Returns the seats and waits until the ledger has them.
    ///
    /// # Errors
    ///
    /// The session was lost or the client closed meanwhile; the seats are free
    /// all the same, at the latest when the lease ends.
    pub async fn give_back(mut self) -> Result<(), Error> {
        let Some(asks) = self.asks.take() else { return Ok(()) };
        let (reply, done) = oneshot::channel();
        let ask = Ask::GiveBack { id: self.held.id, epoch: self.held.epoch, reply: Some(reply) };
        asks.send(ask).map_err(|_| Error::Closed)?;
        done.await.map_err(|_| Error::Closed)?
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
struct Answer<'a> {
    answer: oneshot::Receiver<Result<Held, Error>>,
    asks: &'a mpsc::UnboundedSender<Ask>,
}

impl Drop for Answer<'_> {
    fn drop(&mut self) {
        self.answer.close();
        if let Ok(Ok(held)) = self.answer.try_recv() {
            let ask = Ask::GiveBack { id: held.id, epoch: held.epoch, reply: None };
            let _ = self.asks.send(ask);
        }
    }
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
}
