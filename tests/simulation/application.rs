//! An application with the real client library: takes seats, uses them, returns
//! them, waits in the queue, borrows, changes its mind, lies idle, and begins
//! anew.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};
use triad_client::{BorrowEnd, Checkout, Client, Error, Item, Reason, Ticket, Wait, Witness};
use triad_proto::net::SharedNetwork;

use crate::cluster::{FEATURES, LENT, SERVERS};
use crate::desk::{Desk, Phase};

/// How often an application looks whether the phase has changed.
const LOOK: Duration = Duration::from_millis(100);
/// What an application that waits for its turn does between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(300);
/// How long it stays when it has returned everything.
const IDLE: Duration = Duration::from_secs(7);
/// When everybody has returned everything, whoever waits is served within this.
const TURN_LIMIT: Duration = Duration::from_secs(5);
/// How long some keep their seats after the others have fallen silent: then
/// nothing but the clock ends what is due.
const LINGER: Duration = Duration::from_secs(3);
/// Checkouts of one application at once.
const HELD_MAX: usize = 3;
/// Requests of one application that wait at once.
const TICKETS_MAX: usize = 2;
/// What the library never gives reason to say.
const NEVER_TOLD: [Reason; 5] = [
    Reason::Unspecified,
    Reason::Internal,
    Reason::InvalidRequest,
    Reason::RequestForgotten,
    Reason::SessionTaken,
];
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Loans of one application at once.
const LOANS_MAX: usize = 2;

pub struct Application {
    pub index: usize,
    pub seed: u64,
    pub network: SharedNetwork,
    pub desk: Arc<Desk>,
    pub witness: Arc<dyn Witness>,
}

struct Life {
    index: usize,
    desk: Arc<Desk>,
    dice: StdRng,
    client: Client,
    held: Vec<u64>,
    /// What waits in the queue, and what was wished for.
    tickets: Vec<(Ticket, Vec<Item>)>,
}

/// The user of an application.
pub fn user(index: usize) -> String {
    format!("user-{index}")
}

impl Application {
    /// Lives until the run becomes quiet.
    pub async fn live(self) {
        let mut dice = StdRng::seed_from_u64(self.seed);
        while self.desk.phase() != Phase::Quiet {
            let client = Client::builder()
                .servers(SERVERS)
                .plaintext()
                .network(self.network.clone())
                .witness(self.witness.clone())
                .seed(dice.random())
                .application("simulated")
                .user(user(self.index))
                .host(format!("application-{}", self.index))
                .project("simulation")
                // Else a seed would be another on each machine that runs it.
                .hostids(Vec::new())
                .pid(self.index as u32)
                .build()
                .expect("the settings are good");
            let (index, desk) = (self.index, self.desk.clone());
            let dice = StdRng::seed_from_u64(dice.random());
            let (held, tickets) = (Vec::new(), Vec::new());
            Life { index, desk, dice, client, held, tickets }.live().await;
        }
    }
}

impl Life {
    /// One process' worth of checkouts.
    async fn live(mut self) {
        let mut left: u32 = self.dice.random_range(5..40);
        while left > 0 && self.desk.phase() != Phase::Quiet {
            if self.desk.is_still(self.index) {
                self.look_at_tickets();
                sleep(LOOK).await;
                continue;
            }
            left -= 1;
            self.look_at_tickets();
            let has_room = self.held.len() + self.tickets.len() < HELD_MAX;
            match self.dice.random_range(0..100) {
                0..32 if has_room => self.take().await,
                32..36 if has_room => self.change_its_mind().await,
                36..48 if has_room && self.tickets.len() < TICKETS_MAX => self.queue_up(),
                48..54 => self.wait_for_its_turn().await,
                54..56 => self.give_up(),
                56..59 if self.desk.loans(self.index) < LOANS_MAX => self.borrow().await,
                59..62 => self.return_loan().await,
                62..76 => self.give_back().await,
                76..79 => self.drop_one(),
                79..81 => self.lie_idle(),
                81..85 => self.rest(2_000).await,
                85 => self.rest(12_000).await,
                _ => self.rest(400).await,
            }
        }
        if self.desk.phase() == Phase::Quiet && self.dice.random() {
            sleep(LINGER).await;
        }
        if self.desk.phase() == Phase::Quiet || self.dice.random() {
            while !self.held.is_empty() {
                self.give_back().await;
            }
        }
        if self.desk.phase() == Phase::Quiet {
            self.finish().await;
        }
        // It uses nothing any more, whether it says so or is gone.
        let held = std::mem::take(&mut self.held);
        let unused: Vec<_> =
            held.into_iter().filter_map(|n| self.desk.give_up(self.index, n)).collect();
        if self.dice.random() {
            self.client.close().await;
        }
        drop(unused);
    }

    /// Everybody returns what is lent, and whoever waits is served.
    async fn finish(&mut self) {
        // Some let theirs run out: then nothing but the date ends them.
        while self.dice.random_range(0..3) > 0 {
            let Some(loan) = self.desk.end_loan(self.index) else { break };
            self.bring_back(loan).await;
        }
        let mut left = TURN_LIMIT + self.desk.longer_lease;
        while !self.tickets.is_empty() || !self.held.is_empty() {
            self.look_at_tickets();
            self.give_back().await;
            if left.is_zero() {
                self.desk.waits_in_vain(self.index);
                // Who waits no more is not to be served later.
                self.tickets.clear();
                break;
            }
            let step = left.min(LOOK);
            sleep(step).await;
            left -= step;
        }
        // With its session open, so that a seat which it does not know of shows.
        sleep(IDLE).await;
    }

    async fn rest(&mut self, ms: u64) {
        let rest = Duration::from_millis(self.dice.random_range(1..ms));
        self.pass(rest).await;
    }

    /// Lets time pass: the more, the calmer the world is.
    async fn pass(&mut self, time: Duration) {
        let mut rest = time * self.desk.calm;
        while !rest.is_zero() && self.desk.phase() != Phase::Quiet {
            if self.desk.phase() == Phase::Healed {
                // Whoever sleeps now does not notice that it is served again.
                rest = rest.min(LOOK);
            }
            let step = rest.min(LOOK);
            sleep(step).await;
            rest -= step;
            self.look_at_tickets();
        }
    }

    /// What is asked for next. Who asks is active.
    fn wish(&mut self) -> Vec<Item> {
        self.is_active();
        let mut wish = Vec::new();
        for (feature, seats) in FEATURES {
            if self.dice.random_range(0..100) < 40 {
                let seats = self.dice.random_range(1..=seats.min(2));
                wish.push(Item { feature: feature.into(), version: String::new(), seats });
            }
        }
        if wish.is_empty() {
            let (feature, _) = FEATURES[0];
            wish.push(Item { feature: feature.into(), version: String::new(), seats: 1 });
        }
        wish
    }

    async fn take(&mut self) {
        let wish = self.wish();
        let answer = self.client.checkout_all(wish.clone()).await;
        self.took(answer, &wish, "checkout").await;
    }

    async fn took(&mut self, answer: Result<Checkout, Error>, wish: &[Item], how: &str) {
        if !self.note(answer, wish, how) {
            self.pass(TRY_AGAIN).await;
        }
    }

    /// Who asks for seats is active.
    fn is_active(&self) {
        self.desk.user_is(self.index, true);
    }

    /// Nobody is told this who asks as the library does.
    fn complain_of(&self, error: &Error) {
        let Error::Denied(refusal) = error else { return };
        if NEVER_TOLD.contains(&refusal.reason()) {
            self.desk.complain(format!("P3: application {} is told: {refusal}", self.index));
        }
    }

    /// Notes what came of a request; false if no seats.
    fn note(&mut self, answer: Result<Checkout, Error>, wish: &[Item], how: &str) -> bool {
        let outcome = match &answer {
            Ok(_) => "granted",
            Err(Error::Denied(refusal)) if refusal.reason() == Reason::QueueTimedOut => "timed_out",
            Err(Error::Denied(_)) => "denied",
            Err(_) => "unanswered",
        };
        self.desk.figures.count(&format!("{how}.{outcome}"));
        match answer {
            Ok(checkout) => {
                let granted = checkout.items().iter().map(|i| (i.feature.as_str(), i.seats));
                if !granted.eq(wish.iter().map(|i| (i.feature.as_str(), i.seats))) {
                    let (index, items) = (self.index, checkout.items());
                    let what =
                        format!("P3: application {index} asks for {wish:?} and has {items:?}");
                    self.desk.complain(what);
                }
                self.held.push(self.desk.take(self.index, checkout));
                return true;
            }
            Err(error @ Error::Denied(_)) => {
                self.complain_of(&error);
                self.desk.denied(self.index);
            }
            Err(_) => {}
        }
        false
    }

    /// Asks, and does not wait for the answer.
    async fn change_its_mind(&mut self) {
        let wish = self.wish();
        let patience = Duration::from_millis(self.dice.random_range(1..60));
        match timeout(patience, self.client.checkout_all(wish.clone())).await {
            Ok(answer) => self.took(answer, &wish, "checkout").await,
            Err(_) => self.desk.figures.count("checkout.abandoned"),
        }
    }

    fn queue_up(&mut self) {
        let timeout_ms = self.dice.random_range(200..12_000);
        let timeout = self.dice.random::<bool>().then(|| Duration::from_millis(timeout_ms));
        let priority = self.dice.random_range(0..4);
        let priority = self.dice.random::<bool>().then_some(priority);
        let wish = self.wish();
        if let Ok(ticket) = self.client.queue(wish.clone(), Wait { timeout, priority }) {
            self.desk.figures.count("queue.asked");
            self.tickets.push((ticket, wish));
        }
    }

    /// Takes what was granted to those of its requests that wait.
    fn look_at_tickets(&mut self) {
        for (mut ticket, wish) in std::mem::take(&mut self.tickets) {
            match ticket.granted().now_or_never() {
                None => self.tickets.push((ticket, wish)),
                Some(answer) => drop(self.note(answer, &wish, "queue")),
            }
        }
    }

    async fn wait_for_its_turn(&mut self) {
        let Some((mut ticket, wish)) = self.tickets.pop() else { return };
        let looks = self.dice.random_range(1..30);
        for _ in 0..looks {
            if let Ok(answer) = timeout(LOOK, ticket.granted()).await {
                return self.took(answer, &wish, "queue").await;
            }
            if self.desk.phase() != Phase::Chaos {
                break;
            }
        }
        self.tickets.push((ticket, wish));
    }

    fn give_up(&mut self) {
        if self.tickets.pop().is_some() {
            self.desk.figures.count("queue.given_up");
        }
    }

    async fn borrow(&mut self) {
        let seats = self.dice.random_range(1..3);
        let item = Item { feature: LENT.into(), version: String::new(), seats };
        let length = Duration::from_millis(self.dice.random_range(500..8_000));
        self.is_active();
        self.desk.asks_about_a_loan(self.index);
        // Some do not wait for the answer: what is lent to nobody is returned.
        let patience = match self.dice.random_range(0..8) {
            0 => Duration::from_millis(self.dice.random_range(1..60)),
            _ => PATIENCE,
        };
        let answer = self.client.borrow(vec![item], BorrowEnd::For(length));
        let answer = timeout(patience, answer).await;
        self.desk.has_asked(self.index, matches!(answer, Ok(Ok(_) | Err(Error::Denied(_)))));
        match answer {
            Ok(Ok(loan)) => {
                self.desk.figures.count("loans.granted");
                self.desk.lent(self.index, &loan, length);
            }
            Ok(Err(error @ Error::Denied(_))) => {
                self.complain_of(&error);
                if error.reason() == Some(Reason::BorrowTooLong) {
                    self.desk.lent_too_long(self.index, length);
                }
                self.desk.figures.count("loans.denied");
                self.desk.denied(self.index);
            }
            Ok(Err(_)) => self.desk.figures.count("loans.unanswered"),
            Err(_) => self.desk.figures.count("loans.abandoned"),
        }
    }

    /// Gives back what is lent to it, or, once in a while, to somebody else.
    async fn return_loan(&mut self) {
        if self.dice.random_range(0..4) == 0 {
            let drawn = self.dice.random();
            if let Some(checkout) = self.desk.loan_of_another(self.index, drawn) {
                // The model knows what to say to that.
                drop(self.client.return_borrowed(checkout).await);
            }
            return;
        }
        let Some(loan) = self.desk.end_loan(self.index) else { return };
        self.desk.figures.count("loans.returned");
        self.bring_back(loan).await;
    }

    async fn bring_back(&mut self, loan: u64) {
        self.desk.asks_about_a_loan(self.index);
        let is_back = self.client.return_borrowed(loan).await.is_ok();
        self.desk.has_asked(self.index, is_back);
        if is_back {
            self.desk.returned(loan);
        }
    }

    fn lie_idle(&mut self) {
        match self.dice.random() {
            true => {
                let idle = Duration::from_millis(self.dice.random_range(0..3_000));
                self.desk.user_is(self.index, false);
                self.client.set_idle(idle);
            }
            false => {
                self.is_active();
                self.client.set_active();
            }
        }
    }

    fn pick(&mut self) -> Option<Checkout> {
        if self.held.is_empty() {
            return None;
        }
        let number = self.held.swap_remove(self.dice.random_range(0..self.held.len()));
        self.desk.give_up(self.index, number)
    }

    async fn give_back(&mut self) {
        let Some(checkout) = self.pick() else { return };
        let id = checkout.id();
        self.desk.figures.count("checkout.returned");
        if checkout.give_back().await.is_ok() {
            self.desk.returned(id);
        }
    }

    fn drop_one(&mut self) {
        if let Some(checkout) = self.pick() {
            self.desk.figures.count("checkout.dropped");
            drop(checkout);
        }
    }
}
