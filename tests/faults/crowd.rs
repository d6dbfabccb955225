//! Clients that never stop: some keep one seat throughout, some take and return
//! seats as fast as they are told to, some compete for fewer seats than they are.
//! All of them write into the oracle's book.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::transport::Channel;
use triad_client::{Client, State};
use triad_proto::v1::StatusRequest;
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_tests::cluster::FEATURE;
use triad_tests::history::{Checked, Read};
use triad_tests::{Holders, Lab, Options, wait};

use crate::book::Book;
use crate::figures::{self, Figures};

/// The feature of which there are fewer seats than clients that want one.
pub const SCARCE: &str = "mesher";
const SCARCE_SEATS: u32 = 3;
const KEEPERS: usize = 12;
const MOVERS: usize = 8;
const RIVALS: usize = 6;
/// A client begins a cycle so often at most. Together some hundred operations a
/// second, as much as two processors do beside three nodes.
const CYCLE: Duration = Duration::from_millis(40);
/// How long a seat is held in a cycle.
const HOLD: Duration = Duration::from_millis(5);
/// Between two looks at one node.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// The lease of every session, and so the longest time in which nobody may be
/// served while two nodes are well: after that it costs seats. It is a second or
/// two on a machine that has nothing else to do; the figures are printed.
pub const LEASE: Duration = Duration::from_secs(20);
/// How long clients may take to be served again when the cluster is well.
pub const RECOVERY_LIMIT: Duration = Duration::from_secs(30);

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Take and return.
    Go,
    /// Keep what you are granted next.
    Hold,
    /// Return it, and do nothing until told otherwise.
    Rest,
    /// Return it and stop.
    Stop,
}

/// Options of a lab with a crowd.
pub fn options() -> Options {
    Options {
        lease: LEASE,
        features: vec![(FEATURE.into(), 100), (SCARCE.into(), SCARCE_SEATS)],
        more_config: raft_config(""),
        ..Options::default()
    }
}

/// Settings of `[raft]`: these, and no log is purged, so that it can be checked.
pub fn raft_config(more: &str) -> String {
    format!("[raft]\nsnapshot_entries = 1000000\n{more}")
}

/// All of them.
pub struct Crowd {
    keepers: Holders,
    book: Arc<Mutex<Book>>,
    order: watch::Sender<Order>,
    clients: JoinSet<()>,
    watchers: JoinSet<()>,
    began: Instant,
    checked: Checked,
}

impl Crowd {
    /// They begin.
    pub async fn start(lab: &Lab) -> Self {
        let seats = BTreeMap::from([(FEATURE, 100), (SCARCE, SCARCE_SEATS as usize)]);
        let book = Arc::new(Mutex::new(Book::new(seats)));
        let keepers = Holders::seat(lab, KEEPERS).await;
        let order = watch::Sender::new(Order::Go);
        let (mut clients, mut watchers) = (JoinSet::new(), JoinSet::new());
        for (count, feature) in [(MOVERS, FEATURE), (RIVALS, SCARCE)] {
            for n in 0..count {
                let user = format!("{feature}{n}");
                let client = lab.client().user(&user).build().unwrap();
                let member = Member { user, client, feature, book: book.clone() };
                clients.spawn(member.run(order.subscribe()));
            }
        }
        for (n, node) in lab.nodes.iter().enumerate() {
            watchers.spawn(watch_node(
                node.name.clone(),
                lab.channel(n),
                book.clone(),
                lab.clock(),
            ));
        }
        let crowd = Crowd {
            keepers,
            book,
            order,
            clients,
            watchers,
            began: Instant::now(),
            checked: Checked::default(),
        };
        crowd.until_served(100).await;
        crowd.book().forget_gaps();
        crowd
    }

    /// The oracle's book.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no panic while held")
    }

    /// Waits until so many more seats were granted, and says how long that took.
    pub async fn until_served(&self, more: u64) -> Duration {
        let began = Instant::now();
        let wanted = self.book().tally.grants + more;
        let look = async || {
            let book = self.book();
            if book.tally.grants >= wanted {
                return Ok(());
            }
            let missing = wanted - book.tally.grants;
            Err(format!(
                "{} of {more} granted; {}; {:?}",
                more - missing,
                book.tally,
                book.violations.last()
            ))
        };
        wait::until("the crowd is served", RECOVERY_LIMIT, look).await;
        began.elapsed()
    }

    /// Goes on for so long, whatever happens; the fault is meant to last.
    pub async fn go_on(&self, time: Duration) {
        sleep_until(Instant::now() + time).await;
    }

    /// For so long only the keepers are there, with their heartbeats: nothing is
    /// written.
    pub async fn rest(&self, time: Duration) {
        self.order.send_replace(Order::Rest);
        self.go_on(time).await;
        self.order.send_replace(Order::Go);
        self.book().forget_gaps();
    }

    /// Waits until each keeper is connected and holds its seat.
    pub async fn until_held(&self) {
        self.keepers.until_held(RECOVERY_LIMIT).await;
    }

    /// P2, P3, P5: everybody holds on to a seat, and the ledger has each of them
    /// and no other.
    pub async fn audit(&self, lab: &Lab) {
        self.order.send_replace(Order::Hold);
        let look = async || {
            let book = self.book();
            let (holding, wanted) = (book.believed().len(), MOVERS + SCARCE_SEATS as usize);
            if holding == wanted { Ok(()) } else { Err(format!("{holding} of {wanted} hold")) }
        };
        wait::until("everybody holds a seat", RECOVERY_LIMIT, look).await;
        let look = async || {
            let listed = lab.checkouts().await.into_iter();
            let user = |row: triad_proto::v1::CheckoutInfo| row.holder.unwrap_or_default().user;
            let listed: BTreeMap<u64, String> = listed.map(|(id, row)| (id, user(row))).collect();
            let mut held = self.book().believed();
            held.extend(self.keepers.0.iter().map(|k| (k.seat.id(), k.user.clone())));
            let extra: Vec<_> =
                listed.iter().filter(|row| held.get(row.0) != Some(row.1)).collect();
            let lost: Vec<_> = held.iter().filter(|row| listed.get(row.0) != Some(row.1)).collect();
            if extra.is_empty() && lost.is_empty() {
                return Ok(());
            }
            Err(format!("only in the ledger: {extra:?}; only with the clients: {lost:?}"))
        };
        // A seat whose grant nobody heard of is on its way back.
        wait::until("the ledger has what was granted", RECOVERY_LIMIT, look).await;
        self.order.send_replace(Order::Go);
        // An audit is not a gap.
        self.book().forget_gaps();
    }

    /// They stop, and all that was promised is checked: the keepers have their
    /// seats (P2, P5), nobody has any other (P3), the three ledgers are equal
    /// (P7), nothing was wrong on the way, and all that clients were told is what
    /// the committed log says, in the order of time.
    pub async fn finish(mut self, what: &str, mut lab: Lab) {
        lab.settled().await;
        self.until_held().await;
        self.audit(&lab).await;
        self.order.send_replace(Order::Stop);
        let stopped = timeout(RECOVERY_LIMIT, async {
            while let Some(ended) = self.clients.join_next().await {
                ended.expect("no client panics");
            }
        });
        stopped.await.expect("the clients stop");
        lab.until_checkouts(KEEPERS, RECOVERY_LIMIT).await;
        self.keepers.assert_kept(&lab).await;
        let (index, _) = lab.equal_ledgers().await;
        self.watchers.shutdown().await;
        let time = self.began.elapsed();
        self.say(what, time, index);
        let reads = {
            let mut book = self.book();
            assert!(book.violations.is_empty(), "{:#?}", book.violations);
            std::mem::take(&mut book.reads)
        };
        let leader = lab.settled().await;
        let stopping = lab.others(leader).into_iter().find(|n| lab.nodes[*n].runs());
        let checked = lab.check_history(stopping.expect("two nodes run"), reads).await;
        self.checked = checked;
        println!(
            "{what}: the history is linearizable: {} answered, {} unknown, {} reads, {} entries",
            checked.answered, checked.unknown, checked.reads, checked.entries
        );
    }

    fn say(&self, what: &str, time: Duration, index: u64) {
        let book = self.book();
        let operations = book.figures().operations;
        println!(
            "{what}: {operations} operations in {time:.1?} ({:.0}/s) to entry {index}: {}; {} \
             violations",
            operations as f64 / time.as_secs_f64(),
            book.tally,
            book.violations.len(),
        );
    }
}

impl Drop for Crowd {
    /// However it came to its end.
    fn drop(&mut self) {
        let Checked { unknown, entries, .. } = self.checked;
        let (unknown, entries) = (unknown as u64, entries as u64);
        figures::note(Figures { unknown, entries, ..self.book().figures() });
    }
}

/// A client that takes and returns.
struct Member {
    user: String,
    client: Client,
    feature: &'static str,
    book: Arc<Mutex<Book>>,
}

impl Member {
    async fn run(self, mut order: watch::Receiver<Order>) {
        while *order.borrow_and_update() != Order::Stop {
            let next = Instant::now() + CYCLE;
            let rested = order.wait_for(|order| *order != Order::Rest).await.map(|order| *order);
            if rested.expect("the crowd outlives its members") == Order::Stop {
                return;
            }
            match self.client.checkout(self.feature, "", 1).await {
                Err(error) => self.book().refused(&self.user, &error),
                Ok(seat) => {
                    let seat = Arc::new(seat);
                    self.book().granted(self.feature, &self.user, &seat);
                    sleep_until(Instant::now() + HOLD).await;
                    let held = order.wait_for(|order| *order != Order::Hold).await.map(drop);
                    held.expect("the crowd outlives its members");
                    self.give_back(seat).await;
                }
            }
            sleep_until(next).await;
        }
    }

    async fn give_back(&self, seat: Arc<triad_client::Checkout>) {
        let was_believed = self.book().returning(seat.id());
        let seat = Arc::into_inner(seat).expect("the book has let go of it");
        let state = seat.state();
        match seat.give_back().await {
            Ok(()) => self.book().returned(),
            // Nobody said so in time, and the library goes on returning it.
            Err(triad_client::Error::Lost(_) | triad_client::Error::Unavailable(_)) => {}
            // P2: what was granted is there to be returned.
            Err(error) if was_believed && !matches!(state, State::Lost { .. }) => {
                self.book().complain(format!("{} cannot return its seat: {error}", self.user));
            }
            Err(_) => {}
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no panic while held")
    }
}

/// Looks at one node, for as long as the test runs.
async fn watch_node(
    name: String,
    channel: Channel,
    book: Arc<Mutex<Book>>,
    clock: impl Fn() -> Duration,
) {
    let mut admin = AdminServiceClient::new(channel);
    loop {
        let next = Instant::now() + LOOK_INTERVAL;
        let known = book.lock().expect("no panic while held").confirmed_index();
        let invoked = clock();
        let asked = timeout(LOOK_TIMEOUT, admin.status(StatusRequest {})).await;
        if let Ok(Ok(answer)) = asked {
            let status = answer.into_inner();
            let freshness = status.freshness.unwrap_or_default();
            let mut book = book.lock().expect("no panic while held");
            book.hashed(&name, freshness.index, &status.state_hash);
            if freshness.linearizable {
                let read = Read { invoked, returned: clock(), index: freshness.index };
                book.confirmed(&name, known, read);
            }
        }
        sleep_until(next).await;
    }
}
