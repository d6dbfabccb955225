//! The seats as the log tells them, counted by a few lines that know nothing of
//! the ledger's own.

use std::collections::BTreeMap;

use triad_ledger::names::{RequestId, SessionId};
use triad_ledger::{Answer, Command, Grant, Outcome};

/// See the module.
#[derive(Default)]
pub struct Model {
    licensed: BTreeMap<String, u64>,
    open: BTreeMap<u64, Open>,
    held: BTreeMap<String, u64>,
    /// The first answer to each request that was granted.
    granted: BTreeMap<(SessionId, RequestId), u64>,
    /// Checkouts are numbered upwards.
    last_checkout: u64,
    pub grants: u64,
    pub denials: u64,
    pub ends: u64,
}

struct Open {
    session: SessionId,
    items: Vec<(String, u64)>,
}

impl Model {
    pub fn new(licensed: &[(&str, u32)]) -> Self {
        let licensed = licensed.iter().map(|(name, seats)| (name.to_string(), u64::from(*seats)));
        Model { licensed: licensed.collect(), ..Model::default() }
    }

    /// Follows one command of the log; says what cannot be.
    pub fn apply(&mut self, command: &Command, answer: &Answer) -> Result<(), String> {
        match (command, answer) {
            (Command::Checkout { session, request, .. }, Ok(Outcome::Granted(grant))) => {
                self.grant(*session, *request, grant)
            }
            (Command::Checkout { .. }, Err(_)) => {
                self.denials += 1;
                Ok(())
            }
            (Command::Checkin { checkout, .. }, Ok(Outcome::Returned { .. })) => {
                self.give_back(checkout.0);
                Ok(())
            }
            (Command::Close { session }, Ok(_)) => {
                self.end(*session);
                Ok(())
            }
            (Command::End { session, .. }, Ok(Outcome::Ended { .. })) => {
                self.ends += 1;
                self.end(*session);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn grant(&mut self, session: SessionId, id: RequestId, grant: &Grant) -> Result<(), String> {
        let checkout = grant.checkout.0;
        match self.granted.get(&(session, id)) {
            // The first answer, given again.
            Some(first) if *first == checkout => return Ok(()),
            Some(first) => {
                return Err(format!(
                    "P3: request {} was answered with checkout {first} and then with {checkout}",
                    id.0
                ));
            }
            None if checkout <= self.last_checkout => {
                return Err(format!("P3: checkout {checkout} answers two requests"));
            }
            None => {}
        }
        self.granted.insert((session, id), checkout);
        self.last_checkout = checkout;
        self.grants += 1;
        let items: Vec<_> = grant
            .items
            .iter()
            .map(|item| (item.feature.as_str().to_owned(), u64::from(item.seats.get())))
            .collect();
        for (feature, seats) in &items {
            let held = self.held.entry(feature.clone()).or_default();
            *held += seats;
            let licensed = self.licensed.get(feature).copied().unwrap_or(0);
            if *held > licensed {
                return Err(format!("P1: {held} of {licensed} seats of {feature} are held"));
            }
        }
        self.open.insert(checkout, Open { session, items });
        Ok(())
    }

    fn give_back(&mut self, checkout: u64) {
        for (feature, seats) in self.open.remove(&checkout).into_iter().flat_map(|o| o.items) {
            *self.held.get_mut(&feature).expect("it was granted") -= seats;
        }
    }

    fn end(&mut self, session: SessionId) {
        let of_it = self.open.iter().filter(|(_, open)| open.session == session);
        let of_it: Vec<u64> = of_it.map(|(id, _)| *id).collect();
        for checkout in of_it {
            self.give_back(checkout);
        }
    }

    pub fn is_open(&self, checkout: u64) -> bool {
        self.open.contains_key(&checkout)
    }

    pub fn held(&self) -> u64 {
        self.held.values().sum()
    }

    /// Whose seats are held, for a message.
    pub fn holders(&self) -> String {
        let holder = |(id, open): (&u64, &Open)| format!("{id} of session {:?}", open.session);
        self.open.iter().map(holder).collect::<Vec<_>>().join(", ")
    }

    pub fn licensed(&self, feature: &str) -> u64 {
        self.licensed.get(feature).copied().unwrap_or(0)
    }
}
