//! Honest clients, who check out and in all the time and expect an answer to
//! everything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use triad_client::{Checkout, Client, State};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, wait};

/// How long it may take until each honest client was answered some times more,
/// on a machine of two processors that the attacker uses too.
const ANSWERS_LIMIT: Duration = Duration::from_secs(60);

/// What one client saw.
#[derive(Default)]
struct Seen {
    rounds: AtomicU64,
    times: Mutex<Vec<Duration>>,
    errors: Mutex<Vec<String>>,
}

/// Some of them, and one who holds a seat through everything.
pub struct Honest {
    seen: Vec<Arc<Seen>>,
    holder: (Client, Checkout),
    _tasks: JoinSet<()>,
}

impl Honest {
    pub async fn start(cluster: &Cluster, count: usize) -> Self {
        let client = cluster.client().user("holder").build().unwrap();
        let seat = client.checkout(FEATURE, "", 1).await.unwrap();
        let mut tasks = JoinSet::new();
        let mut all = Vec::new();
        for n in 1..=count {
            let client =
                cluster.client().user(format!("honest{n}")).checkout_timeout(ANSWERS_LIMIT);
            let client = client.build().unwrap();
            let seen = Arc::new(Seen::default());
            all.push(seen.clone());
            tasks.spawn(async move {
                loop {
                    let began = Instant::now();
                    let round = async { client.checkout(FEATURE, "", 1).await?.give_back().await };
                    if let Err(error) = round.await {
                        seen.errors.lock().unwrap().push(error.to_string());
                    }
                    seen.times.lock().unwrap().push(began.elapsed());
                    seen.rounds.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Honest { seen: all, holder: (client, seat), _tasks: tasks }
    }

    /// Waits until each of them was answered `rounds` times more.
    pub async fn are_answered(&self, rounds: u64) {
        let at = |seen: &Arc<Seen>| seen.rounds.load(Ordering::Relaxed);
        let before: Vec<u64> = self.seen.iter().map(at).collect();
        let look = async || {
            let now: Vec<u64> = self.seen.iter().map(at).collect();
            let all = before.iter().zip(&now).all(|(before, now)| now - before >= rounds);
            all.then_some(()).ok_or_else(|| format!("{before:?}, then {now:?} rounds"))
        };
        wait::until("honest clients are answered", ANSWERS_LIMIT, look).await;
    }

    /// The times of a checkout and its return since this was last asked, for
    /// people; and that none failed and no seat was lost.
    pub fn times(&self) -> String {
        let mut times: Vec<Duration> = Vec::new();
        for seen in &self.seen {
            let errors = seen.errors.lock().unwrap();
            assert!(errors.is_empty(), "honest clients were refused: {errors:?}");
            times.append(&mut seen.times.lock().unwrap());
        }
        assert!(!matches!(self.holder.1.state(), State::Lost { .. }), "an honest seat is lost");
        times.sort();
        let last = times.len().saturating_sub(1);
        let at = |percent: usize| times.get((times.len() * percent / 100).min(last));
        let at = |percent| at(percent).map_or(0, Duration::as_millis);
        format!("{} rounds, ms p50 {} p99 {} max {}", times.len(), at(50), at(99), at(100))
    }

    /// How many sessions they have.
    pub fn sessions(&self) -> u64 {
        self.seen.len() as u64 + 1
    }
}
