//! What the clients of one process owe each other. Ten thousand of them may lose their leader at
//! the same moment: they connect in turn, and what one of them has found out, the others do not
//! find out once more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use triad_proto::net::SharedNetwork;
use triad_proto::v1::{Reason, Refusal};

use crate::connections::{Connected, Connecting};
use crate::route::Failed;

/// Connections to one node that are under way at once; the next wait. With more, each would take
/// so long that nodes give up connections on which nothing was said yet.
const UNDER_WAY_MAX: usize = 128;
/// A connection that takes longer than this lets the next begin: it does not wait for this process.
const UNDER_WAY_TIME: Duration = Duration::from_millis(250);
/// Who waited for so long connects all the same: others may stand still where it is their turn.
const TURN_TIME: Duration = Duration::from_secs(5);
/// For how long it counts what one client found out: a node may come back, and another may lead.
const FRESH: Duration = Duration::from_millis(500);
/// Leaders whose successor is remembered: a process has few clusters.
const SUCCESSORS_MAX: usize = 64;

/// By address, and only of those that somebody connects to.
static UNDER_WAY: Mutex<BTreeMap<String, Weak<Semaphore>>> = Mutex::new(BTreeMap::new());

/// Who leads after somebody, by the address of that one.
static SUCCESSORS: Mutex<BTreeMap<String, Successor>> = Mutex::new(BTreeMap::new());

#[derive(Clone)]
struct Successor {
    address: String,
    term: u64,
    /// When it last opened a session for one of them.
    seen: Instant,
}

/// The leader that a client has lost.
#[derive(Clone, Debug)]
pub(crate) struct Lost {
    pub(crate) address: String,
    pub(crate) term: u64,
    /// When the stream to it was open: the process behind it lived then.
    pub(crate) opened_at: Instant,
}

impl Lost {
    /// When anybody in this process was refused by that leader's port first.
    pub(crate) fn is_dead_since(&self, network: &SharedNetwork) -> Option<Instant> {
        network.refused_since(&self.address, self.opened_at)
    }

    /// Somebody else leads instead.
    pub(crate) fn is_followed_by(&self, address: &str, term: u64) {
        let mut all = lock(&SUCCESSORS);
        let known = all.get(&self.address);
        if term <= self.term || known.is_some_and(|known| known.term > term) {
            return;
        }
        if all.len() >= SUCCESSORS_MAX && !all.contains_key(&self.address) {
            let oldest = all.iter().min_by_key(|(_, known)| known.seen);
            oldest.map(|(of, _)| of.clone()).and_then(|of| all.remove(&of));
        }
        let successor = Successor { address: address.to_owned(), term, seen: Instant::now() };
        all.insert(self.address.clone(), successor);
    }

    /// What this process has just found out, and what a node need not be asked for: that it is
    /// dead, or that another one leads since.
    fn known_of(&self, address: &str, network: &SharedNetwork) -> Option<Failed> {
        self.is_dead_since(network)?;
        if address == self.address {
            let lately = Instant::now().checked_sub(FRESH)?;
            network.refused_since(address, lately)?;
            let message = format!("{address} refuses connections");
            let refusal = Refusal::because(Reason::NodeUnreachable, message);
            return Some(Failed { dead: true, ..Failed::because(refusal) });
        }
        let known = lock(&SUCCESSORS).get(&self.address).cloned();
        let is_new = |known: &Successor| known.term > self.term && known.seen.elapsed() < FRESH;
        let Successor { address: leader, term, .. } = known.filter(is_new)?;
        (leader != address).then(|| {
            let message = format!("{leader} leads in term {term}");
            Failed::because(Refusal {
                leader_address: leader,
                leader_term: term,
                ..Refusal::because(Reason::NotLeader, message)
            })
        })
    }
}

/// A connection that waits for its turn among those of this process to the same node.
pub(crate) struct Turn<'a> {
    pub(crate) connecting: Connecting,
    pub(crate) lost: Option<&'a Lost>,
    pub(crate) network: &'a SharedNetwork,
}

impl Turn<'_> {
    /// Connects when it is its turn; unless what others found out meanwhile says that this is of
    /// no use. A connection that stands needs no turn.
    pub(crate) async fn connected(self, address: &str) -> Result<Connected, Failed> {
        let mut connected = self.connecting.connected;
        if let Some(stands) = connected.peek() {
            return stands.clone();
        }
        let places = places(address);
        let place = timeout(TURN_TIME, places.acquire()).await;
        if let Some(known) = self.lost.and_then(|lost| lost.known_of(address, self.network)) {
            return Err(known);
        }
        if let Ok(connected) = timeout(UNDER_WAY_TIME, &mut connected).await {
            return connected;
        }
        drop(place);
        connected.await
    }
}

fn places(address: &str) -> Arc<Semaphore> {
    let mut all = lock(&UNDER_WAY);
    if let Some(places) = all.get(address).and_then(Weak::upgrade) {
        return places;
    }
    all.retain(|_, places| places.strong_count() > 0);
    let places = Arc::new(Semaphore::new(UNDER_WAY_MAX));
    all.insert(address.to_owned(), Arc::downgrade(&places));
    places
}

/// One that panicked has left nothing half done.
fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;
    use futures::future::{BoxFuture, join_all};
    use tokio::sync::watch;
    use triad_proto::net::{Connection, Listener, Network};

    use super::*;

    /// A network in which nobody connects, and whose memory is the test's.
    #[derive(Default)]
    struct Remembered {
        refused: Mutex<Option<Instant>>,
    }

    impl Network for Remembered {
        fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
            async { Err(io::ErrorKind::Unsupported.into()) }.boxed()
        }

        fn bind<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
            async { Err(io::ErrorKind::Unsupported.into()) }.boxed()
        }

        fn refused_since(&self, _: &str, since: Instant) -> Option<Instant> {
            lock(&self.refused).filter(|refused| *refused >= since)
        }
    }

    /// Counts that it was begun, takes its time, and fails.
    fn connecting(begun: &Arc<AtomicUsize>, takes: Duration) -> Connecting {
        let begun = begun.clone();
        let connected = async move {
            begun.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(takes).await;
            Err(Failed::because(Refusal::because(Reason::NodeUnreachable, "nobody connects")))
        };
        let (_, reached) = watch::channel(false);
        Connecting { connected: connected.boxed().shared(), reached }
    }

    fn refusal(connected: Result<Connected, Failed>) -> Refusal {
        connected.err().expect("nobody connects").refusal
    }

    #[tokio::test(start_paused = true)]
    async fn connections_to_one_node_take_turns_and_none_waits_for_a_slow_one() {
        let network: SharedNetwork = Arc::new(Remembered::default());
        let begun = Arc::new(AtomicUsize::new(0));
        let all = (0..UNDER_WAY_MAX + 50).map(|_| {
            let connecting = connecting(&begun, Duration::from_secs(60));
            Turn { connecting, lost: None, network: &network }.connected("in-turn:1")
        });
        let mut all = Box::pin(join_all(all));
        assert!(timeout(UNDER_WAY_TIME / 2, &mut all).await.is_err());
        assert_eq!(begun.load(Ordering::Relaxed), UNDER_WAY_MAX);
        assert!(timeout(UNDER_WAY_TIME, &mut all).await.is_err());
        assert_eq!(begun.load(Ordering::Relaxed), UNDER_WAY_MAX + 50);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_client_found_out_is_not_asked_for_again() {
        let remembered = Arc::new(Remembered::default());
        let network: SharedNetwork = remembered.clone();
        let begun = Arc::new(AtomicUsize::new(0));
        let lost = Lost { address: "found-out:1".into(), term: 3, opened_at: Instant::now() };
        let turn = |lost| {
            let connecting = connecting(&begun, Duration::ZERO);
            Turn { connecting, lost: Some(lost), network: &network }
        };
        // Of a leader that may live nothing is believed.
        lost.is_followed_by("found-out:2", 4);
        refusal(turn(&lost).connected("found-out:1").await);
        refusal(turn(&lost).connected("found-out:3").await);
        assert_eq!(begun.load(Ordering::Relaxed), 2);

        *lock(&remembered.refused) = Some(Instant::now());
        let failed = turn(&lost).connected("found-out:1").await.err().expect("nobody connects");
        assert!(failed.dead, "{failed:?}");
        let elsewhere = refusal(turn(&lost).connected("found-out:3").await);
        assert_eq!((&*elsewhere.leader_address, elsewhere.leader_term), ("found-out:2", 4));
        assert_eq!(begun.load(Ordering::Relaxed), 2);
        refusal(turn(&lost).connected("found-out:2").await);
        assert_eq!(begun.load(Ordering::Relaxed), 3);

        // Who lost a later leader at that address learns nothing from it.
        let later = Lost { term: 4, ..lost.clone() };
        refusal(turn(&later).connected("found-out:3").await);
        assert_eq!(begun.load(Ordering::Relaxed), 4);

        // Nodes come back, and others lead.
        tokio::time::advance(FRESH).await;
        tokio::time::advance(Duration::from_millis(1)).await;
        refusal(turn(&lost).connected("found-out:1").await);
        refusal(turn(&lost).connected("found-out:3").await);
        assert_eq!(begun.load(Ordering::Relaxed), 6);
    }
}
