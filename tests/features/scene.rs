//! What a row sees: the cluster under it, and the moments of the column.
//!
//! ```text
//! a row    sets up ─► last call ─► looks ─► (fault) ─► looks ─► looked ─► (repair) ─► looks, goes on
//!                  gate 0              gate 1              gate 2     gate 3
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{RwLock, mpsc, watch};
use tonic::Status;
use tonic::transport::Channel;
use triad_client::ClientBuilder;
use triad_proto::v1;
use triad_proto::v1::admin_service_client::AdminServiceClient;
use triad_tests::cluster::START_LIMIT;
use triad_tests::{Cluster, wait};

use crate::columns::Ground;
use crate::people::{User, holding};

/// How long the leader may take to confirm an answer.
const ASK_LIMIT: Duration = Duration::from_secs(20);

/// The moments of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    SettingUp,
    /// Every row is set up: the last things happen now.
    LastCall,
    /// The fault begins.
    Striking,
    /// Its consequences are there, and somebody leads.
    Struck,
    /// All rows have looked at that.
    Looked,
    /// All three nodes are well again.
    Repaired,
}

/// What the column waits for, before the last call, the fault, what is done under
/// it, and the repair. A row that is gone, done or failed, holds none of them shut.
pub type Gates = [Option<mpsc::Sender<()>>; GATES];
pub const GATES: usize = 4;

/// One row's view.
pub struct Scene {
    cluster: Arc<RwLock<Ground>>,
    moments: watch::Receiver<Moment>,
    gates: Gates,
}

impl Scene {
    pub fn new(
        cluster: Arc<RwLock<Ground>>,
        moments: watch::Receiver<Moment>,
        gates: Gates,
    ) -> Self {
        Scene { cluster, moments, gates }
    }

    /// The same view for one more row.
    pub fn for_row(&self) -> Self {
        let gates = self.gates.clone();
        Scene { cluster: self.cluster.clone(), moments: self.moments.clone(), gates }
    }

    // The moments.

    async fn pass(&mut self, gate: usize, moment: Moment) {
        self.gates[gate] = None;
        self.reached(moment).await;
    }

    /// Waits for a moment of the column.
    pub async fn reached(&self, moment: Moment) {
        let mut moments = self.moments.clone();
        let reached = moments.wait_for(|now| *now >= moment).await;
        reached.expect("the column goes on");
    }

    /// Everything is set up; returns when that is so for all rows.
    pub async fn last_call(&mut self) {
        self.pass(0, Moment::LastCall).await;
    }

    /// Ready for the fault; returns when it has struck and somebody leads.
    pub async fn fault(&mut self) {
        self.pass(0, Moment::LastCall).await;
        self.pass(1, Moment::Struck).await;
    }

    /// Ready for the fault, and waits for a moment of it.
    pub fn ready_for_fault(&mut self) {
        self.gates[1] = None;
    }

    /// Has looked at the consequences; returns when that is so for all rows.
    pub async fn looked(&mut self) {
        self.pass(2, Moment::Looked).await;
    }

    /// Ready for the repair; returns when all is well.
    pub async fn repair(&mut self) {
        self.gates[2] = None;
        self.pass(3, Moment::Repaired).await;
    }

    /// The same is seen before the fault, with it, and after the repair.
    ///
    /// # Panics
    ///
    /// If something else is seen.
    pub async fn withstands(
        &mut self,
        expected: &[&str],
        look: impl AsyncFn(&Scene) -> Vec<String>,
    ) {
        assert_seen("before the fault", expected, &look(self).await);
        self.fault().await;
        assert_seen("with the fault", expected, &look(self).await);
        self.repair().await;
        assert_seen("after the repair", expected, &look(self).await);
    }

    // The people.

    /// The client library, set up for this cluster.
    pub async fn client(&self) -> ClientBuilder {
        self.cluster.read().await.client()
    }

    /// A user at his own desk.
    pub async fn user(&self, name: &str) -> User {
        self.user_at(name, &format!("desk-of-{name}")).await
    }

    pub async fn user_at(&self, name: &str, host: &str) -> User {
        User::new(self.client().await, name, host)
    }

    pub async fn users<const N: usize>(&self, names: [&str; N]) -> [User; N] {
        let mut users = Vec::new();
        for name in names {
            users.push(self.user(name).await);
        }
        users.try_into().ok().expect("as many users as names")
    }

    // The ledger.

    /// What the leader says, confirmed by a quorum.
    pub async fn confirmed<T>(
        &self,
        what: &str,
        ask: impl AsyncFn(AdminServiceClient<Channel>, Authorize<'_>) -> Result<T, Status>,
        freshness: impl Fn(&T) -> Option<v1::Freshness>,
    ) -> T {
        let look = async || {
            let cluster = self.cluster.read().await;
            let leader = cluster.sightings().await.leader().ok_or("nobody leads")?;
            let answer = ask(cluster.admin(leader), Authorize(&cluster)).await;
            let answer = answer.map_err(|status| status.to_string())?;
            let is_fresh = freshness(&answer).is_some_and(|freshness| freshness.linearizable);
            is_fresh.then_some(answer).ok_or_else(|| "stale".to_owned())
        };
        wait::until(&format!("the leader confirms {what}"), ASK_LIMIT, look).await
    }

    /// Every checkout of a feature.
    pub async fn checkouts(&self, feature: &str) -> Vec<v1::CheckoutInfo> {
        let all = self.cluster.read().await.checkouts().await.into_values();
        let of_feature = |row: &v1::CheckoutInfo| holding(row, feature).is_some();
        all.filter(of_feature).collect()
    }

    /// `queue: ann 1 and ben 2`, or `queue: nobody`, the oldest first.
    pub async fn held(&self, feature: &str) -> String {
        let rows = self.checkouts(feature).await;
        let held: Vec<_> = rows.iter().filter_map(|row| holding(row, feature)).collect();
        match held.is_empty() {
            true => format!("{feature}: nobody"),
            false => format!("{feature}: {}", held.join(" and ")),
        }
    }

    /// Waits until this is what is held.
    pub async fn until_held(&self, expected: &str) {
        let feature = expected.split(':').next().unwrap_or_default();
        let look = async || {
            let held = self.held(feature).await;
            (held == expected).then_some(()).ok_or(held)
        };
        wait::until(expected, ASK_LIMIT, look).await;
    }

    /// The one pool of a feature.
    pub async fn pool(&self, feature: &str) -> v1::Pool {
        let ask = async |mut admin: AdminServiceClient<Channel>, _: Authorize<'_>| {
            let request = v1::ListFeaturesRequest { feature: feature.into(), ..Default::default() };
            Ok(admin.list_features(request).await?.into_inner())
        };
        let answer = self.confirmed("a pool", ask, |answer| answer.freshness).await;
        let mut pools = answer.pools;
        assert_eq!(pools.len(), 1, "{feature}: {pools:?}");
        pools.remove(0)
    }

    /// `tokens: 5 of 7 in use`.
    pub async fn use_of(&self, feature: &str) -> String {
        let v1::Pool { seats_in_use, seats_licensed, overdraft, seats_borrowed, .. } =
            self.pool(feature).await;
        let overdraft = if overdraft > 0 { format!("+{overdraft}") } else { String::new() };
        let lent =
            if seats_borrowed > 0 { format!(", {seats_borrowed} borrowed") } else { String::new() };
        format!("{feature}: {seats_in_use} of {seats_licensed}{overdraft} in use{lent}")
    }

    /// Who waits for a feature, the next to be served first:
    /// `queue: 1 eve, 2 ann, 3 ben`.
    pub async fn queue(&self, feature: &str) -> String {
        let ask = async |mut admin: AdminServiceClient<Channel>, authorize: Authorize<'_>| {
            let request =
                v1::ListQueueRequest { feature: feature.into(), ..v1::ListQueueRequest::default() };
            Ok(admin.list_queue(authorize.0.authorized(request)).await?.into_inner())
        };
        let mut answer = self.confirmed("the queue", ask, |answer| answer.freshness).await;
        answer.entries.sort_by_key(|entry| entry.place);
        let name = |entry: v1::QueueEntry| {
            format!("{} {}", entry.place, entry.holder.unwrap_or_default().user)
        };
        let waiting: Vec<_> = answer.entries.into_iter().map(name).collect();
        match waiting.is_empty() {
            true => format!("{feature}: nobody waits"),
            false => format!("{feature}: {}", waiting.join(", ")),
        }
    }

    // What administrators do.

    /// A short look at the cluster itself. Nobody changes it meanwhile.
    pub async fn cluster(&self) -> tokio::sync::RwLockReadGuard<'_, Ground> {
        self.cluster.read().await
    }

    /// Asks whoever leads now, once, to put a policy in force; its version then.
    pub async fn tries_policy(&self, text: &str) -> Result<u64, String> {
        let leader = self.cluster().await.sightings().await.leader().ok_or("nobody leads")?;
        // The cluster is not held on to: that node may be killed while it answers.
        let (mut admin, request) = {
            let cluster = self.cluster().await;
            let request = v1::ApplyPolicyRequest { text: text.into(), base_version: None };
            (cluster.admin(leader), cluster.authorized(request))
        };
        match admin.apply_policy(request).await {
            Ok(applied) => Ok(applied.into_inner().version),
            Err(status) => {
                let refusal = v1::Refusal::from_status(&status);
                assert!(refusal.retryable, "the policy is refused: {refusal:?}");
                Err(refusal.to_string())
            }
        }
    }

    /// Puts a policy in force, however often that takes, and says its version.
    pub async fn applies_policy(&self, text: &str) -> u64 {
        let look = async || self.tries_policy(text).await;
        wait::until("the policy is in force", START_LIMIT, look).await
    }

    /// Puts a license in force, and says how many seats are held beyond it.
    pub async fn applies_license(&self, text: &str) -> u64 {
        let look = async || {
            let applied = self.cluster().await.apply_license(text).await;
            match applied {
                Ok(applied) => Ok(applied.overage),
                Err(refusal) if refusal.retryable => Err(refusal.to_string()),
                Err(refusal) => panic!("the license is refused: {refusal}"),
            }
        };
        wait::until("the license is in force", START_LIMIT, look).await
    }

    /// What is said to a license that is refused for good.
    pub async fn is_refused_license(&self, text: &str) -> v1::Refusal {
        let look = async || match self.cluster().await.apply_license(text).await {
            Ok(applied) => panic!("the license is taken: {applied:?}"),
            Err(refusal) if refusal.retryable => Err(refusal.to_string()),
            Err(refusal) => Ok(*refusal),
        };
        wait::until("the license is refused", START_LIMIT, look).await
    }
}

/// Writes the administrator's token on a request.
pub struct Authorize<'a>(pub &'a Cluster);

pub fn assert_seen(when: &str, expected: &[&str], seen: &[String]) {
    let listed = |lines: &[&str]| lines.join("\n    ");
    let seen: Vec<&str> = seen.iter().map(String::as_str).collect();
    assert!(
        expected == seen.as_slice(),
        "{when}:\n    {}\n  expected:\n    {}",
        listed(&seen),
        listed(expected)
    );
}
