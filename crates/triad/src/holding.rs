//! A seat held by this process, over the client library.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use triad_client::{Checkout, Client, Error, State};
use triad_proto::v1::Grant;

use crate::args::SeatOptions;
use crate::duration::{show_ms, until};
use crate::failure::Failure;
use crate::output::Output;
use crate::settings::Settings;

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
        application: &str,
    ) -> Result<Self, Failure> {
        let builder = Client::builder()
            .servers(settings.servers()?.join(","))
            .application(application)
            .checkout_timeout(settings.timeout());
        let builder = match settings.authority_pem()? {
            Some(pem) => builder.ca_pem(pem),
            None => builder.plaintext(),
        };
        let client = builder.build().map_err(failure)?;
        let checkout = match client.checkout(feature, &seats.version, seats.seats).await {
            Ok(checkout) => checkout,
            Err(error) => {
                // Politeness: an empty session is gone at once, not after its lease.
                let _ = timeout(CLOSE_TIMEOUT, client.close()).await;
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

/// What the client library says, in the words of the command.
pub fn failure(error: Error) -> Failure {
    match error.refusal() {
        Some(refusal) => Failure::refused(refusal.clone()),
        None => Failure::Client(error.to_string()),
    }
}
