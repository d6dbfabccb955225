//! The people of a row: users with a client each, who note what they were told,
//! and the words in which a row writes down what it saw.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::timeout;
use triad_client::{Checkout, Client, Error, Item, Place, Refusal, State, Ticket, Wait};
use triad_proto::v1::{CheckoutInfo, CheckoutState};

use crate::site;

/// How long one who waits may take to hear what he is owed.
pub const HEARD_LIMIT: Duration = Duration::from_secs(20);

/// A user at a desk, with a client of his own.
pub struct User {
    pub name: String,
    pub client: Client,
    story: Arc<Mutex<Vec<State>>>,
}

impl User {
    pub fn new(builder: triad_client::ClientBuilder, name: &str, host: &str) -> Self {
        let story = Arc::new(Mutex::new(Vec::new()));
        let told = story.clone();
        let client = builder.user(name).host(host).on_state(move |state| {
            told.lock().expect("no panic while held").push(state.clone());
        });
        let client = client.build().expect("the cluster's own settings");
        User { name: name.into(), client, story }
    }

    /// He is granted seats.
    pub async fn takes(&self, feature: &str, seats: u32) -> Checkout {
        self.takes_all(&[(feature, seats)]).await
    }

    pub async fn takes_all(&self, wanted: &[(&str, u32)]) -> Checkout {
        let taken = self.client.checkout_all(items(wanted)).await;
        taken.unwrap_or_else(|error| panic!("{} is denied {wanted:?}: {error:?}", self.name))
    }

    /// He is denied seats; what he is told.
    pub async fn is_denied(&self, feature: &str, seats: u32) -> String {
        self.is_denied_all(&[(feature, seats)]).await
    }

    pub async fn is_denied_all(&self, wanted: &[(&str, u32)]) -> String {
        match self.client.checkout_all(items(wanted)).await {
            Ok(granted) => panic!("{} is granted {wanted:?}: {:?}", self.name, granted.items()),
            Err(error) => self.says(&error),
        }
    }

    /// What he says of an error.
    pub fn says(&self, error: &Error) -> String {
        let refusal = error.refusal().unwrap_or_else(|| panic!("{}: {error:?}", self.name));
        format!("{}: {}", self.name, in_words(refusal))
    }

    /// He waits for seats, and knows his place.
    pub async fn waits(&self, wanted: &[(&str, u32)]) -> Ticket {
        let ticket = self.client.queue(items(wanted), Wait::default());
        let mut ticket = ticket.unwrap_or_else(|error| panic!("{}: {error:?}", self.name));
        let mut places = ticket.places();
        tokio::select! {
            told = timeout(HEARD_LIMIT, places.wait_for(Option::is_some)) => {
                let what = format!("{} is told a place for {wanted:?}", self.name);
                told.expect(&what).expect(&what);
            }
            answer = ticket.granted() => panic!("{} does not wait: {answer:?}", self.name),
        }
        ticket
    }

    /// He, who waited, is granted his seats now.
    pub async fn is_served(&self, ticket: Ticket) -> Checkout {
        self.is_served_within(ticket, HEARD_LIMIT).await
    }

    pub async fn is_served_within(&self, mut ticket: Ticket, limit: Duration) -> Checkout {
        let served = timeout(limit, ticket.granted()).await;
        let place = ticket.place();
        let served = served.unwrap_or_else(|_| panic!("{} waits in vain, at {place:?}", self.name));
        served.unwrap_or_else(|error| panic!("{} waited and is denied: {error:?}", self.name))
    }

    /// He was never told that his session is lost.
    pub fn lost_nothing(&self) {
        let story = self.story.lock().expect("no panic while held");
        let lost = story.iter().any(|state| matches!(state, State::Lost { .. }));
        assert!(!lost, "{} was told {story:?}", self.name);
    }
}

pub fn items(wanted: &[(&str, u32)]) -> Vec<Item> {
    let item = |(feature, seats): &(&str, u32)| Item {
        feature: (*feature).into(),
        version: String::new(),
        seats: *seats,
    };
    wanted.iter().map(item).collect()
}

/// The place that somebody was told.
pub fn place(ticket: &Ticket) -> u64 {
    ticket.place().map_or(0, |Place { place, .. }| place)
}

/// A "no" with its numbers, without what differs from moment to moment.
pub fn in_words(refusal: &Refusal) -> String {
    let mut words = refusal.reason().as_str_name().trim_start_matches("REASON_").to_owned();
    let mut say = |is_told: bool, what: String| {
        if is_told {
            words.push_str(", ");
            words.push_str(&what);
        }
    };
    let Refusal { seats_in_use, seats_total, seats_wanted, seats_reserved, waiting, .. } = refusal;
    say(!refusal.feature.is_empty(), refusal.feature.clone());
    say(*seats_total > 0, format!("{seats_in_use} of {seats_total} in use"));
    say(*seats_wanted > 0, format!("{seats_wanted} wanted"));
    say(*seats_reserved > 0, format!("{seats_reserved} reserved"));
    say(*waiting > 0, format!("{waiting} wait"));
    let holders = refusal.holders.iter().map(|holder| format!("{} {}", holder.user, holder.seats));
    let holders: Vec<String> = holders.collect();
    say(!holders.is_empty(), format!("held by {}", holders.join(" and ")));
    if refusal.rule_line > 0 {
        let (number, rule) = site::rule_in(refusal.rule_line);
        assert_eq!(refusal.rule_number, number, "{refusal:?}");
        say(true, format!("by {rule}"));
    }
    words
}

/// What one checkout holds of a feature: `ann 2`, `ann 1 lingering`.
pub fn holding(row: &CheckoutInfo, feature: &str) -> Option<String> {
    let seats = row.items.iter().filter(|item| item.feature == feature);
    let seats: u32 = seats.map(|item| item.seats).sum();
    let user = &row.holder.as_ref()?.user;
    let stays = match row.state() {
        _ if row.idle_ms > 0 => " idle",
        CheckoutState::Live => "",
        CheckoutState::Lingering => " lingering",
        CheckoutState::Borrowed => " borrowed",
        CheckoutState::Lost => " lost",
        CheckoutState::Unspecified => " unspecified",
    };
    (seats > 0).then(|| format!("{user} {seats}{stays}"))
}
