//! A seat held by this process, over the client library.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use triad_client::{Checkout, Client, Error, Item, Place, State, Wait};
use triad_proto::v1::Grant;

use crate::args::{SeatOptions, WaitOptions};
use crate::duration::{show_ms, until};
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::Settings;
use crate::text::{ordinal, printable};

/// How long an empty session is worth waiting for.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A failover is over sooner, and not worth a word.
const QUIET: Duration = Duration::from_secs(2);

/// A seat that is held, until it is given back or lost.
pub struct Holding {
    client: Client,
    checkout: Checkout,
    states: watch::Receiver<State>,
    feature: String,
    timeout: Duration,
    output: Output,
    is_lost: bool,
}

impl Holding {
    /// Takes a seat, within the time that the options give.
    pub async fn take(
        settings: &Settings,
        feature: &str,
        seats: &SeatOptions,
        wait: WaitOptions,
        application: &str,
    ) -> Result<Self, Failure> {
        let client = client(settings, application)?;
        let item = Item {
            feature: feature.to_owned(),
            version: seats.version.clone(),
            seats: seats.seats,
        };
        let taken = match wait.wait {
            None => client.checkout_all(vec![item]).await,
            Some(longest) => in_turn(settings, &client, item, longest).await,
        };
        let checkout = match taken {
            Ok(checkout) => checkout,
            Err(error) => {
                close(client).await;
                return Err(failure(error));
            }
        };
        let mut states = client.states();
        states.mark_unchanged();
        Ok(Holding {
            client,
            checkout,
            states,
            feature: feature.to_owned(),
            timeout: settings.timeout(),
            output: settings.output,
            is_lost: false,
        })
    }

    /// What was granted.
    pub fn grant(&self) -> Grant {
        Grant { checkout_id: self.checkout.id(), items: self.checkout.items().to_vec() }
    }

    /// Ends when the seat is lost, and says why. Tells of reconnecting on the
    /// way. Cancel safe.
    pub async fn lost(&mut self) -> Failure {
        let mut broken_since = None;
        let mut told = false;
        let reason = loop {
            let due = broken_since.filter(|_| !told).map(|since| since + QUIET);
            tokio::select! {
                reason = self.checkout.lost() => break reason,
                Ok(()) = self.states.changed() => {}
                () = until(due) => {}
            }
            let now = Instant::now();
            match self.states.borrow_and_update().clone() {
                State::Reconnecting { deadline } => {
                    let since = *broken_since.get_or_insert(now);
                    if !told && now >= since + QUIET {
                        told = true;
                        self.output.warn(&format!(
                            "no connection to a leader; the seat of {} is kept for {}",
                            self.feature,
                            show_left(deadline)
                        ));
                    }
                }
                State::Held if told => {
                    self.output.notice(&format!("connected again; {} is kept\n", self.feature));
                    (broken_since, told) = (None, false);
                }
                _ => broken_since = None,
            }
        };
        self.is_lost = true;
        Failure::Lost { feature: self.feature.clone(), reason }
    }

    /// Gives the seat back, if it is still held, and waits until the servers
    /// know.
    pub async fn give_back(self) {
        let Holding { client, checkout, timeout: limit, output, is_lost, .. } = self;
        if is_lost {
            return;
        }
        let giving = async {
            let given = checkout.give_back().await;
            client.close().await;
            given
        };
        let problem = match timeout(limit, giving).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {}", show_ms(limit.as_millis() as u64)),
        };
        output.warn(&format!("the seat was not given back: {problem}; it returns by itself"));
    }
}

fn show_left(deadline: Instant) -> String {
    let left = deadline.saturating_duration_since(Instant::now());
    // Tenths would only be wrong by the time they are read.
    show_ms(left.as_secs() * 1_000)
}

/// A client of the cluster that the options name.
pub fn client(settings: &Settings, application: &str) -> Result<Client, Failure> {
    let builder = Client::builder()
        .servers(settings.servers()?.join(","))
        .application(application)
        .checkout_timeout(settings.timeout());
    let builder = match settings.authority_pem()? {
        Some(pem) => builder.ca_pem(pem),
        None => builder.plaintext(),
    };
    builder.build().map_err(failure)
}

/// Politeness: an empty session is gone at once, not after its lease.
pub async fn close(client: Client) {
    let _ = timeout(CLOSE_TIMEOUT, client.close()).await;
}

/// Waits in the queue, and tells of every step forward.
async fn in_turn(
    settings: &Settings,
    client: &Client,
    item: Item,
    longest: Duration,
) -> Result<Checkout, Error> {
    let feature = printable(&item.feature);
    let mut ticket = client.queue(vec![item], Wait::at_most(longest))?;
    let mut places = ticket.places();
    loop {
        tokio::select! {
            granted = ticket.granted() => return granted,
            Ok(()) = places.changed() => {
                let Some(Place { place, estimate }) = *places.borrow_and_update() else { continue };
                let rest = estimate.map(|rest| format!(", perhaps {} more", show_ms(rest.as_millis() as u64)));
                let (nth, rest) = (ordinal(place), rest.unwrap_or_default());
                settings.output.notice(&format!("waiting for {feature}: {nth} in the queue{rest}\n"));
            }
        }
    }
}

/// What the client library says, in the words of the command.
pub fn failure(error: Error) -> Failure {
    match error.refusal() {
        Some(refusal) => Failure::refused(refusal.clone()),
        None => Failure::Client(error.to_string()),
    }
}
