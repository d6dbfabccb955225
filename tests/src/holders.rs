//! Clients that hold one seat each through the library, and the check that each
//! still holds exactly the seat it was granted.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::{Instant, timeout};
use triad_client::{Checkout, Client, State};

use crate::cluster::{Cluster, FEATURE};
use crate::wait;

/// How long a process may take to get its seat.
const PROCESS_LIMIT: Duration = Duration::from_secs(20);

/// What a client was told, and when.
pub type Story = Arc<Mutex<Vec<(Instant, State)>>>;

/// A client with one seat.
pub struct Holder {
    /// Its name in the ledger.
    pub user: String,
    /// Its connection.
    pub client: Client,
    /// Its seat.
    pub seat: Checkout,
    /// Every state it was in.
    pub story: Story,
}

impl Holder {
    /// When it was first told that its seat is lost.
    pub fn lost_at(&self) -> Option<Instant> {
        let story = self.story.lock().expect("no panic while held");
        story.iter().find(|(_, state)| matches!(state, State::Lost { .. })).map(|(at, _)| *at)
    }

    /// What it was told, for people: the time since the first word, and the word.
    pub fn told(&self) -> String {
        let story = self.story.lock().expect("no panic while held");
        let mut text = format!("{} was told", self.user);
        let first = story.first().map(|(at, _)| *at);
        for (at, state) in story.iter() {
            let since = first.map_or(Duration::ZERO, |first| *at - first);
            let left = match state {
                State::Reconnecting { deadline } => format!(" for {:.2?}", *deadline - *at),
                _ => String::new(),
            };
            let state = format!("{state:?}");
            let word = state.split([' ', '{']).next().unwrap_or_default();
            text.push_str(&format!(" {since:.2?} {word}{left},"));
        }
        text
    }

    /// Whether it believes in its seat, connected or not.
    pub fn believes(&self) -> bool {
        !matches!(self.seat.state(), State::Lost { .. })
    }
}

/// Some of them.
pub struct Holders(pub Vec<Holder>);

impl Holders {
    /// `count` clients named `user1`, `user2` and so on check out one seat each.
    pub async fn seat(cluster: &Cluster, count: usize) -> Self {
        Self::seat_as(cluster, "user", count).await
    }

    /// The same, named otherwise.
    pub async fn seat_as(cluster: &Cluster, name: &str, count: usize) -> Self {
        let seats = (1..=count).map(|n| holder(cluster, format!("{name}{n}")));
        Holders(join_all(seats).await)
    }

    /// The same of clients who know these servers alone.
    pub async fn seat_at(cluster: &Cluster, servers: &str, name: &str, count: usize) -> Self {
        let seats =
            (1..=count).map(|n| holder_at(cluster, Some(servers.to_owned()), format!("{name}{n}")));
        Holders(join_all(seats).await)
    }

    /// These and some more.
    pub fn and(mut self, more: Holders) -> Holders {
        self.0.extend(more.0);
        self
    }

    /// Waits until each of them is connected and holds its seat.
    ///
    /// # Panics
    ///
    /// If that takes longer than `limit`.
    pub async fn until_held(&self, limit: Duration) {
        let look = async || {
            let others = self.0.iter().filter(|holder| holder.seat.state() != State::Held);
            let others: Vec<&Holder> = others.collect();
            let Some(first) = others.first() else { return Ok(()) };
            Err(format!("{} do not; {}", others.len(), first.told()))
        };
        wait::until("every client holds its seat", limit, look).await;
    }

    /// No client was told of a loss, and the ledger has for each of them the one
    /// checkout that it was granted, and no other.
    ///
    /// # Panics
    ///
    /// If it is otherwise.
    pub async fn assert_kept(&self, cluster: &Cluster) {
        self.assert_kept_among(cluster, &Holders(Vec::new())).await;
    }

    /// The same where some others hold seats besides.
    ///
    /// # Panics
    ///
    /// If it is otherwise.
    pub async fn assert_kept_among(&self, cluster: &Cluster, others: &Holders) {
        let all = || self.0.iter().chain(&others.0);
        for holder in all() {
            assert!(holder.lost_at().is_none(), "{}", holder.told());
        }
        let granted = all().map(|holder| (holder.seat.id(), holder.user.clone()));
        let granted: BTreeMap<u64, String> = granted.collect();
        assert_eq!(granted.len(), all().count(), "one checkout was granted twice");
        let user = |row: triad_proto::v1::CheckoutInfo| row.holder.unwrap_or_default().user;
        let listed = cluster.checkouts().await.into_iter().map(|(id, row)| (id, user(row)));
        let listed: BTreeMap<u64, String> = listed.collect();
        assert_eq!(listed, granted, "the ledger (left) is not what was granted (right)");
    }
}

/// A process of its own that holds a seat: `triad checkout`.
///
/// # Panics
///
/// If it gets none.
pub async fn holder_process(cluster: &Cluster) -> Child {
    let mut command = cluster.command(&format!("checkout {FEATURE}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("triad can be started");
    let stdout = process.stdout.as_mut().expect("it is piped");
    let said = timeout(PROCESS_LIMIT, BufReader::new(stdout).lines().next_line()).await;
    let said = said.expect("it says something in time").expect("it is read");
    assert!(said.as_ref().is_some_and(|line| line.starts_with("holding 1 seat")), "{said:?}");
    process
}

async fn holder(cluster: &Cluster, user: String) -> Holder {
    holder_at(cluster, None, user).await
}

async fn holder_at(cluster: &Cluster, servers: Option<String>, user: String) -> Holder {
    let story = Story::default();
    let told = story.clone();
    let client = servers.into_iter().fold(cluster.client(), |client, one| client.servers(one));
    let client = client.user(&user).on_state(move |state| {
        told.lock().expect("no panic while held").push((Instant::now(), state.clone()));
    });
    let client = client.build().expect("the cluster's own settings");
    let seat = client.checkout(FEATURE, "", 1).await;
    let seat = seat.unwrap_or_else(|error| panic!("{user} gets no seat: {error}"));
    Holder { user, client, seat, story }
}
