//! An application with the real client library: takes seats, uses them, returns
//! them, changes its mind, and begins anew.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{sleep, timeout};
use triad_client::{Checkout, Client, Error, Item};
use triad_proto::net::SharedNetwork;

use crate::cluster::{FEATURES, SERVERS};
use crate::desk::{Desk, Phase};

/// How often an application looks whether the phase has changed.
const LOOK: Duration = Duration::from_millis(100);
/// What an application that waits for its turn does between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(300);
/// How long it stays when it has returned everything.
const IDLE: Duration = Duration::from_secs(5);
/// Checkouts of one application at once.
const HELD_MAX: usize = 3;

pub struct Application {
    pub index: usize,
    pub seed: u64,
    pub network: SharedNetwork,
    pub desk: Arc<Desk>,
}

struct Life {
    index: usize,
    desk: Arc<Desk>,
    dice: StdRng,
    client: Client,
    held: Vec<u64>,
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
                .seed(dice.random())
                .application("simulated")
                .user(format!("user-{}", self.index))
                .host(format!("application-{}", self.index))
                .project("simulation")
                .pid(self.index as u32)
                .build()
                .expect("the settings are good");
            let (index, desk) = (self.index, self.desk.clone());
            let dice = StdRng::seed_from_u64(dice.random());
            Life { index, desk, dice, client, held: Vec::new() }.live().await;
        }
    }
}

impl Life {
    /// One process' worth of checkouts.
    async fn live(mut self) {
        let mut left: u32 = self.dice.random_range(5..40);
        while left > 0 && self.desk.phase() != Phase::Quiet {
            left -= 1;
            match self.dice.random_range(0..100) {
                0..45 if self.held.len() < HELD_MAX => self.take().await,
                45..50 if self.held.len() < HELD_MAX => self.change_its_mind().await,
                50..70 => self.give_back().await,
                70..75 => self.drop_one(),
                75..79 => self.rest(2_000).await,
                79 => self.rest(12_000).await,
                _ => self.rest(400).await,
            }
        }
        while !self.held.is_empty() {
            self.give_back().await;
        }
        if self.desk.phase() == Phase::Quiet {
            // With its session open, so that a seat which it does not know of shows.
            sleep(IDLE).await;
        }
        if self.dice.random() {
            self.client.close().await;
        }
    }

    async fn rest(&mut self, ms: u64) {
        let mut rest = Duration::from_millis(self.dice.random_range(1..ms));
        while !rest.is_zero() && self.desk.phase() != Phase::Quiet {
            if self.desk.phase() == Phase::Healed {
                // Whoever sleeps now does not notice that it is served again.
                rest = rest.min(LOOK);
            }
            let step = rest.min(LOOK);
            sleep(step).await;
            rest -= step;
        }
    }

    fn wish(&mut self) -> Vec<Item> {
        let mut wish = Vec::new();
        for (feature, seats) in FEATURES {
            if self.dice.random_range(0..100) < 45 {
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
        let answer = self.client.checkout_all(wish).await;
        self.took(answer).await;
    }

    async fn took(&mut self, answer: Result<Checkout, Error>) {
        match answer {
            Ok(checkout) => self.held.push(self.desk.take(self.index, checkout)),
            Err(Error::Denied(_)) => {
                self.desk.denied(self.index);
                sleep(TRY_AGAIN).await;
            }
            Err(_) => sleep(TRY_AGAIN).await,
        }
    }

    /// Asks, and does not wait for the answer.
    async fn change_its_mind(&mut self) {
        let wish = self.wish();
        let patience = Duration::from_millis(self.dice.random_range(1..60));
        if let Ok(answer) = timeout(patience, self.client.checkout_all(wish)).await {
            self.took(answer).await;
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
        if checkout.give_back().await.is_ok() {
            self.desk.returned(id);
        }
    }

    fn drop_one(&mut self) {
        drop(self.pick());
    }
}
