//! The usage history: kept by every node, whole, provable, and read in order
//! through failovers.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::timeout;
use triad_client::Reason;
use triad_proto::v1;
use triad_proto::v1::EventKind;
use triad_tests::cluster::{FEATURE, START_LIMIT};
use triad_tests::{Cluster, Options, wait};

/// A node looks every five seconds whether it lacks something.
const FILL_LIMIT: Duration = Duration::from_secs(30);

async fn proof(cluster: &Cluster, n: usize) -> Result<v1::VerifyHistoryResponse, String> {
    let request = cluster.authorized(v1::VerifyHistoryRequest {});
    let proof = cluster.admin(n).verify_history(request).await;
    proof.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
}

/// Waits until the history of a node is whole from its beginning.
async fn until_whole(cluster: &Cluster, n: usize) -> v1::VerifyHistoryResponse {
    let look = async || {
        let proof = proof(cluster, n).await?;
        let whole = proof.faults.is_empty() && proof.first_sequence == 1 && !proof.trimmed;
        if whole { Ok(proof) } else { Err(format!("{proof:?}")) }
    };
    wait::until("the history is whole", FILL_LIMIT, look).await
}

/// All events that a node keeps.
async fn events(cluster: &Cluster, n: usize) -> Vec<v1::HistoryEvent> {
    let request = cluster.authorized(v1::ListEventsRequest::default());
    let mut answers = cluster.admin(n).list_events(request).await.unwrap().into_inner();
    let mut events = Vec::new();
    while let Some(answer) = answers.next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.missing, 0);
        events.extend(answer.events);
    }
    events
}

/// One outcome for each request, whoever leads; the same on every node; and no
/// instant at which more was in use than is licensed.
#[tokio::test]
async fn the_history_is_one_and_whole() {
    let options = Options { features: vec![(FEATURE.into(), 2)], ..Options::default() };
    let mut cluster = Cluster::start(options).await;
    let leader = cluster.settled().await;
    let client = cluster.client().user("ann").project("wing").build().unwrap();
    let (first, second) =
        (client.checkout(FEATURE, "", 1).await.unwrap(), client.checkout(FEATURE, "", 1).await);
    let refused = client.checkout(FEATURE, "", 1).await.unwrap_err();
    assert_eq!(refused.reason(), Some(Reason::LicensesExhausted));
    cluster.nodes[leader].kill9().await;
    first.give_back().await.unwrap();
    let third = client.checkout(FEATURE, "", 1).await.unwrap();
    cluster.nodes[leader].start();
    cluster.settled().await;
    drop(second);
    third.give_back().await.unwrap();
    client.close().await;
    cluster.equal_ledgers().await;

    let mut proofs = Vec::new();
    for n in 0..cluster.nodes.len() {
        proofs.push(until_whole(&cluster, n).await);
    }
    assert!(proofs.iter().all(|proof| proof.recounted_from_sequence == 1), "{proofs:?}");
    let heads: BTreeMap<u64, &str> =
        proofs.iter().map(|proof| (proof.last_sequence, proof.chain.as_str())).collect();
    assert_eq!(heads.len(), 1, "{proofs:?}");

    let told = events(&cluster, leader).await;
    for n in cluster.others(leader) {
        assert_eq!(events(&cluster, n).await, told, "two nodes tell two histories");
    }
    let kinds: Vec<EventKind> = told.iter().map(v1::HistoryEvent::kind).collect();
    let count = |kind| kinds.iter().filter(|k| **k == kind).count();
    let counts = [EventKind::Granted, EventKind::Denied, EventKind::Returned].map(count);
    assert_eq!(counts, [3, 1, 3], "{told:#?}");
    for event in &told {
        let ours = event.holder.as_ref().is_none_or(|h| h.user == "ann" && h.project == "wing");
        assert!(ours, "{event:?}");
        for pool in &event.r#use {
            assert!(pool.seats_in_use <= pool.seats_total, "{event:?}");
        }
    }
    let sequences: Vec<u64> = told.iter().map(|event| event.sequence).collect();
    assert_eq!(sequences, (1..=told.len() as u64).collect::<Vec<_>>());
}

/// A node that was sent a snapshot is given the history that it missed.
#[tokio::test]
async fn a_missed_history_is_made_up_for() {
    let more_config = "[raft]\nsnapshot_entries = 100\n".to_owned();
    let mut cluster = Cluster::start(Options { more_config, ..Options::default() }).await;
    let leader = cluster.settled().await;
    let [away, _] = cluster.others(leader);
    let client = cluster.client().user("busy").build().unwrap();
    let kept = client.checkout(FEATURE, "", 1).await.unwrap();
    cluster.equal_ledgers().await;
    cluster.nodes[away].kill9().await;
    for _ in 0..300 {
        client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    }
    cluster.nodes[away].start();
    cluster.settled().await;
    cluster.equal_ledgers().await;
    let look = async || {
        let replaced = cluster.nodes[away].log().contains("the ledger was replaced by a snapshot");
        replaced.then_some(()).ok_or_else(|| "it caught up by entries".to_owned())
    };
    wait::until("it is given a snapshot", START_LIMIT, look).await;
    let proof = until_whole(&cluster, away).await;
    assert!(proof.changes_checked > 600, "{proof:?}");
    assert_eq!(events(&cluster, away).await, events(&cluster, leader).await);
    kept.give_back().await.unwrap();
}

/// Who follows is told what happens as it happens, and can go on at another node
/// after the last number that he has seen.
#[tokio::test]
async fn events_are_followed() {
    let cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    let [follower, _] = cluster.others(leader);
    let request = v1::ListEventsRequest {
        follow: true,
        kinds: vec![EventKind::Granted.into()],
        feature: FEATURE.into(),
        ..v1::ListEventsRequest::default()
    };
    let request = cluster.authorized(request);
    let mut answers = cluster.admin(follower).list_events(request).await.unwrap().into_inner();
    let client = cluster.client().user("ann").build().unwrap();
    let mut seen = Vec::new();
    for n in 1..=3_u64 {
        let seat = client.checkout(FEATURE, "", 1).await.unwrap();
        while seen.len() < n as usize {
            let answer = timeout(START_LIMIT, answers.next()).await.expect("it is told");
            seen.extend(answer.expect("the stream goes on").unwrap().events);
        }
        let last = seen.last().unwrap();
        assert_eq!(last.checkout_id, seat.id());
        assert_eq!(last.r#use[0].seats_in_use, n);
        std::mem::forget(seat);
    }
    let since = cluster.authorized(v1::ListEventsRequest {
        after_sequence: seen[1].sequence,
        kinds: vec![EventKind::Granted.into()],
        ..v1::ListEventsRequest::default()
    });
    let mut rest = cluster.admin(leader).list_events(since).await.unwrap().into_inner();
    let rest = rest.next().await.unwrap().unwrap().events;
    assert_eq!(rest, seen[2..]);
}
