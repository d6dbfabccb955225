//! What a site has: a license of any terms, and a policy.

use triad_license::{Binding, issue};
use triad_proto::v1;

use crate::cluster::{Cluster, START_LIMIT};
use crate::wait;

/// The license `site` for this cluster with these lines, as TOML text.
///
/// # Panics
///
/// If it cannot be issued.
pub fn license(cluster: &Cluster, serial: u64, lines: &str) -> String {
    let Binding::Cluster(id) = cluster.draft().binding else {
        unreachable!("the tests' licenses are bound to the cluster")
    };
    let text = format!(
        "license = \"site\"\npublisher = \"Triad tests\"\nserial = {serial}\n\n\
         [binding]\ncluster = \"{id}\"\n\n{lines}"
    );
    issue(&text, &[&cluster.publisher]).expect("the tests write good licenses")
}

/// One permanent line of version 1, with more terms.
pub fn line(feature: &str, seats: u32, terms: &str) -> String {
    format!(
        "[[feature]]\nname = \"{feature}\"\nversion = \"1\"\nexpires = \"permanent\"\n\
         seats = {seats}\n{terms}\n\n"
    )
}

/// Puts a policy in force, and says its version.
///
/// # Panics
///
/// If it is refused.
pub async fn apply_policy(cluster: &Cluster, text: &str) -> u64 {
    let look = async || {
        let mut admin = cluster.admin(cluster.leader().await);
        let request = v1::ApplyPolicyRequest { text: text.to_owned(), base_version: None };
        match admin.apply_policy(cluster.authorized(request)).await {
            Ok(applied) => Ok(applied.into_inner().version),
            Err(status) => {
                let refusal = v1::Refusal::from_status(&status);
                assert!(refusal.retryable, "the policy is refused: {refusal:?}");
                Err(refusal.to_string())
            }
        }
    };
    wait::until("the policy is in force", START_LIMIT, look).await
}

/// Who waits, in the order of their places, as the leader confirms it.
pub async fn queue(cluster: &Cluster) -> Vec<v1::QueueEntry> {
    let look = async || {
        let leader = cluster.sightings().await.leader().ok_or("nobody leads")?;
        let request = cluster.authorized(v1::ListQueueRequest::default());
        let answer = cluster.admin(leader).list_queue(request).await.map_err(|s| s.to_string())?;
        let answer = answer.into_inner();
        let is_fresh = answer.freshness.is_some_and(|freshness| freshness.linearizable);
        is_fresh.then_some(answer.entries).ok_or_else(|| "stale".to_owned())
    };
    let mut entries = wait::until("the leader lists its queue", START_LIMIT, look).await;
    entries.sort_by_key(|entry| entry.place);
    entries
}
